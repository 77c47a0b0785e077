//! `run --dump-state` and `wasmill state`, as typed in a shell.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::{Said, say, wasmill, write_job};
use crate::{
    harness::{assert_same, component, folder, root, sorted_lines, texts},
    reference,
};

const RECORDS: u64 = 3_000;
const KEYS: u64 = 40;

/// State in memory, and state of which next to nothing stays there.
const BACKENDS: [&[&str]; 2] =
    [&["state.backend=memory"], &["state.backend=fjall", "state.cache=64KiB", "state.directory=spill"]];

/// `wasmill run JOB`, with `--dump-state`, in a folder for whatever it leaves.
fn run(job: &str, sets: &[&str], dump: &Path) -> Said {
    let mut command = wasmill(["run", job, "--dump-state"]);
    command.arg(dump).current_dir(dump.parent().expect("a folder"));
    sets.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    command.output().expect("it can be started").into()
}

/// Whether a task had to evict state: the marker of its spill stays.
fn has_spilled(folder: &Path, task: &str) -> bool {
    folder.join("spill").join(task).join("wasmill-spill").exists()
}

/// The documents that a command writes, one a line.
fn documents(said: &Said) -> Vec<Value> {
    said.expect(0).lines().map(|line| serde_json::from_str(line).expect("a JSON document a line")).collect()
}

fn state(words: &[&str], dump: &Path, more: &[&str]) -> Said {
    let dump = dump.display().to_string();
    let all: Vec<&str> = [&["state"], words, &[&dump], more].concat();
    say(&all)
}

fn job_path(plugin: &str) -> String {
    root().join(format!("plugins/{plugin}/job.toml")).display().to_string()
}

fn word_counts() -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in reference::words(&reference::lines(&texts())) {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}

fn dump_words(folder: &Path, sets: &[&str]) -> PathBuf {
    let dump = folder.join("words");
    let lines = format!("source.lines.path={}", texts().display());
    let sets = [&[&*lines, "sink.counts.type=blackhole", "parallelism=2"], sets].concat();
    let said = run(&job_path("word-count"), &sets, &dump);
    assert_eq!(said.expect(0), "");
    assert!(
        said.err.contains(&format!("state written to {0}: wasmill state list {0}", dump.display())),
        "{}",
        said.err
    );
    dump
}

#[test]
fn the_counts_of_words_are_what_was_counted() {
    for backend in BACKENDS {
        let folder = folder();
        let dump = dump_words(folder.path(), backend);
        let said = state(&["export"], &dump, &["count", "count"]);
        let expected: Vec<String> = word_counts()
            .iter()
            .map(|(word, count)| format!("{{\"key\":{},\"value\":{count}}}", json!(word)))
            .collect();
        assert_same(&sorted_lines([said.expect(0).as_bytes()].into_iter()), &sorted(expected), "the export");
        assert_eq!(said.err, "");
        for (word, count) in word_counts().iter().take(5) {
            let got = state(&["get"], &dump, &["count", "count", word]);
            assert_eq!(got.expect(0), format!("{count}\n"), "{word}");
        }
        let quoted = state(&["get"], &dump, &["count", "count", "\"the\""]);
        assert_eq!(quoted.expect(0), format!("{}\n", word_counts()["the"]));
    }
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

#[test]
fn sums_are_shown_by_their_schema_on_both_backends_and_by_both_executors() {
    let (records, keys) = (20_000, 6_000);
    let (count_set, keys_set) = (format!("source.numbers.count={records}"), format!("source.numbers.keys={keys}"));
    let mut exports = BTreeSet::new();
    for (backend, seed) in BACKENDS.iter().flat_map(|backend| [(backend, None), (backend, Some("5"))]) {
        let folder = folder();
        let dump = folder.path().join("sums");
        let mut command = wasmill(["run", &job_path("keyed-sum"), "--dump-state"]);
        command.arg(&dump).current_dir(folder.path()).args(seed.iter().flat_map(|seed| ["--seed", seed]));
        for set in [&count_set, &keys_set, "parallelism=3", "sink.sums.type=blackhole"].iter().chain(*backend) {
            command.args(["--set", set]);
        }
        let said: Said = command.output().expect("it can be started").into();
        said.expect(0);
        assert_eq!(has_spilled(folder.path(), "keyed-sum/sum-0"), backend.len() > 1, "{backend:?}");
        exports.insert(state(&["export"], &dump, &["sum", "sum", "--format", "json"]).expect(0).to_owned());
    }
    let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (key, value) in reference::numbers(records, keys) {
        let (sum, updates) = sums.entry(key).or_default();
        (*sum, *updates) = (*sum + value, *updates + 1);
    }
    let expected = sums.iter().map(|(key, (sum, updates))| format!("{{\"key\":{key},\"value\":[{sum},{updates}]}}"));
    assert_eq!(exports.len(), 1, "the same bytes, in the same order");
    let export = exports.pop_first().expect("one");
    assert_same(&sorted_lines([export.as_bytes()].into_iter()), &sorted(expected.collect()), "the export");
}

/// A job of the operator that keeps lists, maps, namespaces and a list of its task.
fn collections(folder: &Path) -> String {
    let text = format!(
        r#"
        name = "collections"
        parallelism = 2
        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = {RECORDS}
        keys  = {KEYS}
        parallelism = 1
        [[operator]]
        id     = "keep"
        plugin = "{}"
        inputs = ["numbers"]
        [[sink]]
        id     = "nowhere"
        type   = "blackhole"
        inputs = ["keep"]
        "#,
        component("collections").display()
    );
    write_job(folder, &text)
}

/// The numbers that a key had, in their order.
fn numbers_of(key: u64) -> Vec<u64> {
    reference::numbers(RECORDS, KEYS).filter(|(other, _)| *other == key).map(|(_, number)| number).collect()
}

/// Kind and digit - 5, in the order of map keys, with the last number.
fn map_of(key: u64) -> BTreeMap<(&'static str, i64), u64> {
    let place = |number: u64| (if number.is_multiple_of(2) { "even" } else { "odd" }, (number % 10) as i64 - 5);
    numbers_of(key).into_iter().map(|number| (place(number), number)).collect()
}

/// The last number by its tens.
fn tens_of(key: u64) -> BTreeMap<u64, u64> {
    numbers_of(key).into_iter().map(|number| (number / 10, number)).collect()
}

#[test]
fn lists_maps_and_namespaces_are_shown_whole_and_in_order_on_both_backends() {
    for backend in BACKENDS {
        let folder = folder();
        let dump = folder.path().join("dump");
        run(&collections(folder.path()), backend, &dump).expect(0);
        assert_eq!(has_spilled(folder.path(), "collections/keep-0"), backend.len() > 1, "{backend:?}");
        let get = |more: &[&str]| state(&["get"], &dump, &[&["keep"], more].concat());
        for key in [0, 7, KEYS - 1] {
            let typed = key.to_string();
            assert_eq!(documents(&get(&["seen", &typed])), [json!(numbers_of(key))], "the list of {key}");
            let pairs: Vec<_> = map_of(key).into_iter().map(|(map_key, number)| json!([map_key, number])).collect();
            assert_eq!(documents(&get(&["by-kind", &typed])), [json!(pairs)], "the map of {key}");
            let tens: Vec<_> = tens_of(key).into_values().collect();
            let found = documents(&get(&["tens", &typed]));
            assert_eq!(found.iter().map(|place| place["value"].as_u64()).collect::<Option<Vec<_>>>(), Some(tens));
            assert!(found.iter().all(|place| place["namespace"].is_string()), "{found:?}");
        }
        let all = documents(&get(&["all"]));
        let tasks: Vec<_> = all.iter().map(|place| place["task"].clone()).collect();
        assert_eq!(tasks, [json!(0), json!(1)]);
        let numbers = all.iter().flat_map(|place| place["value"].as_array().expect("a list"));
        let numbers: BTreeSet<u64> = numbers.map(|number| number.as_u64().expect("a number")).collect();
        assert_eq!(numbers, (0..RECORDS).collect());

        let export = |name: &str| documents(&state(&["export"], &dump, &["keep", name]));
        let of = |key: u64| move |line: &Value| (line["key"] == json!(key)).then(|| line.clone());
        let lines: Vec<_> = export("seen").iter().filter_map(of(7)).collect();
        let expected: Vec<_> = numbers_of(7).into_iter().map(|number| json!({ "key": 7, "value": number })).collect();
        assert_eq!(lines, expected);
        let lines: Vec<_> = export("by-kind").iter().filter_map(of(7)).collect();
        let entry = |(map_key, number)| json!({ "key": 7, "map_key": map_key, "value": number });
        assert_eq!(lines, map_of(7).into_iter().map(entry).collect::<Vec<_>>());
        let lines = export("tens");
        assert_eq!(lines.len(), (0..KEYS).map(|key| tens_of(key).len()).sum::<usize>());
        assert_eq!(lines[0].as_object().expect("an object").keys().collect::<Vec<_>>(), ["key", "namespace", "value"]);
        assert_eq!(export("all").len() as u64, RECORDS);
        assert_eq!(export("all")[0].as_object().expect("an object").keys().collect::<Vec<_>>(), ["task", "value"]);

        let list = documents(&state(&["list"], &dump, &["keep", "--json"])).remove(0);
        let counts: Vec<_> = list["operators"][0]["states"]
            .as_array()
            .expect("states")
            .iter()
            .map(|state| (state["name"].as_str(), state["kind"].as_str(), state["entries"].as_u64()))
            .collect();
        let of_all = |count: fn(u64) -> usize| Some((0..KEYS).map(count).sum::<usize>() as u64);
        assert_eq!(
            counts,
            [
                (Some("seen"), Some("keyed-list"), Some(RECORDS)),
                (Some("by-kind"), Some("keyed-map"), of_all(|key| map_of(key).len())),
                (Some("tens"), Some("value"), of_all(|key| tens_of(key).len())),
                (Some("all"), Some("operator-list"), Some(RECORDS)),
            ]
        );
    }
}

#[test]
fn state_of_format_version_1_is_still_read() {
    // Written by the first version that could, of the operator `collections` with 24 numbers and 3 keys.
    let dump = root().join("tests/fixtures/state-format-1");
    let exports =
        ["seen", "by-kind", "tens", "all"].map(|name| state(&["export"], &dump, &["keep", name]).expect(0).to_owned());
    let golden = fs::read_to_string(root().join("tests/golden/state-format-1.jsonl")).expect("it is there");
    assert_eq!(exports.concat(), golden);
}

#[test]
fn broadcast_state_is_shown_once_and_found_by_map_key() {
    let folder = folder();
    let text = format!(
        r#"
        name = "rules"
        parallelism = 2
        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = 10
        [[source]]
        id    = "rules"
        type  = "datagen"
        count = 3
        [[operator]]
        id     = "join"
        plugin = "{}"
        inputs = ["numbers", {{ from = "rules", input = "rules" }}]
        [[sink]]
        id     = "nowhere"
        type   = "blackhole"
        inputs = ["join"]
        "#,
        component("two-inputs").display()
    );
    let dump = folder.path().join("dump");
    run(&write_job(folder.path(), &text), &[], &dump).expect(0);
    let lines = documents(&state(&["export"], &dump, &["join", "rules"]));
    let rule = |number: u64| json!({ "map_key": base64(&number.to_be_bytes()), "value": number });
    assert_eq!(lines[..3], [rule(0), rule(1), rule(2)]);
    assert_eq!((lines.len(), &lines[3]["map_key"]), (4, &json!(base64(b"last"))));
    let whole = documents(&state(&["get"], &dump, &["join", "rules"])).remove(0);
    assert_eq!(whole[base64(&2_u64.to_be_bytes())], json!(2));
    assert_eq!(state(&["get"], &dump, &["join", "rules", &base64(&1_u64.to_be_bytes())]).expect(0), "1\n");
    let list = state(&["list"], &dump, &[]);
    let out = list.expect(0);
    assert!(out.starts_with("job rules, at the end of its input\noperator join, 2 tasks\n"), "{out}");
    for part in ["a u64 in 8 bytes, by a u64 in 8 bytes", "operator-list", "a u64 in 8 bytes, map keys bytes"] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    wasmill::stream::schema::Schema::bytes().render_json(bytes, &mut out).expect("any bytes");
    serde_json::from_slice(&out).expect("a string")
}

#[test]
fn an_export_may_go_to_a_file_that_is_replaced_when_it_is_whole() {
    let folder = folder();
    let dump = root().join("tests/fixtures/state-format-1");
    let file = folder.path().join("seen.jsonl");
    fs::write(&file, "an earlier export").expect("it can be written");
    let output = file.display().to_string();
    state(&["export"], &dump, &["keep", "no-such-state", "-o", &output]).refused(2, &["has no state `no-such-state`"]);
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "an earlier export");
    let said = state(&["export"], &dump, &["keep", "seen", "-o", &output]);
    assert_eq!(said.expect(0), "");
    let expected = state(&["export"], &dump, &["keep", "seen"]);
    assert_eq!(fs::read_to_string(&file).expect("it is there"), expected.expect(0));
    let nowhere = folder.path().join("no/such/folder").display().to_string();
    state(&["export"], &dump, &["keep", "seen", "-o", &nowhere]).refused(2, &["no/such/folder can't be written"]);
    state(&["export"], &dump, &["keep", "seen", "--format", "parquet"]).refused(2, &["--output <FILE>"]);
    // The binary of the tests is built as it is by default.
    state(&["export"], &dump, &["keep", "seen", "--format", "parquet", "-o", &output])
        .refused(2, &["built without Parquet", "--features parquet"]);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing unfinished is left");
}

#[test]
fn what_was_meant_is_said() {
    let folder = folder();
    let dump = dump_words(folder.path(), &[]);
    for (more, parts) in [
        (&["cuont", "count", "the"][..], &["job word-count has no operator `cuont`; did you mean `count`?"][..]),
        (&["elsewhere", "count", "the"], &["no operator `elsewhere`; it has `split`, `count`"]),
        (&["count", "cuont", "the"], &["operator count has no state `cuont`; did you mean `count`?"]),
        (&["split", "count", "the"], &["operator split has no state"]),
        (&["count", "count"], &["state count belongs to keys: give the KEY, text"]),
    ] {
        state(&["get"], &dump, more).refused(2, parts);
    }
    state(&["list"], &dump, &["cuont"]).refused(2, &["did you mean `count`?"]);
    state(&["export"], &dump, &["count", "cuont"]).refused(2, &["did you mean `count`?"]);
    let absent = state(&["get"], &dump, &["count", "count", "no-such-word"]);
    absent.refused(0, &["state count of operator count has nothing for no-such-word"]);
    assert_eq!(state(&["get"], &dump, &["count", "count", "no-such-word", "--json"]).expect(0), "[]\n");
    let found = state(&["get"], &dump, &["count", "count", "the", "--json"]);
    assert_eq!(documents(&found), [json!([{ "value": word_counts()["the"] }])]);
    for help in ["list", "get", "export"] {
        let said = say(&["state", help, "--help"]);
        assert!(said.expect(0).contains(&format!("wasmill state {help} ")), "{}", said.out);
    }
}

#[test]
fn a_key_that_is_none_is_refused() {
    let folder = folder();
    let dump = folder.path().join("sums");
    run(&job_path("keyed-sum"), &["source.numbers.count=10", "sink.sums.type=blackhole"], &dump).expect(0);
    state(&["get"], &dump, &["sum", "sum", "one"])
        .refused(2, &["the keys of state sum are something else: `one` is not a u64"]);
    state(&["get"], &dump, &["sum", "sum", "-1"]).refused(2, &["-1 is not a u64"]);
}

#[test]
fn damaged_state_is_refused_with_its_file_and_what_to_do() {
    let folder = folder();
    let dump = dump_words(folder.path(), &[]);
    let file = dump.join("data-1/count-1.state");
    let whole = fs::read(&file).expect("a file");
    let name = file.display().to_string();
    let all = ["count", "count"];

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&file, flipped).expect("it can be written");
    let said = state(&["export"], &dump, &all);
    assert_eq!(said.code, Some(4), "{}", said.err);
    for part in [&name[..], "a block does not have its checksum", "run the job once more with --dump-state"] {
        assert!(said.err.contains(part), "{part} is not in:\n{}", said.err);
    }

    fs::write(&file, &whole[..whole.len() - 9]).expect("it can be written");
    state(&["export"], &dump, &all).refused(4, &[&name, "it was cut or changed: bring it back, or run the job"]);
    fs::remove_file(&file).expect("it is there");
    state(&["list"], &dump, &[]).refused(4, &[&name, "the manifest names this file, but it is not there"]);
    fs::write(&file, &whole).expect("it can be written");
    state(&["list"], &dump, &[]).expect(0);

    let manifest = dump.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    fs::write(&manifest, text.replace("\"format-version\": 1", "\"format-version\": 4")).expect("it can be written");
    let later = "it has format version 4, and this wasmill reads up to 3; use a later wasmill";
    state(&["list"], &dump, &[]).refused(4, &[&manifest.display().to_string(), later]);
    fs::remove_file(&manifest).expect("it is there");
    state(&["list"], &dump, &[]).refused(4, &["this folder holds no state: it has no manifest.json"]);
    state(&["list"], &dump.join("nowhere"), &[]).refused(2, &["nowhere: it is not there; give the folder"]);
}

#[test]
fn a_folder_with_something_else_is_refused_before_anything_starts() {
    let folder = folder();
    fs::write(folder.path().join("thesis.txt"), "years of work").expect("it can be written");
    // Not even the job's plugin is looked at.
    let job = write_job(folder.path(), &super::ENDLESS.replace("PLUGINS/keyed-sum", "no/such/crate"));
    let said = say(&["run", &job, "--dump-state", &folder.path().display().to_string()]);
    said.refused(2, &["--dump-state ", "and no earlier dump; a dump goes to a new or empty folder"]);
    assert_eq!(fs::read_to_string(folder.path().join("thesis.txt")).expect("it is there"), "years of work");
    say(&["run", &job, "--dump-state", &job]).refused(2, &["this is no folder; choose another name"]);
    say(&["run", &job, "--dump-state", &folder.path().join("new").display().to_string()])
        .refused(3, &["no/such/crate"]);
    assert!(!folder.path().join("new").exists(), "what was not needed is gone");
}

#[test]
fn an_earlier_dump_is_replaced_by_a_job_that_ends_well_only() {
    let folder = folder();
    let dump = dump_words(folder.path(), &[]);
    let before = state(&["export"], &dump, &["count", "count"]).expect(0).to_owned();
    let failing = ["source.numbers.count=1000", "operator.count.on-error=fail", "sink.counts.type=blackhole"];
    let said = run(&job_path("misbehaving"), &failing, &dump);
    said.refused(1, &["job misbehaving failed"]);
    assert!(!said.err.contains("state written"), "{}", said.err);
    assert_eq!(state(&["export"], &dump, &["count", "count"]).expect(0), before);
    // A new folder of a job that fails is not left behind.
    let new = folder.path().join("new");
    run(&job_path("misbehaving"), &failing, &new).refused(1, &["job misbehaving failed"]);
    assert!(!new.exists());

    let sums = ["source.numbers.count=10", "sink.sums.type=blackhole"];
    run(&job_path("keyed-sum"), &sums, &dump).expect(0);
    assert!(state(&["list"], &dump, &[]).expect(0).starts_with("job keyed-sum, "));
    let names = fs::read_dir(&dump).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let names: BTreeSet<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    assert_eq!(names, BTreeSet::from(["data-2".to_owned(), "manifest.json".to_owned()]));
}

/// An endless job that dumps its state, its results, and the folder for the dump.
fn endless(folder: &Path) -> (Child, Lines<BufReader<ChildStdout>>, PathBuf) {
    let dump = folder.join("sums");
    let mut child = wasmill(["run", &write_job(folder, super::ENDLESS), "--dump-state"])
        .arg(&dump)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    (child, lines, dump)
}

#[test]
fn the_state_of_a_job_that_is_stopped_is_what_its_results_say() {
    let folder = folder();
    let (child, mut lines, dump) = endless(folder.path());
    let mut last: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut take = |line: String| {
        let sum: Value = serde_json::from_str(&line).expect("a result");
        let number = |name: &str| sum[name].as_u64().expect("a number");
        last.insert(number("key"), (number("sum"), number("updates")));
    };
    take(lines.next().expect("a result").expect("it can be read"));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("the process is there");
    lines.for_each(|line| take(line.expect("it can be read")));
    let said: Said = child.wait_with_output().expect("it ends").into();
    said.expect(0);
    assert!(said.err.contains("state written to "), "{}", said.err);
    assert!(state(&["list"], &dump, &[]).expect(0).starts_with("job endless, when it was stopped\n"));
    let export = documents(&state(&["export"], &dump, &["sum", "sum"]));
    let value = |line: &Value, index: usize| line["value"][index].as_u64().expect("a number");
    let found = export.iter().map(|line| (line["key"].as_u64().expect("a key"), (value(line, 0), value(line, 1))));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), last);
}

#[test]
fn a_dump_that_can_not_be_written_fails_the_job_by_the_name_of_the_file() {
    let folder = folder();
    let (child, mut lines, dump) = endless(folder.path());
    lines.next().expect("a result").expect("it can be read");
    fs::remove_dir_all(dump.join(".unfinished")).expect("it is there while the job runs");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("the process is there");
    lines.for_each(drop);
    let said: Said = child.wait_with_output().expect("it ends").into();
    said.refused(1, &["job endless failed: operator sum, task 0: ", "sum-0.state: No such file", "writing its state"]);
    assert!(!dump.exists(), "what was not needed is gone");
}

#[test]
fn whoever_reads_an_export_may_go() {
    let folder = folder();
    let dump = folder.path().join("sums");
    let sets = ["source.numbers.count=50000", "source.numbers.keys=20000", "sink.sums.type=blackhole"];
    run(&job_path("keyed-sum"), &sets, &dump).expect(0);
    let mut child = wasmill(["state", "export"])
        .arg(&dump)
        .args(["sum", "sum"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("an entry");
    assert!(first.starts_with("{\"key\":"), "{first}");
    let said: Said = child.wait_with_output().expect("it ends").into();
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
}
