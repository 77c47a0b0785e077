//! What is exported is what a `BTreeMap` of stored keys holds, whether state stayed in memory or was evicted.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::*;
use crate::{
    background::Inline,
    state::{Delivery, Form, PlaceOf, SpillOptions, SpillSetup, StateSetup, StateSpec, Ttl},
    stream::Keys,
};

const GROUPS: u32 = 7;
const TTL_MS: u64 = 50;

const VALUE: u32 = 0;
const LIST: u32 = 1;
const MAP: u32 = 2;
const OTHER: u32 = 4;
const SHORT_VALUE: u32 = 5;
const SHORT_MAP: u32 = 6;

fn expires(state: u32) -> bool {
    matches!(state, SHORT_VALUE | SHORT_MAP)
}

#[derive(Clone, Debug)]
enum Write {
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

fn writes() -> impl Strategy<Value = Vec<(u8, Write)>> {
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
    vec((0_u8..12, write), 0..300)
}

#[derive(Clone, Copy, Debug)]
enum Memory {
    Enough,
    /// Everything is evicted sooner or later.
    Tiny,
}

fn state(memory: Memory, folder: &TempDir) -> KeyedState {
    let spec = |form, ttl| Some(StateSpec { form, version: 3, prefetch: false, on_end: false, ttl });
    let ttl = Some(Ttl { ms: TTL_MS, on_read: false });
    let spill = SpillSetup {
        directory: folder.path().join("spill"),
        options: SpillOptions { run_bytes: 2_000, ..SpillOptions::default() },
        background: Arc::new(Inline::at_once()),
        cache_bytes: 1,
    };
    KeyedState::new(StateSetup {
        states: vec![
            spec(Form::Point, None),
            spec(Form::List, None),
            spec(Form::Map, None),
            None,
            spec(Form::Point, None),
            spec(Form::Point, ttl),
            spec(Form::Map, ttl),
        ],
        slots_max: 16,
        batch_records: 4,
        max_parallelism: GROUPS,
        spill: match memory {
            Memory::Enough => None,
            Memory::Tiny => Some(spill),
        },
    })
}

/// By stored key: the last access, and the stored value.
type Model = BTreeMap<Vec<u8>, (i64, Vec<u8>)>;

struct Both {
    state: KeyedState,
    model: Model,
    now: i64,
    elements: u64,
    written: u32,
}

impl Both {
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
        encode(3, expires(state).then_some(EventTime(self.now)), value, &mut stored);
        self.model.insert(stored_key, (self.now, stored));
    }

    fn write(&mut self, key: u8, write: &Write) {
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
                    self.state.write_expiring(slot, column, version, bytes).expect("the slot is there");
                } else {
                    self.state.table_mut().set_value(slot, column, version, bytes).expect("the slot is there");
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
        self.state.commit();
        self.state.tidy().expect("the spill works");
    }

    fn expected(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let lives = |stored: &[u8], accessed: i64| {
            let state = StoredKey::decode(stored).expect("a stored key").state;
            !expires(u32::from(state)) || self.now - accessed < TTL_MS as i64
        };
        let entries = self.model.iter().filter(|(key, (accessed, _))| lives(key, *accessed));
        entries.map(|(key, (_, value))| (key.clone(), value.clone())).collect()
    }

    fn exported(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_entry_is_exported_once_and_in_order(writes in writes(), memory in prop_oneof![Just(Memory::Enough), Just(Memory::Tiny)]) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut both = Both { state: state(memory, &folder), model: Model::new(), now: 1_000, elements: 0, written: 0 };
        for (key, write) in &writes {
            both.write(*key, write);
        }
        let (exported, expected) = (both.exported(), both.expected());
        prop_assert_eq!(&exported, &expected);
        prop_assert_eq!(both.exported(), expected, "a second time");
    }
}

#[test]
fn a_taker_that_fails_ends_the_export() {
    for memory in [Memory::Enough, Memory::Tiny] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut both = Both { state: state(memory, &folder), model: Model::new(), now: 0, elements: 0, written: 0 };
        (0..10).for_each(|key| both.write(key, &Write::Point(VALUE, false)));
        let mut left = 3;
        let failed = both.state.export(&mut |_, _| {
            left -= 1;
            if left == 0 { Err(io::Error::other("the disk is full")) } else { Ok(()) }
        });
        assert_eq!((failed.expect_err("it fails").to_string().as_str(), left), ("the disk is full", 0));
    }
}
