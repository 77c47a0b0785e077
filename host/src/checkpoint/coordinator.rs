//! The checkpoint coordinator of one attempt: when a checkpoint begins, when it is complete, when it is given up, and when the job may end (Carbone et al. 2015; Flink: "checkpoint
//! coordinator").
//!
//! ```text
//!          Trigger           every task acknowledged          Written
//! idle ─────────────► gathering ───────────────► writing ─────────────► idle, Complete; Finish if it was the last
//!                         │  declined, timeout       │  NotWritten
//!                         └──────────► idle, Abort ◄─┘
//! ```
//!
//! - One checkpoint is in flight at a time. Ids strictly rise, and the id of one that was given up is not used again.
//! - The interval counts from trigger to trigger; a checkpoint that is overdue begins as soon as the one in flight has ended.
//! - The timeout counts from the trigger. A manifest that is being written is waited for beyond it: whether the checkpoint exists must be known before another one begins.
//! - The last checkpoint begins when all tasks are at rest, also without an interval: nothing changes any more, so once it is complete the job is whole. One that fails is tried
//!   again.
//! - A checkpoint that fails harms nothing but the count of failures in a row.
//!
//! Pure: time is an argument, and what has to be done is returned as a list of [`Action`]s, to be done in that order. It knows no task but by its number.

use std::time::Duration;

use crate::stream::CheckpointId;

/// The wait before a checkpoint that is wanted is tried again after one that failed; for the last one doubled after each further failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The longest such wait.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// When checkpoints are taken, and how many may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoordinatorSettings {
    /// From trigger to trigger. None: only the last checkpoint is taken.
    pub interval: Option<Duration>,
    /// From the trigger until all tasks have acknowledged.
    pub timeout: Duration,
    /// How many checkpoints in a row may fail before the attempt does (Flink: "tolerable checkpoint failure number"). None: any number.
    pub tolerable_failures: Option<u32>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A checkpoint is wanted now, whatever the interval says; if one is in flight, behind it; and a second after one that failed.
    Asked,
    /// A task has taken its snapshot, and its segments are stored.
    Acknowledged {
        /// The task.
        task: usize,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// A task can't take its part.
    Declined {
        /// The task.
        task: usize,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why, for people.
        reason: String,
    },
    /// A task has come to the end of its input, or was stopped, and only waits for the last checkpoint. It still acknowledges checkpoints.
    AtRest {
        /// The task.
        task: usize,
    },
    /// The manifest is there.
    Written {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// The manifest is not there and will not be.
    NotWritten {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why, for people.
        reason: String,
    },
    /// A newer attempt has taken over.
    Fenced {
        /// How that was seen, for people.
        reason: String,
    },
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask every task for this checkpoint.
    Trigger(CheckpointId),
    /// All tasks have acknowledged: write the manifest, and answer with `Written` or `NotWritten`.
    WriteManifest(CheckpointId),
    /// The checkpoint exists: tell the tasks, whose sinks commit, and delete what retention no longer keeps.
    Complete(CheckpointId),
    /// The checkpoint will not exist: tell the tasks.
    Abort {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why, for people.
        reason: String,
    },
    /// The last checkpoint is complete: the tasks may go.
    Finish(CheckpointId),
    /// The attempt can't go on.
    Fail {
        /// Why, for people.
        reason: String,
    },
}

/// Where the checkpoint in flight stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Gathering,
    Writing,
}

#[derive(Clone, Debug)]
struct Flight {
    id: CheckpointId,
    /// When it is given up, unless its manifest is being written.
    deadline: Duration,
    phase: Phase,
    /// By task.
    acknowledged: Vec<bool>,
    /// Whether all tasks were at rest when it was triggered.
    is_last: bool,
}

/// Decides about the checkpoints of one attempt.
#[derive(Clone, Debug)]
pub struct Coordinator {
    settings: CoordinatorSettings,
    next: CheckpointId,
    /// When the interval asks for the next one. None: it never does.
    due: Option<Duration>,
    /// One is wanted as soon as none is in flight.
    asked: bool,
    /// What is wanted begins not before: after a failure it waits a little.
    asked_from: Duration,
    /// By task.
    at_rest: Vec<bool>,
    flight: Option<Flight>,
    /// Checkpoints that failed since the last one that was complete.
    failures: u32,
    /// The wait before the last checkpoint is tried again.
    retry_delay: Duration,
    /// The last checkpoint is not tried before.
    retry_at: Duration,
    is_over: bool,
}

impl Coordinator {
    /// For an attempt with `tasks` tasks whose first checkpoint is `next`: higher than every id that the job has used before.
    pub fn new(settings: CoordinatorSettings, tasks: usize, next: CheckpointId) -> Self {
        Self {
            settings,
            next,
            due: settings.interval,
            asked: false,
            asked_from: Duration::ZERO,
            at_rest: vec![false; tasks],
            flight: None,
            failures: 0,
            retry_delay: RETRY_DELAY,
            retry_at: Duration::ZERO,
            is_over: false,
        }
    }

    /// Takes in an event at `now`, the time since the attempt began, and appends what has to be done. After `Finish` or `Fail` nothing has.
    ///
    /// # Panics
    /// When the event names a task that there is not.
    pub fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        if self.is_over {
            return;
        }
        match event {
            Event::Tick => {}
            Event::Asked => self.asked = true,
            Event::Acknowledged { task, checkpoint } => self.acknowledge(task, checkpoint),
            Event::Declined { task, checkpoint, reason } => {
                if self.is_in(Phase::Gathering, checkpoint) {
                    self.abort(now, format!("task {task} declined: {reason}"), actions);
                }
            }
            Event::AtRest { task } => self.at_rest[task] = true,
            Event::Written { checkpoint } => {
                if self.is_in(Phase::Writing, checkpoint) {
                    self.complete(actions);
                }
            }
            Event::NotWritten { checkpoint, reason } => {
                if self.is_in(Phase::Writing, checkpoint) {
                    self.abort(now, format!("the manifest was not written: {reason}"), actions);
                }
            }
            Event::Fenced { reason } => self.fenced(reason, actions),
        }
        self.advance(now, actions);
    }

    /// When a tick is due, if nothing happens before. None: only another event can change anything. May lie in the past.
    pub fn wake_at(&self) -> Option<Duration> {
        match &self.flight {
            _ if self.is_over => None,
            Some(Flight { phase: Phase::Gathering, deadline, .. }) => Some(*deadline),
            Some(Flight { phase: Phase::Writing, .. }) => None,
            None => self.begins_at(),
        }
    }

    /// The checkpoint that is in flight.
    pub fn in_flight(&self) -> Option<CheckpointId> {
        self.flight.as_ref().map(|flight| flight.id)
    }

    /// Whether one is wanted that has not begun.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// Whether that is the last one.
    pub fn is_last_in_flight(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.is_last)
    }

    /// Whether the last checkpoint is complete, or the attempt can't go on: no other one will begin.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// When the next one begins, with none in flight.
    fn begins_at(&self) -> Option<Duration> {
        match (self.all_at_rest(), self.asked) {
            (true, _) => Some(self.retry_at),
            (false, true) => Some(self.due.map_or(self.asked_from, |due| due.min(self.asked_from))),
            (false, false) => self.due,
        }
    }

    fn all_at_rest(&self) -> bool {
        self.at_rest.iter().all(|at_rest| *at_rest)
    }

    fn is_in(&self, phase: Phase, checkpoint: CheckpointId) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.id == checkpoint && flight.phase == phase)
    }

    /// Acknowledgements of what was given up come late, and mean nothing.
    fn acknowledge(&mut self, task: usize, checkpoint: CheckpointId) {
        if let Some(flight) = self.flight.as_mut().filter(|flight| flight.id == checkpoint) {
            flight.acknowledged[task] = true;
        }
    }

    /// Does what is due: at most one checkpoint ends here and one begins.
    fn advance(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.write_if_gathered(actions);
        if let Some(Flight { phase: Phase::Gathering, deadline, .. }) = self.flight
            && now >= deadline
        {
            let missing = self.missing();
            self.abort(
                now,
                format!("it took longer than {:?}; not acknowledged by {missing}", self.settings.timeout),
                actions,
            );
        }
        let due = !self.is_over && self.flight.is_none() && self.begins_at().is_some_and(|at| now >= at);
        if due {
            self.trigger(now, actions);
            // Without a task there is nobody to wait for.
            self.write_if_gathered(actions);
        }
    }

    fn write_if_gathered(&mut self, actions: &mut Vec<Action>) {
        if let Some(flight) = &mut self.flight
            && flight.phase == Phase::Gathering
            && flight.acknowledged.iter().all(|acknowledged| *acknowledged)
        {
            flight.phase = Phase::Writing;
            actions.push(Action::WriteManifest(flight.id));
        }
    }

    /// How many tasks have not acknowledged, for people.
    fn missing(&self) -> String {
        let acknowledged = self.flight.iter().flat_map(|flight| &flight.acknowledged);
        let missing: Vec<usize> =
            acknowledged.enumerate().filter(|(_, there)| !**there).map(|(task, _)| task).collect();
        match missing.as_slice() {
            [task] => format!("task {task}"),
            tasks => format!("{} of {} tasks", tasks.len(), self.at_rest.len()),
        }
    }

    fn trigger(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let id = self.next;
        self.next = id.next();
        self.due = self.settings.interval.map(|interval| now.saturating_add(interval));
        self.asked = false;
        self.flight = Some(Flight {
            id,
            deadline: now.saturating_add(self.settings.timeout),
            phase: Phase::Gathering,
            acknowledged: vec![false; self.at_rest.len()],
            is_last: self.all_at_rest(),
        });
        actions.push(Action::Trigger(id));
    }

    fn complete(&mut self, actions: &mut Vec<Action>) {
        let Some(flight) = self.flight.take() else { return };
        self.failures = 0;
        actions.push(Action::Complete(flight.id));
        if flight.is_last {
            actions.push(Action::Finish(flight.id));
            self.is_over = true;
        }
    }

    fn abort(&mut self, now: Duration, reason: String, actions: &mut Vec<Action>) {
        let Some(flight) = self.flight.take() else { return };
        self.failures = self.failures.saturating_add(1);
        self.asked_from = now.saturating_add(RETRY_DELAY);
        if flight.is_last {
            self.retry_at = now.saturating_add(self.retry_delay);
            self.retry_delay = (self.retry_delay * 2).min(RETRY_DELAY_MAX);
        }
        let exceeded = self.settings.tolerable_failures.filter(|tolerable| self.failures > *tolerable);
        let fail = exceeded.map(|tolerable| Action::Fail {
            reason: format!(
                "{} checkpoints in a row have failed and `checkpoint.tolerable-failures` is {tolerable}; checkpoint {}: {reason}",
                self.failures, flight.id
            ),
        });
        actions.push(Action::Abort { checkpoint: flight.id, reason });
        self.is_over = fail.is_some();
        actions.extend(fail);
    }

    /// A manifest that is being written may come to exist: then the newer attempt decides about it, and nobody is told that it was aborted.
    fn fenced(&mut self, reason: String, actions: &mut Vec<Action>) {
        let flight = self.flight.take().filter(|flight| flight.phase == Phase::Gathering);
        actions.extend(flight.map(|flight| Action::Abort { checkpoint: flight.id, reason: reason.clone() }));
        actions.push(Action::Fail { reason });
        self.is_over = true;
    }
}

#[cfg(test)]
mod tests;
