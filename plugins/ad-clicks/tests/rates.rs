//! `cargo test` in a plugin runs the operator natively, through the same code as in wasm.

use ad_clicks::AdClicks;
use serde_json::json;
use wasmill_sdk::{Json, testing::Harness};

fn send(harness: &mut Harness<AdClicks>, ad: &str, event: &str) {
    harness.send(ad, Json(json!({ "time": 0, "ad": ad, "event": event })));
}

#[test]
fn every_click_gives_the_rate_and_so_does_the_end() {
    let mut harness = Harness::<AdClicks>::new();
    let events = ["impression", "impression", "click", "impression"];
    events.iter().for_each(|event| send(&mut harness, "boots", event));
    send(&mut harness, "tents", "impression");
    let click = json!({ "ad": "boots", "impressions": 2, "clicks": 1, "percent": 50.0 });
    assert_eq!(harness.take_outputs_json(), [click]);
    harness.end();
    assert_eq!(
        harness.take_outputs_json(),
        [
            json!({ "ad": "boots", "impressions": 3, "clicks": 1, "percent": 33.33 }),
            json!({ "ad": "tents", "impressions": 1, "clicks": 0, "percent": 0.0 })
        ]
    );
}

#[test]
fn a_click_before_the_first_impression_has_no_rate() {
    let mut harness = Harness::<AdClicks>::new();
    send(&mut harness, "boots", "click");
    let click = json!({ "ad": "boots", "impressions": 0, "clicks": 1, "percent": null });
    assert_eq!(harness.take_outputs_json(), [click]);
}

#[test]
fn an_event_of_another_kind_fails_alone() {
    let mut harness = Harness::<AdClicks>::new();
    send(&mut harness, "boots", "purchase");
    send(&mut harness, "boots", "click");
    assert_eq!(harness.take_failures()[0].index, 0);
    assert_eq!(harness.take_outputs_json().len(), 1);
}
