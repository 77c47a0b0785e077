//! Opens a segment by its footer.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    BLOCK_BYTES_MAX, BLOCK_FACTS, FOOTER_HEAD, FORMAT_VERSION, KEY_GROUP_FACTS, LABEL_FACTS, Label, LabelCount, MAGIC,
    ReadAt, SegmentCursor, SegmentError, SegmentFacts, SegmentProblem, TRAILER,
};

/// What is asked of the source at once, at least: an object store answers every request late, whatever its size.
pub(super) const WINDOW_BYTES: u64 = 384 << 10;

/// A segment of which the footer was read and is as its facts say.
#[derive(Clone, Debug)]
pub struct SegmentReader<S> {
    source: S,
    index: Arc<Index>,
    window: Window,
}

/// What the footer says of the blocks.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) blocks: Vec<Block>,
    /// Key groups and the numbers of the blocks with their first entries, both ascending.
    pub(super) key_groups: Vec<(u16, u32)>,
    pub(super) entries: u64,
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) start: u64,
    pub(super) stored: u32,
    pub(super) raw: u32,
    pub(super) checksum: u64,
}

/// Bytes of the file that have been read.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    pub(super) start: u64,
    pub(super) bytes: Bytes,
}

impl Window {
    pub(super) fn get(&self, range: Range<u64>) -> Option<Bytes> {
        let start = range.start.checked_sub(self.start)?;
        let end = range.end - self.start;
        (end <= self.bytes.len() as u64).then(|| self.bytes.slice(start as usize..end as usize))
    }
}

impl<S: ReadAt> SegmentReader<S> {
    /// Reads the footer.
    ///
    /// # Errors
    /// When the file is not there, or is not the one that the facts are of.
    pub fn open(source: S, expected: &SegmentFacts) -> Result<Self, SegmentError> {
        Self::read_footer(&source, expected)
            .map_err(|problem| {
                // A file that was cut fails in many ways: that it was cut says more.
                let problem = match (&problem, source.size()) {
                    (SegmentProblem::Storage(_) | SegmentProblem::Corrupt { .. }, Ok(found))
                        if found != expected.bytes =>
                    {
                        SegmentProblem::Length { expected: expected.bytes, found }
                    }
                    _ => problem,
                };
                SegmentError { name: source.name(), problem }
            })
            .map(|(index, window)| Self { source, index: Arc::new(index), window })
    }

    fn read_footer(source: &S, expected: &SegmentFacts) -> Result<(Index, Window), SegmentProblem> {
        let bytes = expected.bytes;
        let corrupt = |at, what| SegmentProblem::Corrupt { at, what };
        let read = |range: Range<u64>| {
            let read = source.read_at(range.clone()).map_err(SegmentProblem::Storage)?;
            match read.len() as u64 == range.end - range.start {
                true => Ok(Window { start: range.start, bytes: read }),
                false => Err(corrupt(range.start, "it ends too early")),
            }
        };
        let trailer_at = bytes.checked_sub(TRAILER as u64).ok_or(corrupt(0, "it is too short for a segment"))?;
        let mut window = read(bytes.saturating_sub(WINDOW_BYTES)..bytes)?;
        let trailer = window.get(trailer_at..bytes).ok_or(corrupt(trailer_at, "it ends too early"))?;
        let mut fields = Fields(&trailer);
        let (length, version, checksum) = (fields.u32(), fields.u32(), fields.u64());
        if fields.0 != MAGIC {
            return Err(corrupt(trailer_at, "it does not end as a segment does"));
        }
        let footer_at = trailer_at.checked_sub(length.into()).ok_or(corrupt(trailer_at, "its footer has no room"))?;
        if footer_at < window.start {
            window = read(footer_at..bytes)?;
        }
        let checked = window.get(footer_at..trailer_at + 8).ok_or(corrupt(footer_at, "it ends too early"))?;
        if checksum != expected.checksum || xxh3_64(&checked) != checksum {
            return Err(corrupt(footer_at, "its footer is not the one that was written"));
        }
        if version > FORMAT_VERSION {
            return Err(SegmentProblem::Newer(version));
        }
        if version == 0 {
            return Err(corrupt(trailer_at, "there never was a format version 0"));
        }
        let index = Index::decode(&checked[..checked.len() - 8], footer_at, expected);
        Ok((index.map_err(|what| corrupt(footer_at, what))?, window))
    }

    /// The entries of a range of key groups.
    pub fn range(&self, key_groups: Range<u32>) -> SegmentCursor<S> {
        let first = self.index.key_groups.partition_point(|(group, _)| u32::from(*group) < key_groups.start);
        let after = self.index.key_groups.partition_point(|(group, _)| u32::from(*group) < key_groups.end);
        // The block in which the first key group behind the range begins may begin with entries of the range; the one after it can't.
        let blocks = match self.index.key_groups.get(first..after) {
            Some([(_, block), ..]) => {
                let end =
                    self.index.key_groups.get(after).map_or(self.index.blocks.len(), |(_, end)| *end as usize + 1);
                *block as usize..end
            }
            _ => 0..0,
        };
        SegmentCursor::new(self.source.clone(), Arc::clone(&self.index), self.window.clone(), key_groups, blocks)
    }
}

impl Index {
    fn decode(footer: &[u8], footer_at: u64, expected: &SegmentFacts) -> Result<Self, &'static str> {
        const OTHER: &str = "its footer does not say what the manifest says";
        if footer.len() < FOOTER_HEAD {
            return Err("its footer is too short");
        }
        let mut fields = Fields(footer);
        let [blocks, key_groups, labels] = [fields.u32(), fields.u32(), fields.u32()].map(|number| number as usize);
        let (entries, raw_bytes) = (fields.u64(), fields.u64());
        let needed = [(blocks, BLOCK_FACTS), (key_groups, KEY_GROUP_FACTS), (labels, LABEL_FACTS)];
        let needed: u64 = needed.iter().map(|(number, bytes)| *number as u64 * *bytes as u64).sum();
        if needed != fields.0.len() as u64 {
            return Err("its footer does not have the length that it needs");
        }
        if (entries, raw_bytes) != (expected.entries, expected.raw_bytes) {
            return Err(OTHER);
        }
        let mut start = 0;
        let blocks: Vec<_> = (0..blocks)
            .map(|_| {
                let (stored, raw, checksum) = (fields.u32(), fields.u32(), fields.u64());
                let block = Block { start, stored, raw, checksum };
                start += u64::from(stored);
                block
            })
            .collect();
        let possible =
            |block: &Block| 0 < block.stored && block.stored <= block.raw && block.raw as usize <= BLOCK_BYTES_MAX;
        if !blocks.iter().all(possible)
            || start != footer_at
            || blocks.iter().map(|block| u64::from(block.raw)).sum::<u64>() != raw_bytes
        {
            return Err("its blocks have lengths that can't be");
        }
        let key_groups: Vec<_> = (0..key_groups).map(|_| (fields.u16(), fields.u32())).collect();
        let ascend = key_groups.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1);
        if !ascend || key_groups.iter().any(|(_, block)| *block as usize >= blocks.len()) {
            return Err("its key groups are not in order");
        }
        let range = match (key_groups.first(), key_groups.last()) {
            (Some((first, _)), Some((last, _))) => u32::from(*first)..u32::from(*last) + 1,
            _ => 0..0,
        };
        let labels: Vec<_> = (0..labels)
            .map(|_| {
                let label = Label { state: fields.u16(), version: fields.u16() };
                LabelCount { label, entries: fields.u64(), bytes: fields.u64() }
            })
            .collect();
        if range != expected.key_groups || labels != expected.labels {
            return Err(OTHER);
        }
        Ok(Self { blocks, key_groups, entries })
    }
}

/// Takes integers off bytes of which the length was checked; beyond the end they are 0.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((taken, rest)) => {
                self.0 = rest;
                *taken
            }
            None => [0; N],
        }
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
}
