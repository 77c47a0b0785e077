//! The new version goes on with what the former one has left: here the harness does what `wasmill swap` does to the job.

use fraud_rules_v2::FraudRules;
use serde_json::{Value, json};
use wasmill_sdk::{
    Json,
    testing::{Harness, Setup},
};

type Former = Harness<fraud_rules::FraudRules>;

fn payment(amount: u64, seconds: i64) -> Json<Value> {
    Json(json!({ "price": amount, "date_time": seconds * 1_000 }))
}

/// Card, rule, average and number of the payment.
fn alerts(harness: &mut Harness<FraudRules>) -> Vec<(u64, String, u64, u64)> {
    let number = |alert: &Value, name: &str| alert[name].as_u64().expect("a number");
    let rule = |alert: &Value| alert["rule"].as_str().expect("a text").to_owned();
    let short =
        |alert: Value| (number(&alert, "card"), rule(&alert), number(&alert, "average"), number(&alert, "payment"));
    harness.take_outputs_json().into_iter().map(short).collect()
}

/// Cards 1 to 4 as the former version leaves them: five payments each, the last at second 40.
fn former() -> Former {
    let mut harness = Former::new();
    for card in 1..=4_u64 {
        for (number, amount) in [1_000, 200, 300, 100, 400].into_iter().enumerate() {
            harness.send(card, payment(amount, number as i64 * 10));
        }
    }
    assert!(harness.take_outputs_json().is_empty());
    harness
}

#[test]
fn the_former_rules_go_on_with_the_history_of_each_card() {
    let mut harness: Harness<FraudRules> = former().upgrade();
    // The average of card 1 is 400, of five payments; nobody knows card 9.
    for card in [1_u64, 9] {
        harness.send(card, payment(4_001, 1_000));
    }
    assert_eq!(alerts(&mut harness), [(1, "far-above-average".to_owned(), 400, 6)]);
    // Card 2 has paid five times in this minute, so that its tenth payment comes soon.
    (45..50).for_each(|second| harness.send(2_u64, payment(100, second)));
    assert_eq!(alerts(&mut harness), [(2, "many-in-a-minute".to_owned(), 266, 10)]);
}

#[test]
fn the_new_rule_knows_what_the_former_version_has_listed() {
    let mut harness: Harness<FraudRules> = former().upgrade();
    // More than twice the average, but not twice the largest amount of the list.
    harness.send(3_u64, payment(2_000, 45));
    assert_eq!(alerts(&mut harness), []);
    harness.send(4_u64, payment(2_001, 45));
    assert_eq!(alerts(&mut harness), [(4, "largest-after-tries".to_owned(), 400, 6)]);
}

#[test]
fn the_new_rule_asks_for_tries_within_a_minute() {
    let mut harness = Harness::<FraudRules>::new();
    for (amount, second) in
        [(1, 0), (10, 61), (10, 62), (30, 63), (10, 123), (61, 123), (123, 123), (247, 123), (400, 123)]
    {
        harness.send(7_u64, payment(amount, second));
    }
    // 247 is the first with three before it in its minute; 400 is larger, but not by far.
    assert_eq!(alerts(&mut harness), [(7, "largest-after-tries".to_owned(), 35, 8)]);
}

#[test]
fn values_are_migrated_when_they_are_written() {
    let mut harness: Harness<FraudRules> = former().upgrade();
    assert_eq!(harness.state_versions("card"), [(1, 4)].into());
    harness.send(1_u64, payment(300, 50));
    harness.send(9_u64, payment(300, 50));
    assert_eq!(harness.state_versions("card"), [(1, 3), (2, 2)].into());
    // The list has the same type in both versions.
    assert_eq!(harness.state_versions("recent"), [(1, 4 * 5 + 2)].into());
}

#[test]
fn what_comes_out_has_one_type() {
    let [before, after] = [Former::new().descriptor().clone(), Harness::<FraudRules>::new().descriptor().clone()];
    assert_eq!((before.name, before.output), (after.name, after.output));
}

#[test]
fn it_does_not_matter_when_the_version_changes() {
    let amounts = |number: u64| 1_000_000 / (number * 37 % 1_009 + 1);
    let run = |upgrade_at: u64| {
        let mut former = Former::with(Setup::default().batch_records(5));
        let send_former =
            |former: &mut Former, number| former.send(number % 7, payment(amounts(number), number as i64));
        (0..upgrade_at).for_each(|number| send_former(&mut former, number));
        let mut outputs = former.take_outputs_json();
        let mut harness: Harness<FraudRules> = former.upgrade();
        (upgrade_at..2_000).for_each(|number| harness.send(number % 7, payment(amounts(number), number as i64)));
        outputs.extend(harness.take_outputs_json());
        outputs.retain(|alert| alert["rule"] != "largest-after-tries");
        outputs
    };
    let expected = run(0);
    assert!(expected.len() > 20, "{}", expected.len());
    for upgrade_at in [1, 500, 1_003, 2_000] {
        assert_eq!(run(upgrade_at), expected, "upgraded after {upgrade_at} payments");
    }
}
