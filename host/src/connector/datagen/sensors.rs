//! The readings of sensors that drift and now and then fall silent.
//!
//! Sensor s of n makes the readings s, s + n, s + 2n and so on, so all sensors take turns. Everything else is drawn by the seed:
//! - **Time.** A sensor is due once in an `interval`, always at the same moment of it, which is its own. Event times begin at [`START_MS`].
//! - **Gaps.** Of every 1,000 intervals a sensor misses 40: in two gaps, which begin after any of its readings and of which the first takes 0 to 40 intervals and the
//!   second the rest. Where one of them takes nothing or both begin at the same place, there is one. So a reading is at most 41 intervals older than the newest one
//!   made before it, and 960 readings of a sensor take 1,000 intervals, always.
//! - **Value.** Three parts are added, in thousandths: the sensor's *level*, 10 to 30; its *drift*, which grows steadily with event time at a pace of its own, from
//!   -1 to 1 in an hour; and *noise*, -0.25 to 0.25, new in each reading. All are equally likely in their range.
//!
//! The key is the sensor's name, `sensor-` and its number in at least four digits. The value is `{"sensor":"sensor-0042","time":1436918400000,"value":21.340}`, with
//! the event time in milliseconds since the Unix epoch.

#[cfg(test)]
mod tests;

use std::{io::Write, ops::Range, time::Duration};

use super::{Make, START_MS};
use crate::stream::{Batch, hash_key, splitmix64};

/// How many intervals a cycle has: a sensor misses the same number in each.
const CYCLE_INTERVALS: u64 = 1_000;
/// How many of them it misses.
const MISSED: u64 = 40;
/// How many readings it makes.
const CYCLE_READINGS: u64 = CYCLE_INTERVALS - MISSED;

const LEVEL: Spread = Spread { least: 10_000, most: 30_000 };
const DRIFT_PER_HOUR: Spread = Spread { least: -1_000, most: 1_000 };
const NOISE: Spread = Spread { least: -250, most: 250 };

const HOUR_MS: i128 = 3_600_000;

/// What the `sensors` generator makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorSettings {
    /// How many sensors there are; at least 1.
    pub sensors: u64,
    /// How much event time lies between two readings of a sensor; at least a millisecond.
    pub interval: Duration,
    /// What all draws depend on.
    pub seed: u64,
}

/// A range of numbers, all of them equally likely.
struct Spread {
    least: i64,
    most: i64,
}

impl Spread {
    fn draw(&self, random: u64) -> i64 {
        self.least + (random % (self.most - self.least + 1).unsigned_abs()) as i64
    }
}

/// Makes the readings.
pub(super) struct Sensors {
    sensors: u64,
    interval_ms: u64,
    seed: u64,
    /// The name of a sensor. Empty between calls; kept for its memory.
    name: Vec<u8>,
}

/// What a draw is for: two draws of one sensor have nothing to do with each other.
#[derive(Clone, Copy)]
enum Draw {
    Moment,
    Level,
    Drift,
    /// Of a reading.
    Noise(u64),
    /// Of a cycle.
    Gaps(u64),
}

/// One reading.
struct Reading {
    time_ms: i64,
    /// In thousandths.
    value: i64,
}

impl Sensors {
    pub(super) fn new(settings: &SensorSettings) -> Self {
        let interval_ms = u64::try_from(settings.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { sensors: settings.sensors, interval_ms, seed: settings.seed, name: Vec::new() }
    }

    fn draw(&self, sensor: u64, draw: Draw) -> u64 {
        let (stream, index) = match draw {
            Draw::Moment => (0, 0),
            Draw::Level => (1, 0),
            Draw::Drift => (2, 0),
            Draw::Noise(reading) => (3, reading),
            Draw::Gaps(cycle) => (4, cycle),
        };
        [sensor, stream, index].into_iter().fold(splitmix64(self.seed), |state, part| splitmix64(state ^ part))
    }

    /// Which interval a sensor's reading falls into.
    fn interval_of(&self, sensor: u64, reading: u64) -> u64 {
        let (cycle, within) = (reading / CYCLE_READINGS, reading % CYCLE_READINGS);
        let random = self.draw(sensor, Draw::Gaps(cycle));
        let first_gap = random % (MISSED + 1);
        let places = [(random >> 16) % CYCLE_READINGS, (random >> 40) % CYCLE_READINGS];
        let mut missed = 0;
        if within > places[0].min(places[1]) {
            missed += first_gap;
        }
        if within > places[0].max(places[1]) {
            missed += MISSED - first_gap;
        }
        cycle.saturating_mul(CYCLE_INTERVALS).saturating_add(within + missed)
    }

    fn reading(&self, sensor: u64, reading: u64) -> Reading {
        let moment_ms = self.draw(sensor, Draw::Moment) % self.interval_ms;
        let since_start_ms =
            self.interval_of(sensor, reading).saturating_mul(self.interval_ms).saturating_add(moment_ms);
        let drift_per_hour = DRIFT_PER_HOUR.draw(self.draw(sensor, Draw::Drift));
        let drift = i128::from(drift_per_hour) * i128::from(since_start_ms) / HOUR_MS;
        let level = LEVEL.draw(self.draw(sensor, Draw::Level));
        let noise = NOISE.draw(self.draw(sensor, Draw::Noise(reading)));
        let value = i64::try_from(drift).unwrap_or(i64::MAX).saturating_add(level + noise);
        Reading { time_ms: START_MS.saturating_add_unsigned(since_start_ms), value }
    }
}

impl Make for Sensors {
    const RECORD_BYTES: usize = 96;

    fn make(&mut self, numbers: Range<u64>, batch: &mut Batch) {
        let mut name = std::mem::take(&mut self.name);
        for number in numbers {
            let sensor = number % self.sensors;
            let Reading { time_ms, value } = self.reading(sensor, number / self.sensors);
            name.clear();
            // Writing to a vector can't fail.
            let _ = write!(name, "sensor-{sensor:04}");
            batch.keys.get_or_insert_default().push(&name, hash_key(&name));
            batch.timestamps.push(time_ms);
            batch.values.push_with(|data| write_value(&name, time_ms, value, data));
        }
        self.name = name;
    }
}

fn write_value(name: &[u8], time_ms: i64, value: i64, data: &mut Vec<u8>) {
    let (sign, value) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    data.extend_from_slice(b"{\"sensor\":\"");
    data.extend_from_slice(name);
    // Writing to a vector can't fail.
    let _ = write!(data, "\",\"time\":{time_ms},\"value\":{sign}{}.{:03}}}", value / 1000, value % 1000);
}
