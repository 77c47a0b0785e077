//! What the sandbox costs: a keyed sum through the real SDK and the real host path (batch, slots, wasm, staged state and outputs, applied), beside a plain Rust loop over the
//! same batches and the same table with the same prefetching. Every record gives a result. Run it with `cargo bench -p wasmill`; divide the two times of a group.

use std::{path::Path, sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_main};
use wasmill::{
    connector::{Datagen, Read, Source, TaskContext},
    job::Loader,
    metrics::{CounterSet, OperatorCounters},
    operator::{
        CallTime, ExchangeLimits, Execution, ExecutionSetup, FaultPolicy, InstanceLimits, Plugin, Restored, TaskInfo,
    },
    state::{Behind, Delivery, KeyTable, Noted, SLOTS_DEFAULT, StoredValue},
    stream::{Batch, BatchLimits, BytesColumn, EventTime},
};

const BATCHES: usize = 1024;

/// A megarecord of the generator's sequence.
fn batches(keys: u64) -> Vec<Batch> {
    let source = Datagen::sequence(None, keys, None);
    let context = TaskContext { task: 0, parallelism: 1, counters: CounterSet::default(), wake: Box::new(|| {}) };
    let mut reader = source.reader(context).expect("the generator needs nothing");
    let read = |_| {
        let mut batch = Batch::new(true);
        while !batch.is_full(BatchLimits::default()) {
            assert_eq!(
                reader.read(Duration::ZERO, &mut batch, BatchLimits::default()).expect("it never fails"),
                Read::More
            );
        }
        batch
    };
    (0..BATCHES).map(read).collect()
}

fn execution(plugin: Arc<dyn Plugin>) -> Execution {
    let info = TaskInfo {
        job: "bench".into(),
        operator: "sum".into(),
        task: 0,
        parallelism: 1,
        max_parallelism: 128,
        key_groups: 0..128,
        batch: BatchLimits::default(),
    };
    let setup = ExecutionSetup {
        info,
        plugin,
        config: r#"{"emit-every":1}"#.into(),
        limits: InstanceLimits { memory_bytes_max: 256 << 20, call_time: Duration::from_secs(1) },
        exchange_limits: ExchangeLimits::default(),
        policy: FaultPolicy::Fail,
        faults_per_minute: 0,
        keys_wanted: false,
        key_schemas: Vec::new(),
        counters: Arc::new(OperatorCounters::default()),
        time: CallTime { now: EventTime(0), watermark: None },
        spill: None,
        snapshots: None,
        restored: Restored::default(),
        state_ids: Default::default(),
        succession: Default::default(),
        log: Box::new(|_, _, _| {}),
    };
    Execution::new(setup).expect("the operator opens")
}

/// The plain loop: the same look-ups, state as two numbers in the table, results as three numbers in a column, as often as it is told.
struct Native {
    emit_every: u64,
    table: KeyTable,
    behind: Behind,
    delivery: Delivery,
}

impl Native {
    fn process(&mut self, batch: &Batch) -> BytesColumn {
        let keys = batch.keys.as_ref().expect("the generator's records have keys");
        self.table.resolve(keys, &mut self.behind, &mut self.delivery);
        let mut out = BytesColumn::with_capacity(batch.len(), batch.len() * 24);
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        for (index, slot) in self.delivery.slots.iter().enumerate() {
            let (version, state) = self.table.value(*slot, 0).expect("the slot was just resolved");
            let (sum, updates) = if version == 0 { (0, 0) } else { (number(&state[..8]), number(&state[8..])) };
            let (sum, updates) = (sum.wrapping_add(number(batch.values.get(index))), updates + 1);
            let mut state = [0; 16];
            state[..8].copy_from_slice(&sum.to_le_bytes());
            state[8..].copy_from_slice(&updates.to_le_bytes());
            self.table.set_value(*slot, 0, 1, &state, &mut self.behind).expect("the slot was just resolved");
            if updates % self.emit_every == 0 {
                let key = keys.column.get(index);
                out.push_with(|data| {
                    data.extend_from_slice(key);
                    data.extend_from_slice(&state);
                });
            }
        }
        out
    }
}

fn keyed_sum(criterion: &mut Criterion) {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let mut loader = Loader::new(Some(cache.path())).expect("WebAssembly runs here");
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/keyed-sum");
    let plugin = loader.load_crate(&crate_dir, &mut |text| eprintln!("{text}")).expect("the plugin builds").plugin;
    let time = CallTime { now: EventTime(0), watermark: None };
    for keys in [1_000, 100_000, 1_000_000] {
        let batches = batches(keys);
        let records: usize = batches.iter().map(Batch::len).sum();
        let mut group = criterion.benchmark_group(format!("keyed sum, {keys} keys"));
        group.throughput(Throughput::Elements(records as u64)).sample_size(20).measurement_time(Duration::from_secs(6));
        let mut native = Native {
            // As the operator's, not known when this is compiled.
            emit_every: std::hint::black_box(1),
            table: KeyTable::new(
                vec![StoredValue { number: 0, id: 0, version: 1, prefetch: false, on_end: false, noted: Noted::No }],
                SLOTS_DEFAULT,
                1024,
            ),
            behind: Behind::nothing(),
            delivery: Delivery::default(),
        };
        group.bench_function(BenchmarkId::from_parameter("native loop"), |bencher| {
            bencher.iter(|| batches.iter().map(|batch| native.process(batch).bytes()).sum::<usize>());
        });
        let mut execution = execution(Arc::clone(&plugin) as Arc<dyn Plugin>);
        group.bench_function(BenchmarkId::from_parameter("operator in wasm"), |bencher| {
            let (mut out, mut dead) = (Vec::new(), Batch::new(false));
            bencher.iter(|| {
                let mut bytes = 0;
                for batch in &batches {
                    execution.process(0, batch, time, &mut out, &mut dead).expect("it never fails");
                    bytes += out.drain(..).map(|batch| batch.bytes()).sum::<usize>();
                }
                bytes
            });
        });
        group.finish();
    }
}

criterion_main!(benches);

mod group {
    #![allow(missing_docs, reason = "the macro writes an undocumented function")]
    criterion::criterion_group!(benches, super::keyed_sum);
}
use group::benches;
