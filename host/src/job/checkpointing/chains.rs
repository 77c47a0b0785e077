//! The chains of an attempt: of every task with keyed state the segments that make it, oldest first.

use std::collections::BTreeMap;

use super::super::stored_state::SegmentOfTask;

/// The segments of each task, by vertex and index.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains(BTreeMap<(usize, u32), Vec<SegmentOfTask>>);

impl Chains {
    /// A task has written more.
    pub(super) fn append(&mut self, task: (usize, u32), mut segments: Vec<SegmentOfTask>) {
        self.0.entry(task).or_default().append(&mut segments);
    }

    /// The segments of a task.
    pub(super) fn of(&self, task: (usize, u32)) -> Vec<SegmentOfTask> {
        self.0.get(&task).cloned().unwrap_or_default()
    }

    /// Puts `merged` where the segments of these names are, which follow one another in the chain.
    pub(super) fn replace(&mut self, task: (usize, u32), former: &[String], merged: Vec<SegmentOfTask>) {
        let Some(chain) = self.0.get_mut(&task) else { return };
        let first = former.first().and_then(|first| chain.iter().position(|segment| segment.name == *first));
        let Some(first) = first else { return };
        debug_assert!(chain[first..].iter().zip(former).all(|(segment, former)| segment.name == *former));
        chain.splice(first..first + former.len(), merged);
    }

    /// The number of the next run of a task.
    pub(super) fn next_run(&self, task: (usize, u32)) -> u64 {
        self.0.get(&task).into_iter().flatten().map(|segment| segment.run + 1).max().unwrap_or(0)
    }

    /// The names of all segments.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.0.values().flatten().map(|segment| segment.name.clone())
    }
}

/// How many bytes segments have together.
pub(super) fn bytes_of<'a>(segments: impl Iterator<Item = &'a SegmentOfTask>) -> u64 {
    segments.map(|segment| segment.facts.bytes).sum()
}
