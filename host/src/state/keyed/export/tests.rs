//! What is exported is what a `BTreeMap` of stored keys holds, whether state stayed in memory or was evicted.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::state::keyed::model::{Both, Memory, VALUE, Write, state, writes};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_entry_is_exported_once_and_in_order(writes in vec(writes(), 0..300), memory in prop_oneof![Just(Memory::Enough), Just(Memory::Tiny)]) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut both = Both::new(state(memory, &folder, None));
        for (key, write) in &writes {
            both.write(*key, write);
        }
        let (exported, expected) = (both.exported(), both.expected());
        prop_assert_eq!(&exported, &expected);
        prop_assert_eq!(both.exported(), expected, "a second time");
    }
}

#[test]
fn a_taker_that_fails_ends_the_export() {
    for memory in [Memory::Enough, Memory::Tiny] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut both = Both::new(state(memory, &folder, None));
        (0..10).for_each(|key| both.write(key, &Write::Point(VALUE, false)));
        let mut left = 3;
        let failed = both.state.export(&mut |_, _| {
            left -= 1;
            if left == 0 { Err(io::Error::other("the disk is full")) } else { Ok(()) }
        });
        assert_eq!((failed.expect_err("it fails").to_string().as_str(), left), ("the disk is full", 0));
    }
}
