//! The readings of the generator `sensors` with seed 0, from what its documentation says, and what the plugins make of them. Readings are in thousandths.

use std::collections::BTreeMap;

use super::splitmix64;

/// How many intervals a sensor's cycle has, and how many of them it misses.
const CYCLE: u64 = 1_000;
const MISSED: u64 = 40;

/// What a draw is for.
const MOMENT: u64 = 0;
const LEVEL: u64 = 1;
const DRIFT: u64 = 2;
const NOISE: u64 = 3;
const GAPS: u64 = 4;

fn draw(sensor: u64, purpose: u64, index: u64) -> u64 {
    [sensor, purpose, index].iter().fold(splitmix64(0), |drawn, part| splitmix64(drawn ^ part))
}

/// A number of -`spread` to `spread`.
fn around_zero(draw: u64, spread: i64) -> i64 {
    (draw % (2 * spread as u64 + 1)) as i64 - spread
}

/// Reading number `index` of a sensor that is due once in a second.
fn reading(sensor: u64, index: u64) -> i64 {
    let made = CYCLE - MISSED;
    let (cycle, within) = (index / made, index % made);
    let gaps = draw(sensor, GAPS, cycle);
    let first = gaps % (MISSED + 1);
    let mut places = [(gaps >> 16) % made, (gaps >> 40) % made];
    places.sort_unstable();
    let before = |place: u64, length: u64| if within > place { length } else { 0 };
    let interval = cycle * CYCLE + within + before(places[0], first) + before(places[1], MISSED - first);
    let since_start_ms = (interval * 1_000 + draw(sensor, MOMENT, 0) % 1_000) as i64;

    let level = 20_000 + around_zero(draw(sensor, LEVEL, 0), 10_000);
    let drift = around_zero(draw(sensor, DRIFT, 0), 1_000) * since_start_ms / 3_600_000;
    level + drift + around_zero(draw(sensor, NOISE, index), 250)
}

/// The sensor's number and its reading, in the order in which one task makes them.
fn readings(count: u64, sensors: u64) -> impl Iterator<Item = (u64, i64)> {
    (0..count).map(move |number| (number % sensors, reading(number % sensors, number / sensors)))
}

/// A number of thousandths as JSON has it.
fn shown(thousandths: i64) -> String {
    format!("{:?}", thousandths as f64 / 1_000.0)
}

/// Each sensor's readings, and at every `every`th and at the end what `line` makes of those that have come. Sorted.
fn lines(count: u64, sensors: u64, every: usize, line: impl Fn(u64, &[i64]) -> String) -> Vec<String> {
    let mut of_sensor: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    let mut lines = Vec::new();
    for (sensor, reading) in readings(count, sensors) {
        let readings = of_sensor.entry(sensor).or_default();
        readings.push(reading);
        if readings.len().is_multiple_of(every) {
            lines.push(line(sensor, readings));
        }
    }
    lines.extend(of_sensor.iter().map(|(sensor, readings)| line(*sensor, readings)));
    lines.sort_unstable();
    lines
}

/// What `sensor-stats` gives.
pub(crate) fn stats_lines(count: u64, sensors: u64, every: usize) -> Vec<String> {
    lines(count, sensors, every, |sensor, readings| {
        let (count, sum) = (readings.len(), readings.iter().sum::<i64>());
        // All of them are above 0, so this rounds to the nearest.
        let mean = shown((sum + count as i64 / 2) / count as i64);
        let [min, max] = [readings.iter().min(), readings.iter().max()].map(|one| shown(*one.expect("there is one")));
        format!(r#"{{"sensor":"sensor-{sensor:04}","count":{count},"mean":{mean},"min":{min},"max":{max}}}"#)
    })
}

/// What `running-list` gives.
pub(crate) fn list_lines(count: u64, sensors: u64, last: usize, every: usize) -> Vec<String> {
    lines(count, sensors, every, |sensor, readings| {
        let last = &readings[readings.len().saturating_sub(last)..];
        let (shown_last, sum) = (last.iter().map(|one| shown(*one)).collect::<Vec<_>>(), shown(last.iter().sum()));
        format!(r#"{{"sensor":"sensor-{sensor:04}","readings":[{}],"sum":{sum}}}"#, shown_last.join(","))
    })
}
