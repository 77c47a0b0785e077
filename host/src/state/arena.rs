//! Entries of the slot table: a key and its point states, packed into blocks of bump-allocated chunks.
//!
//! ```text
//! entry: admission u32 | marks and key length u16 | flags and units u16 | key | (version u16, length u16) for each state | the values, end to end
//! ```
//!
//! All little-endian. The key length is the lower 13 bits; the highest 3 are the entry's marks (see the module `changes`). `units`, the lower 14 bits, is the block's size in units of 8 bytes; the two highest bits are the flags [`DIRTY`] and [`SPILLED`]. Version 0 is
//! "absent". A value longer than [`VALUE_INLINE_BYTES_MAX`] has the length `0xffff` and leaves 4 bytes in the block: its place in `large`. This layout lives in memory only
//! and is stored nowhere.
//!
//! Entries that were made before a state was added have no cell for it: it is absent there. When such an entry is written anew, it moves and gets one. So adding a state touches no entry.
//!
//! Blocks that are freed go to a list for their size and are used again for it. Every block has its size, and the length of no key when it is free, so that they can be gone through in
//! the order in which they lie. An entry with an 8-byte key and a 12-byte value takes 32 bytes.

use memmap2::MmapMut;

use super::memory_advice::{advise_huge_pages, prefetch};
use crate::stream::Windowed;

/// Values longer than this live outside of their entry.
pub(super) const VALUE_INLINE_BYTES_MAX: usize = 512;

const UNIT: usize = 8;
/// A cache line.
const LINE_UNITS: u32 = 8;
/// The most usual size: an 8-byte key and a small value. Such an entry does not straddle two cache lines.
const USUAL_UNITS: u32 = 4;
const HEADER: usize = 8;
const CELL: usize = 4;
const LARGE: u16 = u16::MAX;
const LARGE_BYTES: usize = 4;
/// The part of a key's length.
const KEY_BYTES: u16 = 0x1fff;
/// The key length of a block that was freed: longer than any key.
const NO_KEY: u16 = KEY_BYTES;
/// Where the marks lie behind a key's length.
const MARKS_SHIFT: u32 = 13;
/// The part of a block's size.
const UNITS: u16 = 0x3fff;
/// The entry was written since it was made or loaded.
pub(super) const DIRTY: u16 = 0x8000;
/// What lies behind the table may hold an older version of the entry.
pub(super) const SPILLED: u16 = 0x4000;
/// 32 MiB: mostly whole huge pages; untouched parts cost nothing.
const CHUNK_UNITS_LOG2: u32 = 22;
const CHUNK_BYTES: usize = UNIT << CHUNK_UNITS_LOG2;
/// The first chunk is smaller: below the size that is backed by huge pages, so that a small job's memory stays small.
const FIRST_CHUNK_BYTES: usize = 1 << 20;

/// Places have 31 bits: whoever notes one has a bit for itself.
const UNITS_MAX: u32 = 1 << 31;

/// Where an entry is: its number of units from the beginning. 0 is nowhere.
pub(super) type EntryRef = u32;

/// All entries of a table.
pub(super) struct Arena {
    states: usize,
    /// Entries from here on have a cell for each of them.
    since: EntryRef,
    /// How many cells the entries have that lie before a place and behind the one before it, in ascending order.
    former: Vec<(EntryRef, usize)>,
    /// Mapped, so that they begin at a page and no entry of 32 bytes straddles two cache lines.
    chunks: Vec<MmapMut>,
    /// First unit that was never used.
    next: u32,
    /// Freed blocks, by size in units.
    free: Vec<Vec<EntryRef>>,
    free_units: usize,
    large: Vec<Box<[u8]>>,
    large_free: Vec<u32>,
    large_bytes: usize,
    /// What a write adds to key length, marks, flags and units: [`DIRTY`] and the current mark.
    written: u32,
    /// The marks that must be copied before an entry changes, at their place in those.
    pending: u32,
}

#[inline]
fn key_len(block: &[u8]) -> usize {
    usize::from(u16_at(block, 4) & KEY_BYTES)
}

#[inline]
fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

#[inline]
fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

impl Arena {
    pub(super) fn new(states: usize) -> Self {
        // Unit 0 is nowhere.
        Self {
            states,
            since: 0,
            former: Vec::new(),
            chunks: Vec::new(),
            next: 1,
            free: Vec::new(),
            free_units: 0,
            large: Vec::new(),
            large_free: Vec::new(),
            large_bytes: 0,
            written: u32::from(DIRTY) << 16,
            pending: 0,
        }
    }

    /// There are more states from now on, in all so many. No entry is touched. Room that older entries leave is not used again.
    pub(super) fn extend(&mut self, states: usize) {
        debug_assert!(states >= self.states, "states are only added");
        if states == self.states {
            return;
        }
        self.former.push((self.next, self.states));
        self.since = self.next;
        self.states = states;
        self.free.clear();
    }

    /// How many cells an entry has.
    #[inline(always)]
    fn states_of(&self, entry: EntryRef) -> usize {
        if entry >= self.since { self.states } else { self.former_states_of(entry) }
    }

    #[cold]
    fn former_states_of(&self, entry: EntryRef) -> usize {
        let former = self.former.iter().find(|(end, _)| entry < *end);
        former.map_or(self.states, |(_, states)| *states)
    }

    /// From now on writes leave the mark `current`, and `pending` says what has to be copied before it changes.
    pub(super) fn set_marks_of_writes(&mut self, current: u8, pending: u8) {
        self.written = u32::from(DIRTY) << 16 | u32::from(current) << MARKS_SHIFT;
        self.pending = u32::from(pending) << MARKS_SHIFT;
    }

    /// Whether an entry must be copied before it changes.
    #[inline(always)]
    pub(super) fn is_pending(&self, entry: EntryRef) -> bool {
        self.pending != 0 && u32_at(self.block_of(entry), 4) & self.pending != 0
    }

    /// The marks of an entry.
    pub(super) fn marks(&self, entry: EntryRef) -> u8 {
        (u16_at(self.block_of(entry), 4) >> MARKS_SHIFT) as u8
    }

    pub(super) fn set_marks(&mut self, entry: EntryRef, marks: u8) {
        let block = self.block_mut(entry);
        let length = u16_at(block, 4) & KEY_BYTES;
        block[4..6].copy_from_slice(&(u16::from(marks) << MARKS_SHIFT | length).to_le_bytes());
    }

    /// Behind the last block.
    pub(super) fn end(&self) -> EntryRef {
        self.next
    }

    /// The first entry that must be copied, of the blocks from `from` to before `end`, and the block behind it. `from` is where a block begins.
    pub(super) fn next_pending(&self, from: EntryRef, end: EntryRef) -> (Option<EntryRef>, EntryRef) {
        let mut at = from;
        while at < end {
            let head = u32_at(self.block_of(at), 4);
            let next = at + (head >> 16 & u32::from(UNITS)).max(1);
            if head & self.pending != 0 && head as u16 & KEY_BYTES != NO_KEY {
                return (Some(at), next);
            }
            at = next;
        }
        (None, at)
    }

    /// Bytes of memory in use by entries and by values outside of them.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        (self.next as usize - self.free_units) * UNIT + self.large_bytes
    }

    #[inline]
    fn block_of(&self, entry: EntryRef) -> &[u8] {
        let at = (entry & ((1 << CHUNK_UNITS_LOG2) - 1)) as usize * UNIT;
        &self.chunks[(entry >> CHUNK_UNITS_LOG2) as usize][at..]
    }

    #[inline]
    fn block_mut(&mut self, entry: EntryRef) -> &mut [u8] {
        let at = (entry & ((1 << CHUNK_UNITS_LOG2) - 1)) as usize * UNIT;
        &mut self.chunks[(entry >> CHUNK_UNITS_LOG2) as usize][at..]
    }

    #[inline]
    pub(super) fn prefetch(&self, entry: EntryRef) {
        if let Some(chunk) = self.chunks.get((entry >> CHUNK_UNITS_LOG2) as usize) {
            let at = (entry & ((1 << CHUNK_UNITS_LOG2) - 1)) as usize * UNIT;
            prefetch(chunk, at);
            if entry % LINE_UNITS > LINE_UNITS - USUAL_UNITS {
                // Not all of it lies in this cache line.
                prefetch(chunk, at + USUAL_UNITS as usize * UNIT);
            }
        }
    }

    fn allocate(&mut self, bytes: usize) -> EntryRef {
        let units = bytes.div_ceil(UNIT);
        if let Some(entry) = self.free.get_mut(units).and_then(Vec::pop) {
            self.free_units -= units;
            return entry;
        }
        let per_chunk = 1_u32 << CHUNK_UNITS_LOG2;
        let line_room = LINE_UNITS - self.next % LINE_UNITS;
        let mut gap = None;
        if units == USUAL_UNITS as usize && line_room < USUAL_UNITS {
            // What is left of the cache line is for smaller entries.
            gap = Some((self.next, line_room));
            self.next += line_room;
        }
        let room = per_chunk - (self.next & (per_chunk - 1));
        if units as u32 > room && self.next & (per_chunk - 1) != 0 {
            // What is left of the chunk is less than one entry.
            debug_assert!(gap.is_none(), "a chunk ends where a cache line does");
            gap = Some((self.next, room));
            self.next += room;
        }
        let entry = self.next;
        self.next = entry + units as u32;
        assert!(self.next <= UNITS_MAX, "16 GiB of entries in one task are more than a machine that runs this has");
        let end = (entry & (per_chunk - 1)) as usize * UNIT + units * UNIT;
        self.make_room((entry >> CHUNK_UNITS_LOG2) as usize, end);
        if let Some((gap, units)) = gap {
            self.mark_free(gap, units as usize);
            self.free_block(gap, units as usize);
        }
        entry
    }

    /// Says in a block that it is free.
    fn mark_free(&mut self, block: EntryRef, units: usize) {
        let head = self.block_mut(block);
        head[4..6].copy_from_slice(&NO_KEY.to_le_bytes());
        head[6..8].copy_from_slice(&(units as u16).to_le_bytes());
    }

    fn make_room(&mut self, chunk: usize, end: usize) {
        if self.chunks.len() <= chunk {
            let bytes = if chunk == 0 { FIRST_CHUNK_BYTES } else { CHUNK_BYTES };
            let memory = map(bytes);
            advise_huge_pages(&memory[..]);
            self.chunks.push(memory);
        } else if self.chunks[chunk].len() < end {
            let mut memory = map(CHUNK_BYTES);
            advise_huge_pages(&memory[..]);
            memory[..self.chunks[chunk].len()].copy_from_slice(&self.chunks[chunk]);
            self.chunks[chunk] = memory;
        }
    }

    fn release(&mut self, entry: EntryRef) {
        let units = usize::from(u16_at(self.block_of(entry), 6) & UNITS);
        // Whoever still has its place as a candidate finds no key there.
        self.mark_free(entry, units);
        self.free_block(entry, units);
    }

    fn free_block(&mut self, entry: EntryRef, units: usize) {
        if entry < self.since {
            // What is made there would have too few cells.
            self.free_units += units;
            return;
        }
        if self.free.len() <= units {
            self.free.resize_with(units + 1, Vec::new);
        }
        self.free[units].push(entry);
        self.free_units += units;
    }

    /// A new entry in which all states are absent.
    pub(super) fn insert(&mut self, key: &[u8]) -> EntryRef {
        let cells = HEADER + key.len();
        // Room for one small value, so that the first write usually stays in place.
        let bytes = (cells + self.states * (CELL + 8)).next_multiple_of(UNIT);
        let entry = self.allocate(bytes);
        let states = self.states;
        let block = self.block_mut(entry);
        block[0..4].fill(0);
        block[4..6].copy_from_slice(&(key.len() as u16).to_le_bytes());
        block[6..8].copy_from_slice(&((bytes / UNIT) as u16).to_le_bytes());
        block[HEADER..cells].copy_from_slice(key);
        block[cells..cells + states * CELL].fill(0);
        entry
    }

    /// Frees an entry and everything that belongs to it.
    pub(super) fn remove(&mut self, entry: EntryRef) {
        for state in 0..self.states_of(entry) {
            self.free_large(entry, state);
        }
        self.release(entry);
    }

    #[inline]
    pub(super) fn key(&self, entry: EntryRef) -> &[u8] {
        let block = self.block_of(entry);
        let len = key_len(block);
        &block[HEADER..HEADER + len]
    }

    /// The admission that an entry remembers, if the entry has this key.
    #[inline(always)]
    pub(super) fn admission_if_key(&self, entry: EntryRef, key: Windowed<'_>) -> Option<u32> {
        let block = self.block_of(entry);
        let same = key_len(block) == key.string.len() && key.begins(&block[HEADER..]);
        same.then(|| u32_at(block, 0))
    }

    /// The admission that an entry remembers.
    #[inline]
    pub(super) fn admission(&self, entry: EntryRef) -> u32 {
        u32_at(self.block_of(entry), 0)
    }

    /// [`DIRTY`] and [`SPILLED`].
    #[inline]
    pub(super) fn flags(&self, entry: EntryRef) -> u16 {
        u16_at(self.block_of(entry), 6) & !UNITS
    }

    pub(super) fn set_flags(&mut self, entry: EntryRef, flags: u16) {
        let block = self.block_mut(entry);
        let units = u16_at(block, 6) & UNITS;
        block[6..8].copy_from_slice(&(units | flags).to_le_bytes());
    }

    #[inline]
    pub(super) fn set_admission(&mut self, entry: EntryRef, admission: u32) {
        self.block_mut(entry)[0..4].copy_from_slice(&admission.to_le_bytes());
    }

    /// Whether all states are absent.
    pub(super) fn is_vacant(&self, entry: EntryRef) -> bool {
        let block = self.block_of(entry);
        let cells = HEADER + key_len(block);
        (0..self.states_of(entry)).all(|state| u16_at(block, cells + state * CELL) == 0)
    }

    /// Version and bytes of a value; version 0 is absent.
    #[inline(always)]
    pub(super) fn value(&self, entry: EntryRef, state: usize) -> (u16, &[u8]) {
        let states = self.states_of(entry);
        if state >= states {
            return (0, &[]);
        }
        let block = self.block_of(entry);
        let cells = HEADER + key_len(block);
        let mut start = cells + states * CELL;
        for before in 0..state {
            start += stored_len(u16_at(block, cells + before * CELL + 2));
        }
        let version = u16_at(block, cells + state * CELL);
        let len = u16_at(block, cells + state * CELL + 2);
        if len == LARGE {
            return (version, &self.large[u32_at(block, start) as usize]);
        }
        (version, &block[start..start + usize::from(len)])
    }

    /// As [`Self::set_value`], for where it is not the heart of a loop.
    #[inline(never)]
    pub(super) fn put_value(&mut self, entry: EntryRef, state: usize, version: u16, value: &[u8]) -> EntryRef {
        self.set_value(entry, state, version, value)
    }

    /// Writes a value. Returns where the entry is now: it moves when it has outgrown its block, and never when the value is cleared.
    #[inline(always)]
    pub(super) fn set_value(&mut self, entry: EntryRef, state: usize, version: u16, value: &[u8]) -> EntryRef {
        let (states, written) = (self.states_of(entry), self.written);
        if state >= states {
            // It is absent there anyway.
            return if version == 0 { entry } else { self.rewrite(entry, state, version, value) };
        }
        let block = self.block_mut(entry);
        let cells = HEADER + key_len(block);
        let cell = cells + state * CELL;
        let len = u16_at(block, cell + 2);
        // The usual cases: the same length, or the last state and enough room.
        if len != LARGE && value.len() <= VALUE_INLINE_BYTES_MAX {
            let mut start = cells + states * CELL;
            for before in 0..state {
                start += stored_len(u16_at(block, cells + before * CELL + 2));
            }
            let head = u32_at(block, 4);
            let capacity = (head >> 16 & u32::from(UNITS)) as usize * UNIT;
            if value.len() == usize::from(len) || (state + 1 == states && start + value.len() <= capacity) {
                block[cell..cell + 2].copy_from_slice(&version.to_le_bytes());
                block[cell + 2..cell + 4].copy_from_slice(&(value.len() as u16).to_le_bytes());
                copy_short(&mut block[start..start + value.len()], value);
                block[4..8].copy_from_slice(&(head | written).to_le_bytes());
                return entry;
            }
        }
        self.rewrite(entry, state, version, value)
    }

    #[cold]
    fn rewrite(&mut self, entry: EntryRef, state: usize, version: u16, value: &[u8]) -> EntryRef {
        self.free_large(entry, state);
        let block = self.block_of(entry);
        let head = u32_at(block, 4) | self.written;
        let mut units = u16_at(block, 6) & UNITS;
        let cells = HEADER + key_len(block);
        let former = self.states_of(entry);
        // What is cleared stays where it is.
        let states = if version == 0 { former } else { self.states };
        let mut image = block[..cells + former * CELL].to_vec();
        let mut start = image.len();
        image.resize(cells + states * CELL, 0);
        let mut handle = None;
        for other in 0..states {
            let len = if other < former { u16_at(block, cells + other * CELL + 2) } else { 0 };
            let stored = stored_len(len);
            if other == state {
                image[cells + other * CELL..][..2].copy_from_slice(&version.to_le_bytes());
                if value.len() <= VALUE_INLINE_BYTES_MAX {
                    image[cells + other * CELL + 2..][..2].copy_from_slice(&(value.len() as u16).to_le_bytes());
                    image.extend_from_slice(value);
                } else {
                    image[cells + other * CELL + 2..][..2].copy_from_slice(&LARGE.to_le_bytes());
                    handle = Some(image.len());
                    image.extend_from_slice(&[0; LARGE_BYTES]);
                }
            } else {
                image.extend_from_slice(&block[start..start + stored]);
            }
            start += stored;
        }
        if let Some(at) = handle {
            let large = self.insert_large(value);
            image[at..at + LARGE_BYTES].copy_from_slice(&large.to_le_bytes());
        }
        let mut target = entry;
        if image.len() > usize::from(units) * UNIT || former < states {
            // An eighth more than needed: a value that grows byte by byte does not move at every write.
            let bytes = (image.len() + image.len() / 8).next_multiple_of(UNIT);
            target = self.allocate(bytes);
            units = (bytes / UNIT) as u16;
            self.release(entry);
        }
        let head = head & !(u32::from(UNITS) << 16) | u32::from(units) << 16;
        image[4..8].copy_from_slice(&head.to_le_bytes());
        self.block_mut(target)[..image.len()].copy_from_slice(&image);
        target
    }

    fn insert_large(&mut self, value: &[u8]) -> u32 {
        self.large_bytes += value.len();
        match self.large_free.pop() {
            Some(free) => {
                self.large[free as usize] = value.into();
                free
            }
            None => {
                self.large.push(value.into());
                self.large.len() as u32 - 1
            }
        }
    }

    /// Gives back what a state keeps outside of its entry; the cell is then an empty absent value.
    fn free_large(&mut self, entry: EntryRef, state: usize) {
        let states = self.states_of(entry);
        if state >= states {
            return;
        }
        let block = self.block_of(entry);
        let cells = HEADER + key_len(block);
        if u16_at(block, cells + state * CELL + 2) != LARGE {
            return;
        }
        let start = (0..state)
            .fold(cells + states * CELL, |start, before| start + stored_len(u16_at(block, cells + before * CELL + 2)));
        let handle = u32_at(block, start);
        let value = std::mem::take(&mut self.large[handle as usize]);
        self.large_bytes -= value.len();
        self.large_free.push(handle);
        // The cell keeps its 4 bytes as a value of length 4 that the caller overwrites or frees.
        self.block_mut(entry)[cells + state * CELL + 2..][..2].copy_from_slice(&(LARGE_BYTES as u16).to_le_bytes());
    }
}

fn map(bytes: usize) -> MmapMut {
    MmapMut::map_anon(bytes).expect("the system gives memory, as for any other allocation")
}

#[inline]
fn stored_len(len: u16) -> usize {
    if len == LARGE { LARGE_BYTES } else { usize::from(len) }
}

/// Copies a value that is usually short without calling `memcpy`.
#[inline(always)]
fn copy_short(to: &mut [u8], from: &[u8]) {
    debug_assert_eq!(to.len(), from.len());
    let len = from.len();
    if let (8..=16, Some(head), Some(tail)) = (len, from.first_chunk::<8>(), from.last_chunk::<8>()) {
        to[..8].copy_from_slice(head);
        to[len - 8..].copy_from_slice(tail);
    } else if let (4..8, Some(head), Some(tail)) = (len, from.first_chunk::<4>(), from.last_chunk::<4>()) {
        to[..4].copy_from_slice(head);
        to[len - 4..].copy_from_slice(tail);
    } else if len < 4 {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    } else {
        to.copy_from_slice(from);
    }
}
