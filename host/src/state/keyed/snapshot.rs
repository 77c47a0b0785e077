//! Snapshots of the keyed state, and the way back.
//!
//! A snapshot begins at a barrier, between two calls of the guest, in a few microseconds; then it is copied in small steps between calls (see the module `changes`).

use super::{Form, KeyedState, is_noted};
use crate::{
    background::Work,
    state::{
        spill::{Access, SpillError},
        stored::{StoredBytes, StoredError, StoredKey, namespace_prefix},
    },
    stream::hash_key,
};

/// An entry that a snapshot has and this task can't take back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The bytes are no entry.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// There is no keyed state of that number, or it is kept in another way.
    #[error("an entry belongs to state {0}, which is none of this operator's keyed states")]
    State(u16),
    /// What lies behind the memory failed.
    #[error(transparent)]
    Spill(#[from] SpillError),
}

/// Entries that are taken back together, so that the places where they belong are fetched at the same time.
#[derive(Default)]
pub struct RestoreBatch {
    bytes: Vec<u8>,
    /// Where keys and values end.
    ends: Vec<(usize, usize)>,
}

/// As many entries as misses can overlap.
const RESTORED_AT_ONCE: usize = 64;
/// A key in the table takes at least so many bytes.
const BYTES_PER_KEY_MIN: usize = 32;

impl RestoreBatch {
    /// Appends a stored key and value.
    pub fn push(&mut self, stored_key: &[u8], stored_value: &[u8]) {
        self.bytes.extend_from_slice(stored_key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(stored_value);
        self.ends.push((key_end, self.bytes.len()));
    }

    /// Whether it is time to take them back.
    pub fn is_full(&self) -> bool {
        self.ends.len() >= RESTORED_AT_ONCE
    }

    fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts
            .zip(&self.ends)
            .map(|(start, (key_end, end))| (&self.bytes[start..*key_end], &self.bytes[*key_end..*end]))
    }
}

/// Whether the snapshots to come may leave out what is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// They build on the one that it comes from.
    Yes,
    /// They begin anew, and have all of it.
    No,
}

impl KeyedState {
    /// A barrier: what the state is now is to be handed over, as far as it was not before. A snapshot that is still being copied is copied to its end first. Returns the epoch that has ended:
    /// the pieces up to that one make the snapshot.
    pub fn begin_snapshot(&mut self) -> u64 {
        while self.is_copying() {
            self.behind.changes.wait();
            self.copy_step();
        }
        let epoch = self.behind.changes.end_epoch();
        self.table.begin_copying(&self.behind);
        self.cells.begin_copying();
        self.copying = true;
        epoch
    }

    /// Whether a snapshot is still being copied. When it is not any more, all its pieces were handed over.
    pub fn is_copying(&self) -> bool {
        self.copying
    }

    /// Goes on copying a little, if there is something to copy.
    #[inline]
    pub fn copy_some(&mut self) {
        if self.copying && !self.behind.changes.must_wait() {
            self.copy_step();
        }
    }

    #[inline(never)]
    fn copy_step(&mut self) {
        let noted = &self.noted;
        let expires = |state| is_noted(noted, state);
        if self.table.copy_some(&mut self.behind) || self.cells.copy_some(expires, &mut self.behind) {
            return;
        }
        self.copying = false;
        self.behind.changes.end_copying();
        self.table.end_copying(&self.behind);
    }

    /// Runs work behind all pieces that were handed over so far, in the place where they are written.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn after_pieces(&self, work: Work) -> std::io::Result<()> {
        self.behind.changes.after_pieces(work)
    }

    /// The index that the next list element gets. A snapshot has to remember it: no later element may come before it.
    pub fn next_element(&self) -> u64 {
        self.cells.next_element()
    }

    /// Elements of lists get this index or higher ones.
    pub fn raise_next_element(&mut self, index: u64) {
        self.cells.raise_next_element(index);
    }

    /// About so many entries are going to be taken back: there will be room for them at once.
    pub fn expect(&mut self, entries: u64) {
        let most = self.budget / 2 / BYTES_PER_KEY_MIN;
        self.table.expect(usize::try_from(entries).unwrap_or(usize::MAX).min(most));
    }

    /// Takes back entries of a snapshot, and empties the batch. To be called as [`Self::restore`].
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore_batch(&mut self, batch: &mut RestoreBatch, known: Known) -> Result<(), RestoreError> {
        if self.table.is_large() {
            for (stored_key, _) in batch.entries() {
                self.table.prefetch_key(hash_key(StoredKey::decode(stored_key)?.key));
            }
        }
        for (stored_key, stored_value) in batch.entries() {
            self.restore(stored_key, stored_value, known)?;
        }
        batch.bytes.clear();
        batch.ends.clear();
        Ok(())
    }

    /// Takes back an entry of a snapshot. To be called before the first call of the guest, with each stored key once, in ascending order.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(&mut self, stored_key: &[u8], stored_value: &[u8], known: Known) -> Result<(), RestoreError> {
        let StoredKey { key_group, state, key, namespace, entry } = StoredKey::decode(stored_key)?;
        let stored = StoredBytes::decode(stored_value)?;
        let form = self.spec_of(state).ok_or(RestoreError::State(state))?.form;
        if form == Form::Point && !entry.is_empty() {
            return Err(RestoreError::State(state));
        }
        // Half of the memory stays free for what comes. Of what is in memory in part, the rest has to be there too.
        let bytes = self.table.bytes() + self.table.growth() + self.cells.bytes();
        let is_full = self.behind.takes_entries() && bytes > self.budget / 2;
        let column = self.columns[usize::from(state)].filter(|_| namespace.is_empty());
        if column.is_none() {
            namespace_prefix(key_group, state, key, namespace, &mut self.prefix)?;
        }
        match column {
            Some(column) if !is_full || self.table.has(key) => self.table.restore(key, column, &stored, known),
            None if !is_full || self.cells.has(&self.prefix) => {
                self.cells.restore(&self.prefix, entry, &stored, known, &self.behind);
            }
            _ => {
                let access = if column.is_some() { Access::Point } else { Access::Ordered };
                self.behind.push(stored_key, Some(stored_value), access);
                if known == Known::No {
                    self.behind.changes.carry((stored_key, &[]), Some(stored));
                }
            }
        }
        Ok(self.behind.check()?)
    }
}

#[cfg(test)]
mod tests;
