//! Times to live that begin, change and end while there are entries: what is seen is what a model says, whatever lies in memory or behind it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::state::{
    Known, SpillOptions, SpillSetup, StateSetup, Ttl,
    delivery::{Delivery, StoredColumn},
    keyed::PlaceOf,
};
use crate::{
    background::Inline,
    stream::{EventTime, Keys},
};

const POINT: u16 = 0;
const OTHER: u16 = 1;
const MAP: u16 = 2;
const STATES: [u16; 3] = [POINT, OTHER, MAP];
const KEYS: u8 = 12;

#[derive(Clone, Debug)]
enum Step {
    /// State, key, whether it is removed.
    Write(u16, u8, bool),
    Wait(i64),
    /// Everything is read.
    Look,
    /// State, and its time to live from now on.
    Live(u16, Option<u64>),
    /// Everything is written down and taken back by another task.
    Restore,
}

fn steps() -> impl Strategy<Value = Step> {
    let state = || prop::sample::select(STATES.to_vec());
    prop_oneof![
        12 => (state(), 0..KEYS, proptest::bool::weighted(0.2)).prop_map(|(state, key, gone)| Step::Write(state, key, gone)),
        3 => (1_i64..40).prop_map(Step::Wait),
        3 => Just(Step::Look),
        2 => (state(), prop_oneof![Just(None), (20_u64..100).prop_map(Some)]).prop_map(|(state, ttl)| Step::Live(state, ttl)),
        1 => Just(Step::Restore),
    ]
}

struct Both {
    state: KeyedState,
    folder: TempDir,
    cache_bytes: Option<usize>,
    now: i64,
    /// Time to live and since when, by state.
    lives: BTreeMap<u16, (Option<u64>, Option<i64>)>,
    /// By state and key: when it was written, and its bytes.
    model: BTreeMap<(u16, u8), (i64, Vec<u8>)>,
    written: u8,
}

fn made(folder: &TempDir, cache_bytes: Option<usize>, states: Vec<Option<StateSpec>>, ids: StateIds) -> KeyedState {
    let directory = tempfile::tempdir_in(folder.path()).expect("a folder").keep();
    KeyedState::new(StateSetup {
        states,
        ids,
        slots_max: 16,
        batch_records: 4,
        max_parallelism: 7,
        spill: cache_bytes.map(|cache_bytes| SpillSetup {
            directory,
            options: SpillOptions { run_bytes: 2_000, ..SpillOptions::default() },
            background: Arc::new(Inline::at_once()),
            cache_bytes,
        }),
        snapshots: None,
    })
}

impl Both {
    fn new(first: Option<u64>, cache_bytes: Option<usize>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let lives = STATES.map(|state| (state, (first.filter(|_| state == OTHER), None))).into();
        let (states, ids) = described(&lives);
        let state = made(&folder, cache_bytes, states, ids);
        Self { state, folder, cache_bytes, now: 1_000, lives, model: BTreeMap::new(), written: 0 }
    }

    fn has_ended(&self, state: u16, written: i64) -> bool {
        match self.lives[&state] {
            (Some(ttl), since) => self.now - written.max(since.unwrap_or(i64::MIN)) >= ttl as i64,
            (None, _) => false,
        }
    }

    fn slot(&mut self, key: u8) -> u32 {
        self.state.begin(EventTime(self.now));
        let mut delivery = Delivery::default();
        self.state.resolve(&Keys::hashed([&[key][..]].into_iter().collect()), &mut delivery).expect("the spill works");
        delivery.slots[0]
    }

    fn write(&mut self, state: u16, key: u8, value: Option<&[u8]>) {
        let slot = self.slot(key);
        let (version, bytes) = value.map_or((0, &[][..]), |value| (1, value));
        match self.state.column_of(u32::from(state)) {
            Some(column) if self.state.is_noted(column) => {
                self.state.write_noted(slot, column, version, bytes).expect("the slot is there");
            }
            Some(column) => {
                let (table, behind) = self.state.table_mut();
                table.set_value(slot, column, version, bytes, behind).expect("the slot is there");
            }
            None => {
                let place = PlaceOf { state: u32::from(state), slot, namespace: &[] };
                self.state.put_cell(place, b"entry", version, bytes).expect("the slot is there");
            }
        }
        self.state.commit();
        self.state.tidy().expect("the spill works");
        match value {
            Some(value) => drop(self.model.insert((state, key), (self.now, value.to_vec()))),
            None => drop(self.model.remove(&(state, key))),
        }
    }

    fn seen(&mut self, state: u16, key: u8) -> Option<Vec<u8>> {
        let slot = self.slot(key);
        let (version, value) = match self.state.column_of(u32::from(state)) {
            Some(column) => {
                let (version, value) = self.state.value(slot, column).expect("the slot is there");
                (version, value.to_vec())
            }
            None => {
                let mut out = StoredColumn::default();
                let place = PlaceOf { state: u32::from(state), slot, namespace: &[] };
                self.state.get_cell(place, b"entry", &mut out).expect("the spill works");
                let (version, value) = out.last().expect("one value");
                (version, value.to_vec())
            }
        };
        self.state.commit();
        self.state.tidy().expect("the spill works");
        (version != 0).then_some(value)
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        for state in STATES {
            for key in 0..KEYS {
                let known = self.model.get(&(state, key)).filter(|(written, _)| !self.has_ended(state, *written));
                let expected = known.map(|(_, value)| value.clone());
                prop_assert_eq!(self.seen(state, key), expected, "state {}, key {} at {}", state, key, self.now);
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Write(state, key, gone) => {
                self.written = self.written.wrapping_add(1);
                let value = vec![self.written; 1 + usize::from(self.written % 40)];
                self.write(state, key, Some(&value[..]).filter(|_| !gone));
            }
            Step::Wait(ms) => self.now += ms,
            Step::Look => self.check()?,
            Step::Live(state, ttl) => {
                // Whether what has expired was dropped already is nobody's to say: a longer time to live would show the rest again.
                let ended = self.model.iter().filter(|((of, _), (at, _))| *of == state && self.has_ended(*of, *at));
                let ended: Vec<u8> = ended.map(|((_, key), _)| *key).collect();
                ended.into_iter().for_each(|key| self.write(state, key, None));
                let (before, since) = self.lives[&state];
                let since = if before.is_some() { since } else { Some(self.now) }.filter(|_| ttl.is_some());
                self.lives.insert(state, (ttl, since));
                let (states, ids) = described(&self.lives);
                self.state.adopt(&states, &ids);
            }
            Step::Restore => {
                let mut stored = Vec::new();
                self.state.begin(EventTime(self.now));
                let export = self.state.export(&mut |key, value| {
                    stored.push((key.to_vec(), value.to_vec()));
                    Ok(())
                });
                export.expect("the spill works");
                let (states, ids) = described(&self.lives);
                self.state = made(&self.folder, self.cache_bytes, states, ids);
                for (key, value) in stored {
                    self.state.restore(&key, &value, Known::Yes).expect("it was written down");
                }
            }
        }
        Ok(())
    }
}

fn described(lives: &BTreeMap<u16, (Option<u64>, Option<i64>)>) -> (Vec<Option<StateSpec>>, StateIds) {
    let spec = |state| {
        let form = if state == MAP { Form::Map } else { Form::Point };
        let ttl = lives[&state].0.map(|ms| Ttl { ms, on_read: false });
        Some(StateSpec { form, version: 1, prefetch: false, on_end: false, ttl, ttl_since: None })
    };
    let since = |state| (state, lives[&state].1.map(EventTime));
    (STATES.map(spec).into(), StateIds::new(STATES.map(since).into()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_lives_is_seen_and_what_does_not_is_not(
        first in prop_oneof![Just(None), Just(Some(60))],
        cache_bytes in prop_oneof![Just(None), Just(Some(1)), Just(Some(3_000))],
        steps in prop::collection::vec(steps(), 1..120),
    ) {
        let mut both = Both::new(first, cache_bytes);
        for step in &steps {
            both.step(step)?;
        }
        both.check()?;
        // Nothing is left of what was there, not even the times.
        for (state, key) in STATES.into_iter().flat_map(|state| (0..KEYS).map(move |key| (state, key))) {
            both.write(state, key, None);
        }
        if cache_bytes.is_none() {
            both.state.forget_slots();
            prop_assert_eq!(both.state.size().0, 0);
        }
        both.check()?;
    }
}
