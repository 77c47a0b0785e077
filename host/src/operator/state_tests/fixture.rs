//! A task with scripted calls: a plugin that does what a test says, run by the same [`Execution`] that runs wasm, over any of the backends.
//!
//! The scripted instance behaves as a binding does: it keeps the keys and prefetched values that it was told of by slot, and checks at every call that they are what the host holds.

mod call;
mod instance;

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;

pub(super) use self::call::Call;
use self::instance::{Scripted, Work};
use crate::{
    background::{Background, Inline, Threads},
    metrics::OperatorCounters,
    operator::{
        CallTime, Descriptor, ExchangeLimits, Execution, ExecutionSetup, FaultPolicy, Hooks, InputDescriptor,
        InstanceLimits, StateDescriptor, StateKind, TaskInfo,
    },
    state::{SpillOptions, SpillSetup, Ttl},
    stream::{Batch, BatchLimits, BytesColumn, EventTime, Fault, FaultKind, Keys, schema::Schema},
};

/// The schema version of all states.
pub(super) const VERSION: u16 = 3;
/// The input without keys.
pub(super) const UNKEYED: u32 = 1;

const MEMORY_CAP: usize = 1 << 30;

/// Where state is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    /// All of it in memory.
    Memory,
    /// A spill that is never needed.
    Roomy,
    /// Everything is evicted after each call, and what is written to the disk is written at once.
    Tiny,
    /// Everything is evicted after each call, and written by a thread.
    TinyThreads,
    /// Some is evicted after each call, and written when this seed says so.
    Seeded(u64),
}

impl Backend {
    /// Whether nothing stays in memory between calls.
    pub(super) fn keeps_nothing(self) -> bool {
        matches!(self, Self::Tiny | Self::TinyThreads)
    }

    fn background(self) -> Arc<dyn Background> {
        match self {
            Self::Memory | Self::Roomy | Self::Tiny => Arc::new(Inline::at_once()),
            Self::TinyThreads => Arc::new(Threads::new("spill")),
            Self::Seeded(seed) => Arc::new(Inline::seeded(seed)),
        }
    }

    pub(super) fn spill(self, directory: &Path) -> Option<SpillSetup> {
        let (run_bytes, cache_bytes) = match self {
            Self::Memory => return None,
            Self::Roomy => (1 << 20, 1 << 30),
            Self::Tiny | Self::TinyThreads => (2_000, 1),
            Self::Seeded(seed) => (300 << (seed % 4), 1_500 + (seed as usize % 7) * 700),
        };
        let options = SpillOptions { run_bytes, block_cache_bytes: 1 << 20, ..SpillOptions::default() };
        Some(SpillSetup { directory: directory.to_owned(), options, background: self.background(), cache_bytes })
    }
}

/// A state of some kind, to be made more special.
pub(super) fn state(kind: StateKind) -> StateDescriptor {
    StateDescriptor {
        name: String::new(),
        kind,
        version: VERSION,
        schema: Schema::bytes(),
        migrates_from: Vec::new(),
        map_key: kind.is_map().then(Schema::bytes),
        ttl: None,
        prefetch: false,
        on_end: false,
    }
}

/// What is said of a state beside its kind.
pub(super) trait Refine {
    fn prefetched(self) -> Self;
    fn visited(self) -> Self;
    /// A time to live that begins anew with each write.
    fn expiring(self, ms: u64) -> Self;
    /// A time to live that begins anew with each write and read.
    fn expiring_unread(self, ms: u64) -> Self;
}

impl Refine for StateDescriptor {
    fn prefetched(self) -> Self {
        Self { prefetch: true, ..self }
    }

    fn visited(self) -> Self {
        Self { on_end: true, ..self }
    }

    fn expiring(self, ms: u64) -> Self {
        Self { ttl: Some(Ttl { ms, on_read: false }), ..self }
    }

    fn expiring_unread(self, ms: u64) -> Self {
        Self { ttl: Some(Ttl { ms, on_read: true }), ..self }
    }
}

/// A task whose calls are written by a test.
pub(super) struct Task {
    /// What the next call does.
    work: Arc<Mutex<Option<Work>>>,
    execution: Execution,
    backend: Backend,
    /// What instances say that they use.
    memory: Arc<AtomicUsize>,
    /// Processing time of the next call.
    pub(super) now: i64,
    /// Removed when the task has ended.
    _folder: Arc<TempDir>,
}

impl Task {
    /// A task with these states, for batches of at most 64 records.
    pub(super) fn new(backend: Backend, states: impl IntoIterator<Item = StateDescriptor>) -> Self {
        Self::with_records(backend, states, 64)
    }

    /// A task for batches of at most so many records.
    pub(super) fn with_records(
        backend: Backend,
        states: impl IntoIterator<Item = StateDescriptor>,
        records: usize,
    ) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let spill = backend.spill(&folder.path().join("task"));
        Self::with_spill(backend, states, spill, folder, records)
    }

    /// A task with a spill of its own.
    pub(super) fn with_spill(
        backend: Backend,
        states: impl IntoIterator<Item = StateDescriptor>,
        spill: Option<SpillSetup>,
        folder: Arc<TempDir>,
        records: usize,
    ) -> Self {
        let named = |(number, state)| StateDescriptor { name: format!("state {number}"), ..state };
        let input =
            |name: &str, key| InputDescriptor { name: name.into(), key, value: Schema::bytes(), broadcast: false };
        let descriptor = Descriptor {
            name: "scripted".into(),
            version: "1".into(),
            inputs: vec![input("in", Some(Schema::bytes())), input("unkeyed", None)],
            outputs: Vec::new(),
            states: states.into_iter().enumerate().map(named).collect(),
            hooks: Hooks::default(),
        };
        assert_eq!(descriptor.refusals(), Vec::<String>::new());
        let (work, memory) = (Arc::default(), Arc::default());
        let info = TaskInfo {
            job: "job".into(),
            operator: "scripted".into(),
            task: 0,
            parallelism: 1,
            max_parallelism: 8,
            key_groups: 0..8,
            batch: BatchLimits { records, bytes: 1 << 20 },
        };
        let setup = ExecutionSetup {
            info,
            plugin: Arc::new(Scripted { descriptor, work: Arc::clone(&work), memory: Arc::clone(&memory) }),
            config: "{}".into(),
            limits: InstanceLimits { memory_bytes_max: MEMORY_CAP, call_time: Duration::from_secs(1) },
            exchange_limits: ExchangeLimits::default(),
            policy: FaultPolicy::Fail,
            faults_per_minute: u32::MAX,
            keys_wanted: true,
            key_schemas: Vec::new(),
            counters: Arc::new(OperatorCounters::default()),
            time: CallTime { now: EventTime(0), watermark: None },
            spill,

            snapshots: None,
            restored: crate::operator::Restored::default(),
            state_ids: crate::state::StateIds::default(),
            succession: Arc::default(),
            log: Box::new(|_, _, _| {}),
        };
        Self { work, execution: Execution::new(setup).expect("it opens"), backend, memory, now: 1_000, _folder: folder }
    }

    fn time(&self) -> CallTime {
        CallTime { now: EventTime(self.now), watermark: None }
    }

    fn set<R: Send + 'static>(
        &mut self,
        mut work: impl FnMut(&mut Call<'_>) -> Result<R, Fault> + Send + 'static,
    ) -> Arc<Mutex<Vec<R>>> {
        let results = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&results);
        *self.work.lock().expect("not poisoned") = Some(Box::new(move |call| {
            told.lock().expect("not poisoned").push(work(call)?);
            Ok(())
        }));
        results
    }

    /// A call with a record for each of these keys, or the fault with which it ended.
    pub(super) fn try_call<R: Send + 'static>(
        &mut self,
        keys: &[impl AsRef<[u8]>],
        work: impl FnMut(&mut Call<'_>) -> R + Send + 'static,
    ) -> Result<R, Fault> {
        self.run(keys, work, |_| Ok(()))
    }

    fn run<R: Send + 'static>(
        &mut self,
        keys: &[impl AsRef<[u8]>],
        mut work: impl FnMut(&mut Call<'_>) -> R + Send + 'static,
        end: fn(&R) -> Result<(), Fault>,
    ) -> Result<R, Fault> {
        let results = self.set(move |call| {
            let result = work(call);
            end(&result).map(|()| result)
        });
        let batch = Batch {
            values: BytesColumn::empty_strings(keys.len()),
            keys: Some(Keys::hashed(keys.iter().map(AsRef::as_ref).collect())),
            timestamps: Vec::new(),
        };
        self.execution.process(0, &batch, self.time(), &mut Vec::new(), &mut Batch::new(false))?;
        if self.backend.keeps_nothing() {
            assert_eq!(self.execution.state_size().0, 0, "all is evicted after each call");
        }
        let result = results.lock().expect("not poisoned").pop();
        Ok(result.expect("it was called"))
    }

    /// A call with a record for each of these keys, that returns well.
    #[track_caller]
    pub(super) fn call<R: Send + 'static>(
        &mut self,
        keys: &[impl AsRef<[u8]>],
        work: impl FnMut(&mut Call<'_>) -> R + Send + 'static,
    ) -> R {
        match self.try_call(keys, work) {
            Ok(result) => result,
            Err(fault) => panic!("{fault}"),
        }
    }

    /// A call that traps at its end: what it did is taken back, and a new instance goes on.
    pub(super) fn trapping_call(
        &mut self,
        keys: &[impl AsRef<[u8]>],
        work: impl FnMut(&mut Call<'_>) + Send + 'static,
    ) {
        // With a record, so that nothing is tried again to find it.
        let trap = |(): &()| Err(Fault { index: Some(0), ..Fault::new(FaultKind::Trap, "as told") });
        let fault = self.run(keys, work, trap).expect_err("it traps");
        assert_eq!(fault.kind, FaultKind::Trap, "{fault}");
    }

    /// A call that ends as `work` says.
    pub(super) fn ending_call(
        &mut self,
        keys: &[impl AsRef<[u8]>],
        work: impl FnMut(&mut Call<'_>) -> Result<(), Fault> + Send + 'static,
    ) -> Result<(), Fault> {
        self.run(keys, work, Clone::clone).map(drop)
    }

    /// A call for a record without a key.
    pub(super) fn unkeyed_call<R: Send + 'static>(
        &mut self,
        mut work: impl FnMut(&mut Call<'_>) -> R + Send + 'static,
    ) -> Result<R, Fault> {
        let results = self.set(move |call| Ok(work(call)));
        let batch = Batch { values: BytesColumn::empty_strings(1), ..Batch::default() };
        self.execution.process(UNKEYED, &batch, self.time(), &mut Vec::new(), &mut Batch::new(false))?;
        let result = results.lock().expect("not poisoned").pop();
        Ok(result.expect("it was called"))
    }

    /// The end of the input. Gives the keys that were visited, in the order of their visits.
    pub(super) fn end(&mut self, mut work: impl FnMut(&mut Call<'_>) + Send + 'static) -> Result<Vec<Vec<u8>>, Fault> {
        let visited = self.set(move |call| {
            work(call);
            let keys = call.slots.iter().map(|slot| call.exchange.key_of(*slot).expect("a slot has a key"));
            Ok(keys.collect::<Vec<_>>())
        });
        while self.execution.on_end(self.time(), &mut Vec::new(), &mut Batch::new(false))? {}
        let visited = std::mem::take(&mut *visited.lock().expect("not poisoned"));
        Ok(visited.into_iter().flatten().collect())
    }

    /// The keys that the end of the input visits, sorted, when visits change nothing.
    pub(super) fn visited(&mut self) -> Vec<String> {
        let mut visited = self.end(|_| {}).expect("the end is visited");
        visited.sort();
        visited.into_iter().map(|key| String::from_utf8(key).expect("text")).collect()
    }

    /// The guest uses more and more memory: it has to forget half of its slots after the next call.
    pub(super) fn grow_guest(&mut self) {
        self.memory.fetch_max(MEMORY_CAP / 2, Ordering::Relaxed);
        self.memory.fetch_add(1, Ordering::Relaxed);
    }

    /// Keys and other entries in memory, and bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        self.execution.state_size()
    }
}
