//! What a task does at a barrier, and while it is at rest.
//!
//! The snapshot of a task is that of all its nodes. A part of it is done at once (positions, what sinks set aside, operator state), the rest off the record path; when the last part is done, the
//! task's acknowledgement is sent, from wherever that was. A part that is lost is a checkpoint that is declined.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{NodeKind, Phase, Progress, SLEEP_MAX, Task, TaskHead, external};
use crate::{
    background::Background,
    checkpoint::{Alignment, Mode},
    connector::{ConnectorError, SplitsRead, Transaction},
    operator::Exchanged,
    stream::{CheckpointId, Element, EventTime, Fault, FaultKind},
};

/// What a task has to do with checkpoints.
pub struct TaskCheckpoints {
    /// Its number among the tasks of the job.
    pub number: usize,
    /// Whether barriers are aligned.
    pub mode: Mode,
    /// Where it tells what happened.
    pub events: Arc<dyn Fn(TaskEvent) + Send + Sync>,
    /// Where work of its sinks runs that waits for the disk.
    pub background: Arc<dyn Background>,
    /// Its watermark when it was last snapshot, if it goes on from there.
    pub watermark: Option<EventTime>,
}

/// What a task tells.
#[derive(Debug)]
pub enum TaskEvent {
    /// It has nothing more to do but to wait for the last checkpoint.
    AtRest {
        /// The task.
        task: usize,
    },
    /// All of its snapshot is kept.
    Acknowledged {
        /// The task.
        task: usize,
        /// For which checkpoint.
        checkpoint: CheckpointId,
        /// What of it is not kept elsewhere.
        snapshot: TaskSnapshot,
    },
    /// Other versions have taken over from the barrier of a checkpoint on, of those of its operators that are exchanged there.
    Exchanged {
        /// The task.
        task: usize,
        /// At whose barrier.
        checkpoint: CheckpointId,
        /// From the last batch of the old ones, or from the first barrier where no batch came behind that, to the first batch of the new ones, or until they were ready where none was there.
        pause: Duration,
    },
    /// A part of its snapshot was lost.
    Declined {
        /// The task.
        task: usize,
        /// Of which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Work off the record path failed: the task can't go on.
    Failed(Fault),
}

/// The snapshot of a task, but for the state of its operators, which is kept elsewhere.
#[derive(Clone, Debug, Default)]
pub struct TaskSnapshot {
    /// Its watermark, if it had one.
    pub watermark: Option<EventTime>,
    /// What it has read, if it is a source.
    pub read: Option<SplitsRead>,
    /// What its sinks have set aside, by their ids.
    pub transactions: Vec<(String, Vec<Transaction>)>,
    /// It has nothing more to do but to wait for the last checkpoint.
    pub at_rest: bool,
    /// It had come to the end of its input.
    pub ended: bool,
    /// How long no record was processed.
    pub pause: Duration,
    /// From the first barrier that came to the last one.
    pub alignment: Duration,
}

/// Another version has taken over, and has got no batch yet.
pub(super) struct Exchange {
    checkpoint: CheckpointId,
    /// When the old one had done its last batch, or the barrier came.
    stopped: Instant,
    /// When the new one could be given the next.
    ready: Instant,
}

/// A snapshot of which some parts are not done.
struct Acknowledging {
    task: usize,
    checkpoint: CheckpointId,
    snapshot: Mutex<TaskSnapshot>,
    left: AtomicUsize,
    events: Arc<dyn Fn(TaskEvent) + Send + Sync>,
}

impl Acknowledging {
    /// A part is done.
    fn done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let snapshot = std::mem::take(&mut *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner));
            (self.events)(TaskEvent::Acknowledged { task: self.task, checkpoint: self.checkpoint, snapshot });
        }
    }

    /// One more part, which is done when what this returns is called.
    fn part(self: &Arc<Self>) -> Box<dyn FnOnce() + Send> {
        self.left.fetch_add(1, Ordering::AcqRel);
        let this = Arc::clone(self);
        Box::new(move || this.done())
    }
}

impl Drop for Acknowledging {
    fn drop(&mut self) {
        if self.left.load(Ordering::Acquire) > 0 {
            (self.events)(TaskEvent::Declined { task: self.task, checkpoint: self.checkpoint });
        }
    }
}

impl Task {
    /// The checkpoint that this task has to begin by itself, because no barrier will come to it: it is a source, or all of its inputs have ended.
    pub(super) fn asked_for(&self) -> Option<CheckpointId> {
        let asked = self.control.asked_for()?;
        (self.checkpoints.is_some() && Some(asked) > self.last_barrier).then_some(asked)
    }

    /// A barrier has come out of an input.
    pub(super) fn barrier_came(&mut self, input: usize, id: CheckpointId) -> Result<(), Fault> {
        let Some(aligner) = &mut self.aligner else { return Ok(()) };
        if aligner.aligning() != Some(id) {
            self.aligning_since = Some(Instant::now());
        }
        let alignment = aligner.barrier(input, id);
        self.aligned(alignment)
    }

    /// Takes the snapshot when the last barrier has come.
    pub(super) fn aligned(&mut self, alignment: Alignment) -> Result<(), Fault> {
        match alignment {
            Alignment::Complete(id) => self.pass_barrier(id),
            Alignment::Waiting | Alignment::Stale => Ok(()),
        }
    }

    /// Barriers of a checkpoint that was aborted are waited for no more.
    pub(super) fn give_up_aligning(&mut self) {
        if let (Some(aligner), Some(aborted)) = (&mut self.aligner, self.control.given_up())
            && aligner.aligning().is_some_and(|aligning| aligning <= aborted)
        {
            aligner.given_up(aborted);
        }
    }

    /// Sends the barrier on and takes the snapshot.
    pub(super) fn pass_barrier(&mut self, id: CheckpointId) -> Result<(), Fault> {
        self.last_barrier = Some(id);
        // First: what is behind this task can go on aligning.
        self.broadcast(&Element::Barrier(id));
        self.take_snapshot(id)
    }

    /// The part of this task in a checkpoint.
    pub(super) fn take_snapshot(&mut self, id: CheckpointId) -> Result<(), Fault> {
        self.last_barrier = Some(id);
        let began = Instant::now();
        let time = self.time();
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        let acknowledging = Arc::new(Acknowledging {
            task: checkpoints.number,
            checkpoint: id,
            snapshot: Mutex::default(),
            left: AtomicUsize::new(1),
            events: Arc::clone(&checkpoints.events),
        });
        let mut snapshot = TaskSnapshot {
            watermark: time.watermark,
            at_rest: self.phase == Phase::Resting,
            ended: self.ended,
            ..TaskSnapshot::default()
        };
        if let TaskHead::Source(reader) = &mut self.head {
            snapshot.read = Some(reader.position());
        }
        let mut exchanged = false;
        for node in &mut self.nodes {
            match &mut node.kind {
                NodeKind::Source | NodeKind::Sink(None) => {}
                NodeKind::Operator(execution) => {
                    let succeeded = execution.snapshot(id, time, acknowledging.part())?;
                    exchanged |= succeeded == Exchanged::Yes;
                }
                NodeKind::Sink(Some(writer)) => {
                    let prepared = match writer.prepare_commit(id) {
                        Ok(prepared) => prepared,
                        // Whoever watched has gone.
                        Err(ConnectorError::Closed) => continue,
                        Err(error) => return Err(external(&node.id, &error)),
                    };
                    snapshot.transactions.push((node.id.clone(), prepared.transactions));
                    // An acknowledgement may not overtake that of an earlier checkpoint, though nothing was written since: if that one was given up, this one has its results.
                    let work = match prepared.work {
                        Some(work) => work,
                        None if self.sinks_have_worked => Box::new(|| Ok(())),
                        None => continue,
                    };
                    self.sinks_have_worked = true;
                    let (part, events) = (acknowledging.part(), Arc::clone(&checkpoints.events));
                    let id = node.id.clone();
                    let work = move || match work() {
                        Ok(()) => part(),
                        Err(error) => events(TaskEvent::Failed(external(&id, &error))),
                    };
                    checkpoints.background.spawn(Box::new(work)).map_err(|error| {
                        let text = format!("{}: there is no thread that syncs its results: {error}", node.id);
                        Fault::new(FaultKind::External, text)
                    })?;
                }
            }
        }
        snapshot.pause = began.elapsed();
        let aligning_since = self.aligning_since.take();
        snapshot.alignment = aligning_since.map_or(Duration::ZERO, |since| began.duration_since(since));
        if exchanged {
            let stopped = self.last_fed.map_or(began, |fed| fed.max(aligning_since.unwrap_or(began)));
            self.exchange = Some(Exchange { checkpoint: id, stopped, ready: Instant::now() });
        }
        *acknowledging.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        acknowledging.done();
        Ok(())
    }

    /// Another version has taken over; its first batch begins now, or there is none (`began` is none).
    pub(super) fn tell_exchange(&mut self, began: Option<Instant>) {
        if let (Some(Exchange { checkpoint, stopped, ready }), Some(checkpoints)) =
            (self.exchange.take(), &self.checkpoints)
        {
            let pause = began.unwrap_or(ready).saturating_duration_since(stopped);
            (checkpoints.events)(TaskEvent::Exchanged { task: checkpoints.number, checkpoint, pause });
        }
    }

    /// Copies a little of snapshots that are being copied. Returns whether there is more.
    pub(super) fn copy_some(&mut self) -> Result<bool, Fault> {
        let mut more = false;
        for node in &mut self.nodes {
            if let NodeKind::Operator(execution) = &mut node.kind {
                more |= execution.copy_some()?;
            }
        }
        Ok(more)
    }

    /// All is done and sent. With checkpoints, the task stays until the last one is complete.
    pub(super) fn come_to_rest(&mut self) -> Result<(), Fault> {
        let Some(checkpoints) = &self.checkpoints else {
            self.phase = Phase::Done;
            return Ok(());
        };
        for node in &mut self.nodes {
            if let NodeKind::Sink(Some(writer)) = &mut node.kind {
                match writer.flush() {
                    Ok(()) | Err(ConnectorError::Closed) => {}
                    Err(error) => return Err(external(&node.id, &error)),
                }
            }
        }
        (checkpoints.events)(TaskEvent::AtRest { task: checkpoints.number });
        self.phase = Phase::Resting;
        Ok(())
    }

    pub(super) fn step_resting(&mut self) -> Result<Progress, Fault> {
        if self.control.may_end() {
            for node in &mut self.nodes {
                if let NodeKind::Sink(writer) = &mut node.kind {
                    super::ending::finish(&node.id, writer)?;
                }
            }
            self.hand_over_states()?;
            self.phase = Phase::Done;
            return Ok(Progress::Worked);
        }
        if let Some(id) = self.asked_for() {
            self.take_snapshot(id)?;
            return Ok(Progress::Worked);
        }
        self.tell_exchange(None);
        if self.copy_some()? { Ok(Progress::Worked) } else { Ok(Progress::Idle(SLEEP_MAX)) }
    }
}
