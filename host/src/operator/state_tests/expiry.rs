//! Entries with a time to live.

use super::*;

/// A point state, a list and a map; those of even numbers live on when they are read.
fn states(ms: u64) -> [crate::operator::StateDescriptor; 6] {
    [
        state(Value).expiring_unread(ms),
        state(Value).expiring(ms),
        state(List).expiring_unread(ms),
        state(List).expiring(ms),
        state(Map).expiring_unread(ms),
        state(Map).expiring(ms),
    ]
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(super) fn a_value_expires_when_its_time_has_passed_since_it_was_written(backend: Backend) {
    let mut task = Task::new(backend, states(100));
    let write = |call: &mut fixture::Call<'_>| {
        let a = call.slots[0];
        for namespace in ["", "n"] {
            call.put(1, a, namespace, "v");
            call.append(3, a, namespace, "v");
            call.put_entry(5, a, namespace, "k", "v");
            assert_eq!(call.get(1, a, namespace), some("v"));
        }
    };
    let holds = |call: &mut fixture::Call<'_>, there: bool| {
        let a = call.slots[0];
        for namespace in ["", "n"] {
            assert_eq!(call.get(1, a, namespace), there.then(|| "v".to_owned()));
            assert_eq!(call.list(3, a, namespace), if there { vec!["v"] } else { vec![] });
            assert_eq!(call.entry(5, a, namespace, "k"), there.then(|| "v".to_owned()));
            assert_eq!(call.map(5, a, namespace), if there { vec!["k=v"] } else { vec![] });
        }
    };
    task.call(&["a"], write);
    task.now += 60;
    // Written anew; reading it changes nothing.
    task.call(&["a"], move |call| {
        call.clear(3, call.slots[0], "");
        call.clear(3, call.slots[0], "n");
        write(call);
    });
    for (later, there) in [(0, true), (60, true), (39, true), (1, false), (1, false)] {
        task.now += later;
        task.call(&["a"], move |call| holds(call, there));
    }
}

pub(super) fn reading_a_value_begins_its_time_anew_where_the_state_says_so(backend: Backend) {
    let mut task = Task::new(backend, states(100));
    task.call(&["a"], |call| {
        let a = call.slots[0];
        for namespace in ["", "n"] {
            call.put(0, a, namespace, "v");
            call.append(2, a, namespace, "v");
            call.put_entry(4, a, namespace, "k", "v");
        }
    });
    let holds = |call: &mut fixture::Call<'_>, there: bool| {
        let a = call.slots[0];
        for namespace in ["", "n"] {
            assert_eq!(call.get(0, a, namespace), there.then(|| "v".to_owned()), "in {namespace:?}");
            assert_eq!(call.list(2, a, namespace), if there { vec!["v"] } else { vec![] });
            assert_eq!(call.entry(4, a, namespace, "k"), there.then(|| "v".to_owned()));
        }
    };
    for (later, there) in [(99, true), (99, true), (99, true), (100, false), (0, false)] {
        task.now += later;
        task.call(&["a"], move |call| holds(call, there));
    }
}

/// What comes with a call is as old as the call is, not as the one before.
pub(super) fn a_delivered_value_is_never_older_than_its_time_to_live(backend: Backend) {
    let mut task = Task::new(backend, [state(Value).expiring(100).prefetched(), state(Value).prefetched()]);
    task.call(&["a"], |call| {
        let a = call.slots[0];
        call.put(0, a, "", "v");
        call.put(1, a, "", "w");
    });
    for (later, there) in [(99, true), (1, false), (1, false)] {
        task.now += later;
        task.call(&["a"], move |call| {
            let a = call.slots[0];
            assert_eq!(call.delivered(0, a), there.then(|| b"v".to_vec()));
            assert_eq!(call.get(0, a, ""), there.then(|| "v".to_owned()));
            assert_eq!(call.delivered(1, a), Some(b"w".to_vec()));
        });
    }
}

pub(super) fn values_that_expire_are_delivered_in_every_call(backend: Backend) {
    let kinds = [Value, Reducing, Aggregating];
    let states = kinds.into_iter().flat_map(|kind| [state(kind).expiring(100).prefetched(), state(kind).prefetched()]);
    let mut task = Task::new(backend, states);
    for round in 0..4_u32 {
        task.call(&["a", "b", "a", "a"], move |call| {
            let (a, b) = (call.slots[0], call.slots[1]);
            let before = (round > 0).then(|| (round - 1).to_string());
            for state in 0..6 {
                assert_eq!(call.delivered(state, a), before.clone().map(String::into_bytes), "state {state}");
                assert_eq!(call.delivered(state, b), None);
                call.put(state, a, "", &round.to_string());
            }
        });
    }
    // A new instance is told, too.
    task.trapping_call(&["a"], |call| call.put(0, call.slots[0], "", "never"));
    task.call(&["b", "a"], |call| {
        let a = call.slots[1];
        assert!((0..6).all(|state| call.delivered(state, a) == Some(b"3".to_vec())));
    });
}

pub(super) fn each_entry_of_a_map_has_its_own_time(backend: Backend) {
    let mut task = Task::new(backend, states(100));
    for key in ["a", "b", "c", "d"] {
        task.call(&["x"], move |call| {
            let x = call.slots[0];
            call.put_entry(4, x, "", key, "1");
            call.put_entry(5, x, "", key, "1");
            // The first one is read in every call, one by one.
            assert_eq!(call.entry(4, x, "", "a"), some("1"));
            assert_eq!(call.entry(5, x, "", "a"), some("1"));
        });
        task.now += 30;
    }
    // a, b, c and d are 120, 90, 60 and 30 old.
    task.call(&["x"], |call| {
        let x = call.slots[0];
        assert_eq!(call.map(5, x, ""), ["b=1", "c=1", "d=1"]);
        assert_eq!(call.page(4, x, "", None, 0).rests.len(), 1);
    });
    task.now += 30;
    task.call(&["x"], |call| {
        let x = call.slots[0];
        assert_eq!(call.map(5, x, ""), ["c=1", "d=1"]);
        assert_eq!(call.map(4, x, ""), ["a=1", "c=1", "d=1"]);
    });
    task.now += 99;
    task.call(&["x"], |call| {
        let x = call.slots[0];
        assert_eq!(call.map(5, x, ""), Vec::<String>::new());
        assert_eq!(call.map(4, x, ""), ["a=1", "c=1", "d=1"]);
    });
}

pub(super) fn each_element_of_a_list_has_its_own_time(backend: Backend) {
    let mut task = Task::new(backend, states(100));
    for element in ["1", "2", "3", "4"] {
        task.call(&["x"], move |call| {
            let x = call.slots[0];
            call.append(2, x, "n", element);
            call.append(3, x, "n", element);
        });
        task.now += 30;
    }
    task.call(&["x"], |call| {
        let x = call.slots[0];
        assert_eq!(
            (call.list(3, x, "n"), call.list(2, x, "n")),
            (vec!["2".into(), "3".into(), "4".into()], vec!["2".into(), "3".into(), "4".into()])
        );
    });
    task.now += 60;
    task.call(&["x"], |call| {
        let x = call.slots[0];
        assert_eq!(call.list(3, x, "n"), ["4"]);
        call.append(2, x, "n", "5");
        assert_eq!(call.list(2, x, "n"), ["2", "3", "4", "5"]);
    });
}

pub(super) fn a_read_that_is_taken_back_refreshes_nothing(backend: Backend) {
    let mut task = Task::new(backend, states(100));
    task.call(&["a"], |call| {
        let a = call.slots[0];
        for namespace in ["", "n"] {
            call.put(0, a, namespace, "v");
            call.append(2, a, namespace, "v");
            call.put_entry(4, a, namespace, "k", "v");
        }
    });
    task.now += 50;
    task.trapping_call(&["a"], |call| {
        let a = call.slots[0];
        for namespace in ["", "n"] {
            assert_eq!(call.get(0, a, namespace), some("v"));
            assert_eq!((call.list(2, a, namespace).len(), call.map(4, a, namespace).len()), (1, 1));
        }
    });
    task.now += 50;
    task.call(&["a"], |call| {
        let a = call.slots[0];
        for namespace in ["", "n"] {
            assert_eq!(call.get(0, a, namespace), None);
            assert_eq!((call.list(2, a, namespace).len(), call.map(4, a, namespace).len()), (0, 0));
        }
    });
}

pub(super) fn what_has_expired_is_dropped_unread(backend: Backend) {
    let mut task = Task::new(backend, states(100));
    let keys: Vec<String> = (0..60).map(|number| format!("key {number}")).collect();
    for _ in 0..3 {
        task.call(&keys, |call| {
            for slot in call.slots.clone() {
                for namespace in ["", "n"] {
                    (0..2).for_each(|state| call.put(state, slot, namespace, "some text that takes some room"));
                    (2..4).for_each(|state| call.append(state, slot, namespace, "some text that takes some room"));
                    (4..6).for_each(|state| {
                        call.put_entry(state, slot, namespace, "k", "some text that takes some room")
                    });
                }
            }
        });
    }
    let full = task.size();
    task.now += 100;
    for _ in 0..50 {
        task.call(&["another"], |call| assert_eq!(call.slots.len(), 1));
    }
    let (entries, bytes) = task.size();
    // Keys stay while the guest knows their slots.
    assert!(entries <= keys.len() + 1, "{entries} entries of {} are left", full.0);
    if !backend.keeps_nothing() {
        assert!(bytes < full.1 / 2, "{bytes} bytes of {} are left", full.1);
    }
    // A new guest knows none.
    task.trapping_call(&["another"], |_| {});
    for _ in 0..50 {
        task.call(&["another"], |_| {});
    }
    assert!(task.size().0 <= 1, "{} entries are left", task.size().0);
}

pub(super) fn what_has_expired_can_be_written_anew(backend: Backend) {
    let mut task = Task::new(backend, states(100));
    for round in 0..6 {
        task.call(&["a"], move |call| {
            let (a, value) = (call.slots[0], round.to_string());
            for namespace in ["", "n"] {
                (0..2).for_each(|state| {
                    assert_eq!(call.get(state, a, namespace), None);
                    call.put(state, a, namespace, &value);
                });
                (2..4).for_each(|state| call.append(state, a, namespace, &value));
                (4..6).for_each(|state| {
                    assert_eq!(call.entry(state, a, namespace, "k"), None);
                    call.put_entry(state, a, namespace, &format!("k{}", round % 2), &value);
                });
            }
        });
        task.call(&["a"], move |call| {
            let (a, value) = (call.slots[0], round.to_string());
            for namespace in ["", "n"] {
                (0..2).for_each(|state| assert_eq!(call.get(state, a, namespace), some(&value)));
                (2..4).for_each(|state| assert_eq!(call.list(state, a, namespace), [&*value]));
                (4..6).for_each(|state| assert_eq!(call.map(state, a, namespace), [format!("k{}={value}", round % 2)]));
            }
        });
        task.now += 100;
    }
}
