//! Where time comes from. Only executors and tasks read it; everything below is given the time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::stream::EventTime;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Time since the job's start; never goes back.
    fn elapsed(&self) -> Duration;
    /// Processing time.
    fn now(&self) -> EventTime;
}

/// The system's clocks.
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose job starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn now(&self) -> EventTime {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        EventTime(since_epoch.as_millis() as i64)
    }
}

/// A clock that stands still until it is moved; it begins at the Unix epoch.
#[derive(Debug, Default)]
pub struct ManualClock {
    total_ns: AtomicU64,
    /// When the job began.
    began_ns: AtomicU64,
}

impl ManualClock {
    /// Moves it.
    pub fn advance(&self, by: Duration) {
        self.total_ns.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The job begins, perhaps once more: time since its start counts from here. Processing time goes on.
    pub fn begin(&self) {
        self.began_ns.store(self.total_ns.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Time since the clock was made.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total_ns.load(Ordering::Relaxed))
    }
}

impl Clock for ManualClock {
    fn elapsed(&self) -> Duration {
        self.total().saturating_sub(Duration::from_nanos(self.began_ns.load(Ordering::Relaxed)))
    }

    fn now(&self) -> EventTime {
        EventTime(self.total().as_millis() as i64)
    }
}
