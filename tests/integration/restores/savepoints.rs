//! Savepoints: taken while the job runs or when it is stopped, moved, and gone on from on another backend, at another parallelism, with another storage of checkpoints.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Instant};

use wasmill::{
    checkpoint::{MemoryStorage, Storage},
    job::{
        Claim, Drain, DropState, Executor, Happening, JobError, JobState, Landmark, Live, Moment, Outcome, Request,
        RunOptions, SavepointRequest, Simulation, Start, StartFrom, StopRequest,
    },
    runtime::Control,
    stream::CheckpointId,
};

use super::{Ran, check, job, shown};
use crate::harness::{Job, folder};

fn run(job: &Job, results: &Path, start: Start, simulation: Simulation) -> Result<Ran, JobError> {
    let prepared = job.prepare(results)?;
    let (mut said, live) = (Vec::new(), Live::new("every-state"));
    let (report, fault) = prepared.run(RunOptions {
        executor: Executor::Seeded(simulation.seed),
        start,
        process_start: Instant::now(),
        control: Arc::new(Control::default()),
        progress: &mut |_| {},
        say: &mut |line| said.push(line.to_owned()),
        live: Arc::clone(&live),
        simulation: Some(simulation),
    })?;
    assert_eq!(live.status().state, JobState::Ended);
    Ok(Ran { report, fault, said })
}

fn at(place: &Path) -> SavepointRequest {
    SavepointRequest { place: Some(place.display().to_string()) }
}

/// A run in which something is asked when so many checkpoints are complete, and a bit later.
fn asking(
    storage: &Arc<dyn Storage>,
    seed: u64,
    steps: u64,
    request: impl Fn() -> Request + Send + Sync + 'static,
) -> Simulation {
    let mut simulation = Simulation::new(seed, Arc::clone(storage));
    let moment = Moment { after: Landmark::Completed(3), steps };
    simulation.happenings.push((moment, Happening::Ask(Arc::new(request))));
    simulation
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

fn from(place: &Path) -> Start {
    Start { from: StartFrom::Place(place.to_owned()), ..Start::default() }
}

/// Stops the job with a savepoint in this place.
#[track_caller]
fn stop(results: &Path, place: &Path, seed: u64, drain: Drain, sets: &[(&str, &str)]) {
    let savepoint = at(place);
    let request = move || Request::Stop(StopRequest { drain, savepoint: savepoint.clone() });
    let job = job(results).sets(sets);
    let ran = run(&job, results, Start::default(), asking(&memory(), seed, 40, request)).expect("it starts");
    assert_eq!((ran.report.outcome, ran.fault.is_none()), (Outcome::Stopped, true));
}

#[test]
fn a_job_that_was_stopped_goes_on_from_its_savepoint_wherever_that_is_and_however_it_is_run() {
    let memory_then = [("state.backend", "memory")];
    let disk = [("state.backend", "fjall"), ("state.cache", "1B"), ("operator.keep.parallelism", "3")];
    let (one, two): (&[(&str, &str)], &[(&str, &str)]) = (&memory_then, &disk);
    for (seed, drain, before, after) in
        [(1, Drain::No, one, two), (2, Drain::No, two, one), (3, Drain::Yes, one, one), (4, Drain::No, two, two)]
    {
        let (results, places) = (folder(), folder());
        let (place, moved) = (places.path().join("here"), places.path().join("there"));
        stop(results.path(), &place, seed, drain, before);
        assert!(shown(results.path()).len() > 50, "what was processed is visible");
        fs::rename(&place, &moved).expect("it can be moved");
        let job = job(results.path()).sets(after);
        let ran = run(&job, results.path(), from(&moved), Simulation::new(seed, memory())).expect("it starts");
        assert_eq!(ran.report.outcome, Outcome::Done, "{:?}", ran.fault);
        check(results.path(), &format!("seed {seed}"));
        assert!(moved.join("manifest.json").is_file(), "nobody has claimed it");
    }
}

#[test]
fn a_savepoint_of_a_job_that_runs_on_can_be_gone_on_from_later() {
    let (results, places) = (folder(), folder());
    let (place, storage) = (places.path().join("here"), memory());
    let savepoint = at(&place);
    let ask = asking(&storage, 5, 10, move || Request::Savepoint(savepoint.clone()));
    let ran = run(&job(results.path()), results.path(), Start::default(), ask).expect("it starts");
    assert_eq!(ran.report.outcome, Outcome::Done);
    check(results.path(), "the job itself");
    // Results of after the savepoint stand in the way, until they are given up.
    let refused = run(&job(results.path()), results.path(), from(&place), Simulation::new(6, memory()));
    let refused = refused.err().expect("results are in the way").to_string();
    assert!(refused.contains("--discard-results-after"), "{refused}");
    let wasmill::job::StatePlace::Checkpoint(stored) = wasmill::job::StatePlace::open(&place).expect("a savepoint")
    else {
        panic!("it is a checkpoint that lies alone");
    };
    let id: CheckpointId = stored.manifest().id;
    let start = Start { discard_results_after: Some(id), ..from(&place) };
    let ran = run(&job(results.path()), results.path(), start, Simulation::new(6, memory())).expect("it starts");
    assert_eq!(ran.report.outcome, Outcome::Done);
    check(results.path(), "from the savepoint");
}

#[test]
fn a_savepoint_that_is_claimed_goes_when_the_job_has_a_checkpoint_of_its_own() {
    let (results, places) = (folder(), folder());
    let place = places.path().join("here");
    stop(results.path(), &place, 7, Drain::No, &[]);
    let start = Start { claim: Claim::Yes, ..from(&place) };
    let ran = run(&job(results.path()), results.path(), start, Simulation::new(7, memory())).expect("it starts");
    assert_eq!(ran.report.outcome, Outcome::Done);
    check(results.path(), "from a claimed savepoint");
    assert!(!place.join("manifest.json").exists());
}

#[test]
fn state_with_no_taker_is_refused_with_the_full_list_unless_it_is_named() {
    let (results, places) = (folder(), folder());
    let place = places.path().join("here");
    stop(results.path(), &place, 8, Drain::No, &[]);
    let (elsewhere, other) = (folder(), folder());
    let job = job(elsewhere.path()).renamed("keep", "other");
    let refused = run(&job, other.path(), from(&place), Simulation::new(8, memory()));
    let Some(JobError::Refused(text)) = refused.err() else { panic!("it is refused") };
    let named: BTreeSet<DropState> = text
        .split("(--drop-state ")
        .skip(1)
        .map(|rest| {
            let (operator, state) =
                rest.split(' ').next().and_then(|name| name.split_once('/')).expect("OPERATOR/STATE");
            DropState { operator: operator.to_owned(), state: state.to_owned() }
        })
        .collect();
    assert!(named.len() > 5, "every state is in the list: {text}");
    let start = Start { dropped: named.clone(), ..from(&place) };
    let ran = run(&job, other.path(), start, Simulation::new(8, memory())).expect("it starts");
    assert_eq!(ran.report.outcome, Outcome::Done);
    let start = Start {
        dropped: named.into_iter().chain([DropState { operator: "keep".into(), state: "none".into() }]).collect(),
        ..from(&place)
    };
    let refused = run(&job, other.path(), start, Simulation::new(8, memory())).err().expect("there is no such state");
    assert!(refused.to_string().contains("--drop-state keep/none: there is no such state"), "{refused}");
}

#[test]
fn what_another_run_left_beside_the_checkpoints_stays() {
    let (results, storage) = (folder(), memory());
    let earlier = |id: u64| format!("every-state/savepoints/{id}/manifest.json");
    for id in 1..20 {
        storage.put_new(&earlier(id), "of an earlier run".into()).expect("there is room");
    }
    let ask = asking(&storage, 10, 5, || Request::Savepoint(SavepointRequest { place: None }));
    let ran = run(&job(results.path()), results.path(), Start::default(), ask).expect("it starts");
    assert_eq!(ran.report.outcome, Outcome::Done, "{:?}", ran.fault);
    let names = storage.list("every-state/savepoints").expect("it is there").into_iter().map(|file| file.name);
    assert_eq!(names.filter(|name| name.ends_with("-2/manifest.json")).count(), 1);
    for id in 1..20 {
        assert_eq!(&storage.get(&earlier(id)).expect("it is there still")[..], b"of an earlier run");
    }
}

#[test]
fn a_place_that_is_not_empty_is_refused_and_the_job_runs_on() {
    let (results, places) = (folder(), folder());
    fs::write(places.path().join("thesis.txt"), "years of work").expect("it can be written");
    let prepared = job(results.path()).prepare(results.path()).expect("the job is right");
    let live = Live::new("every-state");
    let answers = live.ask(Request::Savepoint(at(places.path()))).expect("there is room");
    let (report, _) = prepared
        .run(RunOptions {
            executor: Executor::Seeded(9),
            start: Start::default(),
            process_start: Instant::now(),
            control: Arc::new(Control::default()),
            progress: &mut |_| {},
            say: &mut |_| {},
            live,
            simulation: Some(Simulation::new(9, memory())),
        })
        .expect("it starts");
    assert_eq!(report.outcome, Outcome::Done);
    let wasmill::job::Answer::Refused(refusal) = answers.try_recv().expect("an answer") else {
        panic!("it is refused")
    };
    assert!(refusal.message.contains("is not empty: give a new or an empty place"), "{}", refusal.message);
}
