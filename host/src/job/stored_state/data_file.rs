//! The file with the state of one task: stored keys and values in ascending order of the keys.
//!
//! Frozen, as what lies within is (the module `stored` of the room `state`). All integers are big-endian:
//!
//! ```text
//! file     | "wasmillS" | format version u32 | block | … | end block |
//! block    | payload length u32 | entries u32, not 0 | payload | checksum u64 |
//! payload  | key length u32 | value length u32 | stored key | stored value | …
//! end      | 8 u32 | 0 u32 | entries of the file u64 | checksum u64 |
//! ```
//!
//! - A checksum is the XXH3-64 of all of its block before it, seeded with the checksum of the block before (the first one with 0). So blocks can't be left out, exchanged or put in
//!   another order unnoticed, and the last checksum stands for the whole file.
//! - A block is closed when it has 64 KiB, and holds whole entries only. A reader allocates no more than the largest entry needs, whatever the bytes say.
//!
//! Blocks are not compressed and there is no index: segments of checkpoints have both.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    error::{StoredStateError, StoredStateProblem},
    format::DUMP_VERSION,
};
use crate::state::STORED_KEY_BYTES_MAX;

const MAGIC: &[u8; 8] = b"wasmillS";
/// A block that has so many bytes is closed.
const BLOCK_BYTES: usize = 64 << 10;
/// The most that a stored value has: a value has at most 16 MiB, and its head a few bytes.
const VALUE_BYTES_MAX: usize = (16 << 20) + 64;
/// The most that a payload has: one entry begins below [`BLOCK_BYTES`].
const PAYLOAD_BYTES_MAX: usize = BLOCK_BYTES + 8 + STORED_KEY_BYTES_MAX + VALUE_BYTES_MAX;
/// Of the file: magic and version.
const FILE_HEAD: usize = MAGIC.len() + 4;
/// Of a block: length and entries.
const HEAD: usize = 8;

/// What a manifest says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::job) struct FileFacts {
    pub(in crate::job) bytes: u64,
    pub(in crate::job) entries: u64,
    pub(in crate::job) checksum: u64,
}

/// Writes a file.
pub(in crate::job) struct DataFileWriter {
    path: PathBuf,
    file: BufWriter<File>,
    block: Vec<u8>,
    block_entries: u32,
    facts: FileFacts,
}

impl DataFileWriter {
    /// Makes a file that must not be there.
    pub(in crate::job) fn create(path: &Path) -> io::Result<Self> {
        let in_file = |error| named(path, &error);
        let mut file = BufWriter::new(File::create_new(path).map_err(in_file)?);
        file.write_all(MAGIC).and_then(|()| file.write_all(&DUMP_VERSION.to_be_bytes())).map_err(in_file)?;
        let facts = FileFacts { bytes: FILE_HEAD as u64, entries: 0, checksum: 0 };
        Ok(Self { path: path.to_owned(), file, block: vec![0; HEAD], block_entries: 0, facts })
    }

    /// Appends an entry, of which the key is above the one before.
    pub(in crate::job) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if key.len() > STORED_KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            let text = format!("an entry has {} and {} bytes, more than is ever stored", key.len(), value.len());
            return Err(named(&self.path, &io::Error::other(text)));
        }
        self.block.extend_from_slice(&(key.len() as u32).to_be_bytes());
        self.block.extend_from_slice(&(value.len() as u32).to_be_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        self.block_entries += 1;
        self.facts.entries += 1;
        if self.block.len() - HEAD >= BLOCK_BYTES { self.close_block() } else { Ok(()) }
    }

    fn close_block(&mut self) -> io::Result<()> {
        let payload = (self.block.len() - HEAD) as u32;
        self.block[..4].copy_from_slice(&payload.to_be_bytes());
        self.block[4..HEAD].copy_from_slice(&self.block_entries.to_be_bytes());
        self.facts.checksum = xxh3_64_with_seed(&self.block, self.facts.checksum);
        self.block.extend_from_slice(&self.facts.checksum.to_be_bytes());
        self.facts.bytes += self.block.len() as u64;
        self.file.write_all(&self.block).map_err(|error| named(&self.path, &error))?;
        self.block.truncate(HEAD);
        self.block_entries = 0;
        Ok(())
    }

    /// Writes the end, down to the disk.
    pub(in crate::job) fn finish(&mut self) -> io::Result<FileFacts> {
        if self.block_entries > 0 {
            self.close_block()?;
        }
        self.block.extend_from_slice(&self.facts.entries.to_be_bytes());
        self.close_block()?;
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(|error| named(&self.path, &error))?;
        Ok(self.facts)
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Reads a file from its beginning to its end.
#[derive(Debug)]
pub(in crate::job) struct DataFileReader {
    path: PathBuf,
    file: BufReader<File>,
    expected: FileFacts,
    /// The payload of the block, and its checksum.
    block: Vec<u8>,
    /// How far the block is read, and how many of its entries are left.
    at: usize,
    left: u32,
    /// Where the key of the last entry begins and ends in the block; its value ends at `at`.
    entry: Option<(usize, usize)>,
    /// Where the block begins and where the next one does, in the file.
    block_at: u64,
    next_block: u64,
    checksum: u64,
    entries: u64,
    last_key: Vec<u8>,
    ended: bool,
}

impl DataFileReader {
    /// Opens a file that must have the length that is expected.
    pub(in crate::job) fn open(path: &Path, expected: FileFacts) -> Result<Self, StoredStateError> {
        let failed = |problem| StoredStateError { path: path.to_owned(), problem };
        let file = File::open(path).map_err(|error| {
            failed(match error.kind() {
                io::ErrorKind::NotFound => StoredStateProblem::Missing,
                _ => StoredStateProblem::Io(error),
            })
        })?;
        let found = file.metadata().map_err(|error| failed(StoredStateProblem::Io(error)))?.len();
        if found != expected.bytes {
            return Err(failed(StoredStateProblem::Length { expected: expected.bytes, found }));
        }
        let mut reader = Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(BLOCK_BYTES, file),
            expected,
            block: Vec::new(),
            at: 0,
            left: 0,
            entry: None,
            block_at: 0,
            next_block: FILE_HEAD as u64,
            checksum: 0,
            entries: 0,
            last_key: Vec::new(),
            ended: false,
        };
        let mut head = [0; FILE_HEAD];
        reader.fill(&mut head)?;
        let (magic, version) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(reader.corrupt("it does not begin as a file with state does"));
        }
        match u32::from_be_bytes(version.try_into().expect("4 bytes")) {
            DUMP_VERSION => Ok(reader),
            newer if newer > DUMP_VERSION => {
                Err(failed(StoredStateProblem::Newer { found: newer.into(), latest: DUMP_VERSION }))
            }
            other => Err(reader.corrupt(&format!("there never was a format version {other}"))),
        }
    }

    /// Goes on to the next entry, which [`Self::last`] lends then. False at the end, which was checked then.
    pub(in crate::job) fn advance(&mut self) -> Result<bool, StoredStateError> {
        if self.left == 0 && !self.ended {
            self.read_block()?;
        }
        if self.ended {
            self.entry = None;
            return Ok(false);
        }
        let length = |at: usize| {
            let bytes = self.block.get(at..at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
        };
        let key_start = self.at + 8;
        let ends =
            length(self.at).zip(length(self.at + 4)).map(|(key, value)| (key_start + key, key_start + key + value));
        let Some((key_end, end)) = ends.filter(|(_, end)| *end <= self.block.len()) else {
            return Err(self.corrupt("an entry is longer than its block"));
        };
        let key = &self.block[key_start..key_end];
        if self.entries > 0 && *key <= self.last_key[..] {
            return Err(self.corrupt("the keys are not in order"));
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        (self.entries, self.left, self.at) = (self.entries + 1, self.left - 1, end);
        self.entry = Some((key_start, key_end));
        if self.left == 0 && end != self.block.len() {
            return Err(self.corrupt("bytes follow the last entry of a block"));
        }
        Ok(true)
    }

    /// The stored key and the stored value of the entry that was read last; empty where there is none.
    pub(in crate::job) fn last(&self) -> (&[u8], &[u8]) {
        let (start, end) = self.entry.unwrap_or((self.at, self.at));
        (&self.block[start..end], &self.block[end..self.at])
    }

    fn read_block(&mut self) -> Result<(), StoredStateError> {
        self.block_at = self.next_block;
        let mut head = [0; HEAD];
        self.fill(&mut head)?;
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (payload, entries) = (number(0) as usize, number(4));
        let behind = self.block_at + (HEAD + payload + 8) as u64;
        if payload > PAYLOAD_BYTES_MAX || behind > self.expected.bytes {
            return Err(self.corrupt("a block is longer than can be"));
        }
        self.block.clear();
        self.block.resize(HEAD + payload, 0);
        self.block[..HEAD].copy_from_slice(&head);
        let mut block = std::mem::take(&mut self.block);
        let mut checksum = [0; 8];
        let filled = self.fill(&mut block[HEAD..]).and_then(|()| self.fill(&mut checksum));
        self.block = block;
        filled?;
        self.checksum = xxh3_64_with_seed(&self.block, self.checksum);
        if self.checksum.to_be_bytes() != checksum {
            return Err(self.corrupt("a block does not have its checksum"));
        }
        (self.at, self.left, self.next_block) = (HEAD, entries, behind);
        if entries == 0 { self.end(payload) } else { Ok(()) }
    }

    fn end(&mut self, payload: usize) -> Result<(), StoredStateError> {
        let FileFacts { bytes, entries, checksum } = self.expected;
        let told = self.block.get(HEAD..HEAD + 8).map(|bytes| bytes.try_into().map_or(0, u64::from_be_bytes));
        if payload != 8 || told != Some(self.entries) || self.entries != entries {
            return Err(self.corrupt(&format!("it has {} entries where {entries} were written", self.entries)));
        }
        if self.next_block != bytes || self.checksum != checksum {
            return Err(self.corrupt("it is not the file that the manifest was written for"));
        }
        self.ended = true;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), StoredStateError> {
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt("it ends within a block"),
            _ => StoredStateError { path: self.path.clone(), problem: StoredStateProblem::Io(error) },
        })
    }

    /// The error for bytes of the current block that were not written so.
    pub(in crate::job) fn corrupt(&self, what: &str) -> StoredStateError {
        let problem = StoredStateProblem::Corrupt { at: self.block_at, what: what.to_owned() };
        StoredStateError { path: self.path.clone(), problem }
    }
}

#[cfg(test)]
mod tests;
