//! The records of a task, block by block.
//!
//! A record's number is (block × 64 + split) × 1,024 + place, where `block` counts the blocks of its split and `place` the records of the block. So a number says all:
//! the split, and how many records of it came before.
//!
//! Invariant: `next` is the lowest of the numbers that come next in the splits of the task, `others` are the rest in ascending order.

use std::collections::VecDeque;

use super::{BLOCK, SPLITS};
use crate::connector::{ConnectorError, SourcePosition, SplitOffset, SplitsRead};

/// How many records of a split there can be at the most: their numbers stay in 64 bits.
const OFFSET_MAX: u64 = u64::MAX / SPLITS - BLOCK;

/// What a task makes.
pub(super) struct Blocks {
    count: u64,
    /// The record that comes next; [`u64::MAX`] for a task without splits.
    next: u64,
    /// The record that comes next in each of the other splits.
    others: VecDeque<u64>,
}

impl Blocks {
    /// The records below `count` in the splits of a task, but those that were made before.
    pub(super) fn new(task: u64, parallelism: u64, count: u64, before: &SplitsRead) -> Self {
        let own = (task..SPLITS).step_by(parallelism as usize);
        let next = own.map(|split| number(split, before.offset_of(split).unwrap_or_default()));
        let mut others: Vec<u64> = next.collect();
        others.sort_unstable();
        let mut others = VecDeque::from(others);
        Self { count, next: others.pop_front().unwrap_or(u64::MAX), others }
    }

    /// The record that comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// How many records in a row come next; 0 only at the end.
    pub(super) fn left(&self) -> u64 {
        (BLOCK - self.next % BLOCK).min(self.count.saturating_sub(self.next))
    }

    /// So many of them are made.
    pub(super) fn take(&mut self, len: u64) {
        self.next += len;
        if self.next.is_multiple_of(BLOCK) && len > 0 {
            self.next_block();
        }
    }

    /// The block is done. Its split's next one mostly comes after those of all the others, so the search for its place is short.
    fn next_block(&mut self) {
        let next = self.next.saturating_add((SPLITS - 1) * BLOCK);
        let later = self.others.iter().rev().take_while(|other| **other > next).count();
        self.others.insert(self.others.len() - later, next);
        self.next = self.others.pop_front().unwrap_or(next);
    }

    /// How many records were made of each split that was begun, now or before.
    pub(super) fn position(&self) -> SplitsRead {
        let has_splits = |next: &&u64| **next != u64::MAX;
        let nexts = std::iter::once(&self.next).chain(&self.others).filter(has_splits);
        let begun = nexts.map(|next| offset(*next)).filter(|read| read.offset > 0);
        let mut reading: Vec<_> = begun.collect();
        reading.sort_unstable_by_key(|read| read.split);
        SplitsRead { done: Vec::new(), reading }
    }
}

fn number(split: u64, offset: u64) -> u64 {
    (offset / BLOCK * SPLITS + split) * BLOCK + offset % BLOCK
}

fn offset(number: u64) -> SplitOffset {
    let block = number / BLOCK;
    SplitOffset { split: block % SPLITS, offset: block / SPLITS * BLOCK + number % BLOCK }
}

/// What was made by a position, if it is one of this source.
pub(super) fn checked(position: &SourcePosition) -> Result<SplitsRead, ConnectorError> {
    let SourcePosition { files, split_bytes, splits } = position;
    let known = |read: &SplitOffset| read.split < SPLITS && read.offset <= OFFSET_MAX;
    if files.is_empty() && *split_bytes == 0 && splits.done.is_empty() && splits.reading.iter().all(known) {
        return Ok(splits.clone());
    }
    Err(ConnectorError::Refused(
        "datagen: the checkpoint has a position of another type of source; set the source's \"type\" back to what it was".into(),
    ))
}
