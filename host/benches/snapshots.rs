//! What a snapshot of keyed state costs the task that takes it: the barrier itself, and the steps in which changed entries are copied between calls.
//!
//! One value of 16 bytes for each key of 8 bytes; 1, 10 or 100 % of the keys are changed before each barrier. Sorting happens on another thread, as in a job; compressing and writing is left
//! out. Run it with `cargo bench -p wasmill --bench snapshots`; the longest pause that it prints is also that of a machine that does something else.

use std::{hint::black_box, sync::Arc, time::Instant};

use criterion::{BenchmarkId, Criterion, criterion_main};
use wasmill::{
    background::Threads,
    state::{
        Delivery, Form, KeyedState, Piece, PieceOrder, SLOTS_DEFAULT, SnapshotSetup, StateIds, StateSetup, StateSpec,
        WritePieces,
    },
    stream::{EventTime, Keys},
};

const BATCH: usize = 1024;

/// Takes pieces and throws them away.
struct Nowhere;

impl WritePieces for Nowhere {
    fn write(&self, _: PieceOrder, piece: &Piece<'_>) {
        black_box(piece);
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

struct Task {
    state: KeyedState,
    delivery: Delivery,
    round: u64,
}

impl Task {
    fn new(keys: u64) -> Self {
        let spec =
            StateSpec { form: Form::Point, version: 1, prefetch: true, on_end: false, ttl: None, ttl_since: None };
        let state = KeyedState::new(StateSetup {
            states: vec![Some(spec)],
            ids: StateIds::default(),
            slots_max: SLOTS_DEFAULT,
            batch_records: BATCH,
            max_parallelism: 128,
            spill: None,
            snapshots: Some(SnapshotSetup { background: Arc::new(Threads::new("pieces")), writer: Arc::new(Nowhere) }),
        });
        let mut task = Self { state, delivery: Delivery::default(), round: 0 };
        task.change(keys, 1);
        task.snapshot(&mut |_| {});
        task
    }

    /// Changes every `nth` key.
    fn change(&mut self, keys: u64, nth: u64) {
        self.round += 1;
        let mut numbers = (self.round % nth..keys).step_by(nth as usize);
        loop {
            let keys: Keys = Keys::hashed(numbers.by_ref().take(BATCH).map(u64::to_le_bytes).collect());
            if keys.hashes.is_empty() {
                return;
            }
            self.state.begin(EventTime(0));
            self.state.resolve(&keys, &mut self.delivery).expect("all of it is in memory");
            let value = u128::from(self.round).to_le_bytes();
            for slot in &self.delivery.slots {
                let (table, behind) = self.state.table_mut();
                table.set_value(*slot, 0, 1, &value, behind).expect("the slot was given");
            }
        }
    }

    /// Takes a snapshot; tells how long its barrier took, and then each step of copying.
    fn snapshot(&mut self, told: &mut dyn FnMut(std::time::Duration)) {
        let began = Instant::now();
        self.state.begin_snapshot();
        told(began.elapsed());
        while self.state.is_copying() {
            let began = Instant::now();
            self.state.copy_some();
            told(began.elapsed());
        }
    }
}

fn snapshots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(10);
    for keys in [1_000_000_u64, 10_000_000] {
        let mut task = Task::new(keys);
        for (share, nth) in [("1 %", 100), ("10 %", 10), ("100 %", 1)] {
            let mut longest = std::time::Duration::ZERO;
            let id = BenchmarkId::new(format!("copy what changed of {keys} keys"), share);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut sum = std::time::Duration::ZERO;
                    for _ in 0..iterations {
                        task.change(keys, nth);
                        task.snapshot(&mut |time| {
                            sum += time;
                            longest = longest.max(time);
                        });
                    }
                    sum
                });
            });
            eprintln!("longest pause, {keys} keys, {share} changed: {longest:?}");
        }
    }
}

/// Runs the benchmarks.
pub fn benches() {
    snapshots(&mut Criterion::default().configure_from_args());
}

criterion_main!(benches);
