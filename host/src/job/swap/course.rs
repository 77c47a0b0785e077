//! Where an exchange stands. Pure: time, batches and checkpoints are arguments.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    job::live::{ProbationStatus, SwapPhase},
    stream::CheckpointId,
};

/// Where an exchange stands.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::job) enum Stage {
    /// Instances are made.
    Preparing,
    /// They wait for a checkpoint to be triggered.
    Ready,
    /// The barrier is under way, or the manifest is.
    Exchanging { checkpoint: CheckpointId },
    /// The new versions run.
    Probation { checkpoint: CheckpointId, since: Duration },
    /// The probation is over, and the next checkpoint will say so.
    Confirming { checkpoint: CheckpointId },
    /// That checkpoint is in flight.
    Closing { checkpoint: CheckpointId, closes_with: CheckpointId },
}

/// How long a probation lasts: until either is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::job) struct ProbationSettings {
    pub(in crate::job) time: Duration,
    /// Of each task.
    pub(in crate::job) batches: u64,
}

/// One exchange.
#[derive(Clone, Debug)]
pub(in crate::job) struct Course {
    settings: ProbationSettings,
    stage: Stage,
    /// Tasks that have not said yet that they go on with the new version.
    awaited: BTreeSet<usize>,
    pause: Duration,
}

impl Course {
    pub(in crate::job) fn new(settings: ProbationSettings) -> Self {
        Self { settings, stage: Stage::Preparing, awaited: BTreeSet::new(), pause: Duration::ZERO }
    }

    pub(in crate::job) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// All instances of these tasks are there.
    pub(in crate::job) fn prepared(&mut self, tasks: BTreeSet<usize>) {
        self.awaited = tasks;
        self.stage = Stage::Ready;
    }

    /// Whether a checkpoint is wanted now.
    pub(in crate::job) fn wants_checkpoint(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Confirming { .. })
    }

    /// A checkpoint is triggered. `is_last`: no other one comes.
    pub(in crate::job) fn triggered(&mut self, id: CheckpointId, is_last: bool) {
        match self.stage {
            Stage::Ready => self.stage = Stage::Exchanging { checkpoint: id },
            Stage::Confirming { checkpoint } => self.stage = Stage::Closing { checkpoint, closes_with: id },
            // All input is processed: what could fail would have.
            Stage::Probation { checkpoint, .. } if is_last => {
                self.stage = Stage::Closing { checkpoint, closes_with: id }
            }
            Stage::Preparing | Stage::Exchanging { .. } | Stage::Probation { .. } | Stage::Closing { .. } => {}
        }
    }

    /// A task goes on with the new version, after this pause.
    pub(in crate::job) fn exchanged(&mut self, task: usize, pause: Duration) {
        if self.awaited.remove(&task) {
            self.pause = self.pause.max(pause);
        }
    }

    /// The longest pause of a task; none before all have told theirs.
    pub(in crate::job) fn pause(&self) -> Option<Duration> {
        (self.awaited.is_empty() && self.checkpoint().is_some()).then_some(self.pause)
    }

    /// A checkpoint is complete. Returns whether that ends the exchange.
    pub(in crate::job) fn completed(&mut self, id: CheckpointId, now: Duration) -> bool {
        match self.stage {
            Stage::Exchanging { checkpoint } if checkpoint == id => {
                self.stage = Stage::Probation { checkpoint, since: now };
                false
            }
            Stage::Closing { closes_with, .. } => closes_with == id,
            _ => false,
        }
    }

    /// A checkpoint was given up. Returns whether the attempt can't go on: some tasks may have been exchanged and some not, and no checkpoint says so.
    pub(in crate::job) fn aborted(&mut self, id: CheckpointId) -> bool {
        match self.stage {
            Stage::Exchanging { checkpoint } => checkpoint == id,
            Stage::Closing { checkpoint, closes_with } if closes_with == id => {
                self.stage = Stage::Confirming { checkpoint };
                false
            }
            _ => false,
        }
    }

    /// Time has passed; the task that is furthest behind has processed so many batches since the exchange.
    pub(in crate::job) fn advance(&mut self, now: Duration, batches: u64) {
        if let Stage::Probation { checkpoint, since } = self.stage
            && (now.saturating_sub(since) >= self.settings.time || batches >= self.settings.batches)
        {
            self.stage = Stage::Confirming { checkpoint };
        }
    }

    /// When [`Self::advance`] has to be asked again though nothing else happens.
    pub(in crate::job) fn wake_at(&self) -> Option<Duration> {
        match self.stage {
            Stage::Probation { since, .. } => Some(since + self.settings.time),
            _ => None,
        }
    }

    /// The checkpoint at whose barrier the versions are exchanged.
    pub(in crate::job) fn checkpoint(&self) -> Option<CheckpointId> {
        match self.stage {
            Stage::Preparing | Stage::Ready => None,
            Stage::Exchanging { checkpoint }
            | Stage::Probation { checkpoint, .. }
            | Stage::Confirming { checkpoint }
            | Stage::Closing { checkpoint, .. } => Some(checkpoint),
        }
    }

    /// Whether the manifest of a checkpoint that is triggered now says that the exchange is on probation.
    pub(in crate::job) fn is_open_in(&self, id: CheckpointId) -> bool {
        match self.stage {
            Stage::Preparing | Stage::Ready => false,
            Stage::Exchanging { .. } | Stage::Probation { .. } | Stage::Confirming { .. } => true,
            Stage::Closing { closes_with, .. } => id < closes_with,
        }
    }

    /// How far it is, for people.
    pub(in crate::job) fn phase(&self) -> SwapPhase {
        match self.stage {
            Stage::Preparing => SwapPhase::Preparing,
            Stage::Ready | Stage::Exchanging { .. } => SwapPhase::Exchanging,
            Stage::Probation { .. } => SwapPhase::Probation,
            Stage::Confirming { .. } | Stage::Closing { .. } => SwapPhase::Confirming,
        }
    }

    /// What is left of the probation.
    pub(in crate::job) fn remaining(&self, now: Duration, batches: u64) -> Option<ProbationStatus> {
        let Stage::Probation { since, .. } = self.stage else { return None };
        let time = self.settings.time.saturating_sub(now.saturating_sub(since));
        Some(ProbationStatus {
            remaining_seconds: time.as_secs_f64(),
            remaining_batches: self.settings.batches.saturating_sub(batches),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ProbationSettings = ProbationSettings { time: Duration::from_secs(10), batches: 100 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn exchanged() -> Course {
        let mut course = Course::new(SETTINGS);
        assert!(!course.wants_checkpoint());
        course.prepared(BTreeSet::from([3, 4]));
        assert!(course.wants_checkpoint());
        course.triggered(CheckpointId(7), false);
        assert_eq!((course.checkpoint(), course.is_open_in(CheckpointId(7))), (Some(CheckpointId(7)), true));
        course
    }

    fn on_probation() -> Course {
        let mut course = exchanged();
        assert!(!course.completed(CheckpointId(7), at(5)));
        course
    }

    #[test]
    fn the_pause_is_the_longest_one_when_all_tasks_have_told_theirs() {
        let mut course = exchanged();
        course.exchanged(3, Duration::from_micros(900));
        assert_eq!(course.pause(), None);
        course.exchanged(3, Duration::from_secs(9));
        course.exchanged(4, Duration::from_micros(20));
        assert_eq!(course.pause(), Some(Duration::from_micros(900)));
    }

    #[test]
    fn a_probation_ends_with_its_time_or_its_batches_whichever_is_first() {
        for (now, batches) in [(15, 0), (6, 100)] {
            let mut course = on_probation();
            course.advance(at(14), 99);
            assert_eq!(course.phase(), SwapPhase::Probation);
            assert_eq!(course.wake_at(), Some(at(15)));
            course.advance(at(now), batches);
            assert!(course.wants_checkpoint());
        }
    }

    #[test]
    fn it_is_over_when_the_checkpoint_exists_that_was_triggered_behind_the_probation() {
        let mut course = on_probation();
        course.triggered(CheckpointId(8), false);
        course.advance(at(15), 0);
        assert!(!course.completed(CheckpointId(8), at(15)), "it still says that the exchange is on probation");
        course.triggered(CheckpointId(9), false);
        assert!(course.is_open_in(CheckpointId(8)) && !course.is_open_in(CheckpointId(9)));
        assert!(course.completed(CheckpointId(9), at(16)));
    }

    #[test]
    fn a_last_checkpoint_ends_a_probation() {
        let mut course = on_probation();
        course.triggered(CheckpointId(8), true);
        assert!(!course.is_open_in(CheckpointId(8)));
        assert!(course.completed(CheckpointId(8), at(6)));
    }

    #[test]
    fn a_checkpoint_that_was_given_up_is_fatal_only_where_versions_are_exchanged() {
        assert!(exchanged().aborted(CheckpointId(7)));
        assert!(!on_probation().aborted(CheckpointId(8)));
        let mut course = on_probation();
        course.advance(at(15), 0);
        course.triggered(CheckpointId(8), false);
        assert!(!course.aborted(CheckpointId(8)));
        assert!(course.wants_checkpoint(), "the next one says it");
        course.triggered(CheckpointId(9), false);
        assert!(course.completed(CheckpointId(9), at(20)));
    }
}
