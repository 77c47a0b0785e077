//! A job with checkpoints whose results are checked exactly: for tests that kill it, stop it and take its disks away.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Said, wasmill, write_job};
use crate::{harness::folder, reference};

/// How many records there are, and keys.
const RECORDS: u64 = 20_000;
const KEYS: u64 = 100;

/// A result for every record, and the sums at the end. It takes two seconds without a fault.
const TEXT: &str = r#"
name = "sums"

[checkpoint]
storage  = "storage"
interval = "150ms"

[state]
directory = "spill"

[restart]
strategy = "fixed-delay"
attempts = 1000
delay    = "200ms"

[[source]]
id    = "numbers"
type  = "datagen"
count = 20000
keys  = 100
rate  = 10000

[[operator]]
id     = "sum"
plugin = { crate = "PLUGINS/keyed-sum" }
inputs = [{ from = "numbers", partitioning = "hash" }]
config = { emit-every = 1, final = true }

[[sink]]
id     = "results"
type   = "file"
path   = "results"
inputs = ["sum"]
"#;

/// The job in a folder of its own.
pub(super) struct Sums {
    folder: TempDir,
    file: String,
    environment: Vec<(&'static str, String)>,
}

impl Sums {
    pub(super) fn new() -> Self {
        let folder = folder();
        let file = write_job(folder.path(), TEXT);
        Self { folder, file, environment: Vec::new() }
    }

    /// With variables in its environment.
    pub(super) fn with_environment(self, environment: Vec<(&'static str, String)>) -> Self {
        Self { environment, ..self }
    }

    /// A path in its folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn checkpoint(&self, id: u64) -> PathBuf {
        self.path(&format!("storage/sums/checkpoints/{id}"))
    }

    /// Changes the job file.
    pub(super) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.file).expect("it is there");
        assert!(text.contains(from), "{from} is not in the job file");
        fs::write(&self.file, text.replace(from, to)).expect("it can be written");
    }

    /// Starts it with more arguments.
    pub(super) fn start(&self, more: &[&str]) -> Running {
        let args = [&["run", &self.file], more].concat();
        let mut command = wasmill(args);
        command.envs(self.environment.iter().cloned());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        Running(Some(child))
    }

    /// Runs it to its end with more arguments.
    pub(super) fn run(&self, more: &[&str]) -> Said {
        self.start(more).end()
    }

    /// Waits for something to happen in its folder.
    #[track_caller]
    pub(super) fn wait_for(&self, what: &str, has_come: impl Fn(&Path) -> bool) {
        let began = Instant::now();
        while !has_come(self.folder.path()) {
            assert!(began.elapsed() < Duration::from_secs(30), "this does not come: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the results of a checkpoint are visible.
    #[track_caller]
    pub(super) fn wait_for_results_of(&self, id: u64) {
        let part = format!("results/part-{id:08}-0000-0000.jsonl");
        self.wait_for(&part, |folder| folder.join(&part).exists());
    }

    /// Runs it, and kills it when the results of a checkpoint are visible.
    #[track_caller]
    pub(super) fn run_up_to(&self, id: u64) {
        let running = self.start(&[]);
        self.wait_for_results_of(id);
        running.kill();
        // It may have come further meanwhile; what is not visible may go.
        assert!(self.checkpoint(id).exists());
    }

    /// The newest checkpoint.
    pub(super) fn newest(&self) -> u64 {
        let ids = names(&self.path("storage/sums/checkpoints"));
        ids.iter().filter_map(|id| id.parse().ok()).max().expect("there is one")
    }

    /// Checks that every result is visible, and once.
    #[track_caller]
    pub(super) fn check(&self) {
        let mut expected: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for (key, value) in reference::numbers(RECORDS, KEYS) {
            let (updates, sum) = sums.entry(key).or_default();
            (*updates, *sum) = (*updates + 1, *sum + value);
            expected.insert((key, *updates), 1);
        }
        for (key, (updates, _)) in &sums {
            // The last update, and the end.
            expected.insert((*key, *updates), 2);
        }
        let mut found: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let results = self.path("results");
        for name in names(&results).iter().filter(|name| name.starts_with("part-")) {
            for line in fs::read_to_string(results.join(name)).expect("a result can be read").lines() {
                let result: Value = serde_json::from_str(line).expect("a line is a JSON document");
                let number = |name: &str| result[name].as_u64().expect("a number");
                let (key, updates) = (number("key"), number("updates"));
                if sums.get(&key).is_some_and(|(all, _)| *all == updates) {
                    assert_eq!(Some(&(updates, number("sum"))), sums.get(&key), "the sum of key {key}");
                }
                *found.entry((key, updates)).or_default() += 1;
            }
        }
        let differs = |(place, count): &(&(u64, u64), &u64)| found.get(*place) != Some(*count);
        let wrong = expected.iter().find(differs).map(|(place, count)| (place, count, found.get(place)));
        assert_eq!(wrong, None, "key and update, how often it should come, and how often it does");
        assert_eq!(found.len(), expected.len(), "there are results that nobody expects");
    }
}

/// The names in a folder; none if it is not there.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The job as a process; killed when a test fails.
pub(super) struct Running(Option<Child>);

impl Running {
    pub(super) fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it was not ended")
    }

    /// Ends it as `kill -9` does.
    pub(super) fn kill(mut self) {
        let mut child = self.0.take().expect("it was not ended");
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
    }

    /// Waits for its end, for a minute at most.
    pub(super) fn end(mut self) -> Said {
        let child = self.0.take().expect("it was not ended");
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        let (send, ended) = std::sync::mpsc::channel::<()>();
        let watch = thread::spawn(move || {
            if ended.recv_timeout(Duration::from_secs(60)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // Its output is shown then, with no exit code.
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        });
        let output = child.wait_with_output().expect("its output");
        drop(send);
        watch.join().expect("it only waits");
        output.into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // The test has failed already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
