//! How far a source has been read: what a checkpoint keeps of it.
//!
//! A source is read in splits, which are numbered from 0 and do not depend on how many tasks there are. Of each split it is known how far the records lie that were
//! given out: [`SplitsRead`]. Tasks say what they have read since the source was opened; merged with what was read before, that is the source's
//! [`SourcePosition`], from which it can be opened again at another parallelism.
//!
//! A manifest holds a position as JSON that a person can read. It is frozen by the manifest's version:
//!
//! ```json
//! {
//!   "files": [{ "path": "/data/a.txt", "bytes": 50000000, "modified-ms": 1763654400000, "compression": "none" }],
//!   "split-bytes": 16777216,
//!   "splits": { "done": [{ "from": 0, "until": 2 }], "reading": [{ "split": 2, "offset": 33554500 }] }
//! }
//! ```
//!
//! A path that is not UTF-8 is written as `path-hex`, its bytes in hexadecimal digits.
//!
//! Invariant of [`SplitsRead`]: `done` is sorted, and its ranges neither overlap nor touch nor are empty; `reading` is sorted, with one entry for a split and none for
//! one that is done.

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    ffi::OsString,
    fmt::Write,
    ops::Range,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Codec, ConnectorError};

/// How far the splits of a source have been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SplitsRead {
    /// Numbers of the splits that were read to their end: sorted, disjoint, merged.
    pub done: Vec<Range<u64>>,
    /// Those that were read in part, by number.
    pub reading: Vec<SplitOffset>,
}

/// How far one split has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitOffset {
    /// The split's number.
    pub split: u64,
    /// Where the first record lies that was not given out: for files, a byte offset in the (uncompressed) file; else the number of records given out.
    pub offset: u64,
}

/// A file as it was when it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// Its size in bytes, compressed. What is appended later is not read.
    pub bytes: u64,
    /// When it was changed last, in milliseconds since the Unix epoch.
    pub modified_ms: i64,
    /// How it is compressed.
    pub compression: Codec,
}

/// What a source needs to go on exactly where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourcePosition {
    /// The files that are read, in the order of their splits. Empty for sources of other kinds.
    pub files: Vec<SourceFile>,
    /// How long a split is, in bytes; 0 where splits are no ranges of bytes.
    pub split_bytes: u64,
    /// What was read.
    pub splits: SplitsRead,
}

impl SplitsRead {
    /// Adds what was read elsewhere or later: a split is as far as the one of both that got further.
    pub fn merge(&mut self, other: Self) {
        self.done.extend(other.done);
        self.reading.extend(other.reading);
        self.done.retain(|range| !range.is_empty());
        self.done.sort_by_key(|range| range.start);
        self.done.dedup_by(|next, range| {
            let meet = next.start <= range.end;
            if meet {
                range.end = range.end.max(next.end);
            }
            meet
        });
        self.reading.sort_by_key(|read| (read.split, Reverse(read.offset)));
        self.reading.dedup_by_key(|read| read.split);
        let done = &self.done;
        self.reading.retain(|read| !contains(done, read.split));
    }

    /// Notes that a split was read to its end.
    pub(super) fn finish(&mut self, split: u64) {
        self.merge(Self { done: std::iter::once(split..split + 1).collect(), reading: Vec::new() });
    }

    /// Whether a split was read to its end.
    pub fn is_done(&self, split: u64) -> bool {
        contains(&self.done, split)
    }

    /// How far a split was read, unless it was not begun or is done.
    pub fn offset_of(&self, split: u64) -> Option<u64> {
        let index = self.reading.binary_search_by_key(&split, |read| read.split).ok()?;
        Some(self.reading[index].offset)
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty() && self.reading.is_empty()
    }
}

fn contains(ranges: &[Range<u64>], split: u64) -> bool {
    let after = ranges.partition_point(|range| range.start <= split);
    ranges[..after].last().is_some_and(|range| range.contains(&split))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredPosition {
    files: Vec<StoredFile>,
    split_bytes: u64,
    splits: StoredSplits,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    bytes: u64,
    modified_ms: i64,
    compression: StoredCodec,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredCodec {
    None,
    Gzip,
    Zstd,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredSplits {
    done: Vec<StoredRange>,
    reading: Vec<StoredOffset>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredRange {
    from: u64,
    until: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredOffset {
    split: u64,
    offset: u64,
}

impl SourcePosition {
    /// The position as a manifest holds it.
    pub fn to_json(&self) -> Value {
        let range = |range: &Range<u64>| StoredRange { from: range.start, until: range.end };
        let offset = |read: &SplitOffset| StoredOffset { split: read.split, offset: read.offset };
        let stored = StoredPosition {
            files: self.files.iter().map(StoredFile::of).collect(),
            split_bytes: self.split_bytes,
            splits: StoredSplits {
                done: self.splits.done.iter().map(range).collect(),
                reading: self.splits.reading.iter().map(offset).collect(),
            },
        };
        serde_json::to_value(stored).expect("lists of numbers and strings are JSON")
    }

    /// Reads what [`to_json`](Self::to_json) made.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_json(value: &Value) -> Result<Self, ConnectorError> {
        let refused = |why: String| ConnectorError::Refused(format!("this is not the position of a source: {why}"));
        let stored = StoredPosition::deserialize(value).map_err(|error| refused(error.to_string()))?;
        let files = stored.files.into_iter().map(|file| file.read().map_err(refused)).collect::<Result<_, _>>()?;
        let splits = SplitsRead {
            done: stored.splits.done.iter().map(|range| range.from..range.until).collect(),
            reading: stored
                .splits
                .reading
                .iter()
                .map(|StoredOffset { split, offset }| SplitOffset { split: *split, offset: *offset })
                .collect(),
        };
        let mut ordered = splits.clone();
        ordered.merge(SplitsRead::default());
        if ordered != splits {
            return Err(refused("its splits are not in order".into()));
        }
        Ok(Self { files, split_bytes: stored.split_bytes, splits })
    }
}

impl StoredFile {
    fn of(file: &SourceFile) -> Self {
        let path = file.path.to_str().map(str::to_owned);
        let path_hex = path.is_none().then(|| hex(&file.path));
        let compression = match file.compression {
            Codec::Plain => StoredCodec::None,
            Codec::Gzip => StoredCodec::Gzip,
            Codec::Zstd => StoredCodec::Zstd,
        };
        Self { path, path_hex, bytes: file.bytes, modified_ms: file.modified_ms, compression }
    }

    fn read(self) -> Result<SourceFile, String> {
        let path = match (self.path, self.path_hex) {
            (Some(path), None) => PathBuf::from(path),
            (None, Some(hex)) => from_hex(&hex).ok_or_else(|| format!("`path-hex` is \"{hex}\""))?,
            _ => return Err("a file has either `path` or `path-hex`".into()),
        };
        let compression = match self.compression {
            StoredCodec::None => Codec::Plain,
            StoredCodec::Gzip => Codec::Gzip,
            StoredCodec::Zstd => Codec::Zstd,
        };
        Ok(SourceFile { path, bytes: self.bytes, modified_ms: self.modified_ms, compression })
    }
}

fn hex(path: &Path) -> String {
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<PathBuf> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8; 2]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty()).map(|bytes| OsString::from_vec(bytes).into())
}
