//! A log of changes in memory: stored keys and values end to end, in the order in which they were written down, until they are sorted into a piece.
//!
//! Its memory is used again for later logs, because fresh memory costs more than what is copied into it.

use crate::state::stored::StoredBytes;

/// What a piece says of a stored key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// It has this stored value.
    Value(&'a [u8]),
    /// It is gone.
    Gone,
    /// Whatever begins with it is gone, as far as earlier pieces say so.
    Cleared,
}

/// What is written down of a stored key.
pub(super) enum Stored<'a> {
    Value(StoredBytes<'a>),
    Gone,
    Cleared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Value,
    Gone,
    Cleared,
}

#[derive(Clone, Copy)]
struct Entry {
    key_at: u32,
    value_at: u32,
    value_bytes: u32,
    key_bytes: u16,
    kind: Kind,
}

/// Changes in the order of time.
#[derive(Default)]
pub(super) struct Log {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Log {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What it holds, in bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * size_of::<Entry>()
    }

    /// Removes all changes, and keeps up to about `most` bytes of memory.
    pub(super) fn clear(&mut self, most: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(most);
        self.entries.clear();
        self.entries.shrink_to(most / size_of::<Entry>());
    }

    /// Appends a change of the stored key that two parts make.
    pub(super) fn push(&mut self, (prefix, rest): (&[u8], &[u8]), stored: Stored<'_>) {
        self.push_with(
            |bytes| {
                bytes.extend_from_slice(prefix);
                bytes.extend_from_slice(rest);
            },
            stored,
        );
    }

    /// Appends a change of the stored key that `append` appends.
    #[inline]
    pub(super) fn push_with(&mut self, append: impl FnOnce(&mut Vec<u8>), stored: Stored<'_>) {
        let key_at = self.bytes.len();
        append(&mut self.bytes);
        let value_at = self.bytes.len();
        let kind = match stored {
            Stored::Value(stored) => {
                stored.append(&mut self.bytes);
                Kind::Value
            }
            Stored::Gone => Kind::Gone,
            Stored::Cleared => Kind::Cleared,
        };
        self.entries.push(Entry {
            key_at: key_at as u32,
            value_at: value_at as u32,
            value_bytes: (self.bytes.len() - value_at) as u32,
            key_bytes: (value_at - key_at) as u16,
            kind,
        });
    }

    fn key(&self, number: u32) -> &[u8] {
        let Entry { key_at, key_bytes, .. } = self.entries[number as usize];
        &self.bytes[key_at as usize..key_at as usize + usize::from(key_bytes)]
    }

    /// All changes in the order of their stored keys, those of one key in the order of time.
    pub(super) fn sorted(&self) -> Piece<'_> {
        // Most keys differ in their first 16 bytes, and those compare without a look at the buffer.
        let mut order: Vec<(u128, u32)> =
            (0..self.entries.len() as u32).map(|number| (first_bytes(self.key(number)), number)).collect();
        order.sort_unstable_by(|one, other| {
            one.0.cmp(&other.0).then_with(|| self.key(one.1).cmp(self.key(other.1))).then(one.1.cmp(&other.1))
        });
        Piece { log: self, order }
    }
}

fn first_bytes(key: &[u8]) -> u128 {
    match key.first_chunk::<16>() {
        Some(first) => u128::from_be_bytes(*first),
        None => {
            let mut first = [0; 16];
            first[..key.len()].copy_from_slice(key);
            u128::from_be_bytes(first)
        }
    }
}

/// Changes in the order of their stored keys, each key once but for a `Cleared` before its last change.
pub struct Piece<'a> {
    log: &'a Log,
    order: Vec<(u128, u32)>,
}

impl Piece<'_> {
    /// Hands every change to `take`, in ascending order of stored keys. A stored key can have two: that everything that begins with it was cleared, and then what it has since.
    ///
    /// # Errors
    /// What `take` answers.
    pub fn for_each<E>(&self, mut take: impl FnMut(&[u8], Change<'_>) -> Result<(), E>) -> Result<(), E> {
        // What was cleared, and when. No place begins as another one does, so there is one at a time.
        let mut cleared: Option<(&[u8], u32)> = None;
        let mut rest = &self.order[..];
        while let Some((_, first)) = rest.first() {
            let key = self.log.key(*first);
            let same = 1 + rest[1..].iter().take_while(|(_, number)| self.log.key(*number) == key).count();
            let (of_key, behind) = rest.split_at(same);
            rest = behind;
            let last_of = |is_clearing: bool| {
                let mut numbers = of_key.iter().rev().map(|(_, number)| *number);
                numbers.find(|number| (self.log.entries[*number as usize].kind == Kind::Cleared) == is_clearing)
            };
            if let Some(time) = last_of(true) {
                cleared = Some((key, time));
                take(key, Change::Cleared)?;
            }
            let Some(number) = last_of(false) else { continue };
            if cleared.is_some_and(|(prefix, time)| number < time && key.starts_with(prefix)) {
                continue;
            }
            let Entry { value_at, value_bytes, kind, .. } = self.log.entries[number as usize];
            let value = &self.log.bytes[value_at as usize..(value_at + value_bytes) as usize];
            take(key, if kind == Kind::Gone { Change::Gone } else { Change::Value(value) })?;
        }
        Ok(())
    }
}
