//! Jobs that crash and go on from their checkpoints, at another parallelism and from files that were damaged: the operator has every kind of state, and what it shows is as if nothing had
//! happened, or the run is refused with the name of what is wrong.

mod damage;
mod fixture;
mod hook;
mod outage;
mod rescaling;
mod savepoints;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Instant};

use serde_json::Value;
use wasmill::{
    checkpoint::Storage,
    job::{Executor, JobError, Report, RunOptions, Simulation, Start},
    runtime::Control,
    stream::Fault,
};

use crate::{
    harness::{Job, assert_same, component, files, sorted_lines},
    reference,
};

const NUMBERS: u64 = 600;
const KEYS: u64 = 30;
const RULES: u64 = 20;

/// The job `every-state`: about a second of simulated time, with a checkpoint every 50 ms. The order of a key's numbers decides, so one task reads them.
fn job(results: &Path) -> Job {
    let text = format!(
        r#"
        name = "every-state"
        [checkpoint]
        storage  = "nowhere"
        interval = "50ms"
        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = {NUMBERS}
        keys  = {KEYS}
        rate  = {NUMBERS}
        parallelism = 1
        [[source]]
        id          = "rules"
        type        = "datagen"
        count       = {RULES}
        rate        = {RULES}
        parallelism = 1
        [[operator]]
        id     = "keep"
        plugin = "{}"
        inputs = ["numbers", {{ from = "rules", input = "rules" }}]
        [[sink]]
        id     = "out"
        type   = "file"
        path   = "{}"
        inputs = ["keep"]
        "#,
        component("every-state").display(),
        results.join("out").display()
    );
    Job::of_text(&text).set("batch.records", 16)
}

/// What came of a run.
struct Ran {
    report: Report,
    fault: Option<Fault>,
    said: Vec<String>,
}

/// Runs a job on one thread; `crash_after` so many steps the process is gone.
fn run(job: &Job, results: &Path, seed: u64, simulation: Option<Simulation>) -> Result<Ran, JobError> {
    let prepared = job.prepare(results)?;
    let mut said = Vec::new();
    let (report, fault) = prepared.run(RunOptions {
        executor: Executor::Seeded(seed),
        start: Start::default(),
        process_start: Instant::now(),
        control: Arc::new(Control::default()),
        progress: &mut |_| {},
        say: &mut |line| said.push(line.to_owned()),
        live: wasmill::job::Live::new("job"),
        simulation,
    })?;
    Ok(Ran { report, fault, said })
}

fn simulation(storage: &Arc<dyn Storage>, seed: u64, crash_after: Option<u64>) -> Option<Simulation> {
    let simulation = Simulation::new(seed, Arc::clone(storage));
    Some(match crash_after {
        Some(steps) => simulation.crashing_after(steps),
        None => simulation,
    })
}

/// What every run has to show, by the definition of the operator; but for how many numbers each task had, of which [`shown`] makes one line.
fn expected() -> Vec<String> {
    #[derive(Default)]
    struct Key {
        sum: Option<u64>,
        all: Vec<u64>,
        seen: Vec<u64>,
        digits: BTreeMap<u64, u64>,
    }
    let mut keys: BTreeMap<u64, Key> = BTreeMap::new();
    let mut lines = Vec::new();
    for (key, number) in reference::numbers(NUMBERS, KEYS) {
        let state = keys.entry(key).or_default();
        state.all.push(number);
        state.sum = if number % 11 == 0 { None } else { Some(state.sum.unwrap_or(0) + number) };
        if number % 13 == 0 {
            state.seen.clear();
        }
        state.seen.push(number);
        if number % 7 == 0 {
            state.digits.remove(&(number % 10));
        } else {
            state.digits.insert(number % 10, number);
        }
        lines.push(format!(r#"{{"number":{number}}}"#));
        if number % 50 == 0 {
            lines.push(format!(r#"{{"marked":{number}}}"#));
        }
    }
    let rules = (RULES, (0..RULES).sum::<u64>());
    for (key, Key { sum, all, seen, digits }) in keys {
        let sum = sum.map_or("null".to_owned(), |sum| sum.to_string());
        let (folded, highest): (u64, _) = (all.iter().sum(), all.iter().max().expect("a key has numbers"));
        let digits: Vec<_> = digits.into_iter().collect();
        lines.push(format!(
            r#"{{"key":{key},"sum":{sum},"folded":{folded},"gathered":[{}, {highest}],"seen":{seen:?},"digits":"{digits:?}","rules":[{},{}]}}"#,
            all.len(), rules.0, rules.1
        ));
    }
    lines.push(format!("all parts: {NUMBERS}"));
    lines.sort_unstable();
    lines
}

/// The lines of all results that are visible.
fn shown(results: &Path) -> Vec<String> {
    let files = files(&results.join("out"));
    let visible = files.iter().filter(|(name, _)| !name.starts_with('.'));
    let mut parts = 0;
    let mut lines = sorted_lines(visible.map(|(_, bytes)| bytes.as_slice()));
    lines.retain(|line| {
        let document: Value = serde_json::from_str(line).expect("a line is a JSON document");
        let part = document["part"].as_u64();
        parts += part.unwrap_or(0);
        part.is_none()
    });
    lines.push(format!("all parts: {parts}"));
    lines.sort_unstable();
    lines
}

#[track_caller]
fn check(results: &Path, what: &str) {
    assert_same(&shown(results), &expected(), what);
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be listed") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file can be copied");
        }
    }
}
