//! The ordered memtable: every entry of keyed state that is not a point state without a namespace. Map entries, list elements, whatever has a namespace.
//!
//! Entries are grouped by *place*: one key, state and namespace, the common beginning of their stored keys. A hash table finds the place, and within it entries are sorted by
//! the rest of their stored keys (the map key, or the index of a list element), because reads want one entry or all of a place in order. A list's index is the number of elements
//! that this task had appended to any list before, so that appending reads nothing.
//!
//! What a call changes is changed here at once, and what was there before goes to a log: [`Cells::commit`] forgets the log, [`Cells::roll_back`] takes everything back. So reads see
//! the call's own writes without a second look-up, and only a call that failed pays.
//!
//! What lies behind ([`Behind`]) holds entries that were evicted. A place knows whether that may be so ([`Beyond`]): where nothing was, nobody is asked.

mod eviction;
mod export;
mod place;
mod snapshot;

use hashbrown::HashTable;
use smallvec::SmallVec;

use self::{
    place::{Cell, Entries, Rest},
    snapshot::{Copying, copy},
};
use super::{
    behind::Behind,
    changes::KNOWN,
    delivery::StoredColumn,
    expiry::Lifespan,
    spill::{Found, SpillError},
    stored::StoredBytes,
};
use crate::stream::{BytesColumn, EventTime, hash_key};

/// What may lie behind the memory of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    /// Nothing: all its entries are here.
    Nothing,
    /// Entries of which the newest version may be there.
    Something,
    /// Entries that were all cleared: what is there is void.
    Void,
}

/// One key, state and namespace.
struct Place {
    /// The beginning of its entries' stored keys. That of a key of 8 bytes without a namespace needs no allocation.
    prefix: SmallVec<[u8; 16]>,
    entries: Entries,
    beyond: Beyond,
    /// The marks that its entries may bear.
    marks: u8,
    /// Used since the hand passed.
    used: bool,
}

/// What a call has changed, to take it back.
enum Undo {
    /// The entry was this, or not there.
    Entry(u32, Rest, Option<Cell>),
    /// The place had these entries.
    Cleared(u32, Entries, Beyond),
}

/// The time to live of a state's entries, at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    /// Processing time.
    pub now: EventTime,
    /// None: they live for ever.
    pub lifespan: Option<Lifespan>,
}

impl Lifetime {
    fn has_ended(self, accessed: i64) -> bool {
        self.lifespan.is_some_and(|lifespan| lifespan.has_ended(accessed, self.now))
    }
}

/// A part of a place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rest of each entry's stored key.
    pub rests: BytesColumn,
    /// The value of each entry.
    pub values: StoredColumn,
    /// Where the next page begins; none after the last one.
    pub next: Option<Vec<u8>>,
}

/// A place and what the index has of it: 9 bytes, of which up to an eighth is empty.
const PLACE_BYTES: usize = size_of::<Option<Place>>() + 10;

/// The entries of one task.
#[derive(Default)]
pub(super) struct Cells {
    places: Vec<Option<Place>>,
    free: Vec<u32>,
    /// Where the place of a prefix is, behind a part of the prefix's hash: most others are told apart, and the table grows, without a look at their places.
    index: HashTable<(u32, u32)>,
    bytes: usize,
    /// The index of the next list element.
    next_element: u64,
    undo: Vec<Undo>,
    /// Where the search for something to evict goes on.
    hand: usize,
    /// Where the search for expired entries goes on.
    swept: usize,
    /// And at which entry of that place.
    swept_to: Rest,
    copying: Copying,
    scratch: (Vec<u8>, Vec<u8>),
}

impl Cells {
    /// Bytes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries are in memory, those that only say that something is gone included.
    pub(super) fn len(&self) -> usize {
        self.places.iter().flatten().map(|place| place.entries.len()).sum()
    }

    fn find(&self, prefix: &[u8]) -> Option<u32> {
        let hash = tag(prefix);
        let same = |(other, at): &(u32, u32)| {
            *other == hash && self.places[*at as usize].as_ref().is_some_and(|place| *place.prefix == *prefix)
        };
        self.index.find(spread(hash), same).map(|(_, at)| *at)
    }

    fn place_mut(&mut self, at: u32) -> &mut Place {
        self.places[at as usize].as_mut().expect("the index names live places only")
    }

    /// The place of a prefix, made when there is none.
    fn find_or_make(&mut self, prefix: &[u8], behind: &Behind) -> u32 {
        if let Some(at) = self.find(prefix) {
            return at;
        }
        let beyond = if behind.may_contain() { Beyond::Something } else { Beyond::Nothing };
        let place =
            Place { prefix: SmallVec::from_slice(prefix), entries: Entries::default(), beyond, marks: 0, used: true };
        self.bytes += PLACE_BYTES + outside(&place.prefix);
        let at = match self.free.pop() {
            Some(at) => {
                self.places[at as usize] = Some(place);
                at
            }
            None => {
                self.places.push(Some(place));
                u32::try_from(self.places.len() - 1).expect("fewer places than fit the memory of a machine")
            }
        };
        let hash = tag(prefix);
        self.index.insert_unique(spread(hash), (hash, at), |(hash, _)| spread(*hash));
        at
    }

    /// Forgets a place.
    fn drop_place(&mut self, at: u32) {
        let Some(place) = self.places[at as usize].take() else { return };
        self.bytes -= PLACE_BYTES + outside(&place.prefix) + place.entries.bytes();
        if let Ok(found) = self.index.find_entry(spread(tag(&place.prefix)), |(_, other)| *other == at) {
            found.remove();
        }
        self.free.push(at);
    }

    /// Appends the entry at `rest` to `out`: absent when there is none or it has expired.
    ///
    /// # Errors
    /// When what lies behind can't be read.
    pub(super) fn get(
        &mut self,
        (prefix, rest): (&[u8], &[u8]),
        lifetime: Lifetime,
        behind: &mut Behind,
        out: &mut StoredColumn,
    ) -> Result<(), SpillError> {
        let place = self.find(prefix);
        if let Some(at) = place {
            let place = self.place_mut(at);
            place.used = true;
            let known = place.entries.get(rest);
            if known.is_some() || place.beyond != Beyond::Something {
                match known.filter(|cell| cell.version != 0 && !lifetime.has_ended(cell.accessed)) {
                    Some(cell) => out.push_with_version(cell.version, &cell.value),
                    None => out.push_with_version(0, &[]),
                }
                return Ok(());
            }
        }
        let (mut key, mut value) = std::mem::take(&mut self.scratch);
        let loaded = self.load((prefix, rest), behind, &mut key, &mut value);
        self.scratch = (key, value);
        match loaded?.filter(|cell| !lifetime.has_ended(cell.accessed)) {
            Some(cell) => {
                out.push_with_version(cell.version, &cell.value);
                let at = self.find_or_make(prefix, behind);
                self.insert(at, Rest::from_slice(rest), cell);
            }
            None => out.push_with_version(0, &[]),
        }
        Ok(())
    }

    /// What lies behind for an entry, as it would be here.
    fn load(
        &self,
        (prefix, rest): (&[u8], &[u8]),
        behind: &mut Behind,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<Option<Cell>, SpillError> {
        let Some(spill) = behind.spill() else { return Ok(None) };
        key.clear();
        key.extend_from_slice(prefix);
        key.extend_from_slice(rest);
        match spill.get(key, value)? {
            Found::Absent => Ok(None),
            Found::Value => {
                let stored = StoredBytes::decode(value).map_err(|error| spill.undecodable(&error))?;
                Ok(Some(Cell::loaded(&stored)))
            }
        }
    }

    /// Changes the entries of a place.
    fn change<R>(&mut self, at: u32, change: impl FnOnce(&mut Entries) -> R) -> R {
        let entries = &mut self.place_mut(at).entries;
        let before = entries.bytes();
        let result = change(entries);
        let after = entries.bytes();
        self.bytes = self.bytes + after - before;
        result
    }

    fn insert(&mut self, at: u32, rest: Rest, cell: Cell) -> Option<Cell> {
        self.place_mut(at).used = true;
        self.change(at, |entries| entries.insert(rest, cell))
    }

    fn remove(&mut self, at: u32, rest: &[u8]) -> Option<Cell> {
        self.change(at, |entries| entries.remove(rest))
    }

    /// Writes an entry; version 0 removes it. `expires` says whether its state has a time to live.
    pub(super) fn put(
        &mut self,
        (prefix, rest): (&[u8], &[u8]),
        version: u16,
        value: &[u8],
        (now, expires): (EventTime, bool),
        behind: &mut Behind,
    ) {
        let at = self.find_or_make(prefix, behind);
        let rest = Rest::from_slice(rest);
        let mark = behind.changes.current();
        let place = self.place_mut(at);
        let blind = place.beyond == Beyond::Something;
        let mut old = if version != 0 || blind {
            place.marks |= mark;
            let known = if blind { KNOWN } else { 0 };
            self.insert(at, rest.clone(), Cell::written(version, value, now, mark | known))
        } else {
            self.remove(at, &rest)
        };
        if let Some(old) = old.as_mut().filter(|old| old.marks & behind.changes.pending() != 0) {
            copy(old, (prefix, &rest), expires, behind);
        }
        self.undo.push(Undo::Entry(at, rest, old));
    }

    /// Appends an element to a list.
    pub(super) fn append(
        &mut self,
        prefix: &[u8],
        version: u16,
        value: &[u8],
        (now, expires): (EventTime, bool),
        behind: &mut Behind,
    ) {
        let rest = self.next_element.to_be_bytes();
        self.next_element += 1;
        self.put((prefix, &rest), version, value, (now, expires), behind);
    }

    /// Removes all entries of a place. `expires` says whether its state has a time to live.
    pub(super) fn clear(&mut self, prefix: &[u8], expires: bool, behind: &mut Behind) {
        if self.find(prefix).is_none() && !behind.may_contain() {
            return;
        }
        let at = self.find_or_make(prefix, behind);
        self.copy_place(at as usize, expires, behind);
        let place = self.place_mut(at);
        place.used = true;
        let beyond = place.beyond;
        if beyond == Beyond::Something {
            place.beyond = Beyond::Void;
        }
        let entries = self.change(at, std::mem::take);
        self.undo.push(Undo::Cleared(at, entries, beyond));
    }

    /// Reads entries of a place in order, from `from` on: about `bytes_max` bytes, at least one entry if there is one.
    ///
    /// # Errors
    /// When what lies behind can't be read.
    pub(super) fn read(
        &mut self,
        prefix: &[u8],
        from: &[u8],
        bytes_max: usize,
        lifetime: Lifetime,
        behind: &mut Behind,
    ) -> Result<Page, SpillError> {
        let place = self.find(prefix);
        if let Some(at) = place {
            self.place_mut(at).used = true;
        }
        let place = place.and_then(|at| self.places[at as usize].as_ref());
        let mut page = Filling { page: Page::default(), bytes_max, lifetime };
        let mut here = place.map(|place| place.entries.from(from)).into_iter().flatten().peekable();
        let asks = place.is_none_or(|place| place.beyond == Beyond::Something);
        if let Some(spill) = behind.spill().filter(|_| asks) {
            let mut first = prefix.to_vec();
            first.extend_from_slice(from);
            let mut undecodable = None;
            {
                let mut there = spill.range(prefix, std::ops::Bound::Included(&first))?;
                while let Some((key, value)) = there.next()? {
                    let rest = &key[prefix.len()..];
                    while let Some((known, cell)) = here.next_if(|(known, _)| &***known < rest) {
                        if !page.takes(known, cell.version, cell.accessed, &cell.value) {
                            return Ok(page.page);
                        }
                    }
                    if let Some((known, cell)) = here.next_if(|(known, _)| &***known == rest) {
                        if !page.takes(known, cell.version, cell.accessed, &cell.value) {
                            return Ok(page.page);
                        }
                        continue;
                    }
                    match StoredBytes::decode(value) {
                        Ok(stored) => {
                            if !page.takes(rest, stored.version, stored.accessed_ms(), stored.value) {
                                return Ok(page.page);
                            }
                        }
                        Err(error) => {
                            undecodable = Some(error);
                            break;
                        }
                    }
                }
            }
            if let Some(error) = undecodable {
                return Err(spill.undecodable(&error));
            }
        }
        for (known, cell) in here {
            if !page.takes(known, cell.version, cell.accessed, &cell.value) {
                break;
            }
        }
        Ok(page.page)
    }

    /// What the call changed stands.
    pub(super) fn commit(&mut self, behind: &mut Behind) {
        let mut undo = std::mem::take(&mut self.undo);
        if behind.changes.are_kept() {
            // Before any place is forgotten.
            undo.iter().for_each(|change| self.tell_of_gone(change, behind));
        }
        for change in undo.drain(..) {
            let (Undo::Entry(at, ..) | Undo::Cleared(at, ..)) = change;
            self.drop_if_idle(at);
        }
        self.undo = undo;
    }

    /// Forgets a place that says nothing: it has no entries, and what lies behind it counts, if anything does.
    fn drop_if_idle(&mut self, at: u32) {
        let place = self.places[at as usize].as_ref();
        if place.is_some_and(|place| place.entries.len() == 0 && place.beyond != Beyond::Void) {
            self.drop_place(at);
        }
    }

    /// What the call changed was never changed.
    pub(super) fn roll_back(&mut self) {
        let mut undo = std::mem::take(&mut self.undo);
        let mut places = Vec::with_capacity(undo.len());
        while let Some(change) = undo.pop() {
            let (Undo::Entry(at, ..) | Undo::Cleared(at, ..)) = change;
            places.push(at);
            match change {
                Undo::Entry(at, rest, Some(old)) => {
                    self.insert(at, rest, old);
                }
                Undo::Entry(at, rest, None) => {
                    self.remove(at, &rest);
                }
                Undo::Cleared(at, entries, beyond) => {
                    self.place_mut(at).beyond = beyond;
                    self.change(at, |now| *now = entries);
                }
            }
        }
        self.undo = undo;
        // Not before all is as it was: several changes may be of one place.
        places.into_iter().for_each(|at| self.drop_if_idle(at));
    }
}

/// Half of a prefix's hash.
fn tag(prefix: &[u8]) -> u32 {
    (hash_key(prefix) >> 32) as u32
}

/// The hash under which the index keeps a prefix: of high and low bits, because it uses both. The multiplier is that of Fibonacci hashing (Knuth, TAOCP 3, 6.4).
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Bytes of a prefix that lie outside of its place.
fn outside(prefix: &SmallVec<[u8; 16]>) -> usize {
    if prefix.spilled() { prefix.len() } else { 0 }
}

/// A page that is being filled.
struct Filling {
    page: Page,
    bytes_max: usize,
    lifetime: Lifetime,
}

impl Filling {
    /// Takes an entry if it is one; false: the page is full, and the entry begins the next one.
    fn takes(&mut self, rest: &[u8], version: u16, accessed: i64, value: &[u8]) -> bool {
        if version == 0 || self.lifetime.has_ended(accessed) {
            return true;
        }
        let bytes = self.page.rests.bytes() + self.page.values.values.bytes() + 8 * self.page.rests.len();
        if !self.page.rests.is_empty() && bytes + rest.len() + value.len() > self.bytes_max {
            self.page.next = Some(rest.to_vec());
            return false;
        }
        self.page.rests.push(rest);
        self.page.values.push_with_version(version, value);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        background::Inline,
        state::{SpillOptions, SpillSetup},
    };

    #[test]
    fn clearing_what_is_not_there_takes_no_memory_for_good() {
        let folder = tempfile::tempdir().expect("a folder");
        let setup = SpillSetup {
            directory: folder.path().join("spill"),
            options: SpillOptions::default(),
            background: std::sync::Arc::new(Inline::at_once()),
            cache_bytes: 1,
        };
        let mut behind = Behind::new(Some(setup), 128, None);
        let mut cells = Cells::default();
        cells.put((b"0123456789abcdef", b"map key"), 1, b"value", (EventTime(0), false), &mut behind);
        cells.commit(&mut behind);
        cells.evict_all(|_| false, &mut behind).expect("the disk is well");
        assert!(behind.may_contain());
        for key in 0..10_000_u128 {
            cells.clear(&key.to_be_bytes(), false, &mut behind);
            cells.commit(&mut behind);
            let over = cells.bytes().saturating_sub(64 << 10);
            if over > 0 {
                cells.evict(over, |_| false, &mut behind).expect("the disk is well");
            }
        }
        assert!(cells.bytes() <= 66 << 10, "{} bytes", cells.bytes());
        assert!(cells.places.len() <= 1_000, "{} places", cells.places.len());
    }
}
