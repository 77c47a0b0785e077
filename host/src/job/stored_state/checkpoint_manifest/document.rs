//! A checkpoint's manifest as it lies in the storage.
//!
//! ```json
//! {
//!   "format": "wasmill-state",
//!   "format-version": 2,
//!   "job": "word-count", "attempt": 3, "id": 17,
//!   "completed": "2026-11-02T10:00:00.123Z", "duration-ms": 480, "new-bytes": 1234567,
//!   "ended": "done",                                       done | stopped; absent: the job ran on
//!   "max-parallelism": 128,
//!   "mode": "exactly-once",                                exactly-once | at-least-once
//!   "sources": [{ "id": "lines", "position": … }],
//!   "operators": [{
//!     "id": "count",
//!     "plugin": { "name": "word-count", "version": "0.1.0", "declared": SHA-256, "running": SHA-256, "file": "plugins/….wasm" },
//!     "parallelism": 2,
//!     "states": [{ "number": 0, "name": "count", "kind": "value", "schema-version": 1, "key": …, "value": …, "entries": 5, "bytes": 90 }],
//!     "tasks": [{
//!       "task": 0, "key-groups": [0, 64], "watermark": 1730541600000, "list-elements": 0, "ended": false,
//!       "segments": [{ "name": "segments/count/3-0-17-0.seg", "bytes": 70, "raw-bytes": 90, "checksum": 16 digits, "entries": 5, "key-groups": [0, 64], "run": 0,
//!                      "contents": [{ "state": 0, "version": 1, "entries": 5, "bytes": 90 }] }],
//!       "operator-state": { as a segment }
//!     }]
//!   }],
//!   "sinks": [{ "id": "counts", "transactions": … }],
//!   "swap": {                                               version 3, as what follows; absent: no exchange was on probation
//!     "checkpoint": 17,
//!     "former": [{ "id": "count", "plugin": as above, "states": as above, "next-state": 1 }]
//!   },
//!   "root": "../..",                                       or "." for what is self-contained
//!   "checksum": 16 digits
//! }
//! ```
//!
//! In version 3 a plugin may have `"settings": { "declared": { "config": …, "limits": …, "on-error": … }, "running": … }`, and an operator `"next-state": 2` where that does not follow from its states.
//!
//! `key-groups` go from the first one to behind the last one; state of a task that belongs to no key has the one number 65535. What is optional is absent.

use std::{collections::BTreeSet, ops::Range, time::SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    CheckpointManifest, CheckpointedOperator, CheckpointedPlugin, CheckpointedSink, CheckpointedSource,
    CheckpointedTask, ExchangedSettings, FormerVersion, OpenSwap, Root, SegmentOfTask,
};
use crate::{
    checkpoint::{Label, LabelCount, Mode, SegmentFacts},
    job::stored_state::{
        described::{DescribedState, StateDocument, check_numbers},
        format::{CHECKPOINT_VERSION, EXCHANGES_VERSION, FORMAT},
        manifest::{Ended, checksum_of_hex, goes_down},
    },
    state::NO_KEY_GROUP,
    stream::{CheckpointId, MAX_PARALLELISM_LIMIT},
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Document {
    format: String,
    format_version: u32,
    job: String,
    attempt: u64,
    id: u64,
    completed: String,
    duration_ms: u64,
    new_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
    max_parallelism: u32,
    mode: String,
    sources: Vec<SourceDocument>,
    operators: Vec<OperatorDocument>,
    sinks: Vec<SinkDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    swap: Option<SwapDocument>,
    root: String,
    /// Written and checked with the text.
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "it is a member that may be there")]
    checksum: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SwapDocument {
    checkpoint: u64,
    former: Vec<FormerDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FormerDocument {
    id: String,
    plugin: PluginDocument,
    states: Vec<StateDocument>,
    next_state: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SettingsDocument {
    declared: Value,
    running: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SourceDocument {
    id: String,
    position: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SinkDocument {
    id: String,
    transactions: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OperatorDocument {
    id: String,
    plugin: PluginDocument,
    parallelism: u32,
    states: Vec<StateDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_state: Option<u16>,
    tasks: Vec<TaskDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PluginDocument {
    name: String,
    version: String,
    declared: String,
    running: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<SettingsDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TaskDocument {
    task: u32,
    key_groups: [u32; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watermark: Option<i64>,
    list_elements: u64,
    ended: bool,
    segments: Vec<SegmentDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operator_state: Option<SegmentDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SegmentDocument {
    name: String,
    bytes: u64,
    raw_bytes: u64,
    checksum: String,
    entries: u64,
    key_groups: [u32; 2],
    run: u64,
    contents: Vec<ContentsDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ContentsDocument {
    state: u16,
    version: u16,
    entries: u64,
    bytes: u64,
}

const MODES: [(&str, Mode); 2] = [("exactly-once", Mode::ExactlyOnce), ("at-least-once", Mode::AtLeastOnce)];

pub(super) fn mode_name(mode: Mode) -> &'static str {
    MODES.iter().find(|(_, known)| *known == mode).map_or("", |(name, _)| name)
}

/// The folder above, and the one that is meant.
const UP: &str = "..";
const HERE: &str = ".";

impl Document {
    pub(super) fn of(manifest: &CheckpointManifest) -> Self {
        let sources = manifest.sources.iter();
        let sinks = manifest.sinks.iter();
        Self {
            format: FORMAT.to_owned(),
            format_version: if manifest.has_exchanges() { EXCHANGES_VERSION } else { CHECKPOINT_VERSION },
            job: manifest.job.clone(),
            attempt: manifest.attempt,
            id: manifest.id.0,
            completed: humantime::format_rfc3339_millis(manifest.completed).to_string(),
            duration_ms: manifest.duration_ms,
            new_bytes: manifest.new_bytes,
            ended: manifest.ended,
            max_parallelism: manifest.max_parallelism,
            mode: mode_name(manifest.mode).to_owned(),
            sources: sources
                .map(|source| SourceDocument { id: source.id.clone(), position: source.position.clone() })
                .collect(),
            operators: manifest.operators.iter().map(OperatorDocument::of).collect(),
            sinks: sinks
                .map(|sink| SinkDocument { id: sink.id.clone(), transactions: sink.transactions.clone() })
                .collect(),
            swap: manifest.swap.as_ref().map(SwapDocument::of),
            root: manifest.root.to_document(),
            checksum: String::new(),
        }
    }

    /// What it says, if that can be.
    pub(super) fn into_manifest(self) -> Result<CheckpointManifest, String> {
        if !(1..=MAX_PARALLELISM_LIMIT).contains(&self.max_parallelism) {
            return Err(format!("there can't be {} key groups", self.max_parallelism));
        }
        if self.id == 0 {
            return Err("there is no checkpoint 0".into());
        }
        let ids = [
            self.sources.iter().map(|source| &source.id).collect::<Vec<_>>(),
            self.operators.iter().map(|operator| &operator.id).collect(),
            self.sinks.iter().map(|sink| &sink.id).collect(),
        ];
        let mut seen = BTreeSet::new();
        if let Some(twice) = ids.iter().flatten().find(|id| !seen.insert(**id)) {
            return Err(format!("it names {twice} twice"));
        }
        let swap = self.swap.map(SwapDocument::into_swap).transpose()?;
        let strange = swap.iter().flat_map(|swap| &swap.former).find(|former| !ids[1].contains(&&former.id));
        if let Some(former) = strange {
            return Err(format!("it names a former version of {}, which is no operator", former.id));
        }
        let mode = MODES.iter().find(|(name, _)| *name == self.mode).map(|(_, mode)| *mode);
        let key_groups = self.max_parallelism;
        let operators = self.operators.into_iter().map(|operator| {
            let id = operator.id.clone();
            operator.into_operator(key_groups).map_err(|what| format!("operator {id}: {what}"))
        });
        Ok(CheckpointManifest {
            swap,
            job: self.job,
            attempt: self.attempt,
            id: CheckpointId(self.id),
            completed: time_of(&self.completed)?,
            duration_ms: self.duration_ms,
            new_bytes: self.new_bytes,
            ended: self.ended,
            max_parallelism: self.max_parallelism,
            mode: mode.ok_or_else(|| format!("`{}` is no mode", self.mode))?,
            operators: operators.collect::<Result<_, _>>()?,
            sources: self
                .sources
                .into_iter()
                .map(|source| CheckpointedSource { id: source.id, position: source.position })
                .collect(),
            sinks: self
                .sinks
                .into_iter()
                .map(|sink| CheckpointedSink { id: sink.id, transactions: sink.transactions })
                .collect(),
            root: Root::from_document(&self.root)?,
        })
    }
}

/// A time as it is written; of other ways to write it none.
fn time_of(text: &str) -> Result<SystemTime, String> {
    let time = humantime::parse_rfc3339(text).ok();
    let time = time.filter(|time| humantime::format_rfc3339_millis(*time).to_string() == text);
    time.ok_or_else(|| format!("`{text}` is no time"))
}

impl Root {
    fn to_document(self) -> String {
        if self == Self::SELF_CONTAINED { HERE.to_owned() } else { vec![UP; self.0 as usize].join("/") }
    }

    fn from_document(text: &str) -> Result<Self, String> {
        if text == HERE {
            return Ok(Self::SELF_CONTAINED);
        }
        if text.split('/').all(|part| part == UP) {
            return Ok(Self(text.split('/').count() as u32));
        }
        Err(format!("names can't be relative to `{text}`"))
    }
}

impl OperatorDocument {
    fn of(operator: &CheckpointedOperator) -> Self {
        Self {
            id: operator.id.clone(),
            plugin: PluginDocument::of(&operator.plugin),
            next_state: operator.next_state_if_unusual(),
            parallelism: operator.parallelism,
            states: operator.states.iter().map(DescribedState::to_document).collect(),
            tasks: operator.tasks.iter().map(TaskDocument::of).collect(),
        }
    }

    fn into_operator(self, max_parallelism: u32) -> Result<CheckpointedOperator, String> {
        let states: Vec<_> = self.states.into_iter().map(DescribedState::from_document).collect::<Result<_, _>>()?;
        check_numbers(&states)?;
        let plugin = self.plugin.into_plugin()?;
        let next_state = next_state(self.next_state, &states)?;
        if self.parallelism == 0 || !self.tasks.iter().map(|task| task.task).eq(0..self.parallelism) {
            return Err(format!("it has {} tasks and state of others", self.parallelism));
        }
        let tasks = self.tasks.into_iter().map(|task| {
            let number = task.task;
            task.into_task(max_parallelism).map_err(|what| format!("task {number}: {what}"))
        });
        let tasks: Vec<CheckpointedTask> = tasks.collect::<Result<_, _>>()?;
        let behind = tasks.iter().try_fold(0, |behind, CheckpointedTask { key_groups: Range { start, end }, .. }| {
            (*start == behind && start <= end).then_some(*end)
        });
        if behind != Some(max_parallelism) {
            return Err(format!("its tasks do not share the {max_parallelism} key groups"));
        }
        Ok(CheckpointedOperator { id: self.id, plugin, parallelism: self.parallelism, states, next_state, tasks })
    }
}

/// The number that the next new state gets: above those of all that there are.
fn next_state(given: Option<u16>, states: &[DescribedState]) -> Result<u16, String> {
    let free = CheckpointedOperator::first_free(states);
    match given {
        None => Ok(free),
        Some(given) if given >= free => Ok(given),
        Some(given) => Err(format!("the next state can't get the number {given}, which another one has")),
    }
}

impl PluginDocument {
    fn of(plugin: &CheckpointedPlugin) -> Self {
        let CheckpointedPlugin { name, version, declared, running, file, settings } = plugin.clone();
        let settings = settings.map(|ExchangedSettings { declared, running }| SettingsDocument { declared, running });
        Self { name, version, declared, running, file, settings }
    }

    fn into_plugin(self) -> Result<CheckpointedPlugin, String> {
        let Self { name, version, declared, running, file, settings } = self;
        if let Some(file) = file.as_deref().filter(|file| !goes_down(file)) {
            return Err(no_name(file));
        }
        let settings = settings.map(|SettingsDocument { declared, running }| ExchangedSettings { declared, running });
        Ok(CheckpointedPlugin { name, version, declared, running, file, settings })
    }
}

impl SwapDocument {
    fn of(swap: &OpenSwap) -> Self {
        let former = swap.former.iter().map(|former| FormerDocument {
            id: former.id.clone(),
            plugin: PluginDocument::of(&former.plugin),
            states: former.states.iter().map(DescribedState::to_document).collect(),
            next_state: former.next_state,
        });
        Self { checkpoint: swap.checkpoint.0, former: former.collect() }
    }

    fn into_swap(self) -> Result<OpenSwap, String> {
        let former = self.former.into_iter().map(|former| {
            let states: Vec<_> =
                former.states.into_iter().map(DescribedState::from_document).collect::<Result<_, _>>()?;
            check_numbers(&states)?;
            let next_state = next_state(Some(former.next_state), &states)?;
            Ok(FormerVersion { id: former.id, plugin: former.plugin.into_plugin()?, states, next_state })
        });
        Ok(OpenSwap { checkpoint: CheckpointId(self.checkpoint), former: former.collect::<Result<_, String>>()? })
    }
}

impl CheckpointedOperator {
    /// The number that its next new state gets, where that does not follow from those that it has.
    fn next_state_if_unusual(&self) -> Option<u16> {
        Some(self.next_state).filter(|next| *next != Self::first_free(&self.states))
    }
}

impl CheckpointManifest {
    /// Whether it has what only version 3 has.
    fn has_exchanges(&self) -> bool {
        let of_operator = |operator: &CheckpointedOperator| {
            operator.plugin.settings.is_some()
                || operator.next_state_if_unusual().is_some()
                || operator.states.iter().any(|state| state.ttl_since.is_some())
        };
        self.swap.is_some() || self.operators.iter().any(of_operator)
    }
}

fn no_name(name: &str) -> String {
    format!("`{name}` is no name below the root")
}

impl TaskDocument {
    fn of(task: &CheckpointedTask) -> Self {
        Self {
            task: task.task,
            key_groups: [task.key_groups.start, task.key_groups.end],
            watermark: task.watermark,
            list_elements: task.list_elements,
            ended: task.ended,
            segments: task.segments.iter().map(SegmentDocument::of).collect(),
            operator_state: task.operator_state.as_ref().map(SegmentDocument::of),
        }
    }

    fn into_task(self, max_parallelism: u32) -> Result<CheckpointedTask, String> {
        let keyless = u32::from(NO_KEY_GROUP)..u32::from(NO_KEY_GROUP) + 1;
        let segments = self.segments.into_iter().map(SegmentDocument::into_segment);
        let segments: Vec<_> = segments.collect::<Result<_, _>>()?;
        let operator_state = self.operator_state.map(SegmentDocument::into_segment).transpose()?;
        let beyond = |Range { start, end }: &Range<u32>| start > end || *end > max_parallelism;
        let strange = segments.iter().find(|segment| beyond(&segment.facts.key_groups));
        let strange = strange.or(operator_state
            .as_ref()
            .filter(|segment| segment.facts.entries > 0 && segment.facts.key_groups != keyless));
        if let Some(SegmentOfTask { name, facts, .. }) = strange {
            return Err(format!("{name} can't have the key groups {:?}", facts.key_groups));
        }
        check_runs(&segments)?;
        Ok(CheckpointedTask {
            task: self.task,
            key_groups: self.key_groups[0]..self.key_groups[1],
            watermark: self.watermark,
            list_elements: self.list_elements,
            ended: self.ended,
            segments,
            operator_state,
        })
    }
}

/// That the segments of a run follow one another, and their key groups do.
fn check_runs(segments: &[SegmentOfTask]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for run in segments.chunk_by(|one, next| one.run == next.run) {
        if !seen.insert(run[0].run) {
            return Err(format!("the segments of run {} do not follow one another", run[0].run));
        }
        // A key group that is large lies in two.
        let key_groups: Vec<_> = run.iter().map(|segment| &segment.facts.key_groups).collect();
        if !key_groups.windows(2).all(|pair| pair[0].end <= pair[1].start + 1) {
            return Err(format!("the segments of run {} are not in order", run[0].run));
        }
    }
    Ok(())
}

impl SegmentDocument {
    fn of(segment: &SegmentOfTask) -> Self {
        let SegmentFacts { bytes, checksum, entries, key_groups, raw_bytes, labels } = &segment.facts;
        let contents = labels.iter().map(|LabelCount { label, entries, bytes }| ContentsDocument {
            state: label.state,
            version: label.version,
            entries: *entries,
            bytes: *bytes,
        });
        Self {
            name: segment.name.clone(),
            bytes: *bytes,
            raw_bytes: *raw_bytes,
            checksum: format!("{checksum:016x}"),
            entries: *entries,
            key_groups: [key_groups.start, key_groups.end],
            run: segment.run,
            contents: contents.collect(),
        }
    }

    fn into_segment(self) -> Result<SegmentOfTask, String> {
        if !goes_down(&self.name) {
            return Err(no_name(&self.name));
        }
        let labels = self.contents.iter().map(|contents| LabelCount {
            label: Label { state: contents.state, version: contents.version },
            entries: contents.entries,
            bytes: contents.bytes,
        });
        let facts = SegmentFacts {
            bytes: self.bytes,
            checksum: checksum_of_hex(&self.checksum)?,
            entries: self.entries,
            key_groups: self.key_groups[0]..self.key_groups[1],
            raw_bytes: self.raw_bytes,
            labels: labels.collect(),
        };
        Ok(SegmentOfTask { name: self.name, run: self.run, facts })
    }
}
