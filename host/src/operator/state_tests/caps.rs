//! What is allowed at most, and what is refused.

use super::*;
use crate::{
    operator::{CellColumns, StageError, Strings},
    stream::FaultKind,
};

fn states() -> [crate::operator::StateDescriptor; 3] {
    [state(Value), state(List), state(Map)]
}

pub(super) fn keys_and_values_of_any_allowed_size_are_kept(backend: Backend) {
    let mut task = Task::new(backend, states());
    let keys: Vec<Vec<u8>> = [0, 1, 4_095, 4_096].map(|bytes| vec![b'k'; bytes]).to_vec();
    for value_bytes in [0, 1, 47, 48, 49, 4_000, 70_000] {
        task.call(&keys, move |call| {
            let value = vec![value_bytes as u8; value_bytes];
            for slot in call.slots.clone() {
                for namespace in [&[][..], &[b'n'; 1_024]] {
                    call.try_put(0, slot, namespace, None, Some(&value)).expect("it may be written");
                    call.try_append(1, slot, namespace, &value).expect("it may be written");
                    for map_key in [&[][..], &[b'm'; 4_096]] {
                        call.try_put(2, slot, namespace, Some(map_key), Some(&value)).expect("it may be written");
                    }
                }
            }
        });
        task.call(&keys, move |call| {
            let value = vec![value_bytes as u8; value_bytes];
            for slot in call.slots.clone() {
                for namespace in [&[][..], &[b'n'; 1_024]] {
                    assert_eq!(call.try_get(0, slot, namespace, None).as_ref(), Ok(&Some(value.clone())));
                    let list = call.try_entries(1, slot, namespace, 1_000).expect("it may be read");
                    assert_eq!(list.last().map(|(_, element)| element), Some(&value));
                    let map = call.try_entries(2, slot, namespace, 1_000).expect("it may be read");
                    assert_eq!(map, [(vec![], value.clone()), (vec![b'm'; 4_096], value.clone())]);
                    for map_key in [&[][..], &[b'm'; 4_096]] {
                        let found = call.try_get(2, slot, namespace, Some(map_key));
                        assert_eq!(found.as_ref(), Ok(&Some(value.clone())));
                    }
                }
            }
        });
    }
}

const VALUE_BYTES_MAX: usize = 16 << 20;

fn is_limit(result: Result<impl std::fmt::Debug, StageError>, text: &str) {
    match result {
        Err(StageError::Limit(message)) => assert!(message.contains(text), "{message}"),
        other => panic!("{other:?} where a limit is passed"),
    }
}

pub(super) fn the_largest_value_is_kept_and_a_larger_one_refused(backend: Backend) {
    let mut task = Task::new(backend, states());
    task.call(&["a"], |call| {
        let (a, value) = (call.slots[0], vec![7; VALUE_BYTES_MAX]);
        call.try_put(0, a, b"", None, Some(&value)).expect("it may be written");
        call.try_put(2, a, b"n", Some(b"k"), Some(&value)).expect("it may be written");
        call.try_append(1, a, b"", &value).expect("it may be written");
    });
    task.call(&["a"], |call| {
        let a = call.slots[0];
        let is_whole = |value: &[u8]| value.len() == VALUE_BYTES_MAX && value.iter().all(|byte| *byte == 7);
        assert!(call.try_get(0, a, b"", None).expect("it may be read").is_some_and(|value| is_whole(&value)));
        assert!(call.try_get(2, a, b"n", Some(b"k")).expect("it may be read").is_some_and(|value| is_whole(&value)));
        let page = call.page(1, a, "", None, 1);
        assert!(page.next.is_none() && is_whole(page.values.values.get(0)));
    });
    for kind in 0..4 {
        let refused = task.try_call(&["a"], move |call| {
            let (a, value) = (call.slots[0], vec![7; VALUE_BYTES_MAX + 1]);
            let refused = match kind {
                0 => call.try_put(0, a, b"", None, Some(&value)),
                1 => call.try_put(0, a, b"n", None, Some(&value)),
                2 => call.try_put(2, a, b"", Some(b"k"), Some(&value)),
                _ => call.try_append(1, a, b"", &value),
            };
            is_limit(refused, "16777217 bytes, more than 16777216");
        });
        assert_eq!(refused.expect_err("the call is spoilt").kind, FaultKind::OutputLimit);
    }
}

pub(super) fn namespaces_and_map_keys_above_their_caps_are_refused(backend: Backend) {
    let mut task = Task::new(backend, states());
    let (namespace, map_key) = ([b'n'; 1_025], [b'm'; 4_097]);
    task.call(&["a"], move |call| {
        let a = call.slots[0];
        is_limit(call.try_get(0, a, &namespace, None), "1025 bytes, more than 1024");
        is_limit(call.try_get(2, a, &namespace, Some(b"k")), "1025 bytes, more than 1024");
        is_limit(call.try_get(2, a, b"", Some(&map_key)), "4097 bytes, more than 4096");
        is_limit(call.try_entries(1, a, &namespace, 1), "1025 bytes, more than 1024");
        is_limit(call.slot_of([b'k'; 4_097]), "4097 bytes, more than 4096");
        call.slot_of([b'k'; 4_096]).expect("it may be asked for");
        assert!(matches!(call.exchange.read(2, a, &[], Some(&map_key), 1), Err(StageError::Malformed(_))));
    });
    for kind in 0..5 {
        let refused = task.try_call(&["a"], move |call| {
            let a = call.slots[0];
            let (refused, text) = match kind {
                0 => (call.try_put(0, a, &namespace, None, Some(b"")), "1025 bytes, more than 1024"),
                1 => (call.try_append(1, a, &namespace, b""), "1025 bytes, more than 1024"),
                2 => (call.try_clear(2, a, &namespace), "1025 bytes, more than 1024"),
                3 => (call.try_put(2, a, &namespace, Some(b"k"), None), "1025 bytes, more than 1024"),
                _ => (call.try_put(2, a, b"", Some(&map_key), Some(b"")), "4097 bytes, more than 4096"),
            };
            is_limit(refused, text);
        });
        assert_eq!(refused.expect_err("the call is spoilt").kind, FaultKind::OutputLimit);
    }
}

/// Of everything together: 64 MiB.
pub(super) fn a_call_writes_no_more_than_its_limit(backend: Backend) {
    let mut task = Task::new(backend, states());
    let refused = task.try_call(&["a"], |call| {
        let (a, value) = (call.slots[0], vec![7; 15 << 20]);
        call.try_put(0, a, b"", None, Some(&value)).expect("it may be written");
        call.try_put(0, a, b"n", None, Some(&value)).expect("it may be written");
        call.try_append(1, a, b"", &value).expect("it may be written");
        call.try_put(2, a, b"", Some(b"1"), Some(&value)).expect("it may be written");
        is_limit(call.try_put(2, a, b"", Some(b"2"), Some(&value)), "limits.output");
    });
    assert_eq!(refused.expect_err("the call is spoilt").kind, FaultKind::OutputLimit);
    task.call(&["a"], |call| {
        let a = call.slots[0];
        assert_eq!((call.get(0, a, ""), call.get(0, a, "n")), (None, None));
        assert_eq!((call.list(1, a, "").len(), call.map(2, a, "").len()), (0, 0));
    });
}

fn is_malformed(result: Result<impl std::fmt::Debug, StageError>) {
    assert!(matches!(result, Err(StageError::Malformed(_))), "{result:?} is no refusal");
}

/// Runs a write that has to be refused.
fn refuses(task: &mut Task, write: fn(&mut fixture::Call<'_>, u32) -> Result<(), StageError>) {
    let refused = task.try_call(&["a"], move |call| {
        let a = call.slots[0];
        is_malformed(write(call, a));
    });
    assert_eq!(refused.expect_err("the call is spoilt").kind, FaultKind::MalformedColumns);
}

pub(super) fn functions_refuse_states_of_other_kinds(backend: Backend) {
    let mut task = Task::new(backend, states());
    task.call(&["a"], |call| {
        let a = call.slots[0];
        is_malformed(call.try_get(1, a, b"", None));
        is_malformed(call.try_get(1, a, b"n", Some(b"k")));
        is_malformed(call.try_get(0, a, b"", Some(b"k")));
        is_malformed(call.try_get(2, a, b"", None));
        is_malformed(call.try_get(2, a, b"n", None));
        is_malformed(call.try_entries(0, a, b"", 1));
        is_malformed(call.try_entries(0, a, b"n", 1));
    });
    refuses(&mut task, |call, a| call.try_put(0, a, b"", Some(b"k"), Some(b"v")));
    refuses(&mut task, |call, a| call.try_put(1, a, b"", None, Some(b"v")));
    refuses(&mut task, |call, a| call.try_put(1, a, b"", Some(b"k"), Some(b"v")));
    refuses(&mut task, |call, a| call.try_put(2, a, b"", None, Some(b"v")));
    refuses(&mut task, |call, a| call.try_append(0, a, b"", b"v"));
    refuses(&mut task, |call, a| call.try_append(2, a, b"n", b"v"));
}

pub(super) fn functions_refuse_states_and_slots_that_are_not_there(backend: Backend) {
    let broadcastless = [state(Value), state(List), state(Map), state(crate::operator::StateKind::OperatorList)];
    let mut task = Task::new(backend, broadcastless);
    for (number, slot) in [(3, 0), (4, 0), (u32::MAX, 0), (0, 1), (0, 127), (0, u32::MAX), (1, 1), (2, 1)] {
        task.call(&["a"], move |call| {
            is_malformed(call.try_get(number, slot, b"", None));
            is_malformed(call.try_get(number, slot, b"n", Some(b"k")));
            is_malformed(call.try_entries(number, slot, b"", 1));
            if slot != 0 {
                is_malformed(call.exchange.key_of(slot));
            }
        });
        let writes: [fn(&mut fixture::Call<'_>, u32, u32) -> Result<(), StageError>; 5] = [
            |call, number, slot| call.try_put(number, slot, b"", None, Some(b"v")),
            |call, number, slot| call.try_put(number, slot, b"n", None, Some(b"v")),
            |call, number, slot| call.try_put(number, slot, b"", Some(b"k"), Some(b"v")),
            |call, number, slot| call.try_append(number, slot, b"", b"v"),
            |call, number, slot| call.try_clear(number, slot, b""),
        ];
        for write in writes {
            let refused = task.try_call(&["a"], move |call| is_malformed(write(call, number, slot)));
            assert_eq!(refused.expect_err("the call is spoilt").kind, FaultKind::MalformedColumns);
        }
    }
}

pub(super) fn columns_that_contradict_themselves_are_refused(backend: Backend) {
    let mut task = Task::new(backend, states());
    const NONE: Strings<'static> = Strings { data: &[], ends: &[] };
    const ONE: Strings<'static> = Strings { data: b"x", ends: &[1] };
    let wrong = [
        Strings { data: b"x", ends: &[0] },
        Strings { data: b"x", ends: &[2] },
        Strings { data: b"xy", ends: &[2, 1] },
        Strings { data: b"x", ends: &[u32::MAX, 1] },
        Strings { data: b"xy", ends: &[1, 2, 2] },
    ];
    for strings in wrong {
        let writes: [fn(&mut fixture::Call<'_>, u32, Strings<'static>) -> Result<(), StageError>; 7] = [
            |call, a, wrong| {
                let cells = CellColumns { slots: &[a], ..CellColumns::default() };
                call.exchange.put_cells(0, cells, wrong, &[])
            },
            |call, a, wrong| {
                let cells = CellColumns { slots: &[a], namespaces: ONE, map_keys: NONE };
                call.exchange.put_cells(0, cells, wrong, &[])
            },
            |call, a, wrong| {
                let cells = CellColumns { slots: &[a], namespaces: wrong, map_keys: NONE };
                call.exchange.put_cells(0, cells, ONE, &[])
            },
            |call, a, wrong| {
                let cells = CellColumns { slots: &[a], namespaces: NONE, map_keys: wrong };
                call.exchange.put_cells(2, cells, ONE, &[])
            },
            |call, a, wrong| {
                let cells = CellColumns { slots: &[a], ..CellColumns::default() };
                call.exchange.append_many(1, cells, wrong)
            },
            |call, a, wrong| {
                let cells = CellColumns { slots: &[a], namespaces: wrong, map_keys: NONE };
                call.exchange.clear_many(1, cells)
            },
            |call, a, wrong| {
                let cells = CellColumns { slots: &[a], namespaces: NONE, map_keys: wrong };
                call.exchange.clear_many(2, cells)
            },
        ];
        for write in writes {
            let refused = task.try_call(&["a"], move |call| {
                let a = call.slots[0];
                is_malformed(write(call, a, strings));
            });
            assert_eq!(refused.expect_err("the call is spoilt").kind, FaultKind::MalformedColumns);
        }
        task.call(&["a"], move |call| {
            let a = call.slots[0];
            let in_namespace = CellColumns { slots: &[a], namespaces: strings, map_keys: NONE };
            is_malformed(call.exchange.get_cells(0, in_namespace));
            let at_map_key = CellColumns { slots: &[a], namespaces: NONE, map_keys: strings };
            is_malformed(call.exchange.get_cells(2, at_map_key));
        });
    }
    // Versions: another one, one that clears but has bytes, and too many or few.
    for versions in [&[VERSION + 1][..], &[0], &[VERSION, VERSION]] {
        for namespaces in [NONE, ONE] {
            let refused = task.try_call(&["a"], move |call| {
                let cells = CellColumns { slots: &[call.slots[0]], namespaces, map_keys: NONE };
                is_malformed(call.exchange.put_cells(0, cells, ONE, versions));
            });
            assert_eq!(refused.expect_err("the call is spoilt").kind, FaultKind::MalformedColumns);
        }
    }
}

pub(super) fn a_write_that_was_refused_spoils_the_call_and_a_read_does_not(backend: Backend) {
    let mut task = Task::new(backend, states());
    let refused = task.try_call(&["a"], |call| {
        let a = call.slots[0];
        call.put(0, a, "", "never");
        call.put(0, a, "n", "never");
        is_malformed(call.try_append(0, a, b"", b"v"));
        call.append(1, a, "", "never");
        call.put_entry(2, a, "", "k", "never");
    });
    assert_eq!(refused.expect_err("the call is spoilt").kind, FaultKind::MalformedColumns);
    task.call(&["a"], |call| {
        let a = call.slots[0];
        assert_eq!((call.get(0, a, ""), call.get(0, a, "n")), (None, None));
        assert_eq!((call.list(1, a, "").len(), call.map(2, a, "").len()), (0, 0));
        is_malformed(call.try_entries(0, a, b"", 1));
        call.put(0, a, "", "stays");
    });
    assert_eq!(task.call(&["a"], |call| call.get(0, call.slots[0], "")), Some("stays".to_owned()));
}

pub(super) fn keyed_state_is_out_of_reach_without_keys(backend: Backend) {
    fn is_refused(result: Result<impl std::fmt::Debug, StageError>) {
        assert!(matches!(result, Err(StageError::State(_))), "{result:?} is no refusal");
    }
    let mut task = Task::new(backend, states());
    task.call(&["a"], |call| call.put(0, call.slots[0], "", "stays"));
    task.unkeyed_call(|call| {
        is_refused(call.try_get(0, 0, b"", None));
        is_refused(call.try_get(0, 0, b"n", None));
        is_refused(call.try_get(2, 0, b"", Some(b"k")));
        is_refused(call.try_entries(1, 0, b"", 1));
        is_refused(call.slot_of("a"));
    })
    .expect("reads spoil nothing");
    let writes: [fn(&mut fixture::Call<'_>) -> Result<(), StageError>; 5] = [
        |call| call.try_put(0, 0, b"", None, Some(b"v")),
        |call| call.try_put(0, 0, b"n", None, Some(b"v")),
        |call| call.try_put(2, 0, b"", Some(b"k"), Some(b"v")),
        |call| call.try_append(1, 0, b"", b"v"),
        |call| call.try_clear(0, 0, b""),
    ];
    for write in writes {
        let refused = task.unkeyed_call(move |call| is_refused(write(call)));
        assert_eq!(refused.expect_err("the call is spoilt").kind, FaultKind::MalformedColumns);
    }
    assert_eq!(task.call(&["a"], |call| call.get(0, call.slots[0], "")), Some("stays".to_owned()));
    let visited = task.end(|call| is_refused(call.slot_of("b")));
    assert_eq!(visited, Ok(Vec::new()));
}
