//! Operator state of a checkpoint, dealt out to the tasks that there are now.

use std::{path::PathBuf, sync::Arc};

use super::super::{
    stored_state::{CheckpointedOperator, StoredStateError, StoredStateProblem},
    version::OperatorVersion,
};
use crate::{
    checkpoint::{Entry, SegmentReader, Storage, Stored},
    operator::{Plugin, StateKind},
    state::{NO_KEY_GROUP, OperatorStateKind, StoredKey, redistribute},
};

/// An entry: its stored key and stored value.
type StoredPair = (Vec<u8>, Vec<u8>);

/// The entries that a task gets, in the order of their stored keys.
///
/// # Errors
/// When they can't be read.
pub(super) fn restored(
    storage: &Arc<dyn Storage>,
    operator: &CheckpointedOperator,
    version: &OperatorVersion,
    task: u32,
    parallelism: u32,
) -> Result<Vec<StoredPair>, StoredStateError> {
    let mut per_task = Vec::new();
    for former in &operator.tasks {
        per_task.push(match &former.operator_state {
            None => Vec::new(),
            Some(segment) => {
                let stored = Stored::new(Arc::clone(storage), &segment.name);
                let mut entries = Vec::new();
                let reader = SegmentReader::open(stored, &segment.facts).map_err(StoredStateError::of_segment)?;
                let group = u32::from(NO_KEY_GROUP);
                let mut cursor = reader.range(group..group + 1);
                while cursor.advance().map_err(StoredStateError::of_segment)? {
                    if let Entry::Value(value) = cursor.entry() {
                        entries.push((cursor.key().to_vec(), value.to_vec()));
                    }
                }
                entries
            }
        });
    }
    let mut mine = Vec::new();
    for (number, state) in (0_u32..).zip(&version.located.plugin.descriptor().states) {
        let number = version.ids.of(number);
        let kind = match state.kind {
            StateKind::OperatorList => OperatorStateKind::List,
            StateKind::OperatorUnion => OperatorStateKind::Union,
            StateKind::Broadcast => OperatorStateKind::Broadcast,
            _ => continue,
        };
        let of_state = |entries: &Vec<StoredPair>| -> Vec<StoredPair> {
            let is_of_state = |key: &[u8]| StoredKey::decode(key).is_ok_and(|key| key.state == number);
            entries.iter().filter(|(key, _)| is_of_state(key)).cloned().collect()
        };
        let per_task: Vec<_> = per_task.iter().map(of_state).collect();
        let dealt = redistribute(kind, &per_task, parallelism).into_iter().nth(task as usize).unwrap_or_default();
        for (index, (key, value)) in (0_u64..).zip(dealt) {
            // Elements are numbered anew.
            let index = index.to_be_bytes();
            let decoded =
                StoredKey::decode(&key).map_err(|error| undecodable(storage, operator, task, &error.to_string()))?;
            let entry = if kind == OperatorStateKind::Broadcast { decoded.entry } else { &index };
            let mut renumbered = Vec::new();
            let stored = StoredKey { entry, ..decoded };
            let encoded = stored.encode(&mut renumbered);
            encoded.map_err(|error| undecodable(storage, operator, task, &error.to_string()))?;
            mine.push((renumbered, value));
        }
    }
    Ok(mine)
}

fn undecodable(storage: &Arc<dyn Storage>, operator: &CheckpointedOperator, task: u32, what: &str) -> StoredStateError {
    let path = PathBuf::from(storage.location(&format!("segments/{}", operator.id)));
    StoredStateError { path, problem: StoredStateProblem::Entry { task, what: what.to_owned() } }
}
