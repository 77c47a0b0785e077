//! `cargo test` in a plugin runs the operator natively, through the same code as in wasm.

use keyed_sum::KeyedSum;
use serde_json::json;
use wasmill_sdk::testing::{Harness, Setup};

#[test]
fn every_nth_update_of_a_key_is_emitted_and_the_sums_at_the_end() {
    let mut harness = Harness::<KeyedSum>::with(Setup::default().config(json!({ "emit-every": 2 })));
    for (key, value) in [(1_u64, 10_u64), (2, 20), (1, 30), (1, 40)] {
        harness.send(key, value);
    }
    assert_eq!(harness.take_outputs_json(), [json!({ "key": 1, "sum": 40, "updates": 2 })]);
    harness.end();
    assert_eq!(
        harness.take_outputs_json(),
        [json!({ "key": 1, "sum": 80, "updates": 3 }), json!({ "key": 2, "sum": 20, "updates": 1 })]
    );
}

#[test]
fn the_end_is_silent_without_final() {
    let mut harness = Harness::<KeyedSum>::with(Setup::default().config(json!({ "final": false })));
    harness.send(1_u64, 10_u64);
    harness.end();
    assert!(harness.take_emitted().is_empty());
}

#[test]
fn sums_wrap_around() {
    let mut harness = Harness::<KeyedSum>::with(Setup::default().config(json!({ "emit-every": 2 })));
    harness.send(1_u64, u64::MAX);
    harness.send(1_u64, 3_u64);
    assert_eq!(harness.take_outputs_json(), [json!({ "key": 1, "sum": 2, "updates": 2 })]);
}

#[test]
fn all_keys_are_visited_when_they_do_not_fit_at_once() {
    let mut harness = Harness::<KeyedSum>::with(Setup::default().slots_max(10).batch_records(7));
    for value in 0..1_000_u64 {
        harness.send(value % 100, value);
    }
    harness.end();
    let mut sums: Vec<u64> = harness.take_outputs_json().iter().filter_map(|sum| sum["key"].as_u64()).collect();
    sums.sort_unstable();
    assert_eq!(sums, (0..100).collect::<Vec<_>>());
    assert_eq!(harness.state::<(u64, u64)>("sum", 7_u64), Some(((0..10).map(|round| round * 100 + 7).sum(), 10)));
}

#[test]
fn wrong_configuration_names_its_key() {
    let open = |config| Harness::<KeyedSum>::open(Setup::default().config(config)).err();
    assert_eq!(
        open(json!({ "emit-every": "x" })).as_deref(),
        Some("config: emit-every: invalid type: string \"x\", expected u64")
    );
    assert_eq!(open(json!({ "emit-every": 0 })).as_deref(), Some("config: emit-every: must be at least 1"));
    assert_eq!(
        open(json!({ "emitevery": 1 })).as_deref(),
        Some("config: emitevery: unknown field `emitevery`, expected `emit-every` or `final`")
    );
}
