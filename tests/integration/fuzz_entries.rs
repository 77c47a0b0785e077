//! The entries of `host/fuzz` with random bytes, and with bytes of what was stored of which a few are others: nothing panics, and what is read is in order.

use std::fs;

use proptest::{collection::vec, prelude::*, sample::Index};

use crate::harness::root;

#[path = "../../host/fuzz/entries/columns.rs"]
mod columns;
#[path = "../../host/fuzz/entries/manifest.rs"]
mod manifest;
#[path = "../../host/fuzz/entries/segment.rs"]
mod segment;

/// A recorded file of the job `every-state`.
fn stored(name: &str) -> Vec<u8> {
    let folder = root().join("tests/fixtures/checkpoint-format-2/every-state/storage/every-state");
    fs::read(folder.join(name)).expect("it is there")
}

/// A few bytes of one text become others.
fn changed(text: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    vec((any::<Index>(), any::<u8>()), 0..6).prop_map(move |changes| {
        let mut text = text.clone();
        changes.into_iter().for_each(|(at, byte)| {
            let at = at.index(text.len());
            text[at] = byte;
        });
        text
    })
}

/// A few digits of one text become others, so that it stays a document.
fn misnumbered(text: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let digits: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
    vec((any::<Index>(), b'0'..=b'9'), 1..4).prop_map(move |changes| {
        let mut text = text.clone();
        changes.into_iter().for_each(|(at, digit)| text[*at.get(&digits)] = digit);
        text
    })
}

proptest! {
    #[test]
    fn whatever_a_segment_is_its_reader_says_what_is_in_order_or_that_it_is_damaged(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..300),
            changed(stored("segments/keep/1-1-3-5.seg")),
            changed(stored("segments/keep/1-0-4-8.seg")),
        ],
    ) {
        segment::feed(&bytes);
    }

    #[test]
    fn a_manifest_that_can_be_read_is_written_as_it_was_read(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..300),
            changed(stored("checkpoints/4/manifest.json")),
            misnumbered(stored("checkpoints/4/manifest.json")),
        ],
    ) {
        manifest::feed(&bytes);
    }

    #[test]
    fn whatever_columns_a_guest_hands_over_the_task_goes_on_and_what_leaves_it_is_whole(
        bytes in vec(any::<u8>(), 0..400),
    ) {
        columns::feed(&bytes);
    }
}
