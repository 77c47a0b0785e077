//! Goes through the entries of a segment, ascending, block by block.

use std::{ops::Range, sync::Arc};

use lz4_flex::block::decompress_into;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Entry, KEY_BYTES_MAX, Label, ReadAt, SegmentError, SegmentProblem,
    reader::{Index, WINDOW_BYTES, Window},
};

/// Lends one entry after the other.
#[derive(Debug)]
pub struct SegmentCursor<S> {
    source: S,
    index: Arc<Index>,
    window: Window,
    key_groups: Range<u32>,
    /// Numbers of the blocks that are still to be read.
    blocks: Range<usize>,
    /// The block that is read now, raw; where it begins in the file; how far it is read.
    block: Vec<u8>,
    block_at: u64,
    at: usize,
    key: Vec<u8>,
    what: What,
    label: Label,
    /// Entries that were read, when all of the segment is read and they can be compared at the end.
    counted: Option<u64>,
}

/// What the last entry is; of a value, where it lies in the block.
#[derive(Clone, Debug)]
enum What {
    Value(Range<usize>),
    Tombstone,
    Cleared,
}

impl<S: ReadAt> SegmentCursor<S> {
    pub(super) fn new(
        source: S,
        index: Arc<Index>,
        window: Window,
        key_groups: Range<u32>,
        blocks: Range<usize>,
    ) -> Self {
        let first = index.key_groups.first().map_or(0, |(group, _)| u32::from(*group));
        let behind = index.key_groups.last().map_or(0, |(group, _)| u32::from(*group) + 1);
        let whole = key_groups.start <= first && behind <= key_groups.end;
        Self {
            source,
            index,
            window,
            key_groups,
            blocks,
            block: Vec::new(),
            block_at: 0,
            at: 0,
            key: Vec::new(),
            what: What::Tombstone,
            label: Label::default(),
            counted: whole.then_some(0),
        }
    }

    /// Goes on to the next entry; false at the end. After an error or the end there is no way on.
    ///
    /// # Errors
    /// When the file can't be read, or its bytes are not those that were written.
    #[inline]
    pub fn advance(&mut self) -> Result<bool, SegmentError> {
        match self.step() {
            Ok(going) => Ok(going),
            Err(problem) => {
                self.end();
                Err(SegmentError { name: self.source.name(), problem })
            }
        }
    }

    /// The stored key of the entry that was reached last.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What lies under [`Self::key`].
    #[inline]
    pub fn entry(&self) -> Entry<'_> {
        match &self.what {
            What::Value(place) => Entry::Value(&self.block[place.clone()]),
            What::Tombstone => Entry::Tombstone,
            What::Cleared => Entry::Cleared,
        }
    }

    /// The label of the entry.
    #[inline]
    pub fn label(&self) -> Label {
        self.label
    }

    fn end(&mut self) {
        (self.blocks, self.at, self.what) = (0..0, 0, What::Tombstone);
        self.block.clear();
        self.counted = None;
    }

    #[inline]
    fn step(&mut self) -> Result<bool, SegmentProblem> {
        loop {
            let first_of_block = self.at == self.block.len();
            if first_of_block && !self.read_block()? {
                return Ok(false);
            }
            let at = self.block_at;
            (self.at, self.what) = self.decode(first_of_block).map_err(|what| SegmentProblem::Corrupt { at, what })?;
            if let Some(counted) = &mut self.counted {
                *counted += 1;
            }
            let Some(group) = self.key.first_chunk().map(|group| u32::from(u16::from_be_bytes(*group))) else {
                return Err(SegmentProblem::Corrupt { at, what: "a stored key has no key group" });
            };
            if self.key_groups.contains(&group) {
                return Ok(true);
            }
            if group >= self.key_groups.end {
                self.end();
                return Ok(false);
            }
        }
    }

    /// Takes the next entry off the block: its key and label are set, where it ends and what it is are given.
    #[inline]
    fn decode(&mut self, first_of_block: bool) -> Result<(usize, What), &'static str> {
        const LONGER: &str = "an entry is longer than its block";
        let mut at = self.at;
        let shared = take_varint(&self.block, &mut at).ok_or(LONGER)? as usize;
        let rest = take_varint(&self.block, &mut at).ok_or(LONGER)? as usize;
        let tag = take_varint(&self.block, &mut at).ok_or(LONGER)?;
        if tag & 1 == 1 {
            let Some([state, state_low, version, version_low]) = self.block[at..].first_chunk() else {
                return Err(LONGER);
            };
            self.label.state = u16::from_be_bytes([*state, *state_low]);
            self.label.version = u16::from_be_bytes([*version, *version_low]);
            at += 4;
        } else if first_of_block {
            return Err("the first entry of a block has no label");
        }
        let value_at = at + rest;
        let Some(added) = self.block.get(at..value_at) else { return Err(LONGER) };
        let what = match tag >> 1 {
            0 => What::Tombstone,
            1 => What::Cleared,
            length => What::Value(value_at..value_at + length as usize - 2),
        };
        let ascends = match first_of_block {
            true => shared == 0 && (*added > self.key[..] || self.is_value_of_cleared(&what, added)),
            // The first byte that is not shared is above the one of the key before, if that has one.
            false if rest > 0 => shared <= self.key.len() && added.first() > self.key.get(shared),
            false => shared == self.key.len() && self.is_value_of_cleared(&what, &self.key),
        };
        if !ascends || shared + rest > KEY_BYTES_MAX {
            return Err("the stored keys are not in order");
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(added);
        let end = if let What::Value(place) = &what { place.end } else { value_at };
        if end > self.block.len() { Err(LONGER) } else { Ok((end, what)) }
    }

    /// Whether this is the value of a key that the last entry cleared.
    fn is_value_of_cleared(&self, what: &What, key: &[u8]) -> bool {
        matches!((&self.what, what), (What::Cleared, What::Value(_))) && self.key == key
    }

    /// Reads the next block; false where there is none.
    fn read_block(&mut self) -> Result<bool, SegmentProblem> {
        let Some(number) = self.blocks.next() else {
            let counted = self.counted.take();
            self.end();
            return match counted.is_some_and(|counted| counted != self.index.entries) {
                true => Err(SegmentProblem::Corrupt { at: self.block_at, what: "it does not have all its entries" }),
                false => Ok(false),
            };
        };
        let block = &self.index.blocks[number];
        let (start, end) = (block.start, block.start + u64::from(block.stored));
        self.block_at = start;
        let corrupt = |what| SegmentProblem::Corrupt { at: start, what };
        let stored = match self.window.get(start..end) {
            Some(stored) => stored,
            None => {
                // No further than the range goes.
                let last = self.index.blocks[number..number + self.blocks.len() + 1].last().unwrap_or(block);
                let until = (start + WINDOW_BYTES).min(last.start + u64::from(last.stored)).max(end);
                let bytes = self.source.read_at(start..until).map_err(SegmentProblem::Storage)?;
                self.window = Window { start, bytes };
                self.window.get(start..end).ok_or(corrupt("it ends within a block"))?
            }
        };
        if xxh3_64(&stored) != block.checksum {
            return Err(corrupt("a block does not have its checksum"));
        }
        let raw = block.raw as usize;
        self.block.resize(raw, 0);
        if stored.len() == raw {
            self.block.copy_from_slice(&stored);
        } else if decompress_into(&stored, &mut self.block).ok() != Some(raw) {
            return Err(corrupt("a block can't be decompressed"));
        }
        self.at = 0;
        Ok(true)
    }
}

/// Takes a varint off the bytes.
#[inline]
fn take_varint(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(u32::from(first));
    }
    let mut number = u32::from(first & 0x7f);
    for shift in [7, 14, 21, 28] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
