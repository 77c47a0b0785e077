//! Segments: the immutable files in which keyed state lies, sorted by stored key.
//!
//! Format version 1, frozen; a recorded file under `tests/fixtures` and a golden test hold it fast. Integers are big-endian, a varint is LEB128 of at most 5 bytes:
//!
//! ```text
//! segment    | block | … | footer | trailer |
//! block      | payload: the entries, as they are or compressed with LZ4 (the block format, without a frame) |
//! entry      | shared varint | rest varint | tag varint | label, when the tag says so | rest of the stored key | value, when the tag says so |
//! tag        | (0: tombstone, 1: cleared, n + 2: a value of n bytes) << 1 | 1 when a label follows |
//! label      | state u16 | schema version u16 |
//!
//! footer     | blocks u32 | key groups u32 | labels u32 | entries u64 | raw bytes u64 | of a block … | of a key group … | of a label … |
//! of a block | stored bytes u32 | raw bytes u32 | checksum u64 |
//! of a key group | key group u16 | number of the block with its first entry u32 |
//! of a label | state u16 | schema version u16 | entries u64 | bytes of keys and values u64 |
//!
//! trailer    | footer bytes u32 | format version u32 | checksum u64 | "wasmillG" |
//! ```
//!
//! - Entries ascend by stored key, and each stored key is there once; but under a key that is cleared, a value may follow. A stored key begins with its key group as a u16; nothing
//!   else of it is known here.
//! - A key shares its first `shared` bytes with the key before; in the first entry of a block that is 0, so every block can be read alone. An entry without a label has that of
//!   the entry before; the first of a block has one.
//! - A block is closed as soon as it has 64 KiB raw, and holds whole entries. It is stored as it is where compressing does not make it smaller: then both its lengths are the same.
//! - A block's checksum is the XXH3-64 of its stored bytes, and lies in the footer, not in the block. The trailer's checksum is the XXH3-64 of footer, footer length and version, and
//!   stands in the manifest. So it stands for the whole file: no block can be changed, left out, exchanged or taken from another file unnoticed, whichever blocks are read.
//! - The trailer keeps its form in all versions, so that a reader can tell a newer file from a damaged one.
//!
//! A reader checks every byte before it looks at it, and allocates no more than the file is long, and for a block no more than its largest entry asks for.

mod cursor;
mod error;
mod reader;
mod source;
mod writer;

pub use cursor::SegmentCursor;
pub use error::{RefusedEntry, SegmentError, SegmentProblem};
pub use reader::SegmentReader;
pub use source::{InMemory, ReadAt};
pub use writer::SegmentWriter;

use std::ops::Range;

/// Raw bytes at which a segment should be closed and another one begun: what a writer holds in memory, and what is lost when an upload fails.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a stored key.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// Bytes of a value.
pub const VALUE_BYTES_MAX: usize = 32 << 20;

/// The version that is written.
const FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"wasmillG";
/// A block that has so many raw bytes is closed.
const BLOCK_BYTES: usize = 64 << 10;
/// The most that an entry has before its key and value: three varints and a label.
const ENTRY_HEAD_MAX: usize = 3 * 5 + 4;
/// The most raw bytes that a block has: an entry begins below [`BLOCK_BYTES`].
const BLOCK_BYTES_MAX: usize = BLOCK_BYTES + ENTRY_HEAD_MAX + KEY_BYTES_MAX + VALUE_BYTES_MAX;
/// Bytes of the footer's fixed part, and of each thing in it.
const FOOTER_HEAD: usize = 28;
const BLOCK_FACTS: usize = 16;
const KEY_GROUP_FACTS: usize = 6;
const LABEL_FACTS: usize = 20;
const TRAILER: usize = 24;

/// What lies under a stored key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// These bytes.
    Value(&'a [u8]),
    /// Nothing any more: what older segments say of the key is void.
    Tombstone,
    /// Nothing any more under every key that begins with this one, as far as older segments say so. What this segment or a newer one says of such keys holds; so a value of this
    /// very key may follow.
    Cleared,
}

impl Entry<'_> {
    /// Bytes of the value; 0 for a mark.
    pub fn value_bytes(&self) -> usize {
        match self {
            Entry::Value(value) => value.len(),
            Entry::Tombstone | Entry::Cleared => 0,
        }
    }
}

/// What entries are counted by: whoever writes them gives it, and it means nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// The id of the state.
    pub state: u16,
    /// The version of the schema of the value; 0 for a mark, which has none.
    pub version: u16,
}

/// How much there is under a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelCount {
    /// The label.
    pub label: Label,
    /// Entries, marks included.
    pub entries: u64,
    /// Bytes of their stored keys and values.
    pub bytes: u64,
}

/// What is known of a segment without reading it: a manifest holds this, and a reader holds the file to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Bytes of the file.
    pub bytes: u64,
    /// The checksum that stands for the whole file.
    pub checksum: u64,
    /// Entries, marks included.
    pub entries: u64,
    /// From the first key group with an entry to behind the last one; `0..0` where there is no entry.
    pub key_groups: Range<u32>,
    /// Bytes of all blocks before they were compressed.
    pub raw_bytes: u64,
    /// How much there is under each label, ascending.
    pub labels: Vec<LabelCount>,
}

#[cfg(test)]
mod tests;
