//! Lists and maps.

use super::*;
use crate::operator::{CellColumns, Strings};

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

pub(super) fn a_list_keeps_its_order_over_calls(backend: Backend) {
    let mut task = Task::new(backend, [state(List), state(List)]);
    for number in 0..120_u32 {
        task.call(&["a", "b"], move |call| {
            for slot in call.slots.clone() {
                call.append(0, slot, "", &number.to_string());
                call.append(0, slot, "", "between");
                if number % 3 == 0 {
                    call.append(1, slot, "n", &number.to_string());
                }
            }
        });
        if number % 10 == 5 {
            task.trapping_call(&["a"], |call| {
                let a = call.slots[0];
                call.append(0, a, "", "never");
            });
        }
    }
    task.call(&["b", "a"], |call| {
        for slot in call.slots.clone() {
            let expected: Vec<_> = (0..120).flat_map(|number| [number.to_string(), "between".to_owned()]).collect();
            assert_eq!(call.list(0, slot, ""), expected);
            let thirds: Vec<_> = (0..120).step_by(3).map(|number| number.to_string()).collect();
            assert_eq!(call.list(1, slot, "n"), thirds);
            assert_eq!(call.list(1, slot, ""), texts([]));
        }
    });
}

/// Map keys in their order, of all lengths, with ones that are the beginning of others.
fn map_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0xff], vec![0xff; 40], b"k".repeat(100)];
    keys.extend((0..300_u16).map(|number| number.to_be_bytes().to_vec()));
    keys.extend((0..50_u8).map(|number| vec![7; usize::from(number)]));
    keys.sort();
    keys.dedup();
    keys
}

pub(super) fn a_map_is_in_the_order_of_its_keys(backend: Backend) {
    let mut task = Task::new(backend, [state(Map)]);
    let keys = map_keys();
    for start in 0..4 {
        let part: Vec<_> = keys.iter().rev().skip(start).step_by(4).cloned().collect();
        task.call(&["a"], move |call| {
            let a = call.slots[0];
            for key in &part {
                call.try_put(0, a, b"", Some(key), Some(key)).expect("it may be written");
            }
        });
    }
    task.call(&["a"], move |call| {
        let a = call.slots[0];
        let expected: Vec<_> = keys.iter().map(|key| (key.clone(), key.clone())).collect();
        assert_eq!(call.try_entries(0, a, b"", u32::MAX), Ok(expected));
        for key in keys.iter().step_by(5) {
            assert_eq!(call.try_get(0, a, b"", Some(key)).as_ref(), Ok(&Some(key.clone())));
        }
    });
}

pub(super) fn pages_of_any_size_give_all_entries(backend: Backend) {
    let mut task = Task::new(backend, [state(Map), state(List)]);
    let keys = map_keys();
    // Over several calls, so that some lie on the disk and some not.
    for part in keys.chunks(100) {
        let part = part.to_vec();
        task.call(&["a"], move |call| {
            let a = call.slots[0];
            for key in &part {
                call.try_put(0, a, b"n", Some(key), Some(key)).expect("it may be written");
                call.try_append(1, a, b"n", key).expect("it may be written");
            }
        });
    }
    task.call(&["a"], move |call| {
        let a = call.slots[0];
        call.try_put(0, a, b"n", Some(&keys[17]), None).expect("it may be written");
        call.try_put(0, a, b"n", Some(&keys[40]), Some(b"")).expect("it may be written");
        let mut map: Vec<_> = keys.iter().map(|key| (key.clone(), key.clone())).collect();
        map[40].1.clear();
        map.remove(17);
        for bytes in [0, 1, 30, 100, 5_000, u32::MAX] {
            assert_eq!(call.try_entries(0, a, b"n", bytes).as_ref(), Ok(&map), "pages of {bytes} bytes");
            let list = call.try_entries(1, a, b"n", bytes).expect("it may be read");
            assert_eq!(list.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), keys);
        }
        let page = call.page(0, a, "n", None, 100);
        assert!(page.rests.bytes() + page.values.values.bytes() <= 100 && page.next.is_some());
        assert_eq!(call.page(0, a, "n", None, 0).rests.len(), 1);
    });
}

pub(super) fn what_was_cleared_is_gone_and_can_be_filled_again(backend: Backend) {
    let mut task = Task::new(backend, [state(Map), state(List)]);
    let fill = |round: u32| {
        move |call: &mut fixture::Call<'_>| {
            let a = call.slots[0];
            for number in 0..round {
                call.put_entry(0, a, "", &format!("{round}.{number}"), "old");
                call.append(1, a, "", &format!("{round}.{number}"));
            }
            call.clear(0, a, "");
            call.clear(1, a, "");
            assert_eq!((call.map(0, a, ""), call.list(1, a, "")), (vec![], vec![]));
            assert_eq!(call.entry(0, a, "", "1.0"), None);
            call.put_entry(0, a, "", "x", &round.to_string());
            call.append(1, a, "", &round.to_string());
            assert_eq!(call.map(0, a, ""), [format!("x={round}")]);
            assert_eq!(call.list(1, a, ""), [round.to_string()]);
        }
    };
    let holds = |round: u32| {
        move |call: &mut fixture::Call<'_>| {
            let a = call.slots[0];
            assert_eq!(call.entry(0, a, "", "1.0"), None);
            assert_eq!(call.map(0, a, ""), [format!("x={round}")]);
            assert_eq!(call.list(1, a, ""), [round.to_string()]);
        }
    };
    for round in 0..5 {
        task.call(&["a"], fill(round));
        task.call(&["a"], holds(round));
        task.trapping_call(&["a"], fill(round + 1));
        task.call(&["a"], holds(round));
    }
}

pub(super) fn a_large_map_is_cleared_at_once(backend: Backend) {
    let mut task = Task::new(backend, [state(Map), state(List)]);
    for part in 0..5_u32 {
        task.call(&["a", "b"], move |call| {
            for slot in call.slots.clone() {
                for number in part * 300..(part + 1) * 300 {
                    let key = format!("{number:05}");
                    call.put_entry(0, slot, "", &key, &key);
                    call.append(1, slot, "", &key);
                }
            }
        });
    }
    task.call(&["a"], |call| {
        let a = call.slots[0];
        call.clear(0, a, "");
        call.clear(1, a, "");
        call.put_entry(0, a, "", "00700", "new");
        call.append(1, a, "", "new");
    });
    task.call(&["a", "b"], |call| {
        let (a, b) = (call.slots[0], call.slots[1]);
        assert_eq!((call.map(0, a, ""), call.list(1, a, "")), (texts(["00700=new"]), texts(["new"])));
        assert_eq!((call.map(0, b, "").len(), call.list(1, b, "").len()), (1_500, 1_500));
    });
}

/// A page says where the next one begins: at a map key. What is written before it in the meantime is not seen any more, what is written behind it is, and what was removed does
/// not come.
pub(super) fn a_map_that_changes_is_read_on_from_where_it_was(backend: Backend) {
    let mut task = Task::new(backend, [state(Map)]);
    task.call(&["a"], |call| {
        let a = call.slots[0];
        "bdfhj".split("").filter(|key| !key.is_empty()).for_each(|key| call.put_entry(0, a, "", key, "1"));
    });
    task.call(&["a"], |call| {
        let a = call.slots[0];
        let page = call.page(0, a, "", None, 0);
        assert_eq!((page.rests.get(0), page.next.as_deref()), (&b"b"[..], Some(&b"d"[..])));
        // Where it goes on is not there any more.
        for (key, value) in [("a", "2"), ("b", "2"), ("c", "2"), ("e", "2"), ("f", "2"), ("k", "2")] {
            call.put_entry(0, a, "", key, value);
        }
        call.remove_entry(0, a, "", "d");
        call.remove_entry(0, a, "", "h");
        let page = call.page(0, a, "", page.next.as_deref(), 1_000);
        let rest: Vec<_> = page.rests.iter().zip(page.values.values.iter()).collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"e", b"2"), (b"f", b"2"), (b"j", b"1"), (b"k", b"2")];
        assert_eq!((rest, page.next), (expected.to_vec(), None));
        // A map that was cleared has no next page.
        call.clear(0, a, "");
        let page = call.page(0, a, "", Some(b"e"), 1_000);
        assert_eq!((page.rests.len(), page.next), (0, None));
    });
}

/// Elements that are appended while a list is read are read, too.
pub(super) fn a_list_that_changes_is_read_on_from_where_it_was(backend: Backend) {
    let mut task = Task::new(backend, [state(List)]);
    task.call(&["a"], |call| {
        let a = call.slots[0];
        ["1", "2", "3"].into_iter().for_each(|element| call.append(0, a, "", element));
    });
    task.call(&["a"], |call| {
        let a = call.slots[0];
        let first = call.page(0, a, "", None, 0);
        assert_eq!(first.values.values.iter().collect::<Vec<_>>(), [b"1"]);
        call.append(0, a, "", "4");
        let rest = call.page(0, a, "", first.next.as_deref(), 1_000);
        assert_eq!(rest.values.values.iter().collect::<Vec<_>>(), [b"2", b"3", b"4"]);
        // Places of elements that were cleared are not given to new ones.
        call.clear(0, a, "");
        call.append(0, a, "", "5");
        let rest = call.page(0, a, "", first.next.as_deref(), 1_000);
        assert_eq!((rest.values.values.iter().collect::<Vec<_>>(), rest.next), (vec![&b"5"[..]], None));
    });
}

pub(super) fn bulk_functions_do_what_single_ones_do(backend: Backend) {
    let mut task = Task::new(backend, [state(Map), state(List)]);
    task.call(&["a", "b"], |call| {
        let (a, b) = (call.slots[0], call.slots[1]);
        let slots = [a, b, a, b];
        let namespaces = Strings { data: b"nnmm", ends: &[1, 2, 3, 4] };
        let map_keys = Strings { data: b"xy", ends: &[1, 1, 2, 2] };
        let values = Strings { data: b"1234", ends: &[1, 2, 3, 4] };
        let cells = CellColumns { slots: &slots, namespaces, map_keys };
        call.exchange.put_cells(0, cells, values, &[]).expect("it fits");
        let lists = CellColumns { map_keys: Strings::default(), ..cells };
        call.exchange.append_many(1, lists, values).expect("it fits");
        call.exchange.append_many(1, lists, values).expect("it fits");
    });
    task.call(&["a", "b"], |call| {
        let (a, b) = (call.slots[0], call.slots[1]);
        assert_eq!((call.map(0, a, "n"), call.map(0, b, "n")), (texts(["x=1"]), texts(["=2"])));
        assert_eq!((call.map(0, a, "m"), call.map(0, b, "m")), (texts(["y=3"]), texts(["=4"])));
        assert_eq!((call.list(1, a, "n"), call.list(1, b, "m")), (texts(["1", "1"]), texts(["4", "4"])));
        assert_eq!(call.map(0, a, ""), texts([]));
        let slots = [a, b];
        let namespaces = Strings { data: b"nm", ends: &[1, 2] };
        let cells = CellColumns { slots: &slots, namespaces, ..CellColumns::default() };
        (0..2).for_each(|state| call.exchange.clear_many(state, cells).expect("it fits"));
        // Nothing at all is also something that can be asked for.
        let nothing = CellColumns::default();
        call.exchange.put_cells(0, nothing, Strings::default(), &[]).expect("it fits");
        call.exchange.append_many(1, nothing, Strings::default()).expect("it fits");
        call.exchange.clear_many(1, nothing).expect("it fits");
        assert_eq!(call.exchange.get_cells(0, nothing).expect("it fits").values.len(), 0);
    });
    task.call(&["a", "b"], |call| {
        let (a, b) = (call.slots[0], call.slots[1]);
        assert_eq!((call.map(0, a, "n"), call.map(0, b, "n")), (texts([]), texts(["=2"])));
        assert_eq!((call.map(0, a, "m"), call.map(0, b, "m")), (texts(["y=3"]), texts([])));
        assert_eq!((call.list(1, a, "n"), call.list(1, a, "m")), (texts([]), texts(["3", "3"])));
    });
}
