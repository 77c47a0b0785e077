//! Graphs that are no line: several sources, results that go several ways, sinks with several inputs.

use std::{collections::BTreeMap, time::Duration};

use wasmill::job::{Executor, Outcome};

use crate::{
    harness::{Job, assert_same},
    reference,
};

const EXECUTORS: [Executor; 2] = [Executor::Threads, Executor::Seeded(21)];

const SOURCES: &str = r#"
name = "graph"

[[source]]
id    = "many"
type  = "datagen"
count = 3000
keys  = 11

[[source]]
id    = "few"
type  = "datagen"
count = 70
keys  = 11
"#;

fn operator(id: &str, plugin: &str, inputs: &str, config: &str) -> String {
    format!(
        "[[operator]]\nid = \"{id}\"\nplugin = {{ crate = \"plugins/{plugin}\" }}\ninputs = {inputs}\nconfig = {{ {config} }}\n\n"
    )
}

fn sink(id: &str, inputs: &str) -> String {
    format!("[[sink]]\nid = \"{id}\"\ntype = \"stdout\"\ninputs = {inputs}\n\n")
}

/// Final sums over both sources.
fn sums_of_both() -> Vec<String> {
    let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (key, value) in reference::numbers(3000, 11).chain(reference::numbers(70, 11)) {
        let entry = sums.entry(key).or_default();
        *entry = (entry.0 + value, entry.1 + 1);
    }
    let line =
        |(key, (sum, updates)): (&u64, &(u64, u64))| format!(r#"{{"key":{key},"sum":{sum},"updates":{updates}}}"#);
    let mut lines: Vec<String> = sums.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn an_operator_reads_several_sources_to_the_end_of_all() {
    let text = SOURCES.to_owned()
        + &operator("sum", "keyed-sum", "[\"many\", \"few\"]", "emit-every = 1000000")
        + &sink("out", "[\"sum\"]");
    for parallelism in [1, 2, 5] {
        for executor in EXECUTORS {
            let job = Job::of_text(&text).set("parallelism", parallelism).set("batch.records", 64).into_files("out");
            let ran = job.on(executor).run();
            assert_same(&ran.lines("out"), &sums_of_both(), &format!("{parallelism} tasks on {executor:?}"));
        }
    }
}

#[test]
fn results_go_to_all_who_read_them() {
    let text = SOURCES.to_owned()
        + &operator("sum", "keyed-sum", "[\"many\"]", "emit-every = 1000000")
        + &operator("count", "misbehaving", "[\"many\", \"few\"]", "mode = \"none\"")
        + &sink("sums", "[\"sum\"]")
        + &sink("copies", "[\"sum\"]")
        + &sink("all", "[\"count\", \"sum\", \"few\"]");
    let sums = reference::keyed_sum_lines(3000, 11, 1_000_000, true);
    let mut all = sums.clone();
    all.extend((0..70).map(|number| number.to_string()));
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for (key, _) in reference::numbers(3000, 11).chain(reference::numbers(70, 11)) {
        let count = counts.entry(key).or_default();
        *count += 1;
        all.push(format!(r#"{{"key":{key},"count":{count}}}"#));
    }
    all.sort_unstable();
    for parallelism in [1, 3] {
        for executor in EXECUTORS {
            let job = Job::of_text(&text).set("parallelism", parallelism).set("sink.all.parallelism", 2);
            let ran = job.into_files("sums").into_files("copies").into_files("all").on(executor).run();
            let what = format!("{parallelism} tasks on {executor:?}");
            assert_same(&ran.lines("sums"), &sums, &what);
            assert_same(&ran.lines("copies"), &sums, &what);
            // Each input is written by its own schema.
            assert_same(&ran.lines("all"), &all, &what);
            assert_eq!(ran.report.sources["many"].records_out, 3000, "{what}: what goes two ways is read once");
        }
    }
}

#[test]
fn a_stop_holds_for_a_job_of_which_one_source_has_ended() {
    let text = SOURCES.replace("count = 3000", "rate = 10_000")
        + &operator("sum", "keyed-sum", "[\"many\", \"few\"]", "emit-every = 1")
        + &sink("out", "[\"sum\"]");
    for parallelism in [1, 2] {
        let job = Job::of_text(&text).set("parallelism", parallelism).into_files("out");
        let ran = job.stopped_after(Duration::from_millis(200)).run();
        assert_eq!(ran.report.outcome, Outcome::Stopped);
        let read: u64 = ran.report.sources.values().map(|source| source.records_in).sum();
        assert_eq!(ran.report.sources["few"].records_in, 70);
        assert_eq!((ran.operator("sum").records_in, ran.lines("out").len() as u64), (read, read));
    }
}

#[test]
fn a_slow_sink_branch_holds_back_but_loses_nothing() {
    // Tiny batches fill the channels at once; the operator behind them is the slowest part.
    let text = SOURCES.to_owned()
        + &operator("count", "misbehaving", "[\"many\"]", "mode = \"slow\", on = 5, milliseconds = 50")
        + &sink("out", "[\"count\", \"few\"]");
    let job = Job::of_text(&text).set("batch.records", 1).set("source.many.parallelism", 5).into_files("out");
    let ran = job.run();
    let mut expected = reference::count_lines(3000, 11, &[]);
    expected.extend((0..70).map(|number| number.to_string()));
    expected.sort_unstable();
    assert_same(&ran.lines("out"), &expected, "all records");
}

#[test]
fn a_source_that_has_nothing_ends_a_job_like_any_other() {
    let text = SOURCES.replace("count = 3000", "count = 0").replace("count = 70", "count = 0")
        + &operator("sum", "keyed-sum", "[\"many\", \"few\"]", "emit-every = 1")
        + &sink("out", "[\"sum\"]");
    for executor in EXECUTORS {
        let ran = Job::of_text(&text).set("parallelism", 3).into_files("out").on(executor).run();
        assert_eq!(ran.report.outcome, Outcome::Done);
        assert!(ran.files("out").is_empty(), "no part without a record: {:?}", ran.files("out").keys());
        assert_eq!(ran.report.start_to_first_result_ms, None);
    }
}
