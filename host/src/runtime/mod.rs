//! Runs tasks: step functions that take elements from bounded channels, and the two executors that call them.
//!
//! A task is one parallel instance of a chain of operators. It never blocks: `step` does a little and says what it waits for. [`run_on_threads`] gives every task a thread; [`run_seeded`] calls
//! them in a random but repeatable order on one thread, for tests. This room does not know that operators are wasm.

mod channel;
mod clock;
mod control;
mod seeded;
mod task;
mod threads;

use std::time::Duration;

use crate::stream::Fault;

pub use channel::{CHANNEL_BATCHES, Edge, Input, Outlet, channel, parker};
pub use clock::{Clock, ManualClock, SystemClock};
pub use control::Control;
pub use seeded::run_seeded;
pub use task::{Node, NodeKind, Progress, Target, Task, TaskCheckpoints, TaskEvent, TaskHead, TaskSnapshot};
pub use threads::run_on_threads;

/// Who looks after the tasks of a job while they run.
pub trait Supervisor {
    /// Does what is to be done now, without blocking. Returns whether it did anything.
    ///
    /// # Errors
    /// A fault for which the job is to end.
    fn poll(&mut self) -> Result<bool, Fault>;

    /// When it has to be polled again though nothing has happened, as time since the job's start; asked by those who simulate time.
    fn wake_at(&self) -> Option<Duration> {
        None
    }

    /// Whether the task at this place is not to be called now, though it could go on; asked by those who simulate time.
    fn stalls(&self, _task: usize) -> bool {
        false
    }
}
