//! Runs tasks: step functions that take elements from bounded channels, and the two executors that call them.
//!
//! A task is one parallel instance of a chain of operators. It never blocks: `step` does a little and says what it waits for. [`run_on_threads`] gives every task a thread; [`run_seeded`] calls
//! them in a random but repeatable order on one thread, for tests. This room does not know that operators are wasm.

mod channel;
mod clock;
mod seeded;
mod task;
mod threads;

pub use channel::{CHANNEL_BATCHES, Edge, Input, Outlet, channel, parker};
pub use clock::{Clock, ManualClock, SystemClock};
pub use seeded::run_seeded;
pub use task::{Control, Node, NodeKind, Progress, Target, Task, TaskHead};
pub use threads::run_on_threads;
