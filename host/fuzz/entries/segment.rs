//! Bytes as a segment: read as they are, and with all checksums put right.

use bytes::Bytes;
use wasmill::checkpoint::{Entry, InMemory, Label, LabelCount, SegmentFacts, SegmentReader};
use xxhash_rust::xxh3::xxh3_64;

const HEAD: usize = 28;
const TRAILER: usize = 24;

/// Reads bytes as a segment.
pub(crate) fn feed(bytes: &[u8]) {
    let mut mended = bytes.to_vec();
    if let Some(facts) = mend(&mut mended) {
        read(&mended, &facts);
        // What was not put right is refused, or what it says of itself is all that there is.
        read(bytes, &facts);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Puts checksums, version and magic right, and gives the facts that the footer claims. None: there is no room for a footer.
fn mend(bytes: &mut [u8]) -> Option<SegmentFacts> {
    let trailer = bytes.len().checked_sub(TRAILER)?;
    let footer = trailer.checked_sub(u32_at(bytes, trailer)? as usize)?;
    let [blocks, groups, labels] = [0, 4, 8].map(|at| u32_at(&bytes[footer..trailer], at));
    let (blocks, groups, labels) = (blocks? as usize, groups? as usize, labels? as usize);
    let (entries, raw_bytes) = (u64_at(&bytes[footer..trailer], 12)?, u64_at(&bytes[footer..trailer], 20)?);
    let (groups_at, labels_at) = (HEAD + blocks.checked_mul(16)?, HEAD + blocks * 16 + groups.checked_mul(6)?);
    if footer.checked_add(labels_at.checked_add(labels.checked_mul(20)?)?)? > trailer {
        return None;
    }
    let mut start = 0_usize;
    for block in 0..blocks {
        let at = footer + HEAD + block * 16;
        let stored = u32_at(bytes, at)? as usize;
        let end = start.checked_add(stored)?;
        if let Some(block) = bytes.get(start..end.min(footer)) {
            let checksum = xxh3_64(block);
            bytes[at + 8..at + 16].copy_from_slice(&checksum.to_be_bytes());
        }
        start = end;
    }
    bytes[trailer + 4..trailer + 8].copy_from_slice(&1_u32.to_be_bytes());
    let checksum = xxh3_64(&bytes[footer..trailer + 8]);
    bytes[trailer + 8..trailer + 16].copy_from_slice(&checksum.to_be_bytes());
    bytes[trailer + 16..].copy_from_slice(b"wasmillG");
    let group = |number: usize| u16_at(&bytes[footer..trailer], groups_at + number * 6).map(u32::from);
    let key_groups = if groups == 0 { 0..0 } else { group(0)?..group(groups - 1)? + 1 };
    let label = |number: usize| {
        let at = footer + labels_at + number * 20;
        let label = Label { state: u16_at(bytes, at)?, version: u16_at(bytes, at + 2)? };
        Some(LabelCount { label, entries: u64_at(bytes, at + 4)?, bytes: u64_at(bytes, at + 12)? })
    };
    Some(SegmentFacts {
        bytes: bytes.len() as u64,
        checksum,
        entries,
        key_groups,
        raw_bytes,
        labels: (0..labels).map(label).collect::<Option<_>>()?,
    })
}

/// Reads all of it, and a part. Keys ascend, and belong to the range.
fn read(bytes: &[u8], facts: &SegmentFacts) {
    let source = InMemory { name: "fuzzed".to_owned(), bytes: Bytes::copy_from_slice(bytes) };
    let Ok(reader) = SegmentReader::open(source, facts) else { return };
    for range in [0..1 << 16, facts.key_groups.end / 2..facts.key_groups.end] {
        let mut cursor = reader.range(range.clone());
        let (mut last, mut was_cleared) = (Vec::new(), false);
        while let Ok(true) = cursor.advance() {
            let group = u16_at(cursor.key(), 0).expect("a key has a key group");
            assert!(range.contains(&u32::from(group)), "a key of another range");
            let is_value = matches!(cursor.entry(), Entry::Value(_));
            assert!(*last < *cursor.key() || was_cleared && is_value && *last == *cursor.key(), "keys do not ascend");
            was_cleared = cursor.entry() == Entry::Cleared;
            last = cursor.key().to_vec();
        }
    }
}
