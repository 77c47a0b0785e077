//! `wasmill run --from`: older checkpoints than the latest one, and what stands in the way of going back to them.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Said, say, write_job};
use crate::harness::{assert_same, files, folder, sorted_lines};

/// Half a second of numbers into files, with a checkpoint every tenth of a second.
const NUMBERS: &str = r#"
name = "numbers"

[checkpoint]
interval = "100ms"
retain   = 100

[[source]]
id    = "source"
type  = "datagen"
count = 10000
rate  = 20000

[[sink]]
id     = "sink"
type   = "file"
path   = "results"
inputs = ["source"]
"#;

fn numbers() -> Vec<String> {
    let mut lines: Vec<_> = (0..10_000).map(|number: u32| number.to_string()).collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn assert_all_there_once(folder: &Path) {
    let results = files(&folder.join("results"));
    assert_same(&sorted_lines(results.values().map(Vec::as_slice)), &numbers(), "results");
}

/// The numbers of the checkpoints that there are.
fn checkpoints(folder: &Path) -> BTreeSet<u64> {
    let all = fs::read_dir(folder.join(".wasmill/numbers/checkpoints")).expect("there are checkpoints");
    let number = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("it can be listed").file_name();
        name.to_str().and_then(|name| name.parse().ok()).expect("a checkpoint's folder is its number")
    };
    all.map(number).collect()
}

fn run_from(job: &str, folder: &Path, id: u64, more: &[&str]) -> Said {
    let place = folder.join(format!(".wasmill/numbers/checkpoints/{id}")).display().to_string();
    let args = ["run", job, "--from", &place];
    say(&[&args[..], more].concat())
}

#[test]
fn results_of_later_checkpoints_are_refused_or_made_anew() {
    let folder = folder();
    let job = write_job(folder.path(), NUMBERS);
    say(&["run", &job]).expect(0);
    assert_all_there_once(folder.path());
    let again = say(&["run", &job]);
    again.refused(0, &["has come to the end of its input before", "add --from none"]);
    run_from(&job, folder.path(), 1, &[]).refused(2, &["would come twice", "--discard-results-after 1"]);
    run_from(&job, folder.path(), 1, &["--discard-results-after", "2"])
        .refused(4, &["the run begins from checkpoint 1"]);
    assert_all_there_once(folder.path());
    run_from(&job, folder.path(), 1, &["--discard-results-after", "1"]).expect(0);
    assert_all_there_once(folder.path());
}

/// The other way round, the next run would begin from a checkpoint whose results are gone.
#[test]
fn later_checkpoints_are_removed_before_their_results() {
    let folder = folder();
    let job = write_job(folder.path(), NUMBERS);
    say(&["run", &job]).expect(0);
    // A folder can't be removed as a file is.
    let obstacle = folder.path().join("results/part-99999999-0000-0000.jsonl");
    fs::create_dir(&obstacle).expect("it can be made");
    run_from(&job, folder.path(), 1, &["--discard-results-after", "1"]).refused(2, &["part-99999999-0000-0000.jsonl"]);
    assert_eq!(checkpoints(folder.path()), BTreeSet::from([1]));
    fs::remove_dir(&obstacle).expect("it is there");
    say(&["run", &job, "--discard-results-after", "1"]).expect(0);
    assert_all_there_once(folder.path());
}

#[test]
fn a_number_is_no_place() {
    say(&["run", "job.toml", "--from", "7"]).refused(2, &["give the folder or URL of checkpoint 7"]);
}
