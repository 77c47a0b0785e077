//! `wasmill new`: what it makes builds, passes its tests and runs as it stands. And `wasmill completions`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{Said, say, wasmill};
use crate::harness::{folder, root};

/// `wasmill ARGS`, typed in another folder.
fn say_in(folder: &Path, args: &[&str]) -> Said {
    wasmill(args).current_dir(folder).env("CARGO_TARGET_DIR", target()).output().expect("it runs").into()
}

/// Where new crates are compiled: kept, so that the SDK is compiled once and not at every run of the tests.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-crates")
}

fn cargo(folder: &Path, args: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO"));
    command.args(args).current_dir(folder).env("CARGO_TARGET_DIR", target());
    command.output().expect("cargo can be started").into()
}

/// A new crate is made, tested and run. What it prints.
fn make_and_run(template: &str, name: &str) -> Vec<Value> {
    let folder = folder();
    let said = say_in(folder.path(), &["new", name, "--template", template]);
    assert_eq!(said.expect(0), "");
    for part in ["made the operator crate", name, "cargo test", "run job.toml"] {
        assert!(said.err.contains(part), "{}", said.err);
    }
    let made = folder.path().join(name);
    // The same versions as here: nothing has to be looked up or loaded.
    fs::copy(root().join("Cargo.lock"), made.join("Cargo.lock")).expect("the lock file is copied");
    cargo(&made, &["fmt", "--check"]).expect(0);
    let tests = cargo(&made, &["test"]);
    assert!(tests.expect(0).contains("test result: ok. 2 passed"), "{}", tests.out);
    assert!(!tests.err.contains("warning"), "{}", tests.err);
    let ran = say_in(&made, &["run", "job.toml"]);
    let lines = ran.expect(0).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(ran.err.contains(&format!("{name} done in ")), "{}", ran.err);
    lines
}

#[test]
fn a_keyed_crate_builds_passes_and_runs() {
    let lines = make_and_run("keyed", "hot-spots");
    let mut highest = std::collections::BTreeMap::new();
    for line in &lines {
        let sensor = line["sensor"].as_str().expect("a name").to_owned();
        let value = line["value"].as_f64().expect("a number");
        let before = highest.insert(sensor, value);
        assert!(before.is_none_or(|before| before < value), "{line}");
    }
    assert!(highest.len() == 10 && lines.len() > 20, "{} lines of {} sensors", lines.len(), highest.len());
}

#[test]
fn a_stateless_crate_builds_passes_and_runs() {
    let lines = make_and_run("stateless", "bids2");
    assert!((20..200).contains(&lines.len()), "{} of 1,000 bids", lines.len());
    assert!(lines.iter().all(|line| line["price"].as_u64() >= Some(50_000_000)), "{lines:?}");
}

#[test]
fn a_crate_among_the_members_of_a_workspace_is_one_of_them() {
    let folder = folder();
    fs::write(folder.path().join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"plugins/*\"]\n")
        .expect("a workspace");
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    say_in(folder.path(), &["new", "plugins/inside"]).expect(0);
    say_in(folder.path(), &["new", "outside"]).expect(0);
    for (path, workspace) in [("plugins/inside", folder.path().to_owned()), ("outside", folder.path().join("outside"))]
    {
        let said = cargo(&folder.path().join(path), &["metadata", "--no-deps", "--format-version", "1"]);
        let metadata: Value = serde_json::from_str(said.expect(0)).expect("JSON");
        assert_eq!(metadata["workspace_root"].as_str(), workspace.to_str(), "{path}");
        assert_eq!(metadata["packages"][0]["name"], path.rsplit('/').next().expect("a name"));
    }
}

#[test]
fn a_crate_far_from_the_sources_brings_its_toolchain() {
    let far = tempfile::tempdir().expect("a folder");
    say_in(far.path(), &["new", "far"]).expect(0);
    let read = |path: &str| fs::read_to_string(far.path().join("far").join(path)).expect("it is there");
    assert!(
        read("Cargo.toml").contains(&format!("wasmill-sdk = {{ path = \"{}\" }}", root().join("guest-sdk").display()))
    );
    assert!(read("Cargo.toml").ends_with("[workspace]\n"));
    assert!(read("rust-toolchain.toml").contains("wasm32-wasip2"));
    assert!(read(".gitignore").contains("/target/"));
    assert!(read("job.toml").contains("name = \"far\"") && read("tests/harness.rs").contains("use far::"));
    // Within the sources the toolchain is chosen already.
    let near = folder();
    say_in(near.path(), &["new", "near"]).expect(0);
    assert!(!near.path().join("near/rust-toolchain.toml").exists());
}

#[test]
fn what_is_refused_leaves_everything_as_it_was() {
    let folder = folder();
    fs::create_dir(folder.path().join("there")).expect("a folder");
    fs::write(folder.path().join("file"), "content").expect("a file");
    for (args, message) in [
        (&["new", "there"][..], "error: there: it exists already; choose another name, or remove it first"),
        (&["new", "file"], "error: file: it exists already"),
        (&["new", "none/mine"], "error: none/mine: the folder that it should be made in is not there"),
        (
            &["new", "MyOperator"],
            "`MyOperator` can't be the name of an operator crate: it must be of lower-case letters",
        ),
        (&["new", "my_operator"], "for example `my-operator`"),
        (&["new", "match"], "it is a keyword of Rust"),
        (&["new", "serde"], "it would hide the crate of this name"),
        (&["new", "mine", "--template", "keyd"], "a similar value exists: 'keyed'"),
        (&["new"], "<NAME>"),
    ] {
        say_in(folder.path(), args).refused(2, &[message]);
    }
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(fs::read(folder.path().join("file")).expect("a file"), b"content");
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = say(&["completions", shell]);
        let script = said.expect(0);
        for word in ["wasmill", "inspect", "template", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let script = folder();
    let path = script.path().join("wasmill.bash");
    fs::write(&path, say(&["completions", "bash"]).expect(0)).expect("a script");
    let checked = Command::new("bash").arg("-n").arg(&path).status();
    assert!(checked.is_ok_and(|status| status.success()), "bash reads its completions");
    say(&["completions", "bsh"]).refused(2, &["a similar value exists: 'bash'"]);
    say(&["completions"]).refused(2, &["<SHELL>"]);
}
