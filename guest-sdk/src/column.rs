//! The decoded values of one state, in an array by slot, shared by the operator's handle and the runner.
//!
//! What a record writes is remembered until the next one: a record has one key, so one old value for each state is enough to undo it, and that value is moved there and
//! not cloned. What was written in a call is encoded once, at its end.
//!
//! Values that are not delivered lie elsewhere ([`Beyond`]); a column that has such values has no cells, so that the record path of the others asks nothing more.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;

use crate::any_state::AnyState;
use crate::bytes::end;
use crate::cell::Cell;
use crate::codec::Value;
use crate::context::{Context, NO_SLOT};
use crate::former::{Formers, Step};
use crate::guarded::Guarded;
use crate::host::Host;
use crate::operator::Operator;
use crate::stored::Stored;
use crate::ttl::Refresh;
use crate::wire::{Cells, Error as Fault, Prefetched, StoredColumn};
use crate::{Error, Result};

/// Where a column's values lie that the host does not deliver.
pub(crate) trait Beyond<T>: AnyState {
    /// The entry of a slot in a namespace, which is known. It is there until another entry of this state is asked for.
    fn load(&self, slot: u32, namespace: &[u8], host: &dyn Host) -> Result<NonNull<Cell<T>>>;

    /// The entry of a slot in a namespace, to be written by `record`: it stands for nothing, is marked as dirty, and what it was is kept. It is there as for `load`.
    fn write(&self, slot: u32, namespace: &[u8], record: u64) -> NonNull<Cell<T>>;
}

pub(crate) struct Column<T> {
    name: String,
    state: u32,
    version: u16,
    formers: Formers<T>,
    cells: Vec<Cell<T>>,
    /// Slots with changes, each once or more often.
    dirty: Vec<u32>,
    /// The record that wrote last, and what was there before its first write.
    record: u64,
    old: Cell<T>,
    /// The cells hold nothing: all values lie there.
    beyond: Option<Rc<dyn Beyond<T>>>,
    /// Values are delivered for each call, and what begins their time to live anew.
    ttl: Option<Refresh>,
    /// Slots that hold something until the end of the call, and those of them that were looked at. Empty without a time to live.
    delivered: Vec<u32>,
    looked_at: RefCell<Vec<u32>>,
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
            formers: Formers::default(),
            cells: Vec::new(),
            dirty: Vec::new(),
            record: 0,
            old: Cell::missing(),
            beyond: None,
            ttl: None,
            delivered: Vec::new(),
            looked_at: RefCell::default(),
            out_cells: Cells::default(),
            out_values: StoredColumn::default(),
        }
    }

    /// From now on values lie elsewhere and are not delivered.
    pub(crate) fn set_beyond(&mut self, beyond: Rc<dyn Beyond<T>>) {
        beyond.set_version(self.version);
        if let Some(refresh) = self.ttl {
            beyond.set_ttl(refresh);
        }
        self.beyond = Some(beyond);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn formers(&self) -> Formers<T> {
        self.formers.clone()
    }

    /// The value of the record's key, in its namespace.
    #[inline(always)]
    pub(crate) fn get<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<Option<&T>> {
        let cell = match self.cells.get(ctx.slot as usize) {
            Some(cell) if cell.is_known() => cell,
            _ => self.seek(ctx)?,
        };
        Ok(cell.value())
    }

    /// The cell of a slot that does not simply lie there. Takes the context and not what it needs of it, which would be read for every record.
    #[cold]
    #[inline(never)]
    fn seek<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<&Cell<T>> {
        if let Some(beyond) = &self.beyond {
            let cell = ctx.namespace.with(ctx.slot, |slot, namespace| beyond.load(slot, namespace, ctx.host))?;
            // SAFETY: it is there until another entry of the state is asked for. Another one has another key or namespace, and while somebody holds this one, nobody has the
            // mutable context that it takes to change them.
            return Ok(unsafe { cell.as_ref() });
        }
        match self.cells.get(ctx.slot as usize) {
            Some(cell) if cell.is_veiled() => {
                let mut looked_at = self.looked_at.borrow_mut();
                if looked_at.last() != Some(&ctx.slot) {
                    looked_at.push(ctx.slot);
                }
                Ok(cell)
            }
            _ => Err(self.unreadable(ctx)),
        }
    }

    /// The cell to write to, of a slot that does not lie in the array.
    #[cold]
    #[inline(never)]
    fn seek_to_write<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<NonNull<Cell<T>>> {
        let cell = ctx.namespace.with(ctx.slot, |slot, namespace| match &self.beyond {
            Some(beyond) if slot != NO_SLOT => Some(beyond.write(slot, namespace, ctx.record)),
            _ => None,
        });
        cell.ok_or_else(|| self.unreadable(ctx))
    }

    #[cold]
    #[inline(never)]
    fn unreadable<O: Operator>(&self, ctx: &Context<'_, O>) -> Error {
        let name = &self.name;
        match self.cells.get(ctx.slot as usize) {
            Some(cell) if cell.is_bad() => self.formers.unmigrated(self.step(cell.version()), ctx.slot),
            _ if ctx.namespace.is_entered(ctx.slot) => format!(
                "state \"{name}\" is used in a namespace, which was not declared: `states.namespaced` of it is missing"
            )
            .into(),
            _ => keyless(name),
        }
    }

    /// Puts `value` there, or nothing, and remembers what was there before the record.
    #[inline(always)]
    fn set<O: Operator>(&mut self, ctx: &Context<'_, O>, value: Option<T>) -> Result<()> {
        let (slot, record) = (ctx.slot, ctx.record);
        let mut cell = match self.cells.get_mut(slot as usize) {
            Some(cell) => NonNull::from(cell),
            None => self.seek_to_write(ctx)?,
        };
        // SAFETY: it is in the array; or it is there until another entry is asked for, and nobody else has it: whoever looks at a value keeps the context from being used to write.
        let cell = unsafe { cell.as_mut() };
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
    fn decode(&self, version: u16, bytes: &[u8], length: usize) -> Cell<T> {
        if version == 0 {
            return Cell::absent();
        }
        if version == self.version
            && let Ok(value) = T::decode_first(bytes, length)
        {
            return Cell::present(value);
        }
        Cell::bad(version)
    }

    /// Migrates the values that were delivered and are not of the current version, as far as that can be done. `records` are the slots of the call's records.
    #[cold]
    #[inline(never)]
    fn migrate(&mut self, slots: &[u32], values: Stored<'_>, records: &[u32]) {
        for (index, &slot) in slots.iter().enumerate() {
            if self.cells[slot as usize].is_bad() {
                let (version, bytes) = values.get(index);
                if let Some(value) = self.formers.migrate_delivered(self.step(version), bytes, slot, records) {
                    self.cells[slot as usize] = Cell::present(value);
                }
            }
        }
    }

    fn step(&self, from: u16) -> Step<'_> {
        Step { state: &self.name, from, to: self.version }
    }

    fn deliver(&mut self, records: &[u32], fresh: &[u32], delivered: &[Prefetched]) -> Result<(), Fault> {
        let exact = matches!(delivered, [one] if are_same(&one.slots, fresh));
        if !exact {
            for &slot in fresh {
                self.cells[slot as usize] = Cell::missing();
            }
        }
        for Prefetched { slots, values, .. } in delivered {
            let values = Stored::new("prefetched values", values, self.version)?;
            if slots.len() != values.len() {
                let (name, slots, values) = (&self.name, slots.len(), values.len());
                return Err(Fault::InvalidInput(format!("state \"{name}\": {slots} slots, {values} values")));
            }
            let mut any_is_bad = false;
            for (index, &slot) in slots.iter().enumerate() {
                let (version, bytes, length) = values.get_with_rest(index);
                let new = self.decode(version, bytes, length);
                // They are migrated afterwards, so that there is no call in this loop.
                any_is_bad |= new.is_bad();
                let Some(cell) = self.cells.get_mut(slot as usize) else { return Err(self.unknown_slot(slot)) };
                *cell = new;
            }
            if any_is_bad {
                self.migrate(slots, values, records);
            }
        }
        if exact { Ok(()) } else { self.check_delivered(fresh) }
    }

    #[cold]
    #[inline(never)]
    fn unknown_slot(&self, slot: u32) -> Fault {
        Fault::InvalidInput(format!("state \"{}\" is delivered for slot {slot}, which nobody knows", self.name))
    }

    fn check_delivered(&self, slots: &[u32]) -> Result<(), Fault> {
        // A slot that nobody told of is found when its record is reached.
        let missing = |slot: &&u32| self.cells.get(**slot as usize).is_some_and(Cell::is_missing);
        match slots.iter().find(missing) {
            Some(slot) => {
                Err(Fault::InvalidInput(format!("state \"{}\" of the slot {slot} was not delivered", self.name)))
            }
            None => Ok(()),
        }
    }

    /// Takes in what holds for this call only.
    fn deliver_for_call(&mut self, slots: &[u32], delivered: &[Prefetched], refresh: Refresh) -> Result<(), Fault> {
        self.check_delivered(slots)?;
        for &slot in delivered.iter().flat_map(|one| &one.slots) {
            self.delivered.push(slot);
            if refresh == Refresh::OnReadAndWrite {
                self.cells[slot as usize].set_veiled(true);
            }
        }
        Ok(())
    }

    /// What was looked at and not written is written as it is, which begins its time to live anew.
    fn refresh(&mut self) {
        for slot in self.looked_at.get_mut().drain(..) {
            let cell = &mut self.cells[slot as usize];
            if cell.is_veiled() {
                cell.set_veiled(false);
                if !cell.is_dirty() {
                    cell.set_dirty(true);
                    self.dirty.push(slot);
                }
            }
        }
    }

    /// What holds for one call only is forgotten.
    fn forget(&mut self) {
        for slot in self.delivered.drain(..) {
            self.cells[slot as usize] = Cell::missing();
        }
        self.old = Cell::missing();
        self.record = 0;
    }

    fn undo(&mut self, slot: u32, record: u64) {
        if self.record == record
            && let Some(cell) = self.cells.get_mut(slot as usize)
        {
            // If it was not dirty before, it now stands in the dirty list for nothing.
            *cell = std::mem::replace(&mut self.old, Cell::missing());
            self.record = 0;
        }
    }

    fn flush(&mut self, host: &dyn Host) -> Result<(), Fault> {
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
                    push_version(versions, written, *version, *version);
                }
            } else {
                push_version(versions, written, *version, 0);
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

/// Notes the version of the value after the first `count`, which have the current one where nothing is noted of them. Out of line, so that a flush of values that are all there
/// has no registers set aside for it.
#[inline(never)]
fn push_version(versions: &mut Vec<u16>, count: usize, current: u16, version: u16) {
    if versions.is_empty() {
        versions.resize(count, current);
    }
    versions.push(version);
}

/// `==` of slices is a call that compares byte by byte.
fn are_same(some: &[u32], others: &[u32]) -> bool {
    some.len() == others.len() && some.iter().zip(others).fold(0, |seen, (one, other)| seen | (one ^ other)) == 0
}

/// The record has no key, so there is no state.
#[cold]
#[inline(never)]
pub(crate) fn keyless(state: &str) -> Error {
    format!("state \"{state}\" belongs to a key, and this record has none that this operator knows").into()
}

impl<T: Value> AnyState for Guarded<Column<T>> {
    fn set_version(&self, version: u16) {
        self.change(|column| {
            column.version = version;
            if let Some(beyond) = &column.beyond {
                beyond.set_version(version);
            }
        });
    }

    fn set_ttl(&self, refresh: Refresh) {
        self.change(|column| {
            column.ttl = Some(refresh);
            if let Some(beyond) = &column.beyond {
                beyond.set_ttl(refresh);
            }
        });
    }

    fn resize(&self, slots: usize) {
        self.change(|column| {
            if slots > column.cells.len() && column.beyond.is_none() {
                column.cells.resize_with(slots, Cell::missing);
            }
        });
    }

    fn release(&self, slot: u32) {
        self.change(|column| {
            if let Some(cell) = column.cells.get_mut(slot as usize) {
                *cell = Cell::missing();
            } else if let Some(beyond) = &column.beyond {
                beyond.release(slot);
            }
        });
    }

    fn deliver(&self, slots: &[u32], fresh: &[u32], delivered: &[Prefetched]) -> Result<(), Fault> {
        self.change(|column| {
            if let Some(beyond) = &column.beyond {
                return beyond.deliver(slots, fresh, delivered);
            }
            column.deliver(slots, fresh, delivered)?;
            match column.ttl {
                Some(refresh) => column.deliver_for_call(slots, delivered, refresh),
                None => Ok(()),
            }
        })
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
        self.change(|column| match &column.beyond {
            Some(beyond) => beyond.undo(slot, record),
            None => column.undo(slot, record),
        });
    }

    fn flush(&self, host: &dyn Host) -> Result<(), Fault> {
        self.change(|column| {
            if let Some(beyond) = &column.beyond {
                return beyond.flush(host);
            }
            if column.ttl.is_none() {
                return column.flush(host);
            }
            column.refresh();
            column.flush(host)?;
            column.forget();
            Ok(())
        })
    }
}

/// A column as handle and runner share it.
pub(crate) type Shared<T> = Rc<Guarded<Column<T>>>;

/// [`Column::set`].
#[inline(always)]
pub(crate) fn set<T: Value, O: Operator>(
    column: &Guarded<Column<T>>,
    ctx: &Context<'_, O>,
    value: Option<T>,
) -> Result<()> {
    if std::mem::needs_drop::<T>() {
        column.change(|column| column.set(ctx, value))
    } else {
        // SAFETY: `set` moves values and drops them, and dropping these calls nothing.
        unsafe { column.change_alone(|column| column.set(ctx, value)) }
    }
}
