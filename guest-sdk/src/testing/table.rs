//! What the harness's host stores: bytes by state and place, with the time at which they were written.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::descriptor::{StateDescriptor, StateKind};
use crate::ttl::Refresh;

/// Where an entry of keyed state lies: key, namespace, and map key or place in the list.
pub(super) type Place = (Vec<u8>, Vec<u8>, Vec<u8>);

#[derive(Clone, Debug)]
struct Stored {
    version: u16,
    bytes: Vec<u8>,
    /// When it was written, or what counts as that.
    written: i64,
}

/// The entries of one state, which may be of former versions: the descriptor is the current one.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) descriptor: StateDescriptor,
    entries: BTreeMap<Place, Stored>,
    /// How many items were ever appended: the place of the next one.
    appended: u64,
}

impl Table {
    pub(super) fn new(descriptor: StateDescriptor) -> Self {
        Self { descriptor, entries: BTreeMap::new(), appended: 0 }
    }

    /// The same entries for another version of the operator. Where they get a time to live, that begins `now`.
    pub(super) fn of(mut self, descriptor: StateDescriptor, now: i64) -> Self {
        if self.descriptor.ttl.is_none() && descriptor.ttl.is_some() {
            self.entries.values_mut().for_each(|stored| stored.written = stored.written.max(now));
        }
        Self { descriptor, ..self }
    }

    fn is_alive(&self, stored: &Stored, now: i64) -> bool {
        self.descriptor
            .ttl
            .is_none_or(|ttl| now.saturating_sub(stored.written) < i64::try_from(ttl.millis).unwrap_or(i64::MAX))
    }

    /// Version and bytes, if they have not expired.
    pub(super) fn get(&self, place: &Place, now: i64) -> Option<(u16, &[u8])> {
        let stored = self.entries.get(place).filter(|stored| self.is_alive(stored, now))?;
        Some((stored.version, &stored.bytes))
    }

    /// As [`Table::get`], by the operator.
    pub(super) fn read(&mut self, place: &Place, now: i64) -> Option<(u16, Vec<u8>)> {
        let (version, bytes) = self.get(place, now).map(|(version, bytes)| (version, bytes.to_vec()))?;
        if self.descriptor.ttl.is_some_and(|ttl| ttl.refresh == Refresh::OnReadAndWrite)
            && let Some(stored) = self.entries.get_mut(place)
        {
            stored.written = now;
        }
        Some((version, bytes))
    }

    /// Version 0 removes the entry.
    pub(super) fn put(&mut self, place: Place, version: u16, bytes: &[u8], now: i64) {
        if version == 0 {
            self.entries.remove(&place);
        } else {
            self.entries.insert(place, Stored { version, bytes: bytes.to_vec(), written: now });
        }
    }

    pub(super) fn append(&mut self, key: Vec<u8>, namespace: &[u8], bytes: &[u8], now: i64) {
        let place = self.appended.to_be_bytes().to_vec();
        self.appended += 1;
        self.put((key, namespace.to_vec(), place), self.descriptor.version, bytes, now);
    }

    pub(super) fn clear(&mut self, key: &[u8], namespace: &[u8]) {
        self.entries.retain(|(one, other, _), _| one != key || other != namespace);
    }

    /// The entries of a key in a namespace, from a map key on.
    pub(super) fn range(&self, key: &[u8], namespace: &[u8], from: &[u8], now: i64) -> Vec<Place> {
        let start = (key.to_vec(), namespace.to_vec(), from.to_vec());
        self.entries
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(|((one, other, _), _)| one == key && other == namespace)
            .filter(|(_, stored)| self.is_alive(stored, now))
            .map(|(place, _)| place.clone())
            .collect()
    }

    /// Keys that have an entry, each as often as it has one.
    pub(super) fn keys(&self, now: i64) -> impl Iterator<Item = &Vec<u8>> {
        self.entries.iter().filter(move |(_, stored)| self.is_alive(stored, now)).map(|((key, _, _), _)| key)
    }

    /// How many entries there are of each schema version.
    pub(super) fn versions(&self) -> BTreeMap<u16, usize> {
        let mut versions = BTreeMap::new();
        self.entries.values().for_each(|stored| *versions.entry(stored.version).or_default() += 1);
        versions
    }

    pub(super) fn is(&self, kinds: &[StateKind]) -> bool {
        kinds.contains(&self.descriptor.kind)
    }
}
