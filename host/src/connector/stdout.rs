//! Results as lines of standard output.
//!
//! The lines of a batch are made first and written at once under one lock, so lines of several tasks never mix. What is written can't be taken back:
//! after a recovery, records that were written since the last checkpoint come again.

#[cfg(test)]
mod tests;

use std::{
    io::{self, ErrorKind, Write},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Commits, ConnectorError, Format, Prepared, Sink, SinkWriter, TaskContext, Transaction,
    transaction::refuse_transactions,
};
use crate::stream::{Batch, CheckpointId, MAX_PARALLELISM_LIMIT, schema::Schema};

type Output = Box<dyn Write + Send>;

/// Lines on standard output. When its reader goes away, that is [`ConnectorError::Closed`].
pub struct StdoutSink {
    output: Arc<Mutex<Output>>,
    format: Format,
}

impl StdoutSink {
    /// Writes to standard output.
    pub fn new(format: Format) -> Self {
        Self::of(Box::new(io::stdout()), format)
    }

    /// Writes to something else in the same way.
    pub fn of(output: Output, format: Format) -> Self {
        Self { output: Arc::new(Mutex::new(output)), format }
    }
}

impl Sink for StdoutSink {
    fn parallelism_max(&self) -> u32 {
        MAX_PARALLELISM_LIMIT
    }

    fn reads_keys(&self) -> bool {
        false
    }

    fn takes_back(&self) -> bool {
        false
    }

    fn prepare(&self, commits: Commits<'_>) -> Result<(), ConnectorError> {
        refuse_transactions("standard output", commits.pending())
    }

    fn commit(&self, transactions: &[Transaction]) -> Result<(), ConnectorError> {
        refuse_transactions("standard output", transactions)
    }

    fn writer(&self, _: TaskContext, value: &Schema) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        Ok(Box::new(StdoutWriter {
            output: Arc::clone(&self.output),
            format: self.format,
            schema: value.clone(),
            lines: Vec::new(),
        }))
    }
}

struct StdoutWriter {
    output: Arc<Mutex<Output>>,
    format: Format,
    schema: Schema,
    /// The lines of a batch. Empty between calls; kept for its memory.
    lines: Vec<u8>,
}

impl SinkWriter for StdoutWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        self.lines.clear();
        for value in batch.values.iter() {
            self.format.append_line(value, &self.schema, &mut self.lines)?;
        }
        self.with_output(|output, lines| output.write_all(lines))
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.with_output(|output, _| output.flush())
    }

    fn prepare_commit(&mut self, _: CheckpointId) -> Result<Prepared, ConnectorError> {
        self.flush()?;
        Ok(Prepared::default())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ConnectorError> {
        self.flush()
    }
}

impl StdoutWriter {
    fn with_output(&self, work: impl FnOnce(&mut Output, &[u8]) -> io::Result<()>) -> Result<(), ConnectorError> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut output, &self.lines).map_err(|source| match source.kind() {
            ErrorKind::BrokenPipe => ConnectorError::Closed,
            _ => ConnectorError::Io { path: "standard output".into(), doing: "writing to it", source },
        })
    }
}
