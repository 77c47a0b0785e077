//! Records that are made up, always the same ones.
//!
//! Record i has the value i and the key splitmix64(i) mod the number of keys, both as 8 bytes, little-endian. splitmix64 is the generator of Steele, Lea and Flood
//! 2014 ("Fast splittable pseudorandom number generators") started at i, so any record can be computed without those before it.
//!
//! Records lie in 64 splits whatever the parallelism: blocks of 1,024 are dealt out to the splits in turn, and splits to the tasks. A task goes through its
//! splits block by block, so one task makes the records in order. Frozen with the positions that checkpoints record.

mod reciprocal;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{ConnectorError, Read, Source, SourceReader, TaskContext};
use crate::stream::{Batch, BatchLimits, Keys, hash_key, schema::Schema};
use reciprocal::Reciprocal;

/// How many splits there are, and so the most tasks.
const SPLITS: u64 = 64;

/// How many records in a row belong to the same split.
const BLOCK: u64 = 1024;

/// Keys and values together.
const RECORD_BYTES: usize = 16;

/// How long a task that is ahead of its rate waits at least: at high rates records come a few at a time instead of one by one.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// How long it waits at most, so that a tiny rate is not taken for a stuck source.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A made-up sequence of integers with integers as keys.
pub struct Datagen {
    count: u64,
    keys: u64,
    rate: Option<f64>,
}

impl Datagen {
    /// The records 0 to `count` (or without end) with keys below `keys`, at most `rate` of them in a second.
    pub fn sequence(count: Option<u64>, keys: u64, rate: Option<f64>) -> Self {
        Self { count: count.unwrap_or(u64::MAX), keys, rate }
    }
}

impl Source for Datagen {
    fn key_schema(&self) -> Option<Schema> {
        Some(Schema::u64())
    }

    fn value_schema(&self) -> Schema {
        Schema::u64()
    }

    fn parallelism_max(&self) -> u32 {
        SPLITS as u32
    }

    fn prepare(&self) -> Result<(), ConnectorError> {
        if self.keys == 0 {
            return Err(ConnectorError::Refused("datagen: \"keys\" must be at least 1".into()));
        }
        match self.rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => Err(ConnectorError::Refused(format!(
                "datagen: \"rate\" must be a number of records per second above 0, not {rate}"
            ))),
            _ => Ok(()),
        }
    }

    fn reader(&self, context: TaskContext) -> Result<Box<dyn SourceReader>, ConnectorError> {
        self.prepare()?;
        let (task, parallelism) = (u64::from(context.task), u64::from(context.parallelism));
        let own_splits = (task..SPLITS).step_by(parallelism as usize).count() as f64;
        let own_share = |rate| Pace::new(rate * own_splits / SPLITS as f64);
        Ok(Box::new(DatagenReader {
            blocks: Blocks::new(task, parallelism, self.count),
            keys: Reciprocal::of(self.keys),
            pace: self.rate.map(own_share),
        }))
    }
}

struct DatagenReader {
    blocks: Blocks,
    keys: Reciprocal,
    pace: Option<Pace>,
}

impl SourceReader for DatagenReader {
    fn read(&mut self, now: Duration, batch: &mut Batch, limits: BatchLimits) -> Result<Read, ConnectorError> {
        let mut due = self.pace.as_mut().map_or(u64::MAX, |pace| pace.due(now));
        let keys = batch.keys.get_or_insert_default();
        loop {
            let used = batch.values.bytes() + keys.column.bytes();
            let room = limits.bytes.saturating_sub(used).div_ceil(RECORD_BYTES);
            let room = room.min(limits.records.saturating_sub(batch.values.len())) as u64;
            let left = self.blocks.left();
            let (first, len) = (self.blocks.next, room.min(left).min(due));
            match &mut self.pace {
                _ if left == 0 => return Ok(Read::End),
                _ if room == 0 => return Ok(Read::More),
                Some(pace) if len == 0 => return Ok(Read::Waiting(pace.wait(now))),
                Some(pace) => pace.made += len,
                None => {}
            }
            due -= len;
            for number in first..first + len {
                let key = self.keys.remainder(splitmix64(number)).to_le_bytes();
                push(keys, &key);
                batch.values.push_with(|data| data.extend_from_slice(&number.to_le_bytes()));
            }
            self.blocks.take(len);
        }
    }
}

#[inline(always)]
fn push(keys: &mut Keys, key: &[u8; 8]) {
    keys.hashes.push(hash_key(key));
    keys.column.push_with(|data| data.extend_from_slice(key));
}

/// The number that splitmix64 makes when it is started at `seed`.
#[inline]
fn splitmix64(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The records of a task, block by block.
struct Blocks {
    task: u64,
    parallelism: u64,
    count: u64,
    /// The split of the block at hand.
    split: u64,
    /// The record that comes next.
    next: u64,
}

impl Blocks {
    fn new(task: u64, parallelism: u64, count: u64) -> Self {
        // A task without splits has nothing.
        let next = if task < SPLITS { task.saturating_mul(BLOCK) } else { u64::MAX };
        Self { task, parallelism, count, split: task, next }
    }

    /// How many records in a row come next; 0 only at the end.
    fn left(&self) -> u64 {
        (BLOCK - self.next % BLOCK).min(self.count.saturating_sub(self.next))
    }

    fn take(&mut self, len: u64) {
        self.next += len;
        if !self.next.is_multiple_of(BLOCK) || len == 0 {
            return;
        }
        // The block is done: on to the next split of this task, or to the first one's next block.
        let skipped = if self.split + self.parallelism < SPLITS {
            self.split += self.parallelism;
            self.parallelism - 1
        } else {
            let skipped = SPLITS - 1 - self.split + self.task;
            self.split = self.task;
            skipped
        };
        self.next = self.next.saturating_add(skipped * BLOCK);
    }
}

/// Keeps a task at its rate: record n is due n / rate seconds after the first call. A task that was held up makes up for it.
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
