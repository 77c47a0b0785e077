//! Standard input and output: pipes that stay open, go away or are full.

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use super::{Said, say, wasmill, write_job};
use crate::harness::{folder, sorted_lines};

const STDIN_JOB: [&str; 4] = ["run", "plugins/word-count/job.toml", "--set", "source.lines.type=stdin"];

#[test]
fn lines_of_standard_input_are_counted() {
    let mut child = wasmill(STDIN_JOB)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all("to be\nor not to be — ΤΟ BE".as_bytes()).expect("it is written");
    let said: Said = child.wait_with_output().expect("its output").into();
    let expected = [("be", 1), ("be", 2), ("be", 3), ("not", 1), ("or", 1), ("to", 1), ("to", 2), ("το", 1)];
    let expected = expected.map(|(word, count)| format!("{{\"word\":\"{word}\",\"count\":{count}}}"));
    assert_eq!(sorted_lines([said.expect(0).as_bytes()].into_iter()), expected);
}

#[test]
fn results_come_while_standard_input_stays_open() {
    let mut child = wasmill(STDIN_JOB)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    let mut results = BufReader::new(child.stdout.take().expect("a pipe"));
    for count in 1..=3 {
        input.write_all(b"again\n").expect("it is written");
        let mut line = String::new();
        results.read_line(&mut line).expect("a result");
        assert_eq!(line, format!("{{\"word\":\"again\",\"count\":{count}}}\n"));
    }
    drop(input);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn an_empty_standard_input_gives_nothing() {
    assert_eq!(say(&STDIN_JOB).expect(0), "");
}

#[test]
fn a_reader_that_has_enough_ends_the_job_quietly() {
    let folder = folder();
    let job = write_job(folder.path(), super::ENDLESS);
    let report = folder.path().join("report.json");
    let mut child = wasmill(["run", &job])
        .arg("--report")
        .arg(&report)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a result");
    assert!(line.ends_with("\"updates\":1}\n"), "{line}");
    // The pipe is closed here, as `| head -1` does it.
    let said: Said = child.wait_with_output().expect("its output").into();
    said.expect(0);
    assert!(!said.err.contains("error") && !said.err.contains("endless"), "{}", said.err);
    // A report was asked for all the same.
    assert!(std::fs::read_to_string(report).is_ok_and(|report| report.contains("\"outcome\": \"stopped\"")));
}

#[test]
fn what_is_only_shown_does_not_need_a_reader_either() {
    let component = say(&["build", "plugins/keyed-sum"]).expect(0).trim_end().to_owned();
    for args in [
        &["plan", "plugins/keyed-sum/job.toml"][..],
        &["plan", "plugins/keyed-sum/job.toml", "--json"],
        &["plugin", "inspect", &component],
        &["build", "plugins/keyed-sum"],
        &["run", "plugins/keyed-sum/job.toml", "--json"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let said: Said = wasmill(args).stdout(writer).output().expect("it runs").into();
        said.expect(0);
    }
}

#[test]
fn a_full_disk_fails_the_job_and_says_so() {
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
    let said: Said = wasmill(["run", "plugins/misbehaving/job.toml"]).stdout(full).output().expect("it runs").into();
    said.refused(1, &["error: job misbehaving failed: counts: standard output: ", "No space left on device"]);
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
    let said: Said = wasmill(["plan", "plugins/misbehaving/job.toml"]).stdout(full).output().expect("it runs").into();
    said.refused(2, &["error: standard output can't be written to: No space left on device"]);
}
