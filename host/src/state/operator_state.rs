//! Operator state: what belongs to a task and to no key (Flink: "Operator State", "The Broadcast State Pattern").
//!
//! Owns the lists and broadcast maps of one task. What a call writes is staged elsewhere and comes here when the call has returned well, so what lies here is what the
//! last good call left. How state moves to other tasks when their number changes is decided by [`redistribute`].
//!
//! Absent on purpose: channels and wasm, as in the whole room.

use std::{
    collections::BTreeMap,
    io,
    ops::Bound::{Excluded, Unbounded},
};

use super::{NO_KEY_GROUP, StateIds, StoredBytes, StoredColumn, StoredKey, TakeEntry};

/// The kinds of operator state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorStateKind {
    /// A list that is dealt out evenly.
    List,
    /// A list of which every task gets all elements.
    Union,
    /// A map that is the same on all tasks.
    Broadcast,
}

enum Content {
    List(OperatorStateKind, StoredColumn),
    /// Map key → schema version, never 0, and value.
    Broadcast(BTreeMap<Box<[u8]>, (u16, Box<[u8]>)>),
}

/// The operator states of a task, by their numbers.
pub struct OperatorStates {
    states: Vec<Option<Content>>,
}

impl OperatorStates {
    /// Empty states of these kinds. None: the state of that number belongs to keys.
    pub fn new(kinds: impl IntoIterator<Item = Option<OperatorStateKind>>) -> Self {
        let content = |kind| match kind {
            OperatorStateKind::Broadcast => Content::Broadcast(BTreeMap::new()),
            OperatorStateKind::List | OperatorStateKind::Union => Content::List(kind, StoredColumn::default()),
        };
        Self { states: kinds.into_iter().map(|kind| kind.map(content)).collect() }
    }

    /// The kind of a state; none if there is no operator state of that number.
    pub fn kind(&self, state: u32) -> Option<OperatorStateKind> {
        self.states.get(state as usize)?.as_ref().map(|content| match content {
            Content::List(kind, _) => *kind,
            Content::Broadcast(_) => OperatorStateKind::Broadcast,
        })
    }

    /// The elements of a list or union list; none if there is no such list.
    pub fn list(&self, state: u32) -> Option<&StoredColumn> {
        match self.states.get(state as usize)? {
            Some(Content::List(_, elements)) => Some(elements),
            _ => None,
        }
    }

    /// Replaces the elements of a list or union list. Does nothing if there is no such list.
    pub fn set_list(&mut self, state: u32, elements: StoredColumn) {
        if let Some(Some(Content::List(_, list))) = self.states.get_mut(state as usize) {
            *list = elements;
        }
    }

    /// Schema version and bytes of an entry of a broadcast map.
    pub fn get(&self, state: u32, map_key: &[u8]) -> Option<(u16, &[u8])> {
        self.map(state)?.get(map_key).map(|(version, value)| (*version, &**value))
    }

    /// Writes an entry of a broadcast map; version 0 removes it. Does nothing if there is no such map.
    pub fn put(&mut self, state: u32, map_key: &[u8], version: u16, value: &[u8]) {
        let Some(Some(Content::Broadcast(map))) = self.states.get_mut(state as usize) else { return };
        if version == 0 {
            map.remove(map_key);
        } else {
            map.insert(map_key.into(), (version, value.into()));
        }
    }

    /// The entries of a broadcast map in the order of their keys, from behind `after` on: key, schema version, bytes.
    pub fn entries(&self, state: u32, after: Option<&[u8]>) -> impl Iterator<Item = (&[u8], u16, &[u8])> {
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        let entries = self.map(state).into_iter().flat_map(move |map| map.range::<[u8], _>(range));
        entries.map(|(key, (version, value))| (&**key, *version, &**value))
    }

    /// Hands every element and entry to `take` as it is stored, in ascending order of stored keys: under [`NO_KEY_GROUP`] and the empty key, with the index of an element or the map key
    /// as the rest. `versions` has the current schema version of each state, `ids` says by what it is stored.
    ///
    /// # Errors
    /// What `take` answers; some entries may have been handed over.
    pub fn export(&self, versions: &[u16], ids: &StateIds, take: &mut TakeEntry<'_>) -> io::Result<()> {
        let (mut key, mut bytes) = (Vec::new(), Vec::new());
        let mut each = |state, entry: &[u8], version, value: &[u8]| {
            let stored = StoredKey { key_group: NO_KEY_GROUP, state, key: &[], namespace: &[], entry };
            stored.encode(&mut key).expect("map keys are bounded where they come in");
            StoredBytes { version, last_access: None, value }.encode(&mut bytes).expect("what is absent is not kept");
            take(&key, &bytes)
        };
        let numbered = (0_u32..).zip(&self.states).zip(versions);
        let mut by_id: Vec<_> =
            numbered.map(|((number, content), current)| (ids.of(number), content, current)).collect();
        by_id.sort_by_key(|(id, _, _)| *id);
        for (state, content, current) in by_id {
            match content {
                Some(Content::List(_, elements)) => {
                    for index in 0..elements.values.len() {
                        let (version, value) = elements.get(index, *current);
                        each(state, &(index as u64).to_be_bytes(), version, value)?;
                    }
                }
                Some(Content::Broadcast(map)) => {
                    for (map_key, (version, value)) in map {
                        each(state, map_key, *version, value)?;
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Moves a state to another one of these, by their numbers; there it has the same kind. `version` is that of elements without one.
    pub fn move_to(&mut self, number: u32, other: &mut Self, to: u32, version: u16) {
        let from = self.states.get_mut(number as usize).and_then(Option::as_mut);
        match (from, other.states.get_mut(to as usize).and_then(Option::as_mut)) {
            (Some(Content::List(_, elements)), Some(Content::List(_, moved))) => {
                *moved = std::mem::take(elements);
                moved.versions.resize(moved.values.len(), version);
            }
            (Some(Content::Broadcast(map)), Some(Content::Broadcast(moved))) => *moved = std::mem::take(map),
            _ => {}
        }
    }

    /// Takes back an entry of the state of this number as [`Self::export`] gave it: elements of a list in their order. Returns whether there is such a state.
    pub fn restore(&mut self, number: u32, entry: &[u8], stored: &StoredBytes<'_>) -> bool {
        match self.states.get_mut(number as usize) {
            Some(Some(Content::List(_, elements))) => elements.push_with_version(stored.version, stored.value),
            Some(Some(Content::Broadcast(map))) => {
                map.insert(entry.into(), (stored.version, stored.value.into()));
            }
            _ => return false,
        }
        true
    }

    /// Bytes of all elements, keys and values.
    pub fn bytes(&self) -> usize {
        let bytes = |content: &Content| match content {
            Content::List(_, elements) => elements.values.bytes(),
            Content::Broadcast(map) => map.iter().map(|(key, (_, value))| key.len() + value.len()).sum(),
        };
        self.states.iter().flatten().map(bytes).sum()
    }

    fn map(&self, state: u32) -> Option<&BTreeMap<Box<[u8]>, (u16, Box<[u8]>)>> {
        match self.states.get(state as usize)? {
            Some(Content::Broadcast(map)) => Some(map),
            _ => None,
        }
    }
}

/// What each of `parallelism` tasks gets of what the tasks before had: `per_task` has their elements, in the order of the tasks. For a list the elements of all are dealt
/// out in their order, so that no two tasks differ by more than one; a union list is given to every task whole; of a broadcast map, which is the same everywhere, the
/// first task's entries are.
pub fn redistribute<T: Clone>(kind: OperatorStateKind, per_task: &[Vec<T>], parallelism: u32) -> Vec<Vec<T>> {
    let tasks = parallelism as usize;
    match kind {
        OperatorStateKind::List => {
            let all = per_task.concat();
            (0..tasks).map(|task| all[all.len() * task / tasks..all.len() * (task + 1) / tasks].to_vec()).collect()
        }
        OperatorStateKind::Union => vec![per_task.concat(); tasks],
        OperatorStateKind::Broadcast => vec![per_task.first().cloned().unwrap_or_default(); tasks],
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{OperatorStateKind::*, *};
    use crate::stream::BytesColumn;

    #[test]
    fn a_state_answers_to_its_own_kind_alone() {
        let mut states = OperatorStates::new([None, Some(List), Some(Union), Some(Broadcast)]);
        assert_eq!(
            [0, 1, 2, 3, 4].map(|state| states.kind(state)),
            [None, Some(List), Some(Union), Some(Broadcast), None]
        );
        for state in 0..5 {
            let column = StoredColumn { values: BytesColumn::from_iter(["a", "bc"]), versions: Vec::new() };
            states.set_list(state, column);
            states.put(state, b"key", 1, b"value");
        }
        assert_eq!(
            [0, 1, 2, 3, 4].map(|state| states.list(state).map_or(9, |list| list.values.len())),
            [9, 2, 2, 9, 9]
        );
        assert_eq!(
            [0, 1, 2, 3, 4].map(|state| states.get(state, b"key").is_some()),
            [false, false, false, true, false]
        );
        assert_eq!([0, 1, 2, 3, 4].map(|state| states.entries(state, None).count()), [0, 0, 0, 1, 0]);
        assert_eq!(states.bytes(), 3 + 3 + 8);
    }

    proptest! {
        #[test]
        fn a_broadcast_map_is_an_ordered_map(
            writes in vec((vec(any::<u8>(), 0..3), 0_u16..3, vec(any::<u8>(), 0..3)), 0..60),
            after in proptest::option::of(vec(any::<u8>(), 0..3)),
        ) {
            let mut states = OperatorStates::new([Some(Broadcast)]);
            let mut model = BTreeMap::new();
            for (key, version, value) in &writes {
                states.put(0, key, *version, value);
                if *version == 0 { model.remove(key); } else { model.insert(key.clone(), (*version, value.clone())); }
            }
            let entries: Vec<_> = states.entries(0, after.as_deref()).map(|(key, version, value)| (key.to_vec(), version, value.to_vec())).collect();
            let expected: Vec<_> = model.iter()
                .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
                .map(|(key, (version, value))| (key.clone(), *version, value.clone())).collect();
            prop_assert_eq!(entries, expected);
            for (key, _, _) in &writes {
                prop_assert_eq!(states.get(0, key), model.get(key).map(|(version, value)| (*version, &value[..])));
            }
        }

        #[test]
        fn elements_of_a_list_are_dealt_out_evenly_and_in_order(per_task in vec(vec(any::<u16>(), 0..20), 0..7), parallelism in 1_u32..9) {
            let dealt = redistribute(List, &per_task, parallelism);
            prop_assert_eq!(dealt.len(), parallelism as usize);
            prop_assert_eq!(dealt.concat(), per_task.concat());
            let sizes = dealt.iter().map(Vec::len);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }

        #[test]
        fn every_task_gets_all_of_a_union_list_and_one_copy_of_a_broadcast_map(
            per_task in vec(vec(any::<u16>(), 0..20), 1..7),
            parallelism in 1_u32..9,
        ) {
            let all = vec![per_task.concat(); parallelism as usize];
            prop_assert_eq!(redistribute(Union, &per_task, parallelism), all);
            let copies = vec![per_task[0].clone(); 3];
            prop_assert_eq!(redistribute(Broadcast, &copies, parallelism), vec![per_task[0].clone(); parallelism as usize]);
        }
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        for kind in [List, Union, Broadcast] {
            assert_eq!(redistribute::<u8>(kind, &[], 3), vec![Vec::<u8>::new(); 3]);
        }
    }
}
