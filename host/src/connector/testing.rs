//! What the tests of connectors share.

use std::time::Duration;

use super::{ConnectorError, Read, SinkWriter, Source, SourceReader, TaskContext};
use crate::{
    metrics::CounterSet,
    stream::{Batch, BatchLimits},
};

/// The context of a task whose counters nobody reads.
pub(super) fn context(task: u32, parallelism: u32) -> TaskContext {
    counting(task, parallelism, &CounterSet::default())
}

/// The context of a task with counters.
pub(super) fn counting(task: u32, parallelism: u32, counters: &CounterSet) -> TaskContext {
    TaskContext { task, parallelism, counters: counters.clone(), wake: Box::new(|| {}) }
}

/// Readers of all tasks of a source.
pub(super) fn readers(
    source: &dyn Source,
    parallelism: u32,
    counters: &CounterSet,
) -> Result<Vec<Box<dyn SourceReader>>, ConnectorError> {
    source.prepare(None)?;
    (0..parallelism).map(|task| source.reader(counting(task, parallelism, counters))).collect()
}

/// Calls the readers in turn, at time 0, until all have ended. The batches of each.
pub(super) fn drain(
    readers: Vec<Box<dyn SourceReader>>,
    limits: BatchLimits,
) -> Result<Vec<Vec<Batch>>, ConnectorError> {
    let mut batches: Vec<Vec<Batch>> = readers.iter().map(|_| Vec::new()).collect();
    let mut open: Vec<_> = readers.into_iter().enumerate().collect();
    while !open.is_empty() {
        let mut still_open = Vec::new();
        for (task, mut reader) in open {
            let mut batch = Batch::default();
            let read = reader.read(Duration::ZERO, &mut batch, limits)?;
            batch.assert_consistent();
            assert!(batch.len() <= limits.records, "a batch has no more records than it should");
            batches[task].push(batch);
            if read != Read::End {
                still_open.push((task, reader));
            }
        }
        open = still_open;
    }
    Ok(batches)
}

/// The values of batches, in order.
pub(super) fn values(batches: &[Batch]) -> Vec<Vec<u8>> {
    batches.iter().flat_map(|batch| batch.values.iter().map(<[u8]>::to_vec)).collect()
}

/// A batch of values without keys.
pub(super) fn batch<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Batch {
    Batch { values: values.into_iter().collect(), ..Batch::default() }
}

/// Gives a writer all values in one batch, and finishes it.
pub(super) fn write_all<V: AsRef<[u8]>>(
    mut writer: Box<dyn SinkWriter>,
    values: impl IntoIterator<Item = V>,
) -> Result<(), ConnectorError> {
    writer.write(&batch(values))?;
    writer.finish()
}
