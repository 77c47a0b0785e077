//! Ctrl-C and its relatives.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Said, wasmill, write_job};
use crate::harness::folder;

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("the process is there");
}

/// Waits for the end, for half a minute at most.
fn end(mut child: Child) -> Said {
    let began = Instant::now();
    while child.try_wait().expect("the process can be asked").is_none() {
        if began.elapsed() > Duration::from_secs(30) {
            child.kill().expect("the process is there");
            let said: Said = child.wait_with_output().expect("its output").into();
            panic!("it did not end; standard error:\n{}", said.err);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output").into()
}

#[test]
fn the_first_signal_stops_the_job_and_that_is_no_failure() {
    let folder = folder();
    let job = write_job(folder.path(), super::ENDLESS);
    for kind in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child =
            wasmill(["run", &job]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut results = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut first = String::new();
        results.read_line(&mut first).expect("a result");
        assert!(first.starts_with("{\"key\":"), "{first}");
        signal(&child, kind);
        let mut rest = String::new();
        results.read_to_string(&mut rest).expect("the other results");
        let said = end(child);
        said.expect(0);
        assert!(said.err.contains("stopping: what was read is processed first; again to end at once"), "{}", said.err);
        assert!(said.err.contains("endless stopped in "), "{}", said.err);
        let written = rest.lines().count() + 1;
        let sums = said.err.lines().find(|line| line.trim_start().starts_with("sums ")).expect("a line of the summary");
        assert_eq!(
            sums.split_whitespace().nth(2).map(|count| count.replace(',', "")),
            Some(written.to_string()),
            "{}",
            said.err
        );
    }
}

#[test]
fn the_second_signal_ends_the_process_at_once() {
    let folder = folder();
    // The first record keeps the operator busy for a long time.
    let text = super::ENDLESS.replace("PLUGINS/keyed-sum", "PLUGINS/misbehaving").replace(
        "config = { emit-every = 1 }",
        "config = { mode = \"loop\", on = 0 }\nlimits = { call-time = \"1h\" }",
    );
    let job = write_job(folder.path(), &text);
    let mut child =
        wasmill(["run", &job, "-v"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, Signal::SIGINT);
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("again to end at once"))));
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().expect("the process can be asked").is_none(), "the operator has not returned yet");
    signal(&child, Signal::SIGINT);
    assert_eq!(end(child).code, Some(130));
}
