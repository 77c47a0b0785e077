//! The runtime folder: who may read it, who has a name, what a process that was killed leaves.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use super::fixture::Served;
use crate::{
    control::{ControlError, MetricsAccess, RuntimeFolder, Server, ServerOptions},
    job::Live,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[test]
fn only_its_user_can_read_the_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let below = folder.path().join("run/wasmill");
    let runtime = RuntimeFolder::make(&below).expect("it can be made");
    assert_eq!((mode(&below), mode(&folder.path().join("run"))), (0o700, 0o700));
    let options = ServerOptions { listen: ([127, 0, 0, 1], 0).into(), metrics: MetricsAccess::WithToken };
    let server = Server::start(runtime.claim("job").expect("free"), Live::new("job"), options).expect("it starts");
    assert_eq!((mode(server.entry()), mode(&below.join("job.lock"))), (0o600, 0o600));
    let text = fs::read_to_string(server.entry()).expect("it is there");
    let entry: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let members: Vec<_> = entry.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["job", "pid", "address", "token", "metrics_token", "started"]);
    for token in ["token", "metrics_token"] {
        let token = entry[token].as_str().expect("text");
        assert!(token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit()), "{token}");
    }
    assert_ne!(entry["token"], entry["metrics_token"]);
    assert!(format!("{:?}", runtime.find("job").expect("it runs")).contains("Token(…)"));
    drop(server);
    assert_eq!(fs::read_dir(&below).expect("it is there").count(), 0, "nothing is left");
}

#[test]
fn a_folder_that_others_could_write_to_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |path: &Path, what: &str| {
        for found in [RuntimeFolder::make(path).err(), RuntimeFolder::existing(path).err()] {
            let error = found.expect("it is refused").to_string();
            assert!(error.contains(what) && error.contains("WASMILL_RUNTIME_DIR"), "{error}");
        }
    };
    let open = folder.path().join("open");
    fs::create_dir(&open).expect("it can be made");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o770)).expect("it is ours");
    refused(&open, "can be written to by others");
    let (own, link) = (folder.path().join("own"), folder.path().join("link"));
    RuntimeFolder::make(&own).expect("it can be made");
    symlink(&own, &link).expect("it can be made");
    refused(&link, "is a link, or no folder");
    if nix::unistd::geteuid().is_root() {
        let others = folder.path().join("others");
        RuntimeFolder::make(&others).expect("it can be made");
        std::os::unix::fs::chown(&others, Some(12_345), None).expect("root may");
        refused(&others, "belongs to another user");
    }
    assert!(RuntimeFolder::existing(&folder.path().join("absent")).expect("no error").is_none());
}

#[test]
fn a_name_is_given_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = RuntimeFolder::make(folder.path()).expect("it is ours");
    let claim = runtime.claim("job").expect("free");
    match runtime.claim("job") {
        Err(ControlError::Running { job, pid }) => assert_eq!((job.as_str(), pid), ("job", Some(std::process::id()))),
        other => panic!("{other:?}"),
    }
    runtime.claim("another").expect("free");
    drop(claim);
    runtime.claim("job").expect("free again");
}

#[test]
fn what_a_killed_process_left_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::obliging();
    // Both files as they were, but nobody holds the lock.
    for name in ["job.json", "job.lock"] {
        fs::copy(served.folder.path().join(name), folder.path().join(name)).expect("it is there");
    }
    fs::write(folder.path().join(".job.new"), "{").expect("it is ours");
    let runtime = RuntimeFolder::make(folder.path()).expect("it is ours");
    assert!(runtime.find("job").is_none() && runtime.jobs().is_empty());
    let options = ServerOptions { listen: ([127, 0, 0, 1], 0).into(), metrics: MetricsAccess::WithToken };
    let server = Server::start(runtime.claim("job").expect("free"), Live::new("job"), options).expect("it starts");
    let found = runtime.find("job").expect("it runs");
    assert_eq!(found.address, server.address());
    assert_ne!(found.address, served.entry.address);
}

#[test]
fn a_name_is_no_path() {
    let served = Served::obliging();
    let runtime = RuntimeFolder::make(served.folder.path()).expect("it is ours");
    assert!(runtime.find("job").is_some());
    for name in ["", ".", "..", "../job", "job/", "./job", "JOB", "job\0", "/etc/passwd"] {
        assert!(runtime.find(name).is_none(), "{name:?}");
    }
    // What else lies there is no job.
    for name in ["x.json", "é.json", "job.json.json", "y.lock"] {
        fs::write(served.folder.path().join(name), "{}").expect("it is ours");
    }
    assert_eq!(runtime.jobs().iter().map(|entry| entry.job.as_str()).collect::<Vec<_>>(), ["job"]);
}

#[test]
fn an_address_that_is_taken_says_what_to_do() {
    let served = Served::obliging();
    let runtime = RuntimeFolder::make(served.folder.path()).expect("it is ours");
    let options = ServerOptions { listen: served.entry.address, metrics: MetricsAccess::WithToken };
    let started = Server::start(runtime.claim("second").expect("free"), Live::new("second"), options);
    let error = started.err().expect("the address is taken").to_string();
    assert!(error.contains("can't be listened at") && error.contains("--listen"), "{error}");
    assert_eq!(runtime.jobs().len(), 1, "the name is free again");
}
