//! Whatever becomes of the files of a checkpoint: a restore, a verification and an export give what was stored, or an error with the name of a file that is not as it was.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use proptest::{
    prelude::{Strategy, any},
    prop_oneof,
    test_runner::{Config, TestRunner},
};
use tempfile::TempDir;
use wasmill::{
    checkpoint::{ObjectStorage, Storage, StorageLocation},
    job::{Outcome, StatePlace, StoredState, verify},
};

use super::{copy, expected, job, run, shown, simulation};
use crate::harness::folder;

/// A job that crashed after some checkpoints: all files, by their paths.
struct Crashed {
    folder: TempDir,
    /// Names below the job's folder.
    files: Vec<String>,
    /// What every state has, as it is exported.
    exports: BTreeMap<String, Vec<Entry>>,
}

/// Task, key, namespace, map key and value.
type Entry = (u32, [Vec<u8>; 4]);

/// What is done to the files. Files and places in them are counted round and round.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, usize, u8),
    Cut(usize, usize),
    Grow(usize, Vec<u8>),
    Swap(usize, usize),
    Remove(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        8 => (any::<usize>(), any::<usize>(), 0..8_u8).prop_map(|(file, at, bit)| Damage::Flip(file, at, bit)),
        3 => (any::<usize>(), any::<usize>()).prop_map(|(file, at)| Damage::Cut(file, at)),
        2 => (any::<usize>(), proptest::collection::vec(any::<u8>(), 1..40)).prop_map(|(file, more)| Damage::Grow(file, more)),
        3 => (any::<usize>(), any::<usize>()).prop_map(|(one, other)| Damage::Swap(one, other)),
        2 => any::<usize>().prop_map(Damage::Remove),
    ]
}

fn job_folder(folder: &Path) -> PathBuf {
    folder.join("storage/every-state")
}

fn crashed() -> &'static Crashed {
    static CRASHED: OnceLock<Crashed> = OnceLock::new();
    CRASHED.get_or_init(|| {
        let folder = folder();
        let location = StorageLocation::Folder(folder.path().join("storage"));
        let storage: Arc<dyn Storage> = Arc::new(ObjectStorage::open(&location, []).expect("a folder can be made"));
        let job = job(folder.path()).set("operator.keep.parallelism", 2);
        for seed in 1..3 {
            let ran = run(&job, folder.path(), seed, simulation(&storage, seed, Some(700))).expect("it starts");
            assert!(ran.fault.is_some_and(|fault| fault.message.contains("crashed")), "it has not come to its end");
        }
        let files = storage.list("every-state").expect("a folder can be listed");
        let files: Vec<_> = files.into_iter().map(|file| file.name["every-state/".len()..].to_owned()).collect();
        for part in ["checkpoints/", "segments/", "plugins/", "attempts/"] {
            assert!(files.iter().filter(|name| name.starts_with(part)).count() > 0, "{files:?}");
        }
        let exports = exports(folder.path()).expect("what is whole can be exported");
        assert!(exports.len() == 8 && exports.values().all(|entries| !entries.is_empty()), "every state has something");
        Crashed { folder, files, exports }
    })
}

/// Everything that the newest checkpoint has.
fn exports(folder: &Path) -> Result<BTreeMap<String, Vec<Entry>>, String> {
    let failed = |error: wasmill::job::StoredStateError| error.to_string();
    let stored = StoredState::open(&job_folder(folder)).map_err(failed)?;
    let mut exports = BTreeMap::new();
    for operator in stored.operators() {
        for state in operator.states {
            let mut entries = stored.entries(operator, state);
            let all: &mut Vec<_> = exports.entry(state.name.clone()).or_default();
            while let Some(entry) = entries.next().map_err(failed)? {
                let parts = [entry.key, entry.namespace, entry.entry, entry.value].map(<[u8]>::to_vec);
                all.push((entry.task, parts));
            }
        }
    }
    Ok(exports)
}

/// Does it, and gives the names of the files that are not as they were.
fn inflict(damage: &Damage, files: &[String], folder: &Path) -> Vec<String> {
    let path = |name: &String| job_folder(folder).join(name);
    let read = |name: &String| fs::read(path(name)).expect("the file is there");
    let write = |name: &String, bytes: &[u8]| fs::write(path(name), bytes).expect("the file can be written");
    match damage {
        Damage::Flip(file, at, bit) => {
            let name = &files[file % files.len()];
            let mut bytes = read(name);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            write(name, &bytes);
            vec![name.clone()]
        }
        Damage::Cut(file, at) => {
            let name = &files[file % files.len()];
            let bytes = read(name);
            write(name, &bytes[..at % bytes.len()]);
            vec![name.clone()]
        }
        Damage::Grow(file, more) => {
            let name = &files[file % files.len()];
            write(name, &[read(name), more.clone()].concat());
            vec![name.clone()]
        }
        Damage::Swap(one, other) => {
            let (one, other) = (&files[one % files.len()], &files[other % files.len()]);
            let bytes = (read(one), read(other));
            write(one, &bytes.1);
            write(other, &bytes.0);
            vec![one.clone(), other.clone()]
        }
        Damage::Remove(file) => {
            let name = &files[file % files.len()];
            fs::remove_file(path(name)).expect("the file can be removed");
            vec![name.clone()]
        }
    }
}

/// What was said names one of the files, or the folder of the checkpoint whose manifest one is.
fn names(said: &str, files: &[String]) -> bool {
    files.iter().any(|file| said.contains(file.strip_suffix("/manifest.json").unwrap_or(file)))
}

fn survives(damage: &Damage) {
    let Crashed { folder: original, files, exports: whole } = crashed();
    let folder = folder();
    copy(original.path(), folder.path());
    let damaged = inflict(damage, files, folder.path());
    let what = format!("{damage:?} of {damaged:?}");

    match exports(folder.path()) {
        // Without its newest manifest, an older checkpoint is the newest one.
        Ok(found) => assert!(
            found == *whole || matches!(damage, Damage::Remove(_)) && damaged[0].ends_with("manifest.json"),
            "{what}: an export is not what was stored"
        ),
        Err(said) => assert!(names(&said, &damaged), "{what}: the export says {said}"),
    }

    let is_whole = match StatePlace::open(&job_folder(folder.path())) {
        Ok(StatePlace::Job(checkpoints)) => {
            let contents = checkpoints.contents().expect("the folder can be read");
            let ids = contents.checkpoints.iter().filter(|found| found.is_restorable()).map(|found| found.id);
            let restorable: Vec<_> = ids.filter_map(|id| checkpoints.checkpoint(id).ok()).collect();
            let (_, lost) = verify(&restorable, &mut |_| {}).expect("the folder can be read");
            for file in &lost {
                assert!(names(&file.error.to_string(), &damaged), "{what}: the verification says {}", file.error);
            }
            lost.is_empty() && restorable.len() == contents.checkpoints.len()
        }
        other => panic!("{what}: {other:?}"),
    };

    let job = job(folder.path())
        .set("operator.keep.parallelism", 2)
        .set("checkpoint.storage", folder.path().join("storage").display());
    let said = match run(&job, folder.path(), 3, None) {
        Err(error) => error.to_string(),
        Ok(ran) => match ran.fault {
            Some(fault) => fault.message,
            None => {
                assert_eq!(ran.report.outcome, Outcome::Done, "{what}");
                assert!(shown(folder.path()) == expected(), "{what}: the run ends with wrong results");
                return;
            }
        },
    };
    // An older checkpoint takes the place of the newest one that is gone, and the results of that one stand in its way.
    if matches!(damage, Damage::Remove(_)) && damaged[0].ends_with("manifest.json") {
        assert!(said.contains("results of checkpoints after"), "{what}: the run says {said}");
        return;
    }
    assert!(!is_whole, "{what}: all is said to be whole, and the run says {said}");
    assert!(names(&said, &damaged), "{what}: the run says {said}");
}

#[test]
fn no_damage_to_a_file_of_a_checkpoint_gives_anything_wrong() {
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner
        .run(&damage(), |damage| {
            survives(&damage);
            Ok(())
        })
        .expect("no damage is mistaken for what was stored");
}

#[test]
fn each_file_is_missed() {
    (0..crashed().files.len()).for_each(|number| survives(&Damage::Remove(number)));
}
