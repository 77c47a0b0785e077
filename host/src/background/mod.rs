//! Work off the record path: spilling, and later uploading, merging and compiling.
//!
//! What gives work away knows only the trait [`Background`]. In production [`Threads`] runs it on a thread; in simulation [`Inline`] runs it where it is called, at once or
//! when a seed says so, so that one thread runs a whole job in a repeatable order.
//!
//! Work says by itself how it went, to whoever gave it away; nothing here looks at results. This room imports nothing of ours.

mod inline;
mod threads;

pub use inline::Inline;
pub use threads::Threads;

use std::{io, time::Duration};

/// Something to do.
pub type Work = Box<dyn FnOnce() + Send>;

/// Where work off the record path runs: one piece after the other, in the order in which it was given.
pub trait Background: Send + Sync {
    /// Gives work away. It is bounded by those who give it: each has a few pieces outstanding at most. Work that is dropped without having run was lost; a piece that must not
    /// get lost unseen says so in a destructor.
    ///
    /// # Errors
    /// When no thread can be had. The work was dropped.
    fn spawn(&self, work: Work) -> io::Result<()>;

    /// How many pieces have ended so far, those that panicked included.
    fn ended(&self) -> u64;

    /// Returns once more than `ended` pieces have ended, or after about `limit`; where nothing runs by itself, runs the next piece. Gives the time that this took.
    fn wait(&self, ended: u64, limit: Duration) -> Duration;
}
