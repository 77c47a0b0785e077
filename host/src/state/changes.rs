//! What has changed since the last snapshot, and how it is handed over: the incremental, asynchronous snapshot of a task's keyed state.
//!
//! An entry in memory bears a *mark* of the epoch in which it was changed; epochs end at barriers. There are two marks, used in turn:
//!
//! - A barrier makes the current mark the *pending* one and the other one current. That is all the pause.
//! - Between calls, entries with the pending mark are copied a few at a time ([`Changes::copy`]) and lose it. An entry that is about to change, or to leave memory, is copied before. So a copy
//!   is what the entry was at the barrier.
//! - What leaves memory with the current mark (evicted, removed, cleared) is written down at once ([`Changes::carry`]): its mark is gone with it.
//!
//! Copies and what was carried are *pieces*: handed to [`WritePieces`] off the record path, sorted there. Pieces have an order ([`PieceOrder`]); of several entries of one stored key the
//! one of the last piece counts. What was carried in an epoch comes before its copies: a copy is of what was alive at its end.
//!
//! An entry that no snapshot has heard of needs no word when it goes; that is the mark `KNOWN`.
//!
//! What is absent on purpose: files, compression, checkpoints. The idea of copying before a write while a snapshot is taken is that of fuzzy checkpoints made exact (Flink: "Heap
//! state backend", copy-on-write state table).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::stored::{StoredBytes, append_point_key};
use crate::{
    background::{Background, Work},
    stream::EventTime,
};

mod log;

pub use log::{Change, Piece};
use log::{Log, Stored};

/// A piece of about this many bytes is handed over.
const PIECE_BYTES: usize = 8 << 20;
/// However slow the writer is, no piece is larger than this and what one entry adds: places in a log have 32 bits.
const PIECE_BYTES_MAX: usize = 1 << 30;
/// With so many pieces handed over and not written yet, copying waits, and so does what leaves memory.
const OUTSTANDING_MAX: usize = 2;
/// How long one look at the writer's progress takes at most.
const WAIT_SLICE: Duration = Duration::from_millis(10);

/// Who writes pieces down for good.
pub trait WritePieces: Send + Sync {
    /// Writes a piece. Called off the record path, for one piece of a task after the other. Returns when it is written, or when nobody wants it any more; whoever fails tries again.
    fn write(&self, order: PieceOrder, piece: &Piece<'_>);

    /// Whether nobody wants pieces any more: the task is being taken down.
    fn is_cancelled(&self) -> bool;
}

/// Where pieces of a task's snapshots go.
#[derive(Clone)]
pub struct SnapshotSetup {
    /// Who sorts and writes them.
    pub background: Arc<dyn Background>,
    /// Who writes them down.
    pub writer: Arc<dyn WritePieces>,
}

/// The place of a piece among all of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceOrder {
    /// The epoch whose changes it has, from 0.
    pub epoch: u64,
    /// What it has of them.
    pub class: PieceClass,
    /// Its number among those, from 0.
    pub number: u32,
}

/// What a piece has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PieceClass {
    /// What left memory before the barrier.
    Carried,
    /// What was in memory at the barrier.
    Copied,
}

/// The marks that an entry can bear, as bits: two of epochs, and that a snapshot knows it.
pub(super) const MARKS: [u8; 2] = [1, 2];
/// The entry may be in a snapshot.
pub(super) const KNOWN: u8 = 4;

/// What a task's keyed state has to write down for snapshots.
#[derive(Default)]
pub(super) struct Changes {
    setup: Option<SnapshotSetup>,
    /// 0 without snapshots.
    current: u8,
    /// 0 when nothing is to be copied.
    pending: u8,
    epoch: u64,
    carried: Log,
    carried_pieces: u32,
    copied: Log,
    copied_pieces: u32,
    handed: Option<Handed>,
    /// A piece of about so many bytes is handed over.
    piece_bytes: usize,
}

/// Pieces that were handed over.
struct Handed {
    outstanding: Arc<AtomicUsize>,
    /// One of them was not written and never will be: no snapshot is whole any more.
    lost: Arc<AtomicBool>,
    returned: (Sender<Log>, Receiver<Log>),
}

impl Changes {
    pub(super) fn new(setup: Option<SnapshotSetup>) -> Self {
        let handed = setup.is_some().then(|| Handed {
            outstanding: Arc::default(),
            lost: Arc::default(),
            returned: unbounded(),
        });
        Self {
            current: if setup.is_some() { MARKS[0] } else { 0 },
            setup,
            handed,
            piece_bytes: PIECE_BYTES,
            ..Self::default()
        }
    }

    /// Lets pieces have so few bytes.
    #[cfg(test)]
    pub(super) fn hand_over_pieces_of(&mut self, bytes: usize) {
        self.piece_bytes = bytes;
    }

    /// Whether there are snapshots at all.
    #[inline]
    pub(super) fn are_kept(&self) -> bool {
        self.current != 0
    }

    /// The mark of what changes now; 0 without snapshots.
    #[inline]
    pub(super) fn current(&self) -> u8 {
        self.current
    }

    /// The mark of what must be copied before it changes; 0 when there is nothing to copy.
    #[inline]
    pub(super) fn pending(&self) -> u8 {
        self.pending
    }

    /// A barrier: the epoch ends. Everything that was pending was copied before. Returns that epoch.
    pub(super) fn end_epoch(&mut self) -> u64 {
        debug_assert_eq!(self.pending, 0, "one snapshot at a time");
        self.seal_carried();
        self.pending = self.current;
        self.current = MARKS[0] + MARKS[1] - self.current;
        self.epoch += 1;
        (self.carried_pieces, self.copied_pieces) = (0, 0);
        self.epoch - 1
    }

    /// Everything pending was copied.
    pub(super) fn end_copying(&mut self) {
        self.seal_copied();
        self.pending = 0;
    }

    /// Whether a step of copying would only pile up pieces that nobody has written yet.
    pub(super) fn must_wait(&self) -> bool {
        self.copied.bytes() >= self.piece_bytes && self.outstanding() >= OUTSTANDING_MAX
    }

    /// Runs work after all pieces handed over so far were written. Where one was lost, the work is dropped.
    pub(super) fn after_pieces(&self, work: Work) -> std::io::Result<()> {
        let (Some(setup), Some(handed)) = (&self.setup, &self.handed) else { return Ok(()) };
        let lost = Arc::clone(&handed.lost);
        setup.background.spawn(Box::new(move || {
            if !lost.load(Ordering::Acquire) {
                work();
            }
        }))
    }

    /// Waits, where too many pieces are outstanding, until one is written or nobody wants them any more.
    pub(super) fn wait(&self) {
        let Some(setup) = &self.setup else { return };
        while self.outstanding() >= OUTSTANDING_MAX && !setup.writer.is_cancelled() {
            let ended = setup.background.ended();
            if self.outstanding() < OUTSTANDING_MAX {
                return;
            }
            setup.background.wait(ended, WAIT_SLICE);
        }
    }

    fn outstanding(&self) -> usize {
        self.handed.as_ref().map_or(0, |handed| handed.outstanding.load(Ordering::Acquire))
    }

    /// Writes down a point state as it was at the barrier; version 0: it is gone.
    pub(super) fn copy_point(&mut self, point: Point<'_>) {
        self.copied.push_point(point);
        self.seal_full_copies();
    }

    /// Writes down an entry of cells as it was at the barrier.
    pub(super) fn copy(&mut self, key: (&[u8], &[u8]), stored: Option<StoredBytes<'_>>) {
        self.copied.push(key, stored.map_or(Stored::Gone, Stored::Value));
        self.seal_full_copies();
    }

    fn seal_full_copies(&mut self) {
        let bytes = self.copied.bytes();
        if bytes >= self.piece_bytes && (self.outstanding() < OUTSTANDING_MAX || bytes >= PIECE_BYTES_MAX) {
            self.seal_copied();
        }
    }

    /// Writes down a point state that leaves memory; version 0: it is gone.
    pub(super) fn carry_point(&mut self, point: Point<'_>) {
        self.carried.push_point(point);
        self.seal_full();
    }

    /// Writes down an entry of cells that leaves memory; none: it is gone.
    pub(super) fn carry(&mut self, key: (&[u8], &[u8]), stored: Option<StoredBytes<'_>>) {
        self.carried.push(key, stored.map_or(Stored::Gone, Stored::Value));
        self.seal_full();
    }

    /// Writes down that everything whose stored key begins so is gone.
    pub(super) fn carry_cleared(&mut self, prefix: &[u8]) {
        self.carried.push((prefix, &[]), Stored::Cleared);
        self.seal_full();
    }

    fn seal_full(&mut self) {
        if self.carried.bytes() >= self.piece_bytes {
            self.wait();
            self.seal_carried();
        }
    }

    fn seal_carried(&mut self) {
        let order = PieceOrder { epoch: self.epoch, class: PieceClass::Carried, number: self.carried_pieces };
        let log = std::mem::take(&mut self.carried);
        self.carried_pieces += u32::from(!log.is_empty());
        self.carried = self.hand_over(order, log);
    }

    fn seal_copied(&mut self) {
        // Of the epoch that has ended.
        let epoch = self.epoch.saturating_sub(1);
        let order = PieceOrder { epoch, class: PieceClass::Copied, number: self.copied_pieces };
        let log = std::mem::take(&mut self.copied);
        self.copied_pieces += u32::from(!log.is_empty());
        self.copied = self.hand_over(order, log);
    }

    /// Hands a log to the writer and gives an empty one.
    fn hand_over(&mut self, order: PieceOrder, mut log: Log) -> Log {
        let (Some(setup), Some(handed)) = (&self.setup, &self.handed) else { return log };
        if log.is_empty() {
            return log;
        }
        let writer = Arc::clone(&setup.writer);
        let returned = handed.returned.0.clone();
        let (outstanding, kept_bytes) = (Outstanding::new(handed), 2 * self.piece_bytes);
        let work = move || {
            if !writer.is_cancelled() {
                writer.write(order, &log.sorted());
            }
            // Not the memory of one that became huge because the writer was slow.
            log.clear(kept_bytes);
            // The task may be gone.
            let _ = returned.send(log);
            outstanding.written();
        };
        // Work that is dropped says so itself, as does what panics; then no snapshot is ever acknowledged.
        let _ = setup.background.spawn(Box::new(work));
        handed.returned.1.try_recv().unwrap_or_default()
    }
}

/// One of the pieces that were handed over. Dropped before it was written, it was lost.
struct Outstanding {
    count: Arc<AtomicUsize>,
    lost: Arc<AtomicBool>,
    is_written: bool,
}

impl Outstanding {
    fn new(handed: &Handed) -> Self {
        handed.outstanding.fetch_add(1, Ordering::AcqRel);
        Self { count: Arc::clone(&handed.outstanding), lost: Arc::clone(&handed.lost), is_written: false }
    }

    fn written(mut self) {
        self.is_written = true;
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        if !self.is_written {
            self.lost.store(true, Ordering::Release);
        }
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A point state of a key.
#[derive(Clone, Copy)]
pub(super) struct Point<'a> {
    pub(super) group: u16,
    pub(super) state: u16,
    pub(super) key: &'a [u8],
    /// 0: it is gone.
    pub(super) version: u16,
    pub(super) last_access: Option<EventTime>,
    pub(super) value: &'a [u8],
}

impl Log {
    fn push_point(&mut self, point: Point<'_>) {
        let Point { group, state, key, version, last_access, value } = point;
        let stored = match version {
            0 => Stored::Gone,
            _ => Stored::Value(StoredBytes { version, last_access, value }),
        };
        self.push_with(|bytes| append_point_key(group, state, key, bytes), stored);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::background::Inline;

    /// Panics at the first pieces.
    struct Panics(AtomicUsize);

    impl WritePieces for Panics {
        fn write(&self, _: PieceOrder, _: &Piece<'_>) {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            assert!(left == 0, "this piece is lost");
        }

        fn is_cancelled(&self) -> bool {
            false
        }
    }

    /// Whether the work behind two snapshots runs when the first so many pieces are lost.
    fn acknowledged(lost: usize) -> [bool; 2] {
        let setup =
            SnapshotSetup { background: Arc::new(Inline::at_once()), writer: Arc::new(Panics(AtomicUsize::new(lost))) };
        let mut changes = Changes::new(Some(setup));
        std::array::from_fn(|_| {
            changes.carry((b"key", b""), None);
            changes.end_epoch();
            changes.end_copying();
            let ran = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&ran);
            changes.after_pieces(Box::new(move || told.store(true, Ordering::Relaxed))).expect("it runs at once");
            ran.load(Ordering::Relaxed)
        })
    }

    #[test]
    fn after_a_lost_piece_no_snapshot_is_acknowledged() {
        assert_eq!(acknowledged(0), [true, true]);
        // The second snapshot's own pieces are written, but it needs the first one's too.
        assert_eq!(acknowledged(1), [false, false]);
    }
}
