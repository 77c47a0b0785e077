//! A task's keyed state beside a `BTreeMap` of stored keys and values, for tests that compare what comes out of it.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use tempfile::TempDir;

use super::KeyedState;
use crate::{
    background::Inline,
    state::{
        Delivery, Form, PlaceOf, SnapshotSetup, SpillOptions, SpillSetup, StateIds, StateSetup, StateSpec, StoredBytes,
        StoredKey, Ttl,
    },
    stream::{EventTime, Keys, hash_key},
};

const GROUPS: u32 = 7;
const TTL_MS: u64 = 50;

pub(super) const VALUE: u32 = 0;
const LIST: u32 = 1;
const MAP: u32 = 2;
const OTHER: u32 = 4;
pub(super) const SHORT_VALUE: u32 = 5;
pub(super) const SHORT_MAP: u32 = 6;

fn expires(state: u32) -> bool {
    matches!(state, SHORT_VALUE | SHORT_MAP)
}

#[derive(Clone, Debug)]
pub(super) enum Write {
    /// State, whether it is removed.
    Point(u32, bool),
    /// State, namespace.
    Namespaced(u32, u8, bool),
    Append(u8),
    /// State, map key.
    Map(u32, u8, bool),
    /// State, namespace.
    Clear(u32, u8),
    /// Time passes.
    Wait(i64),
}

/// A key, and what becomes of its state.
pub(super) fn writes() -> impl Strategy<Value = (u8, Write)> {
    let point = prop_oneof![Just(VALUE), Just(OTHER), Just(SHORT_VALUE)];
    let map = prop_oneof![Just(MAP), Just(SHORT_MAP)];
    let gone = proptest::bool::weighted(0.2);
    let write = prop_oneof![
        6 => (point.clone(), gone).prop_map(|(state, gone)| Write::Point(state, gone)),
        2 => (point, 1_u8..4, gone).prop_map(|(state, namespace, gone)| Write::Namespaced(state, namespace, gone)),
        4 => (0_u8..3).prop_map(Write::Append),
        6 => (map, 0_u8..20, gone).prop_map(|(state, map_key, gone)| Write::Map(state, map_key, gone)),
        1 => (prop_oneof![Just(LIST), Just(MAP)], 0_u8..3).prop_map(|(state, namespace)| Write::Clear(state, namespace)),
        1 => (1_i64..30).prop_map(Write::Wait),
    ];
    (0_u8..12, write)
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Memory {
    Enough,
    /// Everything is evicted sooner or later.
    Tiny,
}

/// The states, of which some have this time to live.
pub(super) fn specs(ttl: Option<Ttl>) -> Vec<Option<StateSpec>> {
    let spec = |form, ttl| Some(StateSpec { form, version: 3, prefetch: false, on_end: false, ttl, ttl_since: None });
    vec![
        spec(Form::Point, None),
        spec(Form::List, None),
        spec(Form::Map, None),
        None,
        spec(Form::Point, None),
        spec(Form::Point, ttl),
        spec(Form::Map, ttl),
    ]
}

pub(super) fn state(memory: Memory, folder: &TempDir, snapshots: Option<SnapshotSetup>) -> KeyedState {
    let spill = SpillSetup {
        directory: folder.path().join("spill"),
        options: SpillOptions { run_bytes: 2_000, ..SpillOptions::default() },
        background: Arc::new(Inline::at_once()),
        cache_bytes: 1,
    };
    KeyedState::new(StateSetup {
        states: specs(Some(Ttl { ms: TTL_MS, on_read: false })),
        ids: StateIds::default(),
        slots_max: 16,
        batch_records: 4,
        max_parallelism: GROUPS,
        spill: match memory {
            Memory::Enough => None,
            Memory::Tiny => Some(spill),
        },
        snapshots,
    })
}

/// By stored key: the last access, and the stored value.
pub(super) type Model = BTreeMap<Vec<u8>, (i64, Vec<u8>)>;

pub(super) struct Both {
    pub(super) state: KeyedState,
    pub(super) model: Model,
    pub(super) now: i64,
    elements: u64,
    written: u32,
}

impl Both {
    pub(super) fn new(state: KeyedState) -> Self {
        Self { state, model: Model::new(), now: 1_000, elements: 0, written: 0 }
    }

    fn stored_key(&self, key: &[u8], state: u32, namespace: &[u8], entry: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let key_group = (hash_key(key) % u64::from(GROUPS)) as u16;
        StoredKey { key_group, state: state as u16, key, namespace, entry }.encode(&mut out).expect("short");
        out
    }

    fn set(&mut self, stored_key: Vec<u8>, state: u32, value: Option<&[u8]>) {
        let Some(value) = value else {
            self.model.remove(&stored_key);
            return;
        };
        let mut stored = Vec::new();
        let last_access = expires(state).then_some(EventTime(self.now));
        StoredBytes { version: 3, last_access, value }.encode(&mut stored).expect("the version is not 0");
        self.model.insert(stored_key, (self.now, stored));
    }

    /// Writes, to both.
    pub(super) fn write(&mut self, key: u8, write: &Write) {
        self.write_staged(key, write);
        self.state.commit();
        self.state.tidy().expect("the spill works");
    }

    /// Writes to cells and takes it back: nothing has happened then.
    pub(super) fn write_in_vain(&mut self, key: u8, write: &Write) {
        if matches!(write, Write::Point(..)) {
            // Those are staged elsewhere.
            return;
        }
        let before = (self.model.clone(), self.now);
        self.write_staged(key, write);
        (self.model, self.now) = before;
        self.state.roll_back();
        self.state.tidy().expect("the spill works");
    }

    fn write_staged(&mut self, key: u8, write: &Write) {
        // Keys of several lengths, which is the first order of stored keys.
        let key = &vec![b'k'; usize::from(key % 3)].into_iter().chain([key]).collect::<Vec<_>>();
        self.state.begin(EventTime(self.now));
        let mut delivery = Delivery::default();
        let keys = Keys::hashed([&key[..]].into_iter().collect());
        self.state.resolve(&keys, &mut delivery).expect("the spill works");
        let slot = delivery.slots[0];
        self.written += 1;
        let value = &vec![7; 1 + self.written as usize % 40][..];
        let of = |gone: bool| if gone { (0, None) } else { (3, Some(value)) };
        match *write {
            Write::Point(state, gone) => {
                let column = self.state.column_of(state).expect("a point state");
                let (version, kept) = of(gone);
                let bytes = kept.unwrap_or_default();
                if expires(state) {
                    self.state.write_noted(slot, column, version, bytes).expect("the slot is there");
                } else {
                    let (table, behind) = self.state.table_mut();
                    table.set_value(slot, column, version, bytes, behind).expect("the slot is there");
                }
                self.set(self.stored_key(key, state, &[], &[]), state, kept);
            }
            Write::Namespaced(state, namespace, gone) => {
                let (version, kept) = of(gone);
                let place = PlaceOf { state, slot, namespace: &[namespace] };
                self.state.put_cell(place, &[], version, kept.unwrap_or_default()).expect("the slot is there");
                self.set(self.stored_key(key, state, &[namespace], &[]), state, kept);
            }
            Write::Map(state, map_key, gone) => {
                let (version, kept) = of(gone);
                let place = PlaceOf { state, slot, namespace: &[] };
                self.state.put_cell(place, &[map_key], version, kept.unwrap_or_default()).expect("the slot is there");
                self.set(self.stored_key(key, state, &[], &[map_key]), state, kept);
            }
            Write::Append(namespace) => {
                let namespace = &vec![namespace; usize::from(namespace > 0)][..];
                self.state.append(PlaceOf { state: LIST, slot, namespace }, 3, value).expect("the slot is there");
                let index = self.elements.to_be_bytes();
                self.elements += 1;
                self.set(self.stored_key(key, LIST, namespace, &index), LIST, Some(value));
            }
            Write::Clear(state, namespace) => {
                let namespace = &vec![namespace; usize::from(namespace > 0)][..];
                self.state.clear(PlaceOf { state, slot, namespace }).expect("the slot is there");
                let prefix = self.stored_key(key, state, namespace, &[]);
                self.model.retain(|stored, _| !stored.starts_with(&prefix));
            }
            Write::Wait(ms) => self.now += ms,
        }
    }

    /// What has not expired.
    pub(super) fn expected(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entries = self.model.iter().filter(|(key, (accessed, _))| lives(key, *accessed, self.now));
        entries.map(|(key, (_, value))| (key.clone(), value.clone())).collect()
    }

    pub(super) fn exported(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.state.begin(EventTime(self.now));
        let mut entries = Vec::new();
        let exported = self.state.export(&mut |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        exported.expect("the spill works");
        entries
    }
}

/// Whether an entry has not expired.
pub(super) fn lives(stored_key: &[u8], accessed: i64, now: i64) -> bool {
    let state = StoredKey::decode(stored_key).expect("a stored key").state;
    !expires(u32::from(state)) || now - accessed < TTL_MS as i64
}
