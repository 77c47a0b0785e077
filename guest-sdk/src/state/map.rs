//! A map per key.

use std::borrow::Borrow;
use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::Result;
use crate::codec::Value;
use crate::context::Context;
use crate::entries::{At, Changes, Entries};
use crate::former::{Formers, Step};
use crate::guarded::Guarded;
use crate::map_key::{self, KeyBytes, MapKey, Part};
use crate::operator::Operator;
use crate::pages::{PAGE_BYTES, Pages, Source};
use crate::stored;

use super::Handle;

/// A map per key, of which only what is asked for is read.
///
/// What was asked for is kept, up to 8 MiB for each state, so that asking again calls nobody. Writing reads nothing.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// # struct Carts { carts: MapState<String, u32> }
/// # impl Operator for Carts {
/// #     type Key<'a> = u64;
/// #     type Input<'a> = (&'a str, u32);
/// #     type Output<'a> = (String, u32);
/// #     fn declare(states: &mut Declaration) -> Self { Self { carts: states.map("carts") } }
/// /// Counts what lies in the customer's cart, and emits all of it when something is taken out.
/// fn process(&mut self, (article, count): (&str, u32), ctx: &mut Context<Self>) -> Result<()> {
///     if count > 0 {
///         let before = self.carts.get(ctx, article)?.unwrap_or(0);
///         return self.carts.insert(ctx, article, before + count);
///     }
///     self.carts.remove(ctx, article)?;
///     for entry in self.carts.entries(ctx)? {
///         ctx.emit(entry?)?;
///     }
///     Ok(())
/// }
/// # }
/// # let mut harness = wasmill_sdk::testing::Harness::<Carts>::new();
/// # for input in [("pear", 1_u32), ("fig", 2), ("plum", 3), ("pear", 1), ("plum", 0)] { harness.send(7_u64, input); }
/// # assert_eq!(harness.take_outputs::<(String, u32)>(), [("fig".to_owned(), 2), ("pear".to_owned(), 2)]);
/// # assert_eq!(harness.map_entry::<u32>("carts", 7_u64, "pear"), Some(2));
/// ```
pub struct MapState<K, V> {
    entries: Rc<Guarded<Entries<V>>>,
    /// For encoded keys, reused.
    scratch: Cell<Vec<u8>>,
    keys: PhantomData<fn() -> K>,
}

impl<K: MapKey, V: Value> MapState<K, V> {
    pub(crate) fn new(entries: Rc<Guarded<Entries<V>>>) -> Self {
        Self { entries, scratch: Cell::default(), keys: PhantomData }
    }

    /// The value at `key` in the map of the current key; `None` when there is none.
    ///
    /// # Errors
    /// When the stored bytes do not decode or are of a schema version that is not migrated, and when the record has no key.
    pub fn get<Q: KeyBytes + ?Sized, O: Operator>(&self, ctx: &Context<'_, O>, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.with(ctx, key, |value| value.cloned())
    }

    /// What `look` makes of the value at `key`. It panics when it asks this very state for another entry.
    ///
    /// # Errors
    /// As [`MapState::get`].
    pub fn with<Q: KeyBytes + ?Sized, O: Operator, R>(
        &self,
        ctx: &Context<'_, O>,
        key: &Q,
        look: impl FnOnce(Option<&V>) -> R,
    ) -> Result<R>
    where
        K: Borrow<Q>,
    {
        self.at(ctx, key, |at| self.entries.with(at, ctx.host, look))
    }

    /// True when there is a value at `key`.
    ///
    /// # Errors
    /// When the record has no key.
    pub fn contains<Q: KeyBytes + ?Sized, O: Operator>(&self, ctx: &Context<'_, O>, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
    {
        self.at(ctx, key, |at| self.entries.contains(at, ctx.host))
    }

    /// Puts a value at `key`. Nothing is read.
    ///
    /// # Errors
    /// When the record has no key, or the map key has more than 4 KiB.
    pub fn insert<Q: KeyBytes + ?Sized, O: Operator>(&self, ctx: &mut Context<'_, O>, key: &Q, value: V) -> Result<()>
    where
        K: Borrow<Q>,
    {
        self.at(ctx, key, |at| self.entries.set(at, ctx.record, Some(value)))
    }

    /// Removes the value at `key`; there need not be one. Nothing is read.
    ///
    /// # Errors
    /// As [`MapState::insert`].
    pub fn remove<Q: KeyBytes + ?Sized, O: Operator>(&self, ctx: &mut Context<'_, O>, key: &Q) -> Result<()>
    where
        K: Borrow<Q>,
    {
        self.at(ctx, key, |at| self.entries.set(at, ctx.record, None))
    }

    /// Sets the value at `key` to what `change` makes of it. `None` stands for "no value" both ways.
    ///
    /// # Errors
    /// As [`MapState::get`] and [`MapState::insert`].
    pub fn update<Q: KeyBytes + ?Sized, O: Operator>(
        &self,
        ctx: &mut Context<'_, O>,
        key: &Q,
        change: impl FnOnce(Option<V>) -> Option<V>,
    ) -> Result<()>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        let new = change(self.get(ctx, key)?);
        self.at(ctx, key, |at| self.entries.set(at, ctx.record, new))
    }

    /// Removes all entries of the current key's map. Nothing is read.
    ///
    /// # Errors
    /// When the record has no key.
    pub fn clear<O: Operator>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        ctx.namespace.with(ctx.slot, |slot, namespace| self.entries.clear_map(slot, namespace, ctx.record))
    }

    /// The entries of the current key's map in the order of their keys, read a page at a time, as they are at this time: what is written meanwhile is not seen.
    ///
    /// # Errors
    /// When the record has no key; of an entry when it does not decode.
    pub fn entries<'b, O: Operator>(&self, ctx: &Context<'b, O>) -> Result<MapEntries<'b, K, V>> {
        self.read(ctx, PAGE_BYTES)
    }

    /// True when the current key's map has no entries. Reads one of them at most, as a rule.
    ///
    /// # Errors
    /// When the record has no key.
    pub fn is_empty<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<bool> {
        let mut entries = self.read(ctx, 1)?;
        let mut found = false;
        while !found && entries.step(|_, _, _, _| found = true)? {}
        Ok(!found)
    }

    fn read<'b, O: Operator>(&self, ctx: &Context<'b, O>, page_bytes: u32) -> Result<MapEntries<'b, K, V>> {
        let (source, Changes { cleared, entries }) = ctx.namespace.with(ctx.slot, |slot, namespace| -> Result<_> {
            let changes = self.entries.changes(slot, namespace)?;
            Ok((Source::Keyed { slot, namespace: namespace.to_vec() }, changes))
        })?;
        let (name, formers) = self.entries.read(|entries| (entries.name(), entries.formers()));
        let state = self.entries.read(|entries| (entries.state(), entries.version()));
        let mut stored = Pages::new(ctx.host, state, source, true, page_bytes);
        if cleared {
            stored.skip();
        }
        let changed = entries.into_iter().peekable();
        Ok(MapEntries { name, version: state.1, formers, stored, changed, keys: PhantomData })
    }

    /// Calls `work` with the place of an entry.
    fn at<Q: KeyBytes + ?Sized, O: Operator, R>(
        &self,
        ctx: &Context<'_, O>,
        key: &Q,
        work: impl FnOnce(At<'_>) -> Result<R>,
    ) -> Result<R> {
        let mut bytes = self.scratch.take();
        bytes.clear();
        key.write(&mut bytes, Part::Last);
        let result = if bytes.len() > map_key::LENGTH_MAX {
            Err(map_key::too_long(bytes.len()))
        } else {
            ctx.namespace.with(ctx.slot, |slot, namespace| work(At::new(slot, namespace, &bytes)))
        };
        self.scratch.set(bytes);
        result
    }
}

impl<K, V: Value> Handle for MapState<K, V> {
    type Stored = V;
    fn index(&self) -> u32 {
        self.entries.read(|entries| entries.state())
    }
    fn formers(&self) -> Formers<V> {
        self.entries.read(|entries| entries.formers())
    }
}

/// The entries of a map in the order of their keys; see [`MapState::entries`].
pub struct MapEntries<'b, K, V> {
    name: Rc<str>,
    version: u16,
    formers: Formers<V>,
    stored: Pages<'b>,
    changed: std::iter::Peekable<std::vec::IntoIter<(Vec<u8>, Option<Vec<u8>>)>>,
    keys: PhantomData<fn() -> K>,
}

impl<K: MapKey, V: Value> MapEntries<'_, K, V> {
    /// Takes one entry of what the host has or of what was changed, and shows it if it is one: its version, key and value. False: there are no more.
    fn step(&mut self, show: impl FnOnce(&Formers<V>, Step<'_>, &[u8], &[u8])) -> Result<bool> {
        let step = |from| Step { state: &self.name, from, to: self.version };
        let stored = self.stored.peek()?;
        let first_changed = match (&stored, self.changed.peek()) {
            (None, None) => return Ok(false),
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(stored), Some((key, _))) => key.as_slice() <= stored.key,
        };
        if !first_changed {
            if let Some(stored) = stored {
                show(&self.formers, step(stored.version), stored.key, stored.bytes);
            }
            self.stored.advance();
            return Ok(true);
        }
        if let Some((key, value)) = self.changed.next() {
            if stored.is_some_and(|stored| stored.key == key) {
                self.stored.advance();
            }
            if let Some(value) = value {
                show(&self.formers, step(self.version), &key, &value);
            }
        }
        Ok(true)
    }
}

impl<K: MapKey, V: Value> Iterator for MapEntries<'_, K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Result<(K, V)>> {
        let mut found = None;
        while found.is_none() {
            let more = self.step(|formers, step, key, value| {
                let entry = map_key::decode::<K>(key).and_then(|key| {
                    let value = stored::decode(formers, step, value)?;
                    Ok((key, value))
                });
                found = Some(entry);
            });
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // It would be asked again, for ever.
                    self.stored.skip();
                    return Some(Err(error));
                }
            }
        }
        found
    }
}
