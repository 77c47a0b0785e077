//! The hook `snapshot`: an operator that keeps its lists to itself writes them there, and a fault in it fails the job.

use std::sync::Arc;

use wasmill::{
    checkpoint::{MemoryStorage, Storage},
    job::{Executor, Outcome},
};

use super::{check, job, run, simulation};
use crate::harness::folder;

/// Runs the job with a word of configuration that makes `snapshot` fail. Gives the message, and the lines that were said meanwhile.
fn failing(config: &str) -> (String, Vec<String>) {
    let results = folder();
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let job = job(results.path()).set("operator.keep.config", config).set("operator.keep.parallelism", 2);
    let ran = run(&job, results.path(), 1, simulation(&storage, 1, None)).expect("it starts");
    assert_eq!(ran.report.outcome, Outcome::Failed, "{config}");
    (ran.fault.expect("a failed job has a fault").message, ran.said)
}

#[test]
fn a_fault_in_snapshot_fails_the_job_and_is_not_met_with_another_try_for_ever() {
    for (config, part) in [
        ("{ error-after = 100 }", "no snapshot today"),
        ("{ trap-after = 100 }", "the operator trapped"),
        ("{ emit-after = 100 }", "emit may be called within process"),
        ("{ state-after = 100 }", "may be called within process"),
    ] {
        let (message, said) = failing(config);
        assert!(message.contains(part) && message.contains("in snapshot"), "{config}: {message}");
        assert!(said.iter().any(|line| line.starts_with("not starting again")), "{config}: {said:?}");
        assert!(said.iter().any(|line| line.starts_with("starting again from checkpoint")), "{config}: {said:?}");
    }
}

#[test]
fn what_only_snapshot_writes_is_there_after_a_crash_on_threads() {
    let results = folder();
    let job = job(results.path()).set("checkpoint.storage", results.path().join("storage").display());
    for parallelism in [1, 3] {
        let job = job.clone().set("operator.keep.parallelism", parallelism).on(Executor::Threads);
        let ran = job.run();
        assert!(matches!(ran.report.outcome, Outcome::Done | Outcome::AlreadyDone));
    }
    check(results.path(), "on threads");
}
