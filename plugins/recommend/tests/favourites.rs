//! `cargo test` in a plugin runs the operator natively, through the same code as in wasm.

use recommend::Recommend;
use serde_json::{Value, json};
use wasmill_sdk::{
    Json,
    testing::{Harness, Setup},
};

fn send(harness: &mut Harness<Recommend>, user: u64, category: &str) {
    harness.send(user, Json(json!({ "time": 0, "user": user, "category": category })));
}

/// The categories of each result, shortened to their views.
fn take(harness: &mut Harness<Recommend>) -> Vec<(u64, String)> {
    let short = |one: &Value| format!("{} {}", one["category"].as_str().unwrap_or_default(), one["views"]);
    let outputs = harness.take_outputs_json().into_iter();
    let top = |output: &Value| output["top"].as_array().into_iter().flatten().map(short).collect::<Vec<_>>().join(", ");
    outputs.map(|output| (output["user"].as_u64().unwrap_or_default(), top(&output))).collect()
}

#[test]
fn favourites_are_emitted_when_they_change_and_at_the_end() {
    let mut harness = Harness::<Recommend>::new();
    for category in ["boots", "boots", "tents", "maps", "lamps", "lamps", "maps", "maps"] {
        send(&mut harness, 7, category);
    }
    // Neither the second view of boots nor the second ones of lamps and maps change the order.
    let expected = [
        "boots 1",
        "boots 2, tents 1",
        "boots 2, maps 1, tents 1",
        "boots 2, lamps 1, maps 1",
        "maps 3, boots 2, lamps 2",
    ]
    .map(|text| (7, text.to_owned()));
    assert_eq!(take(&mut harness), expected);
    harness.end();
    assert_eq!(take(&mut harness), expected[4..]);
    let counts = [("boots", 2), ("lamps", 2), ("maps", 3), ("tents", 1)];
    assert_eq!(harness.map::<String, u64>("views", 7_u64), counts.map(|(name, views)| (name.to_owned(), views)));
}

#[test]
fn users_do_not_share_views_however_many_there_are() {
    let mut harness = Harness::<Recommend>::with(Setup::default().slots_max(2).batch_records(3));
    for round in 0..20 {
        for user in 0..5 {
            send(&mut harness, user, ["tents", "maps"][usize::from(user % 2 == round % 2)]);
        }
        if round % 4 == 3 {
            harness.reopen();
        }
    }
    take(&mut harness);
    harness.end();
    let mut last = take(&mut harness);
    last.sort_unstable();
    assert_eq!(last, [0, 1, 2, 3, 4].map(|user| (user, "maps 10, tents 10".to_owned())));
}
