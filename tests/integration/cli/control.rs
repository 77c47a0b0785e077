//! A job that runs, and the commands that concern it: who finds it, who has its name, what is refused before the job is asked.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value as Json;

use super::{ENDLESS, RUNTIME, Said, say, wasmill, write_job};
use crate::harness::{folder, root};

/// The folder in which this test's jobs are found.
fn runtime() -> PathBuf {
    RUNTIME.with(|folder| folder.path().to_owned())
}

fn found() -> Vec<String> {
    let files = fs::read_dir(runtime()).expect("it is there").flatten();
    let mut names: Vec<_> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A job without end, whose results go nowhere.
fn quiet() -> String {
    ENDLESS.replace("type   = \"stdout\"", "type   = \"blackhole\"")
}

/// A job that runs until it is dropped.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = wasmill(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, lines }
    }

    /// Waits until the job of that name runs.
    fn until_it_runs(mut self, name: &str) -> Self {
        let began = Instant::now();
        loop {
            let said = say(&["status", name, "--json"]);
            let runs = said.code == Some(0) && json(&said.out)["state"] == "running";
            if runs {
                return self;
            }
            let ended = self.child.try_wait().expect("it can be asked");
            assert!(ended.is_none() && began.elapsed() < Duration::from_secs(120), "{ended:?}: {}", said.err);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The next line on standard error that holds a text.
    fn line_with(&mut self, text: &str) -> String {
        self.lines.by_ref().lines().map_while(Result::ok).find(|line| line.contains(text)).expect("such a line")
    }

    fn kill(&mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn where_no_job_runs_that_is_said() {
    let said = say(&["status"]);
    assert_eq!((said.expect(0), said.err.as_str()), ("", "no job runs here\n"));
    assert_eq!(say(&["status", "--json"]).expect(0), "[]\n");
    for args in [
        &["status", "absent"][..],
        &["savepoint", "absent"],
        &["stop", "absent", "--drain", "--json"],
        &["swap", "absent", "count=plugins/word-count"],
        &["swap", "absent", "--to", "plugins/word-count/job.toml"],
    ] {
        say(args).refused(2, &["no job named absent runs here, and no other one either"]);
    }
    say(&["state", "list", "absent"]).refused(2, &["absent"]);
    say(&["status", "../absent"]).refused(2, &["no job named ../absent runs here"]);
}

#[test]
fn usage_of_the_commands_for_running_jobs() {
    for (args, part) in [
        (&["swap", "job"][..], "OPERATOR=PLUGIN"),
        (&["swap", "job", "count"], "give OPERATOR=PLUGIN"),
        (&["swap", "job", "=x"], "give OPERATOR=PLUGIN"),
        (&["swap", "job", "a=b", "--to", "job.toml"], "cannot be used with"),
        (&["swap", "job", "a=b", "--set", "x=y"], "cannot be used with"),
        (&["swap", "job", "a=b", "--drop-state", "count"], "give OPERATOR/STATE"),
        (&["swap", "job", "a=b", "--wait", "--dry-run"], "cannot be used with"),
        (&["stop"], "JOB"),
        (&["run", "job.toml", "--listen", "here"], "--listen"),
        (&["run", "job.toml", "--listen", "127.0.0.1:0", "--no-control"], "cannot be used with"),
        (&["run", "job.toml", "--listen", "127.0.0.1:0", "--seed", "1"], "cannot be used with"),
    ] {
        say(args).refused(2, &[part]);
    }
    for command in ["status", "swap", "savepoint", "stop"] {
        assert!(say(&[command, "-h"]).expect(0).contains("Example"), "{command}");
    }
    let completions = say(&["completions", "bash"]);
    for word in ["--drop-state", "--savepoint", "--listen", "--open-metrics"] {
        assert!(completions.expect(0).contains(word), "{word}");
    }
}

#[test]
fn a_running_job_is_found_and_its_name_is_taken() {
    let folder = folder();
    let file = write_job(folder.path(), &quiet());
    let running = Running::start(&["run", &file]).until_it_runs("endless");
    let pid = running.child.id().to_string();
    assert_eq!(found(), ["endless.json", "endless.lock"]);

    let table = say(&["status"]);
    let line = table.expect(0).lines().nth(1).expect("a line for the job").to_owned();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[..3], ["endless", &pid, "running"], "{line}");
    assert!(line.contains("takes none") && line.contains("127.0.0.1:"), "{line}");
    let all = json(say(&["status", "--json"]).expect(0));
    assert_eq!((&all[0]["job"], &all[0]["status"]["state"]), (&"endless".into(), &"running".into()));
    assert!(!all.to_string().contains("token"), "{all}");

    let one = say(&["status", "endless"]);
    for part in ["endless is running for ", &format!("process {pid}"), "numbers", "operator sum: keyed-sum 0.1.0 ("] {
        assert!(one.expect(0).contains(part), "{part}: {}", one.out);
    }
    say(&["status", "endles"]).refused(2, &["did you mean `endless`?"]);

    say(&["run", &file]).refused(2, &["a job named endless runs here already", &pid, "wasmill stop endless"]);
    // What is not served takes no name; a seeded run is never served.
    for unserved in [&["--no-control"][..], &["--seed", "7"]] {
        let args = [&["run", file.as_str(), "--set", "source.numbers.count=10"][..], unserved].concat();
        say(&args).expect(0);
    }
    assert_eq!(say(&["status", "endless", "--json"]).code, Some(0), "it runs still");
}

#[test]
fn what_can_not_be_swapped_is_refused_before_the_job_is_asked() {
    let folder = folder();
    let file = write_job(folder.path(), &quiet());
    let _running = Running::start(&["run", &file]).until_it_runs("endless");
    say(&["swap", "endless", "sun=plugins/keyed-sum"]).refused(2, &["no operator `sun`", "did you mean `sum`?"]);
    say(&["swap", "endless", "sum=a.wasm", "sum=b.wasm"]).refused(2, &["operator sum comes twice"]);
    say(&["swap", "endless", "sum=absent.wasm"]).refused(3, &["absent.wasm"]);
    let text = root().join("README.md").display().to_string();
    say(&["swap", "endless", &format!("sum={text}")]).refused(3, &["was refused"]);
    say(&["swap", "endless", "--to", "plugins/word-count/job.toml"]).refused(2, &["the job file of word-count"]);
    let other = folder.path().join("other");
    fs::create_dir(&other).expect("it can be made");
    let other = write_job(&other, &quiet().replace("\"sum\"", "\"total\""));
    say(&["swap", "endless", "--to", &other]).refused(
        4,
        &["operator total is in the job file only", "operator sum runs, and is not in the job file", "wasmill stop"],
    );
}

/// A component that is another one and does the same: with a section of its own at the end, which means nothing.
fn another_version(component: &Path, to: &Path) {
    let mut bytes = fs::read(component).expect("it is there");
    bytes.extend_from_slice(b"\0\x05\x04note");
    fs::write(to, bytes).expect("it can be written");
}

#[test]
fn an_operator_is_swapped() {
    let folder = folder();
    let file = write_job(folder.path(), &quiet());
    let storage = format!("checkpoint.storage={}", folder.path().join("storage").display());
    let args = ["run", &file, "--set", &storage, "--set", "checkpoint.interval=1h", "--set", "swap.probation=1s"];
    let _running = Running::start(&args).until_it_runs("endless");
    let component = say(&["build", "plugins/keyed-sum"]).expect(0).trim().to_owned();
    let next = folder.path().join("next.wasm");
    another_version(Path::new(&component), &next);
    let next = format!("sum={}", next.display());

    let tried = say(&["swap", "endless", &next, "--dry-run"]);
    assert!(tried.expect(0).starts_with("could swap sum: keyed-sum 0.1.0 ("), "{}", tried.out);
    let swapped = say(&["swap", "endless", &next]);
    for part in ["swapped sum: keyed-sum 0.1.0 (", " -> keyed-sum 0.1.0 (", ", prepared in ", ", checkpoint 1; "] {
        assert!(swapped.expect(0).contains(part), "{part}: {}", swapped.out);
    }
    let one = say(&["status", "endless"]);
    assert!(one.expect(0).contains("swapped in for "), "{}", one.out);

    // Back to what the job file says, with another setting.
    let set = ["--set", "operator.sum.config.emit-every=2"];
    let began = Instant::now();
    let back = loop {
        let args = [&["swap", "endless", "--to", file.as_str(), "--wait", "--json"][..], &set].concat();
        let said = say(&args);
        // The probation of the first one may last still.
        if said.code != Some(1) || began.elapsed() > Duration::from_secs(60) {
            break said;
        }
        let refused = json(&said.out);
        assert_eq!((&refused["outcome"], &refused["kind"]), (&"refused".into(), &"busy".into()), "{}", said.err);
        std::thread::sleep(Duration::from_millis(100));
    };
    let answer = json(back.expect(0));
    assert_eq!(answer["outcome"], "confirmed", "{answer}");
    assert_ne!(answer["from"]["sum"]["digest"], answer["to"]["sum"]["digest"], "{answer}");

    let unfit = say(&["swap", "endless", "sum=plugins/word-count"]);
    unfit.refused(4, &["does not fit what runs, and nothing was touched\n  operator sum"]);
    let unfit = say(&["swap", "endless", "sum=plugins/word-count", "--json"]);
    assert_eq!(unfit.code, Some(4), "{}", unfit.err);
    let refused = json(&unfit.out);
    assert_eq!((&refused["outcome"], &refused["kind"]), (&"refused".into(), &"incompatible".into()), "{refused}");
    assert_eq!(refused["from"]["sum"], answer["to"]["sum"], "{refused}");
    assert_eq!(refused["to"]["sum"]["name"], "word-count", "{refused}");
    assert!(refused["differences"].as_array().is_some_and(|all| !all.is_empty()), "{refused}");
    let names = |document: &Json| document.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
    assert!(names(&answer).is_subset(&names(&refused)), "one shape: {refused}");

    // What is no plugin is refused before the job is asked, and what a swap can't change with all else.
    let broken = folder.path().join("broken.wasm");
    fs::write(&broken, b"\0asm").expect("writable");
    let said = say(&["swap", "endless", &format!("sum={}", broken.display()), "--json"]);
    assert_eq!((said.code, &json(&said.out)["outcome"]), (Some(3), &"refused".into()), "{}", said.err);
    let said = say(&["swap", "endless", "--to", &file, "--set", "source.numbers.keys=11", "--json"]);
    let refused = json(&said.out);
    assert_eq!((said.code, &refused["outcome"]), (Some(4), &"refused".into()), "{}", said.err);
    assert_eq!(refused["differences"][0]["text"], "source numbers: its settings are others", "{refused}");
    assert!(say(&["status", "endless"]).expect(0).contains("last swap: swapped sum: "));
}

#[test]
fn a_job_is_looked_into_and_stopped_with_a_savepoint() {
    let folder = folder();
    let file = write_job(folder.path(), &quiet());
    let storage = format!("checkpoint.storage={}", folder.path().join("storage").display());
    let args = ["run", &file, "--set", &storage, "--set", "checkpoint.interval=1h"];
    let mut running = Running::start(&args).until_it_runs("endless");

    // No checkpoint is due for an hour: each look takes one.
    let list = say(&["state", "list", "endless", "--json"]);
    assert_eq!(json(list.expect(0))["job"], "endless", "{}", list.out);
    let export = say(&["state", "export", "endless", "sum", "sum"]);
    assert_eq!(export.expect(0).lines().count(), 10, "{}", export.out);
    assert!(say(&["status", "endless"]).expect(0).contains("checkpoints: 2 complete"));

    // A relative path is relative to where it is typed, not to where the job runs.
    let typed = |args: &[&str]| -> Said {
        wasmill(args).current_dir(folder.path()).output().expect("the binary can be started").into()
    };
    let taken = typed(&["savepoint", "endless", "first", "--json"]);
    let place = folder.path().join("first").display().to_string();
    assert_eq!(json(taken.expect(0))["place"], place, "{}", taken.out);
    typed(&["savepoint", "endless", "first"]).refused(2, &["first", "is not empty"]);

    let stopped = typed(&["stop", "endless", "--savepoint", "last"]);
    let last = folder.path().join("last").display().to_string();
    assert!(stopped.expect(0).starts_with("stopped endless with savepoint "), "{}", stopped.out);
    assert!(stopped.out.trim_end().ends_with(&last), "{}", stopped.out);
    assert_eq!(running.child.wait().expect("it can be waited for").code(), Some(0));
    assert!(found().is_empty(), "{:?}", found());
    for place in [&place, &last] {
        assert_eq!(say(&["state", "export", place, "sum", "sum"]).expect(0).lines().count(), 10);
    }
}

#[test]
fn a_job_without_checkpoints_says_that_it_needs_some() {
    let folder = folder();
    let file = write_job(folder.path(), &quiet());
    let _running = Running::start(&["run", &file]).until_it_runs("endless");
    for args in [
        &["savepoint", "endless", "here"][..],
        &["stop", "endless", "--savepoint", "here"],
        &["swap", "endless", "sum=plugins/keyed-sum"],
        &["state", "list", "endless"],
    ] {
        say(args).refused(2, &["the job takes no checkpoints, which this needs"]);
    }
}

#[test]
fn what_a_killed_job_leaves_counts_for_nothing() {
    let folder = folder();
    let file = write_job(folder.path(), &quiet());
    let mut running = Running::start(&["run", &file]).until_it_runs("endless");
    let tokens = || json(&fs::read_to_string(runtime().join("endless.json")).expect("it is there"))["token"].clone();
    let first = tokens();
    running.kill();
    assert_eq!(found(), ["endless.json", "endless.lock"], "a process that is killed removes nothing");
    assert_eq!(say(&["status", "--json"]).expect(0), "[]\n");
    say(&["stop", "endless"]).refused(2, &["no job named endless runs here"]);
    let again = Running::start(&["run", &file]).until_it_runs("endless");
    assert_ne!(tokens(), first);
    drop(again);
    say(&["run", &file, "--set", "source.numbers.count=10"]).expect(0);
    assert!(found().is_empty(), "nothing is left after a good end: {:?}", found());
}

#[test]
fn an_address_that_was_asked_for_is_said_and_has_to_be_free() {
    let folder = folder();
    let file = write_job(folder.path(), &quiet());
    let mut running = Running::start(&["run", &file, "--listen", "0.0.0.0:0", "--open-metrics"]);
    let line = running.line_with("control API at http://0.0.0.0:");
    assert!(line.contains("endless.json"), "{line}");
    running.line_with("warning: other machines can reach the control API");
    let running = running.until_it_runs("endless");
    assert_eq!(say(&["status", "endless"]).code, Some(0));
    drop(running);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let short = ["run", &file, "--set", "source.numbers.count=10", "--listen", &address];
    say(&short).refused(2, &[&address, "can't be listened at", "--listen"]);
}

#[test]
fn a_job_runs_where_it_can_not_be_served() {
    let folder = folder();
    let file = write_job(folder.path(), &quiet());
    let blocked = folder.path().join("blocked");
    fs::write(&blocked, "").expect("it can be written");
    let run = |more: &[&str]| -> Said {
        let args = [&["run", file.as_str(), "--set", "source.numbers.count=10"][..], more].concat();
        wasmill(args).env("WASMILL_RUNTIME_DIR", &blocked).output().expect("it starts").into()
    };
    let said = run(&[]);
    said.expect(0);
    assert!(said.err.contains("warning: the job runs without a control API: "), "{}", said.err);
    run(&["--listen", "127.0.0.1:0"]).refused(2, &["blocked"]);
    assert!(!run(&["--no-control"]).err.contains("warning"));
}
