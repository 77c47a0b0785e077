//! From what the tasks of a job have acknowledged to the manifest of a checkpoint.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::Value;

use super::{
    super::stored_state::{
        CheckpointManifest, CheckpointedOperator, CheckpointedSink, CheckpointedSource, CheckpointedTask, Ended, Root,
        SegmentOfTask,
    },
    chains::bytes_of,
    graph::Graph,
};
use crate::{
    connector::{SplitsRead, Transaction},
    runtime::TaskSnapshot,
    stream::{CheckpointId, EventTime, key_groups_of_task},
};

/// Everything that goes into a manifest and is not known before.
pub(super) struct Gathered {
    pub(super) id: CheckpointId,
    pub(super) attempt: u64,
    pub(super) completed: EventTime,
    pub(super) duration: Duration,
    pub(super) new_bytes: u64,
    /// By the numbers of the tasks.
    pub(super) snapshots: BTreeMap<usize, TaskSnapshot>,
    /// By vertex and index, of operators with state.
    pub(super) tasks: BTreeMap<(usize, u32), GatheredTask>,
    /// By the ids of sinks.
    pub(super) transactions: Vec<(String, Vec<Transaction>)>,
    /// Names of segments to which no later manifest refers.
    pub(super) replaced: Vec<String>,
}

/// The state of a task.
pub(super) struct GatheredTask {
    pub(super) segments: Vec<SegmentOfTask>,
    pub(super) operator_state: Option<SegmentOfTask>,
    pub(super) list_elements: u64,
}

impl Gathered {
    fn segments(&self) -> impl Iterator<Item = &SegmentOfTask> {
        self.tasks.values().flat_map(|task| task.segments.iter().chain(&task.operator_state))
    }

    /// The names of the segments that no later checkpoint refers to.
    pub(super) fn operator_state_names(&self) -> impl Iterator<Item = &String> {
        self.tasks.values().filter_map(|task| Some(&task.operator_state.as_ref()?.name))
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        bytes_of(self.segments())
    }

    /// How the job ended with this checkpoint; none: it runs on.
    fn ended(&self) -> Option<Ended> {
        let all = |is: fn(&TaskSnapshot) -> bool| self.snapshots.values().all(is);
        match (all(|task| task.at_rest), all(|task| task.ended)) {
            (true, true) => Some(Ended::Done),
            (true, false) => Some(Ended::Stopped),
            (false, _) => None,
        }
    }
}

impl Graph {
    /// The manifest.
    pub(super) fn manifest(&self, gathered: &Gathered) -> CheckpointManifest {
        let snapshot_of = |node: (usize, u32)| {
            let task = self.tasks.iter().position(|task| task.nodes.contains(&node));
            task.and_then(|task| gathered.snapshots.get(&task))
        };
        let sources = self.sources().map(|(vertex, id, source)| {
            let mut read = SplitsRead::default();
            for task in 0..self.vertices[vertex].parallelism {
                if let Some(of_task) = snapshot_of((vertex, task)).and_then(|snapshot| snapshot.read.as_ref()) {
                    read.merge(of_task.clone());
                }
            }
            CheckpointedSource { id: id.to_owned(), position: source.position(read).to_json() }
        });
        let operators = self.operators().map(|(number, vertex, facts)| {
            let tasks = (0..vertex.parallelism).map(|task| {
                let kept = gathered.tasks.get(&(number, task));
                let snapshot = snapshot_of((number, task));
                CheckpointedTask {
                    task,
                    key_groups: key_groups_of_task(task, vertex.parallelism, self.max_parallelism),
                    watermark: snapshot.and_then(|snapshot| Some(snapshot.watermark?.0)),
                    list_elements: kept.map_or(0, |kept| kept.list_elements),
                    ended: snapshot.is_some_and(|snapshot| snapshot.ended) || self.visited.contains(&(number, task)),
                    segments: kept.map(|kept| kept.segments.clone()).unwrap_or_default(),
                    operator_state: kept.and_then(|kept| kept.operator_state.clone()),
                }
            });
            CheckpointedOperator {
                id: vertex.id.clone(),
                plugin: facts.plugin.clone(),
                parallelism: vertex.parallelism,
                states: facts.states.clone(),
                next_state: facts.version.register.next(),
                tasks: tasks.collect(),
            }
        });
        let sinks = gathered.transactions.iter().map(|(id, transactions)| CheckpointedSink {
            id: id.clone(),
            transactions: Value::Array(transactions.iter().map(Transaction::to_json).collect()),
        });
        let completed_ms = u64::try_from(gathered.completed.0).unwrap_or(0);
        CheckpointManifest {
            job: self.job.clone(),
            attempt: gathered.attempt,
            id: gathered.id,
            completed: UNIX_EPOCH + Duration::from_millis(completed_ms),
            duration_ms: gathered.duration.as_millis() as u64,
            new_bytes: gathered.new_bytes,
            ended: gathered.ended(),
            max_parallelism: self.max_parallelism,
            mode: self.mode,
            sources: sources.collect(),
            operators: operators.collect(),
            sinks: sinks.collect(),
            swap: self.swap.as_ref().map(|swap| swap.open.clone()),
            root: Root::JOB,
        }
    }
}
