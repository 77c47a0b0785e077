//! Consistent cuts of a job: when they are taken, where they lie, and which one counts.
//!
//! What decides is pure and what acts decides nothing. This room moves opaque entries per key group: it knows neither fjall nor what a stored key means beyond its key group.

mod segment;
mod storage;

pub use segment::{
    Entry, InMemory, KEY_BYTES_MAX, Label, LabelCount, ReadAt, RefusedEntry, SEGMENT_BYTES_MAX, SegmentCursor,
    SegmentError, SegmentFacts, SegmentProblem, SegmentReader, SegmentWriter, VALUE_BYTES_MAX,
};
pub use storage::{
    Below, Bucket, Faults, Faulty, Listed, MemoryStorage, Mode, ObjectStorage, Storage, StorageError, StorageErrorKind,
    StorageLocation, Stored, put_same,
};
