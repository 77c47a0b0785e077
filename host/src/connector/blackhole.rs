//! Results that nobody wants: for measuring.

use super::{
    Commits, ConnectorError, Prepared, Sink, SinkWriter, TaskContext, Transaction, transaction::refuse_transactions,
};
use crate::stream::{Batch, CheckpointId, MAX_PARALLELISM_LIMIT, schema::Schema};

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

    fn takes_back(&self) -> bool {
        true
    }

    fn prepare(&self, commits: Commits<'_>) -> Result<(), ConnectorError> {
        refuse_transactions("blackhole", commits.pending())
    }

    fn commit(&self, transactions: &[Transaction]) -> Result<(), ConnectorError> {
        refuse_transactions("blackhole", transactions)
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

    fn prepare_commit(&mut self, _: CheckpointId) -> Result<Prepared, ConnectorError> {
        Ok(Prepared::default())
    }

    fn finish(self: Box<Self>) -> Result<(), ConnectorError> {
        Ok(())
    }
}
