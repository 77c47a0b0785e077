//! What the job tells its tasks, without a word to each: they look when they can.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::stream::CheckpointId;

/// What the job tells all its tasks.
#[derive(Debug, Default)]
pub struct Control {
    /// Sources stop reading; what was read is processed to its end.
    pub stop: AtomicBool,
    /// When sources stop, the last watermark goes through behind what was read.
    pub(super) drain: AtomicBool,
    /// Tasks end at once: one of them failed.
    pub abort: AtomicBool,
    /// The reader of a sink's results has gone.
    pub closed: AtomicBool,
    /// When the first record reached a sink.
    pub first_result: OnceLock<Instant>,
    /// When an operator had processed the first batch.
    pub first_processed: OnceLock<Instant>,
    /// The checkpoint that was triggered last; 0: none yet.
    asked_for: AtomicU64,
    /// The checkpoint that was aborted last; 0: none yet.
    given_up: AtomicU64,
    /// The last checkpoint is complete: tasks at rest may go.
    may_end: AtomicBool,
}

impl Control {
    /// Lets sources stop reading.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// To be called before [`Self::stop`]: event time comes to its end, so that what waits for it happens (Flink: "drain").
    pub fn drain(&self) {
        self.drain.store(true, Ordering::Release);
    }

    /// Asks all tasks for a checkpoint.
    pub fn ask_for(&self, id: CheckpointId) {
        self.asked_for.store(id.0, Ordering::Release);
    }

    /// Tells all tasks that a checkpoint was aborted.
    pub fn give_up(&self, id: CheckpointId) {
        self.given_up.store(id.0, Ordering::Release);
    }

    /// Lets tasks at rest go.
    pub fn let_end(&self) {
        self.may_end.store(true, Ordering::Release);
    }

    pub(super) fn asked_for(&self) -> Option<CheckpointId> {
        Some(CheckpointId(self.asked_for.load(Ordering::Acquire))).filter(|id| id.0 > 0)
    }

    pub(super) fn given_up(&self) -> Option<CheckpointId> {
        Some(CheckpointId(self.given_up.load(Ordering::Acquire))).filter(|id| id.0 > 0)
    }

    pub(super) fn may_end(&self) -> bool {
        self.may_end.load(Ordering::Acquire)
    }

    /// For another attempt: only whether the job is to stop stays.
    pub fn begin_attempt(&self) {
        self.abort.store(false, Ordering::Release);
        self.asked_for.store(0, Ordering::Release);
        self.given_up.store(0, Ordering::Release);
        self.may_end.store(false, Ordering::Release);
    }
}
