//! A map that is the same on all tasks.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::Result;
use crate::any_state::AnyState;
use crate::bytes::{append, end};
use crate::codec::Value;
use crate::context::Context;
use crate::former::{Formers, Step};
use crate::guarded::Guarded;
use crate::host::{Host, seldom};
use crate::map_key::{self, KeyBytes, MapKey, Part};
use crate::operator::Operator;
use crate::pages::{PAGE_BYTES, Pages, Source};
use crate::result::message;
use crate::stored::decode;
use crate::wire::{BytesColumn, Error as Fault, StoredColumn};

use super::Handle;

/// A map that is the same on all tasks: every task gets each record of a [broadcast input](crate::InputKind::Broadcast) and writes the same, and reads it with any other
/// record. It is kept decoded, so it should fit into the memory of an instance many times.
///
/// [`OtherInput`](crate::OtherInput) has an example.
pub struct BroadcastState<K, V> {
    map: Rc<Guarded<BroadcastMap<K, V>>>,
}

impl<K: MapKey, V: Value + Clone> BroadcastState<K, V> {
    pub(crate) fn new(map: Rc<Guarded<BroadcastMap<K, V>>>) -> Self {
        Self { map }
    }

    /// The value at `key`; `None` when there is none.
    ///
    /// # Errors
    /// When the stored bytes do not decode or are of a schema version that is not migrated.
    pub fn get<Q: KeyBytes + ?Sized, O: Operator>(&self, ctx: &Context<'_, O>, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
    {
        self.with(ctx, key, |value| value.cloned())
    }

    /// What `look` makes of the value at `key`.
    ///
    /// # Errors
    /// As [`BroadcastState::get`].
    pub fn with<Q: KeyBytes + ?Sized, O: Operator, R>(
        &self,
        ctx: &Context<'_, O>,
        key: &Q,
        look: impl FnOnce(Option<&V>) -> R,
    ) -> Result<R>
    where
        K: Borrow<Q>,
    {
        let entries = self.load(ctx)?;
        let value = match entries.get(&encoded(key)) {
            Some((_, Ok(value))) => Some(value),
            Some((_, Err(text))) => return Err((&**text).into()),
            None => None,
        };
        Ok(look(value))
    }

    /// All entries in the order of their keys, as they are at this time: what is written meanwhile is not seen.
    ///
    /// # Errors
    /// When the stored bytes of one of them do not decode or are of a schema version that is not migrated.
    pub fn entries<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<BroadcastEntries<K, V>> {
        let entries = self.load(ctx)?;
        match entries.values().find_map(|(_, value)| value.as_ref().err()) {
            Some(text) => Err((&**text).into()),
            None => Ok(BroadcastEntries { entries }),
        }
    }

    /// Puts a value at `key`.
    ///
    /// # Errors
    /// When the record is not one of a broadcast input, or the key has more than 4 KiB.
    pub fn insert<O: Operator>(&self, ctx: &mut Context<'_, O>, key: K, value: V) -> Result<()> {
        let bytes = encoded(&key);
        self.write(ctx, bytes, Some((key, Ok(value))))
    }

    /// Removes the value at `key`; there need not be one.
    ///
    /// # Errors
    /// As [`BroadcastState::insert`].
    pub fn remove<Q: KeyBytes + ?Sized, O: Operator>(&self, ctx: &mut Context<'_, O>, key: &Q) -> Result<()>
    where
        K: Borrow<Q>,
    {
        self.write(ctx, encoded(key), None)
    }

    fn write<O: Operator>(&self, ctx: &Context<'_, O>, key: Vec<u8>, entry: Option<Entry<K, V>>) -> Result<()> {
        self.load(ctx)?;
        self.map.change(|map| {
            if !ctx.is_broadcast {
                let name = &map.name;
                return Err(format!(
                    "broadcast state \"{name}\" can be written by records of a broadcast input only, which all tasks get"
                )
                .into());
            }
            if key.len() > map_key::LENGTH_MAX {
                return Err(map_key::too_long(key.len()));
            }
            map.write(ctx.record, key, entry);
            Ok(())
        })
    }

    /// All entries, which are read when they are needed first.
    fn load<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<Rc<Entries<K, V>>> {
        if let Some(entries) = self.map.read(|map| map.entries.clone()) {
            return Ok(entries);
        }
        self.map.change(|map| {
            let entries = Rc::new(map.load(ctx.host)?);
            map.entries = Some(entries.clone());
            Ok(entries)
        })
    }
}

fn encoded<Q: KeyBytes + ?Sized>(key: &Q) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.write(&mut bytes, Part::Last);
    bytes
}

impl<K, V: Value> Handle for BroadcastState<K, V> {
    type Stored = V;
    fn index(&self) -> u32 {
        self.map.read(|map| map.state)
    }
    fn formers(&self) -> Formers<V> {
        self.map.read(|map| map.formers.clone())
    }
}

/// An entry; in the place of a value that does not decode the reason.
type Entry<K, V> = (K, Result<V, Rc<str>>);

/// Entries by encoded key.
type Entries<K, V> = BTreeMap<Vec<u8>, Entry<K, V>>;

/// All entries of broadcast state; see [`BroadcastState::entries`].
///
/// It holds no part of the context, so results can be emitted while it is gone through: `for (key, value) in &entries`.
pub struct BroadcastEntries<K, V> {
    entries: Rc<Entries<K, V>>,
}

impl<K, V> BroadcastEntries<K, V> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Goes through them in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.values().filter_map(|(key, value)| Some((key, value.as_ref().ok()?)))
    }
}

impl<'a, K, V> IntoIterator for &'a BroadcastEntries<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Box<dyn Iterator<Item = (&'a K, &'a V)> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

/// Broadcast state of one task.
pub(crate) struct BroadcastMap<K, V> {
    name: String,
    state: u32,
    version: u16,
    formers: Formers<V>,
    /// None: not read yet.
    entries: Option<Rc<Entries<K, V>>>,
    /// Keys whose entries differ from the host's.
    changed: BTreeSet<Vec<u8>>,
    /// The record that wrote last, and for each of its writes what was there and whether that differed from the host's.
    record: u64,
    old: Vec<(Vec<u8>, Option<Entry<K, V>>, bool)>,
}

impl<K: MapKey, V: Value + Clone> BroadcastMap<K, V> {
    pub(crate) fn new(name: &str, state: u32) -> Self {
        Self {
            name: name.to_owned(),
            state,
            version: 1,
            formers: Formers::default(),
            entries: None,
            changed: BTreeSet::new(),
            record: 0,
            old: Vec::new(),
        }
    }

    fn load(&self, host: &dyn Host) -> Result<Entries<K, V>> {
        let mut entries = BTreeMap::new();
        let mut pages = Pages::new(host, (self.state, self.version), Source::Broadcast, true, PAGE_BYTES);
        while let Some(raw) = pages.peek()? {
            let step = Step { state: &self.name, from: raw.version, to: self.version };
            let value = decode(&self.formers, step, raw.bytes);
            let value = value.map_err(|error| message(&error).into());
            entries.insert(raw.key.to_vec(), (map_key::decode(raw.key)?, value));
            pages.advance();
        }
        Ok(entries)
    }

    /// The entries, to be changed. Copies them only while somebody goes through them.
    fn entries(&mut self) -> &mut Entries<K, V> {
        Rc::make_mut(self.entries.get_or_insert_default())
    }

    fn put(&mut self, key: Vec<u8>, entry: Option<Entry<K, V>>) -> Option<Entry<K, V>> {
        match entry {
            Some(entry) => self.entries().insert(key, entry),
            None => self.entries().remove(&key),
        }
    }

    fn write(&mut self, record: u64, key: Vec<u8>, entry: Option<Entry<K, V>>) {
        if self.record != record {
            self.record = record;
            self.old.clear();
        }
        let old = self.put(key.clone(), entry);
        let was_changed = !self.changed.insert(key.clone());
        self.old.push((key, old, was_changed));
    }

    fn undo(&mut self, record: u64) {
        if self.record != record {
            return;
        }
        while let Some((key, entry, was_changed)) = self.old.pop() {
            if !was_changed {
                self.changed.remove(&key);
            }
            self.put(key, entry);
        }
    }

    fn flush(&mut self, host: &dyn Host) -> Result<(), Fault> {
        self.old.clear();
        self.record = 0;
        if self.changed.is_empty() {
            return Ok(());
        }
        let (mut keys, mut values) = (BytesColumn::default(), StoredColumn::default());
        for key in std::mem::take(&mut self.changed) {
            append(&mut keys.data, &key);
            keys.ends.push(end(&keys.data));
            let version = match self.entries().get(&key) {
                Some((_, Ok(value))) => {
                    let encoded = value.encode(&mut values.data);
                    encoded
                        .map_err(|error| Fault::State(format!("state \"{}\" doesn't encode: {error}", self.name)))?;
                    self.version
                }
                _ => 0,
            };
            values.ends.push(end(&values.data));
            values.versions.push(version);
        }
        if values.versions.iter().all(|version| *version == self.version) {
            values.versions.clear();
        }
        seldom::put_broadcast(host, self.state, &keys, &values)
    }
}

impl<K: MapKey, V: Value + Clone> AnyState for Guarded<BroadcastMap<K, V>> {
    fn set_version(&self, version: u16) {
        self.change(|map| map.version = version);
    }

    fn undo(&self, _: u32, record: u64) {
        self.change(|map| map.undo(record));
    }

    fn flush(&self, host: &dyn Host) -> Result<(), Fault> {
        self.change(|map| map.flush(host))
    }
}
