//! State of a task: keyed state, which is a slot table for point states (value, reducing, aggregating), cells for all else, and the spill to which both evict; and the operator
//! state that belongs to no key.
//!
//! The table is the `memory` backend: everything in RAM, nothing behind it. The spill holds what does not fit, on disk, for the life of the task only. This room never
//! reads a clock and knows neither wasm nor channels.

mod arena;
mod behind;
mod cells;
mod changes;
mod delivery;
mod expiry;
mod keyed;
mod memory_advice;
mod operator_state;
mod spill;
mod stored;
mod table;

pub use behind::{Behind, SpillSetup};
pub use cells::Page;
pub use changes::{Change, Piece, PieceClass, PieceOrder, SnapshotSetup, WritePieces};
pub use delivery::{Delivery, Noted, StoredColumn, StoredValue};
pub use expiry::{Expiry, Lifespan};
pub use keyed::{
    ExportError, Form, KeyedState, Known, PlaceOf, RestoreBatch, RestoreError, StateError, StateIds, StateSetup,
    StateSpec, TakeEntry, Ttl, WalkError,
};
pub use operator_state::{OperatorStateKind, OperatorStates, redistribute};
pub use spill::{Access, Found, Spill, SpillCounters, SpillError, SpillOptions, SpillProblem, SpillRange};
pub use stored::{
    KEY_BYTES_MAX, MAP_KEY_BYTES_MAX, NAMESPACE_BYTES_MAX, NO_KEY_GROUP, STORED_KEY_BYTES_MAX, StoredBytes,
    StoredError, StoredKey, namespace_prefix,
};
pub use table::{KeyTable, SLOTS_DEFAULT, SlotError};
