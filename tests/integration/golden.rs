//! Golden results of each job, however it is run: at several parallelisms and batch sizes, on threads and on the seeded thread.

use std::{collections::BTreeMap, fs};

use wasmill::job::Executor;

use crate::{
    harness::{Job, assert_same, root, texts},
    reference,
};

const PARALLELISMS: [u32; 3] = [1, 2, 5];
const BATCH_RECORDS: [usize; 3] = [1, 7, 1024];
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

/// Runs a job in every way and compares what its sink `sink` gets.
#[track_caller]
fn check(job: &Job, sink: &str, parallelisms: &[u32], expected: &[String]) {
    for parallelism in parallelisms {
        for records in BATCH_RECORDS {
            for executor in EXECUTORS {
                let job = job.clone().set("parallelism", parallelism).set("batch.records", records).on(executor);
                let ran = job.into_files(sink).run();
                let what = format!("parallelism {parallelism}, batches of {records}, {executor:?}");
                assert_same(&ran.lines(sink), expected, &what);
                let report = &ran.report.sinks[sink];
                assert_eq!((report.records_out, report.parallelism), (expected.len() as u64, *parallelism), "{what}");
            }
        }
    }
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
    check(&job, "words", &PARALLELISMS, &expected);
}

#[test]
fn word_count_counts_each_word_without_a_gap() {
    check(&word_count(), "counts", &PARALLELISMS, &reference::word_count_lines(&golden_counts()));
}

#[test]
fn keyed_sum_gives_every_sum_when_one_task_reads() {
    let job = keyed_sum().set("operator.sum.config.emit-every", 20);
    let expected = reference::keyed_sum_lines(5_000, 37, 20, true);
    check(&job, "sums", &[1], &expected);
    // One source keeps the order of each key, whatever stands behind it.
    check(&job.set("source.numbers.parallelism", 1), "sums", &[2, 5], &expected);
}

#[test]
fn keyed_sum_gives_the_final_sums_at_any_parallelism() {
    let job = keyed_sum().set("operator.sum.config.emit-every", 1_000_000);
    check(&job, "sums", &PARALLELISMS, &reference::keyed_sum_lines(5_000, 37, 1_000_000, true));
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
