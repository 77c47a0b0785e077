//! `cargo test` in a plugin runs the operator natively, through the same code as in wasm.

use serde_json::json;
use wasmill_sdk::testing::{Harness, Setup};
use word_count::WordCount;

#[test]
fn every_word_is_answered_with_its_count() {
    let mut harness = Harness::<WordCount>::new();
    for word in ["to", "be", "or", "not", "to", "be"] {
        harness.send(word, ());
    }
    let last = harness.take_outputs_json().split_off(4);
    assert_eq!(last, [json!({ "word": "to", "count": 2 }), json!({ "word": "be", "count": 2 })]);
    assert_eq!(harness.state::<u64>("count", "or"), Some(1));
    assert_eq!(harness.state::<u64>("count", "absent"), None);
}

#[test]
fn counts_survive_batches_eviction_and_another_instance() {
    // Three keys, room for two, batches of four: keys come and go all the time.
    let mut harness = Harness::<WordCount>::with(Setup::default().slots_max(2).batch_records(4));
    for round in 1..=50_u64 {
        for word in ["a", "a longer word", "b"] {
            harness.send(word, ());
            assert_eq!(harness.state::<u64>("count", word), Some(round));
        }
        if round % 10 == 0 {
            harness.reopen();
        }
    }
}

#[test]
fn a_word_that_is_no_text_fails_alone() {
    let mut harness = Harness::<WordCount>::new();
    harness.send("good", ());
    harness.send_bytes(b"b\xFFd", b"", None);
    harness.send("good", ());
    assert_eq!(harness.take_failures()[0].index, 1);
    assert_eq!(harness.state::<u64>("count", "good"), Some(2));
}
