//! Writes a segment, in memory. It runs beside the record path: nothing is allocated per entry.

use std::collections::BTreeMap;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    BLOCK_BYTES, BLOCK_FACTS, ENTRY_HEAD_MAX, Entry, FOOTER_HEAD, FORMAT_VERSION, KEY_BYTES_MAX, KEY_GROUP_FACTS,
    LABEL_FACTS, Label, LabelCount, MAGIC, RefusedEntry, SegmentFacts, TRAILER, VALUE_BYTES_MAX,
};

/// Builds the bytes of a segment, entry by entry.
pub struct SegmentWriter {
    /// The blocks that are closed.
    bytes: Vec<u8>,
    /// The block that is open, raw.
    block: Vec<u8>,
    last_key: Vec<u8>,
    /// Whether the last entry says that its key is cleared.
    last_cleared: bool,
    table: CompressTable,
    blocks: Vec<(u32, u32, u64)>,
    /// Key groups and the blocks with their first entries.
    key_groups: Vec<(u16, u32)>,
    entries: u64,
    /// Of the blocks that are closed.
    raw_bytes: u64,
    /// What has been counted of the label that entries have now; the others.
    current: Option<LabelCount>,
    labels: BTreeMap<Label, (u64, u64)>,
}

impl Default for SegmentWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl SegmentWriter {
    /// Begins a segment.
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            block: Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 4),
            last_key: Vec::new(),
            last_cleared: false,
            table: CompressTable::large(),
            blocks: Vec::new(),
            key_groups: Vec::new(),
            entries: 0,
            raw_bytes: 0,
            current: None,
            labels: BTreeMap::new(),
        }
    }

    /// How many bytes there are before compression. From [`SEGMENT_BYTES_MAX`](super::SEGMENT_BYTES_MAX) on the segment should be finished.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes + self.block.len() as u64
    }

    /// How many entries there are.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The stored key of the last entry; empty where there is none. A segment is not to be finished between a cleared mark and the value of its key.
    pub fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// When the stored key is not above the one before (nor is it the value of a key that was just cleared), or key or value have lengths that can't be. Then nothing was appended.
    #[inline]
    pub fn push(&mut self, key: &[u8], entry: Entry<'_>, label: Label) -> Result<(), RefusedEntry> {
        let [high, low, ..] = *key else { return Err(RefusedEntry::Key(key.len())) };
        if key.len() > KEY_BYTES_MAX {
            return Err(RefusedEntry::Key(key.len()));
        }
        let value = match entry {
            Entry::Value(value) => value,
            Entry::Tombstone | Entry::Cleared => &[],
        };
        if value.len() > VALUE_BYTES_MAX {
            return Err(RefusedEntry::Value(value.len()));
        }
        let same = shared_bytes(&self.last_key, key);
        let ascends = match (self.last_key.get(same), key.get(same)) {
            (Some(last), Some(next)) => last < next,
            (None, Some(_)) => true,
            (None, None) => self.last_cleared && matches!(entry, Entry::Value(_)),
            (Some(_), None) => false,
        };
        if !ascends {
            return Err(RefusedEntry::Order);
        }
        if same < 2 {
            self.begin_key_group(u16::from_be_bytes([high, low]));
        }
        let shared = if self.block.is_empty() { 0 } else { same };
        let rest = &key[shared..];
        let labelled = self.count(label, key.len() + value.len()) || self.block.is_empty();
        let what = match entry {
            Entry::Tombstone => 0,
            Entry::Cleared => 1,
            Entry::Value(value) => value.len() as u32 + 2,
        };
        self.block.reserve(ENTRY_HEAD_MAX + rest.len() + value.len());
        push_varint(&mut self.block, shared as u32);
        push_varint(&mut self.block, rest.len() as u32);
        push_varint(&mut self.block, what << 1 | u32::from(labelled));
        if labelled {
            self.block.extend_from_slice(&label.state.to_be_bytes());
            self.block.extend_from_slice(&label.version.to_be_bytes());
        }
        self.block.extend_from_slice(rest);
        self.block.extend_from_slice(value);
        self.last_key.truncate(same);
        self.last_key.extend_from_slice(&key[same..]);
        self.last_cleared = entry == Entry::Cleared;
        self.entries += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.close_block();
        }
        Ok(())
    }

    /// Gives the bytes of the segment, and what is known of them.
    pub fn finish(mut self) -> (Vec<u8>, SegmentFacts) {
        if !self.block.is_empty() {
            self.close_block();
        }
        self.settle();
        let footer = self.bytes.len();
        let things = self.blocks.len() * BLOCK_FACTS + self.key_groups.len() * KEY_GROUP_FACTS;
        self.bytes.reserve(FOOTER_HEAD + things + self.labels.len() * LABEL_FACTS + TRAILER);
        for length in [self.blocks.len(), self.key_groups.len(), self.labels.len()] {
            self.bytes.extend_from_slice(&(length as u32).to_be_bytes());
        }
        self.bytes.extend_from_slice(&self.entries.to_be_bytes());
        self.bytes.extend_from_slice(&self.raw_bytes.to_be_bytes());
        for (stored, raw, checksum) in &self.blocks {
            self.bytes.extend_from_slice(&stored.to_be_bytes());
            self.bytes.extend_from_slice(&raw.to_be_bytes());
            self.bytes.extend_from_slice(&checksum.to_be_bytes());
        }
        for (key_group, block) in &self.key_groups {
            self.bytes.extend_from_slice(&key_group.to_be_bytes());
            self.bytes.extend_from_slice(&block.to_be_bytes());
        }
        for (label, (entries, bytes)) in &self.labels {
            self.bytes.extend_from_slice(&label.state.to_be_bytes());
            self.bytes.extend_from_slice(&label.version.to_be_bytes());
            self.bytes.extend_from_slice(&entries.to_be_bytes());
            self.bytes.extend_from_slice(&bytes.to_be_bytes());
        }
        let footer_bytes = (self.bytes.len() - footer) as u32;
        self.bytes.extend_from_slice(&footer_bytes.to_be_bytes());
        self.bytes.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        let checksum = xxh3_64(&self.bytes[footer..]);
        self.bytes.extend_from_slice(&checksum.to_be_bytes());
        self.bytes.extend_from_slice(MAGIC);
        let key_groups = match (self.key_groups.first(), self.key_groups.last()) {
            (Some((first, _)), Some((last, _))) => u32::from(*first)..u32::from(*last) + 1,
            _ => 0..0,
        };
        let labels = self.labels.iter().map(|(label, (entries, bytes))| LabelCount {
            label: *label,
            entries: *entries,
            bytes: *bytes,
        });
        let facts = SegmentFacts {
            bytes: self.bytes.len() as u64,
            checksum,
            entries: self.entries,
            key_groups,
            raw_bytes: self.raw_bytes,
            labels: labels.collect(),
        };
        (self.bytes, facts)
    }

    fn begin_key_group(&mut self, key_group: u16) {
        if self.key_groups.last().is_none_or(|(last, _)| *last != key_group) {
            self.key_groups.push((key_group, self.blocks.len() as u32));
        }
    }

    /// Counts an entry; true when its label is another one than that of the entry before.
    #[inline]
    fn count(&mut self, label: Label, bytes: usize) -> bool {
        if let Some(current) = self.current.as_mut().filter(|current| current.label == label) {
            current.entries += 1;
            current.bytes += bytes as u64;
            return false;
        }
        self.settle();
        self.current = Some(LabelCount { label, entries: 1, bytes: bytes as u64 });
        true
    }

    /// Adds what was counted of the current label to the others.
    fn settle(&mut self) {
        if let Some(LabelCount { label, entries, bytes }) = self.current.take() {
            let sum = self.labels.entry(label).or_default();
            *sum = (sum.0 + entries, sum.1 + bytes);
        }
    }

    fn close_block(&mut self) {
        let start = self.bytes.len();
        let raw = self.block.len();
        self.bytes.resize(start + get_maximum_output_size(raw), 0);
        let compressed = compress_into_with_table(&self.block, &mut self.bytes[start..], &mut self.table);
        match compressed.ok().filter(|stored| *stored < raw) {
            Some(stored) => self.bytes.truncate(start + stored),
            None => {
                self.bytes.truncate(start);
                self.bytes.extend_from_slice(&self.block);
            }
        }
        let stored = &self.bytes[start..];
        self.blocks.push((stored.len() as u32, raw as u32, xxh3_64(stored)));
        self.raw_bytes += raw as u64;
        self.block.clear();
    }
}

/// How many bytes two keys have in common at their beginnings.
#[inline]
fn shared_bytes(one: &[u8], other: &[u8]) -> usize {
    let length = one.len().min(other.len());
    let mut at = 0;
    while let (Some(one), Some(other)) = (one[at..length].first_chunk::<8>(), other[at..length].first_chunk::<8>()) {
        let differ = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if differ != 0 {
            return at + differ.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + one[at..length].iter().zip(&other[at..length]).take_while(|(one, other)| one == other).count()
}

#[inline]
fn push_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
