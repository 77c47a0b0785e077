//! Simulation of whole jobs with checkpoints: crashes, faults, stops and rescaling wherever a seed wants them, and results as if nothing had been.
//!
//! A *case* is a job and a seed. It runs the job again and again over one storage and one folder of results, until it has come to the end of its input (see the module `case`); then what its sinks show
//! must be what a straight run without checkpoints gives. All of it is on one thread and in simulated time, so the same seed does the same again.
//!
//! `WASMILL_SIMULATION_CASES` says how many cases a job gets, `WASMILL_SIMULATION_SEED` runs one seed alone and tells what it does. Cases that found something stay, with their seed.

mod asks;
mod case;
mod folders;
mod jobs;
mod outage;
mod random;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use self::{
    asks::AskedFor,
    case::Case,
    jobs::{JOBS, SimulatedJob},
};

/// Cases of each job, when nobody says how many.
const CASES: u64 = 24;

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

/// Runs a case, and says how to run it alone if it fails.
fn run(job: &SimulatedJob, seed: u64) -> Vec<String> {
    let case = Case::new(job, seed);
    match catch_unwind(AssertUnwindSafe(|| case.run())) {
        Ok(trace) => trace,
        Err(panic) => {
            eprintln!(
                "this case alone: WASMILL_SIMULATION_SEED={seed} cargo test -p integration-tests --test integration simulation::{}",
                job.name.replace('-', "_")
            );
            resume_unwind(panic)
        }
    }
}

#[track_caller]
fn simulate(name: &str) {
    let job = jobs::find(name);
    if let Some(seed) = number_of("WASMILL_SIMULATION_SEED") {
        run(job, seed).iter().for_each(|line| eprintln!("{line}"));
        return;
    }
    let cases = number_of("WASMILL_SIMULATION_CASES").unwrap_or(CASES);
    (0..cases).for_each(|seed| drop(run(job, seed)));
}

#[test]
fn words() {
    simulate("words");
}

#[test]
fn sums() {
    simulate("sums");
}

#[test]
fn sums_in_order() {
    simulate("sums-in-order");
}

#[test]
fn lists() {
    simulate("lists");
}

#[test]
fn figures() {
    simulate("figures");
}

#[test]
fn favourites() {
    simulate("favourites");
}

#[test]
fn rates() {
    simulate("rates");
}

#[test]
fn alerts() {
    simulate("alerts");
}

#[test]
fn rules() {
    simulate("rules");
}

#[test]
fn letters() {
    simulate("letters");
}

/// A crash so often while operators are exchanged, when nobody says how often; each in its own run.
const CRASHES_IN_A_SWAP: u64 = 40;

/// From the request for a swap until its probation is over there are less steps; a savepoint and a stop take less still.
const SWAP_STEPS: u64 = 800;

/// Crashes so often, each in its own run, and says whether what is expected was said at all.
#[track_caller]
fn crash_behind(job: &str, asked: AskedFor, expected: &str) {
    let crashes = number_of("WASMILL_SIMULATION_CASES").unwrap_or(CRASHES_IN_A_SWAP).min(SWAP_STEPS);
    let case = Case::new(jobs::find(job), 1);
    let crash = |number| case.run_crashing_behind(asked, 1 + number * SWAP_STEPS / crashes);
    let traces: Vec<String> = (0..crashes).flat_map(crash).collect();
    assert!(
        traces.iter().any(|line| line.contains(expected)),
        "{job}, {asked:?}: no crash has led to this: {expected}"
    );
}

#[test]
fn a_crash_at_any_step_of_a_swap_leaves_one_version_or_the_other() {
    let goes_on = "for which it was exchanged: what the job file names has not changed since";
    crash_behind("words", AskedFor::Swap, goes_on);
    crash_behind("sums", AskedFor::Swap, "was on probation: it is taken back, and what ran before goes on");
    crash_behind("words", AskedFor::SwapThatFails, "is taken back: ");
}

#[test]
fn a_crash_at_any_step_of_a_savepoint_or_a_stop_loses_nothing() {
    crash_behind("sums", AskedFor::Savepoint, "going on from checkpoint");
    crash_behind("words", AskedFor::Stop, "Stopped from");
}

#[test]
fn a_task_that_takes_over_from_several_does_not_bring_back_what_they_had_before() {
    // With one task there is a segment of all keys, which all three refer to; then one has to read it as each of the three saw it.
    for (job, seed) in [("words", 1), ("words", 2), ("sums", 1), ("sums-in-order", 1)] {
        Case::new(jobs::find(job), seed).run_at(&[1, 3, 1, 2]);
    }
}

#[test]
fn cases_that_found_something_find_it_no_more() {
    for (job, seed) in [
        // Segments of several tasks made no chain.
        ("words", 3),
        ("sums-in-order", 1_000_003),
        // The last deletion of what is old was not waited for.
        ("figures", 0),
        // Operator state of a checkpoint that was given up stayed in the storage.
        ("alerts", 6),
        // Keys that the end of the input had visited were visited again, when another checkpoint came before the end did.
        ("lists", 132),
        ("sums", 97),
    ] {
        run(jobs::find(job), seed);
    }
}

#[test]
fn the_same_seed_does_the_same_again() {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(job) = JOBS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let first = run(job, 1_000_003);
            let again = run(job, 1_000_003);
            let differs = first.iter().zip(&again).position(|(one, other)| one != other);
            assert!(first == again, "{}: line {differs:?} of\n{}\n\n{}", job.name, first.join("\n"), again.join("\n"));
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
}
