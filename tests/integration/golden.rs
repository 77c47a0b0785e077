//! Golden results of each job, however it is run: at several parallelisms and batch sizes, with state in memory and on disk, on threads and on the seeded thread.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use wasmill::job::Executor;

use crate::{
    harness::{Job, Ran, assert_same, folder, root, texts},
    reference::{self, lessons, sensors},
    ways::{PARALLELISMS, Way, ways},
};

const EXECUTORS: [Executor; 2] = [Executor::Threads, Executor::Seeded(0x5eed)];

/// The words of `fixtures/texts` and how often they come: `golden/words.tsv`, made once by another program in another language.
fn golden_counts() -> BTreeMap<String, u64> {
    let text = fs::read_to_string(root().join("tests/golden/words.tsv")).expect("the golden words are there");
    let count = |line: &str| {
        let (word, count) = line.split_once('\t').expect("word, tab, count");
        (word.to_owned(), count.parse().expect("a number"))
    };
    text.lines().map(count).collect()
}

/// The lines that a plugin's job has to give, sorted: made once by another program in another language.
fn golden_lines(plugin: &str) -> Vec<String> {
    let path = root().join(format!("tests/golden/{plugin}.jsonl"));
    let text = fs::read_to_string(path).expect("the golden lines are there");
    text.lines().map(str::to_owned).collect()
}

/// Whether the operators of a job keep state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    State,
    Nothing,
}

/// Runs a job in many ways and compares what its sink `sink` gets.
#[track_caller]
fn check(job: &Job, (keeps, sink): (Keeps, &str), parallelisms: &[u32], expected: &[String]) {
    for way in ways(parallelisms) {
        compare(&way.of(job).into_files(sink).run(), way, (keeps, sink), expected);
    }
}

/// Compares what a sink got in one of the ways.
#[track_caller]
fn compare(ran: &Ran, way: Way, (keeps, sink): (Keeps, &str), expected: &[String]) {
    assert_same(&ran.lines(sink), expected, &way.to_string());
    let report = &ran.report.sinks[sink];
    assert_eq!((report.records_out, report.parallelism), (expected.len() as u64, way.parallelism), "{way}");
    let evicted: u64 = ran.report.operators.values().filter_map(|it| it.metrics.get("state-evicted")).sum();
    assert_eq!(evicted > 0, keeps == Keeps::State && way.is_tiny(), "{way}: {evicted} entries went to disk");
}

fn word_count() -> Job {
    Job::of_plugin("word-count").set("source.lines.path", texts().display())
}

fn keyed_sum() -> Job {
    Job::of_plugin("keyed-sum").sets(&[("source.numbers.count", "5000"), ("source.numbers.keys", "37")])
}

#[test]
fn the_reference_gives_the_golden_words() {
    let words = reference::words(&reference::lines(&texts()));
    assert_eq!(reference::counts(&words), golden_counts());
}

#[test]
fn split_words_gives_a_record_for_each_word() {
    // The words are the keys; the values, which a sink writes, hold nothing.
    let expected = vec!["null".to_owned(); golden_counts().values().sum::<u64>() as usize];
    let job = Job::of_plugin("split-words").set("source.lines.path", texts().display());
    check(&job, (Keeps::Nothing, "words"), &PARALLELISMS, &expected);
}

#[test]
fn word_count_counts_each_word_without_a_gap() {
    check(&word_count(), (Keeps::State, "counts"), &PARALLELISMS, &reference::word_count_lines(&golden_counts()));
}

#[test]
fn keyed_sum_gives_every_sum_when_one_task_reads() {
    let job = keyed_sum().set("operator.sum.config.emit-every", 20);
    let expected = reference::keyed_sum_lines(5_000, 37, 20, true);
    check(&job, (Keeps::State, "sums"), &[1], &expected);
    // One source keeps the order of each key, whatever stands behind it.
    check(&job.set("source.numbers.parallelism", 1), (Keeps::State, "sums"), &[2, 5], &expected);
}

#[test]
fn keyed_sum_gives_the_final_sums_at_any_parallelism() {
    let job = keyed_sum().set("operator.sum.config.emit-every", 1_000_000);
    check(&job, (Keeps::State, "sums"), &PARALLELISMS, &reference::keyed_sum_lines(5_000, 37, 1_000_000, true));
}

/// A file that comes with a plugin.
fn plugin_file(path: &str) -> String {
    fs::read_to_string(root().join("plugins").join(path)).expect("the plugin has its input")
}

#[test]
fn sensor_stats_gives_figures_at_every_nth_reading_and_at_the_end() {
    let golden = golden_lines("sensor-stats");
    assert_same(&sensors::stats_lines(10_000, 10, 400), &golden, "reference");
    check(&Job::of_plugin("sensor-stats"), (Keeps::State, "figures"), &PARALLELISMS, &golden);
}

#[test]
fn running_list_gives_the_last_readings_in_their_order() {
    let golden = golden_lines("running-list");
    assert_same(&sensors::list_lines(500, 10, 5, 20), &golden, "reference");
    check(&Job::of_plugin("running-list"), (Keeps::State, "lists"), &PARALLELISMS, &golden);
}

#[test]
fn ad_clicks_gives_a_rate_at_every_click_and_at_the_end() {
    let golden = golden_lines("ad-clicks");
    assert_same(&lessons::rate_lines(&plugin_file("ad-clicks/events.jsonl")), &golden, "reference");
    check(&Job::of_plugin("ad-clicks"), (Keeps::State, "rates"), &PARALLELISMS, &golden);
}

#[test]
fn recommend_gives_favourites_when_they_change_and_at_the_end() {
    let golden = golden_lines("recommend");
    assert_same(&lessons::favourite_lines(&plugin_file("recommend/views.jsonl")), &golden, "reference");
    check(&Job::of_plugin("recommend"), (Keeps::State, "favourites"), &PARALLELISMS, &golden);
}

#[test]
fn price_alert_gives_each_alert_once_whichever_input_is_faster() {
    let golden = golden_lines("price-alert");
    let [prices, rules] = ["prices", "rules"].map(|name| plugin_file(&format!("price-alert/{name}.jsonl")));
    assert_same(&lessons::alert_lines(&prices, &rules), &golden, "reference");
    check(&Job::of_plugin("price-alert"), (Keeps::State, "alerts"), &PARALLELISMS, &golden);
    for seed in 0..30 {
        let job = Job::of_plugin("price-alert").sets(&[("parallelism", "3"), ("batch.records", "5")]);
        let ran = job.on(Executor::Seeded(seed)).into_files("alerts").run();
        assert_same(&ran.lines("alerts"), &golden, &format!("seed {seed}"));
    }
}

/// The first payments of `fraud-rules`, in their order.
fn payments(count: u32) -> Vec<Value> {
    let text = format!(
        r#"
        name = "payments"
        [[source]]
        id         = "payments"
        type       = "datagen"
        generator  = "nexmark"
        events     = "bid"
        event-rate = 100
        count      = {count}
        [[sink]]
        id     = "out"
        type   = "stdout"
        inputs = ["payments"]
        "#
    );
    let mut payments = Job::of_text(&text).into_files("out").run().documents("out");
    payments.sort_by_key(|payment| payment["date_time"].as_u64());
    payments
}

#[test]
fn fraud_rules_gives_an_alert_for_each_broken_rule_in_both_versions() {
    let payments = payments(3_000);
    for (plugin, version) in [("fraud-rules", 1), ("fraud-rules-v2", 2)] {
        let golden = golden_lines(plugin);
        assert_same(&lessons::fraud_lines(&payments, version), &golden, "reference");
        let job = Job::of_plugin(plugin)
            .sets(&[("source.payments.count", "3000"), ("source.payments.rate", "1000000000")])
            .into_files("alerts");
        for way in ways(&PARALLELISMS) {
            // A run would go on from the last checkpoint of the one before.
            let storage = folder();
            let ran = way.of(&job).set("checkpoint.storage", storage.path().display()).run();
            compare(&ran, way, (Keeps::State, "alerts"), &golden);
        }
    }
}

#[test]
fn misbehaving_counts_all_records_but_the_poison() {
    check(
        &Job::of_plugin("misbehaving"),
        (Keeps::State, "counts"),
        &PARALLELISMS,
        &reference::count_lines(1_000, 10, &[500]),
    );
}

#[test]
fn keyed_sum_gives_nothing_at_the_end_when_it_is_told_so() {
    let job = keyed_sum().set("operator.sum.config.final", false).set("operator.sum.config.emit-every", 100);
    assert_same(
        &job.into_files("sums").run().lines("sums"),
        &reference::keyed_sum_lines(5_000, 37, 100, false),
        "no final sums",
    );
}

#[test]
fn sources_operators_and_sinks_may_differ_in_parallelism() {
    for (source, split, count, sink) in [(1, 5, 2, 1), (5, 1, 1, 2), (2, 2, 5, 5), (3, 4, 7, 2)] {
        let job = word_count()
            .set("source.lines.parallelism", source)
            .set("operator.split.parallelism", split)
            .set("operator.count.parallelism", count)
            .set("sink.counts.parallelism", sink)
            .set("batch.records", 3)
            .into_files("counts");
        for executor in EXECUTORS {
            let ran = job.clone().on(executor).run();
            let what = format!("{source}, {split}, {count}, {sink} tasks on {executor:?}");
            assert_same(&ran.lines("counts"), &reference::word_count_lines(&golden_counts()), &what);
        }
    }
}

#[test]
fn more_keys_than_a_batch_holds_are_all_visited_at_the_end() {
    let job = Job::of_plugin("keyed-sum").sets(&[
        ("source.numbers.count", "30000"),
        ("source.numbers.keys", "9000"),
        ("operator.sum.config.emit-every", "1000000"),
        ("parallelism", "2"),
        ("batch.records", "100"),
    ]);
    let expected = reference::keyed_sum_lines(30_000, 9_000, 1_000_000, true);
    let ran = job.into_files("sums").run();
    assert_same(&ran.lines("sums"), &expected, "final sums");
    assert_eq!(ran.operator("sum").metrics["state-keys"], expected.len() as u64);
}

#[test]
fn batches_also_close_by_their_bytes() {
    let job = word_count().set("batch.bytes", "16B").set("parallelism", 2).into_files("counts");
    let ran = job.run();
    assert_same(&ran.lines("counts"), &reference::word_count_lines(&golden_counts()), "batches of 16 bytes");
    let split = ran.operator("split");
    assert!(split.batches_in * 4 > split.records_in, "{} batches for {} lines", split.batches_in, split.records_in);
}

#[test]
fn small_slot_tables_of_the_guest_change_nothing() {
    // The cap is so low that the host makes the guest forget half of its slots again and again.
    let job = Job::of_plugin("keyed-sum").sets(&[
        ("source.numbers.count", "60000"),
        ("source.numbers.keys", "20000"),
        ("operator.sum.config.emit-every", "1000000"),
        ("operator.sum.limits.memory", "4MiB"),
    ]);
    let expected = reference::keyed_sum_lines(60_000, 20_000, 1_000_000, true);
    assert_same(&job.into_files("sums").run().lines("sums"), &expected, "final sums");
}
