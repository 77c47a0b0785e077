//! All entries of a task's keyed state, in the order in which they are stored: what a dump, a checkpoint or a savepoint is written from.
//!
//! Where nothing was evicted, an index of all entries in memory is sorted (12 bytes each, no copies of keys or values). Where something was, the rest is evicted as well, and
//! what lies behind is read in its order; the table is empty then. What has expired is left out, as if it had been removed.
//!
//! Meant for a task that has come to its end: nothing of this is incremental, and its memory and time grow with the state.

use std::{cmp::Ordering, io, ops::Bound};

use super::{KeyedState, is_noted, lifespan_of};
use crate::{
    state::{
        arena::EntryRef,
        expiry::UNNOTED,
        spill::SpillError,
        stored::{StoredBytes, StoredKey},
    },
    stream::{EventTime, hash_key},
};

/// Why not all entries could be handed over.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What lies behind the memory failed.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// Whoever takes the entries failed.
    #[error(transparent)]
    Taker(#[from] io::Error),
}

/// Who takes entries: a stored key and a stored value at a time.
pub type TakeEntry<'a> = dyn FnMut(&[u8], &[u8]) -> io::Result<()> + 'a;

/// An entry of the table, or a place of the cells.
#[derive(Clone, Copy)]
struct Item {
    group: u16,
    state: u16,
    at: At,
}

#[derive(Clone, Copy)]
enum At {
    Table(EntryRef),
    Place(u32),
}

impl KeyedState {
    /// Hands every entry that has not expired at the time of the last [`Self::begin`] to `take`, in ascending order of stored keys. To be called between calls of the guest, of
    /// which none may follow that knows slots.
    ///
    /// # Errors
    /// [`ExportError`]; some entries may have been handed over.
    pub fn export(&mut self, take: &mut TakeEntry<'_>) -> Result<(), ExportError> {
        if self.behind.may_contain() { self.export_behind(take) } else { Ok(self.export_known(take)?) }
    }

    /// Evicts everything, so that all of it lies in one order in one place.
    pub(super) fn evict_all(&mut self) -> Result<(), SpillError> {
        self.table.evict_all(&mut self.behind);
        let noted = &self.noted;
        self.cells.evict_all(|state| is_noted(noted, state), &mut self.behind)?;
        self.behind.check()?;
        match self.behind.spill() {
            Some(spill) => spill.settle().map(|_| ()),
            None => Ok(()),
        }
    }

    fn export_behind(&mut self, take: &mut TakeEntry<'_>) -> Result<(), ExportError> {
        self.evict_all()?;
        let rules = self.expiry.rules();
        let groups = self.behind.groups();
        let Some(spill) = self.behind.spill() else { return Ok(()) };
        for group in 0..groups {
            let prefix = group.to_be_bytes();
            let mut range = spill.range(&prefix, Bound::Included(&prefix))?;
            while let Some((key, value)) = range.next()? {
                if !rules.is_expired(key, value) {
                    take(key, value)?;
                }
            }
        }
        Ok(())
    }

    /// The same where all state is in memory.
    fn export_known(&self, take: &mut TakeEntry<'_>) -> io::Result<()> {
        let mut items = self.items();
        items.sort_unstable_by(|one, other| self.order(one, other));
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for Item { group, state, at } in items {
            match at {
                At::Table(entry) => {
                    let Some((version, last_access, bytes)) = self.point(entry, state) else { continue };
                    let stored = StoredKey {
                        key_group: group,
                        state,
                        key: self.table.key_at(entry),
                        namespace: &[],
                        entry: &[],
                    };
                    stored.encode(&mut key).expect("keys are bounded where they come in");
                    encode(version, last_access, bytes, &mut value);
                    take(&key, &value)?;
                }
                At::Place(place) => {
                    let lifespan = lifespan_of(&self.states, state);
                    for cell in self.cells.entries_of(place).filter(|cell| cell.version != 0) {
                        if lifespan.is_some_and(|lifespan| lifespan.has_ended(cell.accessed, self.now)) {
                            continue;
                        }
                        key.clear();
                        key.extend_from_slice(self.cells.prefix_of(place));
                        key.extend_from_slice(cell.rest);
                        let accessed = lifespan.and(Some(cell.accessed)).filter(|accessed| *accessed != UNNOTED);
                        encode(cell.version, accessed.map(EventTime), cell.value, &mut value);
                        take(&key, &value)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn items(&self) -> Vec<Item> {
        let numbers = (0_u16..).zip(&self.columns).filter(|(_, column)| column.is_some());
        let points: Vec<u16> = numbers.map(|(number, _)| number).collect();
        let mut items = Vec::new();
        for entry in self.table.entries() {
            let group = self.behind.group(hash_key(self.table.key_at(entry)));
            let present = points.iter().filter(|state| self.point(entry, **state).is_some());
            items.extend(present.map(|state| Item { group, state: *state, at: At::Table(entry) }));
        }
        items.extend(self.cells.places().map(|(place, prefix)| {
            let StoredKey { key_group, state, .. } = decoded(prefix);
            Item { group: key_group, state, at: At::Place(place) }
        }));
        items
    }

    /// Version, last access and bytes of a point state in the table; none where it is absent or has expired.
    fn point(&self, entry: EntryRef, state: u16) -> Option<(u16, Option<EventTime>, &[u8])> {
        let column = self.columns[usize::from(state)]?;
        let noted = self.table.noted_value(entry, column as usize)?;
        let Some(lifespan) = self.lifespans[column as usize] else { return Some((noted.version, None, noted.value)) };
        let lives = !lifespan.has_ended(noted.accessed, self.now);
        lives.then_some((noted.version, noted.last_access(), noted.value))
    }

    /// The order of the stored keys: that of the fields, where a byte string's length comes before its bytes.
    fn order(&self, one: &Item, other: &Item) -> Ordering {
        let fields = |item: &Item| {
            let (key, namespace) = match item.at {
                At::Table(entry) => (self.table.key_at(entry), &[][..]),
                At::Place(place) => {
                    let StoredKey { key, namespace, .. } = decoded(self.cells.prefix_of(place));
                    (key, namespace)
                }
            };
            (item.group, item.state, (key.len(), key), (namespace.len(), namespace))
        };
        fields(one).cmp(&fields(other))
    }
}

/// The fields of a place's prefix.
fn decoded(prefix: &[u8]) -> StoredKey<'_> {
    StoredKey::decode(prefix).expect("a place begins with a prefix of stored keys")
}

fn encode(version: u16, last_access: Option<EventTime>, value: &[u8], out: &mut Vec<u8>) {
    StoredBytes { version, last_access, value }.encode(out).expect("what is absent was left out");
}

#[cfg(test)]
mod tests;
