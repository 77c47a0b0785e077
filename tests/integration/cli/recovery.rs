//! A job that is killed, stopped or started in another way goes on where it was: every result is there, once.

use std::{fs, path::Path, thread, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::sums::{Sums, names};

/// When a start is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    After(Duration),
    /// When there are so many more segments than before, or manifests.
    Segments(usize),
    Manifests(usize),
}

const MOMENTS: [Moment; 8] = [
    Moment::Segments(1),
    Moment::Manifests(2),
    Moment::After(Duration::from_millis(40)),
    Moment::Manifests(1),
    Moment::Segments(2),
    Moment::After(Duration::from_millis(400)),
    Moment::After(Duration::from_millis(90)),
    Moment::Manifests(3),
];

fn segments(folder: &Path) -> usize {
    names(&folder.join("storage/sums/segments/sum")).len()
}

fn manifests(folder: &Path) -> usize {
    let checkpoints = folder.join("storage/sums/checkpoints");
    names(&checkpoints).iter().filter_map(|id| id.parse().ok()).max().unwrap_or(0)
}

/// Kills the job at every moment in turn, with one task and with two.
fn check_killed(backend: &str) {
    let job = Sums::new();
    job.edit("[state]", &format!("[state]\nbackend = \"{backend}\""));
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        let before = (segments(&job.path("")), manifests(&job.path("")));
        let running = job.start(&["--set", &format!("parallelism={}", 1 + number % 2)]);
        match moment {
            Moment::After(time) => thread::sleep(time),
            // Segments that are not needed any more go meanwhile.
            Moment::Segments(more) => job.wait_for("a segment", |folder| {
                segments(folder) >= before.0 + more || manifests(folder) >= before.1 + more
            }),
            Moment::Manifests(more) => job.wait_for("a manifest", |folder| manifests(folder) >= before.1 + more),
        }
        running.kill();
    }
    let said = job.run(&[]);
    said.expect(0);
    assert!(said.err.contains("going on from checkpoint "), "{}", said.err);
    job.check();
}

#[test]
fn a_job_that_is_killed_again_and_again_gives_every_result_once_from_memory() {
    check_killed("memory");
}

#[test]
fn a_job_that_is_killed_again_and_again_gives_every_result_once_from_disk() {
    check_killed("fjall");
}

#[test]
fn a_job_that_was_stopped_goes_on_and_one_that_has_ended_has_nothing_to_do() {
    let job = Sums::new();
    let mut running = job.start(&[]);
    job.wait_for_results_of(2);
    kill(Pid::from_raw(running.child().id() as i32), Signal::SIGINT).expect("it runs");
    let said = running.end();
    said.expect(0);
    assert!(said.err.contains("sums stopped in "), "{}", said.err);
    let last = job.newest();
    let hidden = names(&job.path("results")).into_iter().filter(|name| name.starts_with('.')).count();
    assert_eq!(hidden, 0, "what was read is visible");

    let said = job.run(&[]);
    said.expect(0);
    assert!(said.err.starts_with(&format!("going on from checkpoint {last} (")), "{}", said.err);
    job.check();
    let said = job.run(&[]);
    said.expect(0);
    assert!(said.err.contains("sums has come to the end of its input before"), "{}", said.err);
    job.run(&["--from", "none"]).refused(2, &["the folder holds results of an earlier run"]);
    job.check();
}

#[test]
fn a_second_run_of_a_job_is_refused() {
    let job = Sums::new();
    let running = job.start(&[]);
    job.wait_for_results_of(1);
    job.run(&[]).refused(2, &["a job named sums runs here already (process "]);
    // Nor is it one that is not looked for by its name.
    job.run(&["--no-control"]).refused(2, &["job sums runs already (", "storage/sums/lock is locked)"]);
    let elsewhere = format!("checkpoint.storage={}", job.path("elsewhere").display());
    job.run(&["--no-control", "--set", &elsewhere]).refused(2, &["another run is writing into this folder"]);
    running.end().expect(0);
    job.check();
}

#[test]
fn a_damaged_checkpoint_is_refused_and_the_next_older_one_is_offered() {
    let job = Sums::new();
    job.run_up_to(4);
    let newest = job.newest();
    let manifest = fs::read_to_string(job.checkpoint(newest).join("manifest.json")).expect("it is there");
    let manifest: Value = serde_json::from_str(&manifest).expect("it is JSON");
    let segments = manifest["operators"][0]["tasks"][0]["segments"].as_array().expect("a list");
    let name = segments.last().and_then(|segment| segment["name"].as_str()).expect("there is state");
    let segment = job.path("storage/sums").join(name);
    let whole = fs::read(&segment).expect("it is there");
    let older = job.checkpoint(newest - 1).display().to_string();
    let refused = [&format!("checkpoint {newest} is damaged"), name, &format!("add --from {older}")];

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&segment, flipped).expect("it can be written");
    job.run(&[]).refused(4, &refused);
    fs::remove_file(&segment).expect("it is there");
    job.run(&[]).refused(4, &refused);
    let before = format!("{}", newest - 1);
    job.run(&["--from", &older, "--discard-results-after", "1"]).refused(4, &["--discard-results-after 1"]);
    job.run(&["--from", &older, "--discard-results-after", &before]).expect(0);
    job.check();
}

#[test]
fn going_back_discards_later_results_only_when_told_so() {
    let job = Sums::new();
    job.run_up_to(4);
    let (older, id) = (job.checkpoint(2).display().to_string(), "2");
    job.run(&["--from", &older]).refused(2, &["holds results of checkpoints after 2", "--discard-results-after 2"]);
    job.run(&["--from", &older, "--discard-results-after", id]).expect(0);
    job.check();
}

#[test]
fn a_job_that_does_not_fit_is_refused_with_all_differences() {
    let job = Sums::new();
    job.run_up_to(2);
    let text = fs::read_to_string(job.path("job.toml")).expect("it is there");
    job.edit("name = \"sums\"", "name = \"sums\"\nmax-parallelism = 64");
    job.edit("\"sum\"", "\"total\"");
    job.edit("\"numbers\"", "\"others\"");
    job.run(&[]).refused(
        4,
        &[
            "max-parallelism is 64 in the job and 128 in the checkpoint",
            "operator sum is not in the job, so nobody takes its state sum (--drop-state sum/sum gives it up)",
            "source numbers is not in the job",
        ],
    );
    fs::write(job.path("job.toml"), text).expect("it can be written");
    job.run(&[]).expect(0);
    job.check();
}
