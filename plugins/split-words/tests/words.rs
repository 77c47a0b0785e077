//! `cargo test` in a plugin runs the operator natively, through the same code as in wasm.

use proptest::prelude::*;
use split_words::{SplitWords, Splitter};
use wasmill_sdk::testing::Harness;

fn words(line: &str) -> Vec<String> {
    Splitter::default().split(line).map(str::to_owned).collect()
}

/// What it must do, by definition.
fn expected(line: &str) -> Vec<String> {
    line.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn words_are_keys_in_lower_case() {
    let mut harness = Harness::<SplitWords>::new();
    harness.send((), "To be, or NOT to be: that's 2 questions!");
    harness.send((), "");
    harness.send((), "  Größe  ");
    let words: Vec<(String, ())> = harness.take_keyed_outputs();
    let words: Vec<&str> = words.iter().map(|(word, ())| word.as_str()).collect();
    assert_eq!(words, ["to", "be", "or", "not", "to", "be", "that", "s", "2", "questions", "größe"]);
}

#[test]
fn event_times_are_inherited() {
    let mut harness = Harness::<SplitWords>::new();
    let time = wasmill_sdk::EventTime::from_millis(5);
    harness.send((), "none");
    harness.send_at((), "five five", time);
    let times: Vec<_> = harness.take_emitted().iter().map(|emitted| emitted.time).collect();
    assert_eq!(times, [None, Some(time), Some(time)]);
}

#[test]
fn a_line_that_is_no_text_fails_alone() {
    let mut harness = Harness::<SplitWords>::new();
    harness.send((), "good");
    harness.send_bytes(b"", b"b\xFFd", None);
    harness.send((), "better");
    assert_eq!(harness.take_emitted().len(), 2);
    assert_eq!(harness.take_failures()[0].index, 1);
}

#[test]
fn awkward_lines_split_as_defined() {
    let long = "Word ".repeat(100);
    let dense = "x".repeat(200);
    for line in [
        "ΑΣ",
        "ΟΔΥΣΣΕΥΣ ΚΑΙ Σ",
        "İstanbul",
        "a\u{307}b",
        "ǅ",
        "½ ² ⅷ",
        "a\0b\x7Fc",
        "@[`{/:AZaz09",
        "日本語 テキスト",
        &long,
        &dense,
    ] {
        assert_eq!(words(line), expected(line), "{line:?}");
    }
    // Every length around the sizes of the blocks.
    for length in 0..200 {
        for line in [&dense[..length], &long[..length], &" ".repeat(length)] {
            assert_eq!(words(line), expected(line), "{line:?}");
        }
    }
}

#[test]
fn every_character_is_classified_and_lowered_as_defined() {
    for character in '\0'..=char::MAX {
        if character != 'Σ' {
            let line = format!("a{character}B");
            assert_eq!(words(&line), expected(&line), "{character:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_line_splits_as_defined(line in prop_oneof!["[ -~]{0,200}", "[a-zA-Z0-9 .ÄéßΣσİ]{0,100}", "\\PC{0,100}"]) {
        prop_assert_eq!(words(&line), expected(&line));
    }

    /// Buffers of earlier lines leave no trace.
    #[test]
    fn lines_do_not_meet(lines in proptest::collection::vec("[a-zA-Z é]{0,150}", 0..5)) {
        let mut splitter = Splitter::default();
        for line in lines {
            let words: Vec<String> = splitter.split(&line).map(str::to_owned).collect();
            prop_assert_eq!(words, expected(&line));
        }
    }
}
