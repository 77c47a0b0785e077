//! Checkpoints of a job: where they lie, where a run begins, and who takes them.
//!
//! Here the rooms meet: tasks take snapshots (`runtime`, `operator`, `state`), what they keep becomes segments in a storage (`checkpoint`), sources and sinks say where they are and what they
//! have set aside (`connector`). What decides is in the room `checkpoint`; what a manifest is, is in the module `stored_state`.

mod adopt;
mod attempt;
mod chains;
mod committing;
mod counters;
mod damage;
mod driver;
mod failures;
mod graph;
mod keeper;
mod leftovers;
mod manifest;
mod merging;
mod operator_state;
mod restore;
mod savepoints;
mod storing;
mod swapping;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

pub use self::counters::{CheckpointCounters, LastCheckpoint};
pub(super) use self::{
    adopt::operators_of,
    attempt::{Attempt, AttemptSetup, Seat},
    driver::Driver,
    restore::Origin,
    swapping::UnfinishedSwap,
};
use self::{damage::refusal, graph::Graph};
use super::{
    Claim, PreparedJob, Start, StartFrom,
    plugins::JobError,
    stored_state::{
        Checkpoints, DeletionError, FolderContents, JobLock, Root, StatePlace, StoredCheckpoint, StoredStateError,
        open_storage,
    },
};
use crate::{
    checkpoint::{Below, Mode, Names, Resolution, Retrying, Storage, StorageLocation, Wanted, resolve},
    connector::Commits,
    operator::Restored,
    spec::{CheckpointSettings, StorageSpec},
    stream::{CheckpointId, EventTime},
};

/// How often the mark of an attempt is tried while others take the same number.
const ATTEMPT_TRIES: u32 = 100;

/// The checkpoints of one run.
pub(super) struct Checkpointing {
    settings: CheckpointSettings,
    checkpoints: Checkpoints,
    /// While it lives no other process runs this job, where that can be seen. None: nothing is run, only looked at.
    _lock: Option<JobLock>,
    graph: Graph,
    /// The attempts of this run.
    attempts: Vec<u64>,
    /// A savepoint that is the job's own from its first checkpoint on, which then is deleted.
    claimed: Option<StoredCheckpoint>,
    /// The newest checkpoint that was there when it was decided where the attempt begins.
    newest_seen: Option<CheckpointId>,
    pub(super) counters: Arc<Mutex<CheckpointCounters>>,
}

/// Where an attempt begins.
pub(super) enum Beginning {
    /// At the beginning.
    Fresh,
    /// From a checkpoint.
    From(Origin),
    /// Nowhere: the job has ended with this checkpoint, of which results may have to be made visible still.
    Ended(Origin),
}

impl Checkpointing {
    /// Opens the storage and locks the job.
    ///
    /// # Errors
    /// When the storage can't be used, or the job runs.
    pub(super) fn open(job: &PreparedJob, settings: &CheckpointSettings) -> Result<Self, JobError> {
        let (storage, folder) = Self::storage_of(job, settings)?;
        Self::with_storage(job, settings, storage, folder.as_deref())
    }

    /// Opens the storage only to see where a run would begin.
    ///
    /// # Errors
    /// When the storage can't be used.
    pub(super) fn peek(job: &PreparedJob, settings: &CheckpointSettings) -> Result<Self, JobError> {
        let (storage, folder) = Self::storage_of(job, settings)?;
        let storage: Arc<dyn Storage> = Arc::new(Retrying::new(Arc::new(Below::new(storage, &job.spec.name))));
        Ok(Self::of(job, settings, Checkpoints::new(storage, folder), None))
    }

    /// The storage, and the job's folder in it if that is on a local disk.
    fn storage_of(
        job: &PreparedJob,
        settings: &CheckpointSettings,
    ) -> Result<(Arc<dyn Storage>, Option<PathBuf>), JobError> {
        let location = match &settings.storage.value {
            StorageSpec::Folder(path) => Ok(StorageLocation::Folder(path.clone())),
            StorageSpec::Url(url) => StorageLocation::parse(url, &job.spec.folder),
        };
        let location = location.map_err(JobError::Storage)?;
        let storage = open_storage(&location).map_err(JobError::Storage)?;
        let folder = match &location {
            StorageLocation::Folder(folder) => Some(folder.join(&job.spec.name)),
            _ => None,
        };
        Ok((storage, folder))
    }

    /// As [`Self::open`], with a storage that is open.
    pub(super) fn with_storage(
        job: &PreparedJob,
        settings: &CheckpointSettings,
        storage: Arc<dyn Storage>,
        folder: Option<&Path>,
    ) -> Result<Self, JobError> {
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).map_err(|source| JobError::Folder { path: folder.to_owned(), source })?;
        }
        let storage: Arc<dyn Storage> = Arc::new(Retrying::new(Arc::new(Below::new(storage, &job.spec.name))));
        let checkpoints = Checkpoints::new(storage, folder.map(Path::to_owned));
        let lock = checkpoints.lock().map_err(|error| match error {
            DeletionError::Running(path) => JobError::Running(format!(
                "job {name} runs already ({path} is locked); wait for its end or stop it, or give this one another name or another `checkpoint.storage`",
                name = job.spec.name
            )),
            error => JobError::Running(error.to_string()),
        })?;
        if let Some(folder) = folder {
            leftovers::remove_half_written(folder);
        }
        Ok(Self::of(job, settings, checkpoints, Some(lock)))
    }

    fn of(job: &PreparedJob, settings: &CheckpointSettings, checkpoints: Checkpoints, lock: Option<JobLock>) -> Self {
        Self {
            graph: Graph::new(job, settings.mode),
            settings: settings.clone(),
            checkpoints,
            _lock: lock,
            attempts: Vec::new(),
            claimed: None,
            newest_seen: None,
            counters: Arc::default(),
        }
    }

    fn storage(&self) -> &Arc<dyn Storage> {
        self.checkpoints.storage()
    }

    /// Where the first attempt begins.
    ///
    /// # Errors
    /// When what was asked for can't be restored, or does not fit the job.
    pub(super) fn beginning(&mut self, start: &Start) -> Result<Beginning, JobError> {
        let wanted = match &start.from {
            StartFrom::Latest => Wanted::Latest,
            StartFrom::Nothing => Wanted::None,
            StartFrom::Place(place) => {
                self.look()?;
                let beginning = self.beginning_at(place, start)?;
                if start.claim == Claim::Yes {
                    self.claimed = Some(claimable(place, &beginning)?);
                }
                return Ok(beginning);
            }
        };
        let contents = self.look()?;
        let beginning = match resolve(wanted, &contents.folders()) {
            Resolution::Fresh => Beginning::Fresh,
            Resolution::Restore(id) => Beginning::From(self.before_open_swap(self.origin(id)?)?),
            Resolution::AlreadyEnded(id) => Beginning::Ended(self.origin(id)?),
            Resolution::Refused { reason, next_older_restorable } => {
                let older = next_older_restorable.map(|id| self.storage().location(&Names::manifest(id)));
                return Err(JobError::Refused(refusal(&reason, older.as_deref())));
            }
        };
        self.check_discard(&beginning, start)?;
        Ok(beginning)
    }

    /// What there is now.
    fn look(&mut self) -> Result<FolderContents, JobError> {
        let contents = self.checkpoints.contents().map_err(JobError::State)?;
        self.newest_seen = newest(&contents);
        Ok(contents)
    }

    fn beginning_at(&self, place: &Path, start: &Start) -> Result<Beginning, JobError> {
        let checkpoint = match StatePlace::open(place).map_err(JobError::State)? {
            StatePlace::Checkpoint(checkpoint) => checkpoint,
            StatePlace::Job(checkpoints) => checkpoints.newest().map_err(JobError::State)?,
            StatePlace::Dump(folder, _) => {
                let why = super::stored_state::StoredStateProblem::NoCheckpoint;
                return Err(JobError::State(StoredStateError { path: folder, problem: why }));
            }
        };
        if let Some(damaged) = checkpoint.damage().map_err(JobError::State)?.into_iter().next() {
            return Err(JobError::State(damaged));
        }
        let manifest = Names::manifest(checkpoint.manifest().id);
        let is_own = checkpoint.storage().location(&manifest) == self.storage().location(&manifest);
        let origin = Origin { checkpoint, is_own };
        if let Some(swap) = origin.manifest().swap.as_ref().filter(|swap| swap.checkpoint != origin.manifest().id) {
            return Err(JobError::Refused(format!(
                "checkpoint {id} was taken while an exchange of {operators} was on probation, which nothing begins from; begin from checkpoint {before}, at which it was exchanged, or from a later one",
                id = origin.manifest().id,
                operators = operators_of(swap),
                before = swap.checkpoint,
            )));
        }
        let beginning = Beginning::From(origin);
        self.check_discard(&beginning, start)?;
        Ok(beginning)
    }

    fn check_discard(&self, beginning: &Beginning, start: &Start) -> Result<(), JobError> {
        let id = match beginning {
            Beginning::From(origin) | Beginning::Ended(origin) => Some(origin.manifest().id),
            Beginning::Fresh => None,
        };
        match start.discard_results_after {
            Some(after) if Some(after) != id => Err(JobError::Refused(match id {
                Some(id) => format!(
                    "--discard-results-after {after}: the run begins from checkpoint {id}; give that one, or begin from {after} with --from"
                ),
                None => {
                    format!("--discard-results-after {after}: the run begins at the beginning, and removes no results")
                }
            })),
            _ => Ok(()),
        }
    }

    /// The checkpoint at which an exchange began that was on probation: whoever goes on takes it back.
    fn before_open_swap(&self, newest: Origin) -> Result<Origin, JobError> {
        let Some(swap) = &newest.manifest().swap else { return Ok(newest) };
        if swap.checkpoint == newest.manifest().id {
            return Ok(newest);
        }
        self.origin(swap.checkpoint)
    }

    fn origin(&self, id: CheckpointId) -> Result<Origin, JobError> {
        let checkpoint = self.checkpoints.checkpoint(id).map_err(JobError::State)?;
        Ok(Origin { checkpoint, is_own: true })
    }

    /// Where the next attempt of this run begins: from the newest checkpoint that one of its attempts has completed. None: there is none, and it begins as the first one did.
    ///
    /// # Errors
    /// When that checkpoint can't be restored.
    pub(super) fn beginning_again(&mut self) -> Result<Option<Origin>, JobError> {
        let contents = self.look()?;
        let of_this_run = |attempt: Option<u64>| attempt.is_some_and(|attempt| self.attempts.contains(&attempt));
        let folders: Vec<_> = contents.folders().into_iter().filter(|folder| of_this_run(folder.attempt)).collect();
        match resolve(Wanted::Latest, &folders) {
            Resolution::Fresh => Ok(None),
            Resolution::Restore(id) | Resolution::AlreadyEnded(id) => self.before_open_swap(self.origin(id)?).map(Some),
            Resolution::Refused { reason, .. } => Err(JobError::Refused(reason)),
        }
    }

    /// Readies sources and sinks to go on where the attempt begins.
    ///
    /// # Errors
    /// When what they need is not there.
    pub(super) fn prepare_ends(
        &self,
        beginning: Option<&Origin>,
        discard_after: Option<CheckpointId>,
    ) -> Result<(), JobError> {
        let failed = |id: &str| {
            let id = id.to_owned();
            move |source| JobError::Connector { id, source }
        };
        for (_, id, source) in self.graph.sources() {
            let position = beginning.map_or(Ok(None), |origin| origin.position(id)).map_err(failed(id))?;
            source.prepare(position.as_ref()).map_err(failed(id))?;
        }
        for (id, sink) in self.graph.sinks() {
            let prepared = match beginning {
                None => sink.prepare(Commits::Fresh),
                Some(origin) => origin.transactions(id).and_then(|transactions| {
                    let checkpoint = origin.manifest().id;
                    sink.prepare(Commits::Restored { checkpoint, transactions: &transactions, discard_after })
                }),
            };
            prepared.map_err(failed(id))?;
        }
        Ok(())
    }

    /// Removes checkpoints after one whose later results are about to be removed: nothing could go on from them. First the checkpoints: whatever comes between, the next run finds results
    /// that it refuses, and never a checkpoint that lacks them.
    ///
    /// # Errors
    /// When the storage does not remove them.
    pub(super) fn discard_after(&self, kept: CheckpointId) -> Result<(), JobError> {
        let contents = self.checkpoints.contents().map_err(JobError::State)?;
        for checkpoint in contents.checkpoints.iter().filter(|checkpoint| checkpoint.id > kept) {
            self.storage().delete(&Names::manifest(checkpoint.id)).map_err(JobError::Storage)?;
        }
        Ok(())
    }

    /// What checkpoints did so far.
    pub(super) fn counted(&self) -> CheckpointCounters {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The path or URL of a checkpoint of this job.
    pub(super) fn location(&self, id: CheckpointId) -> String {
        let manifest = self.storage().location(&Names::manifest(id));
        manifest.strip_suffix("/manifest.json").unwrap_or(&manifest).to_owned()
    }
}

/// The savepoint that a run begins from, if there is one that could be deleted.
fn claimable(place: &Path, beginning: &Beginning) -> Result<StoredCheckpoint, JobError> {
    match beginning {
        Beginning::From(Origin { checkpoint, .. }) if checkpoint.manifest().root == Root::SELF_CONTAINED => {
            Ok(checkpoint.clone())
        }
        _ => Err(JobError::Refused(format!(
            "--claim: {} is a checkpoint and no savepoint; checkpoints of a job are deleted by the job itself",
            place.display()
        ))),
    }
}

fn newest(contents: &FolderContents) -> Option<CheckpointId> {
    contents.checkpoints.iter().map(|checkpoint| checkpoint.id).max()
}

impl Checkpointing {
    /// What a task of an operator begins with.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn restored(&self, origin: Option<&Origin>, vertex: usize, task: u32) -> Result<Restored, JobError> {
        let Some(origin) = origin else { return Ok(Restored::default()) };
        let vertex = &self.graph.vertices[vertex];
        let graph::Part::Operator(facts) = &vertex.part else { return Ok(Restored::default()) };
        origin.restored(vertex, facts, task, self.graph.max_parallelism).map_err(JobError::State)
    }

    /// The watermark from which a task of a vertex goes on.
    pub(super) fn watermark(&self, origin: Option<&Origin>, vertex: usize) -> Option<EventTime> {
        origin?.watermark(&self.graph.vertices[vertex].id)
    }

    /// Whether barriers are aligned.
    pub(super) fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// What can't be promised, for people, by what is at the ends of the job.
    pub(super) fn caveats(&self) -> Vec<String> {
        let sources = self.graph.sources().filter(|(_, _, source)| !source.replays()).map(|(_, id, _)| {
            format!("source {id} can't be read again: records that came after the last checkpoint are lost when the job goes back to it")
        });
        let sinks = self.graph.sinks().filter(|(_, sink)| !sink.takes_back()).map(|(id, _)| {
            format!("sink {id} can't take back what it has written: records that came after the last checkpoint come again when the job goes back to it")
        });
        sources.chain(sinks).collect()
    }
}
