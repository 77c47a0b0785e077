//! Records that are made up, always the same ones.
//!
//! A generator makes any record from its number alone, without those before it: so what is made depends on the settings and not on how many tasks make it. The
//! number of records is exact.
//!
//! Records lie in 64 splits whatever the parallelism: blocks of 1,024 are dealt out to the splits in turn, and splits to the tasks. A task takes the block of its
//! splits that comes first, so one task makes the records in order. A position holds how many records of each split were made; no split is ever done, so a job that
//! is restored with a higher `count` goes on. Frozen with the positions that checkpoints record.
//!
//! | generator | key | value | event time |
//! |---|---|---|---|
//! | `sequence` | a pseudo-random number | the record's number | none |
//! | `nexmark` | a field of the event, or none | an event of an auction site, as JSON | yes |
//! | `sensors` | a sensor's name | its reading, as JSON | yes |
//!
//! Event times begin at [`START_MS`], whatever the clock says.

mod blocks;
mod nexmark;
mod reciprocal;
mod sensors;
mod sequence;
#[cfg(test)]
mod tests;

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{ConnectorError, Read, Source, SourcePosition, SourceReader, SplitsRead, TaskContext};
use crate::stream::{Batch, BatchLimits, schema::Schema};
use blocks::Blocks;

pub use nexmark::{NexmarkEvents, NexmarkField, NexmarkSettings};
pub use sensors::SensorSettings;

/// How many splits there are, and so the most tasks.
const SPLITS: u64 = 64;

/// How many records in a row belong to the same split.
const BLOCK: u64 = 1024;

/// Where event times begin, in milliseconds since the Unix epoch: 2015-07-15T00:00:00Z, the time at which Nexmark's events begin by tradition.
const START_MS: i64 = 1_436_918_400_000;

/// How long a task that is ahead of its rate waits at least: at high rates records come a few at a time instead of one by one.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// How long it waits at most, so that a tiny rate is not taken for a stuck source.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What is made up.
#[derive(Clone, Debug, PartialEq)]
pub enum Generator {
    /// Numbers with pseudo-random numbers as keys.
    Sequence {
        /// How many distinct keys there are.
        keys: u64,
    },
    /// The events of an auction site: persons, auctions, bids.
    Nexmark(NexmarkSettings),
    /// The readings of sensors.
    Sensors(SensorSettings),
}

/// A source of made-up records.
pub struct Datagen {
    generator: Generator,
    count: u64,
    rate: Option<f64>,
    /// What was made before.
    restored: Mutex<SplitsRead>,
}

/// Makes records from their numbers.
trait Make: Send + 'static {
    /// About how long the longest record is, key and value together, in bytes.
    const RECORD_BYTES: usize;

    /// Appends records. Always the same for the same numbers.
    fn make(&mut self, numbers: Range<u64>, batch: &mut Batch);
}

impl Datagen {
    /// The records 0 to `count` (or without end) of a generator, at most `rate` of them in a second.
    pub fn new(generator: Generator, count: Option<u64>, rate: Option<f64>) -> Self {
        Self { generator, count: count.unwrap_or(u64::MAX), rate, restored: Mutex::default() }
    }

    /// Numbers with `keys` distinct keys.
    pub fn sequence(count: Option<u64>, keys: u64, rate: Option<f64>) -> Self {
        Self::new(Generator::Sequence { keys }, count, rate)
    }

    /// Whether the settings make sense.
    fn check(&self) -> Result<(), ConnectorError> {
        let refused = |why: String| Err(ConnectorError::Refused(format!("datagen: {why}")));
        match self.rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => {
                return refused(format!("\"rate\" must be a number of records per second above 0, not {rate}"));
            }
            _ => {}
        }
        match &self.generator {
            Generator::Sequence { keys: 0 } => refused("\"keys\" must be at least 1".into()),
            Generator::Nexmark(settings) if settings.event_rate == 0 => {
                refused("\"event-rate\" must be at least 1".into())
            }
            Generator::Nexmark(NexmarkSettings { events, key: Some(field), .. }) if !events.have(*field) => {
                refused(format!("not every event has the field \"{}\"", field.name))
            }
            Generator::Sensors(settings) if settings.sensors == 0 => refused("\"sensors\" must be at least 1".into()),
            Generator::Sequence { .. } | Generator::Nexmark(_) | Generator::Sensors(_) => Ok(()),
        }
    }

    fn restored(&self) -> SplitsRead {
        self.restored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reader_of(&self, make: impl Make, context: &TaskContext) -> Box<dyn SourceReader> {
        let (task, parallelism) = (u64::from(context.task), u64::from(context.parallelism));
        let own_splits = (task..SPLITS).step_by(parallelism as usize).count() as f64;
        let own_share = |rate| Pace::new(rate * own_splits / SPLITS as f64);
        Box::new(DatagenReader {
            blocks: Blocks::new(task, parallelism, self.count, &self.restored()),
            make,
            pace: self.rate.map(own_share),
        })
    }
}

impl Source for Datagen {
    fn key_schema(&self) -> Option<Schema> {
        match &self.generator {
            Generator::Sequence { .. } => Some(Schema::u64()),
            Generator::Nexmark(settings) => settings.key.map(|field| field.kind.schema()),
            Generator::Sensors(_) => Some(Schema::text()),
        }
    }

    fn value_schema(&self) -> Schema {
        match &self.generator {
            Generator::Sequence { .. } => Schema::u64(),
            Generator::Nexmark(_) | Generator::Sensors(_) => Schema::json(),
        }
    }

    fn parallelism_max(&self) -> u32 {
        SPLITS as u32
    }

    fn replays(&self) -> bool {
        true
    }

    fn prepare(&self, restored: Option<&SourcePosition>) -> Result<(), ConnectorError> {
        self.check()?;
        let splits = restored.map_or(Ok(SplitsRead::default()), blocks::checked)?;
        *self.restored.lock().unwrap_or_else(PoisonError::into_inner) = splits;
        Ok(())
    }

    fn position(&self, tasks: SplitsRead) -> SourcePosition {
        let mut splits = self.restored();
        splits.merge(tasks);
        SourcePosition { splits, ..SourcePosition::default() }
    }

    fn reader(&self, context: TaskContext) -> Result<Box<dyn SourceReader>, ConnectorError> {
        self.check()?;
        Ok(match &self.generator {
            Generator::Sequence { keys } => self.reader_of(sequence::Sequence::new(*keys), &context),
            Generator::Nexmark(settings) => self.reader_of(nexmark::Nexmark::new(settings), &context),
            Generator::Sensors(settings) => self.reader_of(sensors::Sensors::new(settings), &context),
        })
    }
}

struct DatagenReader<M> {
    blocks: Blocks,
    make: M,
    pace: Option<Pace>,
}

impl<M: Make> SourceReader for DatagenReader<M> {
    fn read(&mut self, now: Duration, batch: &mut Batch, limits: BatchLimits) -> Result<Read, ConnectorError> {
        let mut due = self.pace.as_mut().map_or(u64::MAX, |pace| pace.due(now));
        loop {
            let room = limits.bytes.saturating_sub(batch.bytes()).div_ceil(M::RECORD_BYTES);
            let room = room.min(limits.records.saturating_sub(batch.len())) as u64;
            let left = self.blocks.left();
            let (first, len) = (self.blocks.next(), room.min(left).min(due));
            match &mut self.pace {
                _ if left == 0 => return Ok(Read::End),
                _ if room == 0 => return Ok(Read::More),
                Some(pace) if len == 0 => return Ok(Read::Waiting(pace.wait(now))),
                Some(pace) => pace.made += len,
                None => {}
            }
            due -= len;
            self.make.make(first..first + len, batch);
            self.blocks.take(len);
        }
    }

    fn position(&mut self) -> SplitsRead {
        self.blocks.position()
    }
}

/// Keeps a task at its rate: record n is due n / rate seconds after the first call. A task that was held up makes up for it. What was made
/// before a restore does not count.
struct Pace {
    rate: f64,
    began: Option<Duration>,
    made: u64,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Self { rate, began: None, made: 0 }
    }

    /// How many records may be made now.
    fn due(&mut self, now: Duration) -> u64 {
        let began = *self.began.get_or_insert(now);
        let all = (now.saturating_sub(began).as_secs_f64() * self.rate) as u64 + 1;
        all.saturating_sub(self.made)
    }

    /// How long it takes until the next record is due.
    fn wait(&self, now: Duration) -> Duration {
        let elapsed = now.saturating_sub(self.began.unwrap_or(now)).as_secs_f64();
        let wait = (self.made as f64 / self.rate - elapsed).clamp(0.0, WAIT_MAX.as_secs_f64());
        Duration::from_secs_f64(wait).max(WAIT_MIN)
    }
}
