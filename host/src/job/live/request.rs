//! What may be asked of a job that runs.

use bytes::Bytes;
use serde_json::Value as Json;

use crate::spec::{Limits, OnError};

/// What is asked.
pub enum Request {
    /// Operators are to be replaced.
    Swap(SwapRequest),
    /// A savepoint is to be taken; the job runs on.
    Savepoint(SavepointRequest),
    /// The job is to end, with a savepoint.
    Stop(StopRequest),
    /// A checkpoint is to be taken now.
    Checkpoint,
}

/// Operators are to be replaced.
pub struct SwapRequest {
    /// Which, and by what; each operator once.
    pub operators: Vec<OperatorChange>,
    /// Whether it is only tried.
    pub rehearsal: Rehearsal,
    /// When the answer is wanted.
    pub answer_at: AnswerAt,
    /// States that may be given up though nobody takes them.
    pub dropped: Vec<DropState>,
}

/// Whether a swap is only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// Everything up to the exchange is done, and then nothing.
    Yes,
    /// It is meant.
    No,
}

/// When the answer to a swap is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerAt {
    /// When it is committed: its checkpoint is complete. A rollback may still follow.
    Commit,
    /// When its probation is over.
    ProbationEnd,
}

/// What becomes of an operator.
pub struct OperatorChange {
    /// Its id in the job.
    pub id: String,
    /// What is changed.
    pub changes: Changes,
}

/// What is changed; none: it stays.
#[derive(Clone, Default)]
pub struct Changes {
    /// The component that is to run.
    pub component: Option<Bytes>,
    /// Its configuration.
    pub config: Option<Json>,
    /// What an instance may take.
    pub limits: Option<Limits>,
    /// What becomes of a poison record.
    pub on_error: Option<OnError>,
}

/// A state that may be given up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DropState {
    /// The operator's id.
    pub operator: String,
    /// The state's name.
    pub state: String,
}

/// A savepoint is to be taken.
#[derive(Clone, Debug, Default)]
pub struct SavepointRequest {
    /// The folder or URL; none: a new one below the job's folder in the storage of its checkpoints.
    pub place: Option<String>,
}

/// The job is to end.
#[derive(Clone, Debug)]
pub struct StopRequest {
    /// Whether what waits for time to pass is brought to its end.
    pub drain: Drain,
    /// Where the savepoint goes; as for a savepoint alone.
    pub savepoint: SavepointRequest,
}

/// What becomes of what waits for event time to pass when a job is stopped (Flink: `stop --drain`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// The last watermark is sent first: windows fire. Such a savepoint is not meant to be gone on from.
    Yes,
    /// It stays in the savepoint.
    No,
}
