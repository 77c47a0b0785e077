//! State that another version of its operator takes over.

use super::*;
use crate::{
    state::{Delivery, PlaceOf, StateSetup, StoredColumn, Ttl},
    stream::{BytesColumn, EventTime, Keys},
};

const POINT: StateSpec =
    StateSpec { form: Form::Point, version: 1, prefetch: true, on_end: false, ttl: None, ttl_since: None };
const LIST: StateSpec =
    StateSpec { form: Form::List, version: 1, prefetch: false, on_end: false, ttl: None, ttl_since: None };

fn state_of(states: Vec<Option<StateSpec>>) -> KeyedState {
    KeyedState::new(StateSetup {
        states,
        ids: StateIds::default(),
        slots_max: 64,
        batch_records: 16,
        max_parallelism: 128,
        spill: None,
        snapshots: None,
    })
}

fn ids(ids: impl IntoIterator<Item = u16>) -> StateIds {
    StateIds::new(ids.into_iter().map(|id| (id, None)).collect())
}

fn resolve(state: &mut KeyedState, keys: &[&str]) -> Delivery {
    let column: BytesColumn = keys.iter().map(|key| key.as_bytes()).collect();
    let mut delivery = Delivery::default();
    state.resolve(&Keys::hashed(column), &mut delivery).expect("all is in memory");
    delivery
}

fn set(state: &mut KeyedState, slot: u32, number: u32, version: u16, value: &[u8]) {
    let column = state.column_of(number).expect("a point state");
    let (table, behind) = state.table_mut();
    table.set_value(slot, column, version, value, behind).expect("the slot stands for a key");
}

/// What is delivered of a state for each fresh slot: its version and value.
fn delivered(delivery: &Delivery, number: u32, current: u16) -> Vec<(u16, Vec<u8>)> {
    let (_, column) = delivery.prefetched.iter().find(|(state, _)| *state == number).expect("it is prefetched");
    (0..column.values.len()).map(|index| column.get(index, current)).map(|(v, bytes)| (v, bytes.to_vec())).collect()
}

#[test]
fn states_are_found_again_whatever_their_number_is_and_new_ones_are_empty() {
    let mut state = state_of(vec![Some(POINT), Some(LIST)]);
    let slots = resolve(&mut state, &["a", "b"]).slots;
    set(&mut state, slots[0], 0, 1, b"first of a");
    set(&mut state, slots[1], 0, 1, b"first of b");
    let place = PlaceOf { state: 1, slot: slots[0], namespace: b"" };
    state.append(place, 1, b"element").expect("the slot stands for a key");
    state.commit();

    // The new state comes first, so that all others have another number; and the former point state has another schema.
    let second = StateSpec { version: 2, ..POINT };
    state.adopt(&[Some(POINT), Some(LIST), Some(second)], &ids([2, 1, 0]));
    let delivery = resolve(&mut state, &["a", "b", "c"]);
    assert_eq!(delivery.fresh.len(), 3, "a new guest has seen no slot");
    assert_eq!(delivered(&delivery, 0, 1), vec![(0, Vec::new()); 3]);
    assert_eq!(delivered(&delivery, 2, 2), [(1, b"first of a".to_vec()), (1, b"first of b".to_vec()), (0, Vec::new())]);

    // Old entries get room for the new state when it is written, new ones have it from the beginning.
    for (slot, value) in delivery.slots.iter().zip(["of a", "of b", "of c"]) {
        set(&mut state, *slot, 0, 1, value.as_bytes());
    }
    set(&mut state, delivery.slots[1], 2, 2, b"a longer value, which moves the entry of b");
    let page =
        state.read(PlaceOf { state: 1, slot: delivery.slots[0], namespace: b"" }, b"", 1000).expect("it is there");
    assert_eq!(page.values.values.iter().collect::<Vec<_>>(), [b"element"]);
    state.forget_slots();
    let delivery = resolve(&mut state, &["c", "b", "a"]);
    let expected = [(1, b"of c".to_vec()), (1, b"of b".to_vec()), (1, b"of a".to_vec())];
    assert_eq!(delivered(&delivery, 0, 1), expected);
    let moved = b"a longer value, which moves the entry of b".to_vec();
    assert_eq!(delivered(&delivery, 2, 2), [(0, Vec::new()), (2, moved), (1, b"first of a".to_vec())]);
    assert_eq!(state.size().0, 4, "three keys, and an element");
}

#[test]
fn what_is_not_known_any_more_is_kept_under_its_id() {
    let mut state = state_of(vec![Some(POINT), Some(POINT)]);
    let slots = resolve(&mut state, &["a"]).slots;
    set(&mut state, slots[0], 0, 1, b"zero");
    set(&mut state, slots[0], 1, 1, b"one");
    state.adopt(&[Some(POINT)], &ids([1]));
    let delivery = resolve(&mut state, &["a"]);
    assert_eq!(delivery.prefetched.len(), 1);
    assert_eq!(delivered(&delivery, 0, 1), [(1, b"one".to_vec())]);
    assert_eq!(state.spec(1), None, "a guest can't name it");
    let mut stored = Vec::new();
    state
        .export(&mut |key, _| {
            stored.push(crate::state::StoredKey::decode(key).expect("it is one").state);
            Ok(())
        })
        .expect("it is written");
    assert_eq!(stored, [0, 1]);
}

#[test]
fn adopting_again_and_again_keeps_what_each_version_wrote() {
    let mut state = state_of(vec![Some(POINT)]);
    let keys: Vec<String> = (0..50).map(|key| format!("key {key}")).collect();
    for round in 0..6_u16 {
        let now: Vec<&str> = keys.iter().skip(usize::from(round) * 5).take(16).map(String::as_str).collect();
        let slots = resolve(&mut state, &now).slots;
        for (key, slot) in now.iter().zip(slots) {
            set(&mut state, slot, u32::from(round), 1, format!("{key} in {round}").as_bytes());
        }
        state.adopt(&vec![Some(POINT); usize::from(round) + 2], &StateIds::default());
    }
    let now: Vec<&str> = keys.iter().skip(10).take(16).map(String::as_str).collect();
    let delivery = resolve(&mut state, &now);
    for round in 0..6_usize {
        for ((_, value), key) in delivered(&delivery, round as u32, 1).iter().zip(&now) {
            let number: usize = key[4..].parse().expect("a number");
            let wrote = (round * 5..round * 5 + 16).contains(&number);
            let expected = if wrote { format!("{key} in {round}") } else { String::new() };
            assert_eq!(String::from_utf8_lossy(value), expected, "{key}, round {round}");
        }
    }
}

#[test]
fn a_changed_time_to_live_applies_at_once() {
    let expiring = |ms| StateSpec { ttl: Some(Ttl { ms, on_read: false }), ..POINT };
    let mut state = state_of(vec![Some(expiring(100))]);
    state.begin(EventTime(0));
    let slots = resolve(&mut state, &["a"]).slots;
    state.write_noted(slots[0], 0, 1, b"value").expect("the slot stands for a key");
    let seen = |state: &mut KeyedState| -> Vec<StoredColumn> {
        resolve(state, &["a"]).expiring.into_iter().map(|(_, column)| column).collect()
    };
    state.adopt(&[Some(expiring(1_000))], &StateIds::default());
    state.begin(EventTime(500));
    assert!(seen(&mut state)[0].versions.is_empty(), "it lives longer now");
    state.adopt(&[Some(expiring(400))], &StateIds::default());
    assert_eq!(seen(&mut state)[0].versions, [0], "and shorter again");
}
