//! The slot table of a task: key hash → entry → {guest slot, key, point states}.
//!
//! Owns all keyed point state of one task. Three arrays:
//!
//! - *buckets*: open addressing with linear probing, 8 bytes each: 32 bits of the remixed hash and the entry's place. The home of a bucket follows from those 32 bits, so
//!   growing scans this array alone and no entry is touched. A task's keys share low hash bits (they are its key groups), so the hash is remixed with one
//!   multiplication first; otherwise the keys cluster.
//! - *entries*: see the arena.
//! - *slots*: a ring. Keys are admitted to slots in turn, admission `n` to slot `n` modulo the number of slots, and an entry remembers its admission. The number of slots
//!   is bounded because the guest keeps decoded values by slot; a key whose slot was given away is admitted anew when it comes again. Whether an entry is resident mostly
//!   follows from the age of its admission alone, without looking at the ring.
//!
//! Where most records are admitted although there are many slots, keeping decoded values is in vain, and few slots are better: the guest's arrays then stay in its nearest
//! caches. So their number follows the share of records that were admitted, with another try of many now and then.
//!
//! Invariants: a slot that a batch uses keeps its key until that batch has ended, because a key counts as resident only while its slot is further from being given
//! away than a batch can admit keys, and that is decided by the admissions at the batch's beginning; an entry in which all states are absent lives no longer than
//! its slot.
//!
//! A batch is resolved in blocks: the buckets of the next block and the entries of this one are prefetched, so that misses overlap. At a million keys that
//! halves the cost.

mod eviction;
mod export;
mod noted;
mod slots;
mod snapshot;

use self::slots::{Window, ring_for};
use super::{
    arena::{Arena, EntryRef, SPILLED},
    behind::Behind,
    delivery::{Delivery, Noted, StoredColumn, StoredValue},
    memory_advice::{advise_huge_pages, prefetch},
};
use crate::stream::{KeyHash, Keys, Windowed, hash_key};

/// How many slots a guest is given at most when its memory allows.
pub const SLOTS_DEFAULT: usize = 1 << 17;

/// Records whose look-ups overlap.
const BLOCK: usize = 64;
/// Below this size everything lies in the second-level cache and prefetching only costs.
const PREFETCH_BYTES_MIN: usize = 512 << 10;
const NOWHERE: EntryRef = 0;
/// The multiplier of Fibonacci hashing (Knuth, TAOCP 3, 6.4): 2^64 divided by the golden ratio.
const REMIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// A slot that stands for no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotError(pub u32);

/// What a slot stands for: the place of an entry, and in the highest bit whether that is vacant. A small array stays near.
#[derive(Clone, Copy)]
struct Slot(u32);

impl Slot {
    const FREE: Self = Self(NOWHERE);
    const VACANT: u32 = 1 << 31;

    #[inline]
    fn new(entry: EntryRef, vacancy: Vacancy) -> Self {
        debug_assert!(entry & Self::VACANT == 0, "the arena has fewer units");
        Self(entry | if vacancy == Vacancy::Vacant { Self::VACANT } else { 0 })
    }

    #[inline]
    fn entry(self) -> EntryRef {
        self.0 & !Self::VACANT
    }

    #[inline]
    fn vacancy(self) -> Vacancy {
        if self.0 & Self::VACANT == 0 { Vacancy::Taken } else { Vacancy::Vacant }
    }
}

/// Whether all states of an entry are absent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Vacancy {
    Vacant,
    Taken,
}

/// The keys and point states of one task.
pub struct KeyTable {
    states: Vec<StoredValue>,
    /// The columns of the states that are delivered with fresh slots.
    prefetched: Vec<usize>,
    scratch: Vec<u8>,
    arena: Arena,
    buckets: Vec<u64>,
    /// 32 minus the logarithm of the number of buckets.
    shift: u32,
    len: usize,
    /// As many as were used so far, at most `ring`.
    slots: Vec<Slot>,
    /// The number of slots there may be, a power of two.
    ring: usize,
    /// The number of them when decoded values are worth keeping.
    ring_max: usize,
    window: Window,
    /// How many keys a batch may admit at most.
    batch_max: usize,
    /// The next admission; wraps.
    admissions: u32,
    /// The next admission when the batch began.
    admissions_at_start: u32,
    released: Vec<u32>,
    /// Where the search for entries to evict goes on.
    hand: usize,
    /// Where the search for expired values goes on.
    swept: usize,
    /// How many entries the hand has passed since that was asked last, and how many of them were evicted.
    passed: (u32, u32),
    /// How many admissions ago an entry must have been admitted to be evicted.
    evicted_age: u32,
    /// Where a snapshot goes on copying, and where it ends.
    copying: (EntryRef, EntryRef),
    /// How much it looks at in a step.
    units_per_step: u32,
    /// While the table is walked, entries stay where they are.
    walking: bool,
    /// From this size on, look-ups prefetch.
    prefetch_bytes_min: usize,
}

#[inline]
fn tag_of(hash: KeyHash) -> u32 {
    (hash.wrapping_mul(REMIX) >> 32) as u32
}

#[inline]
fn bucket(tag: u32, entry: EntryRef) -> u64 {
    u64::from(tag) << 32 | u64::from(entry)
}

/// The columns that are delivered with fresh slots.
fn prefetched(states: &[StoredValue]) -> Vec<usize> {
    (0..states.len()).filter(|column| states[*column].prefetch && states[*column].noted == Noted::No).collect()
}

impl KeyTable {
    /// An empty table for these states, with at most about `slots_max` slots, for batches of at most `batch_records` records.
    pub fn new(states: Vec<StoredValue>, slots_max: usize, batch_records: usize) -> Self {
        // A batch, and as many keys again that the guest may ask for.
        let batch_max = 2 * batch_records.max(1);
        Self {
            prefetched: prefetched(&states),
            scratch: Vec::new(),
            arena: Arena::new(states.len()),
            states,
            buckets: vec![0; 64],
            shift: 26,
            len: 0,
            slots: Vec::new(),
            ring: ring_for(slots_max, batch_max),
            ring_max: ring_for(slots_max, batch_max),
            window: Window::new(),
            batch_max,
            admissions: 0,
            admissions_at_start: 0,
            released: Vec::new(),
            hand: 0,
            swept: 0,
            passed: (0, 0),
            evicted_age: 0,
            copying: (0, 0),
            units_per_step: snapshot::UNITS_PER_STEP,
            walking: false,
            prefetch_bytes_min: PREFETCH_BYTES_MIN,
        }
    }

    /// Its states, by column.
    pub(super) fn states(&self) -> &[StoredValue] {
        &self.states
    }

    /// The operator is another version: `states` has those that there were, in the same order, and new ones behind them. No entry is touched. To be called between batches; all slots must have
    /// been given up.
    pub(super) fn adopt(&mut self, states: Vec<StoredValue>) {
        let stays = |(before, now): (&StoredValue, &StoredValue)| {
            before.id == now.id && (before.noted == now.noted || before.noted == Noted::No)
        };
        let kept = states.len() >= self.states.len() && self.states.iter().zip(&states).all(stays);
        debug_assert!(kept, "columns stay what they are, though times may be noted beside them from now on");
        self.arena.extend(states.len());
        self.prefetched = prefetched(&states);
        self.states = states;
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
    pub fn resolve(&mut self, keys: &Keys, behind: &mut Behind, delivery: &mut Delivery) {
        delivery.clear();
        self.begin(keys.column.len(), behind, delivery);
        let hashes = &keys.hashes[..];
        delivery.slots.reserve(hashes.len());
        if !self.is_large() {
            for (index, hash) in hashes.iter().enumerate() {
                let candidate = self.candidate(*hash);
                let slot = self.slot_of_record(keys.column.windowed(index), *hash, candidate, behind, delivery);
                delivery.slots.push(slot);
            }
        } else {
            // Three stages, a block apart: buckets are prefetched, entries are prefetched, keys are resolved.
            let block_of = |number: usize| number * BLOCK..((number + 1) * BLOCK).min(hashes.len());
            let blocks = hashes.len().div_ceil(BLOCK);
            let mut candidates = [[NOWHERE; BLOCK]; 2];
            for number in 0..blocks + 2 {
                if number < blocks {
                    self.prefetch_buckets(&hashes[block_of(number)]);
                }
                if (1..=blocks).contains(&number) {
                    for (candidate, hash) in candidates[(number - 1) % 2].iter_mut().zip(&hashes[block_of(number - 1)])
                    {
                        *candidate = self.candidate(*hash);
                        self.arena.prefetch(*candidate);
                    }
                }
                if number >= 2 {
                    let block = block_of(number - 2);
                    for (index, candidate) in block.zip(candidates[number % 2]) {
                        let key = keys.column.windowed(index);
                        let slot = self.slot_of_record(key, hashes[index], candidate, behind, delivery);
                        delivery.slots.push(slot);
                    }
                }
            }
        }
    }

    /// Walks over the keys that have a value in a state with `on_end`: puts at least one and about `most` of them, from `cursor` on, into `keys` (cleared first). Returns where to
    /// go on, none at the end. From the first call to the last, keys may be resolved and values may change, but no key may be added.
    pub fn walk(&mut self, cursor: usize, most: usize, keys: &mut Keys) -> Option<usize> {
        keys.column.clear();
        keys.hashes.clear();
        self.walking = true;
        for at in cursor..self.buckets.len() {
            let entry = self.buckets[at] as u32;
            if entry != NOWHERE
                && (0..self.states.len())
                    .any(|state| self.states[state].on_end && self.arena.value(entry, state).0 != 0)
            {
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

    /// Hands every key that has a value in a state with `on_end` to `visit`.
    pub fn for_each_at_end(&self, mut visit: impl FnMut(&[u8])) {
        for entry in self.entries() {
            if (0..self.states.len()).any(|column| self.states[column].on_end && self.arena.value(entry, column).0 != 0)
            {
                visit(self.arena.key(entry));
            }
        }
    }

    /// The size of its array of buckets.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Whether prefetching is worth its while: the table does not lie in the second-level cache by itself.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.arena.bytes() + self.buckets.len() * 8 >= self.prefetch_bytes_min
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

    /// As [`Self::set_value`], for where it is not the heart of a loop.
    ///
    /// # Errors
    /// When the slot stands for no key. Nothing is written then.
    #[inline(never)]
    pub fn put_value(
        &mut self,
        slot: u32,
        state: u32,
        version: u16,
        value: &[u8],
        behind: &mut Behind,
    ) -> Result<(), SlotError> {
        self.set_value(slot, state, version, value, behind)
    }

    /// Writes a value; version 0 clears it.
    ///
    /// # Errors
    /// When the slot stands for no key. Nothing is written then.
    #[inline(always)]
    pub fn set_value(
        &mut self,
        slot: u32,
        state: u32,
        version: u16,
        value: &[u8],
        behind: &mut Behind,
    ) -> Result<(), SlotError> {
        let entry = self.entry(slot)?;
        if self.arena.is_pending(entry) {
            self.copy_entry(entry, behind);
        }
        let now_at = self.arena.set_value(entry, state as usize, version, value);
        if now_at != entry {
            self.relocate(entry, now_at);
        }
        let vacant = version == 0 && self.arena.is_vacant(now_at);
        self.slots[slot as usize] = Slot::new(now_at, if vacant { Vacancy::Vacant } else { Vacancy::Taken });
        Ok(())
    }

    fn begin(&mut self, records: usize, behind: &mut Behind, delivery: &mut Delivery) {
        assert!(records <= self.batch_max, "a batch has no more records than the table was made for");
        self.adapt_slots(records, behind);
        self.admissions_at_start = self.admissions;
        self.reserve(records);
        delivery.released.append(&mut self.released);
        if delivery.prefetched.is_empty() {
            let numbers = self.prefetched.iter().map(|column| self.states[*column].number);
            delivery.prefetched = numbers.map(|number| (number, StoredColumn::default())).collect();
        }
    }

    #[inline]
    fn entry(&self, slot: u32) -> Result<EntryRef, SlotError> {
        match self.slots.get(slot as usize) {
            Some(slot) if slot.entry() != NOWHERE => Ok(slot.entry()),
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

    #[inline(always)]
    fn slot_of_record(
        &mut self,
        key: Windowed<'_>,
        hash: KeyHash,
        candidate: EntryRef,
        behind: &mut Behind,
        delivery: &mut Delivery,
    ) -> u32 {
        let first = if candidate == NOWHERE { None } else { self.arena.admission_if_key(candidate, key) };
        let (entry, admission) = match first {
            Some(admission) => (candidate, Some(admission)),
            None => self.find_or_insert(key, hash),
        };
        let Some(admission) = admission else {
            let (entry, vacancy) = if behind.may_contain() {
                self.load(entry, key.string, hash, behind)
            } else {
                (entry, Vacancy::Vacant)
            };
            return self.admit(entry, vacancy, behind, delivery);
        };
        // Negative for those admitted in this batch.
        let age = i64::from(self.admissions_at_start.wrapping_sub(admission) as i32);
        let (ring, slot) = (self.ring as i64, admission & (self.ring as u32 - 1));
        let mut vacancy = Vacancy::Taken;
        if age <= ring {
            // It has its slot still, unless all slots were given up since or the counter has wrapped.
            if let Some(former) = self.slots.get_mut(slot as usize).filter(|former| former.entry() == entry) {
                if age < ring - self.batch_max as i64 {
                    return slot;
                }
                // But not for long enough: it is given a new one.
                vacancy = std::mem::replace(former, Slot::FREE).vacancy();
            }
        }
        // Whoever lost its slot has a value, for a vacant entry lives no longer than its slot.
        self.admit(entry, vacancy, behind, delivery)
    }

    /// The entry of a key, and the admission that it remembers unless the entry is new.
    #[inline]
    fn find_or_insert(&mut self, key: Windowed<'_>, hash: KeyHash) -> (EntryRef, Option<u32>) {
        let tag = tag_of(hash);
        let mask = self.buckets.len() - 1;
        let mut at = (tag >> self.shift) as usize;
        loop {
            let found = self.buckets[at];
            if found == 0 {
                return (self.insert(key.string, tag, at), None);
            }
            if (found >> 32) as u32 == tag
                && let Some(admission) = self.arena.admission_if_key(found as u32, key)
            {
                return (found as u32, Some(admission));
            }
            at = (at + 1) & mask;
        }
    }

    #[inline(never)]
    fn insert(&mut self, key: &[u8], tag: u32, at: usize) -> EntryRef {
        let entry = self.arena.insert(key);
        self.buckets[at] = bucket(tag, entry);
        self.len += 1;
        entry
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

    fn remove(&mut self, entry: EntryRef, behind: &mut Behind) {
        self.leave(entry, behind);
        if self.arena.flags(entry) & SPILLED != 0 {
            self.push_behind(entry, behind);
        }
        self.take_out(self.position(entry, entry));
    }

    /// Takes the entry of a bucket out of the table. Another may be in that bucket then.
    fn take_out(&mut self, bucket: usize) {
        let entry = self.buckets[bucket] as u32;
        let mask = self.buckets.len() - 1;
        let mut hole = bucket;
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
