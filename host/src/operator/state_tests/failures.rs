//! A disk that fails fails the job, with a text that names the folder and says what to do; it is nobody's poison record, no panic and no hang.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use super::{fixture::Call, *};
use crate::{
    operator::{StageError, StateDescriptor},
    stream::{Fault, FaultKind},
};

fn states() -> Vec<StateDescriptor> {
    vec![state(Value).prefetched().visited(), state(Value), state(List).visited(), state(Map)]
}

/// A task that evicts everything into this folder after each call.
fn task_in(folder: &Path, backend: Backend) -> Task {
    let kept = Arc::new(tempfile::tempdir().expect("a folder"));
    let mut spill = backend.spill(folder).expect("it spills");
    spill.options.block_cache_bytes = 0;
    Task::with_spill(backend, states(), Some(spill), kept, 64)
}

fn keys(round: u32) -> Vec<String> {
    (0..40).map(|number| format!("{number} of {round}")).collect()
}

fn write(call: &mut Call<'_>) {
    for slot in call.slots.clone() {
        (0..2).for_each(|state| call.put(state, slot, "", "some text that does not compress to nothing"));
        call.put(1, slot, "n", "in a namespace");
        call.append(2, slot, "", &format!("element of {slot}"));
        call.put_entry(3, slot, "", "k", &format!("entry of {slot}"));
    }
}

#[track_caller]
fn assert_external(fault: &Fault, folder: &Path, advice: &str) {
    assert_eq!(fault.kind, FaultKind::External, "{fault}");
    let place = format!("operator scripted, task 0: the spill folder {} ", folder.display());
    assert!(fault.message.starts_with(&place) && fault.message.contains(advice), "{fault}");
}

#[test]
fn a_folder_that_can_not_be_made_fails_the_job_at_the_first_eviction() {
    let parent = tempfile::tempdir().expect("a folder");
    let file = parent.path().join("file");
    fs::write(&file, "mine").expect("a file");
    let folder = file.join("task");
    let mut task = task_in(&folder, Backend::Tiny);
    let fault = task.try_call(&["a"], write).expect_err("it can't be evicted");
    assert_external(&fault, &folder, "Check that the folder can be written");
    assert_eq!(fs::read_to_string(file).expect("it is there"), "mine");
}

#[test]
fn a_folder_with_something_else_in_it_fails_the_job() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("thesis.txt"), "mine").expect("a file");
    let fault = task_in(folder.path(), Backend::Tiny).try_call(&["a"], write).expect_err("it can't be evicted");
    assert_external(&fault, folder.path(), "name an empty or a new folder as `state.directory`");
}

#[test]
fn the_second_of_two_tasks_with_one_folder_fails_and_the_first_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = task_in(folder.path(), Backend::Tiny);
    first.call(&keys(0), write);
    let fault = task_in(folder.path(), Backend::Tiny).try_call(&["a"], write).expect_err("it can't be evicted");
    assert_external(&fault, folder.path(), "end that one, or name another folder as `state.directory`");
    let found = first.call(&keys(0), |call| call.get(0, call.slots[0], ""));
    assert!(found.is_some());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Tables of some size.
fn tables(folder: &Path) -> Vec<PathBuf> {
    let is_table = |file: &PathBuf| {
        file.parent().is_some_and(|parent| parent.ends_with("tables"))
            && file.metadata().is_ok_and(|data| data.len() > 2_000)
    };
    let mut tables: Vec<_> = files(&folder.join("database/keyspaces")).into_iter().filter(is_table).collect();
    tables.sort();
    tables
}

/// Spoils every block of every table of the database.
fn spoil(folder: &Path) {
    loop {
        let spoilt = tables(folder);
        assert!(!spoilt.is_empty());
        for table in &spoilt {
            // It may be gone: a compaction replaced it.
            let Ok(mut bytes) = fs::read(table) else { continue };
            // Data blocks are in front; the rest was read when the table was opened.
            let data = bytes.len() / 2;
            bytes[..data].iter_mut().step_by(20).for_each(|byte| *byte = 0xaa);
            fs::write(table, bytes).expect("it can be written");
        }
        // A compaction that has read the tables before writes new ones.
        thread::sleep(Duration::from_millis(200));
        if tables(folder).iter().all(|table| spoilt.contains(table)) {
            return;
        }
    }
}

/// A task of which all state lies in spoilt tables.
fn spoilt(folder: &Path) -> Task {
    let mut task = task_in(folder, Backend::Tiny);
    (0..10).for_each(|round| task.call(&keys(round), write));
    spoil(folder);
    task
}

#[test]
fn a_corrupt_table_fails_the_job_when_a_key_is_looked_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut task = spoilt(folder.path());
    let fault = task.try_call(&keys(1), |_| {}).expect_err("values are delivered");
    assert_external(&fault, folder.path(), "Starting the job again wipes the folder");
}

/// What the guest makes of an error that a function gave it.
#[derive(Clone, Copy, Debug)]
enum Reaction {
    GoesOn,
    Fails,
    Traps,
}

#[test]
fn a_corrupt_table_fails_the_job_when_it_is_read_whatever_the_guest_makes_of_it() {
    let reads: [fn(&mut Call<'_>, u32) -> Option<StageError>; 4] = [
        |call, slot| call.try_get(1, slot, b"n", None).err(),
        |call, slot| call.try_get(3, slot, b"", Some(b"k")).err(),
        |call, slot| call.try_entries(2, slot, b"", 1).err(),
        |call, slot| call.try_entries(3, slot, b"", 1 << 20).err(),
    ];
    let reactions = [Reaction::GoesOn, Reaction::Fails, Reaction::Traps, Reaction::Traps];
    for (read, reaction) in reads.into_iter().zip(reactions) {
        let folder = tempfile::tempdir().expect("a folder");
        // Without a state that is prefetched, so that the call begins.
        let kept = Arc::new(tempfile::tempdir().expect("a folder"));
        let mut spill = Backend::Tiny.spill(folder.path()).expect("it spills");
        spill.options.block_cache_bytes = 0;
        let states = [state(Map), state(Value), state(List), state(Map)];
        let mut task = Task::with_spill(Backend::Tiny, states, Some(spill), kept, 64);
        for round in 0..10 {
            task.call(&keys(round), |call| {
                for slot in call.slots.clone() {
                    call.put(1, slot, "n", "in a namespace");
                    call.append(2, slot, "", &format!("element of {slot}"));
                    call.put_entry(3, slot, "", "k", &format!("entry of {slot}"));
                }
            });
        }
        spoil(folder.path());
        let refused = task.ending_call(&keys(1), move |call| {
            let errors: Vec<_> = call.slots.clone().into_iter().filter_map(|slot| read(call, slot)).collect();
            assert!(errors.iter().all(|error| matches!(error, StageError::State(_))), "{errors:?}");
            match reaction {
                _ if errors.is_empty() => Ok(()),
                Reaction::GoesOn => Ok(()),
                Reaction::Fails => Err(Fault::new(FaultKind::GuestError, errors[0].message())),
                Reaction::Traps => Err(Fault::new(FaultKind::Trap, "unreachable")),
            }
        });
        let fault = refused.expect_err("a table is corrupt");
        assert_external(&fault, folder.path(), "Starting the job again wipes the folder");
    }
}

#[test]
fn a_corrupt_table_fails_the_job_at_the_end_of_the_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let fault = spoilt(folder.path()).end(|_| {}).expect_err("all keys are looked for");
    assert_external(&fault, folder.path(), "Starting the job again wipes the folder");
}

#[test]
fn a_folder_that_vanishes_fails_the_job() {
    for backend in [Backend::Tiny, Backend::TinyThreads] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut task = task_in(folder.path(), backend);
        (0..3).for_each(|round| task.call(&keys(round), write));
        // A compaction may be writing there.
        while fs::remove_dir_all(folder.path().join("database/keyspaces")).is_err() {}
        let fault = (3..1_000).find_map(|round| task.try_call(&keys(round), write).err());
        assert_external(&fault.expect("nothing can be written"), folder.path(), "disk is");
    }
}

/// Set in a process of its own, which may not write large files: the folder of its spill.
const FOLDER_OF_CHILD: &str = "WASMILL_TEST_SPILL_FOLDER";

/// A process that may not write any more bytes is as near to a full disk as a test comes without privileges.
#[test]
fn a_disk_that_takes_no_more_fails_the_job() {
    let name = "operator::state_tests::failures::a_disk_that_takes_no_more_fails_the_job";
    if let Some(folder) = env::var_os(FOLDER_OF_CHILD) {
        return fill_the_disk(Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    // In blocks of 512 bytes. The signal that the system sends beside the error is ignored, as it is not sent when a disk is full.
    for blocks in [0, 100] {
        let mut child = Command::new("sh");
        child.args(["-c", "trap '' XFSZ; ulimit -f $1; shift; exec \"$@\"", "sh", &blocks.to_string()]);
        child.arg(env::current_exe().expect("this test is a file")).args([name, "--exact", "--nocapture"]);
        let output = child.env(FOLDER_OF_CHILD, folder.path()).process_group(0).output().expect("there is a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("External"), "{text}");
        assert!(text.contains("File too large"), "{text}");
    }
}

/// Writes until the disk refuses.
fn fill_the_disk(folder: &Path) {
    let mut task = task_in(folder, Backend::TinyThreads);
    let fault = (0..10_000).find_map(|round| task.try_call(&keys(round), write).err()).expect("the disk has an end");
    println!("{:?}: {fault}", fault.kind);
    assert_external(&fault, folder, "");
}
