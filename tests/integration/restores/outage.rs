//! Storages that do not answer: a job that fails meanwhile ends, or begins again when they are back.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use wasmill::{
    checkpoint::{Faults, Faulty, MemoryStorage, Storage, StorageMode},
    job::{Executor, Outcome, RunOptions, Simulation, Start},
    runtime::Control,
};

use super::{check, job};
use crate::harness::folder;

/// Long enough for any machine; without an outage it takes a second.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_job_that_gives_up_on_its_storage_ends_while_that_does_not_answer() {
    let results = folder();
    let faulty = Arc::new(Faulty::new(Arc::new(MemoryStorage::new()), 1, Faults::default(), Box::new(|| {})));
    let job = job(results.path()).sets(&[
        ("restart.strategy", "none"),
        ("checkpoint.timeout", "300ms"),
        ("checkpoint.tolerable-failures", "1"),
    ]);
    let prepared = job.prepare(results.path()).expect("the job is right");
    let (done, ended) = mpsc::channel();
    let storage: Arc<dyn Storage> = Arc::clone(&faulty) as Arc<dyn Storage>;
    thread::spawn(move || {
        let mut said = |line: &str| eprintln!("{line}");
        let ran = prepared.run(RunOptions {
            executor: Executor::Threads,
            start: Start::default(),
            process_start: Instant::now(),
            control: Arc::new(Control::default()),
            progress: &mut |_| {},
            say: &mut said,
            live: wasmill::job::Live::new("job"),
            simulation: Some(Simulation::new(1, storage)),
        });
        // The test may have given up.
        let _ = done.send(ran.map_err(|error| error.to_string()));
    });
    // Once the job runs, nothing answers any more.
    let began = Instant::now();
    while faulty.list("every-state/checkpoints").expect("it works").is_empty() {
        assert!(began.elapsed() < LIMIT, "there is no first checkpoint");
        thread::sleep(Duration::from_millis(5));
    }
    faulty.set_mode(StorageMode::Unreachable);
    let (report, fault) = ended.recv_timeout(LIMIT).expect("the job ends").expect("it has begun");
    assert_eq!(report.outcome, Outcome::Failed);
    let message = fault.expect("it has failed").message;
    assert!(message.contains("checkpoints in a row have failed"), "{message}");
}

#[test]
fn a_job_begins_again_when_a_storage_that_did_not_answer_is_back() {
    let results = folder();
    let faulty = Arc::new(Faulty::new(Arc::new(MemoryStorage::new()), 1, Faults::default(), Box::new(|| {})));
    let job = job(results.path()).sets(&[
        ("restart.strategy", "fixed-delay"),
        ("restart.attempts", "1000"),
        ("restart.delay", "20ms"),
        ("checkpoint.timeout", "200ms"),
        ("checkpoint.tolerable-failures", "0"),
    ]);
    let prepared = job.prepare(results.path()).expect("the job is right");
    let storage: Arc<dyn Storage> = Arc::clone(&faulty) as Arc<dyn Storage>;
    let watcher = thread::spawn(move || {
        while faulty.list("every-state/checkpoints").expect("it works").is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        faulty.set_mode(StorageMode::Unreachable);
        // Time for several attempts that can't even begin.
        thread::sleep(Duration::from_millis(700));
        faulty.set_mode(StorageMode::Working);
    });
    let mut said = Vec::new();
    let (report, fault) = prepared
        .run(RunOptions {
            executor: Executor::Threads,
            start: Start::default(),
            process_start: Instant::now(),
            control: Arc::new(Control::default()),
            progress: &mut |_| {},
            say: &mut |line| said.push(line.to_owned()),
            live: wasmill::job::Live::new("job"),
            simulation: Some(Simulation::new(1, storage)),
        })
        .expect("it begins");
    watcher.join().expect("the storage could be watched");
    assert!(fault.is_none(), "{fault:?}, {said:?}");
    assert_eq!(report.outcome, Outcome::Done);
    assert!(report.restarts > 1, "{said:?}");
    check(results.path(), "after an outage");
}
