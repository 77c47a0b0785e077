//! State of every kind is dealt out to other numbers of tasks, again and again.

use std::sync::Arc;

use wasmill::{
    checkpoint::{MemoryStorage, Storage},
    job::Outcome,
    stream::SplitMix64,
};

use super::{check, job, run, simulation};
use crate::harness::folder;

/// Crashes runs at one parallelism after the other, lets the last one go to its end, and looks at what is there then. Gives how many went on from a checkpoint.
#[track_caller]
fn crash_and_rescale(parallelisms: &[u32], seed: u64, sets: &[(&str, &str)]) -> usize {
    let what = format!("{parallelisms:?}, seed {seed}, {sets:?}");
    let results = folder();
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut random = SplitMix64::new(seed);
    let mut restored = 0;
    for (number, parallelism) in parallelisms.iter().enumerate() {
        let is_last = number + 1 == parallelisms.len();
        let job = job(results.path()).set("operator.keep.parallelism", parallelism).sets(sets);
        let crash_after = (!is_last).then(|| 200 + random.draw() % 1_500);
        let ran = run(&job, results.path(), random.draw(), simulation(&storage, random.draw(), crash_after));
        let ran = ran.unwrap_or_else(|error| panic!("{what}: run {number} does not start: {error}"));
        restored += usize::from(ran.said.iter().any(|line| line.starts_with("going on from checkpoint")));
        match (&ran.fault, ran.report.outcome) {
            (None, Outcome::Done | Outcome::AlreadyDone) => {}
            (Some(fault), _) if fault.message.contains("the process crashed") => {}
            (fault, outcome) => panic!("{what}: run {number}: {outcome:?}, {fault:?}"),
        }
    }
    check(results.path(), &what);
    restored
}

#[test]
fn state_of_every_kind_is_the_same_after_any_number_of_crashes_and_at_any_parallelism() {
    let mut restored = 0;
    for seed in 0..6 {
        for parallelisms in [&[1, 2, 1][..], &[2, 1, 2, 1], &[1, 3, 2, 5], &[4, 3, 4, 3, 1], &[2, 2, 2, 2]] {
            restored += crash_and_rescale(parallelisms, seed, &[]);
        }
    }
    assert!(restored > 60, "only {restored} runs went on from a checkpoint");
}
