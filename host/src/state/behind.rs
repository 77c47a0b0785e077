//! What lies behind a task's table and cells: nothing (`memory`), or a spill (`fjall`) that is opened when the first entry is evicted.
//!
//! Point states in the table are stored under their key with neither namespace nor map key; everything else has its stored key from the cells. A failure of the spill is
//! remembered here, because it comes up in the middle of a look-up that can't stop; whoever began the look-up asks for it afterwards.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use super::{
    changes::{Changes, SnapshotSetup},
    spill::{Access, Found, Spill, SpillCounters, SpillError, SpillOptions},
    stored::{StoredBytes, StoredKey},
};
use crate::{
    background::Background,
    stream::{EventTime, KeyHash, key_group},
};

/// How a task's spill is opened.
#[derive(Clone)]
pub struct SpillSetup {
    /// The folder of this task's spill.
    pub directory: PathBuf,
    /// Its settings.
    pub options: SpillOptions,
    /// Who sorts and writes its runs.
    pub background: Arc<dyn Background>,
    /// The bytes of memory above which the task's state is evicted to it.
    pub cache_bytes: usize,
}

/// What lies behind a task's state.
pub struct Behind {
    setup: Option<SpillSetup>,
    spill: Option<Spill>,
    max_parallelism: u32,
    /// What has to be written down for snapshots.
    pub(super) changes: Changes,
    failure: Option<SpillError>,
    /// Stored keys and values that are about to be asked for, in the order in which they will be; what was passed over was not asked for.
    preloaded: VecDeque<(Vec<u8>, Vec<u8>)>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Behind {
    /// Nothing: all state stays in memory.
    pub fn nothing() -> Self {
        Self::new(None, 1, None)
    }

    /// A spill that is opened as `setup` says when something is evicted; `max_parallelism` is the number of key groups; `snapshots` says where changes are written down, if they are.
    pub fn new(setup: Option<SpillSetup>, max_parallelism: u32, snapshots: Option<SnapshotSetup>) -> Self {
        Self {
            setup,
            spill: None,
            max_parallelism,
            changes: Changes::new(snapshots),
            failure: None,
            preloaded: VecDeque::new(),
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Whether entries can be evicted.
    pub fn takes_entries(&self) -> bool {
        self.setup.is_some()
    }

    /// Whether anything was ever evicted: otherwise there is nothing to ask for.
    #[inline]
    pub fn may_contain(&self) -> bool {
        self.spill.as_ref().is_some_and(Spill::may_contain)
    }

    /// The failure that came up since this was asked last.
    ///
    /// # Errors
    /// That failure.
    #[inline]
    pub fn check(&mut self) -> Result<(), SpillError> {
        match self.failure.take() {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    /// What the spill has done so far.
    pub fn counters(&self) -> SpillCounters {
        self.spill.as_ref().map(Spill::counters).unwrap_or_default()
    }

    pub(super) fn fail(&mut self, failure: SpillError) {
        self.failure.get_or_insert(failure);
    }

    pub(super) fn group(&self, key: KeyHash) -> u16 {
        key_group(key, self.max_parallelism) as u16
    }

    /// The number of key groups.
    pub(super) fn groups(&self) -> u16 {
        self.max_parallelism as u16
    }

    /// The spill, opened when it was not yet; none where there is none or it has failed.
    pub(super) fn opened(&mut self) -> Option<&mut Spill> {
        if self.spill.is_none() {
            let setup = self.setup.as_ref()?;
            match Spill::open(&setup.directory, setup.options.clone(), Arc::clone(&setup.background)) {
                Ok(spill) => self.spill = Some(spill),
                Err(error) => {
                    self.fail(error);
                    return None;
                }
            }
        }
        self.spill.as_mut()
    }

    /// The spill, if something was evicted to it.
    pub(super) fn spill(&mut self) -> Option<&mut Spill> {
        self.spill.as_mut().filter(|spill| spill.may_contain())
    }

    /// Looks up a point state.
    pub(super) fn load_point(&mut self, state: u16, key: &[u8], hash: KeyHash) -> Option<StoredBytes<'_>> {
        let key_group = self.group(hash);
        let Self { spill: Some(spill), failure, preloaded, key: stored_key, value, .. } = self else { return None };
        let stored = StoredKey { key_group, state, key, namespace: &[], entry: &[] };
        stored.encode(stored_key).expect("keys are bounded where they come in");
        // All of them are of one state.
        let may_be = preloaded.front().is_some_and(|(key, _)| key.get(2..4) == stored_key.get(2..4));
        let at = if may_be { preloaded.iter().position(|(key, _)| key == stored_key) } else { None };
        let found = match at {
            Some(at) => {
                preloaded.drain(..at);
                *value = preloaded.pop_front().map(|(_, value)| value).unwrap_or_default();
                Ok(Found::Value)
            }
            None => spill.get(stored_key, value),
        };
        match found {
            Ok(Found::Value) => match StoredBytes::decode(value) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    failure.get_or_insert(spill.undecodable(&error));
                    None
                }
            },
            Ok(Found::Absent) => None,
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        }
    }

    /// These stored keys and values are about to be asked for, in this order. They must not change before.
    pub(super) fn preload(&mut self, entries: Vec<(Vec<u8>, Vec<u8>)>) {
        self.preloaded.extend(entries);
    }

    /// Bytes of the values that are preloaded.
    pub(super) fn preloaded_bytes(&self) -> usize {
        self.preloaded.iter().map(|(_, value)| value.len()).sum()
    }

    pub(super) fn forget_preloaded(&mut self) {
        self.preloaded.clear();
    }

    /// Evicts a point state; version 0 says that it is absent.
    pub(super) fn push_point(
        &mut self,
        (state, key, hash): (u16, &[u8], KeyHash),
        version: u16,
        last_access: Option<EventTime>,
        value: &[u8],
    ) {
        let key_group = self.group(hash);
        let (mut stored_key, mut stored_value) = (std::mem::take(&mut self.key), std::mem::take(&mut self.value));
        let stored = StoredKey { key_group, state, key, namespace: &[], entry: &[] };
        stored.encode(&mut stored_key).expect("keys are bounded where they come in");
        let pushed = (version != 0).then(|| {
            StoredBytes { version, last_access, value }.encode(&mut stored_value).expect("the version is not 0");
            &stored_value[..]
        });
        self.push(&stored_key, pushed, Access::Point);
        (self.key, self.value) = (stored_key, stored_value);
    }

    /// Evicts an entry under its stored key; no value: it is absent.
    pub(super) fn push(&mut self, stored_key: &[u8], stored_value: Option<&[u8]>, access: Access) {
        if let Some(Err(error)) = self.opened().map(|spill| spill.push(stored_key, stored_value, access)) {
            self.fail(error);
        }
    }
}
