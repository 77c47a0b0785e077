//! The operator in a native harness: through the same code as in WebAssembly, without it.

use operator_name::HighestReading;

use serde_json::json;
use wasmill_sdk::{Json, testing::Harness};

#[test]
fn a_reading_is_emitted_when_it_is_the_highest_of_its_sensor() {
    let mut harness = Harness::<HighestReading>::new();
    for (time, sensor, value) in [
        (1, "a", 20.0),
        (2, "b", 5.0),
        (3, "a", 19.0),
        (4, "a", 21.5),
        (5, "b", 5.0),
    ] {
        harness.send(
            sensor,
            Json(json!({ "sensor": sensor, "time": time, "value": value })),
        );
    }
    let expected = [
        json!({ "sensor": "a", "time": 1, "value": 20.0 }),
        json!({ "sensor": "b", "time": 2, "value": 5.0 }),
        json!({ "sensor": "a", "time": 4, "value": 21.5 }),
    ];
    assert_eq!(harness.take_outputs_json(), expected);
    assert_eq!(harness.state::<f64>("highest", "a"), Some(21.5));
}

#[test]
fn a_record_that_is_no_reading_fails_alone() {
    let mut harness = Harness::<HighestReading>::new();
    harness.send("a", Json(json!({ "time": 1, "value": "warm" })));
    harness.send("a", Json(json!({ "time": 2, "value": 20.0 })));
    assert_eq!(harness.take_outputs_json().len(), 1);
    assert_eq!(harness.take_failures()[0].index, 0);
}
