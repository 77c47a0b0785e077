//! Sources of whole jobs: compressed files, JSON with keys, made-up events and readings.

use std::{collections::BTreeMap, fs, io::Write};

use serde_json::Value;
use wasmill::job::Executor;

use crate::harness::{Job, assert_same, folder};

const EXECUTORS: [Executor; 2] = [Executor::Threads, Executor::Seeded(3)];

/// A source whose records go to a file as they are.
fn copy(source: &str) -> Job {
    let text = format!(
        "name = \"copy\"\n[[source]]\nid = \"in\"\n{source}\n[[sink]]\nid = \"out\"\ntype = \"stdout\"\ninputs = [\"in\"]\n"
    );
    Job::of_text(&text).into_files("out")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

#[test]
fn made_up_records_do_not_depend_on_tasks() {
    for (source, count) in [
        ("type = \"datagen\"\ngenerator = \"nexmark\"\ncount = 7000\nseed = 4", 7000),
        (
            "type = \"datagen\"\ngenerator = \"nexmark\"\ncount = 3000\nevents = \"bid\"\nkey = \"bidder\"\nkey-type = \"u64\"",
            3000,
        ),
        ("type = \"datagen\"\ngenerator = \"sensors\"\ncount = 9000\nsensors = 17\nseed = 4", 9000),
    ] {
        let expected = copy(source).run();
        assert_eq!(expected.lines("out").len(), count, "{source}");
        for executor in EXECUTORS {
            let ran = copy(source).set("parallelism", 5).set("batch.records", 100).on(executor).run();
            assert_same(&ran.lines("out"), &expected.lines("out"), source);
        }
    }
}

#[test]
fn an_operator_must_take_what_the_source_gives() {
    let text = r#"
        name = "bids"
        [[source]]
        id        = "bids"
        type      = "datagen"
        generator = "nexmark"
        events    = "bid"
        count     = 5000
        key       = "auction"
        [[operator]]
        id     = "count"
        plugin = { crate = "plugins/word-count" }
        inputs = ["bids"]
        [[sink]]
        id     = "out"
        type   = "stdout"
        inputs = ["count"]
    "#;
    // The operator counts words, and an auction is no word: both schemas are named.
    let error = Job::of_text(text).run_failing();
    assert!(error.contains("the keys of bids are a u64 in 8 bytes, but count takes keys that are text"), "{error}");
    assert!(error.contains("bids gives a JSON document, but count takes a unit (no bytes)"), "{error}");
}

#[test]
fn json_of_compressed_files_reaches_the_sink_whole() {
    let inputs = folder();
    let record = |number: u64| format!("{{\"user\":\"user-{}\",\"number\":{number}}}", number % 10);
    let lines = |from: u64, to: u64| (from..to).map(|number| record(number) + "\n\n").collect::<String>();
    let write = |name: &str, bytes: &[u8]| fs::write(inputs.path().join(name), bytes).expect("an input is written");
    write("a.jsonl", lines(0, 1000).as_bytes());
    write("b.jsonl.gz", &[gzip(&lines(1000, 2000)), gzip(&(lines(2000, 3000) + "{\"user\":7}\nnot json"))].concat());
    let source = format!("type = \"file\"\npath = \"{}\"\nformat = \"json\"\nkey = \"user\"", inputs.path().display());
    let mut expected: Vec<String> = (0..3000).map(record).collect();
    expected.sort_unstable();
    for parallelism in [1, 3] {
        for executor in EXECUTORS {
            let job = copy(&source).set("source.in.invalid-json", "skip").set("parallelism", parallelism);
            let ran = job.on(executor).run();
            assert_same(&ran.lines("out"), &expected, "all records");
            assert_eq!(ran.report.sources["in"].metrics["invalid-json"], 2);
        }
    }
    let error = copy(&source).run_failing();
    assert!(
        error.contains("b.jsonl.gz: byte ") && error.contains("the record's key `user` is a number, not a string"),
        "{error}"
    );
}

#[test]
fn readings_come_in_order_for_each_sensor() {
    let source = "type = \"datagen\"\ngenerator = \"sensors\"\ncount = 5000\nsensors = 4\ninterval = \"10s\"";
    let ran = copy(source).run();
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    // One task writes its records in order.
    for file in ran.files("out").values() {
        for line in std::str::from_utf8(file).expect("results are text").lines() {
            let reading: Value = serde_json::from_str(line).expect("a reading is JSON");
            let sensor = reading["sensor"].as_str().expect("a name").to_owned();
            times.entry(sensor).or_default().push(reading["time"].as_i64().expect("a time"));
        }
    }
    assert_eq!(times.len(), 4);
    for (sensor, times) in times {
        assert_eq!(times.len(), 1250, "{sensor}");
        let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap >= 10_000 && gap % 10_000 == 0), "{sensor}: {gaps:?}");
        assert!(gaps.iter().any(|gap| *gap > 10_000), "{sensor} is never silent");
    }
}
