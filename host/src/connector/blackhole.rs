//! Results that nobody wants: for measuring.

use super::{ConnectorError, Sink, SinkWriter, TaskContext};
use crate::stream::{Batch, MAX_PARALLELISM_LIMIT, schema::Schema};

/// Takes everything and keeps nothing.
#[derive(Default)]
pub struct Blackhole(());

impl Blackhole {
    /// A new one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Sink for Blackhole {
    fn parallelism_max(&self) -> u32 {
        MAX_PARALLELISM_LIMIT
    }

    fn reads_keys(&self) -> bool {
        false
    }

    fn prepare(&self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn writer(&self, _: TaskContext, _: &Schema) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        Ok(Box::new(Nothing))
    }
}

struct Nothing;

impl SinkWriter for Nothing {
    fn write(&mut self, _: &Batch) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ConnectorError> {
        Ok(())
    }
}
