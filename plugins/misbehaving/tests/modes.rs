//! The modes that do no harm to a test. The others need the sandbox.

use misbehaving::Misbehaving;
use serde_json::json;
use wasmill_sdk::testing::{Harness, Setup};

fn run(config: serde_json::Value) -> Harness<Misbehaving> {
    let mut harness = Harness::with(Setup::default().config(config));
    for value in 0..5_u64 {
        harness.send(7_u64, value);
    }
    harness.run();
    harness
}

#[test]
fn a_record_that_fails_is_undone_alone() {
    let mut harness = run(json!({ "mode": "fail", "on": 2 }));
    assert_eq!(harness.state::<u64>("count", 7_u64), Some(4));
    let last = harness.take_outputs_json();
    assert_eq!(last.len(), 4);
    assert_eq!(last[3], json!({ "key": 7, "count": 4 }));
    let failures = harness.take_failures();
    assert_eq!((failures.len(), failures[0].index), (1, 2));
    assert_eq!(failures[0].message, "the record with the value 2 fails, as configured");
}

#[test]
fn it_behaves_when_it_is_not_told_otherwise() {
    let mut harness = run(json!({}));
    assert_eq!(harness.state::<u64>("count", 7_u64), Some(5));
    assert!(harness.take_failures().is_empty());
}

#[test]
fn slow_and_talkative_records_end_well() {
    let mut slow = run(json!({ "mode": "slow", "on": 2, "milliseconds": 1 }));
    assert_eq!(slow.state::<u64>("count", 7_u64), Some(5));
    let mut talkative = run(json!({ "mode": "log", "on": 2 }));
    assert_eq!(talkative.take_logs().len(), 100_000);
    assert_eq!(talkative.state::<u64>("count", 7_u64), Some(5));
}

#[test]
fn open_can_fail() {
    let error = Harness::<Misbehaving>::open(Setup::default().config(json!({ "mode": "open-fail" }))).err();
    assert_eq!(error.as_deref(), Some("open fails, as configured"));
    let error = Harness::<Misbehaving>::open(Setup::default().config(json!({ "mode": "opn-fail" }))).err();
    assert!(error.is_some_and(|text| text.starts_with("config: mode: unknown variant `opn-fail`")));
}

#[test]
#[should_panic(expected = "the record with the value 2 panics, as configured")]
fn a_panic_is_a_panic() {
    run(json!({ "mode": "panic", "on": 2 }));
}
