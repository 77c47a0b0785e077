//! The order of some entries of a run: entry numbers sorted by key, in blocks.
//!
//! A sorted array that is cut into blocks of a bounded size, so that an insertion moves a few hundred numbers at most. It holds no keys; whoever calls says what the key of an
//! entry is. Entries that come in ascending order, as those of one map do when they are evicted, are appended.

use std::ops::Bound;

/// Entry numbers in a block. Moving half a kilobyte costs less than finding the place.
const BLOCK_ENTRIES_MAX: usize = 256;

/// Entry numbers, sorted by their keys. No block is empty.
#[derive(Debug, Default)]
pub(super) struct OrderedIndex {
    blocks: Vec<Vec<u32>>,
}

/// A place between two entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    block: usize,
    within: usize,
}

impl OrderedIndex {
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
    }

    /// Adds an entry that is not in it.
    pub(super) fn insert<'a>(&mut self, entry: u32, key_of: impl Fn(u32) -> &'a [u8]) {
        let key = key_of(entry);
        // The last block that begins before the key, or the first one.
        let block = self.blocks.partition_point(|block| key_of(block[0]) < key).saturating_sub(1);
        let Some(entries) = self.blocks.get_mut(block) else {
            self.blocks.push(vec![entry]);
            return;
        };
        let within = entries.partition_point(|other| key_of(*other) < key);
        if entries.len() < BLOCK_ENTRIES_MAX {
            entries.insert(within, entry);
        } else if within == entries.len() {
            // Ascending keys leave full blocks behind.
            self.blocks.insert(block + 1, vec![entry]);
        } else {
            let mut upper = entries.split_off(BLOCK_ENTRIES_MAX / 2);
            match within.checked_sub(entries.len()) {
                Some(within) => upper.insert(within, entry),
                None => entries.insert(within, entry),
            }
            self.blocks.insert(block + 1, upper);
        }
    }

    /// The place before the first entry that lies within the bound.
    pub(super) fn seek<'a>(&self, from: Bound<&[u8]>, key_of: impl Fn(u32) -> &'a [u8]) -> Position {
        let before = |entry: u32| match from {
            Bound::Included(from) => key_of(entry) < from,
            Bound::Excluded(from) => key_of(entry) <= from,
            Bound::Unbounded => false,
        };
        let block = self.blocks.partition_point(|block| before(block[0])).saturating_sub(1);
        let within = self.blocks.get(block).map_or(0, |block| block.partition_point(|entry| before(*entry)));
        Position { block, within }
    }

    /// The entry after a place; the place moves behind it.
    pub(super) fn next(&self, position: &mut Position) -> Option<u32> {
        loop {
            let block = self.blocks.get(position.block)?;
            if let Some(entry) = block.get(position.within) {
                position.within += 1;
                return Some(*entry);
            }
            *position = Position { block: position.block + 1, within: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn it_agrees_with_a_sorted_list(
            numbers in vec(0_u32..5_000, 0..2_000), ascending in any::<bool>(), from in 0_u32..5_000, included in any::<bool>(),
        ) {
            let mut keys: Vec<Vec<u8>> = numbers.iter().map(|number| number.to_be_bytes().to_vec()).collect();
            if ascending {
                keys.sort();
            }
            let mut seen = std::collections::HashSet::new();
            keys.retain(|key| seen.insert(key.clone()));
            let key_of = |entry: u32| &*keys[entry as usize];
            let mut index = OrderedIndex::default();
            for entry in 0..keys.len() as u32 {
                index.insert(entry, key_of);
            }
            prop_assert!(index.blocks.iter().all(|block| (1..=BLOCK_ENTRIES_MAX).contains(&block.len())));
            let from = from.to_be_bytes();
            let bound = if included { Bound::Included(&from[..]) } else { Bound::Excluded(&from[..]) };
            let mut position = index.seek(bound, key_of);
            let found: Vec<_> = std::iter::from_fn(|| index.next(&mut position)).map(key_of).collect();
            let mut expected: Vec<_> = keys.iter().map(|key| &**key).collect();
            expected.retain(|key| if included { *key >= &from[..] } else { *key > &from[..] });
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
