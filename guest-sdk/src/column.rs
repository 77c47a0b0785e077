//! The decoded values of one state, in an array by slot, shared by the operator's handle and the runner.
//!
//! What a record writes is remembered until the next one: a record has one key, so one old value for each state is enough to undo it, and that value is moved there and
//! not cloned. What was written in a call is encoded once, at its end.

use std::rc::Rc;

use crate::bytes::{Strings, end};
use crate::cell::Cell;
use crate::codec::{Value, short_name};
use crate::guarded::Guarded;
use crate::host::Host;
use crate::wire::{Cells, Error as Fault, Prefetched, StoredColumn};
use crate::{Error, Result};

pub(crate) struct Column<T> {
    name: String,
    state: u32,
    version: u16,
    cells: Vec<Cell<T>>,
    /// Slots with changes, each once or more often.
    dirty: Vec<u32>,
    /// The record that wrote last, and what was there before its first write.
    record: u64,
    old: Cell<T>,
    /// Reused from call to call.
    out_cells: Cells,
    out_values: StoredColumn,
}

impl<T: Value> Column<T> {
    pub(crate) fn new(name: &str, state: u32) -> Self {
        Self {
            name: name.to_owned(),
            state,
            version: 1,
            cells: Vec::new(),
            dirty: Vec::new(),
            record: 0,
            old: Cell::missing(),
            out_cells: Cells::default(),
            out_values: StoredColumn::default(),
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, slot: u32) -> Result<Option<&T>> {
        let Some(cell) = self.cells.get(slot as usize) else { return Err(self.unreadable(slot)) };
        if cell.is_known() { Ok(cell.value()) } else { Err(self.unreadable(slot)) }
    }

    #[cold]
    #[inline(never)]
    fn unreadable(&self, slot: u32) -> Error {
        let Self { name, version: current, .. } = self;
        let text = match self.cells.get(slot as usize) {
            Some(cell) if cell.is_bad() && cell.version() == *current => {
                format!(
                    "state \"{name}\": the value stored under schema version {current} doesn't decode as {}",
                    short_name::<T>()
                )
            }
            Some(cell) if cell.is_bad() => {
                format!(
                    "state \"{name}\": the value has schema version {}, the operator knows version {current} only",
                    cell.version()
                )
            }
            _ => format!("state \"{name}\" belongs to a key, and this record has none that this operator knows"),
        };
        text.into()
    }

    /// Puts `value` there, or nothing, and remembers what was there before the record `record`.
    #[inline(always)]
    fn set(&mut self, slot: u32, record: u64, value: Option<T>) -> Result<()> {
        let Some(cell) = self.cells.get_mut(slot as usize) else { return Err(self.unreadable(slot)) };
        let old = cell.exchange(value);
        if self.dirty.len() == self.dirty.capacity() {
            self.dirty.reserve(1);
        }
        let count = self.dirty.len();
        // Whether it stands there already can't be foretold, so it is always written, and counted or not.
        // SAFETY: there is room for one entry, which is written before it counts.
        unsafe {
            self.dirty.as_mut_ptr().add(count).write(slot);
            self.dirty.set_len(count + usize::from(!old.is_dirty()));
        }
        if self.record != record {
            self.record = record;
            self.old = old;
        }
        Ok(())
    }

    #[inline(always)]
    fn decode(&self, version: u16, bytes: &[u8]) -> Cell<T> {
        if version == 0 {
            return Cell::absent();
        }
        if version == self.version
            && let Ok(value) = T::decode(bytes)
        {
            return Cell::present(value);
        }
        Cell::bad(version)
    }

    fn deliver(&mut self, fresh: &[u32], delivered: &[Prefetched]) -> Result<(), Fault> {
        let exact = matches!(delivered, [one] if are_same(&one.slots, fresh));
        if !exact {
            for &slot in fresh {
                self.cells[slot as usize] = Cell::missing();
            }
        }
        for Prefetched { slots, values, .. } in delivered {
            let StoredColumn { data, ends, versions } = values;
            let strings = Strings::new("prefetched values", data, ends)?;
            if slots.len() != ends.len() || !(versions.is_empty() || versions.len() == ends.len()) {
                let (slots, values, versions) = (slots.len(), ends.len(), versions.len());
                return Err(Fault::InvalidInput(format!(
                    "state \"{}\": {slots} slots, {values} values, {versions} versions",
                    self.name
                )));
            }
            for (index, &slot) in slots.iter().enumerate() {
                let version = versions.get(index).copied().unwrap_or(self.version);
                let new = self.decode(version, strings.get(index));
                match self.cells.get_mut(slot as usize) {
                    Some(cell) => *cell = new,
                    None => {
                        return Err(Fault::InvalidInput(format!(
                            "state \"{}\" is delivered for slot {slot}, which nobody knows",
                            self.name
                        )));
                    }
                }
            }
        }
        if !exact && let Some(slot) = fresh.iter().find(|slot| self.cells[**slot as usize].is_missing()) {
            return Err(Fault::InvalidInput(format!(
                "state \"{}\" of the fresh slot {slot} was not delivered",
                self.name
            )));
        }
        Ok(())
    }

    fn undo(&mut self, slot: u32, record: u64) {
        if self.record == record
            && let Some(cell) = self.cells.get_mut(slot as usize)
        {
            *cell = std::mem::replace(&mut self.old, Cell::missing());
            // It stays in the dirty list.
            cell.set_dirty(true);
            self.record = 0;
        }
    }

    fn flush(&mut self, host: &mut dyn Host) -> Result<(), Fault> {
        let Self { name, state, version, cells, dirty, out_cells, out_values, .. } = self;
        if dirty.is_empty() {
            return Ok(());
        }
        let StoredColumn { data, ends, versions } = out_values;
        let slots = &mut out_cells.slots;
        data.clear();
        versions.clear();
        slots.clear();
        ends.clear();
        // Once for all; and the count is not kept in the vectors, so that it stays in a register.
        slots.reserve(dirty.len());
        ends.reserve(dirty.len());
        let mut written = 0;
        for &slot in &*dirty {
            let cell = &mut cells[slot as usize];
            if !cell.is_dirty() {
                continue;
            }
            cell.set_dirty(false);
            if let Some(value) = cell.value() {
                value
                    .encode(data)
                    .map_err(|error| Fault::State(format!("state \"{name}\" doesn't encode: {error}")))?;
                if !versions.is_empty() {
                    versions.push(*version);
                }
            } else if cell.is_known() {
                if versions.is_empty() {
                    versions.resize(written, *version);
                }
                versions.push(0);
            } else {
                // A record that failed had written over what does not decode: the host still has it.
                continue;
            }
            // SAFETY: both vectors have room for as many entries as the dirty list has, and each is written once at most.
            unsafe {
                slots.as_mut_ptr().add(written).write(slot);
                ends.as_mut_ptr().add(written).write(end(data));
            }
            written += 1;
        }
        // SAFETY: as above; so many are written.
        unsafe {
            slots.set_len(written);
            ends.set_len(written);
        }
        dirty.clear();
        if written == 0 {
            return Ok(());
        }
        host.put_many(*state, out_cells, out_values)
    }
}

/// `==` of slices is a call that compares byte by byte.
fn are_same(some: &[u32], others: &[u32]) -> bool {
    some.len() == others.len() && some.iter().zip(others).fold(0, |seen, (one, other)| seen | (one ^ other)) == 0
}

/// What the runner does with a column, whatever its type.
pub(crate) trait AnyColumn {
    fn set_version(&self, version: u16);
    fn resize(&self, slots: usize);
    fn release(&self, slot: u32);
    /// Fresh slots hold what was delivered for them, and nothing else.
    fn deliver(&self, fresh: &[u32], delivered: &[Prefetched]) -> Result<(), Fault>;
    /// Reads what belongs to these slots, to have it in the cache. The result means nothing.
    fn touch(&self, slots: &[u32]) -> u32;
    /// Undoes what `record` wrote to `slot`.
    fn undo(&self, slot: u32, record: u64);
    /// Hands all changes over.
    fn flush(&self, host: &mut dyn Host) -> Result<(), Fault>;
}

impl<T: Value> AnyColumn for Guarded<Column<T>> {
    fn set_version(&self, version: u16) {
        self.change(|column| column.version = version);
    }

    fn resize(&self, slots: usize) {
        self.change(|column| {
            if slots > column.cells.len() {
                column.cells.resize_with(slots, Cell::missing);
            }
        });
    }

    fn release(&self, slot: u32) {
        self.change(|column| {
            if let Some(cell) = column.cells.get_mut(slot as usize) {
                *cell = Cell::missing();
            }
        });
    }

    fn deliver(&self, fresh: &[u32], delivered: &[Prefetched]) -> Result<(), Fault> {
        self.change(|column| column.deliver(fresh, delivered))
    }

    fn touch(&self, slots: &[u32]) -> u32 {
        self.read(|Column { cells, .. }| {
            slots
                .iter()
                .filter_map(|slot| cells.get(*slot as usize))
                .fold(0, |seen, cell| seen ^ u32::from(cell.is_dirty()))
        })
    }

    fn undo(&self, slot: u32, record: u64) {
        self.change(|column| column.undo(slot, record));
    }

    fn flush(&self, host: &mut dyn Host) -> Result<(), Fault> {
        self.change(|column| column.flush(host))
    }
}

/// A column as handle and runner share it.
pub(crate) type Shared<T> = Rc<Guarded<Column<T>>>;

/// [`Column::set`].
#[inline(always)]
pub(crate) fn set<T: Value>(column: &Guarded<Column<T>>, slot: u32, record: u64, value: Option<T>) -> Result<()> {
    if std::mem::needs_drop::<T>() {
        column.change(|column| column.set(slot, record, value))
    } else {
        // SAFETY: `set` moves values and drops them, and dropping these calls nothing.
        unsafe { column.change_alone(|column| column.set(slot, record, value)) }
    }
}
