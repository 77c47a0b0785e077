//! What a guest may use up: memory, and time per call.

use std::time::{Duration, Instant};

use thiserror::Error;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::engine::TICK;

/// The instance wanted more memory than its cap.
#[derive(Debug, Error)]
#[error("it needs {desired} bytes of memory, more than its {limit} (limits.memory)")]
pub(super) struct MemoryCap {
    desired: usize,
    limit: usize,
}

/// The call took longer than its budget.
#[derive(Debug, Error)]
#[error("the call took longer than {} (limits.call-time)", humantime::format_duration(*.0))]
pub(super) struct TimeBudget(Duration);

/// Tables of a component hold function references; real ones have a few hundred.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Memory of one instance.
pub(super) struct MemoryMeter {
    pub(super) limit: usize,
    pub(super) bytes: usize,
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let others = self.bytes - current.min(self.bytes);
        if others + desired > self.limit {
            return Err(wasmtime::Error::new(MemoryCap { desired: others + desired, limit: self.limit }));
        }
        self.bytes = others + desired;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

/// Time of one call, without what the host spends in it.
pub(super) struct CallClock {
    budget: Duration,
    began: Instant,
    in_host: Duration,
}

impl CallClock {
    pub(super) fn new(budget: Duration) -> Self {
        Self { budget, began: Instant::now(), in_host: Duration::ZERO }
    }

    /// Begins a call; returns after how many ticks to look at it first.
    pub(super) fn begin(&mut self) -> u64 {
        self.began = Instant::now();
        self.in_host = Duration::ZERO;
        ticks(self.budget)
    }

    pub(super) fn add_host_time(&mut self, time: Duration) {
        self.in_host += time;
    }

    /// A tick was reached: stop, or look again later because the host itself took some of the time.
    pub(super) fn check(&self) -> wasmtime::Result<UpdateDeadline> {
        let used = self.began.elapsed().saturating_sub(self.in_host);
        match self.budget.checked_sub(used).filter(|left| !left.is_zero()) {
            Some(left) => Ok(UpdateDeadline::Continue(ticks(left))),
            None => Err(wasmtime::Error::new(TimeBudget(self.budget))),
        }
    }
}

fn ticks(time: Duration) -> u64 {
    time.as_nanos().div_ceil(TICK.as_nanos()) as u64
}
