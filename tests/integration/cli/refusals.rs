//! What a user gets wrong, and the exit codes: 2 for usage and job files, 3 for plugins.

use std::fs;

use super::{say, write_job};
use crate::harness::{files, folder, root};

const JOB: &str = "plugins/word-count/job.toml";

#[test]
fn usage() {
    say(&["run"]).refused(2, &["JOB.toml"]);
    say(&["rn", JOB]).refused(2, &["unrecognized subcommand 'rn'"]);
    say(&["run", JOB, "--sed", "1"]).refused(2, &["'--sed'"]);
    let help = say(&["--help"]);
    for word in [
        "run",
        "plan",
        "build",
        "plugin",
        "new",
        "completions",
        "Exit codes: 0 done, 1 the job failed, 2 usage or job file, 3 a plugin was refused",
    ] {
        assert!(help.expect(0).contains(word), "{}", help.out);
    }
    assert!(say(&["--version"]).expect(0).starts_with("wasmill "));
}

#[test]
fn an_unknown_key_names_the_nearest_and_its_place() {
    let folder = folder();
    let text = fs::read_to_string(root().join(JOB)).expect("the job").replace("parallelism = 1", "paralelism = 1");
    let job = write_job(folder.path(), &text);
    let line = 1 + text.lines().position(|line| line.starts_with("paralelism")).expect("the key");
    let place = format!("error: {job}:{line}:1: unknown key `paralelism`");
    for command in ["run", "plan"] {
        say(&[command, &job]).refused(2, &[&place, "did you mean `parallelism`?", "^^^^^^^^^^"]);
    }
}

#[test]
fn everything_wrong_with_a_job_file_is_said_at_once() {
    let folder = folder();
    let text = super::ENDLESS
        .replace("rate = 5000", "rate = -1")
        .replace("[\"sum\"]", "[\"sun\"]")
        .replace("emit-every = 1", "emit-every = ");
    let job = write_job(folder.path(), &text);
    say(&["plan", &job]).refused(2, &[&format!("{job}:")]);
    let job =
        write_job(folder.path(), &super::ENDLESS.replace("rate = 5000", "rate = -1").replace("keys = 10", "keys = 0"));
    say(&["plan", &job]).refused(2, &["rate", "keys"]);
}

#[test]
fn the_graph_is_checked_before_anything_starts() {
    let folder = folder();
    let job = write_job(folder.path(), &super::ENDLESS.replace("[\"sum\"]", "[\"sun\"]"));
    say(&["run", &job]).refused(2, &["\"sun\" is not the id of a source or operator; did you mean \"sum\"?"]);
}

#[test]
fn overrides_that_fit_nothing() {
    for (set, message) in [
        ("parallelism", "has no `=`"),
        ("parallelism=many", "--set parallelism=many"),
        ("source.line.path=x", "the job has no source `line`"),
        ("operator.count.confg.x=1", "did you mean `config`?"),
        ("operator.counts.parallelism=1", "`counts` is no operator: write `sink.counts.…`"),
        ("sink.counts.type=kafka", "kafka"),
        ("checkpoint.intervall=10s", "did you mean `interval`?"),
        ("swap.probatoin=10s", "did you mean `probation`?"),
    ] {
        say(&["run", JOB, "--set", set]).refused(2, &["error: ", message]);
    }
}

#[test]
fn inputs_that_are_not_there() {
    say(&["run", "no-such-job.toml"]).refused(2, &["no-such-job.toml: can't be read: No such file or directory"]);
    say(&["run", "LICENSE"]).refused(2, &["LICENSE:1:"]);
    for path in ["no-such-file.txt", "tests/fixtures/*.nothing"] {
        say(&["run", JOB, "--set", &format!("source.lines.path={path}")]).refused(2, &["error: lines: ", path]);
    }
}

#[test]
fn invalid_utf8_fails_the_job_where_it_is_told_to() {
    let file = "tests/fixtures/texts/invalid-utf8.txt";
    let said = say(&[
        "run",
        JOB,
        "--set",
        &format!("source.lines.path={file}"),
        "--set",
        "source.lines.invalid-utf8=fail",
        "--set",
        "sink.counts.type=blackhole",
    ]);
    said.refused(1, &["job word-count failed: lines: ", file]);
    let said =
        say(&["run", JOB, "--set", &format!("source.lines.path={file}"), "--set", "source.lines.invalid-utf8=skip"]);
    assert_eq!(said.expect(0), "");
}

#[test]
fn a_second_run_into_the_same_folder_is_refused_and_harms_nothing() {
    let folder = folder();
    let sink = format!("sink.counts.path={}", folder.path().join("out").display());
    let args = [
        "run",
        JOB,
        "--set",
        "source.lines.path=tests/fixtures/texts",
        "--set",
        "sink.counts.type=file",
        "--set",
        &sink,
    ];
    say(&args).expect(0);
    let before = files(&folder.path().join("out"));
    say(&args).refused(
        2,
        &[
            "error: counts: ",
            "the folder holds results of an earlier run (part-0000-0000.jsonl)",
            "choose another folder",
        ],
    );
    assert!(!before.is_empty() && before == files(&folder.path().join("out")));
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_the_job_starts() {
    let report = ["--report", "no-such-folder/report.json", "--set", "sink.counts.type=blackhole"];
    let said = say(&[&["run", "plugins/misbehaving/job.toml"], &report[..]].concat());
    let message = "error: the report can't be written to no-such-folder/report.json: No such file or directory";
    said.refused(2, &[message]);
    assert!(!said.err.contains("misbehaving done"), "{}", said.err);
}

#[test]
fn a_file_where_the_sinks_folder_should_be() {
    let said = say(&["run", JOB, "--set", "sink.counts.type=file", "--set", "sink.counts.path=LICENSE"]);
    said.refused(2, &["error: counts: ", "LICENSE: this is not a folder"]);
}

/// `ENDLESS` with another plugin.
fn with_plugin(folder: &tempfile::TempDir, plugin: &str) -> String {
    write_job(folder.path(), &super::ENDLESS.replace("{ crate = \"PLUGINS/keyed-sum\" }", plugin))
}

#[test]
fn plugins_that_are_refused() {
    let folder = folder();
    fs::write(folder.path().join("core.wasm"), b"\0asm\x01\0\0\0").expect("a core module");
    fs::write(folder.path().join("text.wasm"), b"(component)").expect("a text");
    let zeros = "0".repeat(64);
    let cases = [
        ("\"core.wasm\"".to_owned(), "it is a core module; build it for wasm32-wasip2"),
        ("\"text.wasm\"".to_owned(), "it is not a WebAssembly component"),
        ("\"none.wasm\"".to_owned(), "none.wasm: No such file or directory"),
        ("{ crate = \"none\" }".to_owned(), "cannot open the plugin crate"),
        ("{ crate = \".\" }".to_owned(), "it has no Cargo.toml"),
    ];
    for (plugin, message) in cases {
        let job = with_plugin(&folder, &plugin);
        for command in ["run", "plan"] {
            say(&[command, &job]).refused(3, &["error: operator sum: ", message]);
        }
    }
    let built = say(&["build", "plugins/keyed-sum"]);
    let component = built.expect(0).trim_end();
    let job = with_plugin(&folder, &format!("{{ path = \"{component}\", sha256 = \"{zeros}\" }}"));
    say(&["run", &job])
        .refused(3, &["error: operator sum: ", "has the SHA-256", &format!("but the job file wants {zeros}")]);
}

#[test]
fn a_crate_that_does_not_compile() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file of the crate");
    fs::create_dir(folder.path().join("src")).expect("a folder");
    write(
        "Cargo.toml",
        "[package]\nname = \"broken\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n",
    );
    write("src/lib.rs", "pub fn broken() -> u32 { \"no number\" }\n");
    let crate_dir = folder.path().display().to_string();
    say(&["build", &crate_dir]).refused(3, &["does not compile", "mismatched types", "error: the plugin crate "]);
    // A crate that compiles and is no operator.
    write("src/lib.rs", "#[unsafe(no_mangle)]\npub extern \"C\" fn nothing() {}\n");
    say(&["build", &crate_dir]).refused(3, &["it does not export wasmill:operator/operator@0.1.0"]);
}
