//! Bytes cut into lines.
//!
//! `\n` ends a line and a `\r` before it belongs to the end; the last line may lack both. An empty line is a line. Lines that are not UTF-8 are treated as the
//! settings say and counted.
//!
//! This is on the path of every record of a text source, so the usual case is kept short: bytes are checked for UTF-8 a buffer at a time, and lines are
//! looked at one by one only where that fails; line feeds are found 64 bytes at a time; short lines are copied without a call. Behind the bytes that are
//! there the buffer has some that mean nothing, so both may reach beyond the end.
//!
//! Invariant: `next <= filled`; if `next < ready`, the bytes `next..ready` are whole lines, each with its line feed.

mod scan;
#[cfg(test)]
pub(in crate::connector) mod tests;

use std::{borrow::Cow, path::Path, sync::Arc};

use super::{ConnectorError, InvalidUtf8};
use crate::{
    metrics::{Counter, CounterSet},
    stream::{BatchLimits, BytesColumn},
};

/// The longest line, in bytes. It bounds the memory that a source takes; a longer one is most likely not text.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;

/// How many bytes are read at a time: enough to make system calls cheap, few enough to stay in the processor's cache until they are copied.
pub(super) const READ_BYTES: usize = 256 << 10;

/// Bytes at the end of the buffer that mean nothing.
const SLACK: usize = scan::BLOCK;

/// A buffer that is filled with bytes and emptied by lines.
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    next: usize,
    /// Up to here there are whole lines.
    ready: usize,
    /// Up to here there are bytes.
    filled: usize,
    /// Offset of the buffer's first byte in the input.
    offset: u64,
    /// Lines that begin here or later are not wanted.
    limit: u64,
    start: Start,
    text: Text,
    name: Arc<Path>,
    policy: InvalidUtf8,
    invalid: Arc<Counter>,
}

/// A line, and where it was found.
pub(super) struct Line<'a> {
    /// The name of the input.
    pub(super) name: &'a Path,
    /// Where the line begins in the input, in bytes.
    pub(super) offset: u64,
    /// The line without its end: UTF-8.
    pub(super) text: Cow<'a, [u8]>,
}

/// What the first byte of an input is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The first byte of a line.
    Line,
    /// Some byte within a line that is not wanted; the first wanted one is the next.
    WithinLine,
}

/// What is known of the lines that are ready.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Valid,
    PartlyInvalid,
}

impl Lines {
    /// Without input yet.
    pub(super) fn new(policy: InvalidUtf8, counters: &CounterSet) -> Self {
        Self {
            buffer: vec![0; READ_BYTES + SLACK],
            next: 0,
            ready: 0,
            filled: 0,
            offset: 0,
            limit: 0,
            start: Start::Line,
            text: Text::Valid,
            name: Arc::from(Path::new("")),
            policy,
            invalid: counters.counter("invalid-utf8"),
        }
    }

    /// Goes on with the input `name` from `offset`, for the lines that begin before `limit`. What was left of the input before is dropped.
    pub(super) fn begin(&mut self, name: Arc<Path>, start: Start, offset: u64, limit: u64) {
        (self.next, self.ready, self.filled) = (0, 0, 0);
        (self.name, self.start, self.offset, self.limit) = (name, start, offset, limit);
    }

    /// Whether there are lines to cut.
    pub(super) fn has_lines(&self) -> bool {
        self.next < self.ready
    }

    /// Whether all lines that are wanted have been cut.
    pub(super) fn is_done(&self) -> bool {
        self.offset + self.next as u64 >= self.limit
    }

    /// Offset of the first line that was not cut. None: it is not known yet where a wanted line begins.
    pub(super) fn next_line_offset(&self) -> Option<u64> {
        (self.start == Start::Line).then_some(self.offset + self.next as u64)
    }

    /// What was not cut, and its offset.
    pub(super) fn rest(&self) -> (&[u8], u64) {
        (&self.buffer[self.next..self.filled], self.offset + self.next as u64)
    }

    /// Room for `len` more bytes. Whoever fills it says so to [`took`](Self::took). To be called when all lines are cut.
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        debug_assert!(!self.has_lines(), "lines are cut before more bytes come");
        self.buffer.copy_within(self.next..self.filled, 0);
        self.offset += self.next as u64;
        self.filled -= self.next;
        (self.next, self.ready) = (0, 0);
        let needed = self.filled + len + SLACK;
        if self.buffer.len() < needed {
            self.buffer.resize(needed.max(2 * self.buffer.len()), 0);
        }
        &mut self.buffer[self.filled..self.filled + len]
    }

    /// The first `len` bytes of the room are filled now.
    ///
    /// # Errors
    /// When a line is too long.
    pub(super) fn took(&mut self, len: usize) -> Result<(), ConnectorError> {
        let before = self.filled;
        self.filled += len;
        if self.start == Start::WithinLine {
            let Some(feed) = memchr::memchr(b'\n', &self.buffer[self.next..self.filled]) else {
                self.next = self.filled;
                return Ok(());
            };
            self.next += feed + 1;
            self.start = Start::Line;
        }
        if self.is_done() {
            return Ok(());
        }
        // Only the line that was begun before can have become too long: a room is shorter than the longest line.
        let begun = self.filled - self.next;
        if begun > LINE_BYTES_MAX {
            let feed = memchr::memchr(b'\n', &self.buffer[self.next..self.filled]);
            if feed.unwrap_or(begun) > LINE_BYTES_MAX {
                return Err(self.too_long());
            }
        }
        let fresh = before.max(self.next);
        if let Some(feed) = self.last_wanted_feed(fresh) {
            self.set_ready(feed + 1);
        }
        Ok(())
    }

    /// The input has no more bytes: what is left is a line.
    pub(super) fn end(&mut self) {
        if self.next < self.filled && self.start == Start::Line {
            self.room(1)[0] = b'\n';
            self.filled += 1;
            self.set_ready(self.filled);
        }
    }

    /// Appends lines until none is ready or the column is full.
    ///
    /// # Errors
    /// When a line is not UTF-8 and that is an error.
    pub(super) fn cut(&mut self, column: &mut BytesColumn, limits: BatchLimits) -> Result<(), ConnectorError> {
        match self.text {
            Text::Valid => {
                let lines = &self.buffer[self.next..self.ready + SLACK];
                self.next += scan::cut(lines, self.ready - self.next, column, limits);
                Ok(())
            }
            Text::PartlyInvalid => self.cut_checked(column, limits),
        }
    }

    fn cut_checked(&mut self, column: &mut BytesColumn, limits: BatchLimits) -> Result<(), ConnectorError> {
        while column.len() < limits.records && column.bytes() < limits.bytes {
            let Some(line) = self.next_line()? else { break };
            column.push(&line.text);
        }
        Ok(())
    }

    /// The next line, without its end, if one is ready. For those who look at each line.
    ///
    /// # Errors
    /// When a line is not UTF-8 and that is an error.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, ConnectorError> {
        while self.has_lines() {
            let begin = self.next;
            let rest = &self.buffer[begin..self.ready];
            let feed = memchr::memchr(b'\n', rest).unwrap_or(rest.len() - 1);
            let len = rest[..feed].strip_suffix(b"\r").unwrap_or(&rest[..feed]).len();
            let valid = match self.text {
                Text::Valid => Ok(()),
                Text::PartlyInvalid => {
                    simdutf8::compat::from_utf8(&rest[..len]).map(drop).map_err(|error| error.valid_up_to())
                }
            };
            if valid.is_err() {
                self.invalid.add(1);
            }
            if let (Err(valid_up_to), InvalidUtf8::Fail) = (valid, self.policy) {
                return Err(self.not_utf8(valid_up_to));
            }
            self.next += feed + 1;
            if valid.is_err() && self.policy == InvalidUtf8::Skip {
                continue;
            }
            let line = &self.buffer[begin..begin + len];
            let text = match valid {
                Ok(()) => Cow::Borrowed(line),
                Err(_) => Cow::Owned(String::from_utf8_lossy(line).into_owned().into_bytes()),
            };
            return Ok(Some(Line { name: &self.name, offset: self.offset + begin as u64, text }));
        }
        Ok(None)
    }

    /// The line feed of the last line that is whole and wanted, where the bytes before `fresh` are known to have none.
    fn last_wanted_feed(&self, fresh: usize) -> Option<usize> {
        let wanted = usize::try_from(self.limit - 1 - self.offset).unwrap_or(usize::MAX);
        if wanted < self.filled {
            // The line to which the last wanted byte belongs ends at the first line feed from there on.
            let from = wanted.max(fresh);
            if let Some(feed) = memchr::memchr(b'\n', &self.buffer[from..self.filled]) {
                return Some(from + feed);
            }
        }
        memchr::memrchr(b'\n', &self.buffer[fresh..self.filled]).map(|feed| fresh + feed)
    }

    fn set_ready(&mut self, ready: usize) {
        self.ready = ready;
        let valid = simdutf8::basic::from_utf8(&self.buffer[self.next..ready]).is_ok();
        self.text = if valid { Text::Valid } else { Text::PartlyInvalid };
    }

    fn too_long(&self) -> ConnectorError {
        let (name, offset) = (self.name.display(), self.offset + self.next as u64);
        ConnectorError::Input(format!(
            "{name}: the line that begins at byte {offset} is longer than {} MiB; is this a text file?",
            LINE_BYTES_MAX >> 20
        ))
    }

    fn not_utf8(&self, valid: usize) -> ConnectorError {
        let (name, line) = (self.name.display(), self.offset + self.next as u64);
        ConnectorError::Input(format!(
            "{name}: byte {} is not UTF-8, in the line that begins at byte {line}; repair it, or set invalid-utf8 to \"replace\" or \"skip\"",
            line + valid as u64
        ))
    }
}
