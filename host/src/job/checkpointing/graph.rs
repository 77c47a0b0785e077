//! What checkpoints must know of a job: its vertices, which tasks they are in, and who commits results.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use super::super::{
    PreparedJob,
    plan::Role,
    stored_state::{CheckpointedPlugin, DescribedState},
};
use crate::{
    checkpoint::{Mode, Names},
    connector::{ConnectorError, Sink, Source, Transaction},
    operator::{Descriptor, Plugin},
    stream::{Fault, FaultKind},
};

/// A job as checkpoints see it.
pub(super) struct Graph {
    pub(super) job: String,
    pub(super) max_parallelism: u32,
    pub(super) mode: Mode,
    /// In the order of the plan.
    pub(super) vertices: Vec<GraphVertex>,
    /// By their numbers.
    pub(super) tasks: Vec<GraphTask>,
    /// Tasks of operators, by vertex and index, whose keys the end of the input had visited before the attempt. They stay visited, also while the task has not come to that end again.
    pub(super) visited: BTreeSet<(usize, u32)>,
}

/// A source, operator or sink.
pub(super) struct GraphVertex {
    pub(super) id: String,
    pub(super) parallelism: u32,
    pub(super) part: Part,
}

/// What a vertex is.
pub(super) enum Part {
    Source(Arc<dyn Source>),
    Operator(Box<OperatorFacts>),
    Sink(Arc<dyn Sink>),
}

/// What is known of an operator.
pub(super) struct OperatorFacts {
    pub(super) plugin: CheckpointedPlugin,
    pub(super) states: Vec<DescribedState>,
    pub(super) descriptor: Descriptor,
    /// The component.
    pub(super) component: Bytes,
}

/// A task of the job: a chain of tasks of vertices.
pub(super) struct GraphTask {
    pub(super) name: String,
    /// Vertex and index of each of its nodes.
    pub(super) nodes: Vec<(usize, u32)>,
}

impl Graph {
    /// Without tasks yet.
    pub(super) fn new(job: &PreparedJob, mode: Mode) -> Self {
        let part = |role| match role {
            Role::Source(index) => Part::Source(Arc::clone(&job.sources[index])),
            Role::Sink(index) => Part::Sink(Arc::clone(&job.sinks[index])),
            Role::Operator(index) => {
                let located = &job.plugins[index];
                let (plugin, digest) = (&*located.plugin, located.plugin.digest().to_owned());
                let descriptor = plugin.descriptor();
                Part::Operator(Box::new(OperatorFacts {
                    plugin: CheckpointedPlugin {
                        name: descriptor.name.clone(),
                        version: descriptor.version.clone(),
                        declared: digest.clone(),
                        file: Some(Names::plugin(&digest)),
                        running: digest,
                    },
                    states: described_states(descriptor),
                    descriptor: descriptor.clone(),
                    component: located.component.clone(),
                }))
            }
        };
        let vertices = job.plan.vertices.iter().map(|vertex| GraphVertex {
            id: vertex.id.clone(),
            parallelism: vertex.parallelism,
            part: part(vertex.role),
        });
        Self {
            job: job.spec.name.clone(),
            max_parallelism: job.spec.max_parallelism,
            mode,
            vertices: vertices.collect(),
            tasks: Vec::new(),
            visited: BTreeSet::new(),
        }
    }

    /// The operators, with the numbers of their vertices.
    pub(super) fn operators(&self) -> impl Iterator<Item = (usize, &GraphVertex, &OperatorFacts)> {
        self.vertices.iter().enumerate().filter_map(|(number, vertex)| match &vertex.part {
            Part::Operator(facts) => Some((number, vertex, &**facts)),
            Part::Source(_) | Part::Sink(_) => None,
        })
    }

    /// The sources, with the numbers of their vertices.
    pub(super) fn sources(&self) -> impl Iterator<Item = (usize, &str, &dyn Source)> {
        self.vertices.iter().enumerate().filter_map(|(number, vertex)| match &vertex.part {
            Part::Source(source) => Some((number, vertex.id.as_str(), &**source)),
            Part::Operator(_) | Part::Sink(_) => None,
        })
    }

    /// The sinks.
    pub(super) fn sinks(&self) -> impl Iterator<Item = (&String, &dyn Sink)> {
        self.vertices.iter().filter_map(|vertex| match &vertex.part {
            Part::Sink(sink) => Some((&vertex.id, &**sink)),
            Part::Operator(_) | Part::Source(_) => None,
        })
    }

    /// The names of the plugins.
    pub(super) fn plugin_names(&self) -> impl Iterator<Item = String> {
        self.operators().filter_map(|(_, _, facts)| facts.plugin.file.clone())
    }

    /// Makes transactions visible, by the ids of their sinks; all sinks are tried.
    ///
    /// # Errors
    /// An external fault when another try may do better; [`FaultKind::Unfit`] when a sink says that what it had set aside is gone.
    pub(super) fn commit(&self, due: &[(String, Vec<Transaction>)]) -> Result<(), Fault> {
        let mut kind = FaultKind::External;
        let mut failures = Vec::new();
        for (id, transactions) in due {
            let Some((_, sink)) = self.sinks().find(|(other, _)| *other == id) else { continue };
            if let Err(error) = sink.commit(transactions) {
                if matches!(error, ConnectorError::Refused(_)) {
                    kind = FaultKind::Unfit;
                }
                failures.push(format!("{id}: {error}"));
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(Fault::new(kind, failures.join("; "))) }
    }
}

/// The states of an operator as a manifest describes them, without counts.
fn described_states(descriptor: &Descriptor) -> Vec<DescribedState> {
    let key = descriptor.inputs.iter().find_map(|input| input.key.clone());
    let states = (0_u16..).zip(&descriptor.states).map(|(number, state)| DescribedState {
        number,
        name: state.name.clone(),
        kind: state.kind,
        version: state.version,
        key: key.clone().filter(|_| state.kind.is_keyed()),
        map_key: state.map_key.clone(),
        value: state.schema.clone(),
        ttl_ms: state.ttl.map(|ttl| ttl.ms),
        entries: None,
        bytes: None,
    });
    states.collect()
}
