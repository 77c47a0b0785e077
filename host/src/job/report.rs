//! What a job did: the summary and `--report`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::checkpointing::CheckpointCounters;
use crate::{metrics::OperatorCounters, stream::CheckpointId};

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All input was read and processed.
    Done,
    /// It was stopped before the end of its input; what was read was processed.
    Stopped,
    /// A fault ended it.
    Failed,
    /// An earlier run had come to the end of its input: nothing was done.
    AlreadyDone,
}

/// What one source, operator or sink did, over all its tasks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VertexReport {
    /// Its number of tasks.
    pub parallelism: u32,
    /// Records taken; for a source, records read.
    pub records_in: u64,
    /// Records given; for a sink, records written.
    pub records_out: u64,
    /// Batches taken.
    pub batches_in: u64,
    /// Records taken per second in the steady part of the run.
    pub steady_records_per_second: Option<f64>,
    /// Seconds at work, added over its tasks.
    pub busy_seconds: f64,
    /// Seconds without input, added over its tasks.
    pub idle_seconds: f64,
    /// Seconds with a full output, added over its tasks.
    pub back_pressured_seconds: f64,
    /// Guest faults and failed records.
    pub faults: u64,
    /// Records that were given up.
    pub poisoned: u64,
    /// What the connector or the operator counts itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, u64>,
}

impl VertexReport {
    pub(super) fn add(&mut self, counters: &OperatorCounters) {
        let seconds = |ns: u64| ns as f64 / 1e9;
        self.records_in += counters.records_in.get();
        self.records_out += counters.records_out.get();
        self.batches_in += counters.batches_in.get();
        self.busy_seconds += seconds(counters.busy_ns.get());
        self.idle_seconds += seconds(counters.idle_ns.get());
        self.back_pressured_seconds += seconds(counters.back_pressured_ns.get());
        self.faults += counters.faults.get();
        self.poisoned += counters.poisoned.get();
        for (name, value) in counters.named.values().into_iter().filter(|(_, value)| *value > 0) {
            *self.metrics.entry(name).or_default() += value;
        }
    }
}

/// What the checkpoints of a run did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CheckpointReport {
    /// The checkpoint that the run went on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<u64>,
    /// How many were completed.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
    /// Bytes that were written for them.
    pub bytes: u64,
    /// The longest time for which a task processed no record because of its snapshot, in milliseconds.
    pub pause_ms_max: f64,
    /// The longest time from the first barrier to the last one in a task, in milliseconds.
    pub alignment_ms_max: f64,
    /// The last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastCheckpointReport>,
}

/// A complete checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct LastCheckpointReport {
    /// Its number.
    pub id: u64,
    /// From its trigger to its manifest, in milliseconds.
    pub duration_ms: f64,
    /// Bytes that were written for it.
    pub new_bytes: u64,
    /// Bytes of all that it refers to.
    pub bytes: u64,
}

impl CheckpointReport {
    pub(super) fn new(restored_from: Option<CheckpointId>, counters: &CheckpointCounters) -> Self {
        Self {
            restored_from: restored_from.map(|id| id.0),
            completed: counters.completed,
            failed: counters.failed,
            bytes: counters.bytes,
            pause_ms_max: counters.pause_ms_max,
            alignment_ms_max: counters.alignment_ms_max,
            last: counters.last.map(|last| LastCheckpointReport {
                id: last.id.0,
                duration_ms: last.duration.as_secs_f64() * 1e3,
                new_bytes: last.new_bytes,
                bytes: last.bytes,
            }),
        }
    }
}

/// What a job did. Counts are those of its last attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The job's name.
    pub job: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Wall time from the start of its tasks to their end, in seconds.
    pub seconds: f64,
    /// CPU time of the process, in seconds.
    pub cpu_seconds: f64,
    /// The most memory that the process had, in bytes.
    pub peak_memory_bytes: u64,
    /// From the start of the process until an operator had processed the first records, in milliseconds: with a checkpoint, until the job went on.
    pub start_to_first_processed_ms: Option<f64>,
    /// From the start of the process to the first record at a sink, in milliseconds; none when there was no result.
    pub start_to_first_result_ms: Option<f64>,
    /// Records of all sources per second while they went from 25 to 97 % of their records; none for runs that are too short.
    pub steady_records_per_second: Option<f64>,
    /// How often it was started again after a fault.
    pub restarts: u32,
    /// What its checkpoints did, if it takes any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointReport>,
    /// By id, in the order of the job's graph.
    pub sources: IndexMap<String, VertexReport>,
    /// By id, in the order of the job's graph.
    pub operators: IndexMap<String, VertexReport>,
    /// By id, in the order of the job's graph.
    pub sinks: IndexMap<String, VertexReport>,
}
