//! Consistent cuts of a job: when they are taken, where they lie, and which one counts.
//!
//! What decides is pure and what acts decides nothing. This room moves opaque entries per key group: it knows neither fjall nor what a stored key means beyond its key group.
//!
//! What decides: the [`Coordinator`] when a checkpoint is taken and when it is complete, the [`Aligner`] when a task takes its part, [`resolve`] which one a run begins from,
//! [`deletions`] what may go, the [`RestartPolicy`] whether a job that failed begins again. They are given the time, seeds and facts that were already read.

mod aligner;
mod chain;
mod coordinator;
mod merge;
mod names;
mod resolver;
mod restart;
mod retention;
mod segment;
mod storage;

pub use aligner::{Aligner, Alignment, Mode};
pub use chain::{ChainLimits, Choice, MergeError, Run, StoredSegment, choose, merge_runs};
pub use coordinator::{Action, Coordinator, CoordinatorSettings, Event};
pub use merge::{Marks, Merge};
pub use names::{Name, Names};
pub use resolver::{CheckpointFolder, Condition, Resolution, Wanted, resolve};
pub use restart::{Decision, FaultFacts, RestartPolicy, RestartStrategy};
pub use retention::{CheckpointFacts, References, RetentionFacts, deletions};
pub use segment::{
    Entry, InMemory, KEY_BYTES_MAX, Label, LabelCount, ReadAt, RefusedEntry, SEGMENT_BYTES_MAX, SegmentCursor,
    SegmentError, SegmentFacts, SegmentProblem, SegmentReader, SegmentWriter, VALUE_BYTES_MAX,
};
pub use storage::{
    Below, Bucket, Faults, Faulty, Listed, MemoryStorage, ObjectStorage, Retrying, Storage, StorageError,
    StorageErrorKind, StorageLocation, StorageMode, Stored, put_same,
};
