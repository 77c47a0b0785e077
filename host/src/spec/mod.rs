//! The job file that a user writes, read into types.
//!
//! Everything about a file that can be said without looking at anything else is said here, with line and column, and as much of it at once as possible: what is
//! not TOML, unknown keys (with the nearest known one), values of the wrong type or out of range, ids that are taken. What depends on the graph, on plugins or
//! on connectors is the planner's to say, by [`JobFile::error`], which looks the same. Keys and sections that a later version brings are refused as not
//! supported yet, so that no setting is ever ignored in silence.
//!
//! The way of a file: text → a tree of values that know their origin → `${NAME}` put in → `--set` applied → read key by key. Values from an environment
//! variable or a `--set` are raw text until the reader of the key says what type they are.
//!
//! **Paths.** A relative path in the file is relative to the file's folder, also where it came from an environment variable. A relative path in a `--set` is
//! relative to the current directory, as every other path that a person types at a prompt.
//!
//! Pure but for [`JobFile::read`], which reads the file: the environment and the current directory are arguments.

mod checkpoint;
mod config;
mod environment;
mod error;
mod input;
mod job_file;
mod location;
mod nearest;
mod operator;
mod overrides;
mod restart;
mod scalar;
mod section;
mod sink;
mod source;
mod swap;
mod tree;

#[cfg(test)]
mod tests;

pub use checkpoint::{CheckpointSettings, StorageSpec};
pub use error::SpecError;
pub use input::InputSpec;
pub use job_file::{BatchSpec, JobFile, StateBackend, StateSettings, Surroundings};
pub use location::{At, Location};
pub use nearest::nearest;
pub use operator::{Limits, OnError, OperatorSpec, PluginSpec};
pub use restart::RestartSettings;
pub use sink::{SinkKind, SinkSpec};
pub use source::{DatagenSpec, SourceKind, SourceSpec};
pub use swap::SwapSettings;
