//! The splits of a file source, each handed out once.
//!
//! A file of n bytes has ⌈n / split-bytes⌉ splits, a compressed one that is not empty has one. They are numbered through, in the order of the files. So the numbers
//! follow from the files as they were listed and the length of a split, which is why a position holds these.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    compression::Codec,
    listing::{self, Listed},
};
use crate::connector::{ConnectorError, SourceFile, SourcePosition, SplitsRead};

/// The splits that are still to be read.
pub(super) struct SplitQueue {
    files: Vec<Listed>,
    split_bytes: u64,
    /// What was read before.
    before: SplitsRead,
    splits: Vec<Split>,
    next: AtomicUsize,
}

/// The lines that begin in bytes `from..end` of file number `file`; of a compressed file, in all of them. Never empty.
#[derive(Clone, Copy)]
pub(super) struct Split {
    pub(super) number: u64,
    pub(super) file: usize,
    /// Where the split begins.
    pub(super) start: u64,
    /// Where its first line begins that was not given out; at `start`, a line may have begun before.
    pub(super) from: u64,
    pub(super) end: u64,
}

impl SplitQueue {
    /// All splits of the files.
    pub(super) fn new(files: Vec<Listed>, split_bytes: u64) -> Self {
        let splits = splits_of(&files, split_bytes);
        Self { files, split_bytes, before: SplitsRead::default(), splits, next: AtomicUsize::new(0) }
    }

    /// Those that a position has left, first the ones that were begun.
    ///
    /// # Errors
    /// When the position is not one of files, or a file that is still needed is not there or shorter than it was.
    pub(super) fn restored(position: &SourcePosition) -> Result<Self, ConnectorError> {
        let SourcePosition { files, split_bytes, splits: before } = position;
        if files.is_empty() || *split_bytes == 0 {
            return Err(ConnectorError::Refused(
                "file: the checkpoint has a position of another type of source; set the source's \"type\" back to what it was"
                    .into(),
            ));
        }
        let files: Vec<Listed> = files.iter().map(listed).collect();
        let splits = splits_of(&files, *split_bytes);
        check(before, &splits)?;
        let (begun, fresh): (Vec<Split>, Vec<Split>) = splits
            .into_iter()
            .filter(|split| !before.is_done(split.number))
            .map(|split| Split { from: before.offset_of(split.number).unwrap_or(split.start), ..split })
            .partition(|split| before.offset_of(split.number).is_some());
        let splits = [begun, fresh].concat();
        let needed: BTreeSet<usize> = splits.iter().map(|split| split.file).collect();
        needed.into_iter().try_for_each(|file| listing::look_again(&files[file]))?;
        Ok(Self { files, split_bytes: *split_bytes, before: before.clone(), splits, next: AtomicUsize::new(0) })
    }

    /// The next split and its file.
    pub(super) fn take(&self) -> Option<(Split, &Listed)> {
        let split = *self.splits.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        Some((split, &self.files[split.file]))
    }

    /// Where the source is once so much has been read of the queue.
    pub(super) fn position(&self, tasks: SplitsRead) -> SourcePosition {
        let mut splits = self.before.clone();
        splits.merge(tasks);
        let file = |listed: &Listed| SourceFile {
            path: listed.path.to_path_buf(),
            bytes: listed.size,
            modified_ms: listed.modified_ms,
            compression: listed.codec,
        };
        SourcePosition { files: self.files.iter().map(file).collect(), split_bytes: self.split_bytes, splits }
    }
}

fn listed(file: &SourceFile) -> Listed {
    let SourceFile { path, bytes, modified_ms, compression } = file;
    Listed { path: Arc::from(path.as_path()), size: *bytes, modified_ms: *modified_ms, codec: *compression }
}

fn splits_of(files: &[Listed], split_bytes: u64) -> Vec<Split> {
    let ranges = files.iter().enumerate().flat_map(|(file, listed)| {
        let (len, split_bytes) = match listed.codec {
            Codec::Plain => (listed.size, split_bytes),
            // Nobody knows yet how long it is.
            Codec::Gzip | Codec::Zstd if listed.size > 0 => (u64::MAX, u64::MAX),
            Codec::Gzip | Codec::Zstd => (0, u64::MAX),
        };
        (0..len.div_ceil(split_bytes)).map(move |index| {
            let start = index * split_bytes;
            (file, start, len.min(start.saturating_add(split_bytes)))
        })
    });
    let split = |(number, (file, start, end))| Split { number, file, start, from: start, end };
    (0..).zip(ranges).map(split).collect()
}

/// Whether what was read lies within the splits: else it belongs to other files.
fn check(read: &SplitsRead, splits: &[Split]) -> Result<(), ConnectorError> {
    let count = splits.len() as u64;
    let done = read.done.last().is_none_or(|range| range.end <= count);
    let within = |split: &Split, offset| (split.start..split.end).contains(&offset);
    let reading = |read: &super::SplitOffset| {
        usize::try_from(read.split)
            .ok()
            .and_then(|split| splits.get(split))
            .is_some_and(|split| within(split, read.offset))
    };
    if done && read.reading.iter().all(reading) {
        return Ok(());
    }
    Err(ConnectorError::Refused(
        "file: the position in the checkpoint does not fit the files that it names; restore another checkpoint".into(),
    ))
}
