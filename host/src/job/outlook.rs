//! Where a run of a job would begin, found out without touching anything: nothing is locked, made or written.
//!
//! It decides as a run does, with the same code. What it can't know is whether sources and sinks still are as the checkpoint says: the run looks at those when it begins.

use std::time::SystemTime;

use serde::Serialize;

use super::{
    checkpointing::{Beginning, Checkpointing, Origin},
    live::{Difference, DifferenceKind},
    plugins::JobError,
    prepare::PreparedJob,
    start::Start,
};
use crate::{
    runtime::{Clock, SystemClock},
    spec::StorageSpec,
    stream::CheckpointId,
};

/// Where a run would begin, and where its checkpoints lie.
#[derive(Debug)]
pub struct Outlook {
    /// The folder of the job in the storage of checkpoints: a path or URL.
    pub storage: String,
    /// Where it would begin, or why it would not.
    pub beginning: Result<PlannedBeginning, JobError>,
    /// What a person should know: which operators run something else than the job file says.
    pub notes: Vec<String>,
    /// What becomes of the state that it would begin with, operator by operator.
    pub states: Vec<PlannedState>,
}

/// Where a run would begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedBeginning {
    /// At the beginning.
    Fresh,
    /// From this checkpoint.
    From(PlannedOrigin),
    /// Nowhere: the job came to the end of its input with this checkpoint.
    Ended(PlannedOrigin),
}

/// A checkpoint that a run would begin from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOrigin {
    /// Its number.
    pub id: CheckpointId,
    /// Its path or URL.
    pub location: String,
    /// When it was completed.
    pub completed: SystemTime,
}

impl PlannedOrigin {
    fn of(origin: &Origin) -> Self {
        let manifest = origin.manifest();
        Self { id: manifest.id, location: origin.location(), completed: manifest.completed }
    }
}

/// What becomes of a state of the checkpoint, or of one that a run would begin with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedState {
    /// The operator.
    pub operator: String,
    /// The state.
    pub state: String,
    /// What becomes of it.
    pub fate: StateFate,
    /// More of it, for people; none where it is kept as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What becomes of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateFate {
    /// It is taken over as it is.
    Kept,
    /// It is taken over, and something else about it is different.
    Changed,
    /// Its values are migrated when they are looked at.
    Migrated,
    /// It is given up.
    Dropped,
    /// It begins empty.
    New,
    /// It can't be taken over.
    Refused,
}

impl StateFate {
    fn of(kind: DifferenceKind) -> Self {
        match kind {
            DifferenceKind::Changed => Self::Changed,
            DifferenceKind::New => Self::New,
            DifferenceKind::Migrated => Self::Migrated,
            DifferenceKind::Dropped => Self::Dropped,
            DifferenceKind::Incompatible => Self::Refused,
        }
    }
}

/// What becomes of states, given all that there are and what differs.
fn fates(there: Vec<(String, String)>, differences: &[Difference]) -> Vec<PlannedState> {
    let differs = |operator: &str, state: &str| {
        differences.iter().any(|one| one.operator == operator && one.state.as_deref() == Some(state))
    };
    let kept = there.into_iter().filter(|(operator, state)| !differs(operator, state));
    let kept = kept.map(|(operator, state)| PlannedState { operator, state, fate: StateFate::Kept, text: None });
    let others = differences.iter().filter_map(|one| {
        let (operator, state) = (one.operator.clone(), one.state.clone()?);
        Some(PlannedState { operator, state, fate: StateFate::of(one.kind), text: Some(one.text.clone()) })
    });
    let mut all: Vec<PlannedState> = kept.chain(others).collect();
    all.sort_by(|one, other| one.operator.cmp(&other.operator));
    all
}

impl PreparedJob {
    /// Where a run would begin, and with what: its operators run what they would then. None: the job takes no checkpoints.
    pub fn outlook(&mut self, start: &Start) -> Option<Outlook> {
        let settings = self.spec.checkpoint.clone()?;
        let storage = match &settings.storage.value {
            StorageSpec::Folder(folder) => folder.join(&self.spec.name).display().to_string(),
            StorageSpec::Url(url) => format!("{}/{}", url.trim_end_matches('/'), self.spec.name),
        };
        let (mut notes, mut states) = (Vec::new(), Vec::new());
        let mut look = || {
            let mut checkpointing = Checkpointing::peek(self, &settings)?;
            let beginning = checkpointing.beginning(start)?;
            let adopted = checkpointing.adopt(self, &beginning, start, SystemClock::start().now())?;
            notes.clone_from(&adopted.notes);
            let (Beginning::From(origin) | Beginning::Ended(origin)) = &beginning else {
                return Ok(PlannedBeginning::Fresh);
            };
            states = fates(origin.states(), &adopted.comparison.differences);
            adopted.check(origin.manifest().id)?;
            let planned = PlannedOrigin::of(origin);
            Ok(match &beginning {
                Beginning::Ended(_) => PlannedBeginning::Ended(planned),
                _ => PlannedBeginning::From(planned),
            })
        };
        let beginning = look();
        Some(Outlook { storage, beginning, notes, states })
    }
}
