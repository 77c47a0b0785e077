//! The end of the input visits keys.

use super::*;
use crate::operator::StateDescriptor;

/// Keys with numbers of equal width, so that their order is that of the numbers.
fn keys(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("{number:05}")).collect()
}

/// Writes something to a state for each of these keys: 0: a value, 1: one in a namespace, 2: an element, 3: one in a namespace, 4: a map entry, 5: one in a namespace.
fn fill(task: &mut Task, state: u32, what: u32, keys: &[String]) {
    for part in keys.chunks(60) {
        task.call(part, move |call| {
            for slot in call.slots.clone() {
                let namespace = ["", "n"][what as usize % 2];
                match what / 2 {
                    0 => call.put(state, slot, namespace, "v"),
                    1 => call.append(state, slot, namespace, "v"),
                    _ => ["k", "l", ""].into_iter().for_each(|key| call.put_entry(state, slot, namespace, key, "v")),
                }
            }
        });
    }
}

fn state_for(what: u32) -> StateDescriptor {
    state([Value, List, Map][what as usize / 2])
}

pub(super) fn every_key_with_an_entry_is_visited_once(backend: Backend) {
    for what in 0..6 {
        let mut task = Task::new(backend, [state_for(what).visited(), state(Value).prefetched()]);
        let keys = keys(0..400);
        fill(&mut task, 0, what, &keys);
        // Some have more than one, also in another place.
        fill(&mut task, 0, what, &keys[..100]);
        fill(&mut task, 0, what ^ 1, &keys[50..150]);
        assert_eq!(task.visited(), keys, "{what}");
        let mut empty = Task::new(backend, [state_for(what).visited()]);
        empty.call(&["a"], |_| {});
        assert_eq!(empty.visited(), Vec::<String>::new());
    }
}

pub(super) fn keys_of_several_states_are_visited_once(backend: Backend) {
    let mut task = Task::new(backend, (0..6).map(|what| state_for(what).visited()));
    let all = keys(0..700);
    for what in 0..6_u32 {
        // Neighbours share half of their keys.
        let from = what as usize * 100;
        fill(&mut task, what, what, &all[from..from + 200]);
    }
    assert_eq!(task.visited(), all);
}

pub(super) fn states_that_do_not_ask_are_not_visited(backend: Backend) {
    for asks in 0..6 {
        let refine = |what| if what == asks { state_for(what).visited() } else { state_for(what) };
        let mut task = Task::new(backend, (0..6).map(refine));
        let all = keys(0..120);
        for what in 0..6_u32 {
            fill(&mut task, what, what, &all[what as usize * 10..what as usize * 10 + 20]);
        }
        let from = asks as usize * 10;
        assert_eq!(task.visited(), all[from..from + 20], "{asks}");
    }
    let mut task = Task::new(backend, (0..6).map(state_for));
    (0..6).for_each(|what| fill(&mut task, what, what, &keys(0..5)));
    assert_eq!(task.visited(), Vec::<String>::new());
}

pub(super) fn keys_that_were_cleared_are_not_visited(backend: Backend) {
    for what in 0..6_u32 {
        let mut task = Task::new(backend, [state_for(what).visited()]);
        let all = keys(0..200);
        fill(&mut task, 0, what, &all);
        let namespace = ["", "n"][what as usize % 2];
        for part in all[..150].chunks(50) {
            task.call(part, move |call| {
                for slot in call.slots.clone() {
                    if what >= 4 && slot % 3 == 0 {
                        ["k", "l", ""].iter().for_each(|key| call.remove_entry(0, slot, namespace, key));
                    } else {
                        call.clear(0, slot, namespace);
                    }
                }
            });
        }
        task.trapping_call(&all[150..], move |call| {
            call.slots.clone().into_iter().for_each(|slot| call.clear(0, slot, namespace));
        });
        fill(&mut task, 0, what, &all[..10]);
        assert_eq!(task.visited(), [&all[..10], &all[150..]].concat(), "{what}");
    }
}

pub(super) fn keys_that_have_expired_are_not_visited(backend: Backend) {
    for what in 0..6 {
        let mut task = Task::new(backend, [state_for(what).visited().expiring(100), state(Value)]);
        let all = keys(0..100);
        fill(&mut task, 0, what, &all[..60]);
        task.now += 50;
        fill(&mut task, 0, what, &all[40..]);
        task.now += 50;
        assert_eq!(task.visited(), all[40..], "{what}");
    }
}

pub(super) fn many_keys_that_have_expired_are_not_visited(backend: Backend) {
    for what in [0, 5] {
        let mut task = Task::new(backend, [state_for(what).visited().expiring(100)]);
        let all = keys(0..3_000);
        fill(&mut task, 0, what, &all);
        // A new instance knows none of them.
        task.trapping_call(&["another"], |_| {});
        task.now += 100;
        fill(&mut task, 0, what, &all[1_000..1_010]);
        assert_eq!(task.visited(), all[1_000..1_010], "{what}");
    }
}

pub(super) fn visits_may_write_and_clear(backend: Backend) {
    for what in 0..6_u32 {
        let states = [state_for(what).visited(), state(Map).visited(), state(Value).visited().prefetched()];
        let mut task = Task::new(backend, states);
        let all = keys(0..300);
        fill(&mut task, 0, what, &all);
        let namespace = ["", "n"][what as usize % 2];
        let visited = task.end(move |call| {
            for slot in call.slots.clone() {
                match slot % 4 {
                    0 => call.clear(0, slot, namespace),
                    1 => {
                        call.put_entry(1, slot, "", "k", "v");
                        call.put_entry(1, slot, "m", "k", "v");
                    }
                    2 => call.put(2, slot, "", "v"),
                    _ => {
                        call.put(2, slot, "n", "v");
                        call.clear(0, slot, namespace);
                        call.put(2, slot, "", "v");
                    }
                }
            }
        });
        let mut visited = visited.expect("the end is visited");
        visited.sort();
        assert!(visited.iter().map(Vec::as_slice).eq(all.iter().map(String::as_bytes)), "{what}");
        // What the visits wrote is there.
        let found = task.call(&all[..60], move |call| {
            let has = |call: &mut fixture::Call<'_>, slot| {
                let first = match what / 2 {
                    0 => call.get(0, slot, namespace).is_some(),
                    _ => !call.exchange.read(0, slot, namespace.as_bytes(), None, 1).expect("ok").rests.is_empty(),
                };
                let second = call.entry(1, slot, "m", "k").is_some();
                let third = (call.get(2, slot, "n").is_some(), call.get(2, slot, "").is_some());
                (first, second, third)
            };
            call.slots.clone().into_iter().map(|slot| has(call, slot)).collect::<Vec<_>>()
        });
        let possible = [
            (false, false, (false, false)),
            (true, true, (false, false)),
            (true, false, (false, true)),
            (false, false, (true, true)),
        ];
        assert!(
            found.iter().all(|one| possible.contains(one)) && possible.iter().all(|one| found.contains(one)),
            "{found:?}"
        );
    }
}

/// What the visits write is evicted while they go on.
pub(super) fn visits_that_need_memory_visit_every_key_once(backend: Backend) {
    let mut task = Task::new(backend, [state(Value).visited().prefetched(), state(Map)]);
    let all = keys(0..2_000);
    fill(&mut task, 0, 0, &all);
    let visited = task.end(|call| {
        for slot in call.slots.clone() {
            let old = call.delivered(0, slot).expect("it has one");
            assert_eq!(old, b"v");
            call.put(0, slot, "", &"long ".repeat(100));
            call.put_entry(1, slot, "", "k", &"long ".repeat(20));
        }
    });
    let mut visited = visited.expect("the end is visited");
    visited.sort();
    assert!(visited.iter().map(Vec::as_slice).eq(all.iter().map(String::as_bytes)));
}

/// The keys of one group and state do not fit into one look at the disk.
pub(super) fn tens_of_thousands_of_keys_are_visited_once(backend: Backend) {
    let mut task = Task::with_records(backend, [state(Value).visited(), state(Map).visited()], 1_000);
    let all = keys(0..12_000);
    for part in all.chunks(1_000) {
        task.call(part, |call| {
            for slot in call.slots.clone() {
                match slot % 3 {
                    0 => call.put(0, slot, "n", "v"),
                    1 => call.put_entry(1, slot, "", "k", "v"),
                    _ => {
                        call.put(0, slot, "", "v");
                        call.put_entry(1, slot, "n", "k", "v");
                    }
                }
            }
        });
    }
    assert!(task.visited() == all);
}
