//! What can go wrong with a spill: what, where, and what to do.

use std::{io, path::PathBuf, time::Duration};

use crate::stream::FaultKind;

/// A spill that failed. Its task fails with it: what was spilled is lost, and comes back from a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the spill folder {} {problem}", directory.display())]
pub struct SpillError {
    /// The spill's folder.
    pub directory: PathBuf,
    /// What is wrong with it.
    pub problem: SpillProblem,
}

/// What went wrong. Texts continue "the spill folder PATH …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpillProblem {
    /// The folder holds something that no spill put there.
    #[error(
        "holds {0:?}, which is not wasmill's, and a spill folder is wiped: name an empty or a new folder as `state.directory`"
    )]
    Foreign(String),
    /// Another spill has it.
    #[error("is in use by another task or process: end that one, or name another folder as `state.directory`")]
    InUse,
    /// There is no space left.
    #[error("is on a disk that is full ({0}): free some space, or name a folder on another disk as `state.directory`")]
    DiskFull(String),
    /// The system refused something.
    #[error("failed, {during}: {error}. Check that the folder can be written and that its disk is well")]
    Io {
        /// What was done.
        during: &'static str,
        /// What the system said.
        error: String,
    },
    /// What was read is not what was written.
    #[error(
        "is corrupt ({0}): something else wrote there, or the disk or memory is faulty. Starting the job again wipes the folder"
    )]
    Corrupt(String),
    /// A thread of the database failed before; that thread alone knew the cause.
    #[error(
        "can't be written any more because compacting it failed: its disk is probably full or faulty. Starting the job again wipes the folder"
    )]
    Poisoned,
    /// No run could be written for a long time.
    #[error("did not take in anything for {0:?}: its disk hangs or is far too slow")]
    Stuck(Duration),
    /// The database said something else.
    #[error("failed: {0}")]
    Database(String),
    /// A thread could not be started or ended before its work was done.
    #[error("has lost its helper thread: {0}")]
    Lost(String),
    /// Code of wasmill or its database panicked.
    #[error("failed because of a mistake in wasmill ({0}); please report this")]
    Panicked(String),
    /// A stored key of no or too many bytes.
    #[error("was given a key of {0} bytes by wasmill itself, which can't be stored; please report this")]
    KeyLength(usize),
    /// A stored value of too many bytes.
    #[error("was given a value of {0} bytes by wasmill itself, which can't be stored; please report this")]
    ValueLength(usize),
}

impl SpillError {
    /// Whose fault it is.
    pub fn fault_kind(&self) -> FaultKind {
        match self.problem {
            SpillProblem::Panicked(_) | SpillProblem::KeyLength(_) | SpillProblem::ValueLength(_) => FaultKind::HostBug,
            _ => FaultKind::External,
        }
    }
}

impl SpillProblem {
    pub(super) fn io(during: &'static str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(error.to_string()),
            _ => Self::Io { during, error: error.to_string() },
        }
    }

    /// From what a panic carries.
    pub(super) fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Self::Panicked(text.unwrap_or("no message").to_owned())
    }
}
