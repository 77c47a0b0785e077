//! Operator state within a call: when it may be touched, what a call has written, and what of it the call itself sees.
//!
//! Lists are read in `open` alone and written whole; broadcast maps are written while records are processed that every task gets. What is written waits here until the
//! call has returned well, beside what it wrote to keyed state.

use std::{collections::BTreeMap, io};

use super::{Exchange, Phase, STAGED_CALL_BYTES};
use crate::{
    operator::{
        Descriptor, StateKind,
        stage_error::{StageError, check_sizes, no_state},
    },
    state::{OperatorStateKind, OperatorStates, StateIds, StoredBytes, StoredColumn, TakeEntry},
    stream::BytesColumn,
};

/// The most bytes that a page has unless it holds one larger entry, whatever the guest asks for.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// The operator state of a task, and what the call under way has written to it.
pub(super) struct OperatorStage {
    states: OperatorStates,
    /// Current schema versions, by number of the state.
    versions: Vec<u16>,
    /// By what states are stored.
    ids: StateIds,
    lists: BTreeMap<u32, BytesColumn>,
    /// None: the entry is removed.
    entries: BTreeMap<u32, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

/// A part of a broadcast map.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BroadcastPage {
    /// The map key of each entry, in ascending order.
    pub map_keys: BytesColumn,
    /// The value of each entry.
    pub values: StoredColumn,
    /// From where the next page begins; none after the last one.
    pub next: Option<Vec<u8>>,
}

impl OperatorStage {
    pub(super) fn new(descriptor: &Descriptor, ids: &StateIds) -> Self {
        let kind = |kind| match kind {
            StateKind::OperatorList => Some(OperatorStateKind::List),
            StateKind::OperatorUnion => Some(OperatorStateKind::Union),
            StateKind::Broadcast => Some(OperatorStateKind::Broadcast),
            StateKind::Value
            | StateKind::Reducing
            | StateKind::Aggregating
            | StateKind::KeyedList
            | StateKind::KeyedMap => None,
        };
        Self {
            states: OperatorStates::new(descriptor.states.iter().map(|state| kind(state.kind))),
            versions: descriptor.states.iter().map(|state| state.version).collect(),
            ids: ids.clone(),
            lists: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }

    /// The number of the state that is stored by this id.
    fn number_of(&self, id: u16) -> Option<u32> {
        (0..self.versions.len() as u32).find(|number| self.ids.of(*number) == id)
    }

    pub(super) fn discard(&mut self) {
        self.lists.clear();
        self.entries.clear();
    }

    /// Makes true what the call has written.
    fn apply(&mut self) {
        for (state, values) in std::mem::take(&mut self.lists) {
            self.states.set_list(state, StoredColumn { values, versions: Vec::new() });
        }
        for (state, entries) in std::mem::take(&mut self.entries) {
            let version = self.version(state);
            for (map_key, value) in entries {
                match value {
                    Some(value) => self.states.put(state, &map_key, version, &value),
                    None => self.states.put(state, &map_key, 0, &[]),
                }
            }
        }
    }

    fn version(&self, state: u32) -> u16 {
        self.versions.get(state as usize).copied().unwrap_or(1)
    }

    /// An entry as the call sees it; version 0: absent.
    fn get(&self, state: u32, map_key: &[u8]) -> (u16, &[u8]) {
        match self.entries.get(&state).and_then(|entries| entries.get(map_key)) {
            Some(Some(value)) => (self.version(state), value),
            Some(None) => (0, &[]),
            None => self.states.get(state, map_key).unwrap_or((0, &[])),
        }
    }

    /// The entries of a map as the call sees them, from behind `after` on.
    fn entries(&self, state: u32, after: Option<&[u8]>) -> impl Iterator<Item = (&[u8], u16, &[u8])> {
        use std::ops::Bound::{Excluded, Unbounded};
        let version = self.version(state);
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        let written = self.entries.get(&state).into_iter().flat_map(move |entries| entries.range::<[u8], _>(range));
        let (mut stored, mut written) = (self.states.entries(state, after).peekable(), written.peekable());
        std::iter::from_fn(move || {
            loop {
                let Some((map_key, value)) = written.peek().map(|(map_key, value)| (map_key.as_slice(), *value)) else {
                    return stored.next();
                };
                match stored.peek() {
                    Some((other, _, _)) if *other < map_key => return stored.next(),
                    Some((other, _, _)) if *other == map_key => drop(stored.next()),
                    _ => {}
                }
                written.next();
                if let Some(value) = value {
                    return Some((map_key, version, value));
                }
            }
        })
    }
}

impl Exchange {
    /// Gives the task the operator state that a descriptor names, all of it empty.
    pub(in crate::operator) fn keep_operator_state(&mut self, descriptor: &Descriptor, ids: &StateIds) {
        self.operator_state = Some(OperatorStage::new(descriptor, ids));
    }

    /// Another version of the operator takes over the operator state. What it does not know is gone.
    pub(super) fn adopt_operator_state(&mut self, descriptor: &Descriptor, ids: &StateIds) {
        let mut adopted = OperatorStage::new(descriptor, ids);
        if let Some(mut former) = self.operator_state.take() {
            for to in 0..adopted.versions.len() as u32 {
                if let Some(number) = former.number_of(ids.of(to)) {
                    let version = former.version(number);
                    former.states.move_to(number, &mut adopted.states, to, version);
                }
            }
        }
        self.operator_state = Some(adopted);
    }

    /// Takes back an entry of operator state. Returns whether there is such a state.
    pub(in crate::operator) fn restore_operator_state(
        &mut self,
        state: u16,
        entry: &[u8],
        stored: &StoredBytes<'_>,
    ) -> bool {
        self.operator_state.as_mut().is_some_and(|stage| {
            stage.number_of(state).is_some_and(|number| stage.states.restore(number, entry, stored))
        })
    }

    /// Makes true what the call has written to operator state.
    pub(in crate::operator) fn apply_operator_state(&mut self) {
        if let Some(stage) = &mut self.operator_state {
            stage.apply();
        }
    }

    /// Bytes of operator state.
    pub(in crate::operator) fn operator_state_bytes(&self) -> usize {
        self.operator_state.as_ref().map_or(0, |stage| stage.states.bytes())
    }

    /// Hands all operator state, as the last good call left it, to `take`.
    ///
    /// # Errors
    /// What `take` answers.
    pub(in crate::operator) fn export_operator_state(&self, take: &mut TakeEntry<'_>) -> io::Result<()> {
        self.operator_state.as_ref().map_or(Ok(()), |stage| stage.states.export(&stage.versions, &stage.ids, take))
    }

    /// The elements of a list or union list, as the last good call left them.
    ///
    /// # Errors
    /// [`StageError`] outside of `open`, and for what is no list.
    pub fn get_list(&self, state: u32) -> Result<StoredColumn, StageError> {
        match (&self.operator_state, self.phase) {
            (Some(stage), Phase::Open) => stage.states.list(state).cloned().ok_or_else(|| no_state(state)),
            _ => Err(StageError::State("get-list may be called within open only".into())),
        }
    }

    /// Replaces the elements of a list or union list.
    ///
    /// # Errors
    /// [`StageError`]; the call will be rolled back.
    pub fn set_list(&mut self, state: u32, data: &[u8], ends: &[u32]) -> Result<(), StageError> {
        let staged = self.check_list(state, data, ends);
        self.stage_operator_state(staged, |stage, elements| {
            stage.lists.insert(state, elements);
        })
    }

    /// Reads entries of a broadcast map, with the call's own writes; absent ones have version 0.
    ///
    /// # Errors
    /// [`StageError`] in `describe`, for what is no broadcast map, and for columns that contradict themselves.
    pub fn get_broadcast(&self, state: u32, data: &[u8], ends: &[u32]) -> Result<StoredColumn, StageError> {
        let stage = self.broadcast_stage("get-broadcast", state)?;
        let map_keys = column("get-broadcast, map-keys", data, ends)?;
        let mut column = StoredColumn::default();
        for map_key in map_keys.iter() {
            let (version, value) = stage.get(state, map_key);
            let most = self.limits.staged_bytes_max;
            if column.values.bytes() + value.len() > most {
                let text = format!("get-broadcast was asked for more than {most} bytes (limits.output)");
                return Err(StageError::Limit(text));
            }
            column.versions.push(version);
            column.values.push(value);
        }
        Ok(column)
    }

    /// Writes entries of a broadcast map; version 0 removes. `versions` is empty when all have the current version.
    ///
    /// # Errors
    /// [`StageError`]; the call will be rolled back.
    pub fn put_broadcast(
        &mut self,
        state: u32,
        map_keys: (&[u8], &[u32]),
        values: (&[u8], &[u32], &[u16]),
    ) -> Result<(), StageError> {
        let staged = self.check_entries(state, map_keys, values);
        self.stage_operator_state(staged, |stage, entries| {
            stage.entries.entry(state).or_default().extend(entries);
        })
    }

    /// Reads a broadcast map in the order of its keys, with the call's own writes: about `bytes` bytes, at least one entry, from behind `from` on.
    ///
    /// # Errors
    /// [`StageError`] in `describe`, and for what is no broadcast map.
    pub fn read_broadcast(&self, state: u32, from: Option<&[u8]>, bytes: u32) -> Result<BroadcastPage, StageError> {
        let stage = self.broadcast_stage("read-broadcast", state)?;
        let most = (bytes as usize).min(PAGE_BYTES_MAX);
        let mut page = BroadcastPage::default();
        for (map_key, version, value) in stage.entries(state, from) {
            let held = page.map_keys.bytes() + page.values.values.bytes();
            if !page.map_keys.is_empty() && held + map_key.len() + value.len() > most {
                page.next = Some(page.map_keys.get(page.map_keys.len() - 1).to_vec());
                break;
            }
            page.map_keys.push(map_key);
            page.values.values.push(value);
            page.values.versions.push(version);
        }
        Ok(page)
    }

    fn stage_operator_state<T>(
        &mut self,
        staged: Result<T, StageError>,
        stage: impl FnOnce(&mut OperatorStage, T),
    ) -> Result<(), StageError> {
        let what = staged.inspect_err(|error| self.condemn(error))?;
        if let Some(operator_state) = &mut self.operator_state {
            stage(operator_state, what);
        }
        Ok(())
    }

    fn check_list(&mut self, state: u32, data: &[u8], ends: &[u32]) -> Result<BytesColumn, StageError> {
        let Some(stage) = self.operator_state.as_ref().filter(|_| self.phase.is_transaction()) else {
            return Err(StageError::State("set-list may be called within process, on-end and snapshot only".into()));
        };
        if stage.states.list(state).is_none() {
            return Err(no_state(state));
        }
        self.stage_bytes(STAGED_CALL_BYTES + data.len() + ends.len() * 8)?;
        let elements = column("set-list", data, ends)?;
        check_sizes(&elements, self.limits.value_bytes_max, "an element")?;
        Ok(elements)
    }

    fn check_entries(
        &mut self,
        state: u32,
        (key_data, key_ends): (&[u8], &[u32]),
        (data, ends, versions): (&[u8], &[u32], &[u16]),
    ) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, StageError> {
        if !matches!(self.phase, Phase::Broadcast(_)) {
            let text = "put-broadcast may be called only while records of a broadcast input are processed";
            return Err(StageError::State(text.into()));
        }
        let current = self.broadcast_stage("put-broadcast", state)?.version(state);
        if key_ends.len() != ends.len() || !(versions.is_empty() || versions.len() == ends.len()) {
            return Err(StageError::Malformed(format!(
                "put-broadcast was given {} map keys, {} values and {} versions",
                key_ends.len(),
                ends.len(),
                versions.len()
            )));
        }
        self.stage_bytes(STAGED_CALL_BYTES + key_data.len() + data.len() + ends.len() * 12)?;
        let map_keys = column("put-broadcast, map-keys", key_data, key_ends)?;
        let values = column("put-broadcast, values", data, ends)?;
        check_sizes(&map_keys, self.limits.key_bytes_max, "a map key")?;
        check_sizes(&values, self.limits.value_bytes_max, "a state's value")?;
        let entries = (0..ends.len()).map(|index| {
            let (map_key, value) = (map_keys.get(index).to_vec(), values.get(index));
            match versions.get(index).copied().unwrap_or(current) {
                0 if value.is_empty() => Ok((map_key, None)),
                0 => Err(StageError::Malformed(
                    "put-broadcast was given bytes with schema version 0, which removes".into(),
                )),
                version if version == current => Ok((map_key, Some(value.to_vec()))),
                version => Err(StageError::Malformed(format!(
                    "put-broadcast was given schema version {version}, but the state has version {current}"
                ))),
            }
        });
        entries.collect()
    }

    fn broadcast_stage(&self, function: &str, state: u32) -> Result<&OperatorStage, StageError> {
        let Some(stage) = &self.operator_state else {
            return Err(StageError::State(format!("{function} may be called after describe only")));
        };
        match stage.states.kind(state) {
            Some(OperatorStateKind::Broadcast) => Ok(stage),
            _ => Err(no_state(state)),
        }
    }
}

fn column(what: &str, data: &[u8], ends: &[u32]) -> Result<BytesColumn, StageError> {
    BytesColumn::from_slices(data, ends).map_err(|error| StageError::Malformed(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests;
