//! `cargo test` in a plugin runs the operator natively, through the same code as in wasm.

use fraud_rules::FraudRules;
use serde_json::{Value, json};
use wasmill_sdk::{
    Json,
    testing::{Harness, Setup},
};

/// Amount, and time in seconds.
fn pay(harness: &mut Harness<FraudRules>, card: u64, (amount, seconds): (u64, i64)) {
    harness.send(card, Json(json!({ "bidder": card, "price": amount, "date_time": seconds * 1_000 })));
}

/// Rule and number of the payment of each alert.
fn alerts(harness: &mut Harness<FraudRules>) -> Vec<(String, u64)> {
    let short = |alert: Value| {
        (alert["rule"].as_str().expect("a text").to_owned(), alert["payment"].as_u64().expect("a number"))
    };
    harness.take_outputs_json().into_iter().map(short).collect()
}

#[test]
fn an_amount_far_above_the_average_is_reported() {
    let mut harness = Harness::<FraudRules>::new();
    // One in ten minutes. The second is far above the first, but little is known of the card then.
    for (number, amount) in [90, 910, 500, 400, 600, 5_000, 12_500, 1_000_000].into_iter().enumerate() {
        pay(&mut harness, 7, (amount, number as i64 * 600));
    }
    let alert = |amount: u64, average: u64, payment: u64| {
        let time = (payment - 1) * 600_000;
        json!({ "card": 7, "rule": "far-above-average", "amount": amount, "average": average, "payment": payment, "time": time })
    };
    // 5,000 and 12,500 are ten times the average of those before, and not more.
    assert_eq!(harness.take_outputs_json(), [alert(1_000_000, 2_857, 8)]);
    pay(&mut harness, 8, (1_000_000, 0));
    assert!(harness.take_outputs_json().is_empty(), "each card has its own average");
}

#[test]
fn a_burst_of_payments_is_reported_once() {
    let mut harness = Harness::<FraudRules>::new();
    // The tenth is a second less than a minute after the first.
    [0, 50, 51, 52, 53, 54, 55, 56, 57, 59].into_iter().for_each(|second| pay(&mut harness, 7, (100, second)));
    assert_eq!(alerts(&mut harness), [("many-in-a-minute".to_owned(), 10)]);
    (60..100).for_each(|second| pay(&mut harness, 7, (100, second)));
    assert_eq!(alerts(&mut harness), [("many-in-a-minute".to_owned(), 11)], "the first one is a minute ago");
    (0..10).for_each(|number| pay(&mut harness, 7, (100, 200 + 7 * number)));
    assert!(alerts(&mut harness).is_empty(), "never more than nine in a minute");
    (0..10).for_each(|second| pay(&mut harness, 7, (100, 400 + second)));
    assert_eq!(alerts(&mut harness), [("many-in-a-minute".to_owned(), 70)]);
}

#[test]
fn the_list_stays_short() {
    let items = |harness: &mut Harness<FraudRules>| harness.state_versions("recent").values().sum::<usize>();
    let mut harness = Harness::<FraudRules>::with(Setup::default().batch_records(4));
    for second in 0..500 {
        pay(&mut harness, 7, (100, second));
        assert!(items(&mut harness) <= 11);
    }
    pay(&mut harness, 7, (100, 1_000));
    assert_eq!(items(&mut harness), 1);
}

#[test]
fn alerts_do_not_depend_on_batches_eviction_and_other_instances() {
    let run = |setup: Setup, reopen_every: u64| {
        let mut harness = Harness::<FraudRules>::with(setup);
        for number in 0..2_000_u64 {
            let amount = 1_000_000 / (number * 37 % 1_009 + 1);
            pay(&mut harness, number * number % 7, (amount, number as i64));
            if number % reopen_every == 0 {
                harness.reopen();
            }
        }
        harness.take_outputs_json()
    };
    let expected = run(Setup::default(), 10_000);
    assert!(expected.len() > 20, "{}", expected.len());
    for (batch, slots, reopen_every) in [(1, 1, 3), (5, 2, 70), (1_024, 3, 11)] {
        assert_eq!(run(Setup::default().batch_records(batch).slots_max(slots), reopen_every), expected);
    }
}
