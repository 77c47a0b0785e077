//! `cargo test` in a plugin runs the operator natively, through the same code as in wasm.

use price_alert::{PriceAlert, Rules};
use serde_json::{Value, json};
use wasmill_sdk::{
    Json,
    testing::{Harness, Setup},
};

type Prepared = Harness<PriceAlert, (Rules,)>;

/// Item, time and cents.
const PRICES: [(&str, i64, u64); 7] = [
    ("fig", 1, 500),
    ("fig", 2, 480),
    ("pear", 3, 90),
    ("fig", 4, 650),
    ("fig", 5, 700),
    ("fig", 6, 610),
    ("pear", 7, 90),
];

/// Rule, item and threshold.
const RULES: [(&str, &str, u64); 5] =
    [("ann", "fig", 600), ("bob", "fig", 100), ("bob", "pear", 91), ("ann", "pear", 90), ("cleo", "plum", 1)];

fn send_price(harness: &mut Prepared, (item, time, cents): (&str, i64, u64)) {
    harness.send(item, Json(json!({ "item": item, "time": time, "cents": cents })));
}

fn send_rule(harness: &mut Prepared, (rule, item, threshold): (&str, &str, u64)) {
    harness.send_to::<Rules>((), Json(json!({ "rule": rule, "item": item, "threshold": threshold })));
}

/// All alerts, sorted, when some of the rules come after each price.
fn alerts(setup: Setup, rules_after: [usize; 8]) -> Vec<String> {
    let mut harness = Prepared::with(setup);
    let mut rules = RULES.into_iter();
    for (index, count) in rules_after.into_iter().enumerate() {
        rules.by_ref().take(count).for_each(|rule| send_rule(&mut harness, rule));
        PRICES.get(index).into_iter().for_each(|price| send_price(&mut harness, *price));
    }
    harness.end();
    let mut alerts: Vec<String> = harness.take_outputs_json().iter().map(Value::to_string).collect();
    alerts.sort_unstable();
    alerts
}

#[test]
fn alerts_do_not_depend_on_when_the_rules_come() {
    let expected = [
        r#"{"rule":"ann","item":"fig","threshold":600,"cents":650,"time":4}"#,
        r#"{"rule":"ann","item":"pear","threshold":90,"cents":90,"time":3}"#,
        r#"{"rule":"bob","item":"fig","threshold":100,"cents":500,"time":1}"#,
    ];
    for rules_after in [
        [5, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 5],
        [0, 1, 0, 0, 2, 1, 0, 1],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 1, 1, 1, 1],
    ] {
        for batch in [1, 3, 1024] {
            let setup = Setup::default().batch_records(batch).slots_max(1);
            assert_eq!(alerts(setup, rules_after), expected, "rules: {rules_after:?}, batches of {batch}");
        }
    }
}

#[test]
fn a_rule_is_said_once() {
    let mut harness = Prepared::new();
    send_rule(&mut harness, ("ann", "fig", 600));
    send_rule(&mut harness, ("ann", "fig", 1));
    send_price(&mut harness, ("fig", 1, 500));
    assert_eq!(harness.take_failures()[0].message, "there is a rule \"ann\" for fig already");
    assert!(harness.take_outputs_json().is_empty());
}

#[test]
fn only_prices_above_all_before_are_kept() {
    let mut harness = Prepared::new();
    for time in 0..1_000 {
        send_price(&mut harness, ("fig", time, (time as u64 * 37) % 101));
    }
    send_rule(&mut harness, ("ann", "fig", 100));
    harness.end();
    let alert = json!({ "rule": "ann", "item": "fig", "threshold": 100, "cents": 100, "time": 30 });
    assert_eq!(harness.take_outputs_json(), [alert]);
}
