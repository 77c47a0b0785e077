//! State of a task: the slot table in which it keeps the point states (value, reducing, aggregating) of its keys, and the operator state that belongs to no key.
//!
//! The table is the `memory` backend: everything in RAM, nothing behind it. This room never reads a clock and knows neither wasm nor channels.

mod arena;
mod delivery;
mod memory_advice;
mod operator_state;
mod table;

pub use arena::VALUE_INLINE_BYTES_MAX;
pub use delivery::{Delivery, StoredColumn, StoredValue};
pub use operator_state::{OperatorStateKind, OperatorStates, redistribute};
pub use table::{KeyTable, SLOTS_DEFAULT, SlotError};
