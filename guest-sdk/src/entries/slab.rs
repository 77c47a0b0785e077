//! Where entries lie: found by a hash table, chained by slot, and swept when they have too many bytes.

use std::cell::Cell as StdCell;
use std::hash::Hasher;
use std::ops::{Index, IndexMut};

use hashbrown::HashTable;
use rustc_hash::FxHasher;

use crate::cell::Cell;
use crate::context::NO_SLOT;

use super::{At, Kind};

/// No entry has this number.
const NONE: u32 = u32::MAX;

pub(super) struct Entry<T> {
    /// `NO_SLOT`: the place is vacant.
    pub(super) slot: u32,
    pub(super) kind: Kind,
    /// Stands in the list of changed entries.
    is_changed: bool,
    /// Was asked for since the sweep last came by.
    is_used: StdCell<bool>,
    /// How many bytes of `path` are the namespace's. The rest is the map key.
    namespace: u16,
    path: Box<[u8]>,
    /// The other entries of the slot.
    previous: u32,
    next: u32,
    /// The other changed entries of the slot.
    next_changed: u32,
    /// Of the encoded value.
    bytes: u32,
    pub(super) cell: Cell<T>,
}

impl<T> Entry<T> {
    pub(super) fn namespace(&self) -> &[u8] {
        &self.path[..usize::from(self.namespace)]
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.path[usize::from(self.namespace)..]
    }

    fn at(&self) -> At<'_> {
        At { slot: self.slot, kind: self.kind, namespace: self.namespace(), key: self.key() }
    }

    fn lies(&self, at: At<'_>) -> bool {
        self.slot == at.slot && self.kind == at.kind && self.namespace() == at.namespace && self.key() == at.key
    }

    /// What it takes in memory, more or less.
    fn size(&self) -> usize {
        size_of::<Self>() + 8 + self.path.len() + self.bytes as usize
    }
}

/// The first entry of a slot, and the first changed one.
#[derive(Clone, Copy)]
struct Chain {
    first: u32,
    changed: u32,
}

pub(super) struct Slab<T> {
    table: HashTable<u32>,
    entries: Vec<Entry<T>>,
    vacant: Vec<u32>,
    chains: Vec<Chain>,
    changed: Vec<u32>,
    bytes: usize,
    bytes_max: usize,
    /// Above so many bytes it is swept: more than `bytes_max` where a call has changed so much.
    sweep_from: usize,
    hand: usize,
}

fn hash(at: At<'_>) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u32(at.slot);
    hasher.write_u32(at.namespace.len() as u32 * 2 + u32::from(at.kind == Kind::Clearing));
    hasher.write(at.namespace);
    hasher.write(at.key);
    hasher.finish()
}

impl<T> Slab<T> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            table: HashTable::new(),
            entries: Vec::new(),
            vacant: Vec::new(),
            chains: Vec::new(),
            changed: Vec::new(),
            bytes: 0,
            bytes_max,
            sweep_from: bytes_max,
            hand: 0,
        }
    }

    pub(super) fn find(&self, at: At<'_>) -> Option<u32> {
        let index = *self.table.find(hash(at), |index| self[*index].lies(at))?;
        self[index].is_used.set(true);
        Some(index)
    }

    /// The entry there; a new one is missing. May drop others that were not changed.
    pub(super) fn find_or_insert(&mut self, at: At<'_>) -> u32 {
        if let Some(index) = self.find(at) {
            return index;
        }
        if self.bytes > self.sweep_from {
            self.sweep();
        }
        if at.slot as usize >= self.chains.len() {
            self.chains.resize(at.slot as usize + 1, Chain { first: NONE, changed: NONE });
        }
        let next = self.chains[at.slot as usize].first;
        let entry = Entry {
            slot: at.slot,
            kind: at.kind,
            is_changed: false,
            is_used: StdCell::new(true),
            namespace: at.namespace.len() as u16,
            path: [at.namespace, at.key].concat().into(),
            previous: NONE,
            next,
            next_changed: NONE,
            bytes: 0,
            cell: Cell::missing(),
        };
        self.bytes += entry.size();
        let index = match self.vacant.pop() {
            Some(index) => {
                self[index] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        self.chains[at.slot as usize].first = index;
        if next != NONE {
            self[next].previous = index;
        }
        let Self { table, entries, .. } = self;
        table.insert_unique(hash(at), index, |index| hash(entries[*index as usize].at()));
        index
    }

    pub(super) fn set_bytes(&mut self, index: u32, bytes: usize) {
        let entry = &mut self.entries[index as usize];
        self.bytes -= entry.bytes as usize;
        entry.bytes = bytes as u32;
        self.bytes += bytes;
    }

    fn remove(&mut self, index: u32) {
        let Self { table, entries, chains, .. } = self;
        let entry = &entries[index as usize];
        if let Ok(found) = table.find_entry(hash(entry.at()), |one| *one == index) {
            found.remove();
        }
        let (slot, previous, next, size) = (entry.slot as usize, entry.previous, entry.next, entry.size());
        match previous {
            NONE => chains[slot].first = next,
            previous => entries[previous as usize].next = next,
        }
        if next != NONE {
            entries[next as usize].previous = previous;
        }
        let entry = &mut entries[index as usize];
        entry.slot = NO_SLOT;
        entry.path = Box::default();
        entry.namespace = 0;
        entry.bytes = 0;
        entry.cell = Cell::missing();
        self.bytes -= size;
        self.vacant.push(index);
    }

    /// The values of a slot in a namespace.
    pub(super) fn of_namespace(&self, slot: u32, namespace: &[u8]) -> Vec<u32> {
        let entries = self.chain(slot, |chain| chain.first, |entry| entry.next);
        entries
            .filter(|(_, entry)| entry.kind == Kind::Value && entry.namespace() == namespace)
            .map(|(index, _)| index)
            .collect()
    }

    /// The changed entries of a slot.
    pub(super) fn changed_of(&self, slot: u32) -> impl Iterator<Item = &Entry<T>> {
        self.chain(slot, |chain| chain.changed, |entry| entry.next_changed).map(|(_, entry)| entry)
    }

    fn chain(
        &self,
        slot: u32,
        first: impl FnOnce(&Chain) -> u32,
        next: impl Fn(&Entry<T>) -> u32,
    ) -> impl Iterator<Item = (u32, &Entry<T>)> {
        let mut at = self.chains.get(slot as usize).map_or(NONE, first);
        std::iter::from_fn(move || {
            let index = at;
            let entry = self.entries.get(index as usize)?;
            at = next(entry);
            Some((index, entry))
        })
    }

    pub(super) fn mark_changed(&mut self, index: u32) {
        let Self { entries, chains, changed, .. } = self;
        let entry = &mut entries[index as usize];
        if !std::mem::replace(&mut entry.is_changed, true) {
            let chain = &mut chains[entry.slot as usize];
            entry.next_changed = std::mem::replace(&mut chain.changed, index);
            changed.push(index);
        }
    }

    /// All changed entries, in the order in which they were changed first. [`Slab::settle`] takes them back.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.changed)
    }

    /// What was changed is what the host has.
    pub(super) fn settle(&mut self, mut changed: Vec<u32>) {
        for &index in &changed {
            let entry = &mut self.entries[index as usize];
            entry.is_changed = false;
            entry.next_changed = NONE;
            self.chains[entry.slot as usize].changed = NONE;
            if entry.kind == Kind::Clearing {
                self.remove(index);
            }
        }
        changed.clear();
        self.changed = changed;
    }

    /// Drops what belongs to a slot.
    pub(super) fn release(&mut self, slot: u32) {
        while let Some(chain) = self.chains.get(slot as usize)
            && chain.first != NONE
        {
            self.remove(chain.first);
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        for entry in &self.entries {
            if let Some(chain) = self.chains.get_mut(entry.slot as usize) {
                *chain = Chain { first: NONE, changed: NONE };
            }
        }
        self.table.clear();
        self.entries.clear();
        self.vacant.clear();
        (self.bytes, self.hand) = (0, 0);
    }

    /// Keeps no more than it should, when nothing is changed.
    pub(super) fn shrink(&mut self) {
        self.sweep_from = self.bytes_max;
        if self.bytes > self.bytes_max {
            self.sweep();
        }
    }

    /// Drops entries that are not changed and were not asked for lately, until there is some room.
    #[cold]
    #[inline(never)]
    fn sweep(&mut self) {
        let enough = self.bytes_max - self.bytes_max / 8;
        // Once around to see which were not asked for, once more to take them.
        for _ in 0..2 * self.entries.len() {
            if self.bytes <= enough {
                break;
            }
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &self.entries[self.hand];
            if entry.slot != NO_SLOT && !entry.is_changed && !entry.is_used.replace(false) {
                self.remove(self.hand as u32);
            }
        }
        // Where most of it is changed, it must not be gone through for every new entry.
        self.sweep_from = self.bytes_max.max(self.bytes + self.bytes_max / 8);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = Entry<T>;
    fn index(&self, index: u32) -> &Entry<T> {
        &self.entries[index as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.entries[index as usize]
    }
}
