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
/// Core instances, memories and tables of a component, each; toolchains make a handful.
const PARTS_MAX: usize = 100;

/// The host's time in a call does not count against the guest's budget, up to so many budgets.
const HOST_TIME_BUDGETS_MAX: u32 = 4;

/// Memory and tables of one instance.
pub(super) struct MemoryMeter {
    pub(super) limit: usize,
    pub(super) bytes: usize,
    pub(super) table_elements: usize,
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let others = self.bytes - current.min(self.bytes);
        let wanted = others.saturating_add(desired);
        if wanted > self.limit {
            return Err(wasmtime::Error::new(MemoryCap { desired: wanted, limit: self.limit }));
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            // It will not be granted, so it must not be counted.
            return Ok(false);
        }
        self.bytes = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = (self.table_elements - current.min(self.table_elements)).saturating_add(desired);
        if wanted > TABLE_ELEMENTS_MAX {
            return Ok(false);
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
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
        // A guest must not go on for ever by making the host work.
        let credit = self.in_host.min(self.budget * HOST_TIME_BUDGETS_MAX);
        let used = self.began.elapsed().saturating_sub(credit);
        match self.budget.checked_sub(used).filter(|left| !left.is_zero()) {
            Some(left) => Ok(UpdateDeadline::Continue(ticks(left))),
            None => Err(wasmtime::Error::new(TimeBudget(self.budget))),
        }
    }
}

fn ticks(time: Duration) -> u64 {
    time.as_nanos().div_ceil(TICK.as_nanos()) as u64
}
