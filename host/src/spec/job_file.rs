//! The file as a whole: its top-level keys and sections.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    At, CheckpointSettings, Location, OperatorSpec, RestartSettings, SinkSpec, SourceSpec, SpecError, SwapSettings,
    checkpoint, environment,
    error::Problem,
    operator, overrides, restart,
    section::{Field, Scope, Section},
    sink, source, swap, tree,
};
use crate::stream::{BatchLimits, MAX_PARALLELISM_DEFAULT, MAX_PARALLELISM_LIMIT};

/// No job file is larger; what is, was not meant.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The most records in a batch: beyond a few thousand nothing is gained, and latency is lost.
const BATCH_RECORDS_MAX: u32 = 1 << 16;

/// The most bytes in a batch: offsets in its columns have 32 bits.
const BATCH_BYTES_MAX: u64 = 1 << 30;

/// How long a batch waits for more records by default.
const BATCH_TIMEOUT_DEFAULT: Duration = Duration::from_millis(5);

/// What a job file is read in.
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The current directory, absolute: what relative paths of a `--set` and of the job file itself are relative to.
    pub cwd: PathBuf,
}

/// A job as its file describes it.
#[derive(Clone, Debug)]
pub struct JobFile {
    /// The file, as it was given.
    pub path: PathBuf,
    /// The file's folder, absolute.
    pub folder: PathBuf,
    /// The job's name.
    pub name: String,
    /// Number of tasks of whatever does not say how many it has.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// Where state lives.
    pub state: StateSettings,
    /// When batches are sent.
    pub batch: BatchSpec,
    /// When checkpoints are taken, and where they lie. None: none are, and nothing is resumed.
    pub checkpoint: Option<CheckpointSettings>,
    /// How exchanged operators are taken back.
    pub swap: SwapSettings,
    /// What becomes of the job when it fails.
    pub restart: RestartSettings,
    /// Sources, in the order of the file; at least one.
    pub sources: Vec<SourceSpec>,
    /// Operators, in the order of the file.
    pub operators: Vec<OperatorSpec>,
    /// Sinks, in the order of the file.
    pub sinks: Vec<SinkSpec>,
    /// The text, for excerpts.
    text: Arc<str>,
}

/// Where state lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// What holds it.
    pub backend: StateBackend,
    /// Bytes of memory for the state of all tasks together, above which it goes to disk (`fjall` only).
    pub cache: u64,
    /// The folder where it goes, absolute; each task has one of its own below it.
    pub directory: PathBuf,
}

/// What holds state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateBackend {
    /// The process's memory.
    Memory,
    /// The process's memory, and the disk for what does not fit.
    #[default]
    Fjall,
}

/// When a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSpec {
    /// When it is full.
    pub limits: BatchLimits,
    /// How long it waits for more records.
    pub timeout: Duration,
}

impl Default for BatchSpec {
    fn default() -> Self {
        Self { limits: BatchLimits::default(), timeout: BATCH_TIMEOUT_DEFAULT }
    }
}

impl JobFile {
    /// Reads a job file and applies each of `sets`, a `path=value` as given to `--set`.
    ///
    /// # Errors
    /// When the file can't be read, or says what it may not; all that was found, at once.
    pub fn read(path: &Path, sets: &[String], surroundings: &Surroundings<'_>) -> Result<Self, SpecError> {
        let text = read_text(&surroundings.cwd.join(path));
        let text = text.map_err(|message| SpecError::new(path, "", vec![Problem::new(&Location::file(), message)]))?;
        Self::parse(path, &text, sets, surroundings)
    }

    /// The same with the text of the file at `path`, which is not looked at.
    ///
    /// # Errors
    /// When the text says what it may not; all that was found, at once.
    pub fn parse(path: &Path, text: &str, sets: &[String], surroundings: &Surroundings<'_>) -> Result<Self, SpecError> {
        let mut root = tree::document(text).map_err(|problem| SpecError::new(path, text, vec![problem]))?;
        environment::substitute(&mut root, surroundings.env);
        let problems = RefCell::new(overrides::apply(&mut root, sets));
        let file = surroundings.cwd.join(path);
        let folder = file.parent().unwrap_or(&surroundings.cwd);
        let scope = Scope { folder, cwd: &surroundings.cwd, problems };
        let job = Self::decode(path, text, Section::new(&scope, root, Location::file(), "the job file"));
        let problems = scope.problems.take();
        match job {
            Some(job) if problems.is_empty() => Ok(job),
            _ => Err(SpecError::new(path, text, problems)),
        }
    }

    /// A refusal of what `at` points to, for what only others can know. It looks like one of the file's own.
    pub fn error(&self, at: &Location, message: impl Into<String>) -> SpecError {
        SpecError::new(&self.path, &self.text, vec![Problem::new(at, message)])
    }

    /// The source of this id.
    pub fn source(&self, id: &str) -> Option<&SourceSpec> {
        self.sources.iter().find(|source| *source.id == id)
    }

    /// The operator of this id.
    pub fn operator(&self, id: &str) -> Option<&OperatorSpec> {
        self.operators.iter().find(|operator| *operator.id == id)
    }

    /// The sink of this id.
    pub fn sink(&self, id: &str) -> Option<&SinkSpec> {
        self.sinks.iter().find(|sink| *sink.id == id)
    }

    fn decode(path: &Path, text: &str, mut section: Section<'_>) -> Option<Self> {
        let scope = section.scope;
        let name = section.required("name", "a name of lower-case letters, digits and hyphens", Field::id);
        let parallelism = section.optional("parallelism", |field| field.whole(1..=u32::MAX));
        let max_parallelism = section.optional("max-parallelism", |field| field.whole(1..=MAX_PARALLELISM_LIMIT));
        refuse_too_parallel(scope, parallelism.as_ref(), max_parallelism.as_ref());
        let state = section.optional("state", read_state);
        let batch = section.optional("batch", read_batch);
        let checkpoint = section.optional("checkpoint", checkpoint::read).map(|checkpoint| checkpoint.value);
        let restart = section.optional("restart", restart::read).map(|restart| restart.value);
        let swap = section.optional("swap", swap::read).map(|swap| swap.value).unwrap_or_default();
        if !section.has("source") {
            scope.refuse(&Location::file(), "the job has no source; add a `[[source]]`");
        }
        let sources = section.entries("source", source::read);
        let operators = section.entries("operator", operator::read);
        let sinks = section.entries("sink", sink::read);
        section.finish();
        let job = Self {
            path: path.to_owned(),
            folder: scope.folder.to_owned(),
            name: name?.value,
            parallelism: parallelism.map_or(1, |number| number.value),
            max_parallelism: max_parallelism.map_or(MAX_PARALLELISM_DEFAULT, |number| number.value),
            state: state.map_or_else(|| default_state(scope.folder), |state| state.value),
            batch: batch.map(|batch| batch.value).unwrap_or_default(),
            restart: restart.unwrap_or_else(|| RestartSettings::default_of(checkpoint.as_ref())),
            checkpoint,
            swap,
            sources,
            operators,
            sinks,
            text: text.into(),
        };
        job.refuse_taken_ids(scope);
        Some(job)
    }

    /// Ids name state, metrics and edges alike: one id, one thing.
    fn refuse_taken_ids(&self, scope: &Scope<'_>) {
        let sources = self.sources.iter().map(|source| ("source", &source.id));
        let operators = self.operators.iter().map(|operator| ("operator", &operator.id));
        let sinks = self.sinks.iter().map(|sink| ("sink", &sink.id));
        let mut taken: HashMap<&str, &str> = HashMap::new();
        let mut ids: Vec<(&str, &At<String>)> = sources.chain(operators).chain(sinks).collect();
        ids.sort_by_key(|(_, id)| id.at.offset());
        for (kind, id) in ids {
            if let Some(holder) = taken.get(id.as_str()) {
                scope.refuse(
                    &id.at,
                    format!("the id `{id}` is taken by {} already; ids are unique in a job", article(holder, kind)),
                );
            } else {
                taken.insert(id, kind);
            }
        }
    }
}

/// "another sink" beside a sink, else "a sink".
fn article(holder: &str, kind: &str) -> String {
    match holder {
        _ if holder == kind => format!("another {holder}"),
        "operator" => "an operator".to_owned(),
        _ => format!("a {holder}"),
    }
}

fn refuse_too_parallel(scope: &Scope<'_>, parallelism: Option<&At<u32>>, max_parallelism: Option<&At<u32>>) {
    let most = max_parallelism.map_or(MAX_PARALLELISM_DEFAULT, |most| most.value);
    if let Some(parallelism) = parallelism.filter(|parallelism| parallelism.value > most) {
        scope.refuse(
            &parallelism.at,
            format!("`parallelism` is {parallelism}, more than `max-parallelism`, which is {most}"),
        );
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("can't be read: {error}");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes; is it a job file?"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("is not UTF-8 (at byte {}); is it a job file?", error.utf8_error().valid_up_to()))
}

/// The memory for state when the job file does not say how much.
const CACHE_DEFAULT: u64 = 256 << 20;
/// More than a machine has.
const CACHE_MAX: u64 = 1 << 50;
/// Where state goes that does not fit, seen from the job file's folder.
const DIRECTORY_DEFAULT: &str = ".wasmill/spill";

fn default_state(folder: &Path) -> StateSettings {
    StateSettings { backend: StateBackend::default(), cache: CACHE_DEFAULT, directory: folder.join(DIRECTORY_DEFAULT) }
}

fn read_state(field: Field<'_>) -> Option<StateSettings> {
    let mut section = field.section("`state`", "{ backend = \"memory\" }")?;
    let default = default_state(section.scope.folder);
    let backends = [("fjall", StateBackend::Fjall), ("memory", StateBackend::Memory)];
    let backend = section.optional("backend", |field| field.word(&backends, &[]));
    let cache = section.optional("cache", |field| field.size(CACHE_MAX));
    let directory = section.optional("directory", Field::path);
    section.finish();
    Some(StateSettings {
        backend: backend.map_or(default.backend, |backend| backend.value),
        cache: cache.map_or(default.cache, |cache| cache.value),
        directory: directory.map_or(default.directory, |directory| directory.value),
    })
}

fn read_batch(field: Field<'_>) -> Option<BatchSpec> {
    let default = BatchSpec::default();
    let mut section = field.section("`batch`", "{ records = 1024 }")?;
    let records = section.optional("records", |field| field.whole(1..=BATCH_RECORDS_MAX));
    let bytes = section.optional("bytes", |field| field.size(BATCH_BYTES_MAX));
    let timeout = section.optional("timeout", Field::duration);
    section.finish();
    let limits = BatchLimits {
        records: records.map_or(default.limits.records, |records| records.value as usize),
        bytes: bytes.map_or(default.limits.bytes, |bytes| bytes.value as usize),
    };
    Some(BatchSpec { limits, timeout: timeout.map_or(default.timeout, |timeout| timeout.value) })
}
