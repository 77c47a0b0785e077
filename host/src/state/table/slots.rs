//! Slots: the ring in which keys are admitted, and how many there are.

use super::{KeyTable, NOWHERE, Slot, Vacancy};
use crate::{
    state::{arena::EntryRef, behind::Behind, delivery::Delivery},
    stream::{Windowed, hash_key},
};

/// How many there are when most records are admitted anyway: what a guest keeps for them fits the second-level cache.
pub(super) const SLOTS_FEW: usize = 1 << 12;

/// After so many records it is looked at how many were admitted. Many times as many as there are slots, so that they were all in use for most of the time.
const WINDOW_RECORDS: usize = 1 << 20;

/// After so many windows with few slots, many are tried again: other keys may come by now.
const WINDOWS_WITH_FEW: u32 = 32;

/// The records since it was last looked at how many were admitted.
pub(super) struct Window {
    pub(super) length: usize,
    records: usize,
    /// The next admission when it began.
    admissions: u32,
    /// Windows since there are few slots.
    with_few: u32,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { length: WINDOW_RECORDS, records: 0, admissions: 0, with_few: 0 }
    }
}

/// The number of slots for about `slots_max` of them: at least two batches.
pub(super) fn ring_for(slots_max: usize, batch_max: usize) -> usize {
    slots_max.max(2 * batch_max).next_power_of_two()
}

impl KeyTable {
    /// Whether a slot stands for a key and will go on doing so until the batch ends: one that is next in turn to be given away may only be addressed when this
    /// batch gave it.
    #[inline]
    pub fn may_address(&self, slot: u32) -> bool {
        let mask = self.ring as u32 - 1;
        let behind_start = slot.wrapping_sub(self.admissions_at_start) & mask;
        let given = self.admissions.wrapping_sub(self.admissions_at_start);
        (behind_start < given || behind_start as usize >= self.batch_max) && self.entry(slot).is_ok()
    }

    /// Brings the entry of a slot nearer, if it stands for one.
    #[inline]
    pub fn prefetch_slot(&self, slot: u32) {
        if let Ok(entry) = self.entry(slot) {
            self.arena.prefetch(entry);
        }
    }

    /// The slot of a key that may be in no batch; none when the call has asked for as many as a batch may have. The guest is not told its key and values by a
    /// delivery.
    pub fn slot_of(&mut self, key: &[u8], behind: &mut Behind) -> Option<u32> {
        if self.admissions.wrapping_sub(self.admissions_at_start) as usize >= self.batch_max {
            return None;
        }
        self.reserve(1);
        Some(self.slot_of_record(Windowed::alone(key), hash_key(key), NOWHERE, behind, &mut Delivery::default()))
    }

    /// A new guest has seen no slot: all are given up, without a word to anyone.
    pub fn forget_slots(&mut self, behind: &mut Behind) {
        for slot in 0..self.slots.len() {
            self.give_up(slot, behind);
        }
        self.slots.clear();
        self.released.clear();
    }

    /// Lowers the number of slots to about `slots_max`, but not below what a batch needs. All slots are released with the next delivery.
    pub fn lower_slots(&mut self, slots_max: usize, behind: &mut Behind) {
        self.ring_max = ring_for(slots_max, self.batch_max);
        self.set_ring(self.ring.min(self.ring_max), behind);
    }

    /// Changes the number of slots. All that are in use are released with the next delivery.
    fn set_ring(&mut self, ring: usize, behind: &mut Behind) {
        let used =
            self.slots.iter().enumerate().filter(|(_, slot)| slot.entry() != NOWHERE).map(|(slot, _)| slot as u32);
        // What was to be released before is still to be released.
        let mut released = self.released.clone();
        released.extend(used);
        self.forget_slots(behind);
        self.released = released;
        self.ring = ring;
    }

    /// Chooses between many and few slots by how many records of the last ones were admitted.
    pub(super) fn adapt_slots(&mut self, records: usize, behind: &mut Behind) {
        self.window.records += records;
        if self.window.records < self.window.length {
            return;
        }
        let admitted = self.admissions.wrapping_sub(self.window.admissions) as usize;
        let in_vain = 5 * admitted > 3 * self.window.records;
        (self.window.records, self.window.admissions) = (0, self.admissions);
        let few = ring_for(SLOTS_FEW, self.batch_max);
        if self.ring > few {
            if in_vain {
                self.window.with_few = 0;
                self.set_ring(few, behind);
            }
        } else if self.ring < self.ring_max {
            self.window.with_few += 1;
            if !in_vain || self.window.with_few >= WINDOWS_WITH_FEW {
                self.set_ring(self.ring_max, behind);
            }
        }
    }

    /// How many slots there may be.
    pub fn slots_max(&self) -> usize {
        self.ring
    }

    /// How many slots the guest has been told of.
    pub fn slots_used(&self) -> usize {
        self.slots.len()
    }

    /// Gives the next slot to an entry that is not resident, and tells the guest.
    #[inline]
    pub(super) fn admit(
        &mut self,
        entry: EntryRef,
        vacancy: Vacancy,
        behind: &mut Behind,
        delivery: &mut Delivery,
    ) -> u32 {
        let admission = self.admissions;
        self.admissions = admission.wrapping_add(1);
        let slot = admission as usize & (self.ring - 1);
        if slot < self.slots.len() {
            self.give_up(slot, behind);
        } else {
            // Slots begin anywhere in the ring when it was emptied.
            self.slots.resize(slot + 1, Slot::FREE);
        }
        self.slots[slot] = Slot::new(entry, vacancy);
        self.arena.set_admission(entry, admission);
        // While the entry is at hand.
        delivery.fresh.push(slot as u32);
        delivery.fresh_keys.push(self.arena.key(entry));
        for ((_, values), column) in delivery.prefetched.iter_mut().zip(&self.prefetched) {
            let (version, value) = self.arena.value(entry, *column);
            values.push(version, value, self.states[*column].version);
        }
        slot as u32
    }

    #[inline]
    pub(super) fn give_up(&mut self, slot: usize, behind: &mut Behind) {
        let former = std::mem::replace(&mut self.slots[slot], Slot::FREE);
        if former.entry() != NOWHERE && former.vacancy() == Vacancy::Vacant && !self.walking {
            self.remove(former.entry(), behind);
        }
    }
}
