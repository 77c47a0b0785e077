//! A run: evicted entries in memory, until a helper has written them to the disk.
//!
//! Keys and values lie end to end in one buffer that is used again for later runs, because fresh memory costs more than what is copied into it. A hash index finds single
//! entries; entries that ranges must find are in an ordered index too. Of several entries of one key the last one counts.

use std::ops::Bound;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::ordered::{OrderedIndex, Position};

/// Whether ranges must find an entry before it is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is looked up by its key only.
    Point,
    /// It is iterated, too.
    Ordered,
}

/// A value, or that there is none: a tombstone, which hides what older runs hold.
pub(super) type Evicted<'a> = Option<&'a [u8]>;

/// Evicted entries. Sealed runs do not change any more and are shared with the helper.
#[derive(Debug, Default)]
pub(super) struct Run {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Numbers of entries, by the hash of their keys.
    index: HashTable<u32>,
    ordered: OrderedIndex,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    key_at: u32,
    value_at: u32,
    /// [`TOMBSTONE`] for a tombstone.
    value_bytes: u32,
    key_bytes: u16,
    access: Access,
}

const TOMBSTONE: u32 = u32::MAX;

/// The largest key a run holds, which is fjall's.
pub(super) const RUN_KEY_BYTES_MAX: usize = u16::MAX as usize;
/// The largest value a run holds, so that places in the buffer fit 32 bits.
pub(super) const RUN_VALUE_BYTES_MAX: usize = 256 << 20;
/// The largest size at which a run is sealed.
pub(super) const RUN_BYTES_MAX: usize = 1 << 30;

/// The hash by which runs find keys.
#[inline]
pub(super) fn hash_of(key: &[u8]) -> u64 {
    xxh3_64(key)
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What it holds, in bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.entries.len() * (size_of::<Entry>() + 8)
    }

    /// Bytes of its buffer, which it keeps when it is cleared.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Removes all entries and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.index.clear();
        self.ordered.clear();
    }

    /// Adds or replaces an entry. Key, value and the run's size are within the bounds above.
    pub(super) fn push(&mut self, key: &[u8], hash: u64, value: Evicted, access: Access) {
        let number = match self.find(key, hash) {
            Some(number) => number,
            None => {
                let number = self.entries.len() as u32;
                let key_at = append(&mut self.bytes, key);
                let (key_bytes, value_bytes) = (key.len() as u16, TOMBSTONE);
                self.entries.push(Entry { hash, key_at, value_at: 0, value_bytes, key_bytes, access: Access::Point });
                self.index.insert_unique(hash, number, |other| self.entries[*other as usize].hash);
                number
            }
        };
        let entry = &mut self.entries[number as usize];
        match value {
            None => entry.value_bytes = TOMBSTONE,
            Some(value) => {
                let fits = entry.value_bytes != TOMBSTONE && value.len() <= entry.value_bytes as usize;
                if fits {
                    let at = entry.value_at as usize;
                    self.bytes[at..at + value.len()].copy_from_slice(value);
                } else {
                    entry.value_at = append(&mut self.bytes, value);
                }
                entry.value_bytes = value.len() as u32;
            }
        }
        if access == Access::Ordered && entry.access == Access::Point {
            entry.access = Access::Ordered;
            let (entries, bytes) = (&self.entries, &self.bytes);
            self.ordered.insert(number, |other| key_of(bytes, &entries[other as usize]));
        }
    }

    /// The entry of a key.
    #[inline]
    pub(super) fn get(&self, key: &[u8], hash: u64) -> Option<Evicted<'_>> {
        self.find(key, hash).map(|number| self.value(number))
    }

    /// The entries that ranges find, from a bound on.
    pub(super) fn range(&self, from: Bound<&[u8]>) -> RunRange<'_> {
        RunRange { run: self, position: self.ordered.seek(from, |number| self.key(number)) }
    }

    /// All entries in the order of their keys, tombstones included: what is ingested, and what a delta of a checkpoint is made of.
    pub(super) fn sorted(&self) -> SortedRun<'_> {
        // Most keys differ in their first 16 bytes, and those compare without a look at the buffer.
        let mut order: Vec<(u128, u32)> =
            (0_u32..).zip(&self.entries).map(|(n, e)| (first_bytes(self.key_of(e)), n)).collect();
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.key(a.1).cmp(self.key(b.1))));
        SortedRun { run: self, order }
    }

    #[inline]
    fn find(&self, key: &[u8], hash: u64) -> Option<u32> {
        let same = |number: &u32| {
            let entry = &self.entries[*number as usize];
            entry.hash == hash && self.key_of(entry) == key
        };
        self.index.find(hash, same).copied()
    }

    #[inline]
    fn key(&self, number: u32) -> &[u8] {
        self.key_of(&self.entries[number as usize])
    }

    #[inline]
    fn key_of(&self, entry: &Entry) -> &[u8] {
        key_of(&self.bytes, entry)
    }

    #[inline]
    fn value(&self, number: u32) -> Evicted<'_> {
        let Entry { value_at, value_bytes, .. } = self.entries[number as usize];
        let at = value_at as usize;
        (value_bytes != TOMBSTONE).then(|| &self.bytes[at..at + value_bytes as usize])
    }
}

#[inline]
fn key_of<'a>(bytes: &'a [u8], entry: &Entry) -> &'a [u8] {
    let at = entry.key_at as usize;
    &bytes[at..at + usize::from(entry.key_bytes)]
}

fn append(bytes: &mut Vec<u8>, string: &[u8]) -> u32 {
    let at = bytes.len() as u32;
    bytes.extend_from_slice(string);
    at
}

fn first_bytes(key: &[u8]) -> u128 {
    let mut first = [0; 16];
    let length = key.len().min(first.len());
    first[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(first)
}

/// Ordered entries of a run, from some key on.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunRange<'a> {
    run: &'a Run,
    position: Position,
}

impl<'a> Iterator for RunRange<'a> {
    type Item = (&'a [u8], Evicted<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.run.ordered.next(&mut self.position)?;
        Some((self.run.key(number), self.run.value(number)))
    }
}

/// All entries of a run in the order of their keys.
#[derive(Debug)]
pub(super) struct SortedRun<'a> {
    run: &'a Run,
    order: Vec<(u128, u32)>,
}

impl<'a> SortedRun<'a> {
    /// Keys, strictly ascending, and values or tombstones.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a [u8], Evicted<'a>)> {
        let run = self.run;
        self.order.iter().map(move |(_, number)| (run.key(*number), run.value(*number)))
    }
}
