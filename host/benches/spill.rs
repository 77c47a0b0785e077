//! Read-modify-writes: by fjall alone (a look-up and an insertion for each), by a spill (a look-up, and an eviction to a run that a helper ingests), and by a task's state as
//! operators have it: the slot table as a cache of 64 MiB, with a spill behind it, in batches. All have the keys already, the same block cache, and no durability. Run it with
//! `cargo bench -p wasmill --bench spill`; it is in no test.

use std::{path::Path, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_main};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, config::CompressionPolicy};
use wasmill::{
    background::Threads,
    state::{
        Access, Delivery, Form, KeyedState, SLOTS_DEFAULT, Spill, SpillOptions, SpillSetup, StateIds, StateSetup,
        StateSpec, StoredKey,
    },
    stream::{BytesColumn, EventTime, Keys, SplitMix64, hash_key, key_group},
};

/// Read-modify-writes in an iteration: several runs of a spill, so that the helper's work is in the figure.
const UPDATES: u64 = 512_000;
const BATCH: usize = 1024;
const BLOCK_CACHE_BYTES: usize = 64 << 20;

/// Something that keeps a value per key.
trait Kept {
    fn get(&mut self, key: &[u8], out: &mut Vec<u8>);
    fn put(&mut self, key: &[u8], value: &[u8]);
}

impl Kept for Keyspace {
    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&Keyspace::get(self, key).expect("it can be read").unwrap_or_default());
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.insert(key, value).expect("it can be written");
    }
}

impl Kept for Spill {
    fn get(&mut self, key: &[u8], out: &mut Vec<u8>) {
        Spill::get(self, key, out).expect("it can be read");
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(key, Some(value), Access::Point).expect("it can be written");
    }
}

fn stored_key(number: u64, out: &mut Vec<u8>) {
    let key = number.to_le_bytes();
    let group = key_group(hash_key(&key), 128) as u16;
    StoredKey { key_group: group, state: 1, key: &key, namespace: b"", entry: b"" }.encode(out).expect("it is short");
}

fn write_all(kept: &mut impl Kept, keys: u64, value_bytes: usize) {
    let (mut key, value) = (Vec::new(), vec![1; value_bytes]);
    for number in 0..keys {
        stored_key(number, &mut key);
        kept.put(&key, &value);
    }
}

fn update(kept: &mut impl Kept, keys: u64, rng: &mut SplitMix64) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for _ in 0..UPDATES {
        stored_key(rng.draw() % keys, &mut key);
        kept.get(&key, &mut value);
        for byte in &mut value {
            *byte = byte.wrapping_add(1);
        }
        kept.put(&key, &value);
    }
}

/// A task's state with 64 MiB of memory.
struct Cached {
    state: KeyedState,
    delivery: Delivery,
}

impl Cached {
    fn new(folder: &Path) -> Self {
        let setup = SpillSetup {
            directory: folder.join("spill"),
            options: SpillOptions { block_cache_bytes: BLOCK_CACHE_BYTES, ..SpillOptions::default() },
            background: Arc::new(Threads::new("bench")),
            cache_bytes: 64 << 20,
        };
        let spec =
            StateSpec { form: Form::Point, version: 1, prefetch: false, on_end: false, ttl: None, ttl_since: None };
        let state = KeyedState::new(StateSetup {
            states: vec![Some(spec)],
            ids: StateIds::default(),
            slots_max: SLOTS_DEFAULT,
            batch_records: BATCH,
            max_parallelism: 128,
            spill: Some(setup),
            snapshots: None,
        });
        Self { state, delivery: Delivery::default() }
    }

    /// Sets the values of a batch of keys to what `change` makes of them.
    fn batch(&mut self, numbers: impl Iterator<Item = u64>, mut change: impl FnMut(&mut Vec<u8>)) {
        let keys: BytesColumn = numbers.map(u64::to_le_bytes).collect();
        self.state.begin(EventTime(0));
        self.state.resolve(&Keys::hashed(keys), &mut self.delivery).expect("the disk is well");
        let mut value = Vec::new();
        for slot in &self.delivery.slots {
            value.clear();
            value.extend_from_slice(self.state.value(*slot, 0).expect("the slot was given").1);
            change(&mut value);
            let (table, behind) = self.state.table_mut();
            table.set_value(*slot, 0, 1, &value, behind).expect("the slot was given");
        }
        self.state.tidy().expect("the disk is well");
    }

    fn write_all(&mut self, keys: u64, value_bytes: usize) {
        for first in (0..keys).step_by(BATCH) {
            self.batch(first..keys.min(first + BATCH as u64), |value| *value = vec![1; value_bytes]);
        }
    }

    fn update(&mut self, keys: u64, rng: &mut SplitMix64) {
        for _ in 0..UPDATES as usize / BATCH {
            self.batch((0..BATCH).map(|_| rng.draw() % keys), |value| {
                value.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            });
        }
    }
}

fn fjall_alone(folder: &Path) -> (Database, Keyspace) {
    let database = Database::builder(folder)
        .cache_size(BLOCK_CACHE_BYTES as u64)
        .worker_threads(1)
        .manual_journal_persist(true)
        .open()
        .expect("it opens");
    let options = || {
        KeyspaceCreateOptions::default()
            .manual_journal_persist(true)
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
    };
    let keyspace = database.keyspace("state", options).expect("it opens");
    (database, keyspace)
}

fn updates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read-modify-write");
    group.throughput(Throughput::Elements(UPDATES)).sample_size(10);
    for (keys, value_bytes) in [(1_000_000, 8), (1_000_000, 100), (5_000_000, 8)] {
        let name = format!("{keys} keys, {value_bytes} bytes");
        {
            let folder = tempfile::tempdir().expect("a folder");
            let (_database, mut keyspace) = fjall_alone(folder.path());
            write_all(&mut keyspace, keys, value_bytes);
            let mut rng = SplitMix64::new(1);
            group.bench_function(BenchmarkId::new("fjall", &name), |bencher| {
                bencher.iter(|| update(&mut keyspace, keys, &mut rng));
            });
        }
        let folder = tempfile::tempdir().expect("a folder");
        let options = SpillOptions { block_cache_bytes: BLOCK_CACHE_BYTES, ..SpillOptions::default() };
        let mut spill = Spill::open(folder.path(), options, Arc::new(Threads::new("bench"))).expect("it opens");
        write_all(&mut spill, keys, value_bytes);
        let mut rng = SplitMix64::new(1);
        group.bench_function(BenchmarkId::new("spill", &name), |bencher| {
            bencher.iter(|| update(&mut spill, keys, &mut rng));
        });
        drop(spill);
        let folder = tempfile::tempdir().expect("a folder");
        let mut cached = Cached::new(folder.path());
        cached.write_all(keys, value_bytes);
        let mut rng = SplitMix64::new(1);
        group.bench_function(BenchmarkId::new("state with a cache of 64 MiB", &name), |bencher| {
            bencher.iter(|| cached.update(keys, &mut rng));
        });
    }
    group.finish();
}

/// Pages of a map, from all places where its entries may lie.
fn pages(criterion: &mut Criterion) {
    const MAP_KEYS: u64 = 100;
    let folder = tempfile::tempdir().expect("a folder");
    let options = SpillOptions { block_cache_bytes: BLOCK_CACHE_BYTES, ..SpillOptions::default() };
    let mut spill = Spill::open(folder.path(), options, Arc::new(Threads::new("bench"))).expect("it opens");
    let maps = 20_000;
    let entry = |map: u64, number: u64, out: &mut Vec<u8>| {
        let (key, number) = (map.to_le_bytes(), number.to_be_bytes());
        StoredKey { key_group: 1, state: 2, key: &key, namespace: b"", entry: &number }.encode(out).expect("short");
    };
    let mut key = Vec::new();
    let mut rng = SplitMix64::new(1);
    for _ in 0..2 * maps * MAP_KEYS {
        entry(rng.draw() % maps, rng.draw() % MAP_KEYS, &mut key);
        spill.push(&key, Some(b"a value of twenty by"), Access::Ordered).expect("it takes it");
    }
    let mut group = criterion.benchmark_group("page of a map");
    for entries in [1_u64, 10, 100] {
        group.throughput(Throughput::Elements(entries));
        group.bench_function(BenchmarkId::from_parameter(entries), |bencher| {
            let mut prefix = Vec::new();
            bencher.iter(|| {
                let map = (rng.draw() % maps).to_le_bytes();
                wasmill::state::namespace_prefix(1, 2, &map, b"", &mut prefix).expect("it is short");
                let mut range = spill.range(&prefix, std::ops::Bound::Unbounded).expect("it can be read");
                let mut bytes = 0;
                for _ in 0..entries {
                    let Some((key, value)) = range.next().expect("it can be read") else { break };
                    bytes += key.len() + value.len();
                }
                bytes
            });
        });
    }
    group.finish();
}

fn all() {
    let mut criterion = Criterion::default().configure_from_args();
    updates(&mut criterion);
    pages(&mut criterion);
}

criterion_main!(all);
