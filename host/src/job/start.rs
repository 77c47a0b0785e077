//! What a run begins from, as a person says it.

use std::{collections::BTreeSet, path::PathBuf};

use super::live::DropState;
use crate::stream::CheckpointId;

/// What a run begins from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// The latest checkpoint of the job, if there is one.
    #[default]
    Latest,
    /// Nothing: the beginning.
    Nothing,
    /// The checkpoint in this folder, or at this URL.
    Place(PathBuf),
}

/// Whose a savepoint is when a run begins from it (Flink: "claim mode").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claim {
    /// The user's: it is never deleted.
    #[default]
    No,
    /// The job's: it is deleted when the job has a checkpoint of its own.
    Yes,
}

/// How a run begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// From what.
    pub from: StartFrom,
    /// Results that became visible after this checkpoint are removed; it is the one that the run begins from. None: they are left, and stand in the way.
    pub discard_results_after: Option<CheckpointId>,
    /// Whose the savepoint is that it begins from.
    pub claim: Claim,
    /// States of the checkpoint that may be given up though no operator takes them.
    pub dropped: BTreeSet<DropState>,
}
