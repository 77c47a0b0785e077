//! What a sink has taken and nobody may see before a checkpoint is complete.
//!
//! The way of results into the world has two phases (Gray 1978, "Notes on Data Base Operating Systems"). At a barrier a writer *prepares*: what it has taken is set
//! aside as transactions, which outlive the process and are recorded in the checkpoint's manifest. When the manifest exists the sink *commits* them; and again after
//! a restore, since nobody knows then whether it had come so far. So committing is idempotent.
//!
//! A manifest holds a transaction as JSON, frozen by the manifest's version: `{ "hidden": ".part-0000-3.inprogress", "visible": "part-00000007-0000-0000.jsonl", "bytes":
//! 1024 }`. Both names are relative to the sink's place.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ConnectorError;
use crate::stream::CheckpointId;

/// A piece of results that is whole and waits for its commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transaction {
    /// Its name until then.
    pub hidden: String,
    /// Its name from then on.
    pub visible: String,
    /// How long it is.
    pub bytes: u64,
}

/// What came of preparing at a barrier.
#[derive(Default)]
#[must_use = "what is dropped here is never committed"]
pub struct Prepared {
    /// What the checkpoint's commit makes visible.
    pub transactions: Vec<Transaction>,
    /// What must have succeeded before a checkpoint with these transactions counts. For another thread than the writer's: it waits for the disk. Once only: after a sync
    /// that failed, a second one may succeed although data was lost (Rebello et al. 2020, "Can Applications Recover from fsync Failures?"), so whoever sees
    /// it fail goes back to the checkpoint before.
    pub work: Option<Box<dyn FnOnce() -> Result<(), ConnectorError> + Send>>,
}

/// When results become visible, and what is with those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits<'a> {
    /// The job takes no checkpoints: each part becomes visible when it is closed.
    AtEnd,
    /// With checkpoints, and none was restored: there are no results yet.
    Fresh,
    /// The job goes on from a checkpoint.
    Restored {
        /// Which one.
        checkpoint: CheckpointId,
        /// Its transactions in this sink; they are committed, perhaps once more.
        transactions: &'a [Transaction],
        /// Results of later checkpoints are removed if this is the checkpoint that was restored; else they are refused.
        discard_after: Option<CheckpointId>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredTransaction {
    hidden: String,
    visible: String,
    bytes: u64,
}

impl Transaction {
    /// The transaction as a manifest holds it.
    pub fn to_json(&self) -> Value {
        let Self { hidden, visible, bytes } = self.clone();
        serde_json::to_value(StoredTransaction { hidden, visible, bytes }).expect("numbers and strings are JSON")
    }

    /// Reads what [`to_json`](Self::to_json) made.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_json(value: &Value) -> Result<Self, ConnectorError> {
        let StoredTransaction { hidden, visible, bytes } = StoredTransaction::deserialize(value)
            .map_err(|error| ConnectorError::Refused(format!("this is not a transaction of a sink: {error}")))?;
        Ok(Self { hidden, visible, bytes })
    }
}

impl<'a> Commits<'a> {
    /// What must be committed before anything else.
    pub(super) fn pending(self) -> &'a [Transaction] {
        match self {
            Self::AtEnd | Self::Fresh => &[],
            Self::Restored { transactions, .. } => transactions,
        }
    }
}

/// For sinks whose results are out as soon as they are written: they have no transactions, so those that there are belong to another sink.
pub(super) fn refuse_transactions(sink: &str, transactions: &[Transaction]) -> Result<(), ConnectorError> {
    let Some(first) = transactions.first() else { return Ok(()) };
    let more = match transactions.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Err(ConnectorError::Refused(format!(
        "{sink}: the checkpoint has results to commit ({}{more}) that a sink of another type has prepared; set the sink's \"type\" back to what it was",
        first.visible
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_json_is_frozen_and_strict() {
        let transaction = Transaction { hidden: ".part-a".into(), visible: "part-a".into(), bytes: u64::MAX };
        let value = json!({ "hidden": ".part-a", "visible": "part-a", "bytes": u64::MAX });
        assert_eq!(transaction.to_json(), value);
        assert_eq!(Transaction::from_json(&value).unwrap(), transaction);
        for other in [
            json!({ "hidden": "a", "visible": "b" }),
            json!({ "hidden": "a", "visible": "b", "bytes": 1, "x": 1 }),
            json!("a"),
        ] {
            let error = Transaction::from_json(&other).expect_err("it is no transaction").to_string();
            assert!(error.starts_with("this is not a transaction of a sink: "), "{error}");
        }
    }

    #[test]
    fn transactions_of_another_sink_are_refused() {
        let transaction = Transaction { hidden: ".part-a".into(), visible: "part-a".into(), bytes: 1 };
        assert!(refuse_transactions("standard output", &[]).is_ok());
        let error = refuse_transactions("standard output", &[transaction.clone(), transaction])
            .expect_err("it has none")
            .to_string();
        assert!(
            error.starts_with("standard output: the checkpoint has results to commit (part-a and 1 more)"),
            "{error}"
        );
    }
}
