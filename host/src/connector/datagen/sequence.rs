//! Numbers: record i has the value i and the key splitmix64(i) mod the number of keys, both as 8 bytes, little-endian. Frozen: what was measured with it stays
//! comparable.

use std::ops::Range;

use super::{Make, reciprocal::Reciprocal};
use crate::stream::{Batch, Keys, hash_key, splitmix64};

/// Makes the sequence.
pub(super) struct Sequence {
    keys: Reciprocal,
}

impl Sequence {
    /// With so many distinct keys, at least 1.
    pub(super) fn new(keys: u64) -> Self {
        Self { keys: Reciprocal::of(keys) }
    }
}

impl Make for Sequence {
    const RECORD_BYTES: usize = 16;

    fn make(&mut self, numbers: Range<u64>, batch: &mut Batch) {
        let keys = batch.keys.get_or_insert_default();
        for number in numbers {
            let key = self.keys.remainder(splitmix64(number)).to_le_bytes();
            push(keys, &key);
            batch.values.push_with(|data| data.extend_from_slice(&number.to_le_bytes()));
        }
    }
}

#[inline(always)]
fn push(keys: &mut Keys, key: &[u8; 8]) {
    keys.hashes.push(hash_key(key));
    keys.column.push_with(|data| data.extend_from_slice(key));
}
