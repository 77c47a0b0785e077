//! `wasmill plan`, `wasmill build` and `wasmill plugin inspect`: they show and check, and start nothing.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{Said, say, wasmill, write_job};
use crate::harness::{component, folder, root};

const JOB: &str = "plugins/word-count/job.toml";

fn document(said: &Said) -> Value {
    serde_json::from_str(said.expect(0)).expect("standard output is one JSON document")
}

#[test]
fn plan_shows_the_graph() {
    let said = say(&["plan", JOB, "--set", "operator.count.parallelism=4"]);
    let shown = said.expect(0);
    for line in [
        "job word-count",
        "  source lines: 1 task",
        "  operator split: 1 task, plugin split-words ",
        "    from lines (in the same task): text",
        "  operator count: 4 tasks, plugin word-count ",
        "    from split (by hash): ",
        "  sink counts: 1 task",
        "    from count (by rebalance): ",
    ] {
        assert!(shown.lines().any(|shown| shown.starts_with(line)), "{line:?} is not in:\n{shown}");
    }
    assert!(shown.contains("value state count: "), "{shown}");
}

#[test]
fn plan_as_json_is_whole() {
    let plan = document(&say(&["plan", JOB, "--json", "--set", "parallelism=2"]));
    assert_eq!((&plan["job"], &plan["max_parallelism"]), (&json!("word-count"), &json!(128)));
    let vertices: Vec<_> = plan["vertices"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|vertex| (vertex["id"].clone(), vertex["parallelism"].clone()))
        .collect();
    assert_eq!(
        vertices,
        [("lines", 2), ("split", 2), ("count", 2), ("counts", 2)].map(|(id, tasks)| (json!(id), json!(tasks)))
    );
    let hash = json!({ "from": "split", "to": "count", "input": "in", "partitioning": "hash", "carries": "records", "chained": false });
    assert!(plan["edges"].as_array().is_some_and(|edges| edges.contains(&hash)), "{plan}");
    let count = &plan["vertices"][2];
    assert_eq!((&count["plugin"]["name"], &count["plugin"]["states"]), (&json!("word-count"), &json!(["count"])));
    assert_eq!(count["plugin"]["digest"].as_str().map(str::len), Some(64));
}

#[test]
fn plan_and_inspect_show_several_inputs() {
    let component = component("two-inputs");
    let sources = ["numbers", "rules"].map(|id| format!("[[source]]\nid = \"{id}\"\ntype = \"datagen\"\n"));
    let operator = format!(
        "[[operator]]\nid = \"join\"\nplugin = {component:?}\ninputs = [\"numbers\", {{ from = \"rules\", input = \"rules\" }}]\n"
    );
    let sink = "[[sink]]\nid = \"out\"\ntype = \"stdout\"\ninputs = [\"join\"]\n";
    let folder = folder();
    let job = write_job(folder.path(), &format!("name = \"two\"\n{}{operator}{sink}", sources.concat()));
    let said = say(&["plan", &job]);
    let shown = said.expect(0);
    for line in [
        "    from numbers to numbers (by hash): a u64 in 8 bytes, keyed by a u64 in 8 bytes",
        "    from rules to rules (by broadcast): a u64 in 8 bytes",
        "    from join (in the same task): a JSON document, keyed by a u64 in 8 bytes",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in:\n{shown}");
    }
    let edges = document(&say(&["plan", &job, "--json"]))["edges"].clone();
    let inputs: Vec<_> = edges.as_array().expect("a list").iter().map(|edge| edge["input"].clone()).collect();
    assert_eq!(inputs, [json!("numbers"), json!("rules"), json!(null)]);

    let component = component.display().to_string();
    let said = say(&["plugin", "inspect", &component]);
    let line = "  input rules: a u64 in 8 bytes, no keys asked for, broadcast to every task";
    assert!(said.expect(0).lines().any(|shown| shown == line), "{}", said.out);
    let described = document(&say(&["plugin", "inspect", &component, "--json"]));
    let broadcast = described["inputs"].as_array().expect("a list").iter().map(|input| input["broadcast"].clone());
    assert_eq!(broadcast.collect::<Vec<_>>(), [json!(false), json!(true)]);
}

#[test]
fn plan_starts_nothing() {
    let folder = folder();
    let out = folder.path().join("out");
    let sets = [format!("sink.counts.path={}", out.display()), "source.lines.path=no-such-file.txt".to_owned()];
    let said = say(&["plan", JOB, "--set", "sink.counts.type=file", "--set", &sets[0], "--set", &sets[1]]);
    said.expect(0);
    assert!(!out.exists());
}

#[test]
fn plan_shows_dead_letters() {
    let folder = folder();
    let text = super::ENDLESS.replace("config = ", "on-error = { dead-letter = \"dead\" }\nconfig = ")
        + "[[sink]]\nid = \"dead\"\ntype = \"blackhole\"\n";
    let job = write_job(folder.path(), &text);
    let shown = say(&["plan", &job]);
    assert!(
        shown.expect(0).contains("  sink dead: 1 task\n    from sum (in the same task): dead letters"),
        "{}",
        shown.out
    );
}

#[test]
fn build_gives_the_component_its_digest_and_size() {
    let args = ["build", "plugins/word-count", "--json"];
    let built = document(&say(&args));
    let component = Path::new(built["component"].as_str().expect("a path")).to_owned();
    assert!(component.is_absolute(), "{built}");
    assert_eq!(built["bytes"].as_u64(), fs::metadata(&component).ok().map(|metadata| metadata.len()));
    assert_eq!((&built["name"], built["digest"].as_str().map(str::len)), (&json!("word-count"), Some(64)));

    let again = document(&say(&args));
    assert_eq!(
        (&again["built"], &again["digest"]),
        (&json!(false), &built["digest"]),
        "nothing has changed, so nothing is built"
    );

    let inspected = document(&say(&["plugin", "inspect", "--json", &component.display().to_string()]));
    assert_eq!((&inspected["digest"], &inspected["bytes"]), (&built["digest"], &built["bytes"]));

    let plain = say(&["build", "plugins/word-count"]);
    assert_eq!(plain.expect(0).trim_end(), component.display().to_string());
    assert!(plain.err.contains("SHA-256"), "{}", plain.err);
}

#[test]
fn build_takes_the_current_folder() {
    let said: Said =
        wasmill(["build"]).current_dir(root().join("plugins/word-count")).output().expect("it runs").into();
    assert!(said.expect(0).trim_end().ends_with("word_count.wasm"), "{}", said.out);
}

#[test]
fn inspect_shows_what_a_component_is() {
    let component = say(&["build", "plugins/word-count"]).expect(0).trim_end().to_owned();
    let shown = say(&["plugin", "inspect", &component]);
    for part in [
        "word-count ",
        "keyed by text",
        "keeps the key",
        "value state count",
        "imports",
        "wasmill:operator/keyed-state@0.1.0",
        "exports",
        "wasmill:operator/operator@0.1.0",
    ] {
        assert!(shown.expect(0).contains(part), "{part:?} is not in:\n{}", shown.out);
    }
    let described = document(&say(&["plugin", "inspect", &component, "--json"]));
    assert_eq!(described["states"][0]["name"], "count");
    assert_eq!(described["inputs"][0]["key"], json!({ "encoding": "text" }));
    assert_eq!(described["refusals"], json!([]));
}

#[test]
fn inspect_of_what_is_none() {
    say(&["plugin", "inspect", "LICENSE"]).refused(3, &["error: LICENSE: it is not a WebAssembly component"]);
    say(&["plugin", "inspect", "no-such.wasm"]).refused(2, &["error: no-such.wasm: No such file or directory"]);
}

#[test]
fn build_refuses_what_asks_for_too_much() {
    let said = say(&["build", "tests/guests/unsupported"]);
    said.refused(3, &["was refused", "asks for timers (register), which this version does not support"]);
}

/// Every file and folder below one.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("an entry").path();
        found.push(path.display().to_string());
        if path.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn plan_says_where_a_run_would_begin_and_touches_nothing() {
    let folder = folder();
    let storage = format!("checkpoint.storage={}", folder.path().join("storage").display());
    let job = root().join("plugins/keyed-sum/job.toml").display().to_string();
    let with = |words: &[&str], more: &[&str]| {
        let mut command = wasmill(words);
        let sets =
            [storage.as_str(), "checkpoint.interval=10s", "source.numbers.count=3000", "sink.sums.type=blackhole"];
        command.arg(&job).args(sets.map(|set| format!("--set={set}"))).args(more).current_dir(folder.path());
        Said::from(command.output().expect("it can be started"))
    };
    let fresh = with(&["plan"], &[]);
    let shown = fresh.expect(0);
    assert!(shown.ends_with("storage/keyed-sum\n  a run begins at the beginning\n"), "{shown}");
    assert_eq!(document(&with(&["plan", "--json"], &[]))["checkpoints"]["begins"], json!("fresh"));
    assert_eq!(tree(folder.path()), Vec::<String>::new());

    with(&["run"], &[]).expect(0);
    let before = tree(folder.path());
    let shown = with(&["plan"], &[]).expect(0).to_owned();
    assert!(shown.contains("  the job has come to the end of its input with checkpoint 1 ("), "{shown}");
    let plan = document(&with(&["plan", "--json"], &[]));
    assert_eq!(
        (&plan["checkpoints"]["begins"], &plan["checkpoints"]["checkpoint"]),
        (&json!("already-done"), &json!(1))
    );
    let location = plan["checkpoints"]["location"].as_str().expect("a path");
    let shown = with(&["plan"], &["--from", location]).expect(0).to_owned();
    assert!(shown.contains("  a run goes on from checkpoint 1 ("), "{shown}");
    assert!(with(&["plan"], &["--from", "none"]).expect(0).contains("  a run begins at the beginning\n"));
    let misfit = with(&["plan"], &["--set", "max-parallelism=64"]);
    assert!(misfit.expect(4).contains("  a run can't begin\n"), "the plan is shown all the same");
    assert!(misfit.err.contains("max-parallelism is 64 in the job and 128 in the checkpoint"), "{}", misfit.err);
    assert_eq!(before, tree(folder.path()));
}

#[test]
fn plan_begins_from_no_place_where_a_job_takes_no_checkpoints() {
    say(&["plan", JOB, "--from", "elsewhere"]).refused(2, &["takes no checkpoints", "leave out --from"]);
    assert_eq!(document(&say(&["plan", JOB, "--json"]))["checkpoints"], json!(null));
}

#[test]
fn plan_says_what_becomes_of_every_state_before_another_version_is_run() {
    let folder = folder();
    let job = folder.path().join("job.toml");
    let text = r#"
        name = "tally"
        [checkpoint]
        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = 500
        keys  = 20
        [[operator]]
        id     = "tally"
        plugin = "COMPONENT"
        inputs = ["numbers"]
        [[sink]]
        id     = "nowhere"
        type   = "blackhole"
        inputs = ["tally"]
    "#;
    fs::write(&job, text.replace("COMPONENT", &component("tally").display().to_string())).expect("it can be written");
    let with = |words: &[&str]| {
        let mut command = wasmill(words);
        Said::from(command.current_dir(folder.path()).output().expect("it can be started"))
    };
    let next = format!("--set=operator.tally.plugin={}", component("tally-next").display());
    assert!(!with(&["plan", "job.toml", &next]).expect(0).contains("tally/"), "there is no state yet");
    with(&["run", "job.toml"]).expect(0);

    assert!(with(&["plan", "job.toml"]).expect(0).contains("  kept          tally/total\n"));
    let shown = with(&["plan", "job.toml", &next]).expect(0).to_owned();
    for expected in [
        "  operator tally is upgraded from tally 1.0.0 to tally 2.0.0\n",
        "  migrated      tally/total: values of schema version 1 are migrated to 2 when they are looked at\n",
        "  migrated      tally/tens: ",
        "  new           tally/last: is new and begins empty\n",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let other = format!("--set=operator.tally.plugin={}", component("collections").display());
    let refused = with(&["plan", "job.toml", &other, "--json"]);
    let plan: Value = serde_json::from_str(refused.expect(4)).expect("a document");
    let states = plan["checkpoints"]["states"].as_array().expect("a list").clone();
    let fate = |name: &str| states.iter().find(|state| state["state"] == name).map(|state| state["fate"].clone());
    assert_eq!(
        (fate("total"), fate("tens"), fate("seen")),
        (Some(json!("refused")), Some(json!("refused")), Some(json!("new")))
    );
    let dropped = with(&["plan", "job.toml", &other, "--drop-state", "tally/total", "--drop-state", "tally/tens"]);
    dropped.expect(4);
    assert!(dropped.err.contains("operator tally, state tens: the kind is "), "{}", dropped.err);
    // What is planned is what a run does.
    let report = with(&["run", "job.toml", &next, "--json"]);
    assert!(report.expect(0).contains("already-done"));
}
