//! Keyed state: the slot table in which a task keeps the point states (value, reducing, aggregating) of its keys.
//!
//! The table is the `memory` backend: everything in RAM, nothing behind it. This room never reads a clock and knows neither wasm nor channels.

mod arena;
mod delivery;
mod memory_advice;
mod table;

pub use arena::VALUE_INLINE_BYTES_MAX;
pub use delivery::{Delivery, StoredColumn, StoredValue};
pub use table::{KeyTable, SLOTS_DEFAULT, SlotError};
