//! Handles of state: what an operator keeps in its fields and asks for the state of the current key, or of the task.
//!
//! Nothing is handed over before the end of the batch. Values that are delivered with their keys are read and written decoded, in an array by slot, without a call of the
//! host; entries of maps, and values in namespaces, are asked for once and then kept; adding to a list asks for nothing.

mod aggregating;
mod broadcast;
mod list;
mod map;
mod operator_list;
mod point;

pub use aggregating::{Aggregate, AggregatingState};
pub use broadcast::{BroadcastEntries, BroadcastState};
pub use list::{ListItems, ListState};
pub use map::{MapEntries, MapState};
pub use operator_list::OperatorList;
pub use point::{ReducingState, ValueState};

use crate::former::Formers;

pub(crate) use broadcast::BroadcastMap;
pub(crate) use list::List;
pub(crate) use operator_list::Items;

/// Names a state in a [`Declaration`](crate::Declaration).
pub trait Handle {
    /// What is stored: the value, the accumulator, the item, or what lies at a map key.
    type Stored: crate::codec::Value;

    /// The state's number.
    #[doc(hidden)]
    fn index(&self) -> u32;

    /// What the state's former versions become.
    #[doc(hidden)]
    fn formers(&self) -> Formers<Self::Stored>;
}

/// Names a state of single values: [`ValueState`], [`ReducingState`] or [`AggregatingState`].
pub trait PointHandle: Handle {
    #[doc(hidden)]
    fn point(&self) -> &Point<Self::Stored>;
}

pub(crate) use point::Point;
