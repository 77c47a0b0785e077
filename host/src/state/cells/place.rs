//! The entries of one place, sorted.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, btree_map},
};

use smallvec::SmallVec;

use crate::{state::stored::StoredBytes, stream::EventTime};

/// The rest of a stored key behind its place's prefix. Short ones need no allocation.
pub(super) type Rest = SmallVec<[u8; 16]>;

/// Above so many entries a sorted array, which an insertion must move, becomes a tree. Appending at the end moves nothing, so that lists stay arrays.
const ARRAY_MAX: usize = 64;

/// The value of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) value: SmallVec<[u8; 16]>,
    /// When it was accessed last, in milliseconds.
    pub(super) accessed: i64,
    /// 0: the entry is gone, but an older version of it may lie behind.
    pub(super) version: u16,
    /// Written since it was evicted or loaded last.
    pub(super) dirty: bool,
}

impl Cell {
    pub(super) fn written(version: u16, value: &[u8], now: EventTime) -> Self {
        Self { value: SmallVec::from_slice(value), accessed: now.0, version, dirty: true }
    }

    pub(super) fn loaded(stored: &StoredBytes<'_>) -> Self {
        let accessed = stored.last_access.map_or(i64::MIN, |time| time.0);
        Self { value: SmallVec::from_slice(stored.value), accessed, version: stored.version, dirty: false }
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
    Array(Vec<(Rest, Cell)>),
    Tree(BTreeMap<Rest, Cell>),
}

impl Default for Entries {
    fn default() -> Self {
        Self { kept: Kept::Array(Vec::new()), bytes: 0 }
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

    pub(super) fn insert(&mut self, rest: Rest, cell: Cell) -> Option<Cell> {
        self.bytes += bytes_of(&rest, &cell);
        let old = match &mut self.kept {
            Kept::Array(array) => {
                if array.last().is_none_or(|(last, _)| order(last, &rest).is_lt()) {
                    array.push((rest, cell));
                    return None;
                }
                match array.binary_search_by(|(other, _)| order(other, &rest)) {
                    Ok(at) => Some((rest, std::mem::replace(&mut array[at].1, cell))),
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
                btree_map::Entry::Occupied(mut found) => Some((found.key().clone(), found.insert(cell))),
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
                array.remove(at)
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
                Box::new(array[start..].iter().map(|(rest, cell)| (rest, cell)))
            }
            Kept::Tree(tree) => Box::new(tree.range(SmallVec::from_slice(from)..)),
        }
    }

    /// Keeps the entries for which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Rest, &Cell) -> bool) {
        let mut gone = 0;
        let mut keep = |rest: &Rest, cell: &Cell| {
            let keep = keep(rest, cell);
            gone += if keep { 0 } else { bytes_of(rest, cell) };
            keep
        };
        match &mut self.kept {
            Kept::Array(array) => array.retain(|(rest, cell)| keep(rest, cell)),
            Kept::Tree(tree) => tree.retain(|rest, cell| keep(rest, cell)),
        }
        self.bytes -= gone;
    }

    /// Takes the first `most` entries out.
    pub(super) fn take_first(&mut self, most: usize) -> Vec<(Rest, Cell)> {
        let taken: Vec<_> = match &mut self.kept {
            Kept::Array(array) if array.len() <= most => std::mem::take(array),
            Kept::Array(array) => array.drain(..most).collect(),
            Kept::Tree(tree) => std::iter::from_fn(|| tree.pop_first()).take(most).collect(),
        };
        self.bytes -= taken.iter().map(|(rest, cell)| bytes_of(rest, cell)).sum::<usize>();
        taken
    }
}
