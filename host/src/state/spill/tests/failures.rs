//! What fails is said with its place, at the next call at the latest, and nothing waits for ever.

use std::{fs, io, path::PathBuf};

use super::*;
use crate::background::Work;

/// Entries that fill several blocks of a table.
fn fill(spill: &mut Spill) {
    for number in 0_u32..2_000 {
        let key = number.to_be_bytes();
        spill.push(&key, Some(&key.repeat(20)), Access::Ordered).expect("it takes it");
    }
}

/// The largest table: the others are of fjall's own keyspace.
fn table(fixture: &Fixture) -> PathBuf {
    let keyspaces = fixture.folder.path().join("database/keyspaces");
    let folders = fs::read_dir(keyspaces).expect("fjall's layout").flatten().map(|entry| entry.path().join("tables"));
    let tables = folders.flat_map(fs::read_dir).flat_map(|entries| entries.flatten());
    tables.max_by_key(|table| table.metadata().expect("it is there").len()).expect("a table").path()
}

fn flip_a_byte(table: &PathBuf) {
    let mut bytes = fs::read(table).expect("a table");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(table, bytes).expect("it can be written");
}

#[test]
fn a_folder_with_something_else_in_it_is_refused_and_not_touched() {
    for name in ["thesis.txt", "database"] {
        let fixture = Fixture::new(Inline::at_once());
        let path = fixture.folder.path().join(name);
        fs::create_dir(&path).expect("a folder");
        fs::write(path.join("file"), "years of work").expect("a file");
        let error = fixture.open().err().expect("it is refused");
        assert_eq!(error.problem, SpillProblem::Foreign(name.to_owned()));
        assert!(error.to_string().contains(&fixture.folder.path().display().to_string()));
        assert_eq!(fs::read_to_string(path.join("file")).expect("it is there"), "years of work");
        assert_eq!(fs::read_dir(fixture.folder.path()).expect("a folder").count(), 1, "nothing was added");
    }
}

#[test]
fn a_folder_with_something_beside_an_earlier_spill_is_refused() {
    let fixture = Fixture::new(Inline::at_once());
    drop(fixture.spill());
    fs::write(fixture.folder.path().join("notes"), "mine").expect("a file");
    assert_eq!(fixture.open().err().map(|error| error.problem), Some(SpillProblem::Foreign("notes".to_owned())));
}

#[test]
fn a_folder_has_one_spill_at_a_time_and_is_wiped_for_the_next() {
    let fixture = Fixture::new(Threads::new("spill"));
    let mut first = fixture.spill();
    first.push(b"key", Some(b"value"), Access::Point).expect("it takes it");
    first.flush().expect("it flushes");
    assert_eq!(fixture.open().err().map(|error| error.problem), Some(SpillProblem::InUse));
    assert_eq!(first.get(b"key", &mut Vec::new()), Ok(Found::Value));
    drop(first);
    assert!(!fixture.folder.path().join("database").exists(), "what is of no use is not left behind");
    // As a process leaves it that was killed.
    fs::create_dir_all(fixture.folder.path().join("database/keyspaces/0")).expect("a folder");
    let mut second = fixture.spill();
    assert_eq!(second.get(b"key", &mut Vec::new()), Ok(Found::Absent));
    second.push(b"other", Some(b"value"), Access::Point).expect("it takes it");
    second.flush().expect("it flushes");
    assert_eq!(second.get(b"key", &mut Vec::new()), Ok(Found::Absent));
}

#[test]
fn a_folder_that_can_not_be_made_is_an_error_with_its_path() {
    let fixture = Fixture::new(Inline::at_once());
    let file = fixture.folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let directory = file.join("spill");
    let error = Spill::open(&directory, SpillOptions::default(), Arc::clone(&fixture.background)).err().expect("fails");
    assert!(matches!(error.problem, SpillProblem::Io { during: "making the folder", .. }), "{error}");
    assert_eq!(error.directory, directory);
}

#[test]
fn keys_and_values_that_would_destroy_the_database_do_not_reach_it() {
    let fixture = Fixture::new(Inline::at_once());
    let mut spill = fixture.spill();
    for length in [0, 65_536] {
        let error = spill.push(&vec![1; length], Some(b"value"), Access::Point).expect_err("it is refused");
        assert_eq!(error.problem, SpillProblem::KeyLength(length));
        assert_eq!(error.fault_kind(), crate::stream::FaultKind::HostBug);
    }
    let error = spill.push(b"key", Some(&vec![0; RUN_VALUE_BYTES_MAX + 1]), Access::Point).expect_err("it is refused");
    assert_eq!(error.problem, SpillProblem::ValueLength(RUN_VALUE_BYTES_MAX + 1));
    // It is none the worse for it.
    spill.push(&[1; 65_535], Some(b""), Access::Point).expect("it takes it");
    spill.flush().expect("it flushes");
    assert_eq!(spill.get(&[1; 65_535], &mut Vec::new()), Ok(Found::Value));
    assert_eq!(spill.get(b"", &mut Vec::new()).map_err(|error| error.problem), Err(SpillProblem::KeyLength(0)));
}

/// Every call says the same once something failed.
fn assert_failed(spill: &mut Spill, expected: impl Fn(&SpillProblem) -> bool) {
    let mut failures = vec![
        spill.wait().err(),
        spill.may_push().err(),
        spill.get(b"key", &mut Vec::new()).err(),
        spill.range(b"key", Bound::Unbounded).err(),
        spill.flush().err(),
    ];
    failures.extend(
        (0..1_000).map(|_| spill.push(&[1; 100], Some(&[0; 100]), Access::Point).err()).filter(Option::is_some),
    );
    for failure in failures {
        let failure = failure.expect("a call passed although the spill has failed");
        assert!(expected(&failure.problem), "{failure}");
    }
}

#[test]
fn a_run_that_can_not_be_written_is_told_at_the_next_call() {
    for background in [Arc::new(Inline::at_once()) as Arc<dyn Background>, Arc::new(Threads::new("spill"))] {
        let fixture = Fixture { background, ..Fixture::new(Inline::at_once()) };
        let mut spill = fixture.spill();
        fs::remove_dir_all(fixture.folder.path().join("database/keyspaces")).expect("it was there");
        spill.push(b"key", Some(b"value"), Access::Point).expect("it takes it");
        // With a helper inline the error is here already.
        let _ = spill.flush();
        while spill.failure.is_none() && spill.may_push().is_ok() {
            fixture.background.wait(0, WAIT_SLICE);
        }
        assert_failed(&mut spill, |problem| matches!(problem, SpillProblem::Io { during: "writing a run", .. }));
    }
}

#[test]
fn a_table_that_was_changed_by_others_is_noticed_when_it_is_read() {
    let mut fixture = Fixture::new(Inline::at_once());
    fixture.options.block_cache_bytes = 0;
    let mut spill = fixture.spill();
    fill(&mut spill);
    spill.flush().expect("it flushes");
    flip_a_byte(&table(&fixture));
    let is_corrupt = |error: SpillError| assert!(matches!(error.problem, SpillProblem::Corrupt(_)), "{error}");
    let reads = (0_u32..2_000).filter_map(|number| spill.get(&number.to_be_bytes(), &mut Vec::new()).err());
    let failed: Vec<_> = reads.collect();
    assert!(!failed.is_empty() && failed.len() < 2_000, "{} of 2000 are in the block", failed.len());
    failed.into_iter().for_each(is_corrupt);
    let mut range = spill.range(b"\0", Bound::Unbounded).expect("it opens");
    is_corrupt(loop {
        match range.next() {
            Ok(entry) => assert!(entry.is_some(), "the range passed over the block"),
            Err(error) => break error,
        }
    });
}

#[test]
fn a_compaction_that_fails_is_told() {
    let fixture = Fixture::new(Threads::new("spill"));
    let mut spill = fixture.spill();
    fill(&mut spill);
    spill.flush().expect("it flushes");
    while spill.counters.runs == 0 {
        fixture.background.wait(0, WAIT_SLICE);
        spill.may_push().expect("it is well");
    }
    flip_a_byte(&table(&fixture));
    // Runs that overlap with it will be merged with it.
    for _ in 0..1_000 {
        let key = 1_000_u32.to_be_bytes();
        let pushed = spill.push(&[0], Some(b"value"), Access::Point).and_then(|()| {
            spill.push(&key, Some(b"value"), Access::Point)?;
            spill.push(&[9], Some(b"value"), Access::Point)?;
            spill.flush()
        });
        if pushed.is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_failed(&mut spill, |problem| *problem == SpillProblem::Poisoned);
}

/// A helper that is of no help.
enum Useless {
    NoThread,
    Drops,
    Keeps(std::sync::Mutex<Vec<Work>>),
}

impl Background for Useless {
    fn spawn(&self, work: Work) -> io::Result<()> {
        match self {
            Self::NoThread => return Err(io::Error::other("too many threads")),
            Self::Drops => drop(work),
            Self::Keeps(kept) => kept.lock().expect("not poisoned").push(work),
        }
        Ok(())
    }

    fn ended(&self) -> u64 {
        0
    }

    fn wait(&self, _: u64, _: Duration) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn a_helper_that_is_lost_is_told() {
    for useless in [Useless::NoThread, Useless::Drops] {
        let fixture = Fixture::new(useless);
        let mut spill = fixture.spill();
        spill.push(b"key", Some(b"value"), Access::Point).expect("it takes it");
        spill.flush().expect_err("nobody writes it");
        assert_failed(&mut spill, |problem| matches!(problem, SpillProblem::Lost(_)));
    }
}

#[test]
fn a_helper_that_hangs_is_not_waited_for_without_end() {
    let mut fixture = Fixture::new(Useless::Keeps(Default::default()));
    fixture.options = SpillOptions { run_bytes: 1, stuck_after: Duration::from_secs(1), ..fixture.options };
    let mut spill = fixture.spill();
    while spill.may_push().expect("it is well") {
        spill.push(b"key", Some(b"value"), Access::Point).expect("it takes it");
    }
    let stuck = SpillProblem::Stuck(Duration::from_secs(1));
    assert_eq!(spill.wait().map_err(|error| error.problem), Err(stuck.clone()));
    assert_failed(&mut spill, |problem| *problem == stuck);
}

#[test]
fn errors_of_the_system_say_what_to_do() {
    let full = SpillProblem::io("writing a run", &io::Error::from(io::ErrorKind::StorageFull));
    assert!(matches!(full, SpillProblem::DiskFull(_)));
    let error = SpillError { directory: "spill".into(), problem: full };
    assert_eq!(
        error.to_string(),
        "the spill folder spill is on a disk that is full (no storage space): free some space, or name a folder on another disk as `state.directory`"
    );
    assert_eq!(error.fault_kind(), crate::stream::FaultKind::External);
}
