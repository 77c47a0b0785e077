//! Why stored state can't be read, with the file and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::checkpoint::{SegmentError, SegmentProblem, StorageError, StorageErrorKind};

/// Stored state that can't be read.
#[derive(Debug, Error)]
#[error("{}{problem}", problem.prefix(path))]
pub struct StoredStateError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: StoredStateProblem,
}

/// What is wrong with stored state.
#[derive(Debug, Error)]
pub enum StoredStateProblem {
    /// There is nothing of that name.
    #[error("it is not there; {GIVE}")]
    Absent,
    /// The folder has no manifest.
    #[error(
        "this folder holds no state: it has no manifest.json, which is written last; {GIVE}, or run the job once more if it did not end well"
    )]
    NoManifest,
    /// The folder of a job has no checkpoint in it that is complete.
    #[error("there is no complete checkpoint in it; {GIVE}")]
    NoCheckpoints,
    /// The manifest is somebody else's.
    #[error("this is no manifest of state that wasmill has stored; {GIVE}")]
    Foreign,
    /// The manifest is of a checkpoint where a dump is wanted.
    #[error("this is a checkpoint and no dump; give the folder that `wasmill run --dump-state` wrote")]
    NoDump,
    /// The manifest is of a dump where a checkpoint is wanted.
    #[error(
        "this is a dump, which can be looked into by `wasmill state`, and no checkpoint; give the folder of a job in the storage of its checkpoints, or that of one of them"
    )]
    NoCheckpoint,
    /// A later version wrote it.
    #[error("it has format version {found}, and this wasmill reads up to {latest}; use a later wasmill")]
    Newer {
        /// Its version.
        found: u64,
        /// The highest that is read.
        latest: u32,
    },
    /// The manifest can't be understood.
    #[error("the manifest is damaged: {0}; bring it back, {TAKE_ANEW}, or {TAKE_OTHER}")]
    Manifest(String),
    /// The manifest of a checkpoint is not as it was written.
    #[error("the manifest is damaged: {0}; bring it back, or {TAKE_OTHER}")]
    CheckpointManifest(String),
    /// A file that the manifest names is not there.
    #[error("the manifest names this file, but it is not there; bring it back, or {TAKE_ANEW}")]
    Missing,
    /// A file is shorter or longer than it was.
    #[error("it has {found} bytes where {expected} were written; it was cut or changed: bring it back, or {TAKE_ANEW}")]
    Length {
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The bytes are not those that were written.
    #[error("{what} (at byte {at}); it was cut or changed: bring it back, or {TAKE_ANEW}")]
    Corrupt {
        /// Where the block begins.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file that a checkpoint refers to is not there.
    #[error("a checkpoint refers to this file, but it is not there; bring it back from a copy, or {TAKE_OTHER}")]
    MissingOfCheckpoint,
    /// A segment of a checkpoint is not as it was written.
    #[error("{0}")]
    Segment(Box<SegmentProblem>),
    /// A segment is as it was written, and an entry in it is none.
    #[error("an entry of task {task} can't be read: {what}; use a later wasmill, or {TAKE_OTHER}")]
    Entry {
        /// The task.
        task: u32,
        /// What is wrong.
        what: String,
    },
    /// A component is not the one that ran.
    #[error("its SHA-256 is {found} and not {expected}; it was changed: bring it back from a copy")]
    Plugin {
        /// The digest of what is there.
        found: String,
        /// The digest by the manifest.
        expected: String,
    },
    /// The storage does not do what it is asked.
    #[error("{0}")]
    Storage(Box<StorageError>),
    /// The system says no.
    #[error("it can't be read: {0}")]
    Io(io::Error),
}

impl StoredStateError {
    /// A call of a storage that failed.
    pub(super) fn of_storage(error: StorageError) -> Self {
        let problem = match error.kind {
            StorageErrorKind::NotFound => StoredStateProblem::MissingOfCheckpoint,
            _ => StoredStateProblem::Storage(Box::new(error.clone())),
        };
        Self { path: error.location.into(), problem }
    }

    /// A segment that can't be read.
    pub(in crate::job) fn of_segment(error: SegmentError) -> Self {
        match error.problem {
            SegmentProblem::Storage(error) => Self::of_storage(error),
            problem => Self { path: error.name.into(), problem: StoredStateProblem::Segment(Box::new(problem)) },
        }
    }

    /// Whether it says that something stored is not as it was written, and not that it can't be read just now or by this version.
    pub fn is_damage(&self) -> bool {
        use StoredStateProblem::{CheckpointManifest, Corrupt, Foreign, Length, Manifest, Missing, Plugin, Segment};
        match &self.problem {
            Foreign
            | Manifest(_)
            | CheckpointManifest(_)
            | Missing
            | Length { .. }
            | Corrupt { .. }
            | Plugin { .. } => true,
            Segment(problem) => !matches!(**problem, SegmentProblem::Newer(_)),
            _ => false,
        }
    }

    /// Whether it says nothing of what is stored, but that the storage can't be asked.
    pub(in crate::job) fn is_of_storage(&self) -> bool {
        matches!(self.problem, StoredStateProblem::Storage(_))
    }
}

impl StoredStateProblem {
    /// What comes before it: the name, where it does not have it itself.
    fn prefix(&self, path: &Path) -> String {
        match self {
            Self::Storage(_) => String::new(),
            _ => format!("{}: ", path.display()),
        }
    }
}

const TAKE_ANEW: &str = "run the job once more with --dump-state";
const TAKE_OTHER: &str = "use another checkpoint: `wasmill checkpoint list` shows which there are";
const GIVE: &str = "give the folder that `wasmill run --dump-state` wrote, that of a job in the storage of its checkpoints, or that of one of them";
