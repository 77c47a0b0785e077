//! What the table does when memory ends: entries go to what lies behind it, and come back when their key does; and entries that have expired are dropped.

use super::{KeyTable, NOWHERE, Slot, Vacancy};
use crate::{
    state::{
        arena::{DIRTY, EntryRef, SPILLED},
        behind::Behind,
        changes::KNOWN,
        expiry::Lifespan,
    },
    stream::{EventTime, KeyHash, hash_key},
};

/// After so many entries that the hand has passed it is asked how many of them were evicted.
const STRETCH: u32 = 4096;
/// How many buckets ahead of the one that is looked at the entry is prefetched.
const PREFETCH_AHEAD: usize = 16;

impl KeyTable {
    /// Fills a new entry with what lies behind the table. Returns where it is now.
    #[inline(never)]
    pub(super) fn load(
        &mut self,
        entry: EntryRef,
        key: &[u8],
        hash: KeyHash,
        behind: &mut Behind,
    ) -> (EntryRef, Vacancy) {
        let (mut now_at, mut vacancy) = (entry, Vacancy::Vacant);
        for column in 0..self.states.len() {
            let state = self.states[column];
            if state.is_times() {
                continue;
            }
            let Some(stored) = behind.load_point(state.id, key, hash) else { continue };
            vacancy = Vacancy::Taken;
            now_at = self.put_stored(now_at, column, &stored);
        }
        if vacancy == Vacancy::Taken {
            self.arena.set_flags(now_at, SPILLED);
            self.arena.set_marks(now_at, KNOWN);
        }
        if now_at != entry {
            self.relocate(entry, now_at);
        }
        (now_at, vacancy)
    }

    /// Hands an entry that differs from what lies behind the table to it.
    pub(super) fn push_behind(&self, entry: EntryRef, behind: &mut Behind) {
        let flags = self.arena.flags(entry);
        if flags & DIRTY == 0 {
            return;
        }
        let key = self.arena.key(entry);
        let hash = hash_key(key);
        for (column, state) in self.states.iter().enumerate().filter(|(_, state)| !state.is_times()) {
            match self.noted_value(entry, column) {
                Some(noted) => {
                    behind.push_point((state.id, key, hash), noted.version, noted.last_access(), noted.value);
                }
                None if flags & SPILLED != 0 => behind.push_point((state.id, key, hash), 0, None, &[]),
                None => {}
            }
        }
    }

    /// Evicts up to about `most` entries that were not used lately, residents among them, whose slots are released. To be called between batches. Returns how many.
    ///
    /// The hand goes round the buckets. An entry's admission says when it came last: one that is in use is admitted again at least once for every round of slots, so what was
    /// admitted long ago was not used since. How long is long enough follows from how many such entries there are.
    pub fn evict(&mut self, most: usize, behind: &mut Behind) -> usize {
        if self.evicted_age == 0 {
            // What has a slot is in use, until it turns out that there is nothing else.
            self.evicted_age = self.ring as u32;
        }
        let mut evicted = 0;
        let mut looks = 2 * self.buckets.len();
        while evicted < most && self.len > 0 && !self.walking {
            if looks == 0 {
                if self.evicted_age == 1 {
                    break;
                }
                // Nothing is as old as that.
                self.evicted_age /= 2;
                looks = self.buckets.len();
            }
            looks -= 1;
            self.hand &= self.buckets.len() - 1;
            let entry = self.buckets[self.hand] as u32;
            if entry == NOWHERE {
                self.hand += 1;
                continue;
            }
            let ahead = self.buckets[(self.hand + PREFETCH_AHEAD) & (self.buckets.len() - 1)];
            self.arena.prefetch(ahead as u32);
            self.passed.0 += 1;
            if self.admissions.wrapping_sub(self.arena.admission(entry)) < self.evicted_age {
                self.hand += 1;
            } else {
                self.evict_at_hand(entry, behind);
                self.passed.1 += 1;
                evicted += 1;
            }
            if self.passed.0 == STRETCH {
                let (passed, gone) = std::mem::take(&mut self.passed);
                if 8 * gone < passed {
                    self.evicted_age = (self.evicted_age / 2).max(1);
                } else if 2 * gone > passed {
                    self.evicted_age = (2 * self.evicted_age).min(self.len.max(1) as u32);
                }
            }
        }
        evicted
    }

    fn evict_at_hand(&mut self, entry: EntryRef, behind: &mut Behind) {
        let slot = self.arena.admission(entry) as usize & (self.ring - 1);
        if let Some(slot_of_entry) = self.slots.get_mut(slot).filter(|slot| slot.entry() == entry) {
            *slot_of_entry = Slot::FREE;
            self.released.push(slot as u32);
        }
        self.leave(entry, behind);
        self.push_behind(entry, behind);
        // Another may be in this bucket then.
        self.take_out(self.hand);
    }

    /// Evicts everything.
    pub fn evict_all(&mut self, behind: &mut Behind) {
        let mut looks = 2 * self.buckets.len();
        while self.len > 0 && looks > 0 {
            looks -= 1;
            self.hand &= self.buckets.len() - 1;
            match self.buckets[self.hand] as u32 {
                NOWHERE => self.hand += 1,
                entry => self.evict_at_hand(entry, behind),
            }
        }
    }

    /// Whether the table is about to grow, and by how many bytes.
    pub fn growth(&self) -> usize {
        if (self.len + self.batch_max) * 4 > self.buckets.len() * 3 { self.buckets.len() * 8 } else { 0 }
    }

    /// Looks at the next `buckets` buckets and drops values that have expired at `now`; `lifespans` gives the time to live of each column, none where its values don't
    /// expire. To be called between batches.
    pub fn sweep(&mut self, buckets: usize, now: EventTime, lifespans: &[Option<Lifespan>], behind: &mut Behind) {
        if self.walking {
            return;
        }
        let mut left = buckets.min(self.buckets.len());
        while left > 0 {
            self.swept &= self.buckets.len() - 1;
            let entry = self.buckets[self.swept] as u32;
            if entry == NOWHERE {
                (self.swept, left) = (self.swept + 1, left - 1);
                continue;
            }
            let mut dropped = false;
            for (column, lifespan) in lifespans.iter().enumerate() {
                let (Some(lifespan), Some(noted)) = (lifespan, self.noted_value(entry, column)) else { continue };
                if lifespan.has_ended(noted.accessed, now) {
                    if self.arena.is_pending(entry) {
                        self.copy_entry(entry, behind);
                    }
                    self.drop_noted(entry, column);
                    dropped = true;
                }
            }
            if dropped && self.arena.is_vacant(entry) {
                let slot = self.arena.admission(entry) as usize & (self.ring - 1);
                match self.slots.get_mut(slot).filter(|slot| slot.entry() == entry) {
                    Some(slot) => *slot = Slot::new(entry, Vacancy::Vacant),
                    None => {
                        self.remove(entry, behind);
                        // Another may be in this bucket now: it was not looked at.
                        continue;
                    }
                }
            }
            (self.swept, left) = (self.swept + 1, left - 1);
        }
    }
}
