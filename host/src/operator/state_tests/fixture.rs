//! A task with scripted calls: a plugin that does what a test says, run by the same [`Execution`] that runs wasm, over any of the backends.
//!
//! The scripted instance behaves as a binding does: it keeps the keys and prefetched values that it was told of by slot, and checks at every call that they are what the host holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    background::{Background, Inline, Threads},
    metrics::OperatorCounters,
    operator::{
        CallTime, CellColumns, Descriptor, Exchange, ExchangeLimits, Execution, ExecutionSetup, Failure, FaultPolicy,
        Hooks, InputDescriptor, Instance, InstanceLimits, Plugin, StageError, StateDescriptor, StateKind, Strings,
        TaskInfo,
    },
    state::{Delivery, Page, SpillOptions, SpillSetup, StoredColumn, Ttl},
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

    pub(super) fn spill(self, directory: &Path) -> Option<(SpillSetup, usize)> {
        let (run_bytes, budget) = match self {
            Self::Memory => return None,
            Self::Roomy => (1 << 20, 1 << 30),
            Self::Tiny | Self::TinyThreads => (2_000, 1),
            Self::Seeded(seed) => (300 << (seed % 4), 1_500 + (seed as usize % 7) * 700),
        };
        let options = SpillOptions { run_bytes, block_cache_bytes: 1 << 20, ..SpillOptions::default() };
        Some((SpillSetup { directory: directory.to_owned(), options, background: self.background() }, budget))
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

type Work = Box<dyn FnMut(&mut Call<'_>) -> Result<(), Fault> + Send>;

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
        spill: Option<(SpillSetup, usize)>,
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

struct Scripted {
    descriptor: Descriptor,
    work: Arc<Mutex<Option<Work>>>,
    memory: Arc<AtomicUsize>,
}

impl Plugin for Scripted {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn digest(&self) -> &str {
        ""
    }

    fn instantiate(&self, _: InstanceLimits, _: &TaskInfo) -> Result<Box<dyn Instance>, Fault> {
        let (states, work, memory) = (self.descriptor.states.clone(), Arc::clone(&self.work), Arc::clone(&self.memory));
        let is_kept = |state: &StateDescriptor| state.prefetch && state.ttl.is_none();
        let kept = (0_u32..).zip(&states).filter(|(_, state)| is_kept(state)).map(|(number, _)| number);
        let known = Known { prefetched: kept.collect(), ..Known::default() };
        Ok(Box::new(ScriptedInstance { states, work, memory, known, dead: false }))
    }
}

/// What a binding keeps by slot.
#[derive(Default)]
struct Known {
    /// The prefetched states of which values do not expire.
    prefetched: Vec<u32>,
    keys: BTreeMap<u32, Vec<u8>>,
    /// Prefetched values that do not expire, by state and slot.
    values: BTreeMap<(u32, u32), Option<Vec<u8>>>,
    /// Prefetched values that expire, of this call only.
    passing: BTreeMap<(u32, u32), Option<Vec<u8>>>,
}

impl Known {
    fn forget(&mut self, slot: u32) {
        self.keys.remove(&slot);
        self.values.retain(|(_, of), _| *of != slot);
    }
}

struct ScriptedInstance {
    states: Vec<StateDescriptor>,
    work: Arc<Mutex<Option<Work>>>,
    memory: Arc<AtomicUsize>,
    known: Known,
    dead: bool,
}

fn delivered(column: &StoredColumn, index: usize) -> Option<Vec<u8>> {
    match column.get(index, VERSION) {
        (0, bytes) => {
            assert!(bytes.is_empty());
            None
        }
        (version, bytes) => {
            assert_eq!(version, VERSION);
            Some(bytes.to_vec())
        }
    }
}

impl ScriptedInstance {
    /// Learns what came with a call, and checks that it is whole.
    fn learn(&mut self, delivery: &Delivery) {
        for slot in &delivery.released {
            assert!(self.known.keys.contains_key(slot), "slot {slot} is released, and was not held");
            self.known.forget(*slot);
        }
        assert_eq!(BTreeSet::from_iter(&delivery.fresh).len(), delivery.fresh.len(), "a slot comes as fresh twice");
        for (slot, key) in delivery.fresh.iter().zip(delivery.fresh_keys.iter()) {
            self.known.forget(*slot);
            // The key may have had another slot, which stands for nothing then.
            self.known.keys.retain(|_, other| other != key);
            self.known.keys.insert(*slot, key.to_vec());
        }
        let wanted = |expires| {
            let wanted = move |state: &StateDescriptor| state.prefetch && state.ttl.is_some() == expires;
            (0_u32..).zip(&self.states).filter(move |(_, state)| wanted(state)).map(|(number, _)| number)
        };
        let numbers = |columns: &[(u32, StoredColumn)]| columns.iter().map(|(number, _)| *number).collect::<Vec<_>>();
        if !delivery.fresh.is_empty() {
            assert_eq!(numbers(&delivery.prefetched), wanted(false).collect::<Vec<_>>());
            for (number, column) in &delivery.prefetched {
                assert_eq!(column.values.len(), delivery.fresh.len());
                for (index, slot) in delivery.fresh.iter().enumerate() {
                    self.known.values.insert((*number, *slot), delivered(column, index));
                }
            }
        }
        self.known.passing.clear();
        if wanted(true).next().is_some() && !delivery.slots.is_empty() {
            assert_eq!(numbers(&delivery.expiring), wanted(true).collect::<Vec<_>>());
            assert_eq!(BTreeSet::from_iter(&delivery.distinct), BTreeSet::from_iter(&delivery.slots));
            for (number, column) in &delivery.expiring {
                assert_eq!(column.values.len(), delivery.distinct.len());
                for (index, slot) in delivery.distinct.iter().enumerate() {
                    let twice = self.known.passing.insert((*number, *slot), delivered(column, index));
                    assert_eq!(twice, None, "slot {slot} is delivered twice");
                }
            }
        }
    }

    fn run(
        &mut self,
        delivery: &Delivery,
        keys: Option<&Keys>,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault> {
        assert!(!self.dead, "an instance is called after a fault");
        self.learn(delivery);
        for (index, slot) in delivery.slots.iter().enumerate() {
            let key = self.known.keys.get(slot).expect("a slot is told of before it is used");
            assert!(keys.is_none_or(|keys| keys.column.get(index) == key));
            assert_eq!(&exchange.key_of(*slot).expect("a slot has a key"), key);
            for ((state, _), value) in self.known.values.iter().filter(|((_, of), _)| of == slot) {
                let column = exchange.get_many(*state, &[*slot]).expect("it may be read");
                assert_eq!(&delivered(&column, 0), value, "state {state} of {key:?}, as kept by the guest");
            }
        }
        let mut call = Call { exchange, slots: delivery.slots.clone(), known: &mut self.known };
        let mut work = self.work.lock().expect("not poisoned");
        let ended = work.as_mut().expect("there is something to do")(&mut call);
        self.dead = ended.is_err();
        ended.map(|()| Vec::new())
    }
}

impl Instance for ScriptedInstance {
    fn open(&mut self, _: &str, _: &TaskInfo, _: CallTime, _: &mut Box<Exchange>) -> Result<(), Fault> {
        Ok(())
    }

    fn process(
        &mut self,
        _: u32,
        delivery: &Delivery,
        batch: &Batch,
        _: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault> {
        self.run(delivery, batch.keys.as_ref(), exchange)
    }

    fn on_end(
        &mut self,
        delivery: &Delivery,
        _: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault> {
        self.run(delivery, None, exchange)
    }

    fn close(&mut self, _: CallTime, _: &mut Box<Exchange>) -> Result<(), Fault> {
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }
}

/// A call that is under way.
pub(super) struct Call<'a> {
    /// All that a guest may touch.
    pub(super) exchange: &'a mut Exchange,
    /// The slot of each record's key.
    pub(super) slots: Vec<u32>,
    known: &'a mut Known,
}

type Bytes = Vec<u8>;

/// Calls `work` with the columns for one cell. An empty namespace stands for none, as an empty column does; both are tried.
fn one_cell<R>(slot: u32, namespace: &[u8], map_key: Option<&[u8]>, work: impl FnOnce(CellColumns<'_>) -> R) -> R {
    let ends = [namespace.len() as u32];
    let map_ends = [map_key.map_or(0, <[u8]>::len) as u32];
    let cells = CellColumns {
        slots: &[slot],
        namespaces: if namespace.is_empty() && slot.is_multiple_of(2) {
            Strings::default()
        } else {
            Strings { data: namespace, ends: &ends }
        },
        map_keys: map_key.map_or(Strings::default(), |map_key| Strings { data: map_key, ends: &map_ends }),
    };
    work(cells)
}

impl Call<'_> {
    /// What was delivered of a prefetched state: now, or when the slot was fresh.
    pub(super) fn delivered(&self, state: u32, slot: u32) -> Option<Bytes> {
        let known = self.known.values.get(&(state, slot)).or_else(|| self.known.passing.get(&(state, slot)));
        known.expect("it is prefetched").clone()
    }

    pub(super) fn slot_of(&mut self, key: impl AsRef<[u8]>) -> Result<u32, StageError> {
        let slot = self.exchange.slot_of(key.as_ref())?;
        if self.known.keys.get(&slot).is_none_or(|known| known != key.as_ref()) {
            self.known.forget(slot);
            self.known.keys.retain(|_, other| other != key.as_ref());
            self.known.keys.insert(slot, key.as_ref().to_vec());
            // Nothing is delivered for it, now or later.
            for state in self.known.prefetched.clone() {
                let column = self.exchange.get_many(state, &[slot])?;
                self.known.values.insert((state, slot), delivered(&column, 0));
            }
        }
        Ok(slot)
    }

    pub(super) fn try_get(
        &mut self,
        state: u32,
        slot: u32,
        namespace: &[u8],
        map_key: Option<&[u8]>,
    ) -> Result<Option<Bytes>, StageError> {
        let column = one_cell(slot, namespace, map_key, |cells| self.exchange.get_cells(state, cells))?;
        assert_eq!((column.versions.len(), column.values.len()), (1, 1));
        Ok(delivered(&column, 0))
    }

    /// A value, none: it is cleared.
    pub(super) fn try_put(
        &mut self,
        state: u32,
        slot: u32,
        namespace: &[u8],
        map_key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), StageError> {
        let bytes = value.unwrap_or_default();
        let values = Strings { data: bytes, ends: &[bytes.len() as u32] };
        let versions: &[u16] = if value.is_none() { &[0] } else { [&[][..], &[VERSION]][slot as usize % 2] };
        one_cell(slot, namespace, map_key, |cells| self.exchange.put_cells(state, cells, values, versions))?;
        if namespace.is_empty()
            && let Some(known) = self.known.values.get_mut(&(state, slot))
        {
            *known = value.map(<[u8]>::to_vec);
        }
        Ok(())
    }

    pub(super) fn try_append(
        &mut self,
        state: u32,
        slot: u32,
        namespace: &[u8],
        value: &[u8],
    ) -> Result<(), StageError> {
        let values = Strings { data: value, ends: &[value.len() as u32] };
        one_cell(slot, namespace, None, |cells| self.exchange.append_many(state, cells, values))
    }

    pub(super) fn try_clear(&mut self, state: u32, slot: u32, namespace: &[u8]) -> Result<(), StageError> {
        one_cell(slot, namespace, None, |cells| self.exchange.clear_many(state, cells))?;
        if namespace.is_empty()
            && let Some(known) = self.known.values.get_mut(&(state, slot))
        {
            *known = None;
        }
        Ok(())
    }

    /// A page of a list or map.
    pub(super) fn page(&mut self, state: u32, slot: u32, namespace: &str, from: Option<&[u8]>, bytes: u32) -> Page {
        let page = self.exchange.read(state, slot, namespace.as_bytes(), from, bytes).expect("it may be read");
        assert_eq!(page.rests.len(), page.values.values.len());
        assert!((0..page.rests.len()).all(|index| page.values.get(index, 0).0 == VERSION));
        assert!(page.next.is_none() || !page.rests.is_empty(), "a page has at least one entry");
        page
    }

    /// All entries of a map, read in pages of so many bytes.
    pub(super) fn try_entries(
        &mut self,
        state: u32,
        slot: u32,
        namespace: &[u8],
        bytes: u32,
    ) -> Result<Vec<(Bytes, Bytes)>, StageError> {
        let (mut found, mut from) = (Vec::new(), None::<Bytes>);
        loop {
            let page = self.exchange.read(state, slot, namespace, from.as_deref(), bytes)?;
            let entries = page.rests.iter().zip(page.values.values.iter());
            found.extend(entries.map(|(rest, value)| (rest.to_vec(), value.to_vec())));
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(found),
            }
            assert!(!page.rests.is_empty(), "a page has at least one entry");
        }
    }
}

/// The same for texts, where nothing is refused.
impl Call<'_> {
    #[track_caller]
    pub(super) fn get(&mut self, state: u32, slot: u32, namespace: &str) -> Option<String> {
        self.try_get(state, slot, namespace.as_bytes(), None).expect("it may be read").map(text)
    }

    #[track_caller]
    pub(super) fn put(&mut self, state: u32, slot: u32, namespace: &str, value: &str) {
        self.try_put(state, slot, namespace.as_bytes(), None, Some(value.as_bytes())).expect("it may be written");
    }

    #[track_caller]
    pub(super) fn remove(&mut self, state: u32, slot: u32, namespace: &str) {
        self.try_put(state, slot, namespace.as_bytes(), None, None).expect("it may be written");
    }

    #[track_caller]
    pub(super) fn entry(&mut self, state: u32, slot: u32, namespace: &str, map_key: &str) -> Option<String> {
        let found = self.try_get(state, slot, namespace.as_bytes(), Some(map_key.as_bytes()));
        found.expect("it may be read").map(text)
    }

    #[track_caller]
    pub(super) fn put_entry(&mut self, state: u32, slot: u32, namespace: &str, map_key: &str, value: &str) {
        let put = self.try_put(state, slot, namespace.as_bytes(), Some(map_key.as_bytes()), Some(value.as_bytes()));
        put.expect("it may be written");
    }

    #[track_caller]
    pub(super) fn remove_entry(&mut self, state: u32, slot: u32, namespace: &str, map_key: &str) {
        let put = self.try_put(state, slot, namespace.as_bytes(), Some(map_key.as_bytes()), None);
        put.expect("it may be written");
    }

    #[track_caller]
    pub(super) fn append(&mut self, state: u32, slot: u32, namespace: &str, value: &str) {
        self.try_append(state, slot, namespace.as_bytes(), value.as_bytes()).expect("it may be written");
    }

    #[track_caller]
    pub(super) fn clear(&mut self, state: u32, slot: u32, namespace: &str) {
        self.try_clear(state, slot, namespace.as_bytes()).expect("it may be written");
    }

    /// `key=value` for every entry of a map.
    #[track_caller]
    pub(super) fn map(&mut self, state: u32, slot: u32, namespace: &str) -> Vec<String> {
        let entries = self.try_entries(state, slot, namespace.as_bytes(), 1 << 20).expect("it may be read");
        entries.into_iter().map(|(map_key, value)| format!("{}={}", text(map_key), text(value))).collect()
    }

    #[track_caller]
    pub(super) fn list(&mut self, state: u32, slot: u32, namespace: &str) -> Vec<String> {
        let elements = self.try_entries(state, slot, namespace.as_bytes(), 1 << 20).expect("it may be read");
        elements.into_iter().map(|(_, value)| text(value)).collect()
    }
}

fn text(bytes: Bytes) -> String {
    String::from_utf8(bytes).expect("text")
}
