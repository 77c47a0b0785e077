//! `cargo test` in a plugin runs the operator natively, through the same code as in wasm.

use running_list::RunningList;
use serde_json::json;
use wasmill_sdk::{
    Json,
    testing::{Harness, Setup},
};

fn setup(last: usize, every: u64) -> Setup {
    Setup::default().config(json!({ "last": last, "every": every }))
}

fn send(harness: &mut Harness<RunningList>, sensor: &str, value: f64) {
    harness.send(sensor, Json(json!({ "sensor": sensor, "time": 0, "value": value })));
}

#[test]
fn the_last_readings_are_emitted_at_every_nth_and_at_the_end() {
    let mut harness = Harness::<RunningList>::with(setup(2, 3));
    for (sensor, value) in [("a", 1.0), ("a", 2.5), ("b", -1.0), ("a", 0.25), ("a", 4.0)] {
        send(&mut harness, sensor, value);
    }
    let third = json!({ "sensor": "a", "readings": [2.5, 0.25], "sum": 2.75 });
    assert_eq!(harness.take_outputs_json(), [third]);
    harness.end();
    assert_eq!(
        harness.take_outputs_json(),
        [
            json!({ "sensor": "a", "readings": [0.25, 4.0], "sum": 4.25 }),
            json!({ "sensor": "b", "readings": [-1.0], "sum": -1.0 })
        ]
    );
}

#[test]
fn a_list_stays_short() {
    let mut harness = Harness::<RunningList>::with(setup(3, 10).batch_records(4));
    for number in 0..105 {
        send(&mut harness, "a", f64::from(number));
        assert!(harness.list::<i64>("readings", "a").len() < 3 + 10);
    }
    assert_eq!(harness.list::<i64>("readings", "a"), (97..105).map(|number| number * 1_000).collect::<Vec<_>>());
}

#[test]
fn lists_survive_batches_eviction_and_another_instance() {
    let mut harness = Harness::<RunningList>::with(setup(2, 1).slots_max(2).batch_records(5));
    for round in 0..50 {
        for sensor in ["a", "b", "c"] {
            send(&mut harness, sensor, f64::from(round));
        }
        if round % 7 == 0 {
            harness.reopen();
        }
    }
    let outputs = harness.take_outputs_json();
    assert_eq!(outputs.len(), 150);
    assert_eq!(outputs[149], json!({ "sensor": "c", "readings": [48.0, 49.0], "sum": 97.0 }));
}

#[test]
fn wrong_configuration_is_refused() {
    for (last, every) in [(0, 1), (1, 0)] {
        let error = Harness::<RunningList>::open(setup(last, every)).err();
        assert_eq!(error.as_deref(), Some("config: last and every: must be at least 1"));
    }
}
