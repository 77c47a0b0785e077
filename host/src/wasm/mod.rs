//! Hosts operators as WebAssembly components (WIT package `wasmill:operator@0.1.0`).
//!
//! Loads and compiles components, checks what they ask for, and makes instances. One store per instance, owned by one task, no locks around it; a store is thrown away
//! after any trap. Only `instance.rs` calls the guest. This room knows no channel and no barrier.

mod cache;
mod engine;
mod imports;
mod instance;
mod limits;
mod plugin;
mod wasi;
mod wit;

pub use engine::{Engine, EngineError};
pub use plugin::{LoadError, WasmPlugin};
