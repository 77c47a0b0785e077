//! What `[checkpoint]` and `[restart]` say.

use std::time::Duration;

use super::{SHORT, accepted, refused};
use crate::{
    checkpoint::{Mode, RestartStrategy},
    spec::{CheckpointSettings, RestartSettings, StorageSpec},
};

const EXPONENTIAL_DELAY: RestartStrategy = RestartStrategy::ExponentialDelay {
    initial_delay: Duration::from_secs(1),
    max_delay: Duration::from_secs(60),
    multiplier: 1.5,
    reset_after: Duration::from_secs(3600),
    jitter: 0.1,
    attempts: None,
};

/// The short job with a section, whose first key is line 7.
fn job(section: &str, keys: &str) -> String {
    format!("{SHORT}[{section}]\n{keys}\n")
}

fn checkpoint(keys: &str, sets: &[&str]) -> CheckpointSettings {
    accepted(&job("checkpoint", keys), sets).checkpoint.expect("the job has the section")
}

fn restart(keys: &str) -> RestartStrategy {
    accepted(&job("restart", keys), &[]).restart.strategy
}

fn folder(path: &str) -> StorageSpec {
    StorageSpec::Folder(path.into())
}

#[test]
fn without_a_section_there_are_no_checkpoints_and_no_restarts() {
    let job = accepted(SHORT, &[]);
    assert_eq!((job.checkpoint, job.restart), (None, RestartSettings { strategy: RestartStrategy::None }));
}

#[test]
fn checkpoints_have_defaults() {
    let settings = checkpoint("", &[]);
    let expected = CheckpointSettings {
        storage: settings.storage.clone(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(600),
        retain: 3,
        mode: Mode::ExactlyOnce,
        tolerable_failures: None,
    };
    assert_eq!(settings, expected);
    assert_eq!(settings.storage.value, folder("/jobs/.wasmill"));
    let job = accepted(&job("checkpoint", ""), &[]);
    assert_eq!(job.restart.strategy, EXPONENTIAL_DELAY, "with checkpoints a job is restarted");
    let at = job.checkpoint.expect("the job has the section").storage.at.clone();
    assert!(accepted(SHORT, &[]).error(&at, "no").to_string().starts_with("/jobs/job.toml:6:1: no"));
}

#[test]
fn checkpoints_are_read_whole() {
    let keys = r#"storage = "../state"
        interval = "1m"
        timeout = "90s"
        retain = 1
        mode = "at-least-once"
        tolerable-failures = 0"#;
    let settings = checkpoint(keys, &[]);
    let expected = CheckpointSettings {
        storage: settings.storage.clone(),
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(90),
        retain: 1,
        mode: Mode::AtLeastOnce,
        tolerable_failures: Some(0),
    };
    assert_eq!(settings, expected);
    assert_eq!(settings.storage.value, folder("/jobs/../state"));
}

#[test]
fn one_set_makes_the_section() {
    let settings = |sets: &[&str]| accepted(SHORT, sets).checkpoint.expect("the set makes it");
    let made = settings(&["checkpoint.interval=1s"]);
    assert_eq!((made.interval, made.storage.value), (Duration::from_secs(1), folder("/jobs/.wasmill")));
    let made = settings(&["checkpoint.storage=state"]);
    assert_eq!((made.interval, made.storage.value), (Duration::from_secs(10), folder("/cwd/state")));
    assert_eq!(settings(&["checkpoint={}"]).retain, 3);
    assert_eq!(checkpoint("retain = 5", &["checkpoint.mode=at-least-once"]).mode, Mode::AtLeastOnce);
    let job = accepted(SHORT, &["restart.strategy=fixed-delay", "restart.attempts=4"]);
    let expected = RestartStrategy::FixedDelay { attempts: 4, delay: Duration::from_secs(1) };
    assert_eq!(job.restart.strategy, expected);
}

#[test]
fn storages_are_folders_or_urls() {
    for path in ["state", "/abs/state", "a:b", "s3", "s3:/x"] {
        let expected = StorageSpec::Folder(std::path::Path::new("/jobs").join(path));
        assert_eq!(checkpoint(&format!("storage = \"{path}\""), &[]).storage.value, expected);
    }
    for url in ["s3://bucket", "s3://bucket/a/b", "gs://b/x", "az://c", "memory://", "memory:///", "file:///data/x"] {
        assert_eq!(checkpoint(&format!("storage = \"{url}\""), &[]).storage.value, StorageSpec::Url(url.to_owned()));
    }
    for (value, expected) in [
        ("\"\"", "/jobs/job.toml:7:11: `storage` must not be empty"),
        ("5", "`storage` must be a path or a URL in a string, not 5"),
        ("\"s4://bucket\"", "`storage` is a URL of an unknown kind; there are `s3`, `gs`, `az`, `memory` and `file`\n"),
        ("\"memroy:///\"", "`storage` is a URL of an unknown kind; did you mean `memory`?\n"),
        ("\"s3://\"", "`storage` must be such as `s3://BUCKET/PATH`, not \"s3://\""),
        ("\"gs:///x\"", "`storage` must be such as `gs://BUCKET/PATH`, not \"gs:///x\""),
        ("\"file://data/x\"", "`storage` must be such as `file:///PATH`, with three slashes, not \"file://data/x\""),
        ("\"memory://x\"", "`storage` must be `memory://`, with nothing behind it, not \"memory://x\""),
        ("\"memory:///x\"", "`storage` must be `memory://`, with nothing behind it, not \"memory:///x\""),
    ] {
        refused(&job("checkpoint", &format!("storage = {value}")), &[], expected);
    }
}

#[test]
fn what_checkpoints_refuse() {
    for (keys, expected) in [
        ("intervall = \"1s\"", "/jobs/job.toml:7:1: unknown key `intervall` in `checkpoint`; did you mean `interval`?"),
        (
            "zzz = 1",
            "unknown key `zzz` in `checkpoint`; it may have `storage`, `interval`, `timeout`, `retain`, `mode` and `tolerable-failures`",
        ),
        ("interval = 10", "`interval` must be a duration such as \"5ms\", \"10s\" or \"1m\", not 10"),
        ("interval = \"0s\"", "`interval` must be from 1ms to 24h, not \"0s\""),
        ("retain = 0", "`retain` must be at least 1, not 0"),
        ("mode = \"exactly\"", "`mode` must be `exactly-once` or `at-least-once`, not \"exactly\""),
        ("tolerable-failures = -1", "`tolerable-failures` must be at least 0, not -1"),
    ] {
        refused(&job("checkpoint", keys), &[], expected);
    }
}

#[test]
fn strategies_have_the_defaults_of_flink() {
    let second = Duration::from_secs(1);
    assert_eq!(restart(""), EXPONENTIAL_DELAY);
    assert_eq!(restart("strategy = \"exponential-delay\""), EXPONENTIAL_DELAY);
    assert_eq!(restart("strategy = \"none\""), RestartStrategy::None);
    assert_eq!(restart("strategy = \"fixed-delay\""), RestartStrategy::FixedDelay { attempts: 1, delay: second });
    let expected = RestartStrategy::FailureRate { failures: 1, interval: 60 * second, delay: second };
    assert_eq!(restart("strategy = \"failure-rate\""), expected);
}

#[test]
fn strategies_are_read_whole() {
    let second = Duration::from_secs(1);
    let expected = RestartStrategy::FixedDelay { attempts: 9, delay: 2 * second };
    assert_eq!(restart("strategy = \"fixed-delay\"\nattempts = 9\ndelay = \"2s\""), expected);
    let expected = RestartStrategy::FailureRate { failures: 5, interval: 300 * second, delay: 3 * second };
    assert_eq!(restart("strategy = \"failure-rate\"\nfailures = 5\ninterval = \"5m\"\ndelay = \"3s\""), expected);
    let keys = r#"initial-delay = "2s"
        max-delay = "2s"
        multiplier = 1
        reset-after = "10m"
        jitter = 0.25
        attempts = 7"#;
    let expected = RestartStrategy::ExponentialDelay {
        initial_delay: 2 * second,
        max_delay: 2 * second,
        multiplier: 1.0,
        reset_after: 600 * second,
        jitter: 0.25,
        attempts: Some(7),
    };
    assert_eq!(restart(keys), expected);
}

#[test]
fn what_restarts_refuse() {
    for (keys, expected) in [
        (
            "strategy = \"fixed\"",
            "`strategy` must be `none`, `fixed-delay`, `failure-rate` or `exponential-delay`, not \"fixed\"",
        ),
        ("strategy = \"failure_rate\"", "did you mean `failure-rate`?"),
        (
            "zzz = 1",
            "unknown key `zzz` in `restart`; it may have `strategy`, `initial-delay`, `max-delay`, `multiplier`, `reset-after`, `jitter` and `attempts`",
        ),
        ("multiplyer = 2", "/jobs/job.toml:7:1: unknown key `multiplyer` in `restart`; did you mean `multiplier`?"),
        (
            "delay = \"1s\"",
            "/jobs/job.toml:7:1: `delay` goes with the strategies `fixed-delay` and `failure-rate` only",
        ),
        (
            "strategy = \"none\"\nattempts = 1",
            "/jobs/job.toml:8:1: `attempts` goes with the strategies `fixed-delay` and `exponential-delay` only",
        ),
        ("strategy = \"fixed-delay\"\njitter = 1", "`jitter` goes with the strategy `exponential-delay` only"),
        ("strategy = \"fixed-delay\"\nfailures = 1", "`failures` goes with the strategy `failure-rate` only"),
        ("strategy = \"fixed-delay\"\nattempts = 0", "`attempts` must be at least 1, not 0"),
        ("multiplier = 0.5", "`multiplier` must be at least 1, not 0.5"),
        ("multiplier = inf", "`multiplier` must be finite, not inf"),
        ("jitter = 1.5", "`jitter` must be at most 1, not 1.5"),
        ("jitter = \"a\"", "`jitter` must be a number, not \"a\""),
        ("initial-delay = \"2m\"", "/jobs/job.toml:7:17: `initial-delay` is 2m, more than `max-delay`, which is 1m"),
        ("max-delay = \"500ms\"", "/jobs/job.toml:7:13: `initial-delay` is 1s, more than `max-delay`, which is 500ms"),
    ] {
        refused(&job("restart", keys), &[], expected);
    }
    refused(SHORT, &["restart.attempts=x"], "--set restart.attempts=x: `attempts` must be a whole number, not `x`");
}

#[test]
fn what_is_wrong_is_said_at_once() {
    let text = format!(
        "{SHORT}[checkpoint]\nretain = 0\nmode = 1\n\n[restart]\nstrategy = \"none\"\ndelay = \"1s\"\nzzz = 1\n"
    );
    for expected in [
        "job.toml:7:10: `retain`",
        "job.toml:8:8: `mode`",
        "job.toml:12:1: `delay` goes",
        "job.toml:13:1: unknown key `zzz`",
    ] {
        refused(&text, &[], expected);
    }
}
