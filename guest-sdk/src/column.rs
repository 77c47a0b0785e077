//! The decoded values of one state, in an array by slot, shared by the operator's handle and the runner.
//!
//! What a record writes is remembered until the next one: a record has one key, so one old value for each state is enough to undo it, and that value is moved there and
//! not cloned. What was written in a call is encoded once, at its end.

use std::cell::RefCell;
use std::rc::Rc;

use crate::bytes::{Strings, end};
use crate::cell::Cell;
use crate::codec::{Value, short_name};
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
    pub(crate) fn set(&mut self, slot: u32, record: u64, value: Option<T>) -> Result<()> {
        let Some(cell) = self.cells.get_mut(slot as usize) else { return Err(self.unreadable(slot)) };
        let old = cell.exchange(value);
        if !old.is_dirty() {
            self.dirty.push(slot);
        }
        if self.record != record {
            self.record = record;
            self.old = old;
        }
        Ok(())
    }

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

impl<T: Value> AnyColumn for RefCell<Column<T>> {
    fn set_version(&self, version: u16) {
        self.borrow_mut().version = version;
    }

    fn resize(&self, slots: usize) {
        let cells = &mut self.borrow_mut().cells;
        if slots > cells.len() {
            cells.resize_with(slots, Cell::missing);
        }
    }

    fn release(&self, slot: u32) {
        if let Some(cell) = self.borrow_mut().cells.get_mut(slot as usize) {
            *cell = Cell::missing();
        }
    }

    fn deliver(&self, fresh: &[u32], delivered: &[Prefetched]) -> Result<(), Fault> {
        let column = &mut *self.borrow_mut();
        let exact = matches!(delivered, [one] if one.slots == fresh);
        if !exact {
            for &slot in fresh {
                column.cells[slot as usize] = Cell::missing();
            }
        }
        for Prefetched { slots, values, .. } in delivered {
            let StoredColumn { data, ends, versions } = values;
            let strings = Strings::new("prefetched values", data, ends)?;
            if slots.len() != ends.len() || !(versions.is_empty() || versions.len() == ends.len()) {
                let (slots, values, versions) = (slots.len(), ends.len(), versions.len());
                return Err(Fault::InvalidInput(format!(
                    "state \"{}\": {slots} slots, {values} values, {versions} versions",
                    column.name
                )));
            }
            for (index, &slot) in slots.iter().enumerate() {
                let version = versions.get(index).copied().unwrap_or(column.version);
                let new = column.decode(version, strings.get(index));
                match column.cells.get_mut(slot as usize) {
                    Some(cell) => *cell = new,
                    None => {
                        return Err(Fault::InvalidInput(format!(
                            "state \"{}\" is delivered for slot {slot}, which nobody knows",
                            column.name
                        )));
                    }
                }
            }
        }
        if !exact && let Some(slot) = fresh.iter().find(|slot| column.cells[**slot as usize].is_missing()) {
            return Err(Fault::InvalidInput(format!(
                "state \"{}\" of the fresh slot {slot} was not delivered",
                column.name
            )));
        }
        Ok(())
    }

    fn touch(&self, slots: &[u32]) -> u32 {
        let cells = &self.borrow().cells;
        slots
            .iter()
            .filter_map(|slot| cells.get(*slot as usize))
            .fold(0, |seen, cell| seen ^ u32::from(cell.is_dirty()))
    }

    fn undo(&self, slot: u32, record: u64) {
        let column = &mut *self.borrow_mut();
        if column.record == record
            && let Some(cell) = column.cells.get_mut(slot as usize)
        {
            *cell = std::mem::replace(&mut column.old, Cell::missing());
            // It stays in the dirty list.
            cell.set_dirty(true);
            column.record = 0;
        }
    }

    fn flush(&self, host: &mut dyn Host) -> Result<(), Fault> {
        let column = &mut *self.borrow_mut();
        let Column { name, state, version, cells, dirty, out_cells, out_values, .. } = column;
        if dirty.is_empty() {
            return Ok(());
        }
        let StoredColumn { data, ends, versions } = out_values;
        out_cells.slots.clear();
        data.clear();
        ends.clear();
        versions.clear();
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
                    versions.resize(ends.len(), *version);
                }
                versions.push(0);
            } else {
                // A record that failed had written over what does not decode: the host still has it.
                continue;
            }
            out_cells.slots.push(slot);
            ends.push(end(data));
        }
        dirty.clear();
        if out_cells.slots.is_empty() {
            return Ok(());
        }
        host.put_many(*state, out_cells, out_values)
    }
}

/// A column as handle and runner share it.
pub(crate) type Shared<T> = Rc<RefCell<Column<T>>>;
