//! The keys of a task's slots, as bytes, in an array by slot.
//!
//! Keys of up to 12 bytes lie in the array itself, so that a record's key costs one cache line; longer ones lie in an arena, which is compacted when more than half of
//! it is garbage. A key is checked once, when it comes: those that do not decode are marked, and records that have them fail.

use crate::bytes::{Strings, copy_short};
use crate::codec::Decode;
use crate::wire::Error;

/// Slots are small and dense: a number above this one is a mistake of the host, and must not make the guest allocate.
pub(crate) const SLOTS_MAX: u32 = 1 << 22;

const INLINE_MAX: usize = 12;
/// Lengths from here on are no lengths.
const BAD: u32 = u32::MAX - 1;
const UNKNOWN: u32 = u32::MAX;
/// Below this size compacting is not worth its while.
const COMPACT_FROM: usize = 64 << 10;

/// 16 bytes for a slot: the key, or where it starts in the arena and how much room it has there.
#[derive(Clone, Copy)]
struct Entry {
    length: u32,
    bytes: [u8; INLINE_MAX],
}

/// What a slot stands for.
pub(crate) enum Key<'a> {
    /// A key that was checked.
    Known(&'a [u8]),
    /// A key whose bytes do not decode.
    Bad,
    /// The host never told.
    Unknown,
}

#[derive(Default)]
pub(crate) struct KeyTable {
    entries: Vec<Entry>,
    arena: Vec<u8>,
    /// How much of the arena is in use.
    live: usize,
}

impl Entry {
    const UNKNOWN: Self = Self { length: UNKNOWN, bytes: [0; INLINE_MAX] };

    fn outside(start: usize, room: usize) -> Self {
        let mut bytes = [0; INLINE_MAX];
        bytes[..4].copy_from_slice(&(start as u32).to_le_bytes());
        bytes[4..8].copy_from_slice(&(room as u32).to_le_bytes());
        Self { length: UNKNOWN, bytes }
    }

    fn word(&self, at: usize) -> usize {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]]) as usize
    }

    fn is_outside(&self) -> bool {
        self.length > INLINE_MAX as u32 && self.length < BAD
    }
}

impl KeyTable {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline(always)]
    pub(crate) fn get(&self, slot: u32) -> Key<'_> {
        let Some(entry) = self.entries.get(slot as usize) else { return Key::Unknown };
        let length = entry.length as usize;
        if let Some(bytes) = entry.bytes.get(..length) {
            return Key::Known(bytes);
        }
        self.get_outside(entry)
    }

    #[inline(never)]
    fn get_outside(&self, entry: &Entry) -> Key<'_> {
        match entry.length {
            UNKNOWN => Key::Unknown,
            BAD => Key::Bad,
            length => Key::Known(&self.arena[entry.word(0)..][..length as usize]),
        }
    }

    /// Reads what belongs to these slots, to have it in the cache. The result means nothing.
    pub(crate) fn touch(&self, slots: &[u32]) -> u32 {
        slots.iter().filter_map(|slot| self.entries.get(*slot as usize)).fold(0, |seen, entry| seen ^ entry.length)
    }

    pub(crate) fn release(&mut self, slot: u32) -> Result<(), Error> {
        match self.entries.get_mut(slot as usize) {
            Some(entry) if entry.length != UNKNOWN => {
                if entry.is_outside() {
                    self.live -= entry.length as usize;
                }
                *entry = Entry::UNKNOWN;
                Ok(())
            }
            _ => Err(Error::InvalidInput(format!("slot {slot} is released but stands for no key"))),
        }
    }

    /// Takes the keys of fresh slots, which decode as `K` or are marked.
    pub(crate) fn insert<'a, K: Decode<'a>>(&mut self, fresh: &[u32], keys: Strings<'a>) -> Result<(), Error> {
        if fresh.len() != keys.len() {
            return Err(Error::InvalidInput(format!("{} fresh slots have {} keys", fresh.len(), keys.len())));
        }
        let Some(&last) = fresh.iter().max() else { return Ok(()) };
        if last >= SLOTS_MAX {
            return Err(Error::InvalidInput(format!("slot {last} is above the limit of {SLOTS_MAX}")));
        }
        if last as usize >= self.entries.len() {
            self.entries.resize(last as usize + 1, Entry::UNKNOWN);
        }
        self.compact();
        let all_text = K::TEXT && keys.is_text();
        for (index, &slot) in fresh.iter().enumerate() {
            let key = keys.get(index);
            let good = all_text || if K::TEXT { std::str::from_utf8(key).is_ok() } else { K::decode(key).is_ok() };
            self.set(slot as usize, key, good);
        }
        Ok(())
    }

    #[inline]
    fn set(&mut self, slot: usize, key: &[u8], good: bool) {
        let Self { entries, arena, live } = self;
        let entry = &mut entries[slot];
        let room = if entry.is_outside() {
            *live -= entry.length as usize;
            entry.word(4)
        } else {
            0
        };
        if !good {
            *entry = Entry { length: BAD, ..Entry::UNKNOWN };
        } else if key.len() <= INLINE_MAX {
            let mut bytes = [0; INLINE_MAX];
            if let Ok(eight) = <[u8; 8]>::try_from(key) {
                bytes[..8].copy_from_slice(&eight);
            } else {
                copy_short(key, &mut bytes);
            }
            *entry = Entry { length: key.len() as u32, bytes };
        } else {
            if key.len() <= room {
                let start = entry.word(0);
                arena[start..start + key.len()].copy_from_slice(key);
            } else {
                *entry = Entry::outside(arena.len(), key.len());
                arena.extend_from_slice(key);
            }
            entry.length = key.len() as u32;
            *live += key.len();
        }
    }

    /// Makes the arena as small as its keys when more than half of it is garbage.
    fn compact(&mut self) {
        if self.arena.len() < COMPACT_FROM || self.live > self.arena.len() / 2 {
            return;
        }
        let mut arena = Vec::with_capacity(self.live + self.live / 4);
        for entry in self.entries.iter_mut().filter(|entry| entry.is_outside()) {
            let length = entry.length as usize;
            let start = entry.word(0);
            let moved = Entry::outside(arena.len(), length);
            arena.extend_from_slice(&self.arena[start..start + length]);
            *entry = Entry { length: entry.length, ..moved };
        }
        self.arena = arena;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut KeyTable, slot: u32, key: &str) {
        let ends = [key.len() as u32];
        let keys = Strings::new("keys", key.as_bytes(), &ends).expect("one key");
        table.insert::<&str>(&[slot], keys).expect("a small slot");
    }

    #[track_caller]
    fn check(table: &KeyTable, slot: u32, expected: &str) {
        assert!(matches!(table.get(slot), Key::Known(key) if key == expected.as_bytes()), "slot {slot}");
    }

    #[test]
    fn the_arena_stays_small_while_keys_come_and_go() {
        let mut table = KeyTable::default();
        let key =
            |slot: u32, round: u32| format!("{}{slot}-{round}", "long ".repeat((slot as usize + round as usize) % 7));
        for round in 0..200 {
            for slot in 0..100 {
                if round % 3 == 1 {
                    table.release(slot).expect("it is known");
                    assert!(matches!(table.get(slot), Key::Unknown));
                }
                insert(&mut table, slot, &key(slot, round));
            }
            (0..100).for_each(|slot| check(&table, slot, &key(slot, round)));
            assert!(table.arena.len() <= COMPACT_FROM + 100);
        }
        (0..100).for_each(|slot| table.release(slot).expect("it is known"));
        assert_eq!(table.live, 0);
        assert!(table.release(0).is_err());
    }

    #[test]
    fn a_key_that_does_not_decode_is_bad() {
        let mut table = KeyTable::default();
        let keys = Strings::new("keys", b"\xFFok", &[1, 3]).expect("two keys");
        table.insert::<&str>(&[0, 1], keys).expect("small slots");
        assert!(matches!(table.get(0), Key::Bad));
        check(&table, 1, "ok");
        assert!(matches!(table.get(2), Key::Unknown));
        insert(&mut table, 0, "good");
        check(&table, 0, "good");
    }
}
