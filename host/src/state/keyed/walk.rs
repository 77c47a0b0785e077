//! The keys that the end of the input visits: each with an entry in a state that asks for it, once.
//!
//! Where point states of which nothing was evicted are all that asks, the table is walked, which keeps its entries where they are meanwhile. Where something was evicted,
//! everything is, so that the keys of a state lie in one order in one place. When one state asks, they are visited in that order, and its values are read on the way: a visit
//! changes its own key only, which lies behind. When several ask, the keys are written down first, because what the visits change must not change which keys are visited; the
//! list goes to a file when it is long.

use std::{
    collections::BTreeSet,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    ops::Bound,
};

use tempfile::SpooledTempFile;

use super::{KeyedState, lifespan_of};
use crate::{
    state::{
        SpillError,
        stored::{StoredKey, key_prefix, state_prefix},
    },
    stream::{Keys, hash_key},
};

/// A list of keys up to so many bytes stays in memory.
const LIST_BYTES_IN_MEMORY: usize = 16 << 20;
/// Values of so many bytes are read ahead at most, and one more.
const PRELOADED_BYTES_MAX: usize = 4 << 20;
/// So many keys of what was evicted are looked at in one go.
const KEYS_AT_ONCE: usize = 1024;

/// Where the walk is.
pub(super) enum KeyList {
    /// At this bucket of the table; none: at its end.
    Table(Option<usize>),
    /// At this stored key of a state in a key group, where everything was evicted.
    Stored { state: u16, group: u16, from: Vec<u8> },
    /// In keys that were written down behind their lengths; so many are left.
    Written(BufReader<SpooledTempFile>, u64),
}

/// Why the walk could not go on.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// What lies behind the memory failed.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// The list of the keys could not be written or read.
    #[error("the list of the keys that the end of the input visits, a temporary file, failed: {0}")]
    List(#[from] io::Error),
}

/// Keys that are being written down.
struct Writing {
    file: BufWriter<SpooledTempFile>,
    count: u64,
}

impl Writing {
    fn push(&mut self, key: &[u8]) -> io::Result<()> {
        self.count += 1;
        self.file.write_all(&(key.len() as u16).to_le_bytes())?;
        self.file.write_all(key)
    }
}

impl KeyedState {
    /// Puts the next keys that are to be visited, at most `most`, into `keys` (cleared first). Returns whether there may be more. Between the first call and the last, keys may be
    /// resolved and state may change.
    ///
    /// # Errors
    /// [`WalkError`].
    pub fn walk(&mut self, most: usize, keys: &mut Keys) -> Result<bool, WalkError> {
        keys.column.clear();
        keys.hashes.clear();
        if self.walk.is_none() {
            self.walk = Some(self.begin_walk()?);
        }
        match &mut self.walk {
            Some(KeyList::Table(cursor)) => {
                let Some(from) = *cursor else { return Ok(false) };
                *cursor = self.table.walk(from, most, keys);
                Ok(cursor.is_some())
            }
            Some(KeyList::Stored { state, group, from }) => {
                let (state, mut group, mut from) = (*state, *group, std::mem::take(from));
                self.behind.forget_preloaded();
                while group < self.behind.groups() {
                    if let Some(next) = self.read_keys(state, group, &from, most, keys)? {
                        from = next;
                        break;
                    }
                    (group, from) = (group + 1, Vec::new());
                }
                let left = group < self.behind.groups();
                self.walk = Some(KeyList::Stored { state, group, from });
                Ok(left)
            }
            Some(KeyList::Written(list, left)) => {
                let mut key = Vec::new();
                for _ in 0..(*left).min(most as u64) {
                    let mut length = [0; 2];
                    list.read_exact(&mut length)?;
                    key.resize(usize::from(u16::from_le_bytes(length)), 0);
                    list.read_exact(&mut key)?;
                    keys.push(&key, hash_key(&key));
                    *left -= 1;
                }
                Ok(*left > 0)
            }
            None => Ok(false),
        }
    }

    fn begin_walk(&mut self) -> Result<KeyList, WalkError> {
        if self.expires {
            let all = self.table.buckets();
            self.table.sweep(all, self.now, &self.lifespans, &mut self.behind);
        }
        let evicted = self.behind.may_contain();
        if !evicted && !self.cells.any_place(|state| self.asks(state)) {
            return Ok(KeyList::Table(self.asking().next().is_some().then_some(0)));
        }
        if evicted {
            self.evict_all()?;
            let mut asking = self.asking();
            if let (Some(state), None) = (asking.next(), asking.next()) {
                return Ok(KeyList::Stored { state, group: 0, from: Vec::new() });
            }
        }
        let file = BufWriter::new(SpooledTempFile::new(LIST_BYTES_IN_MEMORY));
        let mut writing = Writing { file, count: 0 };
        if evicted {
            self.write_evicted(&mut writing)?
        } else {
            self.write_known(&mut writing)?
        }
        let mut file = writing.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(KeyList::Written(BufReader::new(file), writing.count))
    }

    /// Writes down keys where all state is in memory.
    fn write_known(&self, writing: &mut Writing) -> io::Result<()> {
        let mut seen = BTreeSet::new();
        self.table.for_each_at_end(|key| {
            seen.insert(key.to_vec());
        });
        let asks = |state| self.asks(state);
        let has_ended = |state: u16, accessed: i64| {
            lifespan_of(&self.states, state).is_some_and(|lifespan| lifespan.has_ended(accessed, self.now))
        };
        self.cells.for_each_place(has_ended, |prefix| {
            let Ok(stored) = StoredKey::decode(prefix) else { return };
            if asks(stored.state) && !seen.contains(stored.key) {
                seen.insert(stored.key.to_vec());
            }
        });
        seen.iter().try_for_each(|key| writing.push(key))
    }

    /// Whether a state asks for visits.
    fn asks(&self, state: u16) -> bool {
        self.spec_of(state).is_some_and(|spec| spec.on_end)
    }

    /// The states that ask for visits.
    fn asking(&self) -> impl Iterator<Item = u16> {
        (0..self.states.len() as u16).filter(|state| self.asks(*state))
    }

    /// Reads keys that have an entry in a state on, until there are `most` of them or their values are large, and preloads these if it is a point state. Returns from which stored
    /// key to go on, none at the end of the group.
    fn read_keys(
        &mut self,
        state: u16,
        group: u16,
        from: &[u8],
        most: usize,
        keys: &mut Keys,
    ) -> Result<Option<Vec<u8>>, SpillError> {
        let rules = self.expiry.rules();
        let is_point = self.columns.get(usize::from(state)).is_some_and(Option::is_some);
        let mut prefix = Vec::new();
        state_prefix(group, state, &mut prefix);
        let (mut preloaded, mut preloaded_bytes) = (Vec::new(), self.behind.preloaded_bytes());
        let Some(spill) = self.behind.spill() else { return Ok(None) };
        let mut next = None;
        let mut range = spill.range(&prefix, Bound::Included(from))?;
        while let Some((stored_key, stored_value)) = range.next()? {
            let Ok(stored) = StoredKey::decode(stored_key) else { continue };
            let is_new = keys.hashes.is_empty() || keys.column.get(keys.hashes.len() - 1) != stored.key;
            if !is_new || rules.is_expired(stored_key, stored_value) {
                continue;
            }
            if keys.hashes.len() == most || preloaded_bytes >= PRELOADED_BYTES_MAX {
                next = Some(stored_key.to_vec());
                break;
            }
            keys.push(stored.key, hash_key(stored.key));
            if is_point && stored.namespace.is_empty() {
                preloaded_bytes += stored_value.len();
                preloaded.push((stored_key.to_vec(), stored_value.to_vec()));
            }
        }
        drop(range);
        self.behind.preload(preloaded);
        Ok(next)
    }

    /// Writes down keys, where everything was evicted, in the order in which they are stored.
    fn write_evicted(&mut self, writing: &mut Writing) -> Result<(), WalkError> {
        let asking: Vec<u16> = self.asking().collect();
        for group in 0..self.behind.groups() {
            for (before, state) in asking.iter().enumerate() {
                let mut next = Some(Vec::new());
                while let Some(from) = next {
                    let mut keys = Keys::default();
                    next = self.read_keys(*state, group, &from, KEYS_AT_ONCE, &mut keys)?;
                    // Not visited now, but from the list.
                    self.behind.forget_preloaded();
                    for key in keys.column.iter() {
                        if !self.is_behind(group, &asking[..before], key)? {
                            writing.push(key)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a key has an entry in one of these states.
    fn is_behind(&mut self, group: u16, states: &[u16], key: &[u8]) -> Result<bool, SpillError> {
        let rules = self.expiry.rules();
        let mut prefix = Vec::new();
        for state in states {
            key_prefix(group, *state, key, &mut prefix).expect("keys are bounded where they come in");
            let Some(spill) = self.behind.spill() else { return Ok(false) };
            let mut range = spill.range(&prefix, Bound::Included(&prefix))?;
            while let Some((stored_key, stored_value)) = range.next()? {
                if !rules.is_expired(stored_key, stored_value) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
