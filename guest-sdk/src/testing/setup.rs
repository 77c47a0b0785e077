//! How an operator is run in a test.

use serde_json::Value as JsonValue;

use crate::time::EventTime;
use crate::wire::TaskInfo;

use super::snapshot::Snapshot;

/// How an operator is run: configuration, sizes, times.
///
/// ```
/// use wasmill_sdk::testing::Setup;
///
/// let setup = Setup::default().config(serde_json::json!({ "emit-every": 3 })).slots_max(2);
/// ```
#[derive(Clone, Debug)]
pub struct Setup {
    pub(super) config: JsonValue,
    pub(super) batch_records: usize,
    pub(super) output_records: u32,
    pub(super) slots_max: usize,
    pub(super) now: EventTime,
    pub(super) watermark: Option<EventTime>,
    pub(super) task: u32,
    pub(super) parallelism: u32,
    pub(super) snapshot: Option<Snapshot>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: JsonValue::Object(serde_json::Map::new()),
            batch_records: 1024,
            output_records: 1024,
            slots_max: 1 << 20,
            now: EventTime::from_millis(0),
            watermark: None,
            task: 0,
            parallelism: 1,
            snapshot: None,
        }
    }
}

impl Setup {
    /// The `config` table of the job file.
    #[must_use]
    pub fn config(mut self, config: JsonValue) -> Self {
        self.config = config;
        self
    }

    /// How many records make a batch; 1,024 by default.
    ///
    /// # Panics
    /// When it is 0.
    #[must_use]
    pub fn batch_records(mut self, records: usize) -> Self {
        assert!(records > 0, "a batch holds at least one record");
        self.batch_records = records;
        self
    }

    /// How many results are handed over at once; 1,024 by default.
    #[must_use]
    pub fn output_records(mut self, records: u32) -> Self {
        self.output_records = records;
        self
    }

    /// How many keys the instance knows at the same time. Beyond it the oldest are released, and delivered anew when they come again, as for a job with more keys than
    /// memory.
    ///
    /// # Panics
    /// When it is 0.
    #[must_use]
    pub fn slots_max(mut self, slots: usize) -> Self {
        assert!(slots > 0, "there must be room for one key");
        self.slots_max = slots;
        self
    }

    /// Processing time; the epoch by default.
    #[must_use]
    pub fn now(mut self, now: EventTime) -> Self {
        self.now = now;
        self
    }

    /// Which task of how many it is; the only one by default. It gets what it is sent: of several tasks each has a harness of its own.
    ///
    /// # Panics
    /// When there is no such task.
    #[must_use]
    pub fn task(mut self, task: u32, parallelism: u32) -> Self {
        assert!(task < parallelism, "there is no task {task} of {parallelism}");
        (self.task, self.parallelism) = (task, parallelism);
        self
    }

    /// What the operator goes on with, and the times that come with it; no state by default.
    #[must_use]
    pub fn restore(mut self, snapshot: Snapshot) -> Self {
        (self.now, self.watermark) = (snapshot.now, snapshot.watermark);
        self.snapshot = Some(snapshot);
        self
    }

    pub(super) fn task_info(&self, operator: &str) -> TaskInfo {
        // The smallest group of a task, as contiguous ranges have it.
        let first = |task: u32| (task * 128).div_ceil(self.parallelism);
        TaskInfo {
            job: "test".to_owned(),
            operator: operator.to_owned(),
            task: self.task,
            parallelism: self.parallelism,
            max_parallelism: 128,
            key_groups: (first(self.task), first(self.task + 1)),
            batch_records: self.output_records,
            batch_bytes: 256 << 10,
        }
    }
}
