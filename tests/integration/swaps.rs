//! Operators are exchanged while their job runs: for versions that work, that have other states, and that fail in every way. What the job shows is as if there had been one version all along.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use crossbeam::channel::Receiver;
use serde_json::json;
use wasmill::{
    checkpoint::{MemoryStorage, Storage},
    job::{
        Answer, AnswerAt, Changes, DifferenceKind, Drain, Executor, Happening, JobStatus, Landmark, Live, Moment,
        OperatorChange, Outcome, RefusalKind, Rehearsal, Report, Request, RunOptions, SavepointRequest, Simulation,
        Start, StartFrom, StopRequest, SwapAnswer, SwapOutcome, SwapRequest,
    },
    runtime::Control,
    spec::{Limits, OnError},
};

use crate::{
    harness::{Job, assert_same, component, files, folder, sorted_lines},
    reference,
};

const NUMBERS: u64 = 6_000;
const KEYS: u64 = 200;

/// Two seconds of simulated time, with a checkpoint every 100 ms.
fn job(results: &Path) -> Job {
    let text = format!(
        r#"
        name = "tally"
        [checkpoint]
        storage  = "nowhere"
        interval = "100ms"
        [swap]
        probation = "300ms"
        probation-batches = 1000000
        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = {NUMBERS}
        keys  = {KEYS}
        rate  = {rate}
        parallelism = 1
        [[operator]]
        id     = "tally"
        plugin = "{}"
        inputs = ["numbers"]
        limits = {{ memory = "16MiB", call-time = "200ms" }}
        [[sink]]
        id     = "out"
        type   = "file"
        path   = "{}"
        inputs = ["tally"]
        "#,
        component("tally").display(),
        results.join("out").display(),
        rate = NUMBERS / 2,
    );
    Job::of_text(&text).set("batch.records", 16)
}

/// What a run of so many numbers has to show.
fn expected(numbers: u64, of_keys: u64) -> Vec<String> {
    let mut keys = std::collections::BTreeMap::<u64, (u64, u64)>::new();
    let mut lines = Vec::new();
    for (key, number) in reference::numbers(numbers, of_keys) {
        let (total, tens) = keys.entry(key).or_default();
        *total += number;
        *tens += u64::from(number % 10 == 0);
        lines.push(format!(r#"{{"number":{number},"total":{total},"tens":{tens}}}"#));
    }
    lines.sort_unstable();
    lines
}

/// What came of a run in which something was asked.
struct Ran {
    report: Report,
    said: Vec<String>,
    answers: Vec<Option<Answer>>,
    status: JobStatus,
}

/// Runs the job and asks for these swaps, one after each so many further checkpoints. Gives what came of it.
fn run(job: &Job, results: &Path, requests: Vec<Box<dyn Fn() -> SwapRequest + Send + Sync>>) -> Ran {
    let prepared = job.prepare(results).expect("the job is right");
    let (mut said, live) = (Vec::new(), Live::new("tally"));
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut simulation = Simulation::new(1, storage);
    let receivers: Arc<Mutex<Vec<Receiver<Answer>>>> = Arc::default();
    for (number, request) in (0..).zip(requests) {
        let (live, receivers) = (Arc::clone(&live), Arc::clone(&receivers));
        let ask = move || {
            let asked = live.ask(Request::Swap(request())).unwrap_or_else(|refusal| panic!("{}", refusal.message));
            receivers.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
            Request::Checkpoint
        };
        let moment = Moment { after: Landmark::Completed(3 + 6 * number), steps: 5 };
        simulation.happenings.push((moment, Happening::Ask(Arc::new(ask))));
    }
    let (report, fault) = prepared
        .run(RunOptions {
            executor: Executor::Seeded(1),
            start: Start::default(),
            process_start: Instant::now(),
            control: Arc::new(Control::default()),
            progress: &mut |_| {},
            say: &mut |line| said.push(line.to_owned()),
            live: Arc::clone(&live),
            simulation: Some(simulation),
        })
        .expect("it starts");
    assert!(fault.is_none(), "{fault:?}\n{}", said.join("\n"));
    let receivers = receivers.lock().unwrap_or_else(PoisonError::into_inner);
    let answers = receivers.iter().map(|receiver| receiver.try_recv().ok()).collect();
    Ran { report, said, answers, status: live.status() }
}

fn bytes_of(name: &str) -> Bytes {
    std::fs::read(component(name)).expect("it was built").into()
}

fn swap(changes: Changes) -> SwapRequest {
    SwapRequest {
        operators: vec![OperatorChange { id: "tally".into(), changes }],
        rehearsal: Rehearsal::No,
        answer_at: AnswerAt::ProbationEnd,
        dropped: Vec::new(),
    }
}

/// For the second version, configured like this.
fn to_next(config: serde_json::Value) -> Box<dyn Fn() -> SwapRequest + Send + Sync> {
    Box::new(move || {
        let component = Some(bytes_of("tally-next"));
        swap(Changes { component, config: Some(config.clone()), ..Changes::default() })
    })
}

#[track_caller]
fn check(results: &Path, what: &str) {
    assert_same(&visible(results), &expected(NUMBERS, KEYS), what);
}

fn visible(results: &Path) -> Vec<String> {
    let files = files(&results.join("out"));
    let visible = files.iter().filter(|(name, _)| !name.starts_with('.'));
    sorted_lines(visible.map(|(_, bytes)| bytes.as_slice()))
}

#[track_caller]
fn swapped(ran: &Ran) -> &SwapAnswer {
    match ran.answers.first() {
        Some(Some(Answer::Swap(answer))) => answer,
        other => panic!("{other:?}\n{}", ran.said.join("\n")),
    }
}

const PLACES: [&[(&str, &str)]; 3] = [
    &[("state.backend", "memory")],
    &[("state.cache", "1B")],
    &[("operator.tally.parallelism", "3"), ("state.cache", "64KiB")],
];

#[test]
fn a_version_with_migrated_and_new_states_goes_on_where_the_first_one_was() {
    for sets in PLACES {
        let results = folder();
        let ran = run(&job(results.path()).sets(sets), results.path(), vec![to_next(json!({}))]);
        let answer = swapped(&ran);
        assert_eq!(answer.outcome, SwapOutcome::Confirmed, "{}", ran.said.join("\n"));
        assert_eq!((&*answer.from["tally"].version, &*answer.to["tally"].version), ("1.0.0", "2.0.0"));
        let migrated: Vec<_> = answer.migrations.iter().map(|one| (&*one.state, &one.from[..], one.to)).collect();
        assert_eq!(migrated, [("total", &[1][..], 2), ("tens", &[1], 2)]);
        let new: Vec<_> = answer
            .differences
            .iter()
            .filter(|one| one.kind == DifferenceKind::New)
            .map(|one| one.state.as_deref())
            .collect();
        assert_eq!(new, [Some("last")]);
        let begins =
            "state total: the time to live is 3600000 ms and was none; for what is there it counts from now on";
        assert!(answer.differences.iter().any(|one| one.text.contains(begins)), "{answer:?}");
        assert!(answer.pause_ms.is_some() && answer.checkpoint.is_some(), "{answer:?}");
        assert_eq!(ran.status.vertices[1].operator.as_ref().map(|operator| &*operator.plugin.version), Some("2.0.0"));
        assert_eq!((ran.report.outcome, ran.report.restarts), (Outcome::Done, 0));
        check(results.path(), &format!("{sets:?}"));
    }
}

#[test]
fn a_version_that_fails_is_taken_back_as_if_it_had_never_been() {
    for (config, why) in [
        (json!({ "trap-at": 1 }), "the operator panicked: as configured"),
        (json!({ "trap-at": 300 }), "the operator panicked: as configured"),
        (json!({ "hang-at": 1_300 }), "call-time"),
        (json!({ "migrations": 0 }), "the value of schema version 1 can't be migrated to version 2: not this one"),
        (json!({ "migrations": 40 }), "the value of schema version 1 can't be migrated to version 2: not this one"),
    ] {
        for sets in PLACES {
            let results = folder();
            let ran = run(&job(results.path()).sets(sets), results.path(), vec![to_next(config.clone())]);
            let answer = swapped(&ran);
            assert_eq!(answer.outcome, SwapOutcome::RolledBack, "{config}, {sets:?}: {answer:?}");
            assert!(answer.reason.as_ref().is_some_and(|reason| reason.contains(why)), "{:?}", answer.reason);
            assert!(ran.said.iter().any(|line| line.starts_with("the exchange of tally is taken back: ")));
            assert_eq!(
                ran.status.vertices[1].operator.as_ref().map(|operator| &*operator.plugin.version),
                Some("1.0.0")
            );
            assert_eq!(ran.report.outcome, Outcome::Done);
            check(results.path(), &format!("{config}, {sets:?}"));
        }
    }
}

#[test]
fn a_version_that_fails_late_in_its_probation_is_taken_back_too() {
    // One task has all batches and all keys.
    let long = [("swap.probation", "1h"), ("parallelism", "1")];
    let one_by_one = [("batch.records", "1")];
    let many =
        [("source.numbers.count", "120000"), ("source.numbers.rate", "120000"), ("source.numbers.keys", "40000")];
    for (config, why, sets, (numbers, keys)) in [
        (json!({ "trap-at": 1_000 }), "the operator panicked: as configured", &one_by_one[..], (NUMBERS, KEYS)),
        (json!({ "migrations": 9_999 }), "can't be migrated to version 2: not this one", &many[..], (120_000, 40_000)),
    ] {
        let results = folder();
        let job = job(results.path()).sets(&long).sets(sets);
        let ran = run(&job, results.path(), vec![to_next(config.clone())]);
        let answer = swapped(&ran);
        assert_eq!(answer.outcome, SwapOutcome::RolledBack, "{config}: {answer:?}");
        assert!(answer.reason.as_ref().is_some_and(|reason| reason.contains(why)), "{:?}", answer.reason);
        assert_same(&visible(results.path()), &expected(numbers, keys), &config.to_string());
    }
}

#[test]
fn what_does_not_fit_is_refused_with_every_difference_and_the_job_is_not_touched() {
    let to = |component: &'static str, changes: Changes| -> Box<dyn Fn() -> SwapRequest + Send + Sync> {
        Box::new(move || swap(Changes { component: Some(bytes_of(component)), ..changes.clone() }))
    };
    let garbage: Box<dyn Fn() -> SwapRequest + Send + Sync> =
        Box::new(|| swap(Changes { component: Some(Bytes::from_static(b"no component")), ..Changes::default() }));
    let letters = Changes { on_error: Some(OnError::DeadLetter { sink: "letters".into() }), ..Changes::default() };
    let small = Changes { limits: Some(Limits { memory: 64 << 10, ..Limits::default() }), ..Changes::default() };
    let unknown: Box<dyn Fn() -> SwapRequest + Send + Sync> = Box::new(|| SwapRequest {
        operators: vec![OperatorChange { id: "taly".into(), changes: Changes::default() }],
        ..swap(Changes::default())
    });
    for (request, kind, texts) in [
        (
            to("collections", Changes::default()),
            RefusalKind::Incompatible,
            &[
                "operator tally: the output out is ",
                "state total: nobody takes what is in it",
                "state tens: the kind is ",
            ][..],
        ),
        (to("unsupported", Changes::default()), RefusalKind::Plugin, &["the plugin was refused"]),
        (garbage, RefusalKind::Plugin, &["the file does not begin like WebAssembly"]),
        (to_next(json!({ "take": 32 << 20 })), RefusalKind::Plugin, &["limits.memory"]),
        (to_next(json!({ "no-such-key": 1 })), RefusalKind::Plugin, &["no-such-key"]),
        (to("tally-next", small), RefusalKind::Plugin, &["limits.memory"]),
        (
            to("tally-next", letters),
            RefusalKind::Incompatible,
            &["on-error sends dead letters to letters, to which no edge leads"],
        ),
        (unknown, RefusalKind::Usage, &["the job has no operator taly; did you mean tally?"]),
    ] {
        let results = folder();
        let ran = run(&job(results.path()), results.path(), vec![request]);
        let Some(Some(Answer::Refused(refusal))) = ran.answers.first() else {
            panic!("{texts:?}: {:?}", ran.answers);
        };
        assert_eq!(refusal.kind, kind, "{refusal:?}");
        for text in texts {
            let is_told =
                refusal.message.contains(text) || refusal.differences.iter().any(|one| one.text.contains(text));
            assert!(is_told, "{text}: {refusal:?}");
        }
        assert_eq!((ran.report.restarts, ran.status.last_swap.is_none()), (0, true));
        check(results.path(), &format!("{texts:?}"));
    }
}

#[test]
fn a_rehearsal_says_what_would_be_and_changes_nothing() {
    let results = folder();
    let rehearse = || SwapRequest { rehearsal: Rehearsal::Yes, ..to_next(json!({ "trap-at": 1 }))() };
    let ran = run(&job(results.path()), results.path(), vec![Box::new(rehearse)]);
    let answer = swapped(&ran);
    assert_eq!((answer.outcome, answer.pause_ms, answer.migrations.len()), (SwapOutcome::DryRun, None, 2));
    assert_eq!(ran.status.vertices[1].operator.as_ref().map(|operator| &*operator.plugin.version), Some("1.0.0"));
    check(results.path(), "a rehearsal");
}

#[test]
fn there_is_no_way_back_to_a_version_that_does_not_know_the_schema() {
    let results = folder();
    let back: Box<dyn Fn() -> SwapRequest + Send + Sync> = Box::new(|| {
        swap(Changes { component: Some(bytes_of("tally")), config: Some(json!({})), ..Changes::default() })
    });
    let ran = run(&job(results.path()), results.path(), vec![to_next(json!({})), back]);
    assert_eq!(swapped(&ran).outcome, SwapOutcome::Confirmed);
    let Some(Some(Answer::Refused(refusal))) = ran.answers.get(1) else { panic!("{:?}", ran.answers) };
    assert_eq!(refusal.kind, RefusalKind::Incompatible, "{refusal:?}");
    let told = refusal.differences.iter().filter(|one| one.kind == DifferenceKind::Incompatible);
    assert_eq!(told.count(), 3, "two states of another version and one that nobody takes: {refusal:?}");
    check(results.path(), "there and not back");
}

#[test]
fn a_second_swap_is_refused_while_the_first_is_on_probation_with_what_is_left_of_it() {
    let results = folder();
    // Both are asked for at the same time.
    let both: Box<dyn Fn() -> SwapRequest + Send + Sync> = to_next(json!({}));
    let job = job(results.path()).set("swap.probation", "1h");
    let ran = run(&job, results.path(), vec![both, to_next(json!({}))]);
    assert_eq!(swapped(&ran).outcome, SwapOutcome::Confirmed, "the end of the input ends a probation");
    let Some(Some(Answer::Refused(refusal))) = ran.answers.get(1) else { panic!("{:?}", ran.answers) };
    assert_eq!(refusal.kind, RefusalKind::Busy);
    assert!(refusal.message.contains("is being exchanged already; its probation ends in 3599."), "{}", refusal.message);
    check(results.path(), "two at once");
}

#[test]
fn a_job_that_was_stopped_goes_on_with_the_next_version_on_another_backend_and_parallelism() {
    let next = component("tally-next").display().to_string();
    for (before, after) in [(PLACES[0], PLACES[2]), (PLACES[2], PLACES[0]), (PLACES[1], PLACES[0])] {
        let (results, places) = (folder(), folder());
        let place = places.path().join("savepoint");
        let stop = |simulation: &mut Simulation| {
            let savepoint = SavepointRequest { place: Some(place.display().to_string()) };
            let request = move || Request::Stop(StopRequest { drain: Drain::No, savepoint: savepoint.clone() });
            let moment = Moment { after: Landmark::Completed(5), steps: 7 };
            simulation.happenings.push((moment, Happening::Ask(Arc::new(request))));
        };
        let outcome = run_from(&job(results.path()).sets(before), results.path(), Start::default(), stop);
        assert_eq!(outcome.0, Outcome::Stopped);
        let start = Start { from: StartFrom::Place(place.clone()), ..Start::default() };
        let job = job(results.path()).sets(after).set("operator.tally.plugin", &next);
        let (outcome, said) = run_from(&job, results.path(), start, |_| {});
        assert_eq!(outcome, Outcome::Done, "{said}");
        assert!(said.contains("operator tally is upgraded from tally 1.0.0 to tally 2.0.0"), "{said}");
        assert!(said.contains("state total: values of schema version 1 are migrated to 2"), "{said}");
        check(results.path(), &format!("{before:?}, then {after:?}"));
    }
}

/// Runs the job over a storage of its own. Gives how it ended, and what was said.
fn run_from(job: &Job, results: &Path, start: Start, disturb: impl Fn(&mut Simulation)) -> (Outcome, String) {
    let mut simulation = Simulation::new(1, Arc::new(MemoryStorage::new()));
    disturb(&mut simulation);
    let (outcome, said) = simulated(job, results, start, simulation);
    (outcome.expect("it does not crash"), said)
}

/// One run. It has no outcome when the process crashes.
fn simulated(job: &Job, results: &Path, start: Start, simulation: Simulation) -> (Option<Outcome>, String) {
    let prepared = job.prepare(results).expect("the job is right");
    let mut said = String::new();
    let (report, fault) = prepared
        .run(RunOptions {
            executor: Executor::Seeded(1),
            start,
            process_start: Instant::now(),
            control: Arc::new(Control::default()),
            progress: &mut |_| {},
            say: &mut |line| said.push_str(&format!("{line}\n")),
            live: Live::new("tally"),
            simulation: Some(simulation),
        })
        .expect("it starts");
    let crashed = fault.as_ref().is_some_and(|fault| fault.message.contains("the process crashed, in simulation"));
    assert!(fault.is_none() || crashed, "{fault:?}");
    ((!crashed).then_some(report.outcome), said)
}

#[test]
fn a_fault_behind_a_confirmed_exchange_goes_back_with_the_states_that_it_brought() {
    for sets in PLACES {
        let results = folder();
        let ask = |simulation: &mut Simulation| {
            let swap = to_next(json!({}));
            let asked = Moment { after: Landmark::Completed(2), steps: 3 };
            simulation.happenings.push((asked, Happening::Ask(Arc::new(move || Request::Swap(swap())))));
            for complete in [9, 13] {
                simulation
                    .happenings
                    .push((Moment { after: Landmark::Completed(complete), steps: 9 }, Happening::Fault));
            }
        };
        let (outcome, said) = run_from(&job(results.path()).sets(sets), results.path(), Start::default(), ask);
        assert_eq!(outcome, Outcome::Done, "{said}");
        assert_eq!(said.matches("starting again from checkpoint").count(), 2, "{said}");
        assert!(!said.contains("is taken back"), "{said}");
        check(results.path(), &format!("{sets:?}"));
    }
}

/// So many crashes in each place.
const CRASHES: u64 = 24;

#[test]
fn a_crash_at_any_step_of_an_exchange_for_other_states_loses_nothing() {
    let next = to_next(json!({}));
    let next: Arc<dyn Fn() -> SwapRequest + Send + Sync> = Arc::from(next);
    let ask = || {
        let next = Arc::clone(&next);
        let asked = Moment { after: Landmark::Completed(3), steps: 5 };
        (asked, Happening::Ask(Arc::new(move || Request::Swap(next()))))
    };
    let mut goes_on = [0, 0];
    for sets in PLACES {
        let counted = folder();
        let mut simulation = Simulation::new(1, Arc::new(MemoryStorage::new()));
        simulation.happenings.push(ask());
        let steps = Arc::clone(&simulation.steps);
        simulated(&job(counted.path()).sets(sets), counted.path(), Start::default(), simulation);
        let steps = steps.load(Ordering::Relaxed);
        for crash in 0..CRASHES {
            // Most of them where it is prepared and exchanged, the rest in its probation and behind it.
            let behind = if crash < CRASHES / 2 { 1 + crash * 3 } else { (crash - CRASHES / 2) * steps / CRASHES };
            let (results, storage) = (folder(), Arc::new(MemoryStorage::new()) as Arc<dyn Storage>);
            let mut simulation = Simulation::new(1, Arc::clone(&storage));
            let clock = Arc::clone(&simulation.clock);
            let at = Moment { after: Landmark::Completed(3), steps: 5 + behind };
            simulation.happenings.extend([ask(), (at, Happening::Crash(Arc::new(|| {})))]);
            let job = job(results.path()).sets(sets);
            let (mut outcome, mut said) = simulated(&job, results.path(), Start::default(), simulation);
            if outcome.is_none() {
                let again = Simulation { clock, ..Simulation::new(2, storage) };
                (outcome, said) = simulated(&job, results.path(), Start::default(), again);
                goes_on[0] += u32::from(said.contains("for which it was exchanged"));
                goes_on[1] += u32::from(said.contains("was on probation: it is taken back"));
            }
            assert_eq!(outcome, Some(Outcome::Done), "{said}");
            check(results.path(), &format!("{sets:?}, a crash {behind} steps behind the request\n{said}"));
        }
    }
    assert!(goes_on.iter().all(|times| *times > 0), "{goes_on:?}");
}
