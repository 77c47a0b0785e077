//! x
pub mod cli;
pub mod connector;
pub mod dataflow;
pub mod job;
pub mod metrics;
pub mod operator;
pub mod runtime;
pub mod spec;
pub mod state;
pub mod stream;
pub mod wasm;
