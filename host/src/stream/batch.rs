//! The unit of everything: records in columns.
//!
//! Invariants: all columns of a batch have the same length; `hashes` has an entry for each key; `timestamps` is empty or has an entry for each record, where
//! [`EventTime::NONE`](super::EventTime::NONE) stands for "none".

use super::{BytesColumn, KeyHash, hash_key};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 4 << 10;

/// When a batch is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Number of records.
    pub records: usize,
    /// Bytes of keys and values together.
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { records: 1024, bytes: 256 << 10 }
    }
}

/// The keys of a batch and their hashes, which the sender computes so that nobody hashes a key twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The keys.
    pub column: BytesColumn,
    /// [`hash_key`] of each.
    pub hashes: Vec<KeyHash>,
}

impl Keys {
    /// Keys with their hashes computed.
    pub fn hashed(column: BytesColumn) -> Self {
        /// So many keys are looked at together.
        const BLOCK: usize = 256;
        let mut hashes = vec![0; column.len()];
        // A hash is computed in another way for each of these classes of lengths. One class after the other, because which one is next can't be foretold.
        let class_of = |len: usize| usize::from(len > 3) + usize::from(len > 8);
        for (block, hashes) in hashes.chunks_mut(BLOCK).enumerate() {
            let first = block * BLOCK;
            let mut members = [[0_u8; BLOCK]; 3];
            let mut counts = [0; 3];
            for index in 0..hashes.len() {
                let class = class_of(column.get(first + index).len());
                members[class][counts[class]] = index as u8;
                counts[class] += 1;
            }
            for (members, count) in members.iter().zip(counts) {
                for index in members[..count].iter().map(|index| usize::from(*index)) {
                    hashes[index] = hash_key(column.get(first + index));
                }
            }
        }
        Self { column, hashes }
    }

    /// Appends a key.
    #[inline(always)]
    pub fn push(&mut self, key: &[u8], hash: KeyHash) {
        self.column.push(key);
        self.hashes.push(hash);
    }
}

/// Records in columns: keys (or none), values, event times (or none).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// None: the records have no keys.
    pub keys: Option<Keys>,
    /// The records' values.
    pub values: BytesColumn,
    /// Event times in milliseconds; empty when no record has one.
    pub timestamps: Vec<i64>,
}

impl Batch {
    /// A batch that takes keyed or unkeyed records.
    pub fn new(keyed: bool) -> Self {
        Self { keys: keyed.then(Keys::default), ..Self::default() }
    }

    /// An empty batch with room for as much as another one holds: the next batch of an edge is usually as large as the last.
    pub fn with_room_of(other: &Batch) -> Self {
        let column =
            |column: &BytesColumn| BytesColumn::with_capacity(column.len(), column.bytes() + column.bytes() / 8);
        let keys = |keys: &Keys| Keys { column: column(&keys.column), hashes: Vec::with_capacity(keys.hashes.len()) };
        Self {
            keys: other.keys.as_ref().map(keys),
            values: column(&other.values),
            timestamps: Vec::with_capacity(other.timestamps.len()),
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.values.bytes() + self.keys.as_ref().map_or(0, |keys| keys.column.bytes())
    }

    /// Whether it should be sent.
    pub fn is_full(&self, limits: BatchLimits) -> bool {
        self.len() >= limits.records || self.bytes() >= limits.bytes
    }

    /// Appends those records of another batch, in this order. Batches on one edge agree on whether they have keys.
    pub fn extend_picked(&mut self, other: &Batch, indexes: &[u32]) {
        if let (Some(keys), Some(others)) = (&mut self.keys, &other.keys) {
            keys.column.extend_picked(&others.column, indexes);
            keys.hashes.extend(indexes.iter().map(|index| others.hashes[*index as usize]));
        }
        if !other.timestamps.is_empty() || !self.timestamps.is_empty() {
            self.timestamps.resize(self.values.len(), i64::MIN);
            let time = |index: &u32| other.timestamps.get(*index as usize).copied().unwrap_or(i64::MIN);
            self.timestamps.extend(indexes.iter().map(time));
        }
        self.values.extend_picked(&other.values, indexes);
    }

    /// Appends records `from..to` of another batch.
    pub fn extend_from(&mut self, other: &Batch, from: usize, to: usize) {
        if let (Some(keys), Some(others)) = (&mut self.keys, &other.keys) {
            keys.column.extend_from(&others.column, from, to);
            keys.hashes.extend_from_slice(&others.hashes[from..to]);
        }
        if !other.timestamps.is_empty() || !self.timestamps.is_empty() {
            self.timestamps.resize(self.values.len(), i64::MIN);
            match other.timestamps.get(from..to) {
                Some(times) => self.timestamps.extend_from_slice(times),
                None => self.timestamps.resize(self.values.len() + to - from, i64::MIN),
            }
        }
        self.values.extend_from(&other.values, from, to);
    }

    /// Records `from..to` as a batch of their own.
    pub fn slice(&self, from: usize, to: usize) -> Batch {
        let mut part = Batch::new(self.keys.is_some());
        part.extend_from(self, from, to);
        part
    }

    /// How many records, from `from` on, make a full batch: at least one if there is one.
    pub fn prefix_within(&self, from: usize, limits: BatchLimits) -> usize {
        let most = (self.len() - from).min(limits.records);
        let bytes_until = |to: usize| {
            let span = |column: &BytesColumn| {
                (column.ends()[to - 1] - if from == 0 { 0 } else { column.ends()[from - 1] }) as usize
            };
            span(&self.values) + self.keys.as_ref().map_or(0, |keys| span(&keys.column))
        };
        if most == 0 || bytes_until(from + most) <= limits.bytes {
            return most;
        }
        // Bytes grow with the count, so the largest count within the limit is found by halving.
        let (mut fits, mut exceeds) = (1, most);
        while exceeds - fits > 1 {
            let middle = fits + (exceeds - fits) / 2;
            if bytes_until(from + middle) <= limits.bytes { fits = middle } else { exceeds = middle }
        }
        fits
    }

    /// Removes all records and keeps the memory.
    pub fn clear(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.column.clear();
            keys.hashes.clear();
        }
        self.values.clear();
        self.timestamps.clear();
    }

    /// Checks the invariants, for the checks on every edge in debug builds.
    ///
    /// # Panics
    /// When a column has another length than the others, or a hash is not that of its key.
    pub fn assert_consistent(&self) {
        if let Some(keys) = &self.keys {
            assert_eq!(keys.column.len(), self.len(), "a batch has as many keys as values");
            assert_eq!(keys.hashes.len(), self.len(), "a batch has as many hashes as values");
            assert!(
                keys.column.iter().zip(&keys.hashes).all(|(key, hash)| hash_key(key) == *hash),
                "a hash is that of its key"
            );
        }
        assert!(
            self.timestamps.is_empty() || self.timestamps.len() == self.len(),
            "a batch has as many event times as values, or none"
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn keys_of_any_length_have_their_own_hashes(keys in vec(vec(any::<u8>(), 0..20), 0..600)) {
            let hashed = Keys::hashed(keys.iter().collect());
            prop_assert_eq!(hashed.hashes, keys.iter().map(|key| hash_key(key)).collect::<Vec<_>>());
        }
    }
}
