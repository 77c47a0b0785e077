//! The counters of an operator, source or sink task.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A number that one task writes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Cheaper than an atomic addition because there is one writer only.
    #[inline]
    pub fn add(&self, delta: u64) {
        self.0.store(self.get().wrapping_add(delta), Ordering::Relaxed);
    }

    /// Adds a time, in nanoseconds.
    #[inline]
    pub fn add_time(&self, time: Duration) {
        self.add(time.as_nanos() as u64);
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by name, for what only a connector or an operator knows.
#[derive(Clone, Debug, Default)]
pub struct CounterSet(Arc<Mutex<BTreeMap<String, Arc<Counter>>>>);

impl CounterSet {
    /// The counter of that name; it is made when first asked for. Keep the result: this takes a lock.
    pub fn counter(&self, name: &str) -> Arc<Counter> {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(name) {
            return Arc::clone(counter);
        }
        Arc::clone(counters.entry(name.to_owned()).or_default())
    }

    /// All values.
    pub fn values(&self) -> BTreeMap<String, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, counter)| (name.clone(), counter.get()))
            .collect()
    }
}

/// What a task counts for one source, operator or sink.
#[derive(Debug, Default)]
pub struct OperatorCounters {
    /// Records taken. For a source: records read.
    pub records_in: Counter,
    /// Records given. For a sink: records written.
    pub records_out: Counter,
    /// Batches taken.
    pub batches_in: Counter,
    /// Time at work, in nanoseconds.
    pub busy_ns: Counter,
    /// Time without input, in nanoseconds.
    pub idle_ns: Counter,
    /// Time during which the output was full, in nanoseconds.
    pub back_pressured_ns: Counter,
    /// Guest faults and failed records.
    pub faults: Counter,
    /// Records given up under `on-error = "skip"` or sent to a dead-letter sink.
    pub poisoned: Counter,
    /// Counters of the connector or the operator itself.
    pub named: CounterSet,
}
