//! Any sequence of calls, held against plain maps that know neither slots nor memory nor disks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use proptest::{collection::vec, prelude::*};

use super::{fixture::Call, *};
use crate::{
    operator::{StateDescriptor, StateKind},
    state::Ttl,
};

/// More than a small task has slots.
const KEYS: u8 = 24;
const NAMESPACES: [&[u8]; 3] = [b"", b"n", b"n\0"];
/// Records of a batch at most: few, so that slots are given to other keys all the time.
const RECORDS: usize = 4;
const TTL_MS: u64 = 100;

/// What an operation does to the state that it meets depends on the state's kind.
#[derive(Clone, Debug)]
enum Deed {
    Get,
    /// Puts or appends a value of so many bytes.
    Write(usize),
    /// Clears a value or removes a map entry.
    Remove,
    /// Clears everything of a key and namespace.
    Clear,
    /// Reads by pages of so many bytes; between the first and the second one, writes as told.
    Read(u32, Option<usize>),
}

#[derive(Clone, Debug)]
struct Op {
    state: u32,
    /// Of the call's keys, or of others.
    key: u8,
    namespace: usize,
    map_key: u8,
    deed: Deed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    Well,
    /// All of it is taken back, and the next instance knows no slot.
    Traps,
}

#[derive(Clone, Debug)]
enum Step {
    Call(Vec<u8>, Vec<Op>, Ending),
    /// Milliseconds.
    Pass(i64),
    /// The guest needs memory.
    Grow,
    /// Reads everything.
    Check,
}

fn states() -> Vec<StateDescriptor> {
    vec![
        state(Value).prefetched(),
        state(Value),
        state(Reducing).expiring(TTL_MS).prefetched(),
        state(Value).expiring_unread(TTL_MS),
        state(Aggregating).expiring_unread(TTL_MS).prefetched(),
        state(List),
        state(List).expiring(TTL_MS),
        state(List).expiring_unread(TTL_MS),
        state(Map),
        state(Map).expiring(TTL_MS),
        state(Map).expiring_unread(TTL_MS),
    ]
}

const STATES: u32 = 11;

fn key(number: u8) -> Vec<u8> {
    match number {
        0 => Vec::new(),
        // The beginning of others, and longer ones.
        1..=5 => vec![0; usize::from(number)],
        6..=12 => vec![number; 30],
        _ => vec![b'k', number],
    }
}

fn map_key(number: u8) -> Vec<u8> {
    match number {
        0 => Vec::new(),
        1..=3 => vec![0xff; usize::from(number)],
        4 => vec![4; 300],
        _ => vec![number, 1, number],
    }
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = || prop_oneof![8 => 0_usize..30, 2 => 30_usize..90, 1 => 400_usize..900];
    let page = prop_oneof![Just(0_u32), 1_u32..200, Just(u32::MAX)];
    let deed = prop_oneof![
        4 => Just(Deed::Get),
        8 => bytes().prop_map(Deed::Write),
        2 => Just(Deed::Remove),
        2 => Just(Deed::Clear),
        3 => (page, proptest::option::of(bytes())).prop_map(|(page, write)| Deed::Read(page, write)),
    ];
    (0..STATES, 0..KEYS, 0..NAMESPACES.len(), 0_u8..20, deed).prop_map(|(state, key, namespace, map_key, deed)| Op {
        state,
        key,
        namespace,
        map_key,
        deed,
    })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Some calls fill one place.
    let narrow = (op(), vec(op(), 10..40)).prop_map(|(place, mut ops)| {
        for op in &mut ops {
            (op.state, op.key, op.namespace) = (place.state, place.key, place.namespace);
        }
        ops
    });
    prop_oneof![6 => vec(op(), 0..10), 1 => narrow]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ending = prop_oneof![4 => Just(Ending::Well), 1 => Just(Ending::Traps)];
    let step = prop_oneof![
        20 => (vec(0..KEYS, 1..=RECORDS), ops(), ending).prop_map(|(keys, ops, ending)| Step::Call(keys, ops, ending)),
        4 => prop_oneof![1_i64..60, Just(TTL_MS as i64), 1_i64..500].prop_map(Step::Pass),
        1 => Just(Step::Grow),
        1 => Just(Step::Check),
    ];
    vec(step, 1..60)
}

type Place = (u32, u8, usize);

/// Entries by place and by map key (index of an element, nothing for a value), each with the time of its last access.
#[derive(Clone, Debug, Default)]
struct Model {
    ttls: Vec<Option<Ttl>>,
    kinds: Vec<StateKind>,
    entries: BTreeMap<Place, BTreeMap<Vec<u8>, (Vec<u8>, i64)>>,
    elements: u64,
    writes: u64,
    now: i64,
}

impl Model {
    fn is_alive(&self, state: u32, accessed: i64) -> bool {
        self.ttls[state as usize].is_none_or(|ttl| self.now - accessed < ttl.ms as i64)
    }

    fn get(&self, place: Place, rest: &[u8]) -> Option<Vec<u8>> {
        let (value, accessed) = self.entries.get(&place)?.get(rest)?;
        self.is_alive(place.0, *accessed).then(|| value.clone())
    }

    /// The entries from a map key on.
    fn from(&self, place: Place, from: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entries = self.entries.get(&place).into_iter().flat_map(|entries| entries.range(from.to_vec()..));
        let alive = entries.filter(|(_, (_, accessed))| self.is_alive(place.0, *accessed));
        alive.map(|(rest, (value, _))| (rest.clone(), value.clone())).collect()
    }

    fn was_read(&mut self, place: Place, rest: &[u8]) {
        let now = self.now;
        if self.ttls[place.0 as usize].is_some_and(|ttl| ttl.on_read)
            && self.get(place, rest).is_some()
            && let Some((_, accessed)) = self.entries.get_mut(&place).and_then(|entries| entries.get_mut(rest))
        {
            *accessed = now;
        }
    }

    fn put(&mut self, place: Place, rest: Vec<u8>, value: Vec<u8>) {
        self.entries.entry(place).or_default().insert(rest, (value, self.now));
    }

    fn new_value(&mut self, bytes: usize) -> Vec<u8> {
        self.writes += 1;
        let mut value = self.writes.to_le_bytes().repeat(bytes / 8 + 1);
        value.truncate(bytes);
        value
    }

    /// The keys with an entry in one of these states.
    fn keys(&self, asking: &[bool]) -> BTreeSet<Vec<u8>> {
        let places = self.entries.keys().filter(|place| asking[place.0 as usize]);
        places.filter(|place| !self.from(**place, &[]).is_empty()).map(|place| key(place.1)).collect()
    }

    fn is_point(&self, state: u32) -> bool {
        self.kinds[state as usize].is_point()
    }
}

/// Does an operation, and checks that it does what the model says.
fn perform(op: &Op, slot: u32, call: &mut Call<'_>, model: &mut Model) {
    let Op { state, key, namespace, .. } = *op;
    let place = (state, key, namespace);
    let namespace = NAMESPACES[namespace];
    let rest = if model.is_point(state) { Vec::new() } else { map_key(op.map_key) };
    let is_list = model.kinds[state as usize] == List;
    let map_key = (!model.is_point(state)).then_some(&rest[..]);
    match op.deed {
        Deed::Get if !is_list => {
            let found = call.try_get(state, slot, namespace, map_key).expect("it may be read");
            assert_eq!(found, model.get(place, &rest), "{op:?}");
            model.was_read(place, &rest);
        }
        Deed::Write(bytes) => {
            let value = model.new_value(bytes);
            if is_list {
                call.try_append(state, slot, namespace, &value).expect("it may be written");
                let index = model.elements.to_be_bytes().to_vec();
                model.elements += 1;
                model.put(place, index, value);
            } else {
                call.try_put(state, slot, namespace, map_key, Some(&value)).expect("it may be written");
                model.put(place, rest, value);
            }
        }
        Deed::Remove if !is_list => {
            call.try_put(state, slot, namespace, map_key, None).expect("it may be written");
            model.entries.get_mut(&place).and_then(|entries| entries.remove(&rest));
        }
        Deed::Remove | Deed::Clear => {
            call.try_clear(state, slot, namespace).expect("it may be written");
            model.entries.remove(&place);
        }
        Deed::Read(bytes, write) if !model.is_point(state) => {
            read(op, slot, call, model, bytes, write.filter(|_| !is_list));
        }
        Deed::Get | Deed::Read(..) => {}
    }
}

fn read(op: &Op, slot: u32, call: &mut Call<'_>, model: &mut Model, bytes: u32, mut write: Option<usize>) {
    let place = (op.state, op.key, op.namespace);
    let is_list = model.kinds[op.state as usize] == List;
    let mut from: Option<Vec<u8>> = None;
    let mut model_from = Vec::new();
    loop {
        let page = call.exchange.read(op.state, slot, NAMESPACES[op.namespace], from.as_deref(), bytes);
        let page = page.expect("it may be read");
        let expected = model.from(place, &model_from);
        let found: Vec<_> = page.rests.iter().zip(page.values.values.iter()).collect();
        assert!(found.len() <= expected.len(), "{op:?}: {found:?} is more than {expected:?}");
        assert!(found.len() == expected.len() || !found.is_empty(), "{op:?}: an empty page");
        for ((rest, value), (expected_rest, expected_value)) in found.iter().zip(&expected) {
            assert_eq!(value, expected_value, "{op:?}");
            // The indices of elements are the host's business.
            assert!(is_list || rest == expected_rest, "{op:?}: {rest:?} is not {expected_rest:?}");
            model.was_read(place, expected_rest);
        }
        let then = expected.get(found.len());
        assert_eq!(page.next.is_some(), then.is_some(), "{op:?}");
        let Some((then, _)) = then else { return };
        assert!(is_list || page.next.as_ref() == Some(then));
        (from, model_from) = (page.next, then.clone());
        if let Some(bytes) = write.take() {
            perform(&Op { deed: Deed::Write(bytes), ..op.clone() }, slot, call, model);
        }
    }
}

/// Checks what came with the call, and does these operations.
fn perform_all(keys: &[u8], ops: &[Op], call: &mut Call<'_>, model: &mut Model) {
    for (slot, key) in call.slots.clone().into_iter().zip(keys) {
        for state in [0, 2, 4] {
            assert_eq!(call.delivered(state, slot), model.get((state, *key, 0), &[]), "state {state} of key {key}");
        }
    }
    for op in ops {
        let slot = match keys.iter().position(|key| *key == op.key) {
            Some(at) => call.slots[at],
            None => match call.slot_of(key(op.key)) {
                Ok(slot) => slot,
                // The call has asked for too many.
                Err(_) => continue,
            },
        };
        perform(op, slot, call, model);
    }
}

/// An operation for everything that there may be of a key.
fn look_at_all(of: u8) -> Vec<Op> {
    let states = (0_u32..).zip(states());
    let look = |(state, descriptor): (u32, StateDescriptor)| {
        let deed = if descriptor.kind.is_point() { Deed::Get } else { Deed::Read(90, None) };
        (0..NAMESPACES.len()).map(move |namespace| Op { state, key: of, namespace, map_key: 0, deed: deed.clone() })
    };
    states.flat_map(look).collect()
}

fn check(backend: Backend, visits: &[bool], steps: &[Step], at_end: &[Op]) {
    let states = states().into_iter().zip(visits).map(|(state, visits)| if *visits { state.visited() } else { state });
    let states: Vec<_> = states.collect();
    let mut model = Model {
        ttls: states.iter().map(|state| state.ttl).collect(),
        kinds: states.iter().map(|state| state.kind).collect(),
        ..Model::default()
    };
    let mut task = Task::with_records(backend, states, RECORDS);
    model.now = task.now;
    let call = |task: &mut Task, model: &mut Model, keys: &[u8], ops: Vec<Op>, ending: &Ending| {
        let (of, mut after) = (keys.to_vec(), model.clone());
        let mut work = move |call: &mut Call<'_>| {
            perform_all(&of, &ops, call, &mut after);
            after.clone()
        };
        let keys: Vec<_> = keys.iter().map(|number| key(*number)).collect();
        match ending {
            Ending::Well => *model = task.call(&keys, work),
            Ending::Traps => task.trapping_call(&keys, move |call| drop(work(call))),
        }
    };
    let all: Vec<u8> = (0..KEYS).collect();
    for step in steps {
        match step {
            Step::Call(keys, ops, ending) => call(&mut task, &mut model, keys, ops.clone(), ending),
            Step::Pass(ms) => {
                task.now += ms;
                model.now += ms;
            }
            Step::Grow => task.grow_guest(),
            Step::Check => {
                for keys in all.chunks(RECORDS) {
                    let ops = keys.iter().copied().flat_map(look_at_all).collect();
                    call(&mut task, &mut model, keys, ops, &Ending::Well);
                }
            }
        }
    }
    let expected = model.keys(visits);
    let (at_end, model) = (at_end.to_vec(), Arc::new(Mutex::new(model)));
    let visiting = Arc::clone(&model);
    let visited = task.end(move |call| {
        let slots = call.slots.clone();
        let number = |slot: &u32| {
            let of = call.exchange.key_of(*slot).expect("a slot has a key");
            (0..KEYS).find(|number| key(*number) == of).expect("one that was written")
        };
        let keys: Vec<u8> = slots.iter().map(number).collect();
        // The operations hit the keys of the call, one after the other: other keys may not be asked for.
        let of_call = |(index, op): (usize, &Op)| Op { key: keys[index % keys.len()], ..op.clone() };
        let ops: Vec<_> = at_end.iter().enumerate().map(of_call).collect();
        perform_all(&keys, &ops, call, &mut visiting.lock().expect("not poisoned"));
    });
    let visited = visited.expect("the end is visited");
    assert_eq!(visited.len(), BTreeSet::from_iter(&visited).len(), "a key is visited twice");
    assert_eq!(visited.into_iter().collect::<BTreeSet<_>>(), expected);
    // What the visits wrote is there.
    let mut model = model.lock().expect("not poisoned").clone();
    for keys in all.chunks(RECORDS) {
        let ops = keys.iter().copied().flat_map(look_at_all).collect();
        call(&mut task, &mut model, keys, ops, &Ending::Well);
    }
}

fn backend() -> impl Strategy<Value = Backend> {
    prop_oneof![
        4 => Just(Backend::Memory),
        6 => any::<u64>().prop_map(Backend::Seeded),
        2 => Just(Backend::Tiny),
        1 => Just(Backend::TinyThreads),
    ]
}

proptest! {
    // Most cases are short.
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn state_is_what_the_calls_made_of_it(
        backend in backend(),
        visits in vec(proptest::bool::weighted(0.3), STATES as usize),
        steps in steps(),
        at_end in vec(op(), 0..12),
    ) {
        check(backend, &visits, &steps, &at_end);
    }
}
