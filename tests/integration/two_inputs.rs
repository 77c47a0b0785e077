//! Operators with several inputs: what is broadcast reaches every task once and in order, whatever the parallelism and however it is run; operator state is part of the
//! transaction.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wasmill::job::Executor;

use crate::{
    harness::{Job, Ran, assert_same, component, texts, with_loader},
    reference,
};

const NUMBERS: u64 = 3_000;
const KEYS: u64 = 40;
const RULES: u64 = 120;

const PARALLELISMS: [u32; 3] = [1, 2, 5];
const EXECUTORS: [Executor; 3] = [Executor::Threads, Executor::Seeded(3), Executor::Seeded(0x5eed)];

fn job(config: &str) -> Job {
    let text = format!(
        r#"
        name = "two-inputs"
        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = {NUMBERS}
        keys  = {KEYS}
        [[source]]
        id          = "rules"
        type        = "datagen"
        count       = {RULES}
        parallelism = 1
        [[operator]]
        id     = "join"
        plugin = "{}"
        inputs = [{{ from = "rules", input = "rules" }}, "numbers"]
        config = {{ {config} }}
        [[sink]]
        id     = "out"
        type   = "stdout"
        inputs = ["join"]
        "#,
        component("two-inputs").display()
    );
    Job::of_text(&text).into_files("out").set("batch.records", 16)
}

/// How the operator is seen at its end: a line for each key, the same at any parallelism.
fn expected_keys(poison_number: Option<u64>, poison_rule: Option<u64>) -> Vec<String> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for (key, number) in reference::numbers(NUMBERS, KEYS) {
        *counts.entry(key).or_default() += u64::from(Some(number) != poison_number);
    }
    let rules: Vec<u64> = (0..RULES).filter(|rule| Some(*rule) != poison_rule).collect();
    let (rules, sum): (usize, u64) = (rules.len(), rules.iter().sum());
    let line = |(key, count)| format!(r#"{{"key":{key},"count":{count},"rules":{rules},"sum":{sum}}}"#);
    let mut lines: Vec<String> = counts.into_iter().map(line).collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn check(ran: &Ran, parallelism: u32, (poison_number, poison_rule): (Option<u64>, Option<u64>), what: &str) {
    let keys: Vec<String> = ran.lines("out").into_iter().filter(|line| line.starts_with("{\"key\"")).collect();
    assert_same(&keys, &expected_keys(poison_number, poison_rule), what);

    let documents = ran.documents("out");
    let number = |document: &Value, name: &str| document[name].as_u64();
    // Every task shows every rule once, with the one before it.
    let shown: Vec<_> = documents
        .iter()
        .filter_map(|it| Some((number(it, "task")?, number(it, "rule")?, number(it, "after"))))
        .collect();
    let good: Vec<u64> = (0..RULES).filter(|rule| Some(*rule) != poison_rule).collect();
    let mut expected: Vec<_> = (0..u64::from(parallelism))
        .flat_map(|task| good.iter().enumerate().map(move |(index, rule)| (task, *rule, index)))
        .map(|(task, rule, index)| (task, rule, index.checked_sub(1).map(|before| good[before])))
        .collect();
    let mut sorted = shown.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert!(sorted == expected, "{what}: rules of {} where {} were expected", sorted.len(), expected.len());
    // The list of each task holds what its keys have together, so no instance that was thrown away took a number with it.
    let had: BTreeSet<_> = documents.iter().filter_map(|it| Some((number(it, "task")?, number(it, "had")?))).collect();
    assert_eq!(had.len(), parallelism as usize, "{what}: {had:?}");
    assert_eq!(
        had.iter().map(|(_, had)| had).sum::<u64>(),
        NUMBERS - u64::from(poison_number.is_some()),
        "{what}: {had:?}"
    );
}

#[test]
fn what_is_broadcast_reaches_every_task_once_and_in_order() {
    for parallelism in PARALLELISMS {
        for records in [1, 16, 1024] {
            for executor in EXECUTORS {
                let job = job("").set("parallelism", parallelism).set("batch.records", records).on(executor);
                let ran = job.run();
                let what = format!("{parallelism} tasks, batches of {records}, {executor:?}");
                check(&ran, parallelism, (None, None), &what);
                let join = ran.operator("join");
                assert_eq!(join.records_in, NUMBERS + RULES * u64::from(parallelism), "{what}");
                assert_eq!(ran.report.sources["rules"].records_out, RULES, "{what}: read once");
            }
        }
    }
}

#[test]
fn whatever_the_order_in_which_tasks_run_the_results_are_the_same() {
    let poison = (Some(1234), Some(77));
    for seed in 100..130 {
        let job = job("poison-number = 1234, poison-rule = 77").sets(&[
            ("parallelism", "3"),
            ("batch.records", "5"),
            ("operator.join.on-error", "skip"),
        ]);
        check(&job.on(Executor::Seeded(seed)).run(), 3, poison, &format!("seed {seed}"));
    }
}

#[test]
fn one_source_may_feed_both_inputs() {
    for parallelism in PARALLELISMS {
        for executor in EXECUTORS {
            // The numbers are the rules as well.
            let inputs = "[\"numbers\", { from = \"numbers\", input = \"rules\" }]";
            let job = job("").set("operator.join.inputs", inputs).set("sink.out.inputs", "[\"join\", \"rules\"]");
            let ran = job.set("parallelism", parallelism).set("batch.records", 4).on(executor).run();
            let sum: u64 = (0..NUMBERS).sum();
            let keys: Vec<_> = ran.documents("out").into_iter().filter(|document| document["key"].is_u64()).collect();
            assert_eq!(keys.len() as u64, KEYS);
            let alike = |key: &Value| key["rules"] == NUMBERS && key["sum"] == sum;
            assert!(keys.iter().all(alike), "{parallelism} tasks on {executor:?}: {keys:?}");
        }
    }
}

#[test]
fn an_edge_may_be_broadcast_to_an_input_without_keys_and_to_a_sink() {
    for executor in EXECUTORS {
        let job = job("").set("sink.out.inputs", "[\"join\", { from = \"rules\", partitioning = \"broadcast\" }]");
        let ran = job.set("parallelism", 2).set("sink.out.parallelism", 3).on(executor).run();
        let mut rules: Vec<u64> = ran.documents("out").iter().filter_map(Value::as_u64).collect();
        rules.sort_unstable();
        let expected: Vec<u64> = (0..RULES).flat_map(|rule| [rule; 3]).collect();
        assert_eq!(rules, expected, "each part has all, on {executor:?}");

        let lines = Job::of_plugin("split-words").set("source.lines.path", texts().display()).into_files("words");
        let once = lines.run().lines("words").len();
        let to_all = lines.set("operator.split.inputs", "{ from = \"lines\", partitioning = \"broadcast\" }");
        let ran = to_all.set("operator.split.parallelism", 3).on(executor).run();
        assert_eq!(ran.lines("words").len(), 3 * once, "{executor:?}");
    }
}

#[test]
fn several_senders_broadcast_to_all() {
    // Between senders there is no order, so only that nothing is lost and nothing comes twice is promised.
    for executor in EXECUTORS {
        let job = job("").set("parallelism", 3).set("source.rules.parallelism", 4).on(executor);
        let ran = job.run();
        let keys: Vec<String> = ran.lines("out").into_iter().filter(|line| line.starts_with("{\"key\"")).collect();
        assert_same(&keys, &expected_keys(None, None), &format!("four senders on {executor:?}"));
        let shown = ran.documents("out").iter().filter(|document| document["rule"].is_u64()).count();
        assert_eq!(shown as u64, 3 * RULES, "{executor:?}");
    }
}

#[test]
fn a_poison_rule_costs_itself_alone_in_every_task() {
    for parallelism in PARALLELISMS {
        for executor in EXECUTORS {
            let job = job("poison-rule = 77").set("parallelism", parallelism).set("operator.join.on-error", "skip");
            let ran = job.on(executor).run();
            let what = format!("{parallelism} tasks on {executor:?}");
            check(&ran, parallelism, (None, Some(77)), &what);
            assert_eq!(ran.operator("join").poisoned, u64::from(parallelism), "{what}");
        }
    }
}

#[test]
fn a_poison_number_leaves_rules_and_lists_as_they_were() {
    for parallelism in PARALLELISMS {
        for executor in EXECUTORS {
            let config = "poison-number = 1234, poison-rule = 5";
            let job = job(config).set("parallelism", parallelism).set("operator.join.on-error", "skip");
            let ran = job.on(executor).run();
            let what = format!("{parallelism} tasks on {executor:?}");
            check(&ran, parallelism, (Some(1234), Some(5)), &what);
            assert_eq!(ran.operator("join").poisoned, u64::from(parallelism) + 1, "{what}");
        }
    }
}

#[test]
fn faults_and_dead_letters_say_by_which_input_a_record_came() {
    let message = job("poison-rule = 77").run_failing();
    assert!(message.starts_with("operator join, task 0: the operator trapped: "), "{message}");
    assert!(message.ends_with("(the record 77 of the input rules)"), "{message}");
    let message = job("poison-number = 1234").run_failing();
    let key = reference::splitmix64(1234) % KEYS;
    let place = format!("(the record with key {key} and value 1234 of the input numbers)");
    assert!(message.ends_with(&place), "{message}");

    let dead = "[[sink]]\nid = \"dead\"\ntype = \"stdout\"\n";
    let job = job("poison-rule = 77, poison-number = 1234").with_text(dead).into_files("dead");
    let ran = job.set("operator.join.on-error", "{ dead-letter = \"dead\" }").set("operator.join.parallelism", 2).run();
    check(&ran, 2, (Some(1234), Some(77)), "dead letters");
    let letters: Vec<_> = ran
        .documents("dead")
        .iter()
        .map(|letter| (letter["input"].clone(), letter["key"].clone(), letter["value"].clone()))
        .collect();
    let rule = ("rules".into(), Value::Null, 77.into());
    let number = ("numbers".into(), key.into(), 1234.into());
    let count = |letter| letters.iter().filter(|it| **it == letter).count();
    assert_eq!((count(rule), count(number), letters.len()), (2, 1, 3), "{letters:?}");
}

#[test]
fn what_may_not_be_touched_now_is_refused() {
    let without_keys = "was called for a batch of an input whose records have no keys";
    for (mode, message) in [
        ("keyed-state", format!("get-many {without_keys}")),
        ("slot-of", format!("slot-of {without_keys}")),
        (
            "put-for-numbers",
            "put-broadcast may be called only while records of a broadcast input are processed".to_owned(),
        ),
        ("list-in-process", "get-list may be called within open only".to_owned()),
        ("set-in-open", "set-list may be called within process, on-end and snapshot only".to_owned()),
    ] {
        let failed = job(&format!("mode = \"{mode}\"")).run_failing();
        assert!(failed.starts_with("operator join, task 0: ") && failed.contains(&message), "{mode}: {failed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run_with_several_inputs() {
    let config = "poison-number = 1234, poison-rule = 5";
    let run = |seed| {
        // One file, in which the results of all tasks meet.
        let job = job(config).set("parallelism", 3).set("sink.out.parallelism", 1);
        let job = job.set("operator.join.on-error", "skip");
        job.on(Executor::Seeded(seed)).run().files("out")
    };
    let first = run(1);
    assert!(first == run(1), "two runs with one seed differ");
    assert!((2..6).any(|seed| run(seed) != first), "the seed decides nothing");
}

#[test]
fn edges_that_do_not_fit_an_input_are_refused_with_their_place() {
    let refused = |inputs: &str, expected: &str| {
        let job = job("").set("operator.join.inputs", inputs);
        let error = match job.try_run() {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{inputs} is not refused"),
        };
        assert!(error.contains(expected), "{error}");
    };
    refused("numbers", "nothing leads to the input rules of join");
    refused(
        "[\"numbers\", { from = \"rules\", input = \"rule\" }]",
        "join has no input \"rule\"; did you mean \"rules\"?",
    );
    let rules = "{ from = \"rules\", input = \"rules\", partitioning = \"hash\" }";
    refused(&format!("[\"numbers\", {rules}]"), "join takes every record in every task at its input rules");
}

#[test]
fn the_state_of_tasks_counts_operator_state() {
    let ran = job("").run();
    assert!(ran.operator("join").metrics["state-bytes"] >= RULES * 16, "{:?}", ran.operator("join").metrics);
}

#[test]
fn a_plugin_with_operator_state_shows_it() {
    let bytes = std::fs::read(component("two-inputs")).expect("a component");
    let plugin = with_loader(|loader| wasmill::wasm::WasmPlugin::load(loader.engine(), &bytes)).expect("it is loaded");
    let inputs: Vec<_> = wasmill::operator::Plugin::descriptor(&plugin)
        .inputs
        .iter()
        .map(|input| (input.name.as_str(), input.key.is_some(), input.broadcast))
        .collect();
    assert_eq!(inputs, [("numbers", true, false), ("rules", false, true)]);
}
