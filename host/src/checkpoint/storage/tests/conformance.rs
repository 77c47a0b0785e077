//! What every storage does.

use std::{sync::Barrier, thread};

use super::*;

/// Holds an empty storage to the contract, and leaves it empty.
pub(super) fn check(storage: &dyn Storage) {
    absent_files_are_not_found(storage);
    what_was_put_is_read(storage);
    a_file_is_put_once(storage);
    ranges_are_cut_at_the_end(storage);
    lists_go_by_whole_parts(storage);
    one_of_many_puts_succeeds(storage);
    names_are_checked(storage);
}

fn kind<T: Debug>(result: Result<T, StorageError>) -> StorageErrorKind {
    result.expect_err("it must fail").kind
}

fn names(storage: &dyn Storage, prefix: &str) -> Vec<String> {
    storage.list(prefix).expect("it can be listed").into_iter().map(|each| each.name).collect()
}

fn absent_files_are_not_found(storage: &dyn Storage) {
    assert_eq!(kind(storage.get("no/such")), StorageErrorKind::NotFound);
    assert_eq!(kind(storage.size("no/such")), StorageErrorKind::NotFound);
    assert_eq!(kind(storage.get_range("no/such", 0..1)), StorageErrorKind::NotFound);
    storage.delete("no/such").expect("nothing to delete is no error");
    assert_eq!((names(storage, ""), names(storage, "no")), (vec![], vec![]));
    let error = storage.get("no/such").expect_err("it is not there");
    assert_eq!((error.name.as_str(), error.location.as_str()), ("no/such", storage.location("no/such").as_str()));
}

fn what_was_put_is_read(storage: &dyn Storage) {
    let large: Bytes = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect::<Vec<_>>().into();
    for (name, bytes) in [("a/b/large.seg", large), ("empty", Bytes::new()), ("a/one", Bytes::from_static(b"1"))] {
        storage.put_new(name, bytes.clone()).expect("it is new");
        assert!(storage.get(name).expect("it is there") == bytes, "{name}");
        assert_eq!(storage.size(name).expect("it is there"), bytes.len() as u64);
        storage.delete(name).expect("it can be deleted");
        assert_eq!(kind(storage.get(name)), StorageErrorKind::NotFound);
    }
}

fn a_file_is_put_once(storage: &dyn Storage) {
    storage.put_new("attempts/0001", Bytes::from_static(b"first")).expect("it is new");
    assert_eq!(kind(storage.put_new("attempts/0001", Bytes::from_static(b"2"))), StorageErrorKind::AlreadyThere);
    assert_eq!(storage.get("attempts/0001").expect("it is there"), "first");
    storage.delete("attempts/0001").expect("it can be deleted");
    storage.put_new("attempts/0001", Bytes::from_static(b"again")).expect("it is new again");
    assert_eq!(storage.get("attempts/0001").expect("it is there"), "again");
    storage.delete("attempts/0001").expect("it can be deleted");
}

fn ranges_are_cut_at_the_end(storage: &dyn Storage) {
    storage.put_new("ten", Bytes::from_static(b"0123456789")).expect("it is new");
    let range = |range| storage.get_range("ten", range);
    assert_eq!(range(0..10).expect("all"), "0123456789");
    assert_eq!(range(3..5).expect("some"), "34");
    assert_eq!(range(8..100).expect("to the end"), "89");
    assert_eq!(range(4..4).expect("nothing"), "");
    assert_eq!(kind(range(10..11)), StorageErrorKind::Invalid);
    assert_eq!(kind(range(50..60)), StorageErrorKind::Invalid);
    storage.delete("ten").expect("it can be deleted");
}

fn lists_go_by_whole_parts(storage: &dyn Storage) {
    let all = ["a/b/1", "a/b/2", "a/bc/3", "a/d", "e"];
    for name in all.iter().rev() {
        storage.put_new(name, Bytes::from_static(b"four")).expect("it is new");
    }
    assert_eq!(names(storage, ""), all);
    assert_eq!(names(storage, "a"), ["a/b/1", "a/b/2", "a/bc/3", "a/d"]);
    assert_eq!(names(storage, "a/b"), ["a/b/1", "a/b/2"]);
    assert_eq!(names(storage, "a/b/1"), [""; 0]);
    assert!(storage.list("").expect("it can be listed").iter().all(|each| each.bytes == 4));
    all.iter().for_each(|name| storage.delete(name).expect("it can be deleted"));
    assert_eq!(names(storage, ""), [""; 0]);
}

fn one_of_many_puts_succeeds(storage: &dyn Storage) {
    for round in 0..5 {
        let name = format!("race/{round}");
        let start = Barrier::new(4);
        let put = |bytes: &'static [u8]| {
            start.wait();
            storage.put_new(&name, Bytes::from_static(bytes))
        };
        let results = thread::scope(|scope| {
            let threads = [b"0", b"1", b"2", b"3"].map(|bytes| scope.spawn(|| put(bytes)));
            threads.map(|thread| thread.join().expect("it does not panic"))
        });
        let won: Vec<_> = (0..4).filter(|at| results[*at].is_ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert_eq!(storage.get(&name).expect("it is there"), won[0].to_string());
        let lost = results.into_iter().filter_map(Result::err);
        assert!(lost.map(|error| error.kind).all(|kind| kind == StorageErrorKind::AlreadyThere));
        storage.delete(&name).expect("it can be deleted");
    }
}

fn names_are_checked(storage: &dyn Storage) {
    for name in ["", "../up", "a//b", "/etc", "a b"] {
        assert_eq!(kind(storage.put_new(name, Bytes::new())), StorageErrorKind::Invalid, "{name}");
        assert_eq!(kind(storage.get(name)), StorageErrorKind::Invalid, "{name}");
        assert_eq!(kind(storage.delete(name)), StorageErrorKind::Invalid, "{name}");
    }
    assert_eq!(kind(storage.list("../up")), StorageErrorKind::Invalid);
}
