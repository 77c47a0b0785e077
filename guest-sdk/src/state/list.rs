//! A list per key: what a call adds is gathered as bytes and handed over at its end.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::Result;
use crate::any_state::AnyState;
use crate::bytes::{append, end};
use crate::codec::Value;
use crate::column::keyless;
use crate::context::{Context, NO_SLOT};
use crate::entries::trim;
use crate::former::{Formers, Step};
use crate::guarded::Guarded;
use crate::host::{Host, seldom};
use crate::operator::Operator;
use crate::pages::{PAGE_BYTES, Pages, Source};
use crate::stored;
use crate::wire::{BytesColumn, Cells, Error as Fault};

use super::Handle;

/// A list per key. Adding never reads it.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// # struct Pairs { open: ListState<String> }
/// # impl Operator for Pairs {
/// #     type Key<'a> = u64;
/// #     type Input<'a> = &'a str;
/// #     type Output<'a> = String;
/// #     fn declare(states: &mut Declaration) -> Self { Self { open: states.list("open") } }
/// /// Keeps lines until an empty one comes, then emits them together.
/// fn process(&mut self, line: &str, ctx: &mut Context<Self>) -> Result<()> {
///     if !line.is_empty() {
///         return self.open.add(ctx, &line.to_owned());
///     }
///     let lines = self.open.items(ctx)?.collect::<Result<Vec<String>>>()?;
///     self.open.clear(ctx)?;
///     ctx.emit(lines.join(" "))
/// }
/// # }
/// # let mut harness = wasmill_sdk::testing::Harness::<Pairs>::new();
/// # for input in ["to", "be", "", "or", ""] { harness.send(7_u64, input); }
/// # assert_eq!(harness.take_outputs::<String>(), ["to be", "or"]);
/// ```
pub struct ListState<T> {
    list: Rc<Guarded<List>>,
    formers: Formers<T>,
}

impl<T: Value> ListState<T> {
    pub(crate) fn new(list: Rc<Guarded<List>>) -> Self {
        Self { list, formers: Formers::default() }
    }

    /// Adds an item to the end of the current key's list.
    ///
    /// # Errors
    /// When the record has no key, or the item can't be encoded, which with plain data does not happen.
    pub fn add<O: Operator>(&self, ctx: &mut Context<'_, O>, item: &T) -> Result<()> {
        self.change(ctx, |list, slot, namespace| list.add(slot, namespace, item))
    }

    /// Adds items to the end of the current key's list.
    ///
    /// # Errors
    /// As [`ListState::add`].
    pub fn add_all<'i, O: Operator>(
        &self,
        ctx: &mut Context<'_, O>,
        items: impl IntoIterator<Item = &'i T>,
    ) -> Result<()> {
        items.into_iter().try_for_each(|item| self.add(ctx, item))
    }

    /// Makes these the items of the current key's list. Nothing is read.
    ///
    /// # Errors
    /// As [`ListState::add`].
    pub fn replace<'i, O: Operator>(
        &self,
        ctx: &mut Context<'_, O>,
        items: impl IntoIterator<Item = &'i T>,
    ) -> Result<()> {
        self.clear(ctx)?;
        self.add_all(ctx, items)
    }

    /// Removes all items of the current key's list. Nothing is read.
    ///
    /// # Errors
    /// When the record has no key.
    pub fn clear<O: Operator>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        self.change(ctx, |list, slot, namespace| {
            list.clear(slot, namespace);
            Ok(())
        })
    }

    /// The items of the current key's list in the order in which they were added, read a page at a time, as they are at this time: what is written meanwhile is not
    /// seen.
    ///
    /// # Errors
    /// When the record has no key; of an item when it does not decode.
    pub fn items<'b, O: Operator>(&self, ctx: &Context<'b, O>) -> Result<ListItems<'b, T>> {
        self.read(ctx, PAGE_BYTES)
    }

    /// True when the current key's list has no items. Reads one of them at most.
    ///
    /// # Errors
    /// When the record has no key.
    pub fn is_empty<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<bool> {
        let mut items = self.read(ctx, 1)?;
        Ok(items.added.len() == 0 && items.stored.peek()?.is_none())
    }

    fn read<'b, O: Operator>(&self, ctx: &Context<'b, O>, page_bytes: u32) -> Result<ListItems<'b, T>> {
        ctx.namespace.with(ctx.slot, |slot, namespace| {
            self.list.read(|list| {
                if slot == NO_SLOT {
                    return Err(keyless(&list.name));
                }
                let (cleared, added) = list.changes(slot, namespace);
                let source = Source::Keyed { slot, namespace: namespace.to_vec() };
                let mut stored = Pages::new(ctx.host, (list.state, list.version), source, false, page_bytes);
                if cleared {
                    stored.skip();
                }
                let (name, version, formers) = (list.name.clone(), list.version, self.formers.clone());
                Ok(ListItems { name, version, formers, stored, added: added.into_iter() })
            })
        })
    }

    fn change<O: Operator>(
        &self,
        ctx: &Context<'_, O>,
        change: impl FnOnce(&mut List, u32, &[u8]) -> Result<()>,
    ) -> Result<()> {
        ctx.namespace.with(ctx.slot, |slot, namespace| {
            self.list.change(|list| {
                if slot == NO_SLOT {
                    return Err(keyless(&list.name));
                }
                list.begin(ctx.record);
                change(list, slot, namespace)
            })
        })
    }
}

impl<T: Value> Handle for ListState<T> {
    type Stored = T;
    fn index(&self) -> u32 {
        self.list.read(|list| list.state)
    }
    fn formers(&self) -> Formers<T> {
        self.formers.clone()
    }
}

/// The items of a list; see [`ListState::items`].
pub struct ListItems<'b, T> {
    name: Rc<str>,
    version: u16,
    formers: Formers<T>,
    stored: Pages<'b>,
    added: std::vec::IntoIter<Vec<u8>>,
}

impl<T: Value> Iterator for ListItems<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let decode = |from, bytes: &[u8]| {
            let step = Step { state: &self.name, from, to: self.version };
            stored::decode(&self.formers, step, bytes)
        };
        match self.stored.peek() {
            Ok(Some(item)) => {
                let decoded = decode(item.version, item.bytes);
                self.stored.advance();
                Some(decoded)
            }
            Ok(None) => self.added.next().map(|bytes| decode(self.version, &bytes)),
            Err(error) => {
                // It would be asked again, for ever.
                self.stored.skip();
                Some(Err(error))
            }
        }
    }
}

/// No change has this number.
const NONE: u32 = u32::MAX;

/// What a call does to the lists of one state, in order.
pub(crate) struct List {
    name: Rc<str>,
    state: u32,
    version: u16,
    changes: Vec<Change>,
    /// The items and the namespaces of all changes, end to end.
    items: Vec<u8>,
    namespaces: Vec<u8>,
    /// The last change of each slot.
    last: Vec<u32>,
    /// The record that wrote last, and how many changes there were before it.
    record: u64,
    before: usize,
}

struct Change {
    slot: u32,
    kind: Kind,
    /// Where its item and its namespace begin.
    item: u32,
    namespace: u32,
    /// The change of the same slot before it.
    previous: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Add,
    Clear,
}

impl List {
    pub(crate) fn new(name: &str, state: u32) -> Self {
        Self {
            name: name.into(),
            state,
            version: 1,
            changes: Vec::new(),
            items: Vec::new(),
            namespaces: Vec::new(),
            last: Vec::new(),
            record: 0,
            before: 0,
        }
    }

    fn begin(&mut self, record: u64) {
        if self.record != record {
            self.record = record;
            self.before = self.changes.len();
        }
    }

    fn add<T: Value>(&mut self, slot: u32, namespace: &[u8], item: &T) -> Result<()> {
        self.push(slot, namespace, Kind::Add);
        if let Err(error) = item.encode(&mut self.items) {
            self.pop();
            return Err(error);
        }
        Ok(())
    }

    fn clear(&mut self, slot: u32, namespace: &[u8]) {
        self.push(slot, namespace, Kind::Clear);
    }

    fn push(&mut self, slot: u32, namespace: &[u8], kind: Kind) {
        if slot as usize >= self.last.len() {
            self.last.resize(slot as usize + 1, NONE);
        }
        let index = self.changes.len() as u32;
        let previous = std::mem::replace(&mut self.last[slot as usize], index);
        let (item, from) = (end(&self.items), end(&self.namespaces));
        self.changes.push(Change { slot, kind, item, namespace: from, previous });
        append(&mut self.namespaces, namespace);
    }

    fn pop(&mut self) {
        if let Some(Change { slot, item, namespace, previous, .. }) = self.changes.pop() {
            self.last[slot as usize] = previous;
            self.items.truncate(item as usize);
            self.namespaces.truncate(namespace as usize);
        }
    }

    fn item(&self, index: usize) -> &[u8] {
        let end = self.changes.get(index + 1).map_or(self.items.len(), |next| next.item as usize);
        &self.items[self.changes[index].item as usize..end]
    }

    fn namespace(&self, index: usize) -> &[u8] {
        let end = self.changes.get(index + 1).map_or(self.namespaces.len(), |next| next.namespace as usize);
        &self.namespaces[self.changes[index].namespace as usize..end]
    }

    /// Whether the list was cleared, and what was added since.
    fn changes(&self, slot: u32, namespace: &[u8]) -> (bool, Vec<Vec<u8>>) {
        let mut added = Vec::new();
        let mut cleared = false;
        let mut at = self.last.get(slot as usize).copied().unwrap_or(NONE);
        while let Some(change) = self.changes.get(at as usize) {
            if self.namespace(at as usize) == namespace {
                if change.kind == Kind::Clear {
                    cleared = true;
                    break;
                }
                added.push(self.item(at as usize).to_vec());
            }
            at = change.previous;
        }
        added.reverse();
        (cleared, added)
    }

    fn flush(&mut self, host: &dyn Host) -> Result<(), Fault> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let mut cleared = BTreeSet::new();
        let mut kept = Vec::with_capacity(self.changes.len());
        for (index, change) in self.changes.iter().enumerate().rev() {
            let list = (change.slot, self.namespace(index));
            match change.kind {
                Kind::Clear => drop(cleared.insert(list)),
                // Nothing is looked up where nothing is cleared.
                Kind::Add if cleared.is_empty() || !cleared.contains(&list) => kept.push(index),
                Kind::Add => {}
            }
        }
        if !cleared.is_empty() {
            let mut cells = Cells::default();
            cleared.into_iter().for_each(|(slot, namespace)| push(&mut cells, slot, namespace));
            trim(&mut cells);
            seldom::clear_many(host, self.state, &cells)?;
        }
        if !kept.is_empty() {
            let (mut cells, mut values) = (Cells::default(), BytesColumn::default());
            for &index in kept.iter().rev() {
                push(&mut cells, self.changes[index].slot, self.namespace(index));
                append(&mut values.data, self.item(index));
                values.ends.push(end(&values.data));
            }
            trim(&mut cells);
            seldom::append_many(host, self.state, &cells, &values)?;
        }
        for change in self.changes.drain(..) {
            self.last[change.slot as usize] = NONE;
        }
        self.items.clear();
        self.namespaces.clear();
        (self.record, self.before) = (0, 0);
        Ok(())
    }
}

fn push(cells: &mut Cells, slot: u32, namespace: &[u8]) {
    cells.slots.push(slot);
    append(&mut cells.namespaces.data, namespace);
    cells.namespaces.ends.push(end(&cells.namespaces.data));
}

impl AnyState for Guarded<List> {
    fn set_version(&self, version: u16) {
        self.change(|list| list.version = version);
    }

    fn undo(&self, _: u32, record: u64) {
        self.change(|list| {
            while list.record == record && list.changes.len() > list.before {
                list.pop();
            }
        });
    }

    fn flush(&self, host: &dyn Host) -> Result<(), Fault> {
        self.change(|list| list.flush(host))
    }
}
