//! The keyed state of one task: the slot table, the cells, and what lies behind both.
//!
//! Point states without a namespace live in the table, everything else in the cells. A call's writes to cells are made at once and taken back when the call fails; writes to the
//! table are staged by whoever calls this, and applied when the call has returned well. Between calls the state keeps to its budget by evicting, and drops what has expired.

use std::sync::Arc;

mod adoption;
mod export;
#[cfg(test)]
mod model;
mod snapshot;
mod walk;

use self::{adoption::Layout, walk::KeyList};
pub use self::{
    export::{ExportError, TakeEntry},
    snapshot::{Known, RestoreBatch, RestoreError},
    walk::WalkError,
};
use super::{
    behind::{Behind, SpillSetup},
    cells::{Cells, Lifetime, Page},
    changes::SnapshotSetup,
    delivery::{Delivery, Noted, StoredColumn},
    expiry::{Expiry, Lifespan},
    spill::{SpillCounters, SpillError},
    stored::namespace_prefix,
    table::{KeyTable, SlotError},
};
use crate::stream::{EventTime, Keys, hash_key};

/// How a state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One value per key and namespace: value, reducing, aggregating.
    Point,
    /// Elements in append order.
    List,
    /// Values by map key.
    Map,
}

/// A time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// Milliseconds of processing time.
    pub ms: u64,
    /// Reading begins it anew, not only writing.
    pub on_read: bool,
}

/// What must be known of a keyed state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSpec {
    /// How it is kept.
    pub form: Form,
    /// The current schema version.
    pub version: u16,
    /// Whether it is delivered with the keys of a batch. Only for point states.
    pub prefetch: bool,
    /// Whether the end of the input visits keys that have an entry in it.
    pub on_end: bool,
    /// How long entries live; none: for ever.
    pub ttl: Option<Ttl>,
    /// When it got its time to live, where there were entries before.
    pub ttl_since: Option<EventTime>,
}

impl StateSpec {
    fn lifespan(&self) -> Option<Lifespan> {
        self.ttl.map(|ttl| Lifespan { ttl_ms: ttl.ms, since: self.ttl_since })
    }
}

/// By what the states of an operator are stored: a state keeps its id while its number, its place among the others, may be another one in the next version of the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateIds(Vec<(u16, Option<EventTime>)>);

impl StateIds {
    /// The id of each number, and since when the state has a time to live, where there may be entries from before.
    pub fn new(states: Vec<(u16, Option<EventTime>)>) -> Self {
        Self(states)
    }

    /// The id of a number; one that was not named has itself for an id.
    #[inline]
    pub fn of(&self, number: u32) -> u16 {
        self.0.get(number as usize).map_or(number as u16, |(id, _)| *id)
    }

    /// When the state of a number got its time to live, where there may be entries from before.
    pub fn ttl_since(&self, number: u32) -> Option<EventTime> {
        self.0.get(number as usize)?.1
    }
}

/// How a task's keyed state is made.
pub struct StateSetup {
    /// The states by their numbers; none where the number is not one of keyed state. At most 65,536.
    pub states: Vec<Option<StateSpec>>,
    /// By what each of these numbers is stored.
    pub ids: StateIds,
    /// At most about so many slots.
    pub slots_max: usize,
    /// At most so many records are in a batch.
    pub batch_records: usize,
    /// The number of key groups.
    pub max_parallelism: u32,
    /// Where entries are evicted to; none: all stay in memory.
    pub spill: Option<SpillSetup>,
    /// Where snapshots of it go; none: there are no snapshots.
    pub snapshots: Option<SnapshotSetup>,
}

/// Where an entry is: whose slot, and the namespace; empty: none.
#[derive(Clone, Copy, Debug)]
pub struct PlaceOf<'a> {
    /// The state's number.
    pub state: u32,
    /// The slot of the key.
    pub slot: u32,
    /// The namespace.
    pub namespace: &'a [u8],
}

/// Why an entry could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The slot stands for no key.
    #[error("slot {} stands for no key", .0.0)]
    Slot(SlotError),
    /// What lies behind the memory failed.
    #[error(transparent)]
    Spill(#[from] SpillError),
}

impl From<SlotError> for StateError {
    fn from(error: SlotError) -> Self {
        Self::Slot(error)
    }
}

/// An entry of the table takes about so many bytes, and its guest's slot should not be more than a few percent of it.
const BYTES_PER_SLOT_MIN: usize = 256;
/// So many buckets, and entries in cells, are looked at for expired ones after each call.
const SWEPT_PER_CALL: usize = 256;
/// At least so many bytes are freed at a time.
const EVICTED_BYTES_MIN: usize = 16 << 10;
/// At most so many entries are evicted after one call while memory lasts.
const EVICTED_ENTRIES_STEP: usize = 256;

/// The keyed state of one task.
pub struct KeyedState {
    table: KeyTable,
    cells: Cells,
    behind: Behind,
    /// By id; also those that the operator does not know any more.
    states: Vec<Option<StateSpec>>,
    /// The column of the table in which a state is, by its id.
    columns: Vec<Option<u32>>,
    /// By id: whether entries are stored with the time of their last access.
    noted: Vec<bool>,
    /// The id of each number; none: it is not one of keyed state.
    ids: Vec<Option<u16>>,
    /// The time to live of each column.
    lifespans: Vec<Option<Lifespan>>,
    /// Number and column of the states that are delivered anew in every call.
    expiring: Vec<(u32, u32)>,
    /// Whether anything expires.
    expires: bool,
    expiry: Arc<Expiry>,
    /// Processing time of the call.
    now: EventTime,
    budget: usize,
    /// The number of the last call for which a slot was named, by slot.
    named: Vec<u32>,
    calls: u32,
    /// A snapshot is being copied.
    copying: bool,
    walk: Option<KeyList>,
    prefix: Vec<u8>,
}

impl KeyedState {
    /// No state yet.
    pub fn new(setup: StateSetup) -> Self {
        let StateSetup { states, ids, slots_max, batch_records, max_parallelism, spill, snapshots } = setup;
        let layout = Layout::default().with(&states, &ids);
        let budget = spill.as_ref().map_or(usize::MAX, |spill| spill.cache_bytes);
        let expiry = layout.expiry();
        let spill = spill.map(|mut setup| {
            setup.options.expiry = Arc::clone(&expiry);
            setup
        });
        let behind = Behind::new(spill, max_parallelism, snapshots);
        let slots_max = slots_max.min(budget / BYTES_PER_SLOT_MIN);
        let mut table = KeyTable::new(layout.stored.clone(), slots_max, batch_records);
        table.end_copying(&behind);
        Self {
            expires: layout.expires(),
            expiring: layout.expiring(),
            lifespans: layout.lifespans(),
            table,
            cells: Cells::default(),
            behind,
            states: layout.states,
            columns: layout.columns,
            noted: layout.noted,
            ids: layout.ids,
            expiry,
            now: EventTime(0),
            budget,
            named: Vec::new(),
            calls: 0,
            copying: false,
            walk: None,
            prefix: Vec::new(),
        }
    }

    /// A call begins at this processing time.
    pub fn begin(&mut self, now: EventTime) {
        self.now = now;
        self.expiry.set_now(now);
    }

    /// What is known of a state; none for a number that is not one of keyed state.
    #[inline]
    pub fn spec(&self, state: u32) -> Option<&StateSpec> {
        self.spec_of(self.id(state)?)
    }

    /// The column of the table in which a point state is.
    #[inline]
    pub fn column_of(&self, state: u32) -> Option<u32> {
        *self.columns.get(usize::from(self.id(state)?))?
    }

    /// By what a state is stored.
    #[inline]
    fn id(&self, state: u32) -> Option<u16> {
        *self.ids.get(state as usize)?
    }

    /// What is known of the state that is stored by this id.
    #[inline]
    fn spec_of(&self, id: u16) -> Option<&StateSpec> {
        self.states.get(usize::from(id))?.as_ref()
    }

    /// The slot table.
    #[inline]
    pub fn table(&self) -> &KeyTable {
        &self.table
    }

    /// Finds or makes the slot of every key of a batch, and writes into `delivery` (cleared first) what the guest must be told.
    ///
    /// # Errors
    /// When what lies behind the memory can't be read.
    #[inline]
    pub fn resolve(&mut self, keys: &Keys, delivery: &mut Delivery) -> Result<(), SpillError> {
        self.table.resolve(keys, &mut self.behind, delivery);
        if !self.expiring.is_empty() {
            self.deliver_expiring(delivery);
        }
        self.behind.check()
    }

    /// Delivers states with a time to live for every slot of the batch.
    fn deliver_expiring(&mut self, delivery: &mut Delivery) {
        self.calls = self.calls.wrapping_add(1);
        if self.calls == 0 {
            self.named.fill(0);
            self.calls = 1;
        }
        let Delivery { slots, distinct, expiring, .. } = delivery;
        for slot in slots.iter() {
            let at = *slot as usize;
            if at >= self.named.len() {
                self.named.resize(at + 1, 0);
            }
            if std::mem::replace(&mut self.named[at], self.calls) != self.calls {
                distinct.push(*slot);
            }
        }
        if expiring.is_empty() {
            *expiring = self.expiring.iter().map(|(number, _)| (*number, StoredColumn::default())).collect();
        }
        for ((_, out), (_, column)) in expiring.iter_mut().zip(&self.expiring) {
            let current = self.table.version(*column).unwrap_or(1);
            for slot in &*distinct {
                let (version, value) = self.value(*slot, *column).unwrap_or((0, &[]));
                out.push(version, value, current);
            }
        }
    }

    /// The slot of another key; none when the call has asked for as many as a batch may have.
    ///
    /// # Errors
    /// When what lies behind the memory can't be read.
    pub fn slot_of(&mut self, key: &[u8]) -> Result<Option<u32>, SpillError> {
        let slot = self.table.slot_of(key, &mut self.behind);
        self.behind.check()?;
        Ok(slot)
    }

    /// Version (0: absent or expired) and bytes of a point state.
    ///
    /// # Errors
    /// When the slot stands for no key.
    #[inline]
    pub fn value(&self, slot: u32, column: u32) -> Result<(u16, &[u8]), SlotError> {
        if self.table.noted(column) == Noted::No {
            return self.table.value(slot, column);
        }
        let lifespan = self.lifespans[column as usize];
        let has_ended = |accessed| lifespan.is_some_and(|lifespan| lifespan.has_ended(accessed, self.now));
        let noted = self.table.noted_value_of(slot, column)?.filter(|noted| !has_ended(noted.accessed));
        Ok(noted.map_or((0, &[]), |noted| (noted.version, noted.value)))
    }

    /// The table, to apply writes of states that do not expire, and what lies behind it.
    #[inline]
    pub fn table_mut(&mut self) -> (&mut KeyTable, &mut Behind) {
        (&mut self.table, &mut self.behind)
    }

    /// Whether the time of the last access is noted for the values of a column: then they are written by [`Self::write_noted`].
    #[inline]
    pub fn is_noted(&self, column: u32) -> bool {
        self.table.noted(column) != Noted::No
    }

    /// Writes a point state of which the time of the last access is noted; version 0 clears it.
    ///
    /// # Errors
    /// When the slot stands for no key.
    pub fn write_noted(&mut self, slot: u32, column: u32, version: u16, value: &[u8]) -> Result<(), SlotError> {
        self.table.put_noted(slot, column, (version, value), self.now, &mut self.behind)
    }

    /// Begins the time to live of a point state anew, if there is a value that has not expired.
    pub fn refresh(&mut self, slot: u32, column: u32) {
        let Ok((version @ 1.., value)) = self.value(slot, column) else { return };
        let value = value.to_vec();
        // It was read at this slot a moment ago.
        let _ = self.write_noted(slot, column, version, &value);
    }

    /// Whether the entries of a state are stored with the time of their last access.
    fn is_noted_state(&self, state: u32) -> bool {
        self.id(state).is_some_and(|id| is_noted(&self.noted, id))
    }

    fn lifetime(&self, state: u32) -> (Lifetime, bool) {
        let spec = self.spec(state);
        let (ttl, lifespan) = (spec.and_then(|spec| spec.ttl), spec.and_then(StateSpec::lifespan));
        (Lifetime { now: self.now, lifespan }, ttl.is_some_and(|ttl| ttl.on_read))
    }

    /// Puts the common beginning of the stored keys of a place into `self.prefix`.
    fn find_place(&mut self, place: PlaceOf<'_>) -> Result<(), SlotError> {
        let key = self.table.key(place.slot)?;
        let group = self.behind.group(hash_key(key));
        // Whoever has a place has looked at the state's spec.
        let id = self.id(place.state).unwrap_or(u16::MAX);
        namespace_prefix(group, id, key, place.namespace, &mut self.prefix)
            .expect("keys and namespaces are bounded where they come in");
        Ok(())
    }

    /// Appends the value of a cell to `out`, absent or not. `map_key` is empty for a point state in a namespace.
    ///
    /// # Errors
    /// When the slot stands for no key, or what lies behind the memory can't be read.
    pub fn get_cell(&mut self, place: PlaceOf<'_>, map_key: &[u8], out: &mut StoredColumn) -> Result<(), StateError> {
        self.find_place(place)?;
        let (lifetime, on_read) = self.lifetime(place.state);
        self.cells.get((&self.prefix, map_key), lifetime, &mut self.behind, out)?;
        if on_read
            && let Some((version, value)) = out.last()
            && version != 0
        {
            let written = (self.now, true);
            self.cells.put((&self.prefix, map_key), version, value, written, &mut self.behind);
        }
        Ok(())
    }

    /// Writes a cell; version 0 removes it.
    ///
    /// # Errors
    /// When the slot stands for no key.
    pub fn put_cell(
        &mut self,
        place: PlaceOf<'_>,
        map_key: &[u8],
        version: u16,
        value: &[u8],
    ) -> Result<(), SlotError> {
        self.find_place(place)?;
        let written = (self.now, self.is_noted_state(place.state));
        self.cells.put((&self.prefix, map_key), version, value, written, &mut self.behind);
        Ok(())
    }

    /// Appends an element to a list.
    ///
    /// # Errors
    /// When the slot stands for no key.
    pub fn append(&mut self, place: PlaceOf<'_>, version: u16, value: &[u8]) -> Result<(), SlotError> {
        self.find_place(place)?;
        let written = (self.now, self.is_noted_state(place.state));
        self.cells.append(&self.prefix, version, value, written, &mut self.behind);
        Ok(())
    }

    /// Removes all entries of a place.
    ///
    /// # Errors
    /// When the slot stands for no key.
    pub fn clear(&mut self, place: PlaceOf<'_>) -> Result<(), SlotError> {
        self.find_place(place)?;
        let expires = self.is_noted_state(place.state);
        self.cells.clear(&self.prefix, expires, &mut self.behind);
        Ok(())
    }

    /// Reads a list or map in order, from `from` on.
    ///
    /// # Errors
    /// When the slot stands for no key, or what lies behind the memory can't be read.
    pub fn read(&mut self, place: PlaceOf<'_>, from: &[u8], bytes_max: usize) -> Result<Page, StateError> {
        self.find_place(place)?;
        let (lifetime, on_read) = self.lifetime(place.state);
        let page = self.cells.read(&self.prefix, from, bytes_max, lifetime, &mut self.behind)?;
        if on_read {
            for index in 0..page.rests.len() {
                let (version, value) = page.values.get(index, 0);
                let key = (&*self.prefix, page.rests.get(index));
                self.cells.put(key, version, value, (self.now, true), &mut self.behind);
            }
        }
        Ok(page)
    }

    /// What the call changed in cells stands.
    #[inline]
    pub fn commit(&mut self) {
        self.cells.commit(&mut self.behind);
    }

    /// What the call changed in cells is taken back.
    #[inline]
    pub fn roll_back(&mut self) {
        self.cells.roll_back();
    }

    /// Keeps to the budget, and drops a few expired entries. To be called after each call of the guest.
    ///
    /// # Errors
    /// When what lies behind the memory fails.
    #[inline]
    pub fn tidy(&mut self) -> Result<(), SpillError> {
        if self.expires {
            self.sweep();
        }
        self.copy_some();
        if self.table.bytes() + self.table.growth() + self.cells.bytes() > self.budget { self.evict() } else { Ok(()) }
    }

    fn sweep(&mut self) {
        self.table.sweep(SWEPT_PER_CALL, self.now, &self.lifespans, &mut self.behind);
        let states = &self.states;
        self.cells.sweep(SWEPT_PER_CALL, self.now, |state| lifespan_of(states, state), &mut self.behind);
    }

    /// Evicts from the larger of table and cells until the budget holds.
    fn evict(&mut self) -> Result<(), SpillError> {
        if !self.behind.takes_entries() {
            return Ok(());
        }
        loop {
            let (table, cells) = (self.table.bytes() + self.table.growth(), self.cells.bytes());
            let over = (table + cells).saturating_sub(self.budget);
            if over == 0 {
                return Ok(());
            }
            // The larger one may be as small as it gets: the memory of its arrays is not given back.
            let freed =
                (cells > table && self.evict_cells(over)?) || self.evict_entries()? || self.evict_cells(over)?;
            if !freed {
                return Ok(());
            }
        }
    }

    /// Evicts some cells. Returns whether that freed memory.
    fn evict_cells(&mut self, bytes: usize) -> Result<bool, SpillError> {
        let (before, noted) = (self.cells.bytes(), &self.noted);
        self.cells.evict(bytes.max(EVICTED_BYTES_MIN), |state| is_noted(noted, state), &mut self.behind)?;
        Ok(self.cells.bytes() < before)
    }

    /// Evicts some entries of the table. Returns whether that freed memory.
    fn evict_entries(&mut self) -> Result<bool, SpillError> {
        let before = self.table.bytes();
        self.table.evict(EVICTED_ENTRIES_STEP, &mut self.behind);
        self.behind.check()?;
        Ok(self.table.bytes() < before)
    }

    /// All slots are given up: a new guest has seen none.
    pub fn forget_slots(&mut self) {
        self.table.forget_slots(&mut self.behind);
    }

    /// Releases half of the slots, for a guest that uses much memory.
    pub fn halve_slots(&mut self) {
        let slots = self.table.slots_used().min(self.table.slots_max()) / 2;
        self.table.lower_slots(slots, &mut self.behind);
    }

    /// How many keys and other entries are in memory, and how many bytes they take.
    pub fn size(&self) -> (usize, usize) {
        (self.table.len() + self.cells.len(), self.table.bytes() + self.cells.bytes())
    }

    /// What was evicted so far.
    pub fn spilled(&self) -> SpillCounters {
        self.behind.counters()
    }
}

/// Whether the entries of a state, by its id, are stored with the time of their last access.
fn is_noted(noted: &[bool], state: u16) -> bool {
    noted.get(usize::from(state)).copied().unwrap_or(false)
}

/// The time to live of a state by its id.
fn lifespan_of(states: &[Option<StateSpec>], state: u16) -> Option<Lifespan> {
    states.get(usize::from(state))?.as_ref()?.lifespan()
}
