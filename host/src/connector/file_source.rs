//! Lines of files.
//!
//! Files are listed once, before the job starts, and cut into splits: byte ranges of a fixed size, which do not depend on how many tasks there are. A line belongs
//! to the split that holds its first byte. A compressed file can only be read from its beginning, so it is one split. Tasks take the next split from one queue
//! when they are done with theirs, so none idles while another has work in store; with one task the order is that of the files.
//!
//! What is appended to a file after the listing is not read. A file that vanishes or becomes shorter while the job runs is an error: part of the input is
//! gone.
//!
//! A position has the files as they were listed and, of each split that was begun, where the first line lies that was not given out. A job that is restored takes all
//! that from the position and looks only whether the files that are still needed are there; those that were read to their end may be gone.

mod compression;
mod splits;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    Compression, ConnectorError, LineFormat, Read, Source, SourcePosition, SourceReader, SplitOffset, SplitsRead,
    TaskContext,
    lines::{Lines, READ_BYTES, Start},
    listing::{self, Listed},
    records::Records,
};
use crate::{
    metrics::Counter,
    stream::{Batch, BatchLimits, MAX_PARALLELISM_LIMIT, schema::Schema},
};
use compression::{Inflated, Uncompressed};
use splits::{Split, SplitQueue};

pub use compression::Codec;

/// How long a split is, in bytes. Small enough that tasks finish at about the same time, large enough that opening a file for it costs nothing. Frozen with the
/// positions that checkpoints record.
const SPLIT_BYTES: u64 = 16 << 20;

/// How far beyond the end of a split is read at first, in bytes: its last line mostly ends there.
const TAIL_BYTES: u64 = 16 << 10;

/// How many steps (a read, an opened file) one call takes before it lets the task look at other things.
const STEPS_MAX: u32 = 64;

/// The lines of files. Counters: `bytes-read` (uncompressed) and those of the [`LineFormat`].
pub struct FileSource {
    patterns: Vec<PathBuf>,
    compression: Compression,
    format: LineFormat,
    split_bytes: u64,
    queue: Mutex<Option<Arc<SplitQueue>>>,
}

impl FileSource {
    /// Reads what the patterns stand for, each an absolute path of a file, of a folder (all files below it but those whose name begins with `.`), or a glob.
    pub fn new(patterns: Vec<PathBuf>, compression: Compression, format: LineFormat) -> Self {
        Self { patterns, compression, format, split_bytes: SPLIT_BYTES, queue: Mutex::default() }
    }

    fn queue(&self) -> Option<Arc<SplitQueue>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(test)]
    fn with_splits(self, split_bytes: u64) -> Self {
        Self { split_bytes, ..self }
    }
}

impl Source for FileSource {
    fn key_schema(&self) -> Option<Schema> {
        self.format.key_schema()
    }

    fn value_schema(&self) -> Schema {
        self.format.value_schema()
    }

    fn parallelism_max(&self) -> u32 {
        MAX_PARALLELISM_LIMIT
    }

    fn replays(&self) -> bool {
        true
    }

    fn prepare(&self, restored: Option<&SourcePosition>) -> Result<(), ConnectorError> {
        let queue = match restored {
            None => SplitQueue::new(listing::list(&self.patterns, self.compression)?, self.split_bytes),
            Some(position) => SplitQueue::restored(position)?,
        };
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(queue));
        Ok(())
    }

    fn position(&self, tasks: SplitsRead) -> SourcePosition {
        self.queue().map_or_else(SourcePosition::default, |queue| queue.position(tasks))
    }

    fn reader(&self, context: TaskContext) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let queue = self
            .queue()
            .ok_or_else(|| ConnectorError::Refused("a file source was opened before its files were listed".into()))?;
        Ok(Box::new(FileReader {
            queue,
            read: SplitsRead::default(),
            split: None,
            current: None,
            records: Records::new(&self.format, &context.counters),
            bytes_read: context.counters.counter("bytes-read"),
        }))
    }
}

struct FileReader {
    queue: Arc<SplitQueue>,
    /// The splits that this task has read to their end.
    read: SplitsRead,
    /// The split whose lines are given out.
    split: Option<Split>,
    /// Where its bytes come from, until the last one is read.
    current: Option<Current>,
    records: Records,
    bytes_read: Arc<Counter>,
}

/// What a split is read from.
enum Current {
    Plain(Plain),
    Compressed(Uncompressed),
}

/// A part of a file that is not compressed.
struct Plain {
    split: Split,
    listed: Listed,
    file: File,
    /// Up to here the file is read.
    position: u64,
}

/// What came of reading on in a split.
#[derive(PartialEq, Eq)]
enum Got {
    Bytes,
    EndOfFile,
}

impl SourceReader for FileReader {
    fn read(&mut self, _: Duration, batch: &mut Batch, limits: BatchLimits) -> Result<Read, ConnectorError> {
        let mut steps = 0;
        while !batch.is_full(limits) {
            if self.records.lines.has_lines() {
                self.records.cut(batch, limits)?;
                continue;
            }
            if steps == STEPS_MAX {
                break;
            }
            steps += 1;
            match &mut self.current {
                None => {
                    self.finish_split();
                    let Some((split, listed)) = self.queue.take() else { return Ok(Read::End) };
                    self.split = Some(split);
                    self.current = Some(Current::open(split, listed, &mut self.records.lines)?);
                }
                Some(_) if self.records.lines.is_done() => self.current = None,
                Some(current) => {
                    if current.read(&mut self.records.lines, &self.bytes_read)? == Got::EndOfFile {
                        self.records.lines.end();
                        self.current = None;
                    }
                }
            }
        }
        Ok(Read::More)
    }

    fn position(&mut self) -> SplitsRead {
        let lines = &self.records.lines;
        if !lines.has_lines() && (self.current.is_none() || lines.is_done()) {
            self.finish_split();
        }
        let mut read = self.read.clone();
        if let Some(Split { number, start, .. }) = self.split {
            let offset = self.records.lines.next_line_offset().unwrap_or(start);
            read.reading.push(SplitOffset { split: number, offset });
        }
        read
    }
}

impl FileReader {
    /// The last line of the split at hand was given out.
    fn finish_split(&mut self) {
        if let Some(split) = self.split.take() {
            self.read.finish(split.number);
        }
    }
}

impl Current {
    fn open(split: Split, listed: &Listed, lines: &mut Lines) -> Result<Self, ConnectorError> {
        let file = File::open(&listed.path).map_err(|source| ConnectorError::Io {
            path: listed.path.to_path_buf(),
            doing: "opening it again (it was there when the job began)",
            source,
        })?;
        let (start, position) = match split.from {
            0 => (Start::Line, 0),
            // Whether a line begins at the first byte can be seen at the one before it.
            from if from == split.start => (Start::WithinLine, from - 1),
            // Lines were given out up to here.
            from => (Start::Line, from),
        };
        lines.begin(Arc::clone(&listed.path), start, position, split.end);
        let listed = listed.clone();
        Ok(match listed.codec {
            Codec::Plain => Self::Plain(Plain { split, listed, file, position }),
            Codec::Gzip | Codec::Zstd => Self::Compressed(Uncompressed::new(file, listed, split.from)?),
        })
    }

    fn read(&mut self, lines: &mut Lines, bytes_read: &Counter) -> Result<Got, ConnectorError> {
        match self {
            Self::Plain(plain) => plain.read(lines, bytes_read),
            Self::Compressed(uncompressed) => match uncompressed.read(lines.room(READ_BYTES))? {
                Inflated::Bytes(len) => {
                    bytes_read.add(len as u64);
                    lines.took(len)?;
                    Ok(Got::Bytes)
                }
                Inflated::Unwanted => Ok(Got::Bytes),
                Inflated::End => Ok(Got::EndOfFile),
            },
        }
    }
}

impl Plain {
    fn read(&mut self, lines: &mut Lines, bytes_read: &Counter) -> Result<Got, ConnectorError> {
        if self.position == self.listed.size {
            return Ok(Got::EndOfFile);
        }
        let wanted = (self.split.end + TAIL_BYTES).saturating_sub(self.position).max(TAIL_BYTES);
        let wanted = wanted.min(READ_BYTES as u64).min(self.listed.size - self.position);
        let len = read_at(&self.file, lines.room(wanted as usize), self.position)
            .map_err(|e| read_error(&self.listed.path, e))?;
        if len == 0 {
            return Err(self.shrunk());
        }
        let before = self.position.clamp(self.split.start, self.split.end);
        self.position += len as u64;
        bytes_read.add(self.position.clamp(self.split.start, self.split.end) - before);
        lines.took(len)?;
        Ok(Got::Bytes)
    }

    fn shrunk(&self) -> ConnectorError {
        ConnectorError::Input(format!(
            "{}: the file became shorter while it was read: it had {} bytes when the job began, now it ends at byte {} or before; run the job again when nobody changes it",
            self.listed.path.display(),
            self.listed.size,
            self.position
        ))
    }
}

fn read_at(file: &File, into: &mut [u8], position: u64) -> io::Result<usize> {
    loop {
        match file.read_at(into, position) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn read_error(path: &Path, source: io::Error) -> ConnectorError {
    ConnectorError::Io { path: path.to_owned(), doing: "reading it", source }
}
