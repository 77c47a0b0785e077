//! What travels on an edge: batches of records, and the marks between them.
//!
//! Invariants on every edge, checked in debug builds by the receiving end: watermarks never fall, the numbers of barriers rise, nothing follows `End`.

use super::{Batch, CheckpointId, EventTime};

/// A batch of records or a control mark, in the order in which it was sent.
#[derive(Clone, Debug)]
pub enum Element {
    /// Records.
    Batch(Batch),
    /// No record with an event time at or below this one follows (Akidau et al. 2015, "The Dataflow Model").
    Watermark(EventTime),
    /// What was sent before belongs to this checkpoint, what is sent behind does not (Carbone et al. 2015, "Lightweight Asynchronous Snapshots for Distributed Dataflows").
    Barrier(CheckpointId),
    /// The bounded input has ended; nothing follows.
    End,
    /// The job is being stopped before its input ended; nothing follows, and no end-of-input work is done.
    Stop,
}
