//! Value, reducing and aggregating states.

use super::*;

/// Every kind of point state, prefetched and not.
fn states() -> Vec<crate::operator::StateDescriptor> {
    let kinds = [Value, Reducing, Aggregating].map(state);
    let prefetched = [Value, Reducing, Aggregating].map(|kind| state(kind).prefetched());
    kinds.into_iter().chain(prefetched).collect()
}

const STATES: std::ops::Range<u32> = 0..6;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(super) fn absence_is_no_error(backend: Backend) {
    let mut task = Task::new(backend, states().into_iter().chain([state(List), state(Map)]));
    for _ in 0..2 {
        task.call(&["a"], |call| {
            let a = call.slots[0];
            for (state, namespace) in STATES.flat_map(|state| [(state, ""), (state, "n")]) {
                assert_eq!(call.get(state, a, namespace), None);
                call.remove(state, a, namespace);
                call.clear(state, a, namespace);
                assert_eq!(call.get(state, a, namespace), None);
            }
            for namespace in ["", "n"] {
                assert_eq!(call.entry(7, a, namespace, "k"), None);
                call.remove_entry(7, a, namespace, "k");
                call.clear(7, a, namespace);
                assert_eq!(call.map(7, a, namespace), Vec::<String>::new());
                call.clear(6, a, namespace);
                assert_eq!(call.list(6, a, namespace), Vec::<String>::new());
            }
        });
    }
}

pub(super) fn a_call_sees_its_own_writes_and_later_calls_see_them_too(backend: Backend) {
    let mut task = Task::new(backend, states());
    for (before, after) in [("", "1"), ("1", "22"), ("22", "three and more than fits a small value"), ("", "4")] {
        task.call(&["a", "b", "a"], move |call| {
            let (a, b) = (call.slots[0], call.slots[1]);
            assert_eq!(call.slots[2], a);
            for (state, namespace) in STATES.flat_map(|state| [(state, ""), (state, "n")]) {
                if !before.is_empty() {
                    assert_eq!(call.get(state, a, namespace), some(before), "state {state} in {namespace:?}");
                }
                call.put(state, a, namespace, "soon gone");
                assert_eq!(call.get(state, a, namespace), some("soon gone"));
                call.remove(state, a, namespace);
                assert_eq!(call.get(state, a, namespace), None);
                call.put(state, a, namespace, after);
                assert_eq!(call.get(state, a, namespace), some(after));
                assert_eq!(call.get(state, b, namespace), None);
            }
        });
    }
    task.call(&["a"], |call| {
        let a = call.slots[0];
        for state in STATES {
            call.clear(state, a, "");
            assert_eq!((call.get(state, a, ""), call.get(state, a, "n")), (None, some("4")));
            call.clear(state, a, "n");
        }
    });
    task.call(&["a"], |call| {
        let a = call.slots[0];
        assert!(STATES.into_iter().all(|state| call.get(state, a, "").is_none() && call.get(state, a, "n").is_none()));
    });
}

pub(super) fn namespaces_are_apart(backend: Backend) {
    let mut task = Task::new(backend, [state(Value), state(List), state(Map)]);
    // Some are the beginning of others, and some hold what separates fields elsewhere.
    const NAMESPACES: [&str; 6] = ["", "a", "ab", "a\0", "\0", "\0\0\0\u{1}"];
    task.call(&["x"], |call| {
        let x = call.slots[0];
        for (number, namespace) in NAMESPACES.iter().enumerate() {
            call.put(0, x, namespace, &number.to_string());
            call.append(1, x, namespace, &number.to_string());
            call.put_entry(2, x, namespace, "k", &number.to_string());
        }
    });
    for (cleared, to_clear) in NAMESPACES.into_iter().enumerate() {
        task.call(&["x"], move |call| {
            let x = call.slots[0];
            for (number, namespace) in NAMESPACES.iter().enumerate() {
                let (value, gone) = (number.to_string(), number < cleared);
                assert_eq!(call.get(0, x, namespace), (!gone).then(|| value.clone()));
                assert_eq!(call.list(1, x, namespace), if gone { vec![] } else { vec![value.clone()] });
                assert_eq!(call.map(2, x, namespace), if gone { vec![] } else { vec![format!("k={value}")] });
            }
            (0..3).for_each(|state| call.clear(state, x, to_clear));
        });
    }
}

pub(super) fn one_put_may_name_a_cell_twice_and_mix_namespaces(backend: Backend) {
    use crate::operator::{CellColumns, Strings};
    let mut task = Task::new(backend, [state(Value).prefetched(), state(Map)]);
    task.call(&["a", "b"], |call| {
        let (a, b) = (call.slots[0], call.slots[1]);
        let slots = [a, b, a, a, b];
        let namespaces = Strings { data: b"nn", ends: &[0, 1, 1, 2, 2] };
        let cells = CellColumns { slots: &slots, namespaces, ..CellColumns::default() };
        let values = Strings { data: b"1234", ends: &[1, 2, 3, 4, 4] };
        call.exchange.put_cells(0, cells, values, &[VERSION, VERSION, VERSION, VERSION, 0]).expect("it fits");
        let column = call.exchange.get_cells(0, cells).expect("it fits");
        assert_eq!(column.values.iter().collect::<Vec<_>>(), [&b"3"[..], b"2", b"3", b"4", b""]);
        assert_eq!(column.versions, [VERSION, VERSION, VERSION, VERSION, 0]);

        let map_keys = Strings { data: b"kk", ends: &[0, 1, 1, 1, 2] };
        let cells = CellColumns { map_keys, ..cells };
        call.exchange.put_cells(1, cells, values, &[VERSION; 5]).expect("it fits");
        let column = call.exchange.get_cells(1, cells).expect("it fits");
        assert_eq!(column.values.iter().collect::<Vec<_>>(), [&b"3"[..], b"2", b"3", b"4", b""]);
        call.put(0, a, "", "3");
    });
    task.call(&["b", "a"], |call| {
        let (b, a) = (call.slots[0], call.slots[1]);
        assert_eq!((call.get(0, a, ""), call.get(0, a, "n")), (some("3"), some("4")));
        assert_eq!((call.get(0, b, ""), call.get(0, b, "n")), (None, some("2")));
        assert_eq!((call.map(1, a, ""), call.map(1, a, "n")), (vec!["=3".to_owned()], vec!["=4".to_owned()]));
        assert_eq!((call.map(1, b, ""), call.map(1, b, "n")), (vec!["k=".to_owned()], vec!["k=2".to_owned()]));
    });
}

pub(super) fn states_and_keys_are_apart(backend: Backend) {
    let mut task = Task::new(backend, states().into_iter().chain([state(List), state(Map)]));
    const KEYS: [&str; 5] = ["", "k", "kk", "k\0", "\0\u{1}k"];
    task.call(&KEYS, |call| {
        for (number, slot) in call.slots.clone().into_iter().enumerate() {
            for state in STATES {
                call.put(state, slot, "", &format!("{state} of {number}"));
                call.put(state, slot, "n", &format!("{state} of {number} in n"));
            }
            call.append(6, slot, "", &format!("6 of {number}"));
            call.put_entry(7, slot, "", "", &format!("7 of {number}"));
        }
    });
    task.call(&KEYS, |call| {
        for (number, slot) in call.slots.clone().into_iter().enumerate() {
            for state in STATES {
                assert_eq!(call.get(state, slot, ""), Some(format!("{state} of {number}")));
                assert_eq!(call.get(state, slot, "n"), Some(format!("{state} of {number} in n")));
            }
            assert_eq!(call.list(6, slot, ""), [format!("6 of {number}")]);
            assert_eq!(call.map(7, slot, ""), [format!("=7 of {number}")]);
        }
    });
}

pub(super) fn a_prefetched_value_comes_once_and_with_each_new_instance(backend: Backend) {
    let mut task = Task::new(backend, [state(Value).prefetched(), state(Reducing), state(Aggregating).prefetched()]);
    task.call(&["a"], |call| {
        let a = call.slots[0];
        assert_eq!((call.delivered(0, a), call.delivered(2, a)), (None, None));
        call.put(0, a, "", "1");
        call.put(1, a, "", "2");
        call.put(2, a, "", "3");
    });
    for _ in 0..2 {
        task.call(&["b", "a"], |call| {
            let a = call.slots[1];
            assert_eq!(call.delivered(0, a), Some(b"1".to_vec()));
            assert_eq!(call.get(1, a, ""), some("2"));
            assert_eq!(call.delivered(2, a), Some(b"3".to_vec()));
        });
        task.trapping_call(&["a"], |call| {
            let a = call.slots[0];
            call.put(0, a, "", "never");
        });
    }
}

pub(super) fn another_key_of_the_task_can_be_addressed(backend: Backend) {
    let mut task = Task::new(backend, [state(Value).prefetched(), state(Map)]);
    task.call(&["a"], |call| {
        let b = call.slot_of("b").expect("there is room");
        assert_eq!(call.slot_of("b"), Ok(b));
        assert_eq!(call.slot_of("a"), Ok(call.slots[0]));
        assert_eq!(call.exchange.key_of(b).as_deref(), Ok(&b"b"[..]));
        call.put(0, b, "", "1");
        call.put_entry(1, b, "n", "k", "2");
        assert_eq!(call.get(0, b, ""), some("1"));
    });
    task.trapping_call(&["a"], |call| {
        let c = call.slot_of("c").expect("there is room");
        call.put(0, c, "", "never");
        let b = call.slot_of("b").expect("there is room");
        call.put(0, b, "", "never");
        call.remove_entry(1, b, "n", "k");
    });
    task.call(&["c", "b"], |call| {
        let (c, b) = (call.slots[0], call.slots[1]);
        assert_eq!((call.get(0, c, ""), call.get(0, b, "")), (None, some("1")));
        assert_eq!(call.entry(1, b, "n", "k"), some("2"));
    });
    task.call(&["a"], |call| {
        let new = (0..2_000).map_while(|number| call.slot_of(format!("many {number}")).ok()).count();
        assert!((64..2_000).contains(&new), "a call may have {new} more slots");
    });
}

/// More keys than there are slots, when they come again in another order.
pub(super) fn a_key_that_comes_after_many_others_has_its_state(backend: Backend) {
    let mut task = Task::new(backend, [state(Value).prefetched(), state(Value), state(Map)]);
    let keys: Vec<String> = (0..1_000).map(|number| format!("key {number}")).collect();
    for part in keys.chunks(60) {
        let of = part.to_vec();
        task.call(part, move |call| {
            for (slot, key) in call.slots.clone().into_iter().zip(&of) {
                (0..2).for_each(|state| call.put(state, slot, "", key));
                call.put_entry(2, slot, "", key, key);
            }
        });
    }
    for stride in [7, 11] {
        let picked: Vec<String> = (0..keys.len()).map(|at| keys[at * stride % keys.len()].clone()).collect();
        for part in picked.chunks(50) {
            let of = part.to_vec();
            task.call(part, move |call| {
                for (slot, key) in call.slots.clone().into_iter().zip(&of) {
                    assert_eq!(call.delivered(0, slot).as_deref(), Some(key.as_bytes()));
                    assert_eq!(call.get(1, slot, "").as_ref(), Some(key));
                    assert_eq!(call.map(2, slot, ""), [format!("{key}={key}")]);
                }
            });
        }
    }
}
