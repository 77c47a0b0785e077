//! What an operator is, what it may touch, and how its calls become transactions.
//!
//! This room does not know that operators are wasm: it calls an [`Instance`] made by a [`Plugin`]. It owns the keyed state of a task, stages what a call changes, applies it
//! when the call returned well, drops it otherwise, and isolates records that make calls fail.
//!
//! Absent on purpose: channels, threads, windows.

mod dead_letter;
mod descriptor;
mod exchange;
mod execution;
mod instance;
mod stage_error;
mod staged;
#[cfg(test)]
mod state_tests;

pub use dead_letter::DeadLetter;
pub use descriptor::{Descriptor, Hooks, InputDescriptor, Keying, OutputDescriptor, StateDescriptor, StateKind};
pub use exchange::{BroadcastPage, CellColumns, Exchange, ExchangeLimits, LogLevel, OutputRule, Phase, Strings};
pub use execution::{
    Exchanged, Execution, ExecutionSetup, FaultPolicy, KeepSnapshots, RestoreKeyed, Restored, StateKeeper, Succession,
    Successor, TakenSnapshot, Version,
};
pub use instance::{CallTime, Failure, Instance, InstanceLimits, Plugin, TaskInfo};
pub use stage_error::{StageError, shortened};
