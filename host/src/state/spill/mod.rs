//! The spill: where a task's state goes that does not fit into its memory. It lives as long as its task; durability is the business of checkpoints.
//!
//! ```text
//! owner: push ──► active run ──(full)──► sealed runs, at most 2 ──(helper: sort, ingest)──► fjall
//! owner: get, range ◄── newest first: active run, sealed runs, fjall
//! ```
//!
//! - The owner is a task: one thread pushes and reads. It never writes to the disk and never waits for it, but when it is told to by [`Spill::may_push`]. The helper
//!   ([`Background`]) writes one run after the other.
//! - A sealed run can be read until the owner knows that all of it is in the database, so nothing is ever invisible.
//! - Of several entries of a key the one pushed last counts. A tombstone hides older ones and is read as absent.
//! - Where nothing was pushed a miss asks nobody ([`Spill::may_contain`]).
//! - Memory is bounded: three runs and the database's cache. So is the disk, by compactions that keep up or make the helper wait, which makes the owner wait.
//! - A failure anywhere makes every later call fail with the same error. The task then fails; a new one begins with an empty folder.
//!
//! A sealed run in key order (`SortedRun`) is what a delta of a checkpoint will be made of, too: both are written from one sorting.
//!
//! What is absent on purpose: this module does not know what keys and values mean (that is the module `stored`), but for the time to live in the compaction filter; it does
//! not cache, and it reads no clock.

mod error;
mod filter;
mod folder;
mod ordered;
mod range;
mod run;
mod store;

use std::{
    collections::VecDeque,
    mem,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Duration,
};

use crossbeam::channel::{Receiver, Sender, unbounded};

pub use error::{SpillError, SpillProblem};
pub use range::SpillRange;
pub use run::Access;

use self::{
    folder::Folder,
    range::{RunHead, StoreHead},
    run::{RUN_BYTES_MAX, RUN_KEY_BYTES_MAX, RUN_VALUE_BYTES_MAX, Run, hash_of},
    store::Store,
};
use super::{
    Expiry,
    stored::{StoredError, end_of_prefix},
};
use crate::background::Background;

/// Sealed runs that are not known to be in the database: one is written, one waits.
const OUTSTANDING_MAX: usize = 2;
/// How long one look at the helper's progress takes at most.
const WAIT_SLICE: Duration = Duration::from_millis(10);
/// How long the end of a spill waits for its helper. What it still does then is in vain but harmless: the folder stays locked until it is done.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Settings of a spill.
#[derive(Clone, Debug)]
pub struct SpillOptions {
    /// A run of about this many bytes is sealed: 16 MiB. Larger ones cost less to compact and more memory, three times. At most 1 GiB.
    pub run_bytes: usize,
    /// The memory in which the database keeps blocks that it has read: 32 MiB.
    pub block_cache_bytes: usize,
    /// After so much time without progress of the helper the spill has failed: 60 s.
    pub stuck_after: Duration,
    /// What may be dropped from the disk unread. Its contents may change.
    pub expiry: Arc<Expiry>,
}

impl Default for SpillOptions {
    fn default() -> Self {
        Self {
            run_bytes: 16 << 20,
            block_cache_bytes: 32 << 20,
            stuck_after: Duration::from_secs(60),
            expiry: Arc::new(Expiry::new([])),
        }
    }
}

/// What a look-up has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A value.
    Value,
    /// Nothing, or a tombstone.
    Absent,
}

/// What a spill has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpillCounters {
    /// Entries pushed, tombstones included.
    pub entries: u64,
    /// Bytes of keys and values pushed.
    pub bytes: u64,
    /// Runs written to the database.
    pub runs: u64,
    /// Look-ups that asked the database, because no run knew the key.
    pub disk_reads: u64,
    /// Look-ups that found a value there.
    pub disk_hits: u64,
    /// Ranges over the database.
    pub disk_ranges: u64,
    /// How often the owner had to wait for the helper.
    pub waits: u64,
    /// How long it waited: back-pressure of the disk.
    pub waited: Duration,
    /// Bytes on the disk after the run that was written last, obsolete files included.
    pub disk_bytes: u64,
    /// Runs that were not merged with others yet when the last one was written: a look-up asks the filter of each.
    pub disk_runs: u64,
}

/// The evicted entries of one task.
pub struct Spill {
    options: SpillOptions,
    background: Arc<dyn Background>,
    store: Arc<Store>,
    active: Run,
    /// Oldest first.
    sealed: VecDeque<Arc<Run>>,
    /// Empty runs, for their memory.
    spare: Vec<Run>,
    outcomes: (Sender<Outcome>, Receiver<Outcome>),
    failure: Option<SpillError>,
    counters: SpillCounters,
}

/// How the oldest sealed run fared.
type Outcome = Result<(), SpillError>;

impl Spill {
    /// Makes the folder, or wipes it, and opens a database in it. Takes some milliseconds; meant to be called at the first eviction.
    ///
    /// # Errors
    /// When the folder holds anything but an earlier spill (nothing is touched then), when it is in use, and when it can't be written.
    pub fn open(directory: &Path, options: SpillOptions, background: Arc<dyn Background>) -> Result<Self, SpillError> {
        let options = SpillOptions { run_bytes: options.run_bytes.clamp(1, RUN_BYTES_MAX), ..options };
        let store = Store::open(Folder::claim(directory)?, &options)?;
        Ok(Self {
            options,
            background,
            store: Arc::new(store),
            active: Run::default(),
            sealed: VecDeque::new(),
            spare: Vec::new(),
            outcomes: unbounded(),
            failure: None,
            counters: SpillCounters::default(),
        })
    }

    /// Whether [`Self::push`] takes an entry without waiting. When it says no, the owner calls [`Self::wait`], or does something else for a while.
    ///
    /// # Errors
    /// When the spill has failed.
    pub fn may_push(&mut self) -> Result<bool, SpillError> {
        self.look_at_outcomes()?;
        Ok(self.active.size() < self.options.run_bytes || self.sealed.len() < OUTSTANDING_MAX)
    }

    /// Evicts an entry: a value, or none for a tombstone. Waits as [`Self::wait`] does where [`Self::may_push`] would say no.
    ///
    /// # Errors
    /// When the spill has failed, and for a key that is empty or longer than 65,535 bytes or a value of more than 256 MiB.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>, access: Access) -> Result<(), SpillError> {
        self.check(key)?;
        let value_bytes = value.map_or(0, <[u8]>::len);
        if value_bytes > RUN_VALUE_BYTES_MAX {
            return Err(self.store.failed(SpillProblem::ValueLength(value_bytes)));
        }
        if self.active.size() >= self.options.run_bytes {
            self.wait()?;
            self.seal()?;
        }
        self.active.push(key, hash_of(key), value, access);
        self.counters.entries += 1;
        self.counters.bytes += (key.len() + value_bytes) as u64;
        // At once when there is room, so that the helper begins early.
        if self.active.size() >= self.options.run_bytes && self.may_seal()? {
            self.seal()?;
        }
        Ok(())
    }

    /// Hands the active run to the helper although it is not full. Waits where too many are outstanding.
    ///
    /// # Errors
    /// When the spill has failed.
    pub fn flush(&mut self) -> Result<(), SpillError> {
        self.wait_until(Self::may_seal)?;
        self.seal()
    }

    /// Waits until everything that was pushed is in the database: from then on, until the next push, ranges find it all, [`Access::Point`] or not. Gives the time that this took.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn settle(&mut self) -> Result<Duration, SpillError> {
        self.flush()?;
        self.wait_until(|spill| spill.look_at_outcomes().map(|()| spill.sealed.is_empty()))
    }

    /// The failure for bytes that are no entry.
    pub(super) fn undecodable(&self, error: &StoredError) -> SpillError {
        self.store.failed(SpillProblem::Corrupt(error.to_string()))
    }

    /// Waits until [`Self::may_push`] and gives the time that this took, which is counted as back-pressure.
    ///
    /// # Errors
    /// When the spill has failed or fails meanwhile, and when the helper makes no progress for too long.
    pub fn wait(&mut self) -> Result<Duration, SpillError> {
        self.wait_until(Self::may_push)
    }

    /// Whether anything was ever pushed. Otherwise there is nothing to ask for.
    #[inline]
    pub fn may_contain(&self) -> bool {
        self.counters.entries > 0
    }

    /// Looks up a key. The value replaces what is in `out`; where there is none, `out` is empty.
    ///
    /// # Errors
    /// When the spill has failed or the database can't be read, and for a key that can't be stored.
    pub fn get(&mut self, key: &[u8], out: &mut Vec<u8>) -> Result<Found, SpillError> {
        out.clear();
        if !self.may_contain() {
            return Ok(Found::Absent);
        }
        self.check(key)?;
        self.look_at_outcomes()?;
        let hash = hash_of(key);
        let evicted = self.newest_first().find_map(|run| run.get(key, hash));
        let found = match evicted {
            Some(Some(value)) => {
                out.extend_from_slice(value);
                true
            }
            Some(None) => false,
            None if self.counters.runs == 0 => false,
            None => {
                self.counters.disk_reads += 1;
                let value = self.store.get(key)?;
                out.extend_from_slice(value.as_deref().unwrap_or_default());
                self.counters.disk_hits += u64::from(value.is_some());
                value.is_some()
            }
        };
        Ok(if found { Found::Value } else { Found::Absent })
    }

    /// The entries whose keys begin with `prefix`, from `from` on (a whole key), in key order. Of what is still in memory it finds what was pushed as [`Access::Ordered`].
    /// Cheap to open: a few microseconds when the database must be asked. Holds a snapshot of the database, so it should not be kept.
    ///
    /// # Errors
    /// When the spill has failed or the database can't be read.
    pub fn range<'a>(&'a mut self, prefix: &'a [u8], from: Bound<&[u8]>) -> Result<SpillRange<'a>, SpillError> {
        self.look_at_outcomes()?;
        let mut range = SpillRange { prefix, runs: Default::default(), store: None };
        let from = match from {
            Bound::Included(key) | Bound::Excluded(key) if key >= prefix => from,
            _ => Bound::Included(prefix),
        };
        let mut end = prefix.to_vec();
        let to = if end_of_prefix(&mut end) { Bound::Excluded(&*end) } else { Bound::Unbounded };
        if let (Bound::Included(first) | Bound::Excluded(first), Bound::Excluded(end)) = (from, to)
            && first >= end
        {
            return Ok(range);
        }
        if self.counters.runs > 0 {
            self.counters.disk_ranges += 1;
        }
        let this: &'a Self = self;
        if this.counters.runs > 0 {
            range.store = Some(StoreHead::new(&this.store, this.store.range(from, to)?));
        }
        for (head, run) in range.runs.iter_mut().zip(this.newest_first()) {
            *head = RunHead::new(prefix, run.range(from));
        }
        Ok(range)
    }

    /// What it has done so far.
    pub fn counters(&self) -> SpillCounters {
        let (disk_bytes, disk_runs) = self.store.disk();
        SpillCounters { disk_bytes, disk_runs, ..self.counters }
    }

    /// The runs in memory.
    fn newest_first(&self) -> impl Iterator<Item = &Run> {
        std::iter::once(&self.active).chain(self.sealed.iter().rev().map(|run| &**run))
    }

    fn check(&self, key: &[u8]) -> Result<(), SpillError> {
        match key.len() {
            1..=RUN_KEY_BYTES_MAX => Ok(()),
            length => Err(self.store.failed(SpillProblem::KeyLength(length))),
        }
    }

    fn may_seal(&mut self) -> Result<bool, SpillError> {
        self.look_at_outcomes()?;
        Ok(self.sealed.len() < OUTSTANDING_MAX)
    }

    /// Hands the active run to the helper; fewer than the maximum are outstanding.
    fn seal(&mut self) -> Result<(), SpillError> {
        if self.active.is_empty() {
            return Ok(());
        }
        let run = Arc::new(mem::replace(&mut self.active, self.spare.pop().unwrap_or_default()));
        self.sealed.push_back(Arc::clone(&run));
        let store = Arc::clone(&self.store);
        let lost = store.failed(SpillProblem::Lost("its work was dropped before it was done".to_owned()));
        let mut telling = Telling { outcomes: self.outcomes.0.clone(), outcome: Some(Err(lost)) };
        let work = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| store.ingest(&run.sorted())));
            let outcome = outcome.unwrap_or_else(|panic| Err(store.failed(SpillProblem::panicked(&*panic))));
            telling.outcome = Some(outcome);
            // Before it is told, so that the owner gets the run's memory back, and closes the database itself.
            drop((run, store));
            drop(telling);
        };
        if let Err(error) = self.background.spawn(Box::new(work)) {
            self.failure = Some(self.store.failed(SpillProblem::Lost(error.to_string())));
        }
        self.look_at_outcomes()
    }

    fn wait_until(&mut self, ready: fn(&mut Self) -> Result<bool, SpillError>) -> Result<Duration, SpillError> {
        // Slices are counted, not time: in simulation waiting takes none, and a helper that has lost its work must not be waited for without end.
        let slices_max = self.options.stuck_after.div_duration_f64(WAIT_SLICE).ceil() as u64;
        let (mut waited, mut slices, mut runs) = (None, 0, self.counters.runs);
        loop {
            // Before the look, so that progress after it ends the wait at once.
            let ended = self.background.ended();
            if ready(self)? {
                break;
            }
            if runs != self.counters.runs {
                (slices, runs) = (0, self.counters.runs);
            }
            if slices > slices_max {
                let error = self.store.failed(SpillProblem::Stuck(self.options.stuck_after));
                self.failure = Some(error.clone());
                return Err(error);
            }
            slices += 1;
            *waited.get_or_insert(Duration::ZERO) += self.background.wait(ended, WAIT_SLICE);
        }
        self.counters.waits += u64::from(waited.is_some());
        self.counters.waited += waited.unwrap_or_default();
        Ok(waited.unwrap_or_default())
    }

    /// Lets go of the runs that are in the database. The first failure stays.
    fn look_at_outcomes(&mut self) -> Result<(), SpillError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        while !self.sealed.is_empty() {
            let Ok(outcome) = self.outcomes.1.try_recv() else { break };
            let run = self.sealed.pop_front().and_then(Arc::into_inner);
            if let Err(failure) = outcome {
                self.failure = Some(failure.clone());
                return Err(failure);
            }
            self.counters.runs += 1;
            // Not the memory of a huge value.
            if let Some(mut run) = run.filter(|run| run.capacity() <= 2 * self.options.run_bytes) {
                run.clear();
                self.spare.push(run);
            }
        }
        Ok(())
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        self.store.cancel();
        let mut waited = Duration::ZERO;
        while !self.sealed.is_empty() && waited < CLOSE_WAIT_MAX {
            let ended = self.background.ended();
            self.sealed.drain(..self.outcomes.1.try_iter().count().min(self.sealed.len()));
            if !self.sealed.is_empty() {
                self.background.wait(ended, WAIT_SLICE);
                waited += WAIT_SLICE;
            }
        }
    }
}

/// Tells the owner how a run fared when it is dropped: at the end of the work, or with work that never ran.
struct Telling {
    outcomes: Sender<Outcome>,
    outcome: Option<Outcome>,
}

impl Drop for Telling {
    fn drop(&mut self) {
        // The owner may be gone.
        let _ = self.outcome.take().map(|outcome| self.outcomes.send(outcome));
    }
}

#[cfg(test)]
mod tests;
