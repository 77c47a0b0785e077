//! Values with the time of their last access.

use super::{KeyTable, SlotError};
use crate::{
    state::{
        arena::EntryRef,
        behind::Behind,
        delivery::{Noted, split_access},
        expiry::UNNOTED,
        stored::StoredBytes,
    },
    stream::EventTime,
};

/// A value, where it is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::state) struct NotedValue<'a> {
    /// The schema version, not 0.
    pub(in crate::state) version: u16,
    /// When it was accessed last, in milliseconds, or [`UNNOTED`].
    pub(in crate::state) accessed: i64,
    /// The guest's bytes.
    pub(in crate::state) value: &'a [u8],
}

impl NotedValue<'_> {
    /// As it is stored.
    pub(in crate::state) fn last_access(&self) -> Option<EventTime> {
        (self.accessed != UNNOTED).then_some(EventTime(self.accessed))
    }
}

impl KeyTable {
    /// Where the times of a column's values are.
    #[inline]
    pub(in crate::state) fn noted(&self, column: u32) -> Noted {
        self.states[column as usize].noted
    }

    /// A value of an entry; none: it is absent.
    #[inline]
    pub(in crate::state) fn noted_value(&self, entry: EntryRef, column: usize) -> Option<NotedValue<'_>> {
        let (version, value) = self.arena.value(entry, column);
        if version == 0 {
            return None;
        }
        let (accessed, value) = match self.states[column].noted {
            Noted::No => (UNNOTED, value),
            Noted::Before => split_access(value),
            Noted::Beside(times) => (split_access(self.arena.value(entry, times as usize).1).0, value),
        };
        Some(NotedValue { version, accessed, value })
    }

    /// A value of a slot; none: it is absent.
    ///
    /// # Errors
    /// When the slot stands for no key.
    pub(in crate::state) fn noted_value_of(&self, slot: u32, column: u32) -> Result<Option<NotedValue<'_>>, SlotError> {
        Ok(self.noted_value(self.entry(slot)?, column as usize))
    }

    /// Writes a value that was accessed last at that time; version 0 clears it.
    ///
    /// # Errors
    /// When the slot stands for no key. Nothing is written then.
    pub(in crate::state) fn put_noted(
        &mut self,
        slot: u32,
        column: u32,
        (version, value): (u16, &[u8]),
        accessed: EventTime,
        behind: &mut Behind,
    ) -> Result<(), SlotError> {
        let at = accessed.0.to_le_bytes();
        match self.noted(column) {
            Noted::Before if version != 0 => {
                let mut both = std::mem::take(&mut self.scratch);
                both.clear();
                both.extend_from_slice(&at);
                both.extend_from_slice(value);
                let put = self.put_value(slot, column, version, &both, behind);
                self.scratch = both;
                return put;
            }
            // Before the value: whether the entry is vacant is seen when that goes.
            Noted::Beside(times) if version == 0 => self.put_value(slot, times, 0, &[], behind)?,
            Noted::Beside(times) => self.put_value(slot, times, 1, &at, behind)?,
            Noted::No | Noted::Before => {}
        }
        self.put_value(slot, column, version, value, behind)
    }

    /// Puts a value into an entry as it was stored. Returns where the entry is now.
    #[inline]
    pub(super) fn put_stored(&mut self, entry: EntryRef, column: usize, stored: &StoredBytes<'_>) -> EntryRef {
        let at = stored.accessed_ms().to_le_bytes();
        match self.states[column].noted {
            Noted::Before => {
                self.scratch.clear();
                self.scratch.extend_from_slice(&at);
                self.scratch.extend_from_slice(stored.value);
                self.arena.put_value(entry, column, stored.version, &self.scratch)
            }
            Noted::Beside(times) if stored.last_access.is_some() => {
                let now_at = self.arena.put_value(entry, times as usize, 1, &at);
                self.arena.put_value(now_at, column, stored.version, stored.value)
            }
            Noted::No | Noted::Beside(_) => self.arena.put_value(entry, column, stored.version, stored.value),
        }
    }

    /// Drops a value of an entry, with its time. Nothing moves, because nothing grows.
    pub(super) fn drop_noted(&mut self, entry: EntryRef, column: usize) {
        if let Noted::Beside(times) = self.states[column].noted {
            self.arena.put_value(entry, times as usize, 0, &[]);
        }
        self.arena.put_value(entry, column, 0, &[]);
    }
}
