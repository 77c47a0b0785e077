//! State that does not fit into its memory: most of it goes to disk and comes back, and the results are the same. The report says that it went.

use std::fs;

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

/// Runs a job with little memory for the state of `keys` keys.
#[track_caller]
fn check(job: &Job, (operator, sink): (&str, &str), (cache, keys): (&'static str, u64), expected: &[String]) {
    for (parallelism, records, executor) in WAYS {
        let job = Place::Disk(cache).of(job).set("parallelism", parallelism).set("batch.records", records);
        let ran = job.on(executor).into_files(sink).run();
        let what = format!("parallelism {parallelism}, batches of {records}, {executor:?}");
        assert_same(&ran.lines(sink), expected, &what);
        let metrics = &ran.operator(operator).metrics;
        let in_memory = metrics.get("state-keys").copied().unwrap_or(0);
        assert!(in_memory < keys / 2 && metrics["state-evicted"] > keys, "{what}: {metrics:?}");
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
    let input = folder();
    let path = input.path().join("views.jsonl");
    fs::write(&path, &views).expect("the folder can be written to");
    let job = Job::of_plugin("recommend").set("source.views.path", path.display());
    check(&job, ("recommend", "favourites"), ("64KiB", 4_000), &lessons::favourite_lines(&views));
}

#[test]
fn alerts_of_many_items_are_the_same_when_most_items_are_on_disk() {
    let (prices, rules) = (lessons::many_prices(30_000, 3_000), lessons::many_rules(500, 3_000));
    let input = folder();
    let place = |name: &str, text: &str| {
        let path = input.path().join(name);
        fs::write(&path, text).expect("the folder can be written to");
        path.display().to_string()
    };
    let job = Job::of_plugin("price-alert")
        .set("source.prices.path", place("prices.jsonl", &prices))
        .set("source.rules.path", place("rules.jsonl", &rules));
    check(&job, ("alert", "alerts"), ("64KiB", 3_000), &lessons::alert_lines(&prices, &rules));
}
