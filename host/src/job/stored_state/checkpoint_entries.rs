//! The entries of a state in the segments of a checkpoint: of each task its segments are merged, the newest entry of a key wins, and what is gone is not shown.

use std::{cmp::Ordering, ops::Range, slice, sync::Arc};

use super::{
    StoredEntry, Wanted,
    checkpoint_manifest::{CheckpointedTask, SegmentOfTask},
    decoded,
    described::DescribedState,
    error::{StoredStateError, StoredStateProblem},
};
use crate::{
    checkpoint::{Entry, Marks, Merge, Storage, Stored},
    state::{Lifespan, NO_KEY_GROUP, StoredBytes, StoredError},
    stream::EventTime,
};

impl DescribedState {
    /// Whether an entry has expired. What can't be decoded has not.
    fn has_ended(&self, entry: Entry<'_>, now: EventTime) -> bool {
        let (Some(ttl_ms), Entry::Value(value)) = (self.ttl_ms, entry) else { return false };
        let lifespan = Lifespan { ttl_ms, since: self.ttl_since };
        StoredBytes::decode(value).is_ok_and(|stored| lifespan.has_ended(stored.accessed_ms(), now))
    }
}

/// Entries of a state in a checkpoint, in the order of tasks and stored keys.
pub(super) struct CheckpointEntries<'s> {
    storage: &'s Arc<dyn Storage>,
    tasks: slice::Iter<'s, CheckpointedTask>,
    current: Option<(&'s CheckpointedTask, Merge<Stored>)>,
    state: &'s DescribedState,
    /// What has expired by then is left out.
    now: EventTime,
    wanted: Wanted,
}

enum Step {
    /// To an entry.
    Entry,
    NextTask,
}

impl<'s> CheckpointEntries<'s> {
    pub(super) fn new(
        storage: &'s Arc<dyn Storage>,
        tasks: &'s [CheckpointedTask],
        (state, now): (&'s DescribedState, EventTime),
        wanted: Wanted,
    ) -> Self {
        let owned = |group: u32| tasks.iter().position(|task| task.key_groups.contains(&group));
        let tasks = match wanted.key_group() {
            None => tasks,
            Some(group) => owned(group).map_or(&[][..], |owner| slice::from_ref(&tasks[owner])),
        };
        Self { storage, tasks: tasks.iter(), current: None, state, now, wanted }
    }

    pub(super) fn next(&mut self) -> Result<Option<StoredEntry<'_>>, StoredStateError> {
        loop {
            if self.current.is_none() {
                let Some(task) = self.tasks.next() else { return Ok(None) };
                self.current = Some((task, self.open(task)?));
            }
            match self.step()? {
                Step::NextTask => self.current = None,
                Step::Entry => {
                    let (task, merge) = self.current.as_ref().expect("it has just been read");
                    let value = match merge.entry() {
                        Entry::Value(value) => value,
                        // What is gone is not yielded; if it were, no bytes are no value.
                        Entry::Tombstone | Entry::Cleared => &[],
                    };
                    return decoded(task.task, merge.key(), value).map(Some).map_err(|error| self.strange(task, error));
                }
            }
        }
    }

    /// Merges what a task has of the key groups that are wanted.
    fn open(&self, task: &CheckpointedTask) -> Result<Merge<Stored>, StoredStateError> {
        let keyless = u32::from(NO_KEY_GROUP);
        let key_groups: Range<u32> = match (self.state.kind.is_keyed(), self.wanted.key_group()) {
            (false, _) => keyless..keyless + 1,
            (true, None) => task.key_groups.clone(),
            (true, Some(group)) => group..group + 1,
        };
        let part =
            |segment: &SegmentOfTask| (Stored::new(Arc::clone(self.storage), &segment.name), segment.facts.clone());
        let runs = task.segments_of(self.state).chunk_by(|one, next| one.run == next.run);
        let runs = runs.map(|run| run.iter().map(part).collect()).collect();
        Merge::open(runs, key_groups, Marks::Drop).map_err(StoredStateError::of_segment)
    }

    /// Goes on to the next entry of the state in the current task.
    fn step(&mut self) -> Result<Step, StoredStateError> {
        let Some((task, merge)) = &mut self.current else { return Ok(Step::NextTask) };
        while merge.advance().map_err(StoredStateError::of_segment)? {
            match self.wanted.order_of(merge.key()) {
                Ok(Ordering::Less) => {}
                Ok(Ordering::Equal) if self.state.has_ended(merge.entry(), self.now) => {}
                Ok(Ordering::Equal) => return Ok(Step::Entry),
                // Everything is in order: nothing more of the key can come.
                Ok(Ordering::Greater) => break,
                Err(error) => {
                    let task = *task;
                    return Err(self.strange(task, error));
                }
            }
        }
        Ok(Step::NextTask)
    }

    /// The error for bytes that are no entry; in which segment they lie the merge does not tell.
    fn strange(&self, task: &CheckpointedTask, error: StoredError) -> StoredStateError {
        let name = task.segments_of(self.state).last().map_or("", |segment| &segment.name);
        let folder = name.rsplit_once('/').map_or(name, |(folder, _)| folder);
        let problem = StoredStateProblem::Entry { task: task.task, what: error.to_string() };
        StoredStateError { path: self.storage.location(folder).into(), problem }
    }
}
