//! Each kind of misbehaviour is contained: it costs one record, the others' results are exact, and the message says whose it was and what happened.

use std::time::{Duration, Instant};

use wasmill::job::Executor;

use crate::{
    harness::{Job, assert_same},
    reference,
};

const RECORDS: u64 = 1_000;
const KEYS: u64 = 10;
/// The value of the record that is poison.
const POISON: u64 = 500;

const EXECUTORS: [Executor; 2] = [Executor::Threads, Executor::Seeded(7)];

/// A way to misbehave, the name of its fault, and a part of its message.
struct Deed {
    mode: &'static str,
    fault: &'static str,
    message: &'static str,
}

const fn deed(mode: &'static str, fault: &'static str, message: &'static str) -> Deed {
    Deed { mode, fault, message }
}

const DEEDS: [Deed; 12] = [
    deed("fail", "failed-record", "the record with the value 500 fails, as configured"),
    deed("panic", "panic", "the operator panicked: the record with the value 500 panics, as configured"),
    deed("trap", "trap", "the operator trapped: wasm `unreachable` instruction executed"),
    // Which of its two stacks ends first is the compiler's to choose.
    deed("recurse", "trap", "the operator trapped: "),
    deed("loop", "time-limit", "the call took longer than 200ms (limits.call-time)"),
    deed("slow", "time-limit", "the call took longer than 200ms (limits.call-time)"),
    deed("sleep", "trap", "the operator asked WASI to wait, and operators may not sleep"),
    deed("allocate", "memory-limit", "more than its 16777216 (limits.memory)"),
    deed("emit", "output-limit", "the call emitted more than 1048576 bytes (limits.output), state included"),
    deed(
        "lie-ends",
        "malformed-columns",
        "emit, values: end 1 of the column (1) lies before the end that precedes it (3)",
    ),
    deed("lie-source", "malformed-columns", "emit names a source record beyond the"),
    deed("lie-slot", "malformed-columns", "slot 4000000 stands for no key"),
];

/// The job, with limits that are soon reached.
fn job(mode: &str) -> Job {
    Job::of_plugin("misbehaving")
        .sets(&[
            ("operator.count.limits.memory", "16MiB"),
            ("operator.count.limits.call-time", "200ms"),
            ("operator.count.limits.output", "1MiB"),
            ("operator.count.config.milliseconds", "60000"),
            ("batch.records", "16"),
        ])
        .set("operator.count.config.mode", mode)
        .set("operator.count.config.on", POISON)
        .into_files("counts")
}

fn key_of(value: u64) -> u64 {
    reference::splitmix64(value) % KEYS
}

#[track_caller]
fn check_skipped(deed: &Deed, job: &Job, executor: Executor) {
    let ran = job.clone().on(executor).run();
    let what = format!("mode {} on {executor:?}", deed.mode);
    assert_same(&ran.lines("counts"), &reference::count_lines(RECORDS, KEYS, &[POISON]), &what);
    let count = ran.operator("count");
    assert_eq!((count.records_in, count.poisoned), (RECORDS, 1), "{what}");
    assert!(count.faults >= 1, "{what}: {} faults", count.faults);
}

#[test]
fn skipping_costs_the_poison_record_alone() {
    for deed in &DEEDS {
        for executor in EXECUTORS {
            check_skipped(deed, &job(deed.mode), executor);
        }
    }
}

#[test]
fn a_lie_about_the_state_is_noticed_too() {
    let deed = deed("lie-state", "malformed-columns", "there is no state 7");
    check_skipped(&deed, &job(deed.mode), Executor::Threads);
    check_failing(&deed);
}

#[test]
fn skipping_costs_the_poison_record_alone_in_several_tasks() {
    for mode in ["fail", "panic", "trap", "lie-source"] {
        let deed = DEEDS.iter().find(|deed| deed.mode == mode).expect("a deed of that mode");
        for executor in EXECUTORS {
            check_skipped(deed, &job(mode).set("parallelism", 3), executor);
        }
    }
}

#[test]
fn one_batch_with_all_records_is_run_again_but_for_the_poison() {
    for mode in ["fail", "panic", "trap", "lie-slot"] {
        let deed = DEEDS.iter().find(|deed| deed.mode == mode).expect("a deed of that mode");
        check_skipped(deed, &job(mode).set("batch.records", 1024), Executor::Threads);
    }
}

#[test]
fn a_panic_names_the_record_so_the_batch_is_cut_there() {
    let ran = job("panic").set("batch.records", 1024).run();
    assert_eq!(ran.operator("count").faults, 2, "once in the batch and once alone");
    // A bare trap does not: it takes about log2(1000) halves to find the record.
    let ran = job("trap").set("batch.records", 1024).run();
    assert!((9..=12).contains(&ran.operator("count").faults), "{} faults", ran.operator("count").faults);
}

#[track_caller]
fn check_failing(deed: &Deed) {
    let ran = job(deed.mode).set("operator.count.on-error", "fail").try_run().expect("it starts");
    let fault = ran.fault.expect("it fails");
    let message = &fault.message;
    assert_eq!(fault.kind.name(), deed.fault, "{message}");
    assert!(message.starts_with("operator count, task 0: "), "{message}");
    assert!(message.contains(deed.message), "{message}");
    let place = format!("(the record with key {} and value {POISON})", key_of(POISON));
    assert!(message.ends_with(&place), "mode {}: {message}", deed.mode);
}

#[test]
fn failing_names_operator_task_and_record() {
    DEEDS.iter().for_each(check_failing);
}

#[test]
fn a_bare_trap_names_its_record_where_batches_hold_one() {
    let message = job("trap").sets(&[("operator.count.on-error", "fail"), ("batch.records", "1")]).run_failing();
    assert!(message.ends_with(&format!("(the record with key {} and value {POISON})", key_of(POISON))), "{message}");
}

#[test]
fn the_task_that_failed_is_the_one_that_owns_the_key() {
    use wasmill::stream::{hash_key, key_group, task_of_key_group};
    let group = key_group(hash_key(&key_of(POISON).to_le_bytes()), 128);
    let expected = format!("operator count, task {}: ", task_of_key_group(group, 5, 128));
    for executor in EXECUTORS {
        let failing = job("panic").sets(&[("operator.count.on-error", "fail"), ("parallelism", "5")]).on(executor);
        let message = failing.run_failing();
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[test]
fn a_job_that_fails_leaves_no_results_behind() {
    let ran = job("fail").set("operator.count.on-error", "fail").try_run().expect("it starts");
    assert!(ran.fault.is_some());
    assert!(ran.files("counts").is_empty(), "{:?}", ran.files("counts").keys());
    let sink = &ran.report.sinks["counts"];
    assert!(sink.records_in < RECORDS, "the rest was not processed");
}

#[test]
fn a_trap_brings_a_backtrace_with_the_operators_functions() {
    let ran = job("panic").set("operator.count.on-error", "fail").try_run().expect("it starts");
    let backtrace = ran.fault.and_then(|fault| fault.backtrace).expect("a backtrace");
    assert!(backtrace.contains("misbehav"), "{backtrace}");
}

#[test]
fn what_is_slow_within_its_budget_is_no_fault() {
    let ran = job("slow")
        .sets(&[("operator.count.config.milliseconds", "20"), ("operator.count.limits.call-time", "30s")])
        .run();
    assert_same(&ran.lines("counts"), &reference::count_lines(RECORDS, KEYS, &[]), "slow");
    assert_eq!(ran.operator("count").faults, 0);
}

#[test]
fn a_flood_of_log_lines_is_dropped_and_counted() {
    let ran = job("log").set("operator.count.limits.call-time", "30s").run();
    assert_same(&ran.lines("counts"), &reference::count_lines(RECORDS, KEYS, &[]), "log");
    let count = ran.operator("count");
    assert_eq!((count.faults, count.metrics["log-lines"]), (0, 100_000));
    // A hundred a second pass, and the flood lasts a few seconds at most.
    let dropped = count.metrics["log-lines-dropped"];
    assert!((95_000..=99_900).contains(&dropped), "{dropped}");
}

#[test]
fn on_the_seeded_thread_a_flood_lasts_no_time() {
    let ran = job("log").set("operator.count.limits.call-time", "30s").on(Executor::Seeded(1)).run();
    assert_eq!(ran.operator("count").metrics["log-lines-dropped"], 99_900);
}

#[test]
fn misbehaviour_in_open_fails_the_job_whatever_on_error_says() {
    for (mode, message) in [
        ("open-fail", "open fails, as configured"),
        ("open-panic", "the operator panicked: open panics, as configured"),
        ("open-loop", "the call took longer than 200ms (limits.call-time)"),
    ] {
        for policy in ["skip", "fail"] {
            let failed = job(mode).set("operator.count.on-error", policy).run_failing();
            assert!(failed.starts_with("operator count, task 0: ") && failed.contains(message), "{failed}");
            assert!(failed.ends_with("(in open)"), "{failed}");
        }
    }
}

#[test]
fn an_operator_that_needs_more_memory_than_it_may_have_is_named() {
    let message = job("none").set("operator.count.limits.memory", "64KiB").run_failing();
    assert!(message.starts_with("operator count, task 0: the component can't be instantiated: it needs "), "{message}");
    assert!(message.ends_with("more than its 65536 (limits.memory)"), "{message}");
}

#[test]
fn a_wrong_configuration_is_shown_with_its_key() {
    let message = Job::of_plugin("keyed-sum").set("operator.sum.config.emit-evry", 1).run_failing();
    assert!(message.contains("emit-evry") && message.contains("emit-every"), "{message}");
    let message = Job::of_plugin("keyed-sum").set("operator.sum.config.emit-every", 0).run_failing();
    assert_eq!(message, "operator sum, task 0: config: emit-every: must be at least 1 (in open)");
}

#[test]
fn too_many_faults_in_a_minute_fail_the_job() {
    for executor in EXECUTORS {
        let flood = job("trap").set("operator.count.limits.faults-per-minute", 3).on(executor);
        let message = flood.run_failing();
        let expected = "operator count, task 0: more than 3 faults in a minute (limits.faults-per-minute); the last one: the operator trapped: ";
        assert!(message.starts_with(expected), "{message}");
        // As many as there are, however, are allowed: a batch of 16 is halved four times.
        job("trap").set("operator.count.limits.faults-per-minute", 5).on(executor).run();
    }
}

#[test]
fn a_call_that_never_returns_is_stopped_soon_after_its_budget() {
    let began = Instant::now();
    let ran = job("loop").sets(&[("batch.records", "1"), ("operator.count.limits.call-time", "100ms")]).run();
    assert_eq!(ran.operator("count").poisoned, 1);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
