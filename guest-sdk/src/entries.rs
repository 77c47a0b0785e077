//! The entries of one state that are not delivered: of maps, and of values in a namespace. A cache, and the buffer of what the call writes.
//!
//! An entry lies under a slot, a namespace and, in maps, a map key. It is read from the host once and then kept decoded: only this instance writes it, so what is kept is
//! what the host has. It is dropped when its slot is released or comes with another key, and when there are too many bytes ([`BYTES_MAX`]); entries that have not been
//! asked for lately go first. Entries with a time to live are kept to the end of the call.
//!
//! What a call writes stays here until its end. Then maps that were cleared are cleared first, and all entries are handed over at once. Until then a map's clearing is an
//! entry too, of another [`Kind`]: it makes those absent that are not known.

mod slab;

use std::ptr::NonNull;
use std::rc::Rc;

use crate::Result;
use crate::any_state::AnyState;
use crate::bytes::{append, end};
use crate::cell::Cell;
use crate::codec::Value;
use crate::column::{Beyond, keyless};
use crate::context::NO_SLOT;
use crate::former::{Formers, Step};
use crate::guarded::Guarded;
use crate::host::{Host, seldom};
use crate::stored::{Stored, decode};
use crate::ttl::Refresh;
use crate::wire::{Cells, Error as Fault, StoredColumn};

use self::slab::Slab;

/// So many bytes of entries are kept from call to call, for each state.
const BYTES_MAX: usize = 8 << 20;

/// What a state's entries are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One value under each slot and namespace.
    Points,
    /// Any number of them, each under a map key.
    Maps,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Value,
    /// Says, when it is known, that the map was cleared in this call.
    Clearing,
}

/// What an entry is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Value,
    /// Whether there is a value, even one that does not decode. A former version is not migrated for that.
    Existence,
}

/// Where an entry lies.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    slot: u32,
    kind: Kind,
    namespace: &'a [u8],
    key: &'a [u8],
}

impl<'a> At<'a> {
    pub(crate) fn new(slot: u32, namespace: &'a [u8], key: &'a [u8]) -> Self {
        Self { slot, kind: Kind::Value, namespace, key }
    }

    fn clearing(slot: u32, namespace: &'a [u8]) -> Self {
        Self { slot, kind: Kind::Clearing, namespace, key: &[] }
    }
}

/// What a call has done to one map so far.
pub(crate) struct Changes {
    /// What the host has of it does not count.
    pub(crate) cleared: bool,
    /// Map keys in their order, each with its encoded value or none where it was removed.
    pub(crate) entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

pub(crate) struct Entries<T> {
    name: Rc<str>,
    state: u32,
    version: u16,
    formers: Formers<T>,
    shape: Shape,
    expires: bool,
    slab: Slab<T>,
    /// The record that wrote last, and what was there before each of its writes.
    record: u64,
    old: Vec<(u32, Cell<T>)>,
    /// Reused from call to call.
    out_cells: Cells,
    out_values: StoredColumn,
}

impl<T: Value> Entries<T> {
    pub(crate) fn new(name: &str, state: u32, formers: Formers<T>, shape: Shape) -> Self {
        Self {
            name: name.into(),
            state,
            version: 1,
            formers,
            shape,
            expires: false,
            slab: Slab::new(BYTES_MAX),
            record: 0,
            old: Vec::new(),
            out_cells: Cells::default(),
            out_values: StoredColumn::default(),
        }
    }

    pub(crate) fn name(&self) -> Rc<str> {
        self.name.clone()
    }

    pub(crate) fn state(&self) -> u32 {
        self.state
    }

    pub(crate) fn version(&self) -> u16 {
        self.version
    }

    pub(crate) fn formers(&self) -> Formers<T> {
        self.formers.clone()
    }

    /// The entry, if it need not be asked for.
    fn find(&self, at: At<'_>, want: Want) -> Option<u32> {
        self.slab.find(at).filter(|index| {
            let cell = &self.slab[*index].cell;
            cell.is_known() || want == Want::Existence && cell.is_bad()
        })
    }

    /// The entry, which is asked for if it must be. A value that does not decode is an error where values are wanted, and asked for again the next time.
    fn load(&mut self, at: At<'_>, host: &dyn Host, want: Want) -> Result<u32> {
        if at.slot == NO_SLOT {
            return Err(keyless(&self.name));
        }
        if let Some(index) = self.find(at, want) {
            return Ok(index);
        }
        let cleared = self.find(At::clearing(at.slot, at.namespace), want).is_some();
        let (cell, bytes) = if cleared { (Cell::absent(), 0) } else { self.ask(at, host, want)? };
        let index = self.slab.find_or_insert(at);
        self.slab.set_bytes(index, bytes);
        self.slab[index].cell = cell;
        Ok(index)
    }

    fn ask(&mut self, at: At<'_>, host: &dyn Host, want: Want) -> Result<(Cell<T>, usize)> {
        let Self { name, state, version, formers, shape, out_cells, .. } = self;
        clear(out_cells);
        push(out_cells, at, *shape);
        trim(out_cells);
        let column = seldom::get_many(host, *state, out_cells)?;
        let values = Stored::new("read values", &column, *version)?;
        if values.len() != 1 {
            return Err(format!("state \"{name}\": the host answers one question with {} values", values.len()).into());
        }
        let (stored_version, bytes) = values.get(0);
        let cell = match stored_version {
            0 => Cell::absent(),
            stored if want == Want::Existence && stored != *version => Cell::bad(stored),
            stored => match decode(formers, Step { state: name, from: stored, to: *version }, bytes) {
                Ok(value) => Cell::present(value),
                Err(_) if want == Want::Existence => Cell::bad(stored),
                Err(error) => return Err(error),
            },
        };
        Ok((cell, bytes.len()))
    }

    /// Keeps what is there and makes the entry a dirty one that stands for nothing.
    fn prepare(&mut self, at: At<'_>, record: u64) -> u32 {
        self.begin(record);
        let index = self.slab.find_or_insert(at);
        let mut empty = Cell::missing();
        empty.set_dirty(true);
        self.exchange(index, empty);
        index
    }

    fn begin(&mut self, record: u64) {
        if self.record != record {
            self.record = record;
            self.old.clear();
        }
    }

    fn exchange(&mut self, index: u32, cell: Cell<T>) {
        self.slab.mark_changed(index);
        let old = std::mem::replace(&mut self.slab[index].cell, cell);
        self.old.push((index, old));
    }

    fn clear_map(&mut self, slot: u32, namespace: &[u8], record: u64) {
        self.begin(record);
        for index in self.slab.of_namespace(slot, namespace) {
            if !self.slab[index].cell.is_missing() {
                self.exchange(index, Cell::absent());
            }
        }
        let index = self.slab.find_or_insert(At::clearing(slot, namespace));
        self.exchange(index, Cell::absent());
    }

    fn changes(&self, slot: u32, namespace: &[u8]) -> Result<Changes> {
        let mut changes = Changes { cleared: false, entries: Vec::new() };
        for entry in self.slab.changed_of(slot).filter(|entry| entry.namespace() == namespace) {
            match entry.kind {
                Kind::Clearing => changes.cleared |= entry.cell.is_known(),
                Kind::Value if entry.cell.is_dirty() => {
                    let mut bytes = Vec::new();
                    let value = match entry.cell.value() {
                        Some(value) => value.encode(&mut bytes).map(|()| Some(bytes))?,
                        None => None,
                    };
                    changes.entries.push((entry.key().to_vec(), value));
                }
                Kind::Value => {}
            }
        }
        changes.entries.sort_unstable();
        Ok(changes)
    }

    fn undo(&mut self, record: u64) {
        if self.record == record {
            while let Some((index, cell)) = self.old.pop() {
                self.slab[index].cell = cell;
            }
        }
    }

    fn flush(&mut self, host: &dyn Host) -> Result<(), Fault> {
        self.old.clear();
        let changed = self.slab.take_changed();
        if !changed.is_empty() {
            self.flush_clearings(&changed, host)?;
            self.flush_values(&changed, host)?;
            self.slab.settle(changed);
        }
        if self.expires {
            self.slab.clear();
        } else {
            self.slab.shrink();
        }
        Ok(())
    }

    fn flush_clearings(&mut self, changed: &[u32], host: &dyn Host) -> Result<(), Fault> {
        let Self { state, slab, out_cells, .. } = self;
        clear(out_cells);
        for entry in changed.iter().map(|index| &slab[*index]) {
            if entry.kind == Kind::Clearing && entry.cell.is_known() {
                push(out_cells, At::clearing(entry.slot, entry.namespace()), Shape::Points);
            }
        }
        trim(out_cells);
        if out_cells.slots.is_empty() { Ok(()) } else { seldom::clear_many(host, *state, out_cells) }
    }

    fn flush_values(&mut self, changed: &[u32], host: &dyn Host) -> Result<(), Fault> {
        let Self { name, state, version, shape, slab, out_cells, out_values, .. } = self;
        let StoredColumn { data, ends, versions } = out_values;
        clear(out_cells);
        data.clear();
        ends.clear();
        versions.clear();
        for &index in changed {
            let entry = &mut slab[index];
            if entry.kind == Kind::Clearing || !entry.cell.is_dirty() {
                continue;
            }
            entry.cell.set_dirty(false);
            let before = data.len();
            if let Some(value) = entry.cell.value() {
                value
                    .encode(data)
                    .map_err(|error| Fault::State(format!("state \"{name}\" doesn't encode: {error}")))?;
            }
            versions.push(if entry.cell.value().is_some() { *version } else { 0 });
            ends.push(end(data));
            push(out_cells, At::new(entry.slot, entry.namespace(), entry.key()), *shape);
            slab.set_bytes(index, data.len() - before);
        }
        trim(out_cells);
        if versions.iter().all(|one| one == version) {
            versions.clear();
        }
        if ends.is_empty() { Ok(()) } else { host.put_many(*state, out_cells, out_values) }
    }
}

fn clear(cells: &mut Cells) {
    cells.slots.clear();
    for column in [&mut cells.namespaces, &mut cells.map_keys] {
        column.data.clear();
        column.ends.clear();
    }
}

fn push(cells: &mut Cells, at: At<'_>, shape: Shape) {
    cells.slots.push(at.slot);
    append(&mut cells.namespaces.data, at.namespace);
    cells.namespaces.ends.push(end(&cells.namespaces.data));
    if shape == Shape::Maps {
        append(&mut cells.map_keys.data, at.key);
        cells.map_keys.ends.push(end(&cells.map_keys.data));
    }
}

/// A column of namespaces that are all empty is left out.
pub(crate) fn trim(cells: &mut Cells) {
    if cells.namespaces.data.is_empty() {
        cells.namespaces.ends.clear();
    }
}

impl<T: Value> Guarded<Entries<T>> {
    /// The number of an entry that is not missing, and whose value is known where that is wanted.
    fn index(&self, at: At<'_>, host: &dyn Host, want: Want) -> Result<u32> {
        // Somebody may be looking at the value already.
        match self.read(|entries| entries.find(at, want)) {
            Some(index) => Ok(index),
            None => self.change(|entries| entries.load(at, host, want)),
        }
    }

    /// What `look` makes of the value there.
    pub(crate) fn with<R>(&self, at: At<'_>, host: &dyn Host, look: impl FnOnce(Option<&T>) -> R) -> Result<R> {
        let index = self.index(at, host, Want::Value)?;
        self.read(|entries| Ok(look(entries.slab[index].cell.value())))
    }

    /// True when there is a value, even one that does not decode.
    pub(crate) fn contains(&self, at: At<'_>, host: &dyn Host) -> Result<bool> {
        let index = self.index(at, host, Want::Existence)?;
        self.read(|entries| {
            let cell = &entries.slab[index].cell;
            Ok(cell.is_bad() || cell.value().is_some())
        })
    }

    /// Puts a value there, or nothing.
    pub(crate) fn set(&self, at: At<'_>, record: u64, value: Option<T>) -> Result<()> {
        self.change(|entries| {
            if at.slot == NO_SLOT {
                return Err(keyless(&entries.name));
            }
            let index = entries.prepare(at, record);
            entries.slab[index].cell.exchange(value);
            Ok(())
        })
    }

    /// Clears the map of a slot in a namespace.
    pub(crate) fn clear_map(&self, slot: u32, namespace: &[u8], record: u64) -> Result<()> {
        self.change(|entries| {
            if slot == NO_SLOT {
                return Err(keyless(&entries.name));
            }
            entries.clear_map(slot, namespace, record);
            Ok(())
        })
    }

    /// What this call has done to the map of a slot in a namespace.
    pub(crate) fn changes(&self, slot: u32, namespace: &[u8]) -> Result<Changes> {
        self.read(
            |entries| {
                if slot == NO_SLOT { Err(keyless(&entries.name)) } else { entries.changes(slot, namespace) }
            },
        )
    }
}

impl<T: Value> Beyond<T> for Guarded<Entries<T>> {
    fn load(&self, slot: u32, namespace: &[u8], host: &dyn Host) -> Result<NonNull<Cell<T>>> {
        let index = self.index(At::new(slot, namespace, &[]), host, Want::Value)?;
        Ok(self.read(|entries| NonNull::from(&entries.slab[index].cell)))
    }

    fn write(&self, slot: u32, namespace: &[u8], record: u64) -> NonNull<Cell<T>> {
        self.change(|entries| {
            let index = entries.prepare(At::new(slot, namespace, &[]), record);
            NonNull::from(&mut entries.slab[index].cell)
        })
    }
}

impl<T: Value> AnyState for Guarded<Entries<T>> {
    fn set_version(&self, version: u16) {
        self.change(|entries| entries.version = version);
    }

    fn set_ttl(&self, _: Refresh) {
        // What is read is refreshed by the host.
        self.change(|entries| entries.expires = true);
    }

    fn release(&self, slot: u32) {
        self.change(|entries| entries.slab.release(slot));
    }

    fn undo(&self, _: u32, record: u64) {
        self.change(|entries| entries.undo(record));
    }

    fn flush(&self, host: &dyn Host) -> Result<(), Fault> {
        self.change(|entries| entries.flush(host))
    }
}

#[cfg(test)]
mod tests;
