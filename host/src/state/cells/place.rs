//! The entries of one place, sorted.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque, btree_map},
};

use smallvec::SmallVec;

use crate::{
    state::{changes::KNOWN, expiry::UNNOTED, stored::StoredBytes},
    stream::EventTime,
};

/// The rest of a stored key behind its place's prefix. Short ones need no allocation.
pub(super) type Rest = SmallVec<[u8; 16]>;

/// Above so many entries that would have to move, a sorted array becomes a tree. Nothing moves at either end, so that lists stay arrays.
const ARRAY_MAX: usize = 64;

/// The value of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) value: SmallVec<[u8; 16]>,
    /// When it was accessed last, in milliseconds, or [`UNNOTED`].
    pub(super) accessed: i64,
    /// 0: the entry is gone, but an older version of it may lie behind.
    pub(super) version: u16,
    /// The marks of the module `changes`, and [`DIRTY`].
    pub(super) marks: u8,
}

/// Beside the marks: written since the entry was evicted or loaded last.
pub(super) const DIRTY: u8 = 8;

impl Cell {
    /// One that was written now, with these marks.
    pub(super) fn written(version: u16, value: &[u8], now: EventTime, marks: u8) -> Self {
        Self { value: SmallVec::from_slice(value), accessed: now.0, version, marks: marks | DIRTY }
    }

    /// One that lies behind or in a snapshot.
    pub(super) fn loaded(stored: &StoredBytes<'_>) -> Self {
        let (value, accessed) = (SmallVec::from_slice(stored.value), stored.accessed_ms());
        Self { value, accessed, version: stored.version, marks: KNOWN }
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.marks & DIRTY != 0
    }

    /// What is stored of it, if it is there; `expires` says whether with the time of its last access.
    pub(super) fn stored(&self, expires: bool) -> Option<StoredBytes<'_>> {
        let last_access = (expires && self.accessed != UNNOTED).then_some(EventTime(self.accessed));
        (self.version != 0).then_some(StoredBytes { version: self.version, last_access, value: &self.value })
    }
}

/// Sorted entries.
#[derive(Debug)]
pub(super) struct Entries {
    kept: Kept,
    /// Bytes of memory, about.
    bytes: usize,
}

#[derive(Debug)]
enum Kept {
    Array(VecDeque<(Rest, Cell)>),
    Tree(BTreeMap<Rest, Cell>),
}

impl Default for Entries {
    fn default() -> Self {
        Self { kept: Kept::Array(VecDeque::new()), bytes: 0 }
    }
}

fn bytes_of(rest: &Rest, cell: &Cell) -> usize {
    let outside = |bytes: &SmallVec<[u8; 16]>| if bytes.spilled() { bytes.len() } else { 0 };
    size_of::<(Rest, Cell)>() + outside(rest) + outside(&cell.value)
}

/// The order of byte strings. Most are integers of eight bytes: comparing those needs no call.
#[inline]
fn order(one: &[u8], other: &[u8]) -> Ordering {
    match (<[u8; 8]>::try_from(one), <[u8; 8]>::try_from(other)) {
        (Ok(one), Ok(other)) => u64::from_be_bytes(one).cmp(&u64::from_be_bytes(other)),
        _ => one.cmp(other),
    }
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        match &self.kept {
            Kept::Array(array) => array.len(),
            Kept::Tree(tree) => tree.len(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, rest: &[u8]) -> Option<&Cell> {
        match &self.kept {
            Kept::Array(array) => {
                let at = array.binary_search_by(|(other, _)| order(other, rest)).ok()?;
                Some(&array[at].1)
            }
            Kept::Tree(tree) => tree.get(rest),
        }
    }

    /// Adds or replaces an entry, of which snapshots know what they knew before. Returns what was there.
    pub(super) fn insert(&mut self, rest: Rest, mut cell: Cell) -> Option<Cell> {
        self.bytes += bytes_of(&rest, &cell);
        let old = match &mut self.kept {
            Kept::Array(array) => {
                if array.back().is_none_or(|(last, _)| order(last, &rest).is_lt()) {
                    if array.is_empty() {
                        // Most places have one entry.
                        array.reserve_exact(1);
                    }
                    array.push_back((rest, cell));
                    return None;
                }
                match array.binary_search_by(|(other, _)| order(other, &rest)) {
                    Ok(at) => {
                        cell.marks |= array[at].1.marks & KNOWN;
                        Some((rest, std::mem::replace(&mut array[at].1, cell)))
                    }
                    Err(at) if array.len() < ARRAY_MAX => {
                        array.insert(at, (rest, cell));
                        None
                    }
                    Err(_) => {
                        let mut tree: BTreeMap<_, _> = std::mem::take(array).into_iter().collect();
                        tree.insert(rest, cell);
                        self.kept = Kept::Tree(tree);
                        None
                    }
                }
            }
            Kept::Tree(tree) => match tree.entry(rest) {
                btree_map::Entry::Occupied(mut found) => {
                    cell.marks |= found.get().marks & KNOWN;
                    Some((found.key().clone(), found.insert(cell)))
                }
                btree_map::Entry::Vacant(vacant) => {
                    vacant.insert(cell);
                    None
                }
            },
        };
        let (rest, old) = old?;
        self.bytes -= bytes_of(&rest, &old);
        Some(old)
    }

    pub(super) fn remove(&mut self, rest: &[u8]) -> Option<Cell> {
        let (rest, old) = match &mut self.kept {
            Kept::Array(array) => {
                let at = array.binary_search_by(|(other, _)| order(other, rest)).ok()?;
                if at.min(array.len() - at) > ARRAY_MAX {
                    // Too many would have to move.
                    let mut tree: BTreeMap<_, _> = std::mem::take(array).into_iter().collect();
                    let removed = tree.remove_entry(rest)?;
                    self.kept = Kept::Tree(tree);
                    self.bytes -= bytes_of(&removed.0, &removed.1);
                    return Some(removed.1);
                }
                array.remove(at)?
            }
            Kept::Tree(tree) => tree.remove_entry(rest)?,
        };
        self.bytes -= bytes_of(&rest, &old);
        Some(old)
    }

    /// The entries from `from` on, in order.
    pub(super) fn from<'a>(&'a self, from: &[u8]) -> Box<dyn Iterator<Item = (&'a Rest, &'a Cell)> + 'a> {
        match &self.kept {
            Kept::Array(array) => {
                let start = array.partition_point(|(rest, _)| order(rest, from).is_lt());
                Box::new(array.range(start..).map(|(rest, cell)| (rest, cell)))
            }
            Kept::Tree(tree) => Box::new(tree.range(SmallVec::from_slice(from)..)),
        }
    }

    /// The entries from `from` on, in order, to be marked.
    pub(super) fn iter_mut_from<'a>(
        &'a mut self,
        from: &[u8],
    ) -> Box<dyn Iterator<Item = (&'a Rest, &'a mut Cell)> + 'a> {
        match &mut self.kept {
            Kept::Array(array) => {
                let start = array.partition_point(|(rest, _)| order(rest, from).is_lt());
                Box::new(array.range_mut(start..).map(|(rest, cell)| (&*rest, cell)))
            }
            Kept::Tree(tree) => Box::new(tree.range_mut(SmallVec::from_slice(from)..)),
        }
    }

    /// Takes the first `most` entries out.
    pub(super) fn take_first(&mut self, most: usize) -> Vec<(Rest, Cell)> {
        let taken: Vec<_> = match &mut self.kept {
            Kept::Array(array) if array.len() <= most => std::mem::take(array).into(),
            Kept::Array(array) => array.drain(..most).collect(),
            Kept::Tree(tree) => std::iter::from_fn(|| tree.pop_first()).take(most).collect(),
        };
        self.bytes -= taken.iter().map(|(rest, cell)| bytes_of(rest, cell)).sum::<usize>();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(number: u64) -> Rest {
        Rest::from_slice(&number.to_be_bytes())
    }

    fn cell(number: u64) -> Cell {
        Cell::written(1, &number.to_le_bytes(), EventTime(0), 0)
    }

    #[test]
    fn entries_stay_sorted_whatever_their_number() {
        // Filled in order, as a list or a map by time is; then changed at both ends, in the middle and all over.
        let mut entries = Entries::default();
        let mut model = BTreeMap::new();
        for number in 0..1_000 {
            assert_eq!(entries.insert(rest(number), cell(number)), model.insert(number, cell(number)));
        }
        for (step, number) in (0..1_000_u64).map(|step| (step, step.wrapping_mul(0x9e37_79b9) % 1_100)) {
            if step % 3 == 0 {
                assert_eq!(entries.insert(rest(number), cell(step)), model.insert(number, cell(step)));
            } else {
                assert_eq!(entries.remove(&rest(number)), model.remove(&number));
            }
            assert_eq!(entries.get(&rest(number)), model.get(&number));
        }
        let from = entries.from(&500_u64.to_be_bytes()).map(|(rest, cell)| (rest.to_vec(), cell.clone()));
        let expected = model.range(500..).map(|(number, cell)| (number.to_be_bytes().to_vec(), cell.clone()));
        assert!(from.eq(expected));
        let first = entries.take_first(10);
        assert!(
            first.iter().map(|(rest, _)| rest.to_vec()).eq(model.keys().take(10).map(|key| key.to_be_bytes().to_vec()))
        );
        assert_eq!(entries.len(), model.len() - 10);
        entries.take_first(usize::MAX);
        assert_eq!((entries.len(), entries.bytes()), (0, 0));
    }
}
