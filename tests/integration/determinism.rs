//! The same seed gives the same run, byte by byte.

use std::collections::BTreeMap;

use wasmill::job::Executor;

use crate::harness::{Job, texts};

fn results(job: &Job, sink: &str, seed: u64) -> BTreeMap<String, Vec<u8>> {
    let files = job.clone().into_files(sink).on(Executor::Seeded(seed)).run().files(sink);
    assert!(!files.is_empty() && files.keys().all(|name| name.starts_with("part-")), "{:?}", files.keys());
    files
}

fn check(job: &Job, sink: &str) {
    let runs: Vec<_> = (0..4).map(|seed| results(job, sink, seed)).collect();
    for (seed, first) in runs.iter().enumerate() {
        assert!(
            *first == results(job, sink, seed as u64),
            "{} differs from run to run with seed {seed}",
            job.describe()
        );
    }
    assert!(runs.iter().any(|run| *run != runs[0]), "{}: the seed decides nothing", job.describe());
}

#[test]
fn word_count_is_the_same_with_the_same_seed() {
    let job = Job::of_plugin("word-count").set("source.lines.path", texts().display());
    check(&job.set("parallelism", 2).set("batch.records", 5), "counts");
}

#[test]
fn keyed_sum_is_the_same_with_the_same_seed() {
    let job = Job::of_plugin("keyed-sum").sets(&[
        ("source.numbers.count", "20000"),
        ("source.numbers.keys", "50"),
        ("parallelism", "2"),
    ]);
    check(&job.set("operator.sum.config.emit-every", 7), "sums");
}

#[test]
fn jobs_whose_state_is_on_disk_are_the_same_with_the_same_seed() {
    let job = Job::of_plugin("running-list").sets(&[
        ("source.readings.count", "5000"),
        ("source.readings.parallelism", "2"),
        ("parallelism", "2"),
        ("batch.records", "20"),
        ("state.cache", "1B"),
    ]);
    check(&job, "lists");
}

#[test]
fn a_job_with_faults_is_the_same_with_the_same_seed() {
    let job = Job::of_plugin("misbehaving").sets(&[
        ("source.numbers.count", "5000"),
        ("parallelism", "2"),
        ("batch.records", "50"),
    ]);
    check(&job, "counts");
}

#[test]
fn a_source_with_a_rate_runs_in_simulated_time() {
    // A hundred seconds of input.
    let job = Job::of_plugin("keyed-sum").sets(&[
        ("source.numbers.count", "2000"),
        ("source.numbers.rate", "20"),
        ("parallelism", "2"),
    ]);
    let began = std::time::Instant::now();
    results(&job, "sums", 1);
    assert!(began.elapsed().as_secs() < 50, "{:?}", began.elapsed());
}
