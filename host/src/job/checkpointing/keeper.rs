//! Snapshots of one operator's task on their way into the storage: pieces become segments.
//!
//! Called where pieces are written, off the record path. A piece that can't be written now is tried again until it is, or until nobody wants it: what it has is nowhere else. So a checkpoint
//! that fails loses nothing; the next one has its segments too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::super::stored_state::SegmentOfTask;
use crate::{
    checkpoint::{
        Entry, Label, Names, RefusedEntry, SEGMENT_BYTES_MAX, SegmentWriter, Storage, StorageError, StorageErrorKind,
        put_same,
    },
    operator::{KeepSnapshots, TakenSnapshot},
    state::{Change, Piece, PieceOrder, StoredBytes, WritePieces},
    stream::{CheckpointId, Fault, FaultKind},
};

/// The wait before something is written again; doubled each time.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// The longest such wait.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// What an attempt's writers share.
pub(super) struct Writing {
    /// The job's folder.
    pub(super) storage: Arc<dyn Storage>,
    /// The attempt.
    pub(super) attempt: u64,
    /// Nobody wants what is still to be written.
    cancelled: AtomicBool,
    /// The names of all segments that the attempt's state consists of, or may: from before they are written until they are replaced.
    in_use: Mutex<BTreeSet<String>>,
    /// Plugins that are in the storage.
    plugins: Mutex<BTreeSet<String>>,
    /// How long a failure is met with another try.
    pub(super) patience: Patience,
    /// Who hears that something can't be written at all.
    pub(super) failed: Box<dyn Fn(Fault) + Send + Sync>,
}

/// How long a failure is met with another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// For as long as the attempt lasts, with waits between.
    Endless,
    /// So many times, at once: in simulation nobody else would run meanwhile.
    Tries(u32),
}

impl Writing {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        attempt: u64,
        in_use: BTreeSet<String>,
        patience: Patience,
        failed: Box<dyn Fn(Fault) + Send + Sync>,
    ) -> Self {
        let (cancelled, plugins) = (AtomicBool::new(false), Mutex::default());
        Self { storage, attempt, cancelled, in_use: Mutex::new(in_use), plugins, patience, failed }
    }

    /// Nobody wants what is still to be written.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// What may not be deleted, whoever refers to it.
    pub(super) fn in_use(&self) -> BTreeSet<String> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The attempt's state may consist of this from now on.
    fn use_name(&self, name: &str) {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Says when nobody wants what is still to be written.
    pub(super) fn cancelled(&self) -> &AtomicBool {
        &self.cancelled
    }

    /// The attempt's state consists of these no more.
    pub(super) fn release<'a>(&self, names: impl Iterator<Item = &'a String>) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            in_use.remove(name);
        }
    }

    /// Makes sure that a plugin is in the storage.
    pub(super) fn put_plugin(&self, name: &str, component: &bytes::Bytes) -> Result<(), StorageError> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if !plugins.contains(name) {
            put_same(&*self.storage, name, component.clone())?;
            plugins.insert(name.to_owned());
        }
        Ok(())
    }

    /// Makes sure that the storage is still the one in which the attempt has begun. Where a folder was moved or unmounted, files would come to lie in another one in its place, and be gone when
    /// it is back.
    pub(super) fn look_for_mark(&self) -> Result<(), StorageError> {
        let mark = Names::attempt(self.attempt);
        match self.storage.size(&mark) {
            Err(error) if error.kind == StorageErrorKind::NotFound => {
                let detail = "the mark of this run is gone, so the storage is, or another one is in its place";
                Err(self.storage.error(&mark, StorageErrorKind::Unavailable, detail.into()))
            }
            found => found.map(drop),
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Puts a file, however long that takes. False: nobody wants it any more, or it can't be.
    pub(super) fn put(&self, name: &str, bytes: &bytes::Bytes) -> bool {
        let mut tries = 0;
        let mut delay = RETRY_DELAY;
        while !self.is_cancelled() {
            // Before, so that nothing is made where the storage was; and after, since it may have been away between.
            let put = self.look_for_mark().and_then(|()| put_same(&*self.storage, name, bytes.clone()));
            let error = match put.and_then(|()| self.look_for_mark()) {
                Ok(()) => return true,
                Err(error) => error,
            };
            tries += 1;
            if let Patience::Tries(most) = self.patience {
                if tries >= most {
                    (self.failed)(unwritable(&error));
                    return false;
                }
                continue;
            }
            if tries == 3 {
                tracing::warn!("{error}; the job goes on and tries again until it works");
            }
            std::thread::sleep(delay);
            delay = (2 * delay).min(RETRY_DELAY_MAX);
        }
        false
    }
}

fn unwritable(error: &StorageError) -> Fault {
    Fault::new(FaultKind::External, error.to_string())
}

/// What was written of a task's snapshots and is in no manifest.
#[derive(Default)]
struct Written {
    /// Segments by the pieces that they were made of.
    pieces: BTreeMap<PieceOrder, Vec<SegmentOfTask>>,
    /// Snapshots of which everything is written.
    complete: BTreeMap<CheckpointId, KeptSnapshot>,
}

/// A snapshot of a task of which everything is written.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptSnapshot {
    /// What has changed since the snapshot before it, oldest first.
    pub(super) segments: Vec<SegmentOfTask>,
    pub(super) operator_state: Option<SegmentOfTask>,
    pub(super) list_elements: u64,
}

/// Keeps the snapshots of one task.
pub(super) struct TaskKeeper {
    writing: Arc<Writing>,
    operator: String,
    task: u32,
    /// The number of the next segment, and with that of its run.
    next: AtomicU64,
    /// The checkpoint that is expected to have what is written now: in the names of segments.
    checkpoint: AtomicU64,
    written: Mutex<Written>,
}

impl TaskKeeper {
    /// `first_run` is above the numbers of all runs that the task begins with; `first` is the attempt's first checkpoint.
    pub(super) fn new(writing: Arc<Writing>, operator: &str, task: u32, first_run: u64, first: CheckpointId) -> Self {
        Self {
            writing,
            operator: operator.to_owned(),
            task,
            next: AtomicU64::new(first_run),
            checkpoint: AtomicU64::new(first.0),
            written: Mutex::default(),
        }
    }

    /// The snapshot for a checkpoint, with what was written for earlier ones that came to nothing. None: it is not whole.
    pub(super) fn take(&self, checkpoint: CheckpointId) -> Option<KeptSnapshot> {
        let mut written = self.lock();
        let mut taken = KeptSnapshot::default();
        written.complete.get(&checkpoint)?;
        while let Some(first) = written.complete.first_entry().filter(|first| *first.key() <= checkpoint) {
            let mut kept = first.remove();
            taken.segments.append(&mut kept.segments);
            // Written whole every time: of what came to nothing, nobody needs it.
            self.writing.release(taken.operator_state.iter().map(|segment| &segment.name));
            taken = KeptSnapshot { segments: std::mem::take(&mut taken.segments), ..kept };
        }
        Some(taken)
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a segment. None: nobody wants it any more.
    fn put(&self, run: u64, writer: SegmentWriter) -> Option<SegmentOfTask> {
        let name = self.name_segment();
        let (bytes, facts) = writer.finish();
        self.writing.put(&name, &bytes.into()).then_some(SegmentOfTask { name, run, facts })
    }

    /// The name of another segment of the task, which may not be deleted from now on.
    pub(super) fn name_segment(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = CheckpointId(self.checkpoint.load(Ordering::Relaxed));
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let name = Names::segment(&self.operator, self.writing.attempt, self.task, id, number);
        // First: whoever deletes what is not in use may list it before anyone refers to it.
        self.writing.use_name(&name);
        name
    }

    fn refused(&self, error: &RefusedEntry) {
        let text = format!("operator {}, task {}: a snapshot can't be written: {error}", self.operator, self.task);
        (self.writing.failed)(Fault::new(FaultKind::HostBug, text));
    }

    fn write_piece(&self, piece: &Piece<'_>) -> Result<Option<Vec<SegmentOfTask>>, RefusedEntry> {
        let run = self.next.load(Ordering::Relaxed);
        let (mut segments, mut writer, mut unwanted) = (Vec::new(), SegmentWriter::new(), false);
        piece.for_each(|key, change| {
            // What a key has behind that it was cleared stays with that.
            if writer.raw_bytes() >= SEGMENT_BYTES_MAX && writer.last_key() != key {
                match self.put(run, std::mem::take(&mut writer)) {
                    Some(segment) => segments.push(segment),
                    None => unwanted = true,
                }
            }
            let entry = match change {
                Change::Value(value) => Entry::Value(value),
                Change::Gone => Entry::Tombstone,
                Change::Cleared => Entry::Cleared,
            };
            writer.push(key, entry, label(key, &change))
        })?;
        if writer.entries() > 0 {
            match self.put(run, writer) {
                Some(segment) => segments.push(segment),
                None => unwanted = true,
            }
        }
        Ok((!unwanted).then_some(segments))
    }

    fn write_operator_state(&self, entries: &[(Vec<u8>, Vec<u8>)]) -> Result<Option<SegmentOfTask>, RefusedEntry> {
        let mut writer = SegmentWriter::new();
        for (key, value) in entries {
            writer.push(key, Entry::Value(value), label(key, &Change::Value(value)))?;
        }
        let run = self.next.load(Ordering::Relaxed);
        Ok(if entries.is_empty() { None } else { self.put(run, writer) })
    }
}

/// The state and the schema version of an entry.
fn label(key: &[u8], change: &Change<'_>) -> Label {
    let state = key.get(2..4).and_then(|id| id.try_into().ok()).map_or(0, u16::from_be_bytes);
    let version = match change {
        Change::Value(value) => StoredBytes::decode(value).map_or(0, |stored| stored.version),
        Change::Gone | Change::Cleared => 0,
    };
    Label { state, version }
}

impl WritePieces for TaskKeeper {
    fn write(&self, order: PieceOrder, piece: &Piece<'_>) {
        match self.write_piece(piece) {
            Ok(Some(segments)) => drop(self.lock().pieces.insert(order, segments)),
            Ok(None) => {}
            Err(error) => self.refused(&error),
        }
    }

    fn is_cancelled(&self) -> bool {
        self.writing.is_cancelled()
    }
}

impl KeepSnapshots for TaskKeeper {
    fn complete(&self, taken: TakenSnapshot) -> bool {
        let operator_state = match self.write_operator_state(&taken.operator_state) {
            Ok(operator_state) => operator_state,
            Err(error) => {
                self.refused(&error);
                return false;
            }
        };
        if self.is_cancelled() {
            return false;
        }
        let mut written = self.lock();
        let mut segments = Vec::new();
        while let Some(first) = written.pieces.first_entry().filter(|first| first.key().epoch <= taken.epoch) {
            segments.append(&mut first.remove());
        }
        let TakenSnapshot { checkpoint, list_elements, .. } = taken;
        written.complete.insert(checkpoint, KeptSnapshot { segments, operator_state, list_elements });
        self.checkpoint.fetch_max(checkpoint.next().0, Ordering::Relaxed);
        true
    }
}
