//! The ways in which an edge routes records.

use std::fmt;

/// How an edge routes records (Flink: "physical partitioning").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Partitioning {
    /// Task `i` to task `i`; both sides have the same parallelism.
    Forward,
    /// By the key group of the record's key.
    Hash,
    /// Whole batches, in turn.
    Rebalance,
    /// Every record to every task.
    Broadcast,
}

impl Partitioning {
    /// The word used in job files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Hash => "hash",
            Self::Rebalance => "rebalance",
            Self::Broadcast => "broadcast",
        }
    }
}

impl fmt::Display for Partitioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
