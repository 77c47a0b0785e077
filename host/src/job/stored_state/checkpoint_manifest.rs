//! The manifest of a checkpoint: format versions 2 and 3. Version 3 may have what comes of exchanging operators; a manifest that has nothing of it is written as version 2.
//!
//! A checkpoint exists when its manifest does, and everything in it is what the manifest names. A person can read it: JSON with names in kebab-case, in the order in which things
//! are declared (the module `document` draws it). Frozen, by format version; a reader refuses what is newer before it looks at anything else, then what is not as it was written, and
//! then a member that it does not know.
//!
//! - The state of a task is an ordered list of *segments*, oldest first; the newest entry of a stored key wins. Segments of one *run* are disjoint parts of one sorted sequence: they
//!   follow one another, and so do their key groups. After a rescaling a segment may hold key groups of other tasks too: only those of the task count.
//! - Lists and broadcast maps of a task have a segment of their own, which is written whole every time.
//! - All names are relative to one folder, the *root*, which the manifest gives from where it lies itself: the job's folder for checkpoints, which share segments with one another,
//!   and the manifest's own for what is self-contained and may be moved.
//! - The last member is a checksum of all that is before it, white space between tokens excepted: so it holds after a formatter, and not after a flipped digit.

mod checksum;
mod document;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
    time::SystemTime,
};

use serde_json::Value;

use self::document::Document;
use super::{
    Counted,
    described::DescribedState,
    error::{StoredStateError, StoredStateProblem},
    format::Format,
    manifest::Ended,
};
use crate::{
    checkpoint::{Mode, Run, SegmentFacts, StoredSegment},
    operator::StateKind,
    stream::CheckpointId,
};

/// A checkpoint of a job: all state, where every source was, and what sinks have yet to make visible.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointManifest {
    /// The job's name.
    pub job: String,
    /// The fencing number of the run that took it.
    pub attempt: u64,
    /// Its number.
    pub id: CheckpointId,
    /// When the last task had acknowledged it; whole milliseconds.
    pub completed: SystemTime,
    /// From its trigger until then, in milliseconds.
    pub duration_ms: u64,
    /// Bytes of the segments that were written for this checkpoint; the others are of earlier ones.
    pub new_bytes: u64,
    /// How the job ended with it; none: it ran on.
    pub ended: Option<Ended>,
    /// The number of key groups.
    pub max_parallelism: u32,
    /// Whether barriers were aligned.
    pub mode: Mode,
    /// All sources, in the order of the job file.
    pub sources: Vec<CheckpointedSource>,
    /// All operators, also those without state, in the order of the job file.
    pub operators: Vec<CheckpointedOperator>,
    /// All sinks, in the order of the job file.
    pub sinks: Vec<CheckpointedSink>,
    /// The exchange of operators that was on probation; none: there was none. A run does not begin from here then, but from where the exchange began, and with what ran before.
    pub swap: Option<OpenSwap>,
    /// What names are relative to.
    pub root: Root,
}

/// An exchange of operators on probation.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenSwap {
    /// The checkpoint at whose barrier they were exchanged.
    pub checkpoint: CheckpointId,
    /// What ran before.
    pub former: Vec<FormerVersion>,
}

/// What ran before an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct FormerVersion {
    /// The operator.
    pub id: String,
    /// Its plugin.
    pub plugin: CheckpointedPlugin,
    /// Its states.
    pub states: Vec<DescribedState>,
    /// As that of the operator.
    pub next_state: u16,
}

/// How many folders above the manifest's own the one lies that names are relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root(pub u32);

impl Root {
    /// The manifest's own folder: of what is self-contained.
    pub const SELF_CONTAINED: Self = Self(0);
    /// The job's folder: of `checkpoints/<id>/manifest.json` in it.
    pub const JOB: Self = Self(2);
}

/// A source and how far it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointedSource {
    /// Its id in the job.
    pub id: String,
    /// Where it was, as its connector says it.
    pub position: Value,
}

/// A sink and what it prepared.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointedSink {
    /// Its id in the job.
    pub id: String,
    /// What becomes visible with this checkpoint, as its connector says it.
    pub transactions: Value,
}

/// An operator and its state.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointedOperator {
    /// Its id in the job.
    pub id: String,
    /// The plugin that it ran.
    pub plugin: CheckpointedPlugin,
    /// Its number of tasks.
    pub parallelism: u32,
    /// Its states, in the order in which it declares them.
    pub states: Vec<DescribedState>,
    /// The number that its next new state gets. Numbers of states that it has no more are not used again.
    pub next_state: u16,
    /// All its tasks, in their order.
    pub tasks: Vec<CheckpointedTask>,
}

/// The plugin of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointedPlugin {
    /// Its own name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// SHA-256 of the component that the job file yielded.
    pub declared: String,
    /// SHA-256 of the component that ran: another one after an exchange.
    pub running: String,
    /// The component that ran, as a name below the root; none: it was not kept.
    pub file: Option<String>,
    /// What it was given, where that is not what the job file says.
    pub settings: Option<ExchangedSettings>,
}

/// What an operator was given after an exchange, instead of what the job file says: JSON objects with `config`, `limits` and `on-error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangedSettings {
    /// What the job file said.
    pub declared: Value,
    /// What it was given.
    pub running: Value,
}

/// What a task had at the barrier.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointedTask {
    /// Its number within the operator.
    pub task: u32,
    /// The key groups that it owned.
    pub key_groups: Range<u32>,
    /// Its watermark, in milliseconds since the Unix epoch; none: it had seen none yet.
    pub watermark: Option<i64>,
    /// The index that the next list element gets.
    pub list_elements: u64,
    /// Whether it had come to the end of its input, or those had whose keys it took over: no key is visited at the end once more.
    pub ended: bool,
    /// Its keyed state, oldest first.
    pub segments: Vec<SegmentOfTask>,
    /// Its lists and broadcast maps, whole; none where it has no such state.
    pub operator_state: Option<SegmentOfTask>,
}

/// A segment as a manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentOfTask {
    /// Its name below the root.
    pub name: String,
    /// Segments of one sorted run have one number, which is of no other meaning.
    pub run: u64,
    /// What a reader holds it to.
    pub facts: SegmentFacts,
}

impl CheckpointManifest {
    /// The manifest's text.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(&Document::of(self)).expect("its maps have names for keys");
        checksum::sign(&text)
    }

    /// Reads a manifest; `path` is for errors.
    ///
    /// # Errors
    /// When it is none, of a later version, changed, or says what can't be.
    pub fn from_json(path: &Path, text: &[u8]) -> Result<Self, StoredStateError> {
        let failed = |problem| StoredStateError { path: path.to_owned(), problem };
        let damaged = |what: String| failed(StoredStateProblem::CheckpointManifest(what));
        let json = match Format::of(path, text) {
            Ok((Format::Checkpoint, json)) => json,
            Ok((Format::Dump, _)) => return Err(failed(StoredStateProblem::NoCheckpoint)),
            Err(StoredStateError { problem: StoredStateProblem::Manifest(what), .. }) => return Err(damaged(what)),
            Err(error) => return Err(error),
        };
        checksum::check(text).map_err(damaged)?;
        let document: Document = serde_json::from_value(json).map_err(|error| damaged(error.to_string()))?;
        document.into_manifest().map_err(damaged)
    }

    /// Its mode, as the manifest and job files name it.
    pub fn mode_name(&self) -> &'static str {
        document::mode_name(self.mode)
    }

    /// Bytes of all segments that it refers to, each once.
    pub fn bytes(&self) -> u64 {
        let by_name: BTreeMap<&str, u64> =
            self.segments().map(|segment| (segment.name.as_str(), segment.facts.bytes)).collect();
        by_name.values().sum()
    }

    /// How much there is of all states.
    pub fn counted(&self) -> Counted {
        let states =
            self.operators.iter().flat_map(|operator| operator.states.iter().map(|state| operator.counted(state)));
        states.fold(Counted::NOTHING, Counted::and)
    }

    /// All segments that it refers to, with those of several tasks named several times.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentOfTask> {
        let tasks = self.operators.iter().flat_map(|operator| &operator.tasks);
        tasks.flat_map(|task| task.segments.iter().chain(&task.operator_state))
    }

    /// All plugins that it refers to by name, with those of several operators named several times.
    pub fn plugins(&self) -> impl Iterator<Item = &str> {
        let former = self.swap.iter().flat_map(|swap| &swap.former).map(|former| &former.plugin);
        let running = self.operators.iter().map(|operator| &operator.plugin);
        running.chain(former).filter_map(|plugin| plugin.file.as_deref())
    }
}

impl CheckpointedOperator {
    /// The number that a new state gets where only these were there before.
    pub fn first_free(states: &[DescribedState]) -> u16 {
        states.iter().map(|state| state.number.saturating_add(1)).max().unwrap_or(0)
    }

    /// Schema versions of which the checkpoint may have entries of a state.
    pub fn versions_of(&self, number: u16) -> BTreeSet<u16> {
        let segments = self.tasks.iter().flat_map(|task| task.segments.iter().chain(&task.operator_state));
        let labels = segments.flat_map(|segment| &segment.facts.labels).map(|count| count.label);
        labels.filter(|label| label.state == number && label.version > 0).map(|label| label.version).collect()
    }

    /// How much there is of one of its states: as the manifest says, else as the segments do.
    pub fn counted(&self, state: &DescribedState) -> Counted {
        if let (Some(entries), Some(bytes)) = (state.entries, state.bytes) {
            return Counted { entries, bytes, exact: true };
        }
        let segments: BTreeMap<&str, &SegmentOfTask> = self
            .tasks
            .iter()
            .flat_map(|task| task.segments_of(state))
            .map(|segment| (segment.name.as_str(), segment))
            .collect();
        let of_state = segments
            .values()
            .flat_map(|segment| &segment.facts.labels)
            .filter(|count| count.label.state == state.number);
        let values = of_state.filter(|count| count.label.version > 0);
        let (entries, bytes) =
            values.fold((0, 0), |(entries, bytes), count| (entries + count.entries, bytes + count.bytes));
        // Some of what has a time to live may have expired.
        let exact = state.ttl_ms.is_none() && self.tasks.iter().all(|task| task.is_merged(state));
        // Broadcast state is shown once, and every task has all of it.
        let copies = if state.kind == StateKind::Broadcast { u64::from(self.parallelism) } else { 1 };
        Counted { entries: entries / copies, bytes: bytes / copies, exact }
    }
}

impl SegmentOfTask {
    /// The segments of runs, oldest first, as a task has them.
    pub fn of_runs(runs: &[Run]) -> Vec<Self> {
        let segments =
            (0..).zip(runs).flat_map(|(run, Run { segments })| segments.iter().map(move |segment| (run, segment)));
        segments
            .map(|(run, StoredSegment { name, facts })| Self { name: name.clone(), run, facts: facts.clone() })
            .collect()
    }
}

impl CheckpointedTask {
    /// The runs of its keyed state, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        let stored =
            |segment: &SegmentOfTask| StoredSegment { name: segment.name.clone(), facts: segment.facts.clone() };
        let runs = self.segments.chunk_by(|one, next| one.run == next.run);
        runs.map(|run| Run { segments: run.iter().map(stored).collect() }).collect()
    }

    /// Where entries of a state lie, oldest first.
    pub(super) fn segments_of(&self, state: &DescribedState) -> &[SegmentOfTask] {
        if state.kind.is_keyed() { &self.segments } else { self.operator_state.as_slice() }
    }

    /// Whether its segments have nothing that is not there any more, or belongs to another task.
    fn is_merged(&self, state: &DescribedState) -> bool {
        let segments = self.segments_of(state);
        let own = |segment: &SegmentOfTask| {
            let Range { start, end } = segment.facts.key_groups;
            !state.kind.is_keyed() || start >= end || (self.key_groups.start <= start && end <= self.key_groups.end)
        };
        let marks = |segment: &SegmentOfTask| segment.facts.labels.iter().any(|count| count.label.version == 0);
        let one_run = segments.iter().all(|segment| segment.run == segments[0].run);
        one_run && segments.iter().all(|segment| own(segment) && !marks(segment))
    }
}

#[cfg(test)]
mod tests;
