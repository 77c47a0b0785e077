//! The operator in a native harness: through the same code as in WebAssembly, without it.

use operator_name::HighBids;

use serde_json::json;
use wasmill_sdk::{
    Json,
    testing::{Harness, Setup},
};

#[test]
fn bids_below_the_price_are_dropped() {
    let mut harness =
        Harness::<HighBids>::with(Setup::default().config(json!({ "min-price": 100 })));
    for (auction, price) in [(1, 99), (2, 100), (1, 101)] {
        harness.send(
            (),
            Json(json!({ "auction": auction, "bidder": 7, "price": price, "channel": "x" })),
        );
    }
    let expected = [
        json!({ "auction": 2, "bidder": 7, "price": 100 }),
        json!({ "auction": 1, "bidder": 7, "price": 101 }),
    ];
    assert_eq!(harness.take_outputs_json(), expected);
}

#[test]
fn a_price_of_nothing_is_refused() {
    let refused =
        Harness::<HighBids>::open(Setup::default().config(json!({ "min-price": 0 }))).err();
    assert!(refused.is_some_and(|error| error.contains("min-price")));
}
