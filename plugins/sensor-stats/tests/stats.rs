//! `cargo test` in a plugin runs the operator natively, through the same code as in wasm.

use sensor_stats::SensorStats;
use serde_json::json;
use wasmill_sdk::{
    Json,
    testing::{Harness, Setup},
};

fn harness(every: u64) -> Harness<SensorStats> {
    Harness::with(Setup::default().config(json!({ "every": every })))
}

fn send(harness: &mut Harness<SensorStats>, sensor: &str, value: f64) {
    harness.send(sensor, Json(json!({ "sensor": sensor, "time": 0, "value": value })));
}

#[test]
fn every_nth_reading_gives_the_figures_and_so_does_the_end() {
    let mut harness = harness(2);
    for (sensor, value) in [("a", 1.5), ("b", -3.0), ("a", 0.25), ("a", 2.0)] {
        send(&mut harness, sensor, value);
    }
    let second = json!({ "sensor": "a", "count": 2, "mean": 0.875, "min": 0.25, "max": 1.5 });
    assert_eq!(harness.take_outputs_json(), [second]);
    harness.end();
    assert_eq!(
        harness.take_outputs_json(),
        [
            json!({ "sensor": "a", "count": 3, "mean": 1.25, "min": 0.25, "max": 2.0 }),
            json!({ "sensor": "b", "count": 1, "mean": -3.0, "min": -3.0, "max": -3.0 })
        ]
    );
}

#[test]
fn the_order_of_the_readings_does_not_matter() {
    let readings: Vec<f64> = (0..1_000).map(|number| f64::from(number * 7_919 % 1_000) / 1_000.0 - 0.1).collect();
    let figures = |readings: &mut dyn Iterator<Item = &f64>| {
        let mut harness = harness(u64::MAX);
        readings.for_each(|value| send(&mut harness, "a", *value));
        harness.end();
        harness.take_outputs_json()
    };
    let expected = [json!({ "sensor": "a", "count": 1_000, "mean": 0.4, "min": -0.1, "max": 0.899 })];
    assert_eq!(figures(&mut readings.iter()), expected);
    assert_eq!(figures(&mut readings.iter().rev()), expected);
}

#[test]
fn a_reading_without_a_value_fails_alone() {
    let mut harness = harness(1);
    harness.send_bytes(b"a", br#"{"sensor":"a"}"#, None);
    send(&mut harness, "a", 4.0);
    assert_eq!(harness.take_failures()[0].index, 0);
    assert_eq!(harness.take_outputs_json()[0]["count"], 1);
}

#[test]
fn figures_of_no_readings_are_refused() {
    let error = Harness::<SensorStats>::open(Setup::default().config(json!({ "every": 0 }))).err();
    assert_eq!(error.as_deref(), Some("config: every: must be at least 1"));
}
