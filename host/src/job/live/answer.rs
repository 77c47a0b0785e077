//! What a job that runs answers.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::operator::Plugin;

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What became of a swap.
    Swap(SwapAnswer),
    /// A savepoint was taken.
    Savepoint(SavepointAnswer),
    /// The job ends.
    Stop(StopAnswer),
    /// A checkpoint is complete: its path or URL.
    Checkpoint(String),
    /// Nothing was done.
    Refused(Refusal),
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// Why, for people.
    pub message: String,
    /// Where the job and what was asked for do not fit, all of it.
    pub differences: Vec<Difference>,
}

impl Refusal {
    /// One that has nothing to do with what differs.
    pub(in crate::job) fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), differences: Vec::new() }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// It makes no sense for this job: an operator that it has not, no storage of checkpoints.
    Usage,
    /// The plugin is none, or asks for what the host does not do or the job does not grant.
    Plugin,
    /// It does not fit the state, or the other operators.
    Incompatible,
    /// Something else is under way; later it may be done.
    Busy,
    /// It was begun and failed.
    Failed,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SwapAnswer {
    /// How it ended.
    pub outcome: SwapOutcome,
    /// The plugins that ran before, by operator.
    pub from: BTreeMap<String, PluginRef>,
    /// Those that were asked for.
    pub to: BTreeMap<String, PluginRef>,
    /// The longest time over the tasks from the last batch of the old instance to the first batch of the new one, without time in which there was no input; none: nothing was exchanged.
    pub pause_ms: Option<f64>,
    /// From the request until all instances were ready.
    pub prepare_ms: f64,
    /// The checkpoint at whose barrier they were exchanged.
    pub checkpoint: Option<u64>,
    /// States of which values of a former version are migrated when they are looked at.
    pub migrations: Vec<MigratedState>,
    /// What differs between what ran and what was asked for.
    pub differences: Vec<Difference>,
    /// Why it was rolled back.
    pub reason: Option<String>,
}

/// How a swap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapOutcome {
    /// It was only tried, and could be done.
    DryRun,
    /// The new version runs and what it does is kept; its probation may last still.
    Committed,
    /// The new version runs, and its probation is over.
    Confirmed,
    /// The old version runs on from the state that it had left, as if nothing had been.
    RolledBack,
}

/// A plugin, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRef {
    /// Its own name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
}

impl PluginRef {
    pub(crate) fn of(plugin: &dyn Plugin) -> Self {
        let descriptor = plugin.descriptor();
        Self { name: descriptor.name.clone(), version: descriptor.version.clone(), digest: plugin.digest().to_owned() }
    }

    /// The beginning of the digest, which is enough to tell plugins apart.
    pub(crate) fn short(&self) -> &str {
        self.digest.get(..12).unwrap_or(&self.digest)
    }
}

/// `word-count 0.1.0 (ab12…)`.
impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.name, self.version, self.short())
    }
}

/// A state whose schema changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MigratedState {
    /// The operator.
    pub operator: String,
    /// The state's name.
    pub state: String,
    /// Schema versions of which there may be values.
    pub from: Vec<u16>,
    /// The version that is written from now on.
    pub to: u16,
}

/// Something that differs between two versions of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The operator.
    pub operator: String,
    /// The state, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What it means.
    pub kind: DifferenceKind,
    /// For people.
    pub text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a difference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// It can be exchanged as it is.
    Changed,
    /// The state is new and begins empty.
    New,
    /// Its values are migrated.
    Migrated,
    /// The state is given up.
    Dropped,
    /// It can't be: the swap is refused.
    Incompatible,
}

/// A savepoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SavepointAnswer {
    /// Its path or URL.
    pub place: String,
    /// The number of the cut.
    pub id: u64,
    /// Bytes of all that is in it.
    pub bytes: u64,
    /// From the request until it was whole.
    pub duration_ms: u64,
}

/// The job ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StopAnswer {
    /// The savepoint that it leaves.
    pub savepoint: SavepointAnswer,
}
