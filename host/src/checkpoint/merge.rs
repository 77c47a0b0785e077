//! Merges sorted runs: of every stored key the newest entry, ascending.
//!
//! Runs come oldest first. A cleared mark voids what *older* runs say of all keys that begin with its own. Since such keys follow it without a gap, the marks that are in force form a
//! stack, each one's key the beginning of the next one's.
//!
//! What is merged may be the oldest part of a chain: then marks have nothing left to void and are dropped. Or a newer part: then they are kept, except those that another one covers.

use std::{cmp::Ordering, ops::Range, vec};

use super::segment::{Entry, Label, ReadAt, SegmentCursor, SegmentError, SegmentFacts, SegmentProblem, SegmentReader};

/// What becomes of tombstones and cleared marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// They are yielded, because older runs lie below what is merged.
    Keep,
    /// They are dropped, because nothing lies below.
    Drop,
}

/// Lends the entries of several runs, merged.
#[derive(Debug)]
pub struct Merge<S> {
    /// Oldest first.
    runs: Vec<RunCursor<S>>,
    /// Numbers of the runs that have an entry, as a heap: the one with the lowest key is first; of several, the newest.
    heap: Vec<usize>,
    /// The run with the last entry, which goes on when the next one is asked for.
    lent: Option<usize>,
    marks: Marks,
    key: Vec<u8>,
    /// The longest of the keys that are cleared now, and of each of them the length and the newest run that cleared it or a key that it begins with.
    cleared: Vec<u8>,
    clears: Vec<(usize, usize)>,
    /// The label of a cleared mark that is yielded; its value, if it has one, comes after it.
    mark: Option<Label>,
}

impl<S: ReadAt> Merge<S> {
    /// Begins to merge runs, oldest first, as far as they have entries of these key groups. Each run is a list of segments, each one's keys above those of the one before.
    ///
    /// # Errors
    /// When a segment can't be read.
    pub fn open(runs: Vec<Vec<(S, SegmentFacts)>>, key_groups: Range<u32>, marks: Marks) -> Result<Self, SegmentError> {
        let runs = runs.into_iter().map(|parts| RunCursor::new(parts, key_groups.clone())).collect();
        let mut merge = Self {
            runs,
            heap: Vec::new(),
            lent: None,
            marks,
            key: Vec::new(),
            cleared: Vec::new(),
            clears: Vec::new(),
            mark: None,
        };
        for run in 0..merge.runs.len() {
            merge.go_on(run)?;
        }
        Ok(merge)
    }

    /// Goes on to the next entry; false at the end. After an error there is no way on.
    ///
    /// # Errors
    /// When a segment can't be read.
    pub fn advance(&mut self) -> Result<bool, SegmentError> {
        if self.mark.take().is_some() && self.lent.is_some() {
            return Ok(true);
        }
        loop {
            if let Some(run) = self.lent.take() {
                self.go_on(run)?;
            }
            if self.heap.is_empty() {
                return Ok(false);
            }
            if self.decide()? {
                return Ok(true);
            }
        }
    }

    /// The stored key of the entry that was reached last.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What lies under [`Self::key`].
    pub fn entry(&self) -> Entry<'_> {
        match (self.mark, self.lent) {
            (None, Some(run)) => self.runs[run].cursor.as_ref().map_or(Entry::Tombstone, SegmentCursor::entry),
            _ => Entry::Cleared,
        }
    }

    /// The label of the entry.
    pub fn label(&self) -> Label {
        let of_entry = || self.runs[self.lent?].cursor.as_ref().map(SegmentCursor::label);
        self.mark.or_else(of_entry).unwrap_or_default()
    }

    /// Takes all that the runs say of the lowest key, and decides what is left of it: true when there is something to lend.
    fn decide(&mut self) -> Result<bool, SegmentError> {
        let first = self.heap[0];
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend_from_slice(self.runs[first].key());
        self.key = key;
        let mut newest = None;
        let mut clear: Option<(usize, Label)> = None;
        while let Some(run) = self.heap.first().copied().filter(|run| self.runs[*run].key() == self.key) {
            self.pop();
            // Whatever is lent must stay where it is; all else goes on at once.
            match self.runs[run].entry() {
                Entry::Cleared => {
                    clear = clear.or(Some((run, self.runs[run].label())));
                    self.go_on(run)?;
                }
                _ if newest.is_none() => newest = Some(run),
                _ => self.go_on(run)?,
            }
        }
        let covered = self.covered_from();
        let clear = clear.filter(|(run, _)| covered.is_none_or(|newer| newer < *run));
        if let Some((run, _)) = clear {
            self.cleared.clear();
            self.cleared.extend_from_slice(&self.key);
            self.clears.push((self.key.len(), run));
        }
        self.lent = newest;
        let void = clear.map(|(run, _)| run).or(covered);
        let is_void = |run: usize| void.is_some_and(|newer| run < newer);
        let left = newest.is_some_and(|run| match self.runs[run].entry() {
            Entry::Value(_) => !is_void(run),
            // A cleared mark that is yielded voids as much.
            _ => self.marks == Marks::Keep && void.is_none(),
        });
        if !left && let Some(run) = self.lent.take() {
            self.go_on(run)?;
        }
        self.mark = clear.map(|(_, label)| label).filter(|_| self.marks == Marks::Keep);
        Ok(left || self.mark.is_some())
    }

    /// Ends the cleared marks that the key does not begin with. Gives the newest run of those that are left: what older ones say of the key is void.
    fn covered_from(&mut self) -> Option<usize> {
        while let Some((length, run)) = self.clears.last().copied() {
            if self.key.starts_with(&self.cleared[..length]) {
                return Some(run);
            }
            self.clears.pop();
        }
        None
    }

    /// Goes on to the next entry of a run that is not in the heap, and puts it there if there is one.
    fn go_on(&mut self, run: usize) -> Result<(), SegmentError> {
        if self.runs[run].advance()? {
            self.heap.push(run);
            let mut at = self.heap.len() - 1;
            while at > 0 && self.is_before(at, (at - 1) / 2) {
                self.heap.swap(at, (at - 1) / 2);
                at = (at - 1) / 2;
            }
        }
        Ok(())
    }

    /// Takes the first run off the heap.
    fn pop(&mut self) {
        self.heap.swap_remove(0);
        let mut at = 0;
        loop {
            let lower = (2 * at + 1..(2 * at + 3).min(self.heap.len()))
                .reduce(|left, right| if self.is_before(right, left) { right } else { left })
                .filter(|child| self.is_before(*child, at));
            let Some(lower) = lower else { return };
            self.heap.swap(at, lower);
            at = lower;
        }
    }

    fn is_before(&self, at: usize, other: usize) -> bool {
        let (run, other) = (self.heap[at], self.heap[other]);
        self.runs[run].key().cmp(self.runs[other].key()).then(other.cmp(&run)) == Ordering::Less
    }
}

/// Goes through the segments of one run, of which one is open at a time.
#[derive(Debug)]
struct RunCursor<S> {
    parts: vec::IntoIter<(S, SegmentFacts)>,
    key_groups: Range<u32>,
    cursor: Option<SegmentCursor<S>>,
}

impl<S: ReadAt> RunCursor<S> {
    fn new(parts: Vec<(S, SegmentFacts)>, key_groups: Range<u32>) -> Self {
        Self { parts: parts.into_iter(), key_groups, cursor: None }
    }

    fn advance(&mut self) -> Result<bool, SegmentError> {
        if let Some(cursor) = &mut self.cursor
            && cursor.advance()?
        {
            return Ok(true);
        }
        for (source, facts) in self.parts.by_ref() {
            if facts.key_groups.end <= self.key_groups.start || self.key_groups.end <= facts.key_groups.start {
                continue;
            }
            let mut next = SegmentReader::open(source.clone(), &facts)?.range(self.key_groups.clone());
            if !next.advance()? {
                continue;
            }
            if self.cursor.as_ref().is_some_and(|last| next.key() <= last.key()) {
                let what = "its stored keys are not above those of the segment before it in its run";
                return Err(SegmentError { name: source.name(), problem: SegmentProblem::Corrupt { at: 0, what } });
            }
            self.cursor = Some(next);
            return Ok(true);
        }
        self.cursor = None;
        Ok(false)
    }

    fn key(&self) -> &[u8] {
        self.cursor.as_ref().map_or(&[], SegmentCursor::key)
    }

    fn entry(&self) -> Entry<'_> {
        self.cursor.as_ref().map_or(Entry::Tombstone, SegmentCursor::entry)
    }

    fn label(&self) -> Label {
        self.cursor.as_ref().map(SegmentCursor::label).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
