//! Plain counters.
//!
//! Each counter has one writer (the task) and any number of readers (progress, report); nothing is ordered by them, so all accesses are relaxed.

mod counters;

pub use counters::{Counter, CounterSet, OperatorCounters};
