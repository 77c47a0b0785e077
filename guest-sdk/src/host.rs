//! What the SDK's core asks of its host: the wasm imports in a component, a table of bytes in the test harness.

use crate::wire::{BytesColumn, Cells, Error, EventTime, StoredColumn};

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author, in great detail.
    Trace,
    /// For the author.
    Debug,
    /// For whoever runs the job.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something went wrong.
    Error,
}

/// The imports that the core uses, with borrowed columns.
pub trait Host {
    /// `keyed-state.put-many`.
    fn put_many(&mut self, state: u32, cells: &Cells, values: &StoredColumn) -> Result<(), Error>;
    /// `output.emit`.
    fn emit(&mut self, output: u32, src: &[u32], values: &BytesColumn, timestamps: &[EventTime]) -> Result<(), Error>;
    /// `output.emit-keyed`.
    fn emit_keyed(
        &mut self,
        output: u32,
        keys: &BytesColumn,
        values: &BytesColumn,
        timestamps: &[EventTime],
    ) -> Result<(), Error>;
    /// `logging.log`.
    fn log(&mut self, level: Level, message: &str);
    /// `metrics.count`.
    fn count(&mut self, name: &str, delta: u64);
    /// `metrics.gauge`.
    fn gauge(&mut self, name: &str, value: f64);
}
