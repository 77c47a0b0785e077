//! fjall, the database on the disk. The only file that calls it, and what must be known of it (3.1.13):
//!
//! - The record thread never writes to it: a put stalls for up to 265 ms. Runs are ingested by a helper, past journal and memtable. What is ingested is visible at once or not at
//!   all, newer than everything before, and must come in strictly ascending order.
//! - An empty key destroys a database, one above 65,535 bytes poisons it: nothing gets here that was not looked at.
//! - Nothing is ever persisted, cleared or reopened. Durability is the business of checkpoints.
//! - One worker thread. Of several, the first one passes compactions on to the others, round and round while those are busy, at the cost of a core.
//! - Ingestion waits for nothing: where compacting can't keep up, tables would pile up and each read would ask all of them. So the helper waits.
//! - A worker that fails (a full disk, a checksum that is wrong) poisons the database and is gone. Reads go on, ingestion too, but nothing is ever compacted again; so the poison is
//!   looked for after each ingestion.
//! - Obsolete tables are removed by a later compaction, which the next few ingestions cause.

use std::{
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use fjall::{
    AbstractTree, CompressionType, Database, Iter, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable,
    UserKey, UserValue,
    compaction::{Leveled, filter::Factory},
    config::{BlockSizePolicy, CompressionPolicy, PinningPolicy},
};

use super::{SpillError, SpillOptions, SpillProblem, filter::ExpiryFilterFactory, folder::Folder, run::SortedRun};

/// From so many runs in level 0 on, nothing more is ingested until some were compacted. fjall stalls its own writers at 20.
const L0_RUNS_MAX: usize = 16;
/// How often the helper looks whether level 0 has become shorter.
const L0_POLL: Duration = Duration::from_millis(5);
/// After so many looks at level 0 a compaction is asked for: each ingestion asks for one, which may have gone to other levels.
const L0_POLLS_PER_KICK: u32 = 200;
/// A key that no state has: key groups are smaller.
const NOBODYS_KEY: [u8; 2] = [0xff; 2];
const FILES_OPEN_MAX: usize = 256;
const BLOCK_BYTES: u32 = 8 << 10;
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Bytes of a table after compacting, and a quarter of level 1, which each merge of level 0 rewrites. At 4 M keys of 100 bytes, overwritten at random, this size takes 35 %
/// more entries per second than fjall's 64 MiB, in half the space on the disk, and no merge takes long.
const TABLE_BYTES: u64 = 16 << 20;

/// The database of one task. Dropping it removes it from the disk.
pub(super) struct Store {
    /// None only while this is dropped.
    opened: Option<Opened>,
    disk_bytes: AtomicU64,
    level_0_runs: AtomicU64,
    /// Nobody wants what is still to be ingested.
    cancelled: AtomicBool,
    stuck_after: Duration,
    /// Dropped last: removes the files.
    folder: Folder,
}

struct Opened {
    database: Database,
    keyspace: Keyspace,
}

impl Store {
    pub(super) fn open(folder: Folder, options: &SpillOptions) -> Result<Self, SpillError> {
        let opened = catch_unwind(AssertUnwindSafe(|| open(&folder, options)))
            .map_err(|panic| SpillProblem::panicked(&*panic))
            .and_then(|opened| opened.map_err(|error| problem("opening the database", &error)))
            .map_err(|problem| SpillError { directory: folder.directory().to_owned(), problem })?;
        Ok(Self {
            opened: Some(opened),
            disk_bytes: AtomicU64::new(folder.disk_bytes()),
            level_0_runs: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            stuck_after: options.stuck_after,
            folder,
        })
    }

    /// An error with the place.
    pub(super) fn failed(&self, problem: SpillProblem) -> SpillError {
        SpillError { directory: self.folder.directory().to_owned(), problem }
    }

    /// Bytes on the disk and runs in level 0 after the last ingestion.
    pub(super) fn disk(&self) -> (u64, u64) {
        (self.disk_bytes.load(Ordering::Relaxed), self.level_0_runs.load(Ordering::Relaxed))
    }

    /// What is still to be ingested need not be.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<UserValue>, SpillError> {
        self.guarded("reading a value", |opened| opened.keyspace.get(key))
    }

    /// Entries between two bounds as they are now, in the order of their keys.
    pub(super) fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Iter, SpillError> {
        // Of a snapshot: a range of the keyspace itself would show what is ingested meanwhile.
        self.guarded("reading a range", |opened| {
            Ok(opened.database.snapshot().range::<&[u8], _>(&opened.keyspace, (from, to)))
        })
    }

    /// The next entry of a range.
    pub(super) fn next(&self, range: &mut Iter) -> Result<Option<(UserKey, UserValue)>, SpillError> {
        self.guarded("reading a range", |_| range.next().map(fjall::Guard::into_inner).transpose())
    }

    /// Writes a run. On the helper: waits for the disk, and for compactions when there are too many runs already.
    pub(super) fn ingest(&self, run: &SortedRun) -> Result<(), SpillError> {
        self.wait_for_level_0()?;
        if self.cancelled.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.guarded("writing a run", |opened| {
            let mut ingestion = opened.keyspace.start_ingestion()?;
            for (key, value) in run.iter() {
                match value {
                    Some(value) => ingestion.write(key, value)?,
                    None => ingestion.write_tombstone(key)?,
                }
            }
            ingestion.finish()
        })?;
        self.look_for_poison()?;
        self.disk_bytes.store(self.folder.disk_bytes(), Ordering::Relaxed);
        self.level_0_runs.store(self.count_level_0()? as u64, Ordering::Relaxed);
        Ok(())
    }

    fn wait_for_level_0(&self) -> Result<(), SpillError> {
        let mut polls = 0;
        while self.count_level_0()? >= L0_RUNS_MAX {
            if self.cancelled.load(Ordering::Relaxed) {
                return Ok(());
            }
            if L0_POLL * polls >= self.stuck_after {
                return Err(self.failed(SpillProblem::Stuck(self.stuck_after)));
            }
            polls += 1;
            if polls % L0_POLLS_PER_KICK == 0 {
                self.ask_for_a_compaction()?;
            }
            self.look_for_poison()?;
            thread::sleep(L0_POLL);
        }
        Ok(())
    }

    /// What fjall does after each flush of a memtable. One at a time: with four that wait, fjall would sleep until its worker has flushed one, even when that worker is gone.
    pub(super) fn ask_for_a_compaction(&self) -> Result<(), SpillError> {
        self.guarded("compacting", |opened| {
            if opened.keyspace.sealed_memtable_count() > 0 {
                return Ok(());
            }
            opened.keyspace.remove(NOBODYS_KEY)?;
            opened.keyspace.rotate_memtable().map(drop)
        })
    }

    fn count_level_0(&self) -> Result<usize, SpillError> {
        self.guarded("compacting", |opened| Ok(opened.keyspace.tree.l0_run_count()))
    }

    /// Asks the database whether one of its threads failed. The journal that this flushes to the system is empty.
    fn look_for_poison(&self) -> Result<(), SpillError> {
        self.guarded("looking after the database", |opened| opened.database.persist(PersistMode::Buffer))
    }

    /// Calls fjall. It panics when a lock of its is poisoned, among others.
    #[inline]
    fn guarded<T>(
        &self,
        during: &'static str,
        call: impl FnOnce(&Opened) -> fjall::Result<T>,
    ) -> Result<T, SpillError> {
        let Some(opened) = &self.opened else { return Err(self.failed(SpillProblem::Poisoned)) };
        match catch_unwind(AssertUnwindSafe(|| call(opened))) {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(self.failed(problem(during, &error))),
            Err(panic) => Err(self.failed(SpillProblem::panicked(&*panic))),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Before the files go. Closing panics when a thread of the database did.
        let _ = catch_unwind(AssertUnwindSafe(|| self.opened.take()));
    }
}

fn open(folder: &Folder, options: &SpillOptions) -> fjall::Result<Opened> {
    let factory: Arc<dyn Factory> = Arc::new(ExpiryFilterFactory(Arc::clone(&options.expiry)));
    let builder = Database::builder(folder.database())
        .cache_size(options.block_cache_bytes as u64)
        .worker_threads(1)
        .manual_journal_persist(true)
        .max_cached_files(Some(FILES_OPEN_MAX))
        .with_compaction_filter_factories(Arc::new(move |_| Some(Arc::clone(&factory))));
    let database = builder.open()?;
    let keyspace = database.keyspace("state", || {
        KeyspaceCreateOptions::default()
            .manual_journal_persist(true)
            .max_memtable_size(MEMTABLE_BYTES)
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
            .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
            .index_block_pinning_policy(PinningPolicy::all(true))
            .filter_block_pinning_policy(PinningPolicy::all(true))
            // Misses are common here: new keys. Their filters must be kept.
            .expect_point_read_hits(false)
            .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
    })?;
    Ok(Opened { database, keyspace })
}

fn problem(during: &'static str, error: &fjall::Error) -> SpillProblem {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => SpillProblem::io(during, error),
        fjall::Error::Storage(
            LsmError::ChecksumMismatch { .. }
            | LsmError::Decompress(_)
            | LsmError::InvalidTag(_)
            | LsmError::InvalidTrailer
            | LsmError::InvalidHeader(_)
            | LsmError::Unrecoverable,
        ) => SpillProblem::Corrupt(format!("{during}: {error}")),
        fjall::Error::Poisoned => SpillProblem::Poisoned,
        fjall::Error::Locked => SpillProblem::InUse,
        other => SpillProblem::Database(format!("{during}: {other}")),
    }
}
