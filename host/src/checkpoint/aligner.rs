//! The barrier aligner of a task with several inputs: when the task has seen what a checkpoint is to hold, and nothing more (Carbone et al. 2015, "Lightweight asynchronous
//! snapshots for distributed dataflows"; Flink: "aligned checkpoints").
//!
//! Every input carries the barrier of a checkpoint between the records that belong to it and those that do not. An input whose barrier has come is blocked until the others' have:
//! so when the last one comes, the task has processed exactly what lies before the barrier on every input. At-least-once blocks nothing: the task has then processed at least that.
//!
//! Invariants: completed ids strictly rise. No input is blocked unless a barrier is being aligned. There is always an input that is open, unless all have ended. An input that has
//! ended counts as aligned for every checkpoint. At most one checkpoint is being aligned: the coordinator has no two in flight, so a higher id says that a lower one was aborted.
//!
//! Pure: it holds no channel and moves no record. Whoever does must not take anything from an input that is blocked.

use crate::stream::CheckpointId;

/// What a checkpoint promises about records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Each affects state exactly once, after any number of failures.
    #[default]
    ExactlyOnce,
    /// Each affects state at least once: some do again after a failure. No input waits for another.
    AtLeastOnce,
}

/// What the task has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Alignment {
    /// Nothing yet.
    Waiting,
    /// Nothing: the barrier is of a checkpoint that is complete here or was given up.
    Stale,
    /// Take the snapshot of this checkpoint and pass the barrier on, before anything else is processed. All inputs are open again.
    Complete(CheckpointId),
}

/// The inputs of one task, by their indices.
#[derive(Clone, Debug)]
pub struct Aligner {
    mode: Mode,
    /// Asked on the record path.
    blocked: Vec<bool>,
    /// Whose barrier of the checkpoint that is being aligned has come, or that have ended.
    aligned: Vec<bool>,
    ended: Vec<bool>,
    aligning: Option<CheckpointId>,
    /// The last one that is complete here or was given up.
    settled: Option<CheckpointId>,
}

impl Aligner {
    /// With `inputs` inputs, at least one, which are all open.
    pub fn new(inputs: usize, mode: Mode) -> Self {
        debug_assert!(inputs > 0, "a task without inputs aligns nothing");
        let none = vec![false; inputs];
        Self { mode, blocked: none.clone(), aligned: none.clone(), ended: none, aligning: None, settled: None }
    }

    /// The barrier of checkpoint `id` came out of `input`, which is open and has not ended.
    pub fn barrier(&mut self, input: usize, id: CheckpointId) -> Alignment {
        debug_assert!(
            !self.blocked[input] && !self.ended[input],
            "input {input} gave a barrier while blocked or after its end"
        );
        if self.settled >= Some(id) || self.aligning > Some(id) {
            return Alignment::Stale;
        }
        if self.aligning != Some(id) {
            self.settle(self.aligning);
            self.aligning = Some(id);
        }
        if self.aligned[input] {
            return Alignment::Stale;
        }
        self.aligned[input] = true;
        self.blocked[input] = self.mode == Mode::ExactlyOnce;
        self.completed()
    }

    /// Nothing more will come out of `input`. It counts as aligned from now on.
    pub fn ended(&mut self, input: usize) -> Alignment {
        debug_assert!(!self.blocked[input], "input {input} gave its end while blocked");
        self.ended[input] = true;
        self.aligned[input] = true;
        self.completed()
    }

    /// Checkpoint `id` was aborted: its barriers are waited for no more, and those that still come are stale. Without this, inputs stay blocked until the next one's barriers come.
    pub fn given_up(&mut self, id: CheckpointId) {
        if self.aligning.is_none_or(|aligning| aligning <= id) {
            self.settle(Some(id));
        }
    }

    /// Whether nothing may be taken from `input` now.
    #[inline]
    pub fn is_blocked(&self, input: usize) -> bool {
        self.blocked[input]
    }

    /// Whether every input has ended. The task then has nothing to align: it takes its snapshot when it is asked to.
    pub fn all_ended(&self) -> bool {
        self.ended.iter().all(|ended| *ended)
    }

    /// The checkpoint whose barrier has come on some inputs and not yet on all.
    pub fn aligning(&self) -> Option<CheckpointId> {
        self.aligning
    }

    fn completed(&mut self) -> Alignment {
        match self.aligning {
            Some(id) if self.aligned.iter().all(|aligned| *aligned) => {
                self.settle(Some(id));
                Alignment::Complete(id)
            }
            _ => Alignment::Waiting,
        }
    }

    /// Opens all inputs. What comes of `id` from now on is stale.
    fn settle(&mut self, id: Option<CheckpointId>) {
        self.settled = self.settled.max(id);
        self.aligning = None;
        self.blocked.fill(false);
        self.aligned.copy_from_slice(&self.ended);
    }
}

#[cfg(test)]
mod tests;
