//! The chain of a task's keyed state: sorted runs, oldest first; which of them to merge next, and the merging.
//!
//! Every checkpoint appends what changed. Left alone the chain would grow without end, and with it the time that a restore takes. [`choose`] decides, and only decides: it is handed sizes
//! and gives the runs to merge, if any. [`merge_runs`] does it, beside the record path.
//!
//! The strategy is size-tiered (as "universal compaction" is in log-structured stores), with three reasons to merge, in this order:
//! 1. *Garbage.* The runs above the oldest have come to as many bytes as it has, so half of all may be void: all are merged into one. So the chain stays below about twice what is live, and
//!    an oldest run is written again only once as many bytes have come as it has.
//! 2. *Tiers.* Some neighbouring runs are of about the same size: they are merged. So each entry is written about once for every time that its run grows by the width of a tier.
//! 3. *Number.* There are more runs than may be: of all neighbours whose merging mends that, those with the fewest bytes are merged.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use thiserror::Error;

use super::{
    merge::{Marks, Merge},
    segment::{RefusedEntry, SegmentError, SegmentFacts, SegmentWriter},
    storage::{Storage, StorageError, StorageErrorKind, Stored, put_same},
};

/// A segment and its name in the job's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSegment {
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub facts: SegmentFacts,
}

/// A sorted run: segments of which each one's keys are above those of the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Its segments, ascending.
    pub segments: Vec<StoredSegment>,
}

impl Run {
    /// About how many bytes it has for these key groups: of a segment that has others too, as large a part as theirs of all its key groups.
    pub fn bytes(&self, key_groups: &Range<u32>) -> u64 {
        let of_segment = |facts: &SegmentFacts| {
            let own =
                facts.key_groups.end.min(key_groups.end).saturating_sub(facts.key_groups.start.max(key_groups.start));
            let all = (facts.key_groups.end - facts.key_groups.start).max(1);
            (u128::from(facts.bytes) * u128::from(own) / u128::from(all)) as u64
        };
        self.segments.iter().map(|segment| of_segment(&segment.facts)).sum()
    }
}

/// How long a chain may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLimits {
    /// The most runs; at least 2.
    pub runs_max: usize,
    /// So many neighbours of about the same size are merged; at least 2.
    pub tier_width: usize,
}

impl Default for ChainLimits {
    fn default() -> Self {
        Self { runs_max: 16, tier_width: 4 }
    }
}

/// What to merge next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The runs, counted from the oldest. They stay where they are while newer ones are appended.
    pub runs: Range<usize>,
    /// What becomes of marks: they are dropped when the oldest run is merged too.
    pub marks: Marks,
}

/// Decides which runs to merge next, by how many bytes each has, oldest first. `live_bytes`, where it is known, is about how many bytes a chain of one run would have. None: nothing is
/// worth it now.
pub fn choose(run_bytes: &[u64], live_bytes: Option<u64>, limits: ChainLimits) -> Option<Choice> {
    let runs = garbage(run_bytes, live_bytes)
        .or_else(|| tier(run_bytes, limits.tier_width.max(2)))
        .or_else(|| surplus(run_bytes, limits.runs_max.max(2)))?;
    let marks = if runs.start == 0 { Marks::Drop } else { Marks::Keep };
    Some(Choice { runs, marks })
}

/// All runs, when about half of their bytes is void.
fn garbage(run_bytes: &[u64], live_bytes: Option<u64>) -> Option<Range<usize>> {
    let [oldest, newer @ ..] = run_bytes else { return None };
    let newer_bytes: u64 = newer.iter().sum();
    // An estimate may be wrong for long: it alone makes nobody write the oldest run again for little.
    let estimated = live_bytes.is_some_and(|live| (oldest + newer_bytes) / 2 > live && newer_bytes >= oldest / 4);
    (!newer.is_empty() && (newer_bytes >= *oldest || estimated)).then_some(0..run_bytes.len())
}

/// The newest neighbours of about the same size: each one, from new to old, has at most as many bytes as all that are newer have on average, times two.
fn tier(run_bytes: &[u64], width: usize) -> Option<Range<usize>> {
    (width..=run_bytes.len()).rev().find_map(|end| {
        let mut sum = 0;
        let mut start = end;
        while start > 0 {
            let average = sum / (end - start).max(1) as u64;
            if start < end && run_bytes[start - 1] > 2 * average {
                break;
            }
            start -= 1;
            sum += run_bytes[start];
        }
        (end - start >= width).then_some(start..end)
    })
}

/// Where there are too many runs: the neighbours with the fewest bytes whose merging leaves as many as there may be.
fn surplus(run_bytes: &[u64], runs_max: usize) -> Option<Range<usize>> {
    let width = run_bytes.len().checked_sub(runs_max).filter(|surplus| *surplus > 0)? + 1;
    let starts = 0..run_bytes.len() - width + 1;
    let start = starts.min_by_key(|start| run_bytes[*start..*start + width].iter().sum::<u64>())?;
    Some(start..start + width)
}

/// Why runs were not merged. What had been written was deleted again, as far as the storage allows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MergeError {
    /// A segment can't be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A segment can't be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An entry that was read can't be written.
    #[error("{0}; a merge makes no such entry from whole segments: please report it")]
    Refused(#[from] RefusedEntry),
    /// Whoever asked for it does not want it any more.
    #[error("the merge was cancelled")]
    Cancelled,
}

/// How many entries are merged between two looks at whether to go on.
const ENTRIES_AT_ONCE: u64 = 4_096;

/// Merges runs, oldest first, as far as they have entries of these key groups; writes segments of about `segment_bytes` raw bytes (usually [`SEGMENT_BYTES_MAX`](super::SEGMENT_BYTES_MAX)) under the names that
/// `name` gives, and returns the run that takes the place of all. It has no segments where nothing is left.
///
/// # Errors
/// When a segment can't be read or written, or `cancelled` became true.
pub fn merge_runs(
    storage: &Arc<dyn Storage>,
    runs: &[Run],
    key_groups: Range<u32>,
    marks: Marks,
    segment_bytes: u64,
    name: &mut dyn FnMut() -> String,
    cancelled: &AtomicBool,
) -> Result<Run, MergeError> {
    let mut output = Output { storage, segment_bytes, writer: SegmentWriter::new(), name, segments: Vec::new() };
    let done = merge_into(&mut output, runs, key_groups, marks, cancelled);
    let Output { segments, .. } = output;
    match done {
        Ok(()) => Ok(Run { segments }),
        Err(error) => {
            // Nobody will ever refer to them. What stays is removed as all orphans are.
            segments.iter().for_each(|segment| drop(storage.delete(&segment.name)));
            Err(error)
        }
    }
}

fn merge_into(
    output: &mut Output<'_>,
    runs: &[Run],
    key_groups: Range<u32>,
    marks: Marks,
    cancelled: &AtomicBool,
) -> Result<(), MergeError> {
    let source =
        |segment: &StoredSegment| (Stored::new(Arc::clone(output.storage), &segment.name), segment.facts.clone());
    let sources = runs.iter().map(|run| run.segments.iter().map(source).collect()).collect();
    let mut merge = Merge::open(sources, key_groups, marks)?;
    let mut merged = 0_u64;
    while merge.advance()? {
        if merged.is_multiple_of(ENTRIES_AT_ONCE) && cancelled.load(Ordering::Relaxed) {
            return Err(MergeError::Cancelled);
        }
        merged += 1;
        // A cleared mark and the value of its key stay together.
        if output.writer.raw_bytes() >= output.segment_bytes && output.writer.last_key() != merge.key() {
            output.close()?;
        }
        output.writer.push(merge.key(), merge.entry(), merge.label())?;
    }
    if output.writer.entries() > 0 { output.close() } else { Ok(()) }
}

/// Where merged entries go.
struct Output<'a> {
    storage: &'a Arc<dyn Storage>,
    segment_bytes: u64,
    writer: SegmentWriter,
    name: &'a mut dyn FnMut() -> String,
    segments: Vec<StoredSegment>,
}

impl Output<'_> {
    fn close(&mut self) -> Result<(), MergeError> {
        let (bytes, facts) = std::mem::take(&mut self.writer).finish();
        let name = (self.name)();
        let put = put_same(self.storage.as_ref(), &name, Bytes::from(bytes));
        // One that failed may be there all the same, but what was there before is somebody else's.
        if !put.as_ref().is_err_and(|error| error.kind == StorageErrorKind::AlreadyThere) {
            self.segments.push(StoredSegment { name, facts });
        }
        Ok(put?)
    }
}

#[cfg(test)]
mod tests;
