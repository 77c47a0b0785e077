//! State that does not fit into its memory: most of it goes to disk and comes back, and the results are the same. The report says that it went.

use std::fs;

use tempfile::TempDir;
use wasmill::job::Executor;

use crate::{
    harness::{Job, assert_same, folder},
    reference::{self, lessons, sensors},
    ways::Place,
};

/// Parallelism, records in a batch, executor.
const WAYS: [(u32, usize, Executor); 4] = [
    (1, 1024, Executor::Threads),
    (2, 7, Executor::Threads),
    (2, 100, Executor::Seeded(7)),
    (5, 1024, Executor::Threads),
];

/// Runs a job with little memory for state of about so many entries, most of which must then go to disk.
#[track_caller]
fn check(job: &Job, (operator, sink): (&str, &str), (cache, entries): (&'static str, u64), expected: &[String]) {
    for (parallelism, records, executor) in WAYS {
        let job = Place::Disk(cache).of(job).set("parallelism", parallelism).set("batch.records", records);
        let ran = job.on(executor).into_files(sink).run();
        let what = format!("parallelism {parallelism}, batches of {records}, {executor:?}");
        assert_same(&ran.lines(sink), expected, &what);
        let metrics = &ran.operator(operator).metrics;
        let in_memory = metrics.get("state-keys").copied().unwrap_or(0);
        assert!(in_memory < entries / 2 && metrics["state-evicted"] > entries, "{what}: {metrics:?}");
        assert!(metrics["state-disk-bytes"] > 0, "{what}: {metrics:?}");
    }
}

#[test]
fn sums_of_a_hundred_thousand_keys_are_exact_when_most_of_them_are_on_disk() {
    let job = Job::of_plugin("keyed-sum").sets(&[
        ("source.numbers.count", "200000"),
        ("source.numbers.keys", "100000"),
        ("operator.sum.config.emit-every", "1000000"),
    ]);
    let expected = reference::keyed_sum_lines(200_000, 100_000, 1_000_000, true);
    check(&job, ("sum", "sums"), ("256KiB", 100_000), &expected);
}

#[test]
fn lists_of_many_sensors_stay_in_order_when_most_of_them_are_on_disk() {
    let job = Job::of_plugin("running-list").sets(&[
        ("source.readings.count", "30000"),
        ("source.readings.sensors", "3000"),
        ("operator.last.config.last", "3"),
        ("operator.last.config.every", "4"),
    ]);
    check(&job, ("last", "lists"), ("64KiB", 3_000), &sensors::list_lines(30_000, 3_000, 3, 4));
}

#[test]
fn accumulators_of_many_sensors_are_exact_when_most_of_them_are_on_disk() {
    let job = Job::of_plugin("sensor-stats").sets(&[
        ("source.readings.count", "30000"),
        ("source.readings.sensors", "3000"),
        ("operator.stats.config.every", "4"),
    ]);
    check(&job, ("stats", "figures"), ("64KiB", 3_000), &sensors::stats_lines(30_000, 3_000, 4));
}

#[test]
fn maps_of_many_users_are_whole_when_most_of_them_are_on_disk() {
    let views = lessons::many_views(40_000, 4_000);
    let (_folder, path) = file(&views);
    let job = Job::of_plugin("recommend").set("source.views.path", path);
    check(&job, ("recommend", "favourites"), ("64KiB", 4_000), &lessons::favourite_lines(&views));
}

/// A file with this text, and the folder in which it is.
fn file(text: &str) -> (TempDir, String) {
    let folder = folder();
    let path = folder.path().join("input.jsonl");
    fs::write(&path, text).expect("the folder can be written to");
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn lists_that_take_several_pages_come_back_whole_and_in_order() {
    let job = Job::of_plugin("running-list").sets(&[
        ("source.readings.count", "40000"),
        ("source.readings.sensors", "4"),
        ("operator.last.config.last", "10000"),
        ("operator.last.config.every", "4000"),
    ]);
    check(&job, ("last", "lists"), ("16KiB", 40_000), &sensors::list_lines(40_000, 4, 10_000, 4_000));
}

#[test]
fn maps_that_take_several_pages_come_back_whole() {
    let views = lessons::many_categories(8_000, 2, 3_000);
    let (_folder, path) = file(&views);
    let job = Job::of_plugin("recommend").set("source.views.path", path);
    check(&job, ("recommend", "favourites"), ("16KiB", 4_000), &lessons::favourite_lines(&views));
}

#[test]
fn what_is_rolled_back_is_as_it_was_when_most_of_the_state_is_on_disk() {
    for mode in ["fail", "panic", "trap", "lie-slot"] {
        let job = Job::of_plugin("misbehaving").sets(&[
            ("source.numbers.count", "12000"),
            ("source.numbers.keys", "3000"),
            ("operator.count.config.mode", mode),
            ("operator.count.config.on", "9999"),
        ]);
        check(&job, ("count", "counts"), ("64KiB", 3_000), &reference::count_lines(12_000, 3_000, &[9_999]));
    }
}

#[test]
fn guests_with_little_memory_and_hosts_with_little_memory_go_together() {
    let job = Job::of_plugin("keyed-sum").sets(&[
        ("source.numbers.count", "60000"),
        ("source.numbers.keys", "20000"),
        ("operator.sum.config.emit-every", "1000000"),
        ("operator.sum.limits.memory", "4MiB"),
    ]);
    let expected = reference::keyed_sum_lines(60_000, 20_000, 1_000_000, true);
    check(&job, ("sum", "sums"), ("128KiB", 20_000), &expected);
}

#[test]
fn alerts_of_many_items_are_the_same_when_most_items_are_on_disk() {
    let (prices, rules) = (lessons::many_prices(30_000, 3_000), lessons::many_rules(500, 3_000));
    let (_prices, prices_path) = file(&prices);
    let (_rules, rules_path) = file(&rules);
    let job = Job::of_plugin("price-alert").set("source.prices.path", prices_path).set("source.rules.path", rules_path);
    check(&job, ("alert", "alerts"), ("64KiB", 3_000), &lessons::alert_lines(&prices, &rules));
}
