//! What the memtable does for snapshots: entries are copied as they were at the barrier, and what leaves memory is written down; and entries come back when a task is restored.

use super::{Beyond, Cell, Cells, Rest, Undo, eviction::state_of, place::DIRTY};
use crate::state::{Known, behind::Behind, changes::KNOWN, stored::StoredBytes};

/// What a step of copying looks at, at most: entries, and places.
const ENTRIES_PER_STEP: usize = 4096;
/// So that tests see snapshots that are half copied.
const ENTRIES_PER_STEP_IN_TESTS: usize = 3;

/// Writes down an entry that has the pending mark, as it was at the barrier.
pub(super) fn copy(cell: &mut Cell, key: (&[u8], &[u8]), expires: bool, behind: &mut Behind) {
    let stored = cell.stored(expires);
    // Of what no snapshot has heard, nobody has to be told that it is gone.
    if stored.is_some() || cell.marks & KNOWN != 0 {
        behind.changes.copy(key, stored);
    }
    cell.marks = cell.marks & !behind.changes.pending() | KNOWN;
}

impl Cells {
    /// A barrier: what has the former mark is to be copied.
    pub(in crate::state) fn begin_copying(&mut self) {
        self.copying = (0, Rest::new());
    }

    /// Copies a few entries. Returns whether there may be more. `expires` says of a state whether it has a time to live.
    pub(in crate::state) fn copy_some(&mut self, expires: impl Fn(u16) -> bool, behind: &mut Behind) -> bool {
        let mut left = if cfg!(test) { ENTRIES_PER_STEP_IN_TESTS } else { ENTRIES_PER_STEP };
        while self.copying.0 < self.places.len() && left > 0 {
            let at = self.copying.0;
            let from = std::mem::take(&mut self.copying.1);
            let state = self.places[at].as_ref().and_then(|place| state_of(&place.prefix));
            let (seen, next) = self.copy_entries(at, &from, left, state.is_some_and(&expires), behind);
            left = left.saturating_sub(seen + 1);
            match next {
                Some(next) => self.copying.1 = next,
                None => self.copying.0 += 1,
            }
        }
        self.copying.0 < self.places.len()
    }

    /// Copies all entries of a place that are pending.
    pub(super) fn copy_place(&mut self, at: usize, expires: bool, behind: &mut Behind) {
        self.copy_entries(at, &[], usize::MAX, expires, behind);
    }

    /// Copies those of the next `most` entries of a place that are pending, from `from` on. Returns how many it has looked at, and where to go on.
    fn copy_entries(
        &mut self,
        at: usize,
        from: &[u8],
        most: usize,
        expires: bool,
        behind: &mut Behind,
    ) -> (usize, Option<Rest>) {
        let pending = behind.changes.pending();
        let Some(place) = self.places[at].as_mut().filter(|place| place.marks & pending != 0) else { return (0, None) };
        let mut seen = 0;
        for (rest, cell) in place.entries.iter_mut_from(from) {
            if seen == most {
                return (seen, Some(rest.clone()));
            }
            seen += 1;
            if cell.marks & pending != 0 {
                copy(cell, (&place.prefix, rest), expires, behind);
            }
        }
        place.marks &= !pending;
        (seen, None)
    }

    /// The first `most` entries of a place are about to leave memory.
    pub(super) fn leave(&mut self, at: u32, most: usize, expires: bool, behind: &mut Behind) {
        if !behind.changes.are_kept() {
            return;
        }
        let (pending, current) = (behind.changes.pending(), behind.changes.current());
        let Some(place) = &mut self.places[at as usize] else { return };
        for (rest, cell) in place.entries.iter_mut_from(&[]).take(most) {
            if cell.marks & pending != 0 {
                copy(cell, (&place.prefix, rest), expires, behind);
            }
            let stored = cell.stored(expires);
            if cell.marks & current != 0 && (stored.is_some() || cell.marks & KNOWN != 0) {
                behind.changes.carry((&place.prefix, rest), stored);
            }
        }
    }

    /// Removes an entry that has expired.
    pub(super) fn expire(&mut self, at: u32, rest: &[u8], behind: &mut Behind) {
        let Some(mut cell) = self.remove(at, rest) else { return };
        let Some(place) = self.places[at as usize].as_ref().filter(|_| behind.changes.are_kept()) else { return };
        if cell.marks & behind.changes.pending() != 0 {
            copy(&mut cell, (&place.prefix, rest), true, behind);
        }
        if cell.marks & KNOWN != 0 {
            behind.changes.carry((&place.prefix, rest), None);
        }
    }

    /// A call has removed what a snapshot may know: it is written down, unless something that tells so is in memory still.
    pub(super) fn tell_of_gone(&self, change: &Undo, behind: &mut Behind) {
        match change {
            Undo::Entry(at, rest, Some(old)) if old.marks & KNOWN != 0 => {
                let Some(place) = &self.places[*at as usize] else { return };
                // What is there and known is copied, whether it is a value or says that it is gone.
                if place.entries.get(rest).is_none_or(|now| now.marks & KNOWN == 0) {
                    behind.changes.carry((&place.prefix, rest), None);
                }
            }
            Undo::Cleared(at, entries, beyond) => {
                let Some(place) = &self.places[*at as usize] else { return };
                if *beyond == Beyond::Something || entries.from(&[]).any(|(_, cell)| cell.marks & KNOWN != 0) {
                    behind.changes.carry_cleared(&place.prefix);
                }
            }
            Undo::Entry(..) => {}
        }
    }

    /// Whether a place is in memory.
    pub(in crate::state) fn has(&self, prefix: &[u8]) -> bool {
        self.find(prefix).is_some()
    }

    /// Puts back an entry that a snapshot has. To be called before the first batch.
    pub(in crate::state) fn restore(
        &mut self,
        prefix: &[u8],
        rest: &[u8],
        stored: &StoredBytes<'_>,
        known: Known,
        behind: &Behind,
    ) {
        let at = self.find_or_make(prefix, behind);
        let mut cell = Cell::loaded(stored);
        // Nothing lies behind it, so it has to be pushed there when it is evicted.
        cell.marks |= DIRTY;
        if known == Known::No {
            cell.marks = DIRTY | behind.changes.current();
            self.place_mut(at).marks |= behind.changes.current();
        }
        self.insert(at, Rest::from_slice(rest), cell);
    }

    /// The index that the next list element gets, so that no later one comes before it.
    pub(in crate::state) fn next_element(&self) -> u64 {
        self.next_element
    }

    /// Elements get this index or higher ones.
    pub(in crate::state) fn raise_next_element(&mut self, index: u64) {
        self.next_element = self.next_element.max(index);
    }
}
