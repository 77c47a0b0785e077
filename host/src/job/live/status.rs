//! What a job that runs does now.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{JobGraph, PluginRef, SwapAnswer};
use crate::job::VertexReport;
use crate::metrics::OperatorCounters;

/// What a job does.
#[derive(Clone, Debug, Serialize)]
pub struct JobStatus {
    /// The job's name.
    pub job: String,
    /// What it does.
    pub state: JobState,
    /// Seconds since the start.
    pub seconds: f64,
    /// Records read by all sources in this attempt.
    pub records_in: u64,
    /// Records written by all sinks in this attempt.
    pub records_out: u64,
    /// How often it was started again after a failure.
    pub restarts: u32,
    /// Its checkpoints; none: it takes none.
    pub checkpoints: Option<CheckpointStatus>,
    /// Sources, operators and sinks, in an order in which each comes after those that send to it.
    pub vertices: Vec<VertexStatus>,
    /// What a swap leaves as it is.
    pub graph: JobGraph,
    /// The swap that is under way, with its probation.
    pub swap: Option<SwapStatus>,
    /// What became of the last swap.
    pub last_swap: Option<SwapAnswer>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It is made ready.
    #[default]
    Starting,
    /// It runs.
    Running,
    /// An attempt has failed, and the next one has not begun.
    Restarting,
    /// It was asked to end.
    Stopping,
    /// It has ended.
    Ended,
}

/// The checkpoints of a job.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CheckpointStatus {
    /// How many were completed since the start.
    pub completed: u64,
    /// How many failed since the start.
    pub failed: u64,
    /// The last complete one.
    pub last: Option<u64>,
    /// Its path or URL.
    pub last_location: Option<String>,
    /// Seconds since it was complete.
    pub last_age_seconds: Option<f64>,
    /// From its trigger to its manifest.
    pub last_duration_ms: Option<f64>,
    /// Bytes of all that it refers to.
    pub last_bytes: Option<u64>,
}

/// What a vertex is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VertexKind {
    /// A source.
    Source,
    /// An operator.
    Operator,
    /// A sink.
    Sink,
}

/// A source, operator or sink.
#[derive(Clone, Debug, Serialize)]
pub struct VertexStatus {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: VertexKind,
    /// What its tasks have counted in this attempt, all together.
    #[serde(flatten)]
    pub counted: VertexReport,
    /// What it runs, if it is an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorStatus>,
}

/// What an operator runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OperatorStatus {
    /// What runs.
    pub plugin: PluginRef,
    /// SHA-256 of the component that the job file yielded: another one after a swap.
    pub declared: String,
    /// The names of its states.
    pub states: Vec<String>,
}

/// A swap that is under way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SwapStatus {
    /// How far it is.
    pub phase: SwapPhase,
    /// The operators.
    pub operators: Vec<String>,
    /// Its checkpoint, from the barrier on.
    pub checkpoint: Option<u64>,
    /// How long its probation lasts still.
    pub probation: Option<ProbationStatus>,
}

/// What is left of a probation: it is over when either is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbationStatus {
    /// Seconds.
    pub remaining_seconds: f64,
    /// Batches, of the task that has most before it.
    pub remaining_batches: u64,
}

/// How far a swap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapPhase {
    /// Instances are made.
    Preparing,
    /// They wait for the barrier, or the checkpoint for its manifest.
    Exchanging,
    /// The new version runs, and what it does is not shown yet.
    Probation,
    /// The checkpoint is awaited that ends the probation.
    Confirming,
}

/// What is known of a vertex, and where its tasks count.
#[derive(Clone)]
pub(in crate::job) struct VertexFacts {
    pub(in crate::job) id: String,
    pub(in crate::job) kind: VertexKind,
    pub(in crate::job) parallelism: u32,
    pub(in crate::job) operator: Option<OperatorStatus>,
    pub(in crate::job) counters: Vec<Arc<OperatorCounters>>,
}

/// What a status is made of.
pub(in crate::job) struct Facts {
    job: String,
    pub(in crate::job) state: JobState,
    pub(in crate::job) restarts: u32,
    pub(in crate::job) checkpoints: Option<CheckpointStatus>,
    pub(in crate::job) vertices: Vec<VertexFacts>,
    pub(in crate::job) graph: JobGraph,
    pub(in crate::job) swap: Option<SwapStatus>,
    pub(in crate::job) last_swap: Option<SwapAnswer>,
}

impl Facts {
    pub(super) fn new(job: &str) -> Self {
        Self {
            job: job.to_owned(),
            state: JobState::default(),
            restarts: 0,
            checkpoints: None,
            vertices: Vec::new(),
            graph: JobGraph::default(),
            swap: None,
            last_swap: None,
        }
    }

    pub(super) fn status(&self, since_start: Duration) -> JobStatus {
        let vertices: Vec<_> = self.vertices.iter().map(VertexFacts::status).collect();
        let sum = |kind, count: fn(&VertexReport) -> u64| {
            vertices.iter().filter(|vertex| vertex.kind == kind).map(|vertex| count(&vertex.counted)).sum()
        };
        JobStatus {
            job: self.job.clone(),
            state: self.state,
            seconds: since_start.as_secs_f64(),
            records_in: sum(VertexKind::Source, |counted| counted.records_in),
            records_out: sum(VertexKind::Sink, |counted| counted.records_out),
            restarts: self.restarts,
            checkpoints: self.checkpoints.clone(),
            graph: self.graph.clone(),
            swap: self.swap.clone(),
            last_swap: self.last_swap.clone(),
            vertices,
        }
    }
}

impl VertexFacts {
    fn status(&self) -> VertexStatus {
        let mut counted = VertexReport { parallelism: self.parallelism, ..VertexReport::default() };
        self.counters.iter().for_each(|task| counted.add(task));
        VertexStatus { id: self.id.clone(), kind: self.kind, counted, operator: self.operator.clone() }
    }
}
