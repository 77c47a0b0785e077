//! The life of one job: read it, build and load its plugins, plan it, run it, report on it. The only place where parts are wired together.

mod assemble;
pub mod builder;
mod checkpointing;
mod compatibility;
mod dump;
mod live;
mod outlook;
mod plan;
mod plugins;
mod prepare;
mod report;
mod run;
mod start;
mod stored_state;
mod swap;
mod timeline;
mod version;

pub use checkpointing::{CheckpointCounters, LastCheckpoint};
pub use dump::{DumpFolder, DumpFolderError};
#[cfg(test)]
pub(crate) use live::testing as live_testing;
pub use live::{
    Answer, AnswerAt, Answering, Asked, Changes, CheckpointStatus, Difference, DifferenceKind, Drain, DropState,
    GraphEdge, GraphVertex, JobGraph, JobState, JobStatus, Live, MigratedState, OperatorChange, OperatorStatus,
    PluginRef, ProbationStatus, Refusal, RefusalKind, Rehearsal, Request, SavepointAnswer, SavepointRequest,
    StopAnswer, StopRequest, SwapAnswer, SwapOutcome, SwapPhase, SwapRequest, SwapStatus, VertexKind, VertexStatus,
};
pub use outlook::{Outlook, PlannedBeginning, PlannedOrigin, PlannedState, StateFate};
pub use plan::{Carries, Plan, PlannedEdge, Role, SinkFacts, SourceFacts, Vertex, plan};
pub use plugins::{JobError, Loader, Located};
pub use prepare::{PreparedJob, prepare};
pub use report::{CheckpointReport, LastCheckpointReport, Outcome, Report, VertexReport};
pub use run::{Executor, Happening, Landmark, Moment, Progress, RunOptions, Simulation};
pub use start::{Claim, Start, StartFrom};
pub use stored_state::{
    CheckpointManifest, CheckpointedOperator, CheckpointedPlugin, CheckpointedSink, CheckpointedSource,
    CheckpointedTask, Checkpoints, Counted, DamagedFile, Deletion, DeletionError, DescribedState, DumpManifest, Ended,
    Entries, ExchangedSettings, FolderContents, FormerVersion, FoundCheckpoint, Held, JobLock, OpenSwap,
    OperatorOfState, PluginOfState, Root, SegmentOfTask, StatePlace, StoredCheckpoint, StoredEntry, StoredFile,
    StoredOperator, StoredState, StoredStateError, StoredStateProblem, Unwanted, Use, Verified, verify,
};
