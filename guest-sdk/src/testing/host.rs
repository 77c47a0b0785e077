//! The harness's host: state as bytes by key, a table of slots, outputs as they are handed over. It checks what a host checks.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::bytes::Strings;
use crate::descriptor::{Descriptor, StateDescriptor};
use crate::host::{Host, Level};
use crate::output::Keying;
use crate::time::{EventTime, NONE};
use crate::wire::{BytesColumn, Cells, Error, Keys, Prefetched, StoredColumn};

use super::{Emitted, LogLine};

/// Schema version and bytes.
type Stored = (u16, Vec<u8>);

pub(super) struct TestHost {
    states: Vec<StateDescriptor>,
    stored: Vec<BTreeMap<Vec<u8>, Stored>>,
    keying: Keying,
    slots: HashMap<Vec<u8>, u32>,
    /// The key of each slot, if it has one.
    keys: Vec<Option<Vec<u8>>>,
    /// Slots in use, the longest unused first.
    order: VecDeque<u32>,
    free: Vec<u32>,
    /// The records of the current call.
    current_slots: Vec<u32>,
    current_times: Vec<i64>,
    pub(super) emitted: Vec<Emitted>,
    pub(super) logs: Vec<LogLine>,
    pub(super) counters: HashMap<String, u64>,
    pub(super) gauges: HashMap<String, f64>,
    pub(super) calls: u64,
}

impl TestHost {
    pub(super) fn new(descriptor: &Descriptor) -> Self {
        Self {
            states: descriptor.states.clone(),
            stored: vec![BTreeMap::new(); descriptor.states.len()],
            keying: descriptor.keying.clone(),
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

    pub(super) fn begin(&mut self, slots: Vec<u32>, times: Vec<i64>) {
        (self.current_slots, self.current_times) = (slots, times);
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
        let slots = keys.map(|key| self.slot(key, &mut told)).collect();
        told.prefetched = (0..self.states.len()).map(|state| self.prefetch(state, &told.fresh)).collect();
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

    fn prefetch(&self, state: usize, fresh: &[u32]) -> Prefetched {
        let mut values = StoredColumn::default();
        for &slot in fresh {
            let stored = self.key(slot).and_then(|key| self.stored[state].get(key));
            values.versions.push(stored.map_or(0, |(version, _)| *version));
            values.data.extend(stored.map_or(&[][..], |(_, bytes)| bytes));
            values.ends.push(values.data.len() as u32);
        }
        if values.versions.iter().all(|version| *version == self.states[state].version) {
            values.versions.clear();
        }
        Prefetched { state: state as u32, slots: fresh.to_vec(), values }
    }

    fn key(&self, slot: u32) -> Option<&Vec<u8>> {
        self.keys.get(slot as usize)?.as_ref()
    }

    pub(super) fn stored(&self, state: usize, key: &[u8]) -> Option<(u16, &[u8])> {
        self.stored[state].get(key).map(|(version, bytes)| (*version, bytes.as_slice()))
    }

    pub(super) fn put_stored(&mut self, state: usize, key: Vec<u8>, version: u16, bytes: &[u8]) {
        self.stored[state].insert(key, (version, bytes.to_vec()));
    }

    pub(super) fn state_len(&self, state: usize) -> usize {
        self.stored[state].len()
    }

    /// Keys with an entry in a state that wants to be visited.
    pub(super) fn keys_to_visit(&self) -> Vec<Vec<u8>> {
        let states = self.states.iter().zip(&self.stored).filter(|(state, _)| state.on_end);
        let keys: std::collections::BTreeSet<_> = states.flat_map(|(_, stored)| stored.keys().cloned()).collect();
        keys.into_iter().collect()
    }
}

fn invalid<T>(text: String) -> Result<T, Error> {
    Err(Error::InvalidInput(text))
}

impl Host for TestHost {
    fn put_many(&mut self, state: u32, cells: &Cells, values: &StoredColumn) -> Result<(), Error> {
        self.calls += 1;
        let StoredColumn { data, ends, versions } = values;
        let strings = Strings::new("stored values", data, ends)?;
        if cells.slots.len() != strings.len() || !(versions.is_empty() || versions.len() == strings.len()) {
            return invalid(format!(
                "{} cells, {} values, {} versions",
                cells.slots.len(),
                strings.len(),
                versions.len()
            ));
        }
        for (index, &slot) in cells.slots.iter().enumerate() {
            let Some(key) = self.key(slot).cloned() else { return invalid(format!("slot {slot} has no key")) };
            let Some(stored) = self.stored.get_mut(state as usize) else {
                return invalid(format!("there is no state {state}"));
            };
            match versions.get(index).copied().unwrap_or(self.states[state as usize].version) {
                0 => drop(stored.remove(&key)),
                version => drop(stored.insert(key, (version, strings.get(index).to_vec()))),
            }
        }
        Ok(())
    }

    fn emit(&mut self, _: u32, src: &[u32], values: &BytesColumn, timestamps: &[i64]) -> Result<(), Error> {
        self.calls += 1;
        let strings = Strings::of("emitted values", values)?;
        let count = strings.len();
        if (self.keying == Keying::Keep || !src.is_empty()) && src.len() != count
            || !(timestamps.is_empty() || timestamps.len() == count)
        {
            return invalid(format!("{count} values, {} sources, {} timestamps", src.len(), timestamps.len()));
        }
        for index in 0..count {
            let source = src.get(index).map(|record| *record as usize);
            let key = match (&self.keying, source) {
                (Keying::Keep, Some(record)) => {
                    self.current_slots.get(record).and_then(|slot| self.key(*slot)).cloned()
                }
                _ => None,
            };
            let inherited = source.and_then(|record| self.current_times.get(record)).copied().unwrap_or(NONE);
            let time = EventTime::from_column(timestamps.get(index).copied().unwrap_or(inherited));
            self.emitted.push(Emitted { key, value: strings.get(index).to_vec(), time });
        }
        Ok(())
    }

    fn emit_keyed(
        &mut self,
        _: u32,
        keys: &BytesColumn,
        values: &BytesColumn,
        timestamps: &[i64],
    ) -> Result<(), Error> {
        self.calls += 1;
        let (keys, values) = (Strings::of("emitted keys", keys)?, Strings::of("emitted values", values)?);
        if keys.len() != values.len() || !(timestamps.is_empty() || timestamps.len() == keys.len()) {
            return invalid(format!("{} keys, {} values, {} timestamps", keys.len(), values.len(), timestamps.len()));
        }
        self.emitted.extend((0..keys.len()).map(|index| Emitted {
            key: Some(keys.get(index).to_vec()),
            value: values.get(index).to_vec(),
            time: timestamps.get(index).copied().and_then(EventTime::from_column),
        }));
        Ok(())
    }

    fn log(&mut self, level: Level, message: &str) {
        self.logs.push(LogLine { level, message: message.to_owned() });
    }

    fn count(&mut self, name: &str, delta: u64) {
        *self.counters.entry(name.to_owned()).or_default() += delta;
    }

    fn gauge(&mut self, name: &str, value: f64) {
        self.gauges.insert(name.to_owned(), value);
    }
}
