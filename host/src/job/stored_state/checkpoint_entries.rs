//! The entries of a state in the segments of a checkpoint.

use std::{cmp::Ordering, collections::BTreeMap, ops::Range, path::PathBuf, slice, sync::Arc};

use super::{
    StoredEntry, Wanted,
    checkpoint_manifest::CheckpointedTask,
    decoded,
    described::DescribedState,
    error::{StoredStateError, StoredStateProblem},
};
use crate::{
    checkpoint::{Entry, SegmentReader, Storage, Stored},
    state::{NO_KEY_GROUP, StoredError},
};

/// Entries of a state in a checkpoint, in the order of tasks and stored keys.
pub(super) struct CheckpointEntries<'s> {
    storage: &'s Arc<dyn Storage>,
    tasks: slice::Iter<'s, CheckpointedTask>,
    state: &'s DescribedState,
    wanted: Wanted,
    merged: Vec<(Vec<u8>, Vec<u8>)>,
    at: usize,
    task: u32,
}

impl<'s> CheckpointEntries<'s> {
    pub(super) fn new(
        storage: &'s Arc<dyn Storage>,
        tasks: &'s [CheckpointedTask],
        state: &'s DescribedState,
        wanted: Wanted,
    ) -> Self {
        let owned = |group: u32| tasks.iter().position(|task| task.key_groups.contains(&group));
        let tasks = match wanted.key_group() {
            None => tasks,
            Some(group) => owned(group).map_or(&[][..], |owner| slice::from_ref(&tasks[owner])),
        };
        Self { storage, tasks: tasks.iter(), state, wanted, merged: Vec::new(), at: 0, task: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<StoredEntry<'_>>, StoredStateError> {
        while self.at >= self.merged.len() {
            let Some(task) = self.tasks.next() else { return Ok(None) };
            self.load(task)?;
        }
        self.at += 1;
        let (key, value) = &self.merged[self.at - 1];
        let failed = |error: StoredError| StoredStateError {
            path: PathBuf::from(self.storage.location("segments")),
            problem: StoredStateProblem::Corrupt { at: 0, what: error.to_string() },
        };
        decoded(self.task, key, value).map(Some).map_err(failed)
    }

    fn load(&mut self, task: &CheckpointedTask) -> Result<(), StoredStateError> {
        let no_group = u32::from(NO_KEY_GROUP);
        let groups: Range<u32> = match (self.state.kind.is_keyed(), self.wanted.key_group()) {
            (false, _) => no_group..no_group + 1,
            (true, None) => task.key_groups.clone(),
            (true, Some(group)) => group..group + 1,
        };
        let mut map: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for segment in task.segments_of(self.state) {
            let reader = SegmentReader::open(Stored::new(Arc::clone(self.storage), &segment.name), &segment.facts);
            let mut cursor = reader.map_err(StoredStateError::of_segment)?.range(groups.clone());
            let older = std::mem::take(&mut map);
            let mut newer = BTreeMap::new();
            let mut cleared: Vec<Vec<u8>> = Vec::new();
            let mut gone: Vec<Vec<u8>> = Vec::new();
            while cursor.advance().map_err(StoredStateError::of_segment)? {
                let (key, entry) = (cursor.key(), cursor.entry());
                match entry {
                    Entry::Value(value) => drop(newer.insert(key.to_vec(), value.to_vec())),
                    Entry::Tombstone => gone.push(key.to_vec()),
                    Entry::Cleared => cleared.push(key.to_vec()),
                }
            }
            map = older;
            map.retain(|key, _| !cleared.iter().any(|prefix| key.starts_with(prefix)) && !gone.contains(key));
            map.extend(newer);
        }
        self.merged = map.into_iter().filter(|(key, _)| self.wanted.order_of(key) == Ok(Ordering::Equal)).collect();
        self.at = 0;
        self.task = task.task;
        Ok(())
    }
}
