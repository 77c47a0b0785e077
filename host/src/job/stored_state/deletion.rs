//! Removing checkpoints by hand: what goes, and then its removal.
//!
//! Everything is decided before anything is removed, by the rule of the room `checkpoint` that retention follows: first the manifests that were named, then files that no checkpoint
//! refers to any more. Where it isn't known what a checkpoint that stays refers to, no file of that kind goes.

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    io,
};

use thiserror::Error;

use super::{
    checkpoints::{Checkpoints, FolderContents, FoundCheckpoint},
    error::StoredStateError,
};
use crate::{
    checkpoint::{CheckpointFacts, Name, Names, References, RetentionFacts, deletions},
    stream::CheckpointId,
};

/// The file that a job holds locked while it runs, in its folder on a local disk.
const LOCK: &str = "lock";

/// Which checkpoints are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// These; the last one that a run can begin from is refused.
    These(BTreeSet<CheckpointId>),
    /// All.
    All,
}

/// What is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The checkpoints.
    pub checkpoints: Vec<CheckpointId>,
    /// Names of all files, in the order in which they go.
    pub names: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Checkpoints that stay and can't be read: because of them no segment and no plugin goes.
    pub unread: Vec<CheckpointId>,
}

/// Why nothing is removed.
#[derive(Debug, Error)]
pub enum DeletionError {
    /// There is no such checkpoint.
    #[error("there is no checkpoint {0}; `wasmill checkpoint list` shows which there are")]
    Absent(CheckpointId),
    /// Another one that stays goes back to it.
    #[error(
        "checkpoint {by} was taken while an exchange was on probation, and a run that begins from it goes back to checkpoint {id}; name {by} as well to remove both"
    )]
    Needed {
        /// The one that was to go.
        id: CheckpointId,
        /// The newest one that needs it.
        by: CheckpointId,
    },
    /// No other one can be restored.
    #[error(
        "no run could begin from what stays: checkpoint {0} is the last restorable one; keep it, or delete all with --all"
    )]
    LastRestorable(CheckpointId),
    /// The job is running.
    #[error("the job is running ({0} is locked), and removes what it does not need itself; stop it first")]
    Running(String),
    /// The lock can't be looked at.
    #[error("{path} can't be locked: {source}")]
    Lock {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The storage can't be asked.
    #[error(transparent)]
    Storage(#[from] StoredStateError),
}

/// That no job runs on the checkpoints, as long as it is held.
#[derive(Debug)]
pub struct JobLock(Option<File>);

impl JobLock {
    /// Whether it keeps jobs away; object stores can't be locked.
    pub fn is_held(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for JobLock {
    fn drop(&mut self) {
        // Closing the file alone would leave it locked while a process that is just being started still has a copy.
        let _ = self.0.as_ref().map(File::unlock);
    }
}

impl Checkpoints {
    /// Locks the job's folder, if it lies on a local disk.
    ///
    /// # Errors
    /// When the job runs.
    pub fn lock(&self) -> Result<JobLock, DeletionError> {
        let Some(folder) = &self.folder else { return Ok(JobLock(None)) };
        let path = folder.join(LOCK);
        let shown = || path.display().to_string();
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|source| DeletionError::Lock { path: shown(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(JobLock(Some(file))),
            Err(TryLockError::WouldBlock) => Err(DeletionError::Running(shown())),
            Err(TryLockError::Error(source)) => Err(DeletionError::Lock { path: shown(), source }),
        }
    }

    /// Removes what was decided, in its order, and tells after each file how many were removed. Stops at the first one that can't be removed: the order keeps checkpoints whole.
    ///
    /// # Errors
    /// When the storage does not remove a file.
    pub fn delete(&self, deletion: &Deletion, progress: &mut dyn FnMut(usize)) -> Result<(), StoredStateError> {
        for (index, name) in deletion.names.iter().enumerate() {
            self.storage.delete(name).map_err(StoredStateError::of_storage)?;
            progress(index + 1);
        }
        Ok(())
    }
}

impl FolderContents {
    /// Decides what goes with checkpoints that are not wanted any more.
    ///
    /// # Errors
    /// When there is no such checkpoint, one that stays needs it, or no other one can be restored.
    pub fn deletion(&self, unwanted: &Unwanted) -> Result<Deletion, DeletionError> {
        let all = || self.checkpoints.iter().map(|checkpoint| checkpoint.id);
        let ids = match unwanted {
            Unwanted::All => all().collect(),
            Unwanted::These(ids) => ids.clone(),
        };
        if let Some(absent) = ids.iter().find(|id| all().all(|there| there != **id)) {
            return Err(DeletionError::Absent(*absent));
        }
        let goes = |checkpoint: &&FoundCheckpoint| ids.contains(&checkpoint.id);
        // Whoever begins from one that was taken while an exchange was on probation goes back to where that began.
        let begun = |checkpoint: &FoundCheckpoint| Some(checkpoint.manifest.as_ref()?.swap.as_ref()?.checkpoint);
        let stays = self.checkpoints.iter().filter(|checkpoint| !goes(checkpoint));
        let mut needed = stays.filter_map(|checkpoint| Some((begun(checkpoint)?, checkpoint.id)));
        if let Some((id, by)) = needed.find(|(id, _)| ids.contains(id)) {
            return Err(DeletionError::Needed { id, by });
        }
        let mut restorable = self.checkpoints.iter().filter(|checkpoint| checkpoint.is_restorable()).peekable();
        if let (Unwanted::These(_), Some(last)) = (unwanted, restorable.peek().map(|newest| newest.id))
            && restorable.all(|checkpoint| goes(&checkpoint))
        {
            return Err(DeletionError::LastRestorable(last));
        }
        let manifests: Vec<String> = ids.iter().map(|id| Names::manifest(*id)).collect();
        let orphans = self.orphans(&ids);
        let names: Vec<String> = manifests.into_iter().chain(orphans).collect();
        let unread = self
            .retention_facts()
            .into_iter()
            .filter(|facts| facts.references == References::Unknown && !ids.contains(&facts.id));
        Ok(Deletion {
            bytes: names.iter().filter_map(|name| self.objects.get(name)).sum(),
            unread: unread.map(|facts| facts.id).collect(),
            checkpoints: ids.into_iter().collect(),
            names,
        })
    }

    /// What nothing refers to once these checkpoints are gone.
    fn orphans(&self, gone: &BTreeSet<CheckpointId>) -> Vec<String> {
        let is_gone = |name: &str| matches!(Names::parse(name), Some(Name::Manifest(id)) if gone.contains(&id));
        let objects: Vec<String> = self.objects.keys().filter(|name| !is_gone(name)).cloned().collect();
        let facts = self.retention_facts().into_iter();
        let checkpoints: Vec<CheckpointFacts> = facts.filter(|facts| !gone.contains(&facts.id)).collect();
        deletions(&RetentionFacts {
            // Nobody runs: no attempt is newer than the one that deletes, and none needs anything.
            attempt: u64::MAX,
            needed: &BTreeSet::new(),
            retain: usize::MAX,
            objects: &objects,
            checkpoints: &checkpoints,
        })
    }
}
