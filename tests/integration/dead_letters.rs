//! Records that are given up go to a dead-letter sink, one JSON document each, with what is needed to find out why.

use serde_json::{Value, json};
use wasmill::job::Executor;

use crate::{
    harness::{Job, assert_same},
    reference,
};

const RECORDS: u64 = 1_000;
const KEYS: u64 = 10;

fn key_of(value: u64) -> u64 {
    reference::splitmix64(value) % KEYS
}

/// Counts records; where the value is 500, it misbehaves in the way of `mode`.
fn job(mode: &str) -> Job {
    let text = format!(
        r#"
        name = "dead-letters"
        batch = {{ records = 16 }}

        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = {RECORDS}
        keys  = {KEYS}

        [[operator]]
        id       = "count"
        plugin   = {{ crate = "plugins/misbehaving" }}
        inputs   = [{{ from = "numbers", partitioning = "hash" }}]
        config   = {{ mode = "{mode}", on = 500 }}
        limits   = {{ memory = "16MiB", call-time = "200ms", output = "1MiB" }}
        on-error = {{ dead-letter = "dead" }}

        [[sink]]
        id     = "counts"
        type   = "stdout"
        inputs = ["count"]

        [[sink]]
        id   = "dead"
        type = "stdout"
        "#
    );
    Job::of_text(&text).into_files("counts").into_files("dead")
}

fn letter(job: &Job) -> Value {
    let ran = job.run();
    assert_same(&ran.lines("counts"), &reference::count_lines(RECORDS, KEYS, &[500]), &job.describe());
    let mut letters = ran.documents("dead");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!((ran.operator("count").poisoned, ran.report.sinks["dead"].records_out), (1, 1));
    letters.remove(0)
}

#[test]
fn a_letter_holds_key_value_operator_fault_and_message() {
    let letter = letter(&job("fail"));
    let expected = json!({
        "operator": "count",
        "task": 0,
        "fault": "failed-record",
        "message": "the record with the value 500 fails, as configured",
        "key": key_of(500),
        "value": 500,
    });
    assert_eq!(letter, expected);
}

#[test]
fn each_kind_of_fault_has_its_name_in_the_letter() {
    for (mode, fault, message) in [
        ("panic", "panic", "the record with the value 500 panics, as configured"),
        ("trap", "trap", "wasm `unreachable` instruction executed"),
        ("recurse", "trap", "the operator trapped: "),
        ("loop", "time-limit", "(limits.call-time)"),
        ("allocate", "memory-limit", "(limits.memory)"),
        ("emit", "output-limit", "(limits.output)"),
        ("lie-ends", "malformed-columns", "lies before the end that precedes it"),
        ("lie-source", "malformed-columns", "emit names a source record beyond the 1 of the call"),
        ("lie-slot", "malformed-columns", "slot 4000000 stands for no key"),
        ("lie-state", "malformed-columns", "there is no state 7"),
    ] {
        let letter = letter(&job(mode));
        assert_eq!(letter["fault"], fault, "{letter}");
        assert!(letter["message"].as_str().is_some_and(|text| text.contains(message)), "{letter}");
        assert_eq!(
            (&letter["key"], &letter["value"], &letter["operator"]),
            (&json!(key_of(500)), &json!(500), &json!("count"))
        );
        if matches!(mode, "panic" | "trap" | "recurse") {
            assert!(letter["backtrace"].as_str().is_some_and(|frames| !frames.is_empty()), "{letter}");
        }
    }
}

#[test]
fn letters_travel_to_sinks_of_another_parallelism() {
    for executor in [Executor::Threads, Executor::Seeded(3)] {
        let job = job("panic").set("parallelism", 3).set("sink.dead.parallelism", 1).on(executor);
        assert_eq!(letter(&job)["value"], 500);
    }
}

#[test]
fn a_sink_may_take_results_and_letters_alike() {
    let ran = job("fail")
        .set("operator.count.on-error", "{ dead-letter = \"counts\" }")
        .set("sink.dead.inputs", "[\"count\"]")
        .run();
    let mut expected = reference::count_lines(RECORDS, KEYS, &[500]);
    assert_same(&ran.lines("dead"), &expected, "results");
    let lines = ran.lines("counts");
    assert_eq!(lines.iter().filter(|line| line.contains("failed-record")).count(), 1);
    expected.extend(lines.iter().find(|line| line.contains("failed-record")).cloned());
    expected.sort_unstable();
    assert_same(&lines, &expected, "results and the letter");
}
