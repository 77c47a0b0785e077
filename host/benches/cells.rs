//! What lists and maps cost in the host: adding to lists, putting into maps and getting from them, 8-byte entries of 100,000 keys, with all of it in memory and with most of it
//! on disk. Before that it prints how many bytes of memory an entry takes. Run it with `cargo bench -p wasmill --bench cells`; what the guest and the boundary add is not in it.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_main};
use wasmill::{
    background::Threads,
    state::{
        Delivery, Form, KeyedState, PlaceOf, SLOTS_DEFAULT, SpillOptions, SpillSetup, StateIds, StateSetup, StateSpec,
        StoredColumn,
    },
    stream::{BytesColumn, EventTime, Keys, SplitMix64},
};

const BATCH: usize = 1024;
const BATCHES: u64 = 256;
/// Distinct keys, each with a list and a map.
const KEYS: u64 = 100_000;
/// Entries of each map.
const MAP_KEYS: u64 = 16;

const POINT: u32 = 0;
const LIST: u32 = 1;
const MAP: u32 = 2;

struct Task {
    state: KeyedState,
    delivery: Delivery,
    random: SplitMix64,
}

impl Task {
    /// `cache` is the memory above which state goes to disk, in `folder`.
    fn new(cache: Option<usize>, folder: &std::path::Path) -> Self {
        let spec =
            |form| Some(StateSpec { form, version: 1, prefetch: false, on_end: false, ttl: None, ttl_since: None });
        let spill = |cache_bytes| SpillSetup {
            directory: folder.join("spill"),
            options: SpillOptions::default(),
            background: Arc::new(Threads::new("spill")),
            cache_bytes,
        };
        let state = KeyedState::new(StateSetup {
            states: vec![spec(Form::Point), spec(Form::List), spec(Form::Map)],
            ids: StateIds::default(),
            slots_max: SLOTS_DEFAULT,
            batch_records: BATCH,
            max_parallelism: 128,
            spill: cache.map(spill),
            snapshots: None,
        });
        Self { state, delivery: Delivery::default(), random: SplitMix64::new(7) }
    }

    /// A call with a batch of random keys; `each` is given the slot of each record and a random number.
    fn call(&mut self, mut each: impl FnMut(&mut KeyedState, u32, u64)) {
        let random = &mut self.random;
        let keys: BytesColumn = (0..BATCH).map(|_| (random.draw() % KEYS).to_le_bytes()).collect();
        self.state.begin(EventTime(0));
        self.state.resolve(&Keys::hashed(keys), &mut self.delivery).expect("the disk is well");
        for slot in &self.delivery.slots {
            each(&mut self.state, *slot, random.draw());
        }
        self.state.commit();
        self.state.tidy().expect("the disk is well");
    }

    fn add(&mut self) {
        self.call(|state, slot, number| {
            let place = PlaceOf { state: LIST, slot, namespace: &[] };
            state.append(place, 1, &number.to_le_bytes()).expect("the slot was given");
        });
    }

    fn put(&mut self) {
        self.call(|state, slot, number| {
            let place = PlaceOf { state: MAP, slot, namespace: &[] };
            let map_key = (number % MAP_KEYS).to_be_bytes();
            state.put_cell(place, &map_key, 1, &number.to_le_bytes()).expect("the slot was given");
        });
    }

    fn get(&mut self) -> usize {
        let mut out = StoredColumn::default();
        self.call(|state, slot, number| {
            let place = PlaceOf { state: MAP, slot, namespace: &[] };
            state.get_cell(place, &(number % MAP_KEYS).to_be_bytes(), &mut out).expect("the disk is well");
        });
        out.values.bytes()
    }
}

/// Bytes of memory that entries take, keys and values included.
fn print_sizes(folder: &std::path::Path) {
    let used = |work: fn(&mut Task)| {
        let mut task = Task::new(None, folder);
        (0..1024).for_each(|_| work(&mut task));
        let (entries, bytes) = task.state.size();
        bytes as f64 / entries as f64
    };
    let point = used(|task| {
        let mut slots = Vec::new();
        task.call(|_, slot, number| slots.push((slot, number)));
        for (slot, number) in slots {
            let mut value = [0; 16];
            value[..8].copy_from_slice(&number.to_le_bytes());
            let (table, behind) = task.state.table_mut();
            table.set_value(slot, POINT, 1, &value, behind).expect("the slot was given");
        }
    });
    eprintln!("bytes of memory for an entry, its key and value included:");
    eprintln!("  point state, key of 8 bytes, value of 16: {point:.0}");
    eprintln!("  map entry, map key and value of 8 bytes:  {:.0}", used(Task::put));
    eprintln!("  list element of 8 bytes:                  {:.0}", used(Task::add));
}

fn cells(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    print_sizes(folder.path());
    for (name, cache) in [("in memory", None), ("a quarter in memory", Some(40 << 20))] {
        let mut group = criterion.benchmark_group(format!("lists and maps, {name}"));
        group.throughput(Throughput::Elements(BATCHES * BATCH as u64)).sample_size(10);
        let mut task = Task::new(cache, folder.path());
        (0..16 * BATCHES).for_each(|_| task.put());
        group.bench_function(BenchmarkId::from_parameter("map put"), |bencher| {
            bencher.iter(|| (0..BATCHES).for_each(|_| task.put()));
        });
        group.bench_function(BenchmarkId::from_parameter("map get"), |bencher| {
            bencher.iter(|| (0..BATCHES).map(|_| task.get()).sum::<usize>());
        });
        let mut task = Task::new(cache, folder.path());
        group.bench_function(BenchmarkId::from_parameter("list add"), |bencher| {
            bencher.iter(|| (0..BATCHES).for_each(|_| task.add()));
        });
        group.finish();
    }
}

criterion_main!(benches);

mod group {
    #![allow(missing_docs, reason = "the macro writes an undocumented function")]
    criterion::criterion_group!(benches, super::cells);
}
use group::benches;
