//! The slot table of a task: key hash → entry → {guest slot, key, point states}.
//!
//! Owns all keyed point state of one task. Three arrays:
//!
//! - *buckets*: open addressing with linear probing, 8 bytes each: 32 bits of the remixed hash and the entry's place. The home of a bucket follows from those 32 bits, so
//!   growing scans this array alone and no entry is touched. A task's keys share low hash bits (they are its key groups), so the hash is remixed with one
//!   multiplication first; otherwise the keys cluster.
//! - *entries*: see the arena.
//! - *slots*: which entry each guest slot stands for. A slot is resident while the entry and the slot name each other, so giving a slot to another key touches no entry
//!   but the new one. The number of slots is bounded, because the guest keeps decoded values by slot: beyond it the slot assigned longest ago is given to
//!   the new key (first in, first out, sparing slots that the current batch uses).
//!
//! Invariants: a slot that was delivered in a batch keeps its key until that batch has ended; an entry in which all states are absent lives no longer than its slot.
//!
//! A batch is resolved in blocks: the buckets of the next block and the entries of this one are prefetched, so that misses overlap. At a million keys that
//! halves the cost.

use super::{
    arena::{Arena, EntryRef},
    memory_advice::{advise_huge_pages, prefetch},
};
use crate::stream::{BytesColumn, KeyHash, Keys, hash_key};

/// How many slots a guest is given at most when its memory allows.
pub const SLOTS_DEFAULT: usize = 1 << 17;

/// Records whose look-ups overlap.
const BLOCK: usize = 64;
/// Below this size everything lies in the second-level cache and prefetching only costs.
const PREFETCH_BYTES_MIN: usize = 512 << 10;
const NOWHERE: EntryRef = 0;
/// The multiplier of Fibonacci hashing (Knuth, TAOCP 3, 6.4): 2^64 divided by the golden ratio.
const REMIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// What the table must know of a point state.
#[derive(Clone, Copy, Debug)]
pub struct StoredValue {
    /// The current schema version.
    pub version: u16,
    /// Whether it is delivered with fresh slots.
    pub prefetch: bool,
    /// Whether the end of the input visits keys that have it.
    pub on_end: bool,
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
    #[inline]
    fn push(&mut self, version: u16, value: &[u8], current: u16) {
        if version != current || !self.versions.is_empty() {
            self.versions.resize(self.values.len(), current);
            self.versions.push(version);
        }
        self.values.push(value);
    }

    /// Version and bytes of value `index`, given the current version.
    #[inline]
    pub fn get(&self, index: usize, current: u16) -> (u16, &[u8]) {
        (self.versions.get(index).copied().unwrap_or(current), self.values.get(index))
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
    /// The slot of each record.
    pub slots: Vec<u32>,
}

impl Delivery {
    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.released.clear();
        self.fresh.clear();
        self.fresh_keys.clear();
        for (_, column) in &mut self.prefetched {
            column.clear();
        }
        self.slots.clear();
    }
}

/// A slot that stands for no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotError(pub u32);

#[derive(Clone, Copy)]
struct Slot {
    entry: EntryRef,
    /// The last batch that used it.
    stamp: u32,
    /// All states of its entry are absent.
    vacant: bool,
}

/// The keys and point states of one task.
pub struct KeyTable {
    states: Vec<StoredValue>,
    arena: Arena,
    buckets: Vec<u64>,
    /// 32 minus the logarithm of the number of buckets.
    shift: u32,
    len: usize,
    slots: Vec<Slot>,
    slots_max: usize,
    /// The slot that is given away next.
    hand: usize,
    free_slots: Vec<u32>,
    released: Vec<u32>,
    stamp: u32,
    /// While the table is walked, entries stay where they are.
    walking: bool,
}

#[inline]
fn tag_of(hash: KeyHash) -> u32 {
    (hash.wrapping_mul(REMIX) >> 32) as u32
}

#[inline]
fn bucket(tag: u32, entry: EntryRef) -> u64 {
    u64::from(tag) << 32 | u64::from(entry)
}

impl KeyTable {
    /// An empty table for these states.
    pub fn new(states: Vec<StoredValue>, slots_max: usize) -> Self {
        Self {
            arena: Arena::new(states.len()),
            states,
            buckets: vec![0; 64],
            shift: 26,
            len: 0,
            slots: Vec::new(),
            slots_max: slots_max.max(1),
            hand: 0,
            free_slots: Vec::new(),
            released: Vec::new(),
            stamp: 0,
            walking: false,
        }
    }

    /// Number of keys that the table holds, including those of vacant entries in resident slots.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory: entries, buckets and slots.
    pub fn bytes(&self) -> usize {
        self.arena.bytes() + self.buckets.len() * 8 + self.slots.len() * size_of::<Slot>()
    }

    /// The current schema version of a state, if there is such a state.
    pub fn version(&self, state: u32) -> Option<u16> {
        self.states.get(state as usize).map(|state| state.version)
    }

    /// Finds or makes the slot of every key of a batch, and writes into `delivery` (cleared first) what the guest must be told.
    pub fn resolve(&mut self, keys: &Keys, delivery: &mut Delivery) {
        delivery.clear();
        self.begin(keys.column.len(), delivery);
        let hashes = &keys.hashes[..];
        delivery.slots.reserve(hashes.len());
        if self.arena.bytes() + self.buckets.len() * 8 < PREFETCH_BYTES_MIN {
            for (index, hash) in hashes.iter().enumerate() {
                let slot = self.slot_of_record(keys.column.get(index), *hash, NOWHERE, &mut delivery.fresh);
                delivery.slots.push(slot);
            }
        } else {
            let mut candidates = [NOWHERE; BLOCK];
            self.prefetch_buckets(&hashes[..BLOCK.min(hashes.len())]);
            for (number, block) in hashes.chunks(BLOCK).enumerate() {
                let next = ((number + 1) * BLOCK).min(hashes.len());
                self.prefetch_buckets(&hashes[next..(next + BLOCK).min(hashes.len())]);
                for (candidate, hash) in candidates.iter_mut().zip(block) {
                    *candidate = self.candidate(*hash);
                    self.arena.prefetch(*candidate);
                }
                for (index, hash) in block.iter().enumerate() {
                    let key = keys.column.get(number * BLOCK + index);
                    let slot = self.slot_of_record(key, *hash, candidates[index], &mut delivery.fresh);
                    delivery.slots.push(slot);
                }
            }
        }
        self.deliver(delivery);
    }

    /// Walks over the keys that have a value in a state with `on_end`: puts at least one and about `most` of them, from `cursor` on, into `keys` (cleared first). Returns where to
    /// go on, none at the end. From the first call to the last, keys may be resolved and values may change, but no key may be added.
    pub fn walk(&mut self, cursor: usize, most: usize, keys: &mut Keys) -> Option<usize> {
        keys.column.clear();
        keys.hashes.clear();
        self.walking = true;
        for at in cursor..self.buckets.len() {
            let entry = self.buckets[at] as u32;
            if entry != NOWHERE && (0..self.states.len()).any(|state| self.states[state].on_end && self.arena.value(entry, state).0 != 0) {
                if keys.hashes.len() == most {
                    return Some(at);
                }
                let key = self.arena.key(entry);
                keys.push(key, hash_key(key));
            }
        }
        self.walking = false;
        None
    }

    /// Whether a slot stands for a key.
    #[inline]
    pub fn has_slot(&self, slot: u32) -> bool {
        self.entry(slot).is_ok()
    }

    /// Version (0: absent) and bytes of a value.
    ///
    /// # Errors
    /// When the slot stands for no key.
    #[inline]
    pub fn value(&self, slot: u32, state: u32) -> Result<(u16, &[u8]), SlotError> {
        Ok(self.arena.value(self.entry(slot)?, state as usize))
    }

    /// The key of a slot.
    ///
    /// # Errors
    /// When the slot stands for no key.
    pub fn key(&self, slot: u32) -> Result<&[u8], SlotError> {
        Ok(self.arena.key(self.entry(slot)?))
    }

    /// The slot of a key that may be in no batch. The guest is not told its key and values by a delivery.
    pub fn slot_of(&mut self, key: &[u8]) -> u32 {
        self.reserve(1);
        let mut fresh = Vec::new();
        self.slot_of_record(key, hash_key(key), NOWHERE, &mut fresh)
    }

    /// Writes a value; version 0 clears it.
    ///
    /// # Errors
    /// When the slot stands for no key. Nothing is written then.
    #[inline]
    pub fn set_value(&mut self, slot: u32, state: u32, version: u16, value: &[u8]) -> Result<(), SlotError> {
        let entry = self.entry(slot)?;
        let now_at = self.arena.set_value(entry, state as usize, version, value);
        if now_at != entry {
            self.relocate(entry, now_at);
            self.slots[slot as usize].entry = now_at;
        }
        self.slots[slot as usize].vacant = version == 0 && self.arena.is_vacant(now_at);
        Ok(())
    }

    /// A new guest has seen no slot: all are given up, without a word to anyone.
    pub fn forget_slots(&mut self) {
        for slot in 0..self.slots.len() {
            self.give_up(slot);
        }
        self.slots.clear();
        self.free_slots.clear();
        self.released.clear();
        self.hand = 0;
    }

    /// Lowers the number of slots; those above are released with the next delivery.
    pub fn lower_slots(&mut self, slots_max: usize) {
        self.slots_max = slots_max.max(1);
        for slot in self.slots_max..self.slots.len() {
            if self.slots[slot].entry != NOWHERE {
                self.give_up(slot);
                self.released.push(slot as u32);
            }
        }
        self.slots.truncate(self.slots_max);
        self.free_slots.retain(|slot| (*slot as usize) < slots_max);
        self.hand = 0;
    }

    /// How many slots there may be.
    pub fn slots_max(&self) -> usize {
        self.slots_max
    }

    /// How many slots the guest has been told of.
    pub fn slots_used(&self) -> usize {
        self.slots.len()
    }

    fn begin(&mut self, records: usize, delivery: &mut Delivery) {
        self.stamp = self.stamp.wrapping_add(1);
        self.reserve(records);
        delivery.released.append(&mut self.released);
        if delivery.prefetched.is_empty() {
            delivery.prefetched =
                (0_u32..).zip(&self.states).filter(|(_, state)| state.prefetch).map(|(number, _)| (number, StoredColumn::default())).collect();
        }
    }

    fn deliver(&self, delivery: &mut Delivery) {
        for slot in &delivery.fresh {
            delivery.fresh_keys.push(self.arena.key(self.slots[*slot as usize].entry));
        }
        for (state, column) in &mut delivery.prefetched {
            let current = self.states[*state as usize].version;
            for slot in &delivery.fresh {
                let (version, value) = self.arena.value(self.slots[*slot as usize].entry, *state as usize);
                column.push(version, value, current);
            }
        }
    }

    #[inline]
    fn entry(&self, slot: u32) -> Result<EntryRef, SlotError> {
        match self.slots.get(slot as usize) {
            Some(Slot { entry, .. }) if *entry != NOWHERE => Ok(*entry),
            _ => Err(SlotError(slot)),
        }
    }

    #[inline]
    fn prefetch_buckets(&self, hashes: &[KeyHash]) {
        for hash in hashes {
            prefetch(&self.buckets, (tag_of(*hash) >> self.shift) as usize);
        }
    }

    /// The first entry on the probe path whose tag fits.
    #[inline]
    fn candidate(&self, hash: KeyHash) -> EntryRef {
        let tag = tag_of(hash);
        let mask = self.buckets.len() - 1;
        let mut at = (tag >> self.shift) as usize;
        loop {
            let found = self.buckets[at & mask];
            if found == 0 || (found >> 32) as u32 == tag {
                return found as u32;
            }
            at += 1;
        }
    }

    #[inline]
    fn slot_of_record(&mut self, key: &[u8], hash: KeyHash, candidate: EntryRef, fresh: &mut Vec<u32>) -> u32 {
        let entry = if candidate != NOWHERE && self.arena.has_key(candidate, key) { candidate } else { self.find_or_insert(key, hash) };
        let slot = self.arena.slot(entry);
        if let Some(resident) = self.slots.get_mut(slot as usize)
            && resident.entry == entry
        {
            resident.stamp = self.stamp;
            return slot;
        }
        self.admit(entry, fresh)
    }

    fn find_or_insert(&mut self, key: &[u8], hash: KeyHash) -> EntryRef {
        let tag = tag_of(hash);
        let mask = self.buckets.len() - 1;
        let mut at = (tag >> self.shift) as usize;
        loop {
            let found = self.buckets[at];
            if found == 0 {
                let entry = self.arena.insert(key);
                self.buckets[at] = bucket(tag, entry);
                self.len += 1;
                return entry;
            }
            if (found >> 32) as u32 == tag && self.arena.has_key(found as u32, key) {
                return found as u32;
            }
            at = (at + 1) & mask;
        }
    }

    /// The slot of an entry, a new one unless it is resident.
    fn admit(&mut self, entry: EntryRef, fresh: &mut Vec<u32>) -> u32 {
        let slot = self.arena.slot(entry);
        if let Some(resident) = self.slots.get_mut(slot as usize)
            && resident.entry == entry
        {
            resident.stamp = self.stamp;
            return slot;
        }
        let slot = self.next_slot();
        self.slots[slot as usize] = Slot { entry, stamp: self.stamp, vacant: self.arena.is_vacant(entry) };
        self.arena.set_slot(entry, slot);
        fresh.push(slot);
        slot
    }

    #[inline]
    fn next_slot(&mut self) -> u32 {
        if let Some(slot) = self.free_slots.pop() {
            return slot;
        }
        if self.slots.len() >= self.slots_max {
            for _ in 0..self.slots.len() {
                let slot = self.hand;
                self.hand = if slot + 1 == self.slots.len() { 0 } else { slot + 1 };
                if self.slots[slot].stamp != self.stamp {
                    self.give_up(slot);
                    return slot as u32;
                }
            }
        }
        // Below the bound; or this batch alone has more keys than there may be slots, and all of them are needed at once.
        self.slots.push(Slot { entry: NOWHERE, stamp: 0, vacant: false });
        self.slots.len() as u32 - 1
    }

    #[inline]
    fn give_up(&mut self, slot: usize) {
        let Slot { entry, vacant, .. } = std::mem::replace(&mut self.slots[slot], Slot { entry: NOWHERE, stamp: 0, vacant: false });
        if vacant && entry != NOWHERE && !self.walking {
            self.remove(entry);
        }
    }

    fn position(&self, entry: EntryRef, key_of: EntryRef) -> usize {
        let tag = tag_of(hash_key(self.arena.key(key_of)));
        let mask = self.buckets.len() - 1;
        let mut at = (tag >> self.shift) as usize;
        while self.buckets[at] != bucket(tag, entry) {
            assert_ne!(self.buckets[at], 0, "every entry has a bucket");
            at = (at + 1) & mask;
        }
        at
    }

    #[cold]
    fn relocate(&mut self, from: EntryRef, to: EntryRef) {
        let at = self.position(from, to);
        self.buckets[at] = self.buckets[at] >> 32 << 32 | u64::from(to);
    }

    fn remove(&mut self, entry: EntryRef) {
        let mask = self.buckets.len() - 1;
        let mut hole = self.position(entry, entry);
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let follower = self.buckets[at];
            if follower == 0 {
                break;
            }
            let home = ((follower >> 32) as u32 >> self.shift) as usize;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.buckets[hole] = follower;
                hole = at;
            }
        }
        self.buckets[hole] = 0;
        self.arena.remove(entry);
        self.len -= 1;
    }

    /// Makes room for so many more keys, so that nothing moves while a batch is resolved.
    fn reserve(&mut self, more: usize) {
        if self.walking {
            // No key is added meanwhile, and the walk counts buckets.
            return;
        }
        let mut buckets = self.buckets.len();
        while (self.len + more) * 4 > buckets * 3 {
            buckets *= 2;
        }
        if buckets == self.buckets.len() {
            return;
        }
        let grown = vec![0; buckets];
        advise_huge_pages(&grown);
        let old = std::mem::replace(&mut self.buckets, grown);
        self.shift = 32 - buckets.trailing_zeros();
        let mask = buckets - 1;
        for entry in old.into_iter().filter(|bucket| *bucket != 0) {
            let mut at = ((entry >> 32) as u32 >> self.shift) as usize;
            while self.buckets[at] != 0 {
                at = (at + 1) & mask;
            }
            self.buckets[at] = entry;
        }
    }
}

#[cfg(test)]
mod tests;
