//! A call that fails changes nothing.

use super::*;
use fixture::Call;

/// All that the task holds of a key.
fn all(call: &mut Call<'_>, slot: u32) -> Vec<String> {
    let mut all = Vec::new();
    for namespace in ["", "n"] {
        all.extend(call.get(0, slot, namespace));
        all.extend(call.get(1, slot, namespace));
        all.extend(call.list(2, slot, namespace));
        all.extend(call.map(3, slot, namespace));
    }
    all
}

fn change(call: &mut Call<'_>, slot: u32, value: &str) {
    for namespace in ["", "n"] {
        (0..2).for_each(|state| call.put(state, slot, namespace, value));
        call.append(2, slot, namespace, value);
        call.put_entry(3, slot, namespace, value, value);
        call.put_entry(3, slot, namespace, "common", value);
    }
}

fn states() -> [crate::operator::StateDescriptor; 4] {
    [state(Value).prefetched(), state(Reducing), state(List), state(Map)]
}

pub(super) fn a_call_that_traps_leaves_all_as_it_was(backend: Backend) {
    let mut task = Task::new(backend, states());
    let mut before = Vec::new();
    for round in 0..6_u32 {
        task.call(&["a"], move |call| {
            let a = call.slots[0];
            change(call, a, &format!("round {round}"));
        });
        let now = task.call(&["a"], |call| {
            let a = call.slots[0];
            all(call, a)
        });
        assert_ne!(now, before);
        task.trapping_call(&["b", "a"], move |call| {
            let a = call.slots[1];
            let do_it = |call: &mut Call<'_>, what: u32| match what % 5 {
                0 => change(call, a, "never"),
                1 => drop(all(call, a)),
                2 => (0..4).for_each(|state| ["", "n"].iter().for_each(|namespace| call.clear(state, a, namespace))),
                3 => ["", "n"].iter().for_each(|namespace| {
                    call.remove(0, a, namespace);
                    call.remove_entry(3, a, namespace, "common");
                    call.remove_entry(3, a, namespace, "never");
                }),
                _ => ["x", "y"].iter().for_each(|value| change(call, a, value)),
            };
            // In another order each round.
            (0..8).for_each(|step| do_it(call, step * (round + 1) + round));
        });
        before = task.call(&["a"], |call| {
            let a = call.slots[0];
            all(call, a)
        });
        assert_eq!(before, now, "round {round}");
    }
}

pub(super) fn a_call_that_traps_leaves_what_it_never_met_as_it_was(backend: Backend) {
    let mut task = Task::new(backend, states());
    for key in ["a", "b"] {
        task.call(&[key], move |call| {
            let slot = call.slots[0];
            change(call, slot, key);
        });
    }
    task.trapping_call(&["a", "c"], |call| {
        for slot in call.slots.clone() {
            (0..4).for_each(|state| call.clear(state, slot, "n"));
            change(call, slot, "never");
        }
    });
    let found = task
        .call(&["a", "b", "c"], |call| call.slots.clone().into_iter().map(|slot| all(call, slot)).collect::<Vec<_>>());
    let expected = |key: &str| {
        let of_namespace =
            [key.to_owned(), key.to_owned(), key.to_owned(), format!("{key}={key}"), format!("common={key}")];
        of_namespace.iter().chain(&of_namespace).cloned().collect::<Vec<_>>()
    };
    assert_eq!(found[..2], ["a", "b"].map(expected));
    assert_eq!(found[2], Vec::<String>::new());
}

/// A record that fails again and again with other keys must not fill the memory with places that hold nothing.
pub(super) fn many_calls_that_trap_leave_no_memory_behind(backend: Backend) {
    let mut task = Task::new(backend, states());
    let keys_of = |round: u32| (0..20).map(|number| format!("{round}.{number}")).collect::<Vec<_>>();
    let mut sizes = Vec::new();
    for round in 0..40 {
        task.trapping_call(&keys_of(round), |call| {
            for slot in call.slots.clone() {
                change(call, slot, "never");
                assert!(!all(call, slot).is_empty());
                call.clear(3, slot, "n");
            }
        });
        sizes.push(task.size());
    }
    let (entries, _) = task.size();
    assert_eq!(entries, 0);
    assert!(sizes[39].1 <= sizes[4].1, "bytes of memory: {} and later {}", sizes[4].1, sizes[39].1);
}

/// What a call has loaded is evicted when it fails, too.
pub(super) fn calls_that_trap_do_not_fill_the_memory_with_what_they_read(backend: Backend) {
    let mut task = Task::new(backend, states());
    let keys_of = |round: u32| (0..20).map(|number| format!("{round}.{number}")).collect::<Vec<_>>();
    for round in 0..20 {
        task.call(&keys_of(round), |call| call.slots.clone().into_iter().for_each(|slot| change(call, slot, "some")));
    }
    let (_, before) = task.size();
    for round in 0..20 {
        task.trapping_call(&keys_of(round), |call| {
            call.slots.clone().into_iter().for_each(|slot| assert_eq!(all(call, slot).len(), 10));
        });
        let (_, now) = task.size();
        assert!(now <= before, "bytes of memory: {before} and {now} after {round} calls that failed");
    }
}
