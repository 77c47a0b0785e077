//! Readings are what the module says of them: gaps, drift, and nothing that depends on tasks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::{
    super::{
        Datagen, Generator,
        tests::{Made, check_shares, made},
    },
    *,
};
use crate::{
    connector::Source,
    stream::{BatchLimits, schema::Schema},
};

fn settings(sensors: u64, seed: u64) -> SensorSettings {
    SensorSettings { sensors, interval: Duration::from_secs(1), seed }
}

fn records(settings: &SensorSettings, count: u64) -> Vec<Made> {
    made(&Generator::Sensors(settings.clone()), count, 1, BatchLimits::default()).concat()
}

#[test]
fn readings_are_frozen() {
    let shown: Vec<String> =
        records(&settings(3, 42), 4).into_iter().map(|(_, value, _)| String::from_utf8(value).unwrap()).collect();
    let expected = [
        r#"{"sensor":"sensor-0000","time":1436918400243,"value":24.651}"#,
        r#"{"sensor":"sensor-0001","time":1436918400736,"value":24.244}"#,
        r#"{"sensor":"sensor-0002","time":1436918400093,"value":21.235}"#,
        r#"{"sensor":"sensor-0000","time":1436918401243,"value":24.759}"#,
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_reading_has_its_sensor_as_key_and_its_time_twice() {
    let settings = settings(12_345, 1);
    let source = Datagen::new(Generator::Sensors(settings.clone()), None, None);
    assert_eq!((source.key_schema(), source.value_schema()), (Some(Schema::text()), Schema::json()));
    for (number, (key, value, time)) in records(&settings, 12_346).into_iter().enumerate() {
        let document: Value = serde_json::from_slice(&value).unwrap();
        let key = String::from_utf8(key.unwrap()).unwrap();
        assert_eq!(key, format!("sensor-{:04}", number % 12_345));
        assert_eq!(document["sensor"], key);
        assert_eq!(document["time"].as_i64(), time);
        assert!(document["value"].is_f64() && document.as_object().unwrap().len() == 3, "{document}");
    }
}

#[test]
fn values_are_written_with_three_decimals() {
    let shown = |value| {
        let mut data = Vec::new();
        write_value(b"sensor-0001", -5, value, &mut data);
        String::from_utf8(data).unwrap()
    };
    for (value, expected) in [
        (0, "0.000"),
        (7, "0.007"),
        (-7, "-0.007"),
        (21_340, "21.340"),
        (-1_001, "-1.001"),
        (i64::MIN, "-9223372036854775.808"),
    ] {
        assert_eq!(shown(value), format!("{{\"sensor\":\"sensor-0001\",\"time\":-5,\"value\":{expected}}}"));
    }
}

#[test]
fn a_sensor_misses_forty_of_a_thousand_intervals_in_two_gaps_at_most() {
    let sensors = Sensors::new(&settings(1, 99));
    let (mut silences, mut cycles_with_two) = (BTreeMap::new(), 0);
    for sensor in 0..20 {
        for cycle in 0..20 {
            let intervals: Vec<u64> = (0..CYCLE_READINGS)
                .map(|within| sensors.interval_of(sensor, cycle * CYCLE_READINGS + within))
                .collect();
            assert!(intervals.iter().all(|interval| interval / CYCLE_INTERVALS == cycle));
            let ends = [(cycle + 1) * CYCLE_INTERVALS];
            let missed: Vec<u64> = intervals
                .iter()
                .chain(&ends)
                .zip(intervals.iter().skip(1).chain(&ends))
                .map(|(a, b)| (b - a).saturating_sub(1))
                .filter(|gap| *gap > 0)
                .collect();
            let at_the_end = ends[0] - 1 - intervals[intervals.len() - 1];
            assert_eq!(
                missed.iter().sum::<u64>(),
                MISSED,
                "sensor {sensor}, cycle {cycle}: {missed:?} and {at_the_end}"
            );
            assert!((1..=2).contains(&missed.len()), "{missed:?}");
            cycles_with_two += usize::from(missed.len() == 2);
            missed.iter().for_each(|gap| *silences.entry(*gap).or_insert(0) += 1);
        }
    }
    assert!(cycles_with_two > 300 && silences.len() > 30, "{cycles_with_two}, {silences:?}");
}

#[test]
fn a_reading_is_late_by_less_than_forty_one_intervals() {
    let mut newest = i64::MIN;
    let mut latest = 0;
    for (_, _, time) in records(&settings(50, 5), 100_000) {
        let time = time.unwrap();
        newest = newest.max(time);
        latest = latest.max(newest - time);
    }
    assert!((20_000..41_000).contains(&latest), "{latest}");
}

#[test]
fn values_drift_at_a_steady_pace() {
    let sensors = Sensors::new(&settings(1, 3));
    let mut paces = Vec::new();
    for sensor in 0..50 {
        let mean = |from: u64| (from..from + 500).map(|n| sensors.reading(sensor, n).value).sum::<i64>() / 500;
        // Ten hours of readings are 34,560.
        let [begin, middle, end] = [0, 172_800, 345_600].map(mean);
        assert!((10_000 - 100..=30_000 + 200).contains(&begin), "level {begin}");
        assert!(
            ((end - middle) - (middle - begin)).abs() < 60,
            "sensor {sensor} drifts from {begin} to {middle} to {end}"
        );
        let pace = (end - begin) / 100;
        assert!(pace.abs() <= 1_001, "{pace} thousandths an hour");
        paces.push(pace);
    }
    assert!(paces.iter().any(|pace| *pace > 500) && paces.iter().any(|pace| *pace < -500), "{paces:?}");
    let noise: Vec<i64> = (0..1000).map(|n| sensors.reading(0, n).value - sensors.reading(0, 0).value).collect();
    assert!(noise.iter().all(|noise| noise.abs() <= 800) && noise.iter().any(|noise| noise.abs() > 200), "{noise:?}");
}

#[test]
fn seeds_make_different_readings_and_tasks_share_them() {
    assert_ne!(records(&settings(3, 1), 100), records(&settings(3, 2), 100));
    assert_eq!(records(&settings(3, 1), 100), records(&settings(3, 1), 100));
    check_shares(&Generator::Sensors(settings(10, 4)), 10_000);
    check_shares(&Generator::Sensors(settings(1, 4)), 3);
}

proptest! {
    /// Any settings: times of a sensor rise, and nothing overflows.
    #[test]
    fn no_number_is_too_large(sensors in 1_u64.., interval_ms in 1_u64..86_400_000, seed: u64, sensor: u64, reading: u64) {
        let made = Sensors::new(&SensorSettings { sensors, interval: Duration::from_millis(interval_ms), seed });
        let sensor = sensor % sensors;
        let (one, next) = (made.reading(sensor, reading), made.reading(sensor, reading.saturating_add(1)));
        prop_assert!(one.time_ms <= next.time_ms);
        if reading < 1 << 32 {
            prop_assert!(one.time_ms < next.time_ms);
        }
    }
}
