//! What a guest is told before it processes a batch: slots, keys, and values as they are stored.

use super::expiry::UNNOTED;
use crate::stream::BytesColumn;

/// What the table must know of a point state.
#[derive(Clone, Copy, Debug)]
pub struct StoredValue {
    /// The state's number in the descriptor; [`Self::NOBODYS`] when it is in no descriptor any more.
    pub number: u32,
    /// By which it is stored.
    pub id: u16,
    /// The current schema version.
    pub version: u16,
    /// Whether it is delivered with fresh slots.
    pub prefetch: bool,
    /// Whether the end of the input visits keys that have it.
    pub on_end: bool,
    /// Where the time of a value's last access is noted. Where it is, values may expire: they are not delivered with fresh slots then, but anew in every call.
    pub noted: Noted,
}

/// Where the time of a value's last access is, 8 bytes, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// Nowhere.
    No,
    /// Before the value.
    Before,
    /// In this column: the state got a time to live when there were values. Those have none there.
    Beside(u32),
}

impl StoredValue {
    /// The number of a state that the operator does not know any more. Its values stay.
    pub const NOBODYS: u32 = u32::MAX;
    /// Of a column that has the times of another one: stored by no id of its own.
    const TIMES_ID: u16 = u16::MAX;
    /// The times of another column.
    pub(super) const TIMES: Self = Self {
        number: Self::NOBODYS,
        id: Self::TIMES_ID,
        version: 1,
        prefetch: false,
        on_end: false,
        noted: Noted::No,
    };

    /// Whether it has the times of another column.
    pub(super) fn is_times(&self) -> bool {
        self.id == Self::TIMES_ID
    }
}

/// The time of the last access that is noted before a value, in milliseconds, and the value.
pub(super) fn split_access(stored: &[u8]) -> (i64, &[u8]) {
    match stored.split_first_chunk() {
        Some((at, value)) => (i64::from_le_bytes(*at), value),
        None => (UNNOTED, stored),
    }
}

/// Values as they are stored. `versions` is empty when all are present in the current version, else has one entry each, 0 for "absent".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredColumn {
    /// The bytes.
    pub values: BytesColumn,
    /// The schema versions.
    pub versions: Vec<u16>,
}

impl StoredColumn {
    #[inline(always)]
    pub(super) fn push(&mut self, version: u16, value: &[u8], current: u16) {
        if version != current || !self.versions.is_empty() {
            self.versions.resize(self.values.len(), current);
            self.versions.push(version);
        }
        self.values.push(value);
    }

    /// Appends a value, with its version in any case; version 0: absent. The column has no values without one.
    #[inline]
    pub(super) fn push_with_version(&mut self, version: u16, value: &[u8]) {
        self.versions.push(version);
        self.values.push(value);
    }

    /// Version and bytes of value `index`, given the current version.
    #[inline]
    pub fn get(&self, index: usize, current: u16) -> (u16, &[u8]) {
        (self.versions.get(index).copied().unwrap_or(current), self.values.get(index))
    }

    /// Version and bytes of the value that was appended last, where all have a version.
    pub(super) fn last(&self) -> Option<(u16, &[u8])> {
        let version = *self.versions.last()?;
        Some((version, self.values.get(self.values.len() - 1)))
    }

    /// Removes all values and keeps the memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.versions.clear();
    }
}

/// What a guest must be told before it processes a batch, and the slot of each record. Its buffers are meant to be used again.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Slots that stand for nothing any more; to be applied first.
    pub released: Vec<u32>,
    /// Slots that stand for a new key.
    pub fresh: Vec<u32>,
    /// Their keys.
    pub fresh_keys: BytesColumn,
    /// For each prefetched state, its number and its values for the fresh slots.
    pub prefetched: Vec<(u32, StoredColumn)>,
    /// The slots of the batch, each once; filled only for states that expire.
    pub distinct: Vec<u32>,
    /// For each prefetched state that expires, its number and its values for the distinct slots.
    pub expiring: Vec<(u32, StoredColumn)>,
    /// The slot of each record.
    pub slots: Vec<u32>,
}

impl Delivery {
    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.released.clear();
        self.fresh.clear();
        self.fresh_keys.clear();
        self.distinct.clear();
        for (_, column) in self.prefetched.iter_mut().chain(&mut self.expiring) {
            column.clear();
        }
        self.slots.clear();
    }
}
