//! Drives the checkpoints of one attempt: what the coordinator decides is done here, and what comes of it is told to the coordinator.
//!
//! [`Driver::poll`] is called again and again by whoever runs the tasks. It never blocks: manifests are written, sinks committed and old files deleted on the [`Background`] that it is
//! given, one after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crossbeam::{
    channel::{Receiver, Sender},
    sync::Unparker,
};

use super::{
    super::stored_state::StoredCheckpoint,
    chains::{Chains, bytes_of},
    committing::Commit,
    counters::{CheckpointCounters, LastCheckpoint},
    failures::Failures,
    graph::Graph,
    keeper::{KeptSnapshot, TaskKeeper, Writing},
    manifest::{Gathered, GatheredTask},
    merging::Merging,
    savepoints::{Copied, Opened, Wanted},
    storing::{self, ManifestOutcome},
    swapping::{ActiveSwap, SwapSetup, UnfinishedSwap},
};
use crate::{
    background::Background,
    checkpoint::{Action, Coordinator, Event, Names},
    connector::Transaction,
    job::{
        live::{Asked, CheckpointStatus, Refusal, Request},
        swap::Prepared,
        version::OperatorVersion,
    },
    runtime::{Clock, Control, TaskEvent, TaskSnapshot},
    stream::{CheckpointId, Fault, FaultKind},
};

/// What became of work off the record path.
pub(super) enum Outcome {
    Manifest(CheckpointId, ManifestOutcome),
    /// Of the checkpoint whose transactions were committed, and of every sink that failed why.
    Committed(CheckpointId, Result<(), Fault>),
    Deleted(usize),
    /// What an exchange needs is ready, or can't be.
    Prepared(Box<Result<Prepared, Refusal>>),
    /// The place of a savepoint was looked at.
    Opened(Opened),
    /// A savepoint was written, or could not be.
    Copied(Copied),
}

/// What a driver is made of.
pub(super) struct DriverSetup {
    pub(super) coordinator: Coordinator,
    pub(super) graph: Arc<Graph>,
    pub(super) control: Arc<Control>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Receiver<TaskEvent>,
    pub(super) wake_all: Vec<Unparker>,
    pub(super) writing: Arc<Writing>,
    pub(super) background: Arc<dyn Background>,
    pub(super) keepers: BTreeMap<(usize, u32), Arc<TaskKeeper>>,
    pub(super) chains: Chains,
    pub(super) merging: Merging,
    pub(super) retain: usize,
    /// The checkpoint that the attempt was restored from.
    pub(super) restored_from: Option<CheckpointId>,
    pub(super) counters: Arc<Mutex<CheckpointCounters>>,
    /// The job's folder in the storage: a path or URL.
    pub(super) location: String,
    /// By vertex and the ids of its states, schema versions of which there were values when the attempt began, and of operator state since.
    pub(super) restored_versions: BTreeMap<usize, BTreeMap<u16, BTreeSet<u16>>>,
    pub(super) swaps: SwapSetup,
    /// A savepoint that is deleted when the first checkpoint is complete.
    pub(super) claimed: Option<StoredCheckpoint>,
    /// Where savepoints are written.
    pub(super) savepoints: Arc<dyn Background>,
}

/// Drives the checkpoints of one attempt.
pub(in crate::job) struct Driver {
    pub(super) setup: DriverSetup,
    pub(super) outcomes: (Sender<Outcome>, Receiver<Outcome>),
    actions: Vec<Action>,
    /// When checkpoints in flight were triggered.
    triggered: BTreeMap<CheckpointId, Duration>,
    /// What tasks have acknowledged, by checkpoint and task.
    snapshots: BTreeMap<CheckpointId, BTreeMap<usize, TaskSnapshot>>,
    /// Manifests that are being written.
    gathered: BTreeMap<CheckpointId, Gathered>,
    /// What sinks have set aside and not committed, by sink, with the checkpoint.
    pub(super) uncommitted: BTreeMap<String, Vec<(CheckpointId, Transaction)>>,
    /// The checkpoint that was completed last, or that the attempt was restored from.
    pub(super) newest_complete: Option<CheckpointId>,
    pub(super) commit: Commit,
    finishing: Option<CheckpointId>,
    /// Behind the last checkpoint, what nobody needs was deleted.
    swept: bool,
    /// How often what is old is being deleted now. The last time is waited for: no later one would do it.
    deletions: u32,
    /// A newer attempt has taken over.
    fenced: bool,
    failed_checkpoints: Failures,
    pub(super) failed_commits: Failures,
    /// Segments that were merged with others, until a manifest is complete that does not refer to them.
    replaced: Vec<String>,
    /// The exchange that is under way.
    pub(super) swap: Option<ActiveSwap>,
    /// What operators run now that were exchanged for good, by their places in the job file.
    pub(super) confirmed: Vec<(usize, OperatorVersion)>,
    /// Checkpoints and savepoints that somebody waits for.
    pub(super) wanted: Vec<Wanted>,
}

impl Driver {
    pub(super) fn new(setup: DriverSetup) -> Self {
        Self {
            newest_complete: setup.restored_from,
            setup,
            outcomes: crossbeam::channel::unbounded(),
            actions: Vec::new(),
            triggered: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            gathered: BTreeMap::new(),
            uncommitted: BTreeMap::new(),
            commit: Commit::Idle,
            finishing: None,
            swept: false,
            deletions: 0,
            fenced: false,
            failed_checkpoints: Failures::default(),
            failed_commits: Failures::default(),
            replaced: Vec::new(),
            swap: None,
            confirmed: Vec::new(),
            wanted: Vec::new(),
        }
    }

    /// Does what is to be done now. Returns whether it did anything.
    ///
    /// # Errors
    /// When the attempt can't go on.
    pub(in crate::job) fn poll(&mut self) -> Result<bool, Fault> {
        let now = self.setup.clock.elapsed();
        self.show_checkpoints();
        let mut did = false;
        while let Ok(event) = self.setup.events.try_recv() {
            did = true;
            self.task_told(now, event)?;
        }
        while let Ok(outcome) = self.outcomes.1.try_recv() {
            did = true;
            self.work_ended(now, outcome)?;
        }
        did |= self.poll_swap(now)? | self.poll_wanted(now)?;
        if self.setup.coordinator.wake_at().is_some_and(|at| at <= now) {
            self.handle(now, Event::Tick)?;
            did = true;
        }
        did |= self.poll_commit(now)?;
        let is_settled = self.is_all_shown() && self.deletions == 0 && !self.is_wanted();
        if let Some(last) = self.finishing.filter(|_| is_settled && !self.setup.merging.is_running()) {
            did = true;
            if self.swept {
                tracing::debug!("checkpoint {last} is the last one");
                self.finishing = None;
                self.setup.control.let_end();
                self.wake();
            } else {
                // What was merged last, and whatever else came to nothing: nobody comes behind who would need it.
                self.swept = true;
                self.setup.writing.release_all();
                self.delete_what_is_old()?;
            }
        }
        if let Some(mut former) = self.setup.merging.poll(&mut self.setup.chains) {
            // After a merge that failed, the next checkpoint asks for another.
            if !former.is_empty() {
                self.consider_merging();
            }
            self.replaced.append(&mut former);
            did = true;
        }
        Ok(did)
    }

    /// When it has to be polled again though nothing has happened.
    pub(in crate::job) fn wake_at(&self) -> Option<Duration> {
        let commit = self.commit_again_at();
        let swap = self.swap.as_ref().and_then(|swap| swap.course.wake_at());
        self.setup.coordinator.wake_at().into_iter().chain(commit).chain(swap).min()
    }

    /// The checkpoint that is in flight.
    pub(in crate::job) fn in_flight(&self) -> Option<CheckpointId> {
        self.setup.coordinator.in_flight()
    }

    /// The newest checkpoint that is complete, of this attempt or the one that it began from.
    pub(in crate::job) fn newest_complete(&self) -> Option<CheckpointId> {
        self.newest_complete
    }

    /// A newer attempt has taken over.
    pub(super) fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Has a checkpoint begin as soon as one can. Returns whether that is new.
    pub(super) fn ask_for_checkpoint(&mut self, now: Duration) -> Result<bool, Fault> {
        let coordinator = &self.setup.coordinator;
        if coordinator.in_flight().is_some() || coordinator.is_over() || coordinator.is_asked() {
            return Ok(false);
        }
        self.handle(now, Event::Asked)?;
        Ok(true)
    }

    /// No other checkpoint will begin.
    pub(super) fn is_over(&self) -> bool {
        self.setup.coordinator.is_over()
    }

    /// Nothing more is begun: the job is at its end.
    pub(super) fn is_ending(&self) -> bool {
        self.setup.coordinator.is_over() || self.finishing.is_some()
    }

    /// Somebody asks something of the job.
    pub(in crate::job) fn asked(&mut self, asked: Asked) {
        let now = self.setup.clock.elapsed();
        let Asked { request, answering } = asked;
        match request {
            Request::Swap(swap) => self.asked_to_swap(now, swap, answering),
            Request::Savepoint(request) => self.asked_for_savepoint(request, answering),
            Request::Stop(request) => self.asked_to_stop(request, answering),
            Request::Checkpoint => self.asked_for_checkpoint(answering),
        }
    }

    /// What comes of the attempt for exchanges: one that was not over, and what operators run now.
    pub(in crate::job) fn end_swaps(&mut self) -> (Option<UnfinishedSwap>, Vec<(usize, OperatorVersion)>) {
        (self.end_swap(), std::mem::take(&mut self.confirmed))
    }

    /// The last complete checkpoint, and how many seconds ago it was complete.
    pub(in crate::job) fn last_checkpoint(&self) -> Option<(CheckpointId, f64)> {
        let counters = self.setup.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let last = counters.last?;
        Some((last.id, self.setup.clock.elapsed().saturating_sub(last.at).as_secs_f64()))
    }

    fn task_told(&mut self, now: Duration, event: TaskEvent) -> Result<(), Fault> {
        match event {
            TaskEvent::AtRest { task } => self.handle(now, Event::AtRest { task }),
            // What it had is nowhere else, so no later checkpoint could be whole.
            TaskEvent::Declined { task, checkpoint } => {
                let task = &self.setup.graph.tasks[task].name;
                Err(Fault::new(
                    FaultKind::External,
                    format!("task {task}: its snapshot for checkpoint {checkpoint} was lost"),
                ))
            }
            TaskEvent::Failed(fault) => Err(fault),
            TaskEvent::Exchanged { task, pause, .. } => {
                self.task_exchanged(task, pause);
                Ok(())
            }
            TaskEvent::Acknowledged { task, checkpoint, snapshot } => {
                self.set_aside(checkpoint, &snapshot);
                self.snapshots.entry(checkpoint).or_default().insert(task, snapshot);
                self.handle(now, Event::Acknowledged { task, checkpoint })
            }
        }
    }

    fn work_ended(&mut self, now: Duration, outcome: Outcome) -> Result<(), Fault> {
        match outcome {
            Outcome::Manifest(checkpoint, ManifestOutcome::Written) => self.handle(now, Event::Written { checkpoint }),
            Outcome::Manifest(checkpoint, ManifestOutcome::NotWritten(reason)) => {
                if let Some(mut gathered) = self.gathered.remove(&checkpoint) {
                    self.setup.writing.release(gathered.operator_state_names());
                    self.replaced.append(&mut gathered.replaced);
                }
                self.handle(now, Event::NotWritten { checkpoint, reason })
            }
            Outcome::Manifest(_, ManifestOutcome::Fenced(reason)) => {
                self.fenced = true;
                self.handle(now, Event::Fenced { reason })
            }
            Outcome::Committed(checkpoint, result) => self.committed(now, checkpoint, result),
            Outcome::Prepared(prepared) => {
                self.swap_prepared(*prepared);
                Ok(())
            }
            Outcome::Opened(opened) => {
                self.opened(opened);
                Ok(())
            }
            Outcome::Copied(copied) => {
                self.copied(copied);
                Ok(())
            }
            Outcome::Deleted(files) => {
                self.deletions -= 1;
                tracing::debug!("{files} files that no checkpoint needs were deleted");
                Ok(())
            }
        }
    }

    pub(super) fn handle(&mut self, now: Duration, event: Event) -> Result<(), Fault> {
        let mut actions = std::mem::take(&mut self.actions);
        self.setup.coordinator.handle(now, event, &mut actions);
        let done = actions.drain(..).try_for_each(|action| self.act(now, action));
        self.actions = actions;
        done
    }

    fn act(&mut self, now: Duration, action: Action) -> Result<(), Fault> {
        match action {
            Action::Trigger(id) => {
                self.triggered.insert(id, now);
                self.swap_triggered(id);
                self.wanted_triggered(id);
                self.setup.control.ask_for(id);
                self.wake();
                Ok(())
            }
            Action::WriteManifest(id) => self.write_manifest(now, id),
            Action::Complete(id) => self.complete(now, id),
            Action::Abort { checkpoint, reason } => {
                if self.failed_checkpoints.one_more() {
                    let count = self.failed_checkpoints.in_a_row();
                    tracing::warn!(
                        "checkpoint {checkpoint} failed ({count} in a row): {reason}; the job goes on, and what it had is part of the next one"
                    );
                }
                self.counters(|counters| counters.failed += 1);
                self.swap_aborted(checkpoint, &reason)?;
                self.wanted_aborted(checkpoint, &reason);
                self.setup.control.give_up(checkpoint);
                self.wake();
                Ok(())
            }
            Action::Finish(id) => {
                self.finishing = Some(id);
                self.setup.merging.cancel();
                Ok(())
            }
            // Two runs that take over from each other would never come to an end.
            Action::Fail { reason } if self.fenced => Err(Fault::new(FaultKind::Unfit, reason)),
            Action::Fail { reason } => Err(Fault::new(FaultKind::External, reason)),
        }
    }

    /// Gathers what tasks have acknowledged, and has the manifest written.
    fn write_manifest(&mut self, now: Duration, id: CheckpointId) -> Result<(), Fault> {
        let snapshots = self.snapshots.remove(&id).unwrap_or_default();
        let began = self.triggered.get(&id).copied().unwrap_or(now);
        let (mut tasks, mut new_bytes) = (BTreeMap::new(), 0);
        for ((vertex, task), keeper) in &self.setup.keepers {
            let kept = keeper.take(id).ok_or_else(|| {
                let name = &self.setup.graph.vertices[*vertex].id;
                Fault::new(
                    FaultKind::HostBug,
                    format!("task {name}/{task} acknowledged checkpoint {id} and kept nothing; please report this"),
                )
            })?;
            let KeptSnapshot { segments, operator_state, list_elements } = kept;
            new_bytes += bytes_of(segments.iter().chain(&operator_state));
            // Operator state is in no chain; of what was in an earlier segment some may be there still, in its version.
            let labels = operator_state.iter().flat_map(|segment| &segment.facts.labels).map(|count| count.label);
            let known = self.setup.restored_versions.entry(*vertex).or_default();
            for label in labels.filter(|label| label.version > 0) {
                known.entry(label.state).or_default().insert(label.version);
            }
            self.setup.chains.append((*vertex, *task), segments);
            tasks.insert(
                (*vertex, *task),
                GatheredTask { segments: self.setup.chains.of((*vertex, *task)), operator_state, list_elements },
            );
        }
        let transactions = self.waiting_up_to(id);
        for snapshot in snapshots.values() {
            self.counters(|counters| {
                counters.pause_ms_max = counters.pause_ms_max.max(snapshot.pause.as_secs_f64() * 1e3);
                counters.alignment_ms_max = counters.alignment_ms_max.max(snapshot.alignment.as_secs_f64() * 1e3);
            });
        }
        let gathered = Gathered {
            id,
            attempt: self.setup.writing.attempt,
            completed: self.setup.clock.now(),
            duration: now.saturating_sub(began),
            new_bytes,
            snapshots,
            tasks,
            transactions,
            replaced: std::mem::take(&mut self.replaced),
        };
        let manifest = self.setup.graph.manifest(&gathered);
        self.wanted_gathered(&manifest);
        self.gathered.insert(id, gathered);
        let (graph, writing) = (Arc::clone(&self.setup.graph), Arc::clone(&self.setup.writing));
        let told =
            Told { outcomes: self.outcomes.0.clone(), lost: Some(Outcome::Manifest(id, ManifestOutcome::lost())) };
        self.spawn(move || {
            let outcome = storing::write_manifest(&writing, &graph, &manifest);
            told.tell(Outcome::Manifest(id, outcome));
        })
    }

    fn complete(&mut self, now: Duration, id: CheckpointId) -> Result<(), Fault> {
        let began = self.triggered.remove(&id).unwrap_or(now);
        self.triggered.retain(|other, _| *other > id);
        self.snapshots.retain(|other, _| *other > id);
        self.newest_complete = Some(id);
        if let Some(count) = self.failed_checkpoints.over() {
            tracing::warn!("checkpoint {id} is complete, after {count} that failed");
        }
        if let Some(gathered) = self.gathered.remove(&id) {
            // The manifest keeps them now, and the next checkpoint has others.
            self.setup.writing.release(gathered.operator_state_names().chain(&gathered.replaced));
            let bytes = gathered.bytes();
            self.counters(|counters| {
                counters.completed += 1;
                counters.bytes += gathered.new_bytes;
                let duration = now.saturating_sub(began);
                counters.last = Some(LastCheckpoint { id, at: now, duration, new_bytes: gathered.new_bytes, bytes });
            });
        }
        self.swap_completed(id, now);
        self.wanted_completed(id);
        self.delete_claimed();
        self.commit_sinks()?;
        self.delete_what_is_old()?;
        self.consider_merging();
        Ok(())
    }

    fn consider_merging(&mut self) {
        // Nothing would refer to what is merged after the last checkpoint.
        if !self.setup.coordinator.is_over() {
            self.setup.merging.consider(&self.setup.chains, &self.setup.graph, &self.setup.keepers);
        }
    }

    fn delete_what_is_old(&mut self) -> Result<(), Fault> {
        let Some(newest) = self.newest_complete else { return Ok(()) };
        let (writing, retain, graph) =
            (Arc::clone(&self.setup.writing), self.setup.retain, Arc::clone(&self.setup.graph));
        let told = Told { outcomes: self.outcomes.0.clone(), lost: Some(Outcome::Deleted(0)) };
        // Whoever takes the exchange back begins from there.
        let exchanged = self.swap.as_ref().and_then(|swap| swap.course.checkpoint()).map(Names::manifest);
        let wanted: Vec<String> = self.wanted_ids().into_iter().map(Names::manifest).collect();
        self.deletions += 1;
        self.spawn(move || {
            // What could not be deleted now is the next time.
            let deleted = {
                let plugins = graph.components().map(|(name, _)| name.to_owned());
                storing::delete_old(&writing, plugins.chain(exchanged).chain(wanted), retain, newest)
            };
            told.tell(Outcome::Deleted(deleted.unwrap_or(0)));
        })
    }

    pub(super) fn spawn(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        self.setup.background.spawn(Box::new(work)).map_err(|error| {
            Fault::new(FaultKind::External, format!("there is no thread that writes checkpoints: {error}"))
        })
    }

    fn counters(&self, change: impl FnOnce(&mut CheckpointCounters)) {
        change(&mut self.setup.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Shows others how checkpoints stand.
    fn show_checkpoints(&self) {
        let counters = self.setup.counters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last = counters.last;
        let age = |last: LastCheckpoint| self.setup.clock.elapsed().saturating_sub(last.at).as_secs_f64();
        let folder = |id: CheckpointId| Names::checkpoint(&self.setup.location, id);
        self.setup.swaps.live.facts().checkpoints = Some(CheckpointStatus {
            completed: counters.completed,
            failed: counters.failed,
            last: last.map(|last| last.id.0),
            last_location: last.map(|last| folder(last.id)),
            last_age_seconds: last.map(age),
            last_duration_ms: last.map(|last| last.duration.as_secs_f64() * 1e3),
            last_bytes: last.map(|last| last.bytes),
        });
    }

    pub(super) fn wake(&self) {
        self.setup.wake_all.iter().for_each(Unparker::unpark);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.setup.writing.cancel();
    }
}

/// Tells an outcome; when it is dropped without, that the work was lost.
pub(super) struct Told {
    pub(super) outcomes: Sender<Outcome>,
    pub(super) lost: Option<Outcome>,
}

impl Told {
    pub(super) fn tell(mut self, outcome: Outcome) {
        self.lost = Some(outcome);
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // The driver may be gone.
        let _ = self.lost.take().map(|outcome| self.outcomes.send(outcome));
    }
}
