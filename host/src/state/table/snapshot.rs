//! What the table does for snapshots: entries are copied as they were at the barrier, and what leaves the table is written down; and entries come back when a task is restored.

use super::{KeyTable, NOWHERE, tag_of};
use crate::{
    state::{
        Known,
        arena::{DIRTY, EntryRef, SPILLED},
        behind::Behind,
        changes::{KNOWN, Point},
        memory_advice::prefetch,
        stored::StoredBytes,
    },
    stream::{KeyHash, Windowed, hash_key},
};

/// What a step of copying looks at, at most, in units of the arena: 128 KiB.
pub(super) const UNITS_PER_STEP: u32 = 16 << 10;

impl KeyTable {
    /// A barrier: from now on writes leave another mark, and what has the former one is to be copied.
    pub(in crate::state) fn begin_copying(&mut self, behind: &Behind) {
        self.arena.set_marks_of_writes(behind.changes.current(), behind.changes.pending());
        self.copying = (1, self.arena.end());
    }

    /// Copies a few entries. Returns whether there may be more.
    pub(in crate::state) fn copy_some(&mut self, behind: &mut Behind) -> bool {
        let (mut at, end) = self.copying;
        let stop = end.min(at.saturating_add(self.units_per_step));
        while at < stop {
            let (entry, next) = self.arena.next_pending(at, stop);
            at = next;
            if let Some(entry) = entry {
                self.copy_entry(entry, behind);
            }
        }
        self.copying.0 = at;
        at < end
    }

    /// Lets a step look at so few units.
    #[cfg(test)]
    pub(in crate::state) fn copy_in_steps_of(&mut self, units: u32) {
        self.units_per_step = units;
    }

    /// Nothing is to be copied any more.
    pub(in crate::state) fn end_copying(&mut self, behind: &Behind) {
        self.arena.set_marks_of_writes(behind.changes.current(), 0);
    }

    /// Copies an entry that has the pending mark.
    #[inline(never)]
    pub(super) fn copy_entry(&mut self, entry: EntryRef, behind: &mut Behind) {
        let marks = self.arena.marks(entry);
        self.write_down(entry, marks, behind, |behind, point| behind.changes.copy_point(point));
        self.arena.set_marks(entry, marks & !behind.changes.pending() | KNOWN);
    }

    /// An entry is about to leave the table: what snapshots must know of it is written down.
    #[inline]
    pub(super) fn leave(&mut self, entry: EntryRef, behind: &mut Behind) {
        if behind.changes.are_kept() {
            if self.arena.is_pending(entry) {
                self.copy_entry(entry, behind);
            }
            let marks = self.arena.marks(entry);
            if marks & behind.changes.current() != 0 {
                self.write_down(entry, marks, behind, |behind, point| behind.changes.carry_point(point));
            }
        }
    }

    fn write_down(&self, entry: EntryRef, marks: u8, behind: &mut Behind, put: impl Fn(&mut Behind, Point<'_>)) {
        let key = self.arena.key(entry);
        let group = behind.group(hash_key(key));
        // Of what no snapshot has heard and nothing lies behind, nobody has to be told that it is gone.
        let tells_of_gone = marks & KNOWN != 0 || self.arena.flags(entry) & SPILLED != 0;
        for (column, state) in self.states.iter().enumerate().filter(|(_, state)| !state.is_times()) {
            let gone = Point { group, state: state.id, key, version: 0, last_access: None, value: &[] };
            match self.noted_value(entry, column) {
                Some(noted) => {
                    let (version, last_access, value) = (noted.version, noted.last_access(), noted.value);
                    put(behind, Point { version, last_access, value, ..gone });
                }
                None if tells_of_gone => put(behind, gone),
                None => {}
            }
        }
    }

    /// Makes room for so many keys.
    pub(in crate::state) fn expect(&mut self, keys: usize) {
        self.reserve(keys);
    }

    /// Brings the place of a key nearer.
    pub(in crate::state) fn prefetch_key(&self, hash: KeyHash) {
        prefetch(&self.buckets, (tag_of(hash) >> self.shift) as usize);
    }

    /// Whether the table has a key.
    pub(in crate::state) fn has(&self, key: &[u8]) -> bool {
        let tag = tag_of(hash_key(key));
        let mask = self.buckets.len() - 1;
        let mut at = (tag >> self.shift) as usize;
        loop {
            let found = self.buckets[at];
            if found == 0 {
                return false;
            }
            if (found >> 32) as u32 == tag && self.arena.key(found as u32) == key {
                return true;
            }
            at = (at + 1) & mask;
        }
    }

    /// Puts back a value that a snapshot has. To be called before the first batch.
    pub(in crate::state) fn restore(&mut self, key: &[u8], column: u32, stored: &StoredBytes<'_>, known: Known) {
        self.reserve(1);
        let (entry, _) = self.find_or_insert(Windowed::alone(key), hash_key(key));
        debug_assert_ne!(entry, NOWHERE);
        let now_at = self.put_stored(entry, column as usize, stored);
        if now_at != entry {
            self.relocate(entry, now_at);
        }
        // Nothing lies behind it, so it has to be pushed there when it is evicted.
        self.arena.set_flags(now_at, DIRTY);
        if known == Known::Yes {
            // The write has left the current mark.
            self.arena.set_marks(now_at, KNOWN);
        }
    }
}
