//! A job that goes on from a checkpoint with another parallelism.

use std::collections::BTreeMap;

use super::{say, write_job};
use crate::{
    harness::{assert_same, files, folder, sorted_lines},
    reference,
};

const COUNT: u64 = 10_000;
const KEYS: u64 = 10;

/// Half a second of numbers, summed by key; the sums come at the end.
const SUMS: &str = r#"
name = "sums"

[checkpoint]
interval = "100ms"
retain   = 100

[[source]]
id    = "numbers"
type  = "datagen"
count = 10000
keys  = 10
rate  = 20000

[[operator]]
id     = "sum"
plugin = { crate = "PLUGINS/keyed-sum" }
inputs = [{ from = "numbers", partitioning = "hash" }]
config = { emit-every = 1000000, final = true }

[[sink]]
id     = "results"
type   = "file"
path   = "results"
inputs = ["sum"]
"#;

fn sums() -> Vec<String> {
    let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (key, value) in reference::numbers(COUNT, KEYS) {
        let (sum, updates) = sums.entry(key).or_default();
        *sum += value;
        *updates += 1;
    }
    let line = |(key, (sum, updates))| format!(r#"{{"key":{key},"sum":{sum},"updates":{updates}}}"#);
    let mut lines: Vec<_> = sums.into_iter().map(line).collect();
    lines.sort_unstable();
    lines
}

/// A segment that was written before both changes has keys of both tasks between them; of none of them what it says may count again at the end.
#[test]
fn state_that_was_split_comes_together_again() {
    let folder = folder();
    let job = write_job(folder.path(), SUMS);
    say(&["run", &job]).expect(0);
    // Each time from a checkpoint in the middle: the first one that the run before has made.
    for (id, parallelism) in [(1, 2), (2, 1), (3, 3), (4, 2)] {
        let place = folder.path().join(format!(".wasmill/sums/checkpoints/{id}")).display().to_string();
        let (id, parallelism) = (id.to_string(), format!("operator.sum.parallelism={parallelism}"));
        let args = ["run", &job, "--from", &place, "--discard-results-after", &id, "--set", &parallelism];
        say(&args).expect(0);
        let results = files(&folder.path().join("results"));
        assert_same(&sorted_lines(results.values().map(Vec::as_slice)), &sums(), &format!("sums from {id}"));
    }
}
