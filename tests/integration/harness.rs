//! Runs a job in this process and reads its results back.
//!
//! Plugins are built by the product's own builder and loaded once per process. Results go to `file` sinks in a folder of their own and are compared as multisets
//! (sorted lines), or byte by byte where the order is promised.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use wasmill::{
    job::{
        Executor, JobError, Loader, Outcome, PreparedJob, Report, RunOptions, Start, VertexReport, builder::Builder,
        prepare,
    },
    runtime::Control,
    spec::{JobFile, Surroundings},
    stream::Fault,
};

/// The folder for state, beside those of the sinks.
const STATE: &str = ".state";

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

/// Where compiled code and stamps of builds are kept from run to run.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// The component of a crate in `guests/`, built once per process.
pub(crate) fn component(name: &str) -> PathBuf {
    static BUILT: OnceLock<Builder> = OnceLock::new();
    let builder = BUILT.get_or_init(|| Builder::new(cache().join("builds")));
    let built = builder.build(&root().join("tests/guests").join(name), &mut |line| eprintln!("{line}"));
    built.unwrap_or_else(|error| panic!("the guest {name} is not built: {error}")).component
}

/// The input texts.
pub(crate) fn texts() -> PathBuf {
    root().join("tests/fixtures/texts")
}

/// A folder that is removed with its content.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written to")
}

fn loader() -> &'static Mutex<Loader> {
    static LOADER: OnceLock<Mutex<Loader>> = OnceLock::new();
    LOADER.get_or_init(|| Mutex::new(Loader::new(Some(&cache())).expect("WebAssembly can be run here")))
}

/// Does something with the loader of this process.
pub(crate) fn with_loader<R>(work: impl FnOnce(&mut Loader) -> R) -> R {
    // A test that failed while it held the loader leaves it as it was.
    work(&mut loader().lock().unwrap_or_else(PoisonError::into_inner))
}

/// A job that is about to be run.
#[derive(Clone)]
pub(crate) struct Job {
    file: PathBuf,
    text: Option<String>,
    sets: Vec<String>,
    /// Sinks whose records go to files, and where `file` was not their type.
    into_files: Vec<String>,
    executor: Executor,
    stop_after: Option<Duration>,
}

impl Job {
    /// The job of a plugin's folder.
    pub(crate) fn of_plugin(name: &str) -> Self {
        Self {
            file: root().join(format!("plugins/{name}/job.toml")),
            text: None,
            sets: Vec::new(),
            into_files: Vec::new(),
            executor: Executor::Threads,
            stop_after: None,
        }
    }

    /// A job file's text; its paths are relative to the repository.
    pub(crate) fn of_text(text: &str) -> Self {
        Self { file: root().join("job.toml"), text: Some(text.to_owned()), ..Self::of_plugin("") }
    }

    /// With more text at its end.
    pub(crate) fn with_text(mut self, more: &str) -> Self {
        self.text = self.text.map(|text| format!("{text}\n{more}"));
        self
    }

    /// With another id for one of its vertices, wherever its text names it.
    pub(crate) fn renamed(mut self, id: &str, other: &str) -> Self {
        self.text = self.text.map(|text| text.replace(&format!("\"{id}\""), &format!("\"{other}\"")));
        self
    }

    /// As `--set` does it.
    pub(crate) fn set(mut self, path: &str, value: impl ToString) -> Self {
        self.sets.push(format!("{path}={}", value.to_string()));
        self
    }

    /// The same for several.
    pub(crate) fn sets(self, sets: &[(&str, &str)]) -> Self {
        sets.iter().fold(self, |job, (path, value)| job.set(path, value))
    }

    /// Lets a sink write to files, which [`Ran::lines`] reads.
    pub(crate) fn into_files(mut self, sink: &str) -> Self {
        self.into_files.push(sink.to_owned());
        self
    }

    /// Runs it that way.
    pub(crate) fn on(mut self, executor: Executor) -> Self {
        self.executor = executor;
        self
    }

    /// Asks it to stop after some time.
    pub(crate) fn stopped_after(mut self, time: Duration) -> Self {
        self.stop_after = Some(time);
        self
    }

    /// Everything up to the start.
    ///
    /// # Errors
    /// As `wasmill plan`.
    pub(crate) fn prepare(&self, results: &Path) -> Result<PreparedJob, JobError> {
        // Tests run at the same time, and a job's folder for state is for one run.
        let mut sets = vec![format!("state.directory={}", results.join(STATE).display())];
        sets.extend_from_slice(&self.sets);
        for sink in &self.into_files {
            sets.push(format!("sink.{sink}.type=file"));
            sets.push(format!("sink.{sink}.path={}", results.join(sink).display()));
        }
        let surroundings = Surroundings { env: &|_| None, cwd: root().to_owned() };
        let spec = match &self.text {
            Some(text) => JobFile::parse(&self.file, text, &sets, &surroundings),
            None => JobFile::read(&self.file, &sets, &surroundings),
        };
        with_loader(|loader| prepare(spec?, loader, &mut |line| eprintln!("{line}")))
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn try_run(&self) -> Result<Ran, JobError> {
        let results = folder();
        let prepared = self.prepare(results.path())?;
        let control = Arc::new(Control::default());
        if let Some(time) = self.stop_after {
            let control = Arc::clone(&control);
            thread::spawn(move || {
                thread::sleep(time);
                control.stop.store(true, std::sync::atomic::Ordering::Relaxed);
            });
        }
        let options = RunOptions {
            executor: self.executor,
            start: Start::default(),
            process_start: Instant::now(),
            control,
            progress: &mut |_| {},
            say: &mut |line| eprintln!("{line}"),
            live: wasmill::job::Live::new("job"),
            simulation: None,
        };
        let (report, fault) = prepared.run(options)?;
        Ok(Ran { report, fault, results })
    }

    /// Runs a job that has to end well.
    pub(crate) fn run(&self) -> Ran {
        let ran = self.try_run().unwrap_or_else(|error| panic!("{} does not start: {error}", self.describe()));
        if let Some(fault) = &ran.fault {
            panic!("{} failed: {fault}", self.describe());
        }
        ran
    }

    /// Runs a job that has to fail, and gives the message.
    pub(crate) fn run_failing(&self) -> String {
        match self.try_run() {
            Err(error) => error.to_string(),
            Ok(ran) => {
                assert_eq!(ran.report.outcome, Outcome::Failed, "{}", self.describe());
                ran.fault.expect("a failed job has a fault").message
            }
        }
    }

    /// For messages.
    pub(crate) fn describe(&self) -> String {
        format!("the job {} with {:?} on {:?}", self.file.display(), self.sets, self.executor)
    }
}

/// A job that has ended.
pub(crate) struct Ran {
    /// What it did.
    pub(crate) report: Report,
    /// Why it failed, if it did.
    pub(crate) fault: Option<Fault>,
    results: TempDir,
}

impl Ran {
    /// What a sink wrote, by name of the file.
    pub(crate) fn files(&self, sink: &str) -> BTreeMap<String, Vec<u8>> {
        files(&self.results.path().join(sink))
    }

    /// The lines that a sink wrote, sorted: a multiset.
    pub(crate) fn lines(&self, sink: &str) -> Vec<String> {
        sorted_lines(self.files(sink).values().map(Vec::as_slice))
    }

    /// The documents that a sink wrote, sorted by their text.
    pub(crate) fn documents(&self, sink: &str) -> Vec<Value> {
        self.lines(sink).iter().map(|line| serde_json::from_str(line).expect("a line is a JSON document")).collect()
    }

    /// What an operator did.
    pub(crate) fn operator(&self, id: &str) -> &VertexReport {
        &self.report.operators[id]
    }
}

/// The files of a folder by name, hidden ones included; none if it is not there.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.expect("a folder can be listed");
        (
            entry.file_name().into_string().expect("names are UTF-8"),
            fs::read(entry.path()).expect("a result can be read"),
        )
    };
    entries.map(read).collect()
}

/// Lines, sorted.
pub(crate) fn sorted_lines<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for text in texts {
        assert!(text.is_empty() || text.ends_with(b"\n"), "a file of results ends with a line feed");
        lines.extend(std::str::from_utf8(text).expect("results are UTF-8").lines().map(str::to_owned));
    }
    lines.sort_unstable();
    lines
}

/// Compares multisets, and shows the first difference instead of everything.
#[track_caller]
pub(crate) fn assert_same(actual: &[String], expected: &[String], what: &str) {
    if actual == expected {
        return;
    }
    let at = actual.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(actual.len().min(expected.len()));
    panic!(
        "{what}: {} lines where {} were expected; sorted, line {at} is {:?} and should be {:?}",
        actual.len(),
        expected.len(),
        actual.get(at),
        expected.get(at)
    );
}
