//! The storage with faults fails as it was told to, the same way for the same seed.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use super::*;

fn faulty(seed: u64, faults: Faults) -> (Faulty, Arc<MemoryStorage>) {
    let storage = Arc::new(MemoryStorage::new());
    (Faulty::new(Arc::clone(&storage) as Arc<dyn Storage>, seed, faults, Box::new(|| ())), storage)
}

/// Puts many files; gives which of them were said to be there.
fn put_many(storage: &Faulty) -> BTreeSet<String> {
    let put = |number: u32| {
        let name = format!("file-{number}");
        storage.put_new(&name, Bytes::from(name.clone())).is_ok().then_some(name)
    };
    (0..200).filter_map(put).collect()
}

#[test]
fn a_seed_repeats_its_faults() {
    let faults = Faults { failing: 200, unanswered: 200, torn: 100, delayed: 0 };
    let run = |seed| {
        let (storage, behind) = faulty(seed, faults);
        let said = put_many(&storage);
        storage.crash().expect("memory does not fail");
        (said, behind.list("").expect("memory does not fail"))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_crash_keeps_what_was_promised_and_tosses_a_coin_for_the_rest() {
    let (storage, behind) = faulty(3, Faults { failing: 100, unanswered: 300, ..Faults::default() });
    let said = put_many(&storage);
    let names = |behind: &MemoryStorage| -> BTreeSet<String> {
        behind.list("").expect("memory does not fail").into_iter().map(|each| each.name).collect()
    };
    let before = names(&behind);
    storage.crash().expect("memory does not fail");
    let after = names(&behind);
    assert!(said.is_subset(&after));
    assert!(after.len() < before.len() && after.len() > said.len(), "{} {} {}", said.len(), after.len(), before.len());
    // A delete may have come to nothing.
    storage.set_faults(Faults::default());
    after.iter().for_each(|name| storage.delete(name).expect("no faults"));
    assert_eq!(names(&behind).len(), 0);
    storage.crash().expect("memory does not fail");
    let back = names(&behind).len();
    assert!(0 < back && back < after.len());
}

#[test]
fn whoever_saw_a_file_was_promised_it() {
    let (storage, behind) = faulty(5, Faults { unanswered: 1_000, ..Faults::default() });
    for number in 0..20 {
        let name = format!("file-{number}");
        assert!(storage.put_new(&name, Bytes::from_static(b"1")).is_err());
    }
    storage.set_faults(Faults::default());
    for number in 0..20 {
        put_same(&storage, &format!("file-{number}"), Bytes::from_static(b"1")).expect("it is there");
    }
    storage.crash().expect("memory does not fail");
    assert_eq!(behind.list("").expect("memory does not fail").len(), 20);
}

#[test]
fn torn_files_are_beginnings_of_what_was_put() {
    let (storage, behind) = faulty(7, Faults { torn: 1_000, ..Faults::default() });
    assert!(put_many(&storage).is_empty());
    let listed = behind.list("").expect("memory does not fail");
    assert_eq!(listed.len(), 200);
    for each in &listed {
        assert!(each.name.as_bytes().starts_with(&behind.get(&each.name).expect("it is there")));
    }
    assert!(listed.iter().any(|each| each.bytes == 0) && listed.iter().any(|each| each.bytes > 5));
}

#[test]
fn modes_refuse_what_they_should() {
    let (storage, _) = faulty(1, Faults::default());
    storage.put_new("a", Bytes::from_static(b"1")).expect("it is new");
    let kinds = |mode| {
        storage.set_mode(mode);
        let put = storage.put_new("b", Bytes::new()).expect_err("it is refused").kind;
        (put, storage.get("a").map_err(|error| error.kind), storage.delete("a").map_err(|error| error.kind))
    };
    let one = || Ok(Bytes::from_static(b"1"));
    assert_eq!(kinds(Mode::ReadOnly), (StorageErrorKind::Refused, one(), Err(StorageErrorKind::Refused)));
    let gone = StorageErrorKind::Unavailable;
    assert_eq!(kinds(Mode::Unreachable), (gone, Err(gone), Err(gone)));
    assert_eq!(kinds(Mode::Full), (StorageErrorKind::Full, one(), Ok(())));
}

#[test]
fn a_run_can_be_stopped_at_every_call() {
    for calls in 0..5 {
        let (storage, behind) = faulty(1, Faults::default());
        storage.stop_after(calls);
        assert_eq!(put_many(&storage).len() as u64, calls);
        assert_eq!((behind.list("").expect("memory does not fail").len() as u64, storage.calls()), (calls, 200));
    }
}

#[test]
fn delays_are_calls_of_what_was_given() {
    let delays = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&delays);
    let delay = Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let faults = Faults { delayed: 500, ..Faults::default() };
    let storage = Faulty::new(Arc::new(MemoryStorage::new()), 9, faults, delay);
    assert_eq!(put_many(&storage).len(), 200);
    assert!((60..140).contains(&delays.load(Ordering::Relaxed)));
}
