//! The harness's host: state as bytes, a table of slots, outputs as they are handed over.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::output::Keying;
use crate::wire::{Keys, Prefetched, StoredColumn};

use super::table::Table;
use super::{Emitted, LogLine};

/// What the instance is doing: it decides what it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Idle,
    /// Works on records of an input that is no broadcast one, or on keys at the end.
    Call,
    /// Works on records of a broadcast input.
    Broadcast,
}

impl Phase {
    pub(super) const CALLS: [Self; 2] = [Self::Call, Self::Broadcast];
}

pub(super) struct TestHost {
    pub(super) tables: Vec<Table>,
    pub(super) keying: Keying,
    pub(super) phase: Phase,
    /// Processing time.
    pub(super) now: i64,
    slots: HashMap<Vec<u8>, u32>,
    /// The key of each slot, if it has one.
    keys: Vec<Option<Vec<u8>>>,
    /// Slots in use, the longest unused first.
    order: VecDeque<u32>,
    free: Vec<u32>,
    /// The records of the current call.
    pub(super) current_slots: Vec<u32>,
    pub(super) current_times: Vec<i64>,
    pub(super) emitted: Vec<Emitted>,
    pub(super) logs: Vec<LogLine>,
    pub(super) counters: HashMap<String, u64>,
    pub(super) gauges: HashMap<String, f64>,
    pub(super) calls: u64,
}

impl TestHost {
    pub(super) fn new(tables: Vec<Table>, keying: Keying, now: i64) -> Self {
        Self {
            tables,
            keying,
            phase: Phase::Open,
            now,
            slots: HashMap::new(),
            keys: Vec::new(),
            order: VecDeque::new(),
            free: Vec::new(),
            current_slots: Vec::new(),
            current_times: Vec::new(),
            emitted: Vec::new(),
            logs: Vec::new(),
            counters: HashMap::new(),
            gauges: HashMap::new(),
            calls: 0,
        }
    }

    /// A new instance knows no slot.
    pub(super) fn forget_slots(&mut self) {
        self.slots.clear();
        self.keys.clear();
        self.order.clear();
        self.free.clear();
    }

    pub(super) fn begin(&mut self, phase: Phase, slots: Vec<u32>, times: Vec<i64>) {
        (self.phase, self.current_slots, self.current_times) = (phase, slots, times);
    }

    /// How many of these records have no more than `slots_max` distinct keys.
    pub(super) fn fitting<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, slots_max: usize) -> usize {
        let mut distinct = HashSet::new();
        keys.take_while(|key| {
            distinct.insert(*key);
            distinct.len() <= slots_max
        })
        .count()
    }

    /// The slots of these keys, and what the guest must be told about them.
    pub(super) fn slots<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a [u8]> + Clone,
        slots_max: usize,
    ) -> (Vec<u32>, Keys) {
        let wanted: HashSet<&[u8]> = keys.clone().collect();
        let new = wanted.iter().filter(|key| !self.slots.contains_key(**key)).count();
        let mut told = Keys::default();
        let mut surplus = (self.slots.len() + new).saturating_sub(slots_max);
        let mut kept = VecDeque::new();
        while let Some(slot) = self.order.pop_front() {
            let key = self.keys[slot as usize].clone().unwrap_or_default();
            if surplus > 0 && !wanted.contains(key.as_slice()) {
                surplus -= 1;
                self.slots.remove(&key);
                self.keys[slot as usize] = None;
                self.free.push(slot);
                told.released.push(slot);
            } else {
                kept.push_back(slot);
            }
        }
        self.order = kept;
        let slots: Vec<u32> = keys.map(|key| self.slot(key, &mut told)).collect();
        let mut all: Vec<u32> = slots.clone();
        all.sort_unstable();
        all.dedup();
        told.prefetched = (0..self.tables.len()).filter_map(|state| self.prefetch(state, &told.fresh, &all)).collect();
        (slots, told)
    }

    fn slot(&mut self, key: &[u8], told: &mut Keys) -> u32 {
        if let Some(&slot) = self.slots.get(key) {
            return slot;
        }
        let slot = self.free.pop().unwrap_or(self.keys.len() as u32);
        if slot as usize == self.keys.len() {
            self.keys.push(None);
        }
        self.keys[slot as usize] = Some(key.to_vec());
        self.slots.insert(key.to_vec(), slot);
        self.order.push_back(slot);
        told.fresh.push(slot);
        told.fresh_keys.data.extend_from_slice(key);
        told.fresh_keys.ends.push(told.fresh_keys.data.len() as u32);
        slot
    }

    /// What a state asks to be told of fresh slots, or of all slots of a call.
    fn prefetch(&self, state: usize, fresh: &[u32], all: &[u32]) -> Option<Prefetched> {
        let table = &self.tables[state];
        let slots = if table.descriptor.ttl.is_some() { all } else { fresh };
        if !table.descriptor.prefetch || slots.is_empty() {
            return None;
        }
        let mut values = StoredColumn::default();
        for &slot in slots {
            let place = (self.key(slot).cloned().unwrap_or_default(), Vec::new(), Vec::new());
            let (version, bytes) = table.get(&place, self.now).unwrap_or_default();
            values.versions.push(version);
            values.data.extend(bytes);
            values.ends.push(values.data.len() as u32);
        }
        if values.versions.iter().all(|version| *version == table.descriptor.version) {
            values.versions.clear();
        }
        Some(Prefetched { state: state as u32, slots: slots.to_vec(), values })
    }

    pub(super) fn key(&self, slot: u32) -> Option<&Vec<u8>> {
        self.keys.get(slot as usize)?.as_ref()
    }

    /// How many keys have an entry in a state.
    pub(super) fn state_len(&self, state: usize) -> usize {
        self.tables[state].keys(self.now).collect::<BTreeSet<_>>().len()
    }

    /// Keys with an entry in a state that wants to be visited.
    pub(super) fn keys_to_visit(&self) -> Vec<Vec<u8>> {
        let tables = self.tables.iter().filter(|table| table.descriptor.on_end);
        let keys: BTreeSet<_> = tables.flat_map(|table| table.keys(self.now)).collect();
        keys.into_iter().cloned().collect()
    }
}
