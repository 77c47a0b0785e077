//! The vocabulary of the runtime: what travels between tasks, and the words for it.
//!
//! Everything may import this room; it imports nothing of ours. It holds no threads, no clock and no I/O.

mod batch;
mod checkpoint_id;
mod column;
mod element;
mod event_time;
mod fault;
mod key_group;
pub mod schema;
mod splitmix;

pub use batch::{Batch, BatchLimits, KEY_BYTES_MAX, Keys};
pub use checkpoint_id::CheckpointId;
pub(crate) use column::Windowed;
pub use column::{BytesColumn, ColumnError};
pub use element::Element;
pub use event_time::EventTime;
pub use fault::{Fault, FaultKind};
pub use key_group::{
    KeyGroupRange, KeyHash, MAX_PARALLELISM_DEFAULT, MAX_PARALLELISM_LIMIT, hash_key, key_group, key_groups_of_task,
    task_of_key_group,
};
pub use splitmix::{SplitMix64, splitmix64};
