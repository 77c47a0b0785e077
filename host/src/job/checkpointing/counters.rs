//! What checkpoints did, as a report says it.

use std::time::Duration;

use crate::stream::CheckpointId;

/// What checkpoints did, for reports and whoever watches.
#[derive(Clone, Debug, Default)]
pub struct CheckpointCounters {
    /// How many are complete.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
    /// The one that was completed last.
    pub last: Option<LastCheckpoint>,
    /// The longest time for which a task processed no record because of its snapshot, in milliseconds.
    pub pause_ms_max: f64,
    /// The longest time from the first barrier to the last one in a task, in milliseconds.
    pub alignment_ms_max: f64,
    /// Bytes of all segments that were written.
    pub bytes: u64,
}

/// A complete checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct LastCheckpoint {
    /// Which one.
    pub id: CheckpointId,
    /// When it was complete, since the start of the attempt.
    pub at: Duration,
    /// From its trigger to its manifest.
    pub duration: Duration,
    /// Bytes that were written for it.
    pub new_bytes: u64,
    /// Bytes of all that it refers to.
    pub bytes: u64,
}
