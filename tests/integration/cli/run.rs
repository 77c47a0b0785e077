//! `wasmill run`: results, overrides, reports.

use serde_json::Value;

use super::{say, wasmill, write_job};
use crate::{
    harness::{assert_same, files, folder, root, sorted_lines, texts},
    reference,
};

const WORD_COUNT: &str = "plugins/word-count/job.toml";
const TEXTS: &str = "source.lines.path=tests/fixtures/texts";

fn expected_counts() -> Vec<String> {
    reference::word_count_lines(&reference::counts(&reference::words(&reference::lines(&texts()))))
}

#[test]
fn word_count_writes_records_and_nothing_else_to_standard_output() {
    let said = say(&["run", WORD_COUNT, "--set", TEXTS]);
    assert_same(&sorted_lines([said.expect(0).as_bytes()].into_iter()), &expected_counts(), "standard output");
    assert!(said.err.contains("word-count done in "), "{}", said.err);
    for id in ["lines", "split", "count", "counts"] {
        assert!(
            said.err.lines().any(|line| line.trim_start().starts_with(id)),
            "{id} is not in the summary:\n{}",
            said.err
        );
    }
}

#[test]
fn the_jobs_of_all_plugins_run_as_they_are() {
    for plugin in ["word-count", "split-words", "keyed-sum", "misbehaving"] {
        let said = say(&["run", &format!("plugins/{plugin}/job.toml")]);
        said.expect(0);
        assert!(said.err.contains(&format!("{plugin} done in ")), "{}", said.err);
    }
}

#[test]
fn overrides_change_settings_and_types() {
    let folder = folder();
    let sets = ["parallelism=3", "batch.records=10", "sink.counts.type=file", "sink.counts.path=results"];
    let job = root().join(WORD_COUNT).display().to_string();
    let lines = format!("source.lines.path={}", texts().display());
    let mut command = wasmill(["run", &job, "--set", &lines]);
    sets.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    // Relative paths of a --set are relative to where it is typed.
    let said: super::Said = command.current_dir(folder.path()).output().expect("it runs").into();
    assert_eq!(said.expect(0), "");
    let results = files(&folder.path().join("results"));
    assert!(results.len() > 1 && results.keys().all(|name| name.ends_with(".jsonl")), "{:?}", results.keys());
    assert_same(&sorted_lines(results.values().map(Vec::as_slice)), &expected_counts(), "results");
}

#[test]
fn variables_of_the_environment_are_put_in() {
    let folder = folder();
    let job = write_job(
        folder.path(),
        &super::ENDLESS.replace("\"stdout\"", "\"${KIND:-stdout}\"").replace("rate = 5000", "count = 10"),
    );
    let said: super::Said = wasmill(["run", &job]).env("KIND", "blackhole").output().expect("it runs").into();
    assert_eq!(said.expect(0), "");
    let keys: std::collections::BTreeSet<_> = reference::numbers(10, 10).map(|(key, _)| key).collect();
    assert_eq!(say(&["run", &job]).expect(0).lines().count(), 10 + keys.len());
}

#[test]
fn the_same_seed_prints_the_same_bytes() {
    let run =
        |seed| say(&["run", WORD_COUNT, "--set", TEXTS, "--set", "parallelism=2", "--seed", seed]).expect(0).to_owned();
    assert_eq!(run("11"), run("11"));
    assert_same(&sorted_lines([run("12").as_bytes()].into_iter()), &expected_counts(), "another seed");
}

#[test]
fn the_report_says_what_happened() {
    let folder = folder();
    let path = folder.path().join("report.json");
    let said =
        say(&["run", WORD_COUNT, "--set", TEXTS, "--set", "parallelism=2", "--report", &path.display().to_string()]);
    said.expect(0);
    let report: Value = serde_json::from_slice(&std::fs::read(&path).expect("a report")).expect("JSON");
    assert_eq!((&report["job"], &report["outcome"]), (&"word-count".into(), &"done".into()));
    for field in ["seconds", "cpu_seconds", "peak_memory_bytes", "start_to_first_result_ms"] {
        assert!(report[field].as_f64().is_some_and(|number| number > 0.0), "{field}: {report}");
    }
    assert!(report.get("steady_records_per_second").is_some(), "{report}");
    let (lines, words) = (reference::lines(&texts()), reference::words(&reference::lines(&texts())));
    let (lines, words) = (lines.len() as u64, words.len() as u64);
    for (kind, id, records) in [
        ("sources", "lines", (lines, lines)),
        ("operators", "split", (lines, words)),
        ("operators", "count", (words, words)),
        ("sinks", "counts", (words, words)),
    ] {
        let vertex = &report[kind][id];
        assert_eq!(
            (vertex["records_in"].as_u64(), vertex["records_out"].as_u64()),
            (Some(records.0), Some(records.1)),
            "{id}"
        );
        assert_eq!(
            (vertex["parallelism"].as_u64(), vertex["faults"].as_u64(), vertex["poisoned"].as_u64()),
            (Some(2), Some(0), Some(0)),
            "{id}"
        );
        for field in ["busy_seconds", "idle_seconds", "back_pressured_seconds"] {
            assert!(vertex[field].as_f64().is_some_and(|seconds| seconds >= 0.0), "{id}: {field}: {vertex}");
        }
        assert!(vertex.get("steady_records_per_second").is_some(), "{id}: {vertex}");
    }
    let invalid = report["sources"]["lines"]["metrics"]["invalid-utf8"].as_u64();
    assert_eq!(invalid, Some(4), "lines of invalid-utf8.txt");
    assert!(said.err.contains("invalid-utf8: 4"), "{}", said.err);
}

#[test]
fn a_job_that_fails_in_open_has_a_report_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json").display().to_string();
    let mode = "operator.count.config.mode=open-panic";
    let said = say(&["run", "plugins/misbehaving/job.toml", "--set", mode, "--report", &path]);
    said.expect(1);
    let report: Value = serde_json::from_slice(&std::fs::read(&path).expect("a report")).expect("JSON");
    assert_eq!(report["outcome"], "failed");
    assert!(report["fault"].as_str().is_some_and(|fault| fault.contains("(in open)")), "{report}");
}

#[test]
fn the_report_of_a_failed_job_says_why() {
    let folder = folder();
    let path = folder.path().join("report.json").display().to_string();
    let said =
        say(&["run", "plugins/misbehaving/job.toml", "--set", "operator.count.on-error=fail", "--report", &path]);
    said.expect(1);
    let report: Value = serde_json::from_slice(&std::fs::read(&path).expect("a report")).expect("JSON");
    assert_eq!(report["outcome"], "failed");
    assert!(
        report["fault"]
            .as_str()
            .is_some_and(|text| text.starts_with("operator count, task 0: the operator panicked: ")),
        "{report}"
    );
    assert_eq!(report["operators"]["count"]["faults"], 1);
}

#[test]
fn the_summary_as_json_goes_to_standard_output() {
    let said = say(&["run", "plugins/keyed-sum/job.toml", "--set", "source.numbers.count=1000", "--json"]);
    let report: Value = serde_json::from_str(said.expect(0)).expect("one JSON document");
    assert_eq!(report["sources"]["numbers"]["records_in"], 1000);
    let said = say(&["run", WORD_COUNT, "--json"]);
    said.refused(2, &["error: --json and a stdout sink both want standard output"]);
}

#[test]
fn a_fault_is_shown_with_record_and_backtrace() {
    let said = say(&[
        "run",
        "plugins/misbehaving/job.toml",
        "--set",
        "operator.count.on-error=fail",
        "--set",
        "sink.counts.type=blackhole",
    ]);
    let key = reference::splitmix64(500) % 10;
    said.refused(
        1,
        &[
            "error: job misbehaving failed: operator count, task 0: the operator panicked: the record with the value 500 panics, as configured",
            &format!("(the record with key {key} and value 500)"),
            "wasm backtrace, innermost first:\n  ",
            "misbehaving failed in ",
        ],
    );
}

#[test]
fn records_that_were_given_up_are_in_log_and_summary() {
    let said = say(&["run", "plugins/misbehaving/job.toml"]);
    assert_eq!(said.expect(0).lines().count(), 999);
    assert!(said.err.contains("gave up the record with key"), "{}", said.err);
    assert!(said.err.contains("2 faults, 1 record given up"), "{}", said.err);
}

#[test]
fn raw_results_are_the_bytes_of_the_values() {
    let folder = folder();
    let text = r#"
        name = "copy"
        [[source]]
        id   = "lines"
        type = "file"
        path = "in.txt"
        [[sink]]
        id     = "out"
        type   = "stdout"
        format = "raw"
        inputs = ["lines"]
    "#;
    let job = write_job(folder.path(), text);
    std::fs::write(folder.path().join("in.txt"), "one\n\ntwo \"quoted\"\nlast").expect("the input is written");
    assert_eq!(say(&["run", &job]).expect(0), "one\n\ntwo \"quoted\"\nlast\n");
    assert_eq!(
        say(&["run", &job, "--set", "sink.out.format=json"]).expect(0),
        "\"one\"\n\"\"\n\"two \\\"quoted\\\"\"\n\"last\"\n"
    );
}

#[test]
fn a_job_without_checkpoints_begins_from_none() {
    for (more, part) in [
        (
            &["--from", ".wasmill/word-count"][..],
            "this job takes no checkpoints, so it can't begin from .wasmill/word-count",
        ),
        (&["--discard-results-after", "7"], "this job takes no checkpoints, so it has no results after one"),
        (&["--discard-results-after", "0"], "a checkpoint has a number from 1 on"),
        (&["--from", ""], "give `latest`, `none`, or the folder or URL of a checkpoint"),
    ] {
        say(&[&["run", WORD_COUNT, "--set", TEXTS], more].concat()).refused(2, &[part]);
    }
    for from in ["latest", "none"] {
        let said = say(&["run", WORD_COUNT, "--set", TEXTS, "--from", from]);
        assert_same(&sorted_lines([said.expect(0).as_bytes()].into_iter()), &expected_counts(), from);
    }
}
