//! A look at all entries of the table, for whoever writes state down.

use super::{KeyTable, NOWHERE};
use crate::state::arena::EntryRef;

impl KeyTable {
    /// The place of every entry, in no order. A place holds until the table changes.
    pub(in crate::state) fn entries(&self) -> impl Iterator<Item = EntryRef> {
        self.buckets.iter().map(|bucket| *bucket as u32).filter(|entry| *entry != NOWHERE)
    }

    /// The key of an entry.
    pub(in crate::state) fn key_at(&self, entry: EntryRef) -> &[u8] {
        self.arena.key(entry)
    }
}
