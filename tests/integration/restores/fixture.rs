//! A job's folder that an earlier version has written: today's version goes on from it, at any parallelism, and the results are as if nothing had happened.
//!
//! Under `tests/fixtures/checkpoint-format-2/every-state` lies what the job of this module's parent had when it crashed: checkpoints of two tasks with every kind of state, chains of several
//! runs with entries that are gone, and the results that were visible. It is never written again: a new format gets a folder of its own.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use wasmill::{
    checkpoint::{ObjectStorage, Storage, StorageLocation},
    job::Outcome,
};

use super::{copy, expected, run, shown, simulation};
use crate::harness::{Job, assert_same, component, folder, root};

fn fixture() -> PathBuf {
    root().join("tests/fixtures/checkpoint-format-2/every-state")
}

/// The job as it was when the fixture was recorded.
fn recorded_job(results: &Path) -> Job {
    let text = fs::read_to_string(fixture().join("job.toml")).expect("it is there");
    let text = text.replace("PLUGIN", &component("every-state").display().to_string());
    Job::of_text(&text.replace("RESULTS", &results.join("out").display().to_string()))
}

/// The newest manifest below a folder.
fn newest_manifest(folder: &Path) -> (u64, Value) {
    let checkpoints = fs::read_dir(folder.join("storage/every-state/checkpoints")).expect("it has checkpoints");
    let ids = checkpoints.map(|entry| entry.expect("an entry").file_name().to_string_lossy().parse::<u64>());
    let newest = ids.map(|id| id.expect("a number")).max().expect("at least one");
    let path = folder.join(format!("storage/every-state/checkpoints/{newest}/manifest.json"));
    let text = fs::read_to_string(path).expect("it has a manifest");
    (newest, serde_json::from_str(&text).expect("a manifest is JSON"))
}

/// Whether a manifest has what makes the fixture worth keeping: for both tasks several runs; marks of what is gone from the value, the list and the map; of every state something.
fn is_worth_keeping(manifest: &Value) -> bool {
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let (mut states, mut marked, mut has_runs) = (BTreeSet::new(), BTreeSet::new(), true);
    for task in list(&manifest["operators"][0]["tasks"]) {
        let segments = list(&task["segments"]);
        let runs: BTreeSet<_> = segments.iter().map(|segment| segment["run"].as_u64()).collect();
        has_runs &= runs.len() > 2;
        let labels = segments.iter().chain([&task["operator-state"]]).flat_map(|segment| list(&segment["contents"]));
        for label in labels {
            let state = label["state"].as_u64().expect("a number");
            if label["version"] == 0 {
                marked.insert(state)
            } else {
                states.insert(state)
            };
        }
    }
    has_runs && states.len() == 8 && [0, 3, 4].iter().all(|state| marked.contains(state))
}

#[test]
fn what_an_earlier_version_has_written_is_gone_on_from() {
    let golden = fs::read_to_string(root().join("tests/golden/checkpoint-format-2.jsonl")).expect("it is there");
    let golden: Vec<String> = golden.lines().map(str::to_owned).collect();
    let (newest, manifest) = newest_manifest(&fixture());
    assert!(is_worth_keeping(&manifest), "{manifest}");
    for parallelism in [2, 1, 3] {
        let folder = folder();
        copy(&fixture(), folder.path());
        let job = recorded_job(folder.path())
            .set("checkpoint.storage", folder.path().join("storage").display())
            .set("operator.keep.parallelism", parallelism);
        let ran = run(&job, folder.path(), 1, None).unwrap_or_else(|error| panic!("it does not start: {error}"));
        assert!(ran.fault.is_none(), "{:?}", ran.fault);
        assert_eq!(ran.report.outcome, Outcome::Done);
        let from = format!("going on from checkpoint {newest} ");
        assert!(ran.said.iter().any(|line| line.starts_with(&from)), "{:?}", ran.said);
        assert_same(&shown(folder.path()), &golden, &format!("{parallelism} tasks"));
    }
}

#[test]
#[ignore = "writes the fixture and its golden results, once"]
fn record() {
    let crashed = (6..40).find_map(|hundreds| {
        let folder = folder();
        let location = StorageLocation::Folder(folder.path().join("storage"));
        let storage: Arc<dyn Storage> = Arc::new(ObjectStorage::open(&location, []).expect("a folder can be made"));
        let job = recorded_job(folder.path()).set("operator.keep.parallelism", 2);
        let simulation = simulation(&storage, hundreds, Some(100 * hundreds));
        let ran = run(&job, folder.path(), hundreds, simulation).expect("it starts");
        let has_crashed = ran.fault.is_some_and(|fault| fault.message.contains("crashed"));
        (has_crashed && is_worth_keeping(&newest_manifest(folder.path()).1)).then_some(folder)
    });
    let folder = crashed.expect("one run is worth keeping");
    for part in ["storage", "out"] {
        let target = fixture().join(part);
        assert!(!target.exists(), "what was recorded stays");
        copy(&folder.path().join(part), &target);
    }
    let golden = expected().iter().map(|line| format!("{line}\n")).collect::<String>();
    fs::write(root().join("tests/golden/checkpoint-format-2.jsonl"), golden).expect("it can be written");
}
