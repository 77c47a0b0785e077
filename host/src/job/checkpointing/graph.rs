//! What checkpoints must know of a job: its vertices, which tasks they are in, and who commits results.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use super::super::{
    PreparedJob,
    plan::Role,
    stored_state::{CheckpointedPlugin, DescribedState, ExchangedSettings, FormerVersion, OpenSwap},
    version::{Declared, OperatorVersion},
};
use crate::{
    checkpoint::{Mode, Names},
    connector::{ConnectorError, Sink, Source, Transaction},
    operator::Plugin,
    stream::{CheckpointId, Fault, FaultKind},
};

/// A job as checkpoints see it.
#[derive(Clone)]
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
    /// The exchange that is on probation.
    pub(super) swap: Option<GraphSwap>,
}

/// A source, operator or sink.
#[derive(Clone)]
pub(super) struct GraphVertex {
    pub(super) id: String,
    pub(super) parallelism: u32,
    pub(super) part: Part,
}

/// What a vertex is.
#[derive(Clone)]
pub(super) enum Part {
    Source(Arc<dyn Source>),
    Operator(Box<OperatorFacts>),
    Sink(Arc<dyn Sink>),
}

/// What is known of an operator.
#[derive(Clone)]
pub(super) struct OperatorFacts {
    pub(super) plugin: CheckpointedPlugin,
    pub(super) states: Vec<DescribedState>,
    /// Its place in the job file.
    pub(super) index: usize,
    /// What runs.
    pub(super) version: OperatorVersion,
    declared: Declared,
}

impl OperatorFacts {
    fn of(version: OperatorVersion, declared: Declared, index: usize) -> Self {
        let plugin = &version.located.plugin;
        let (descriptor, running) = (plugin.descriptor(), plugin.digest().to_owned());
        let settings = (version.settings != declared.settings)
            .then(|| ExchangedSettings { declared: declared.settings.to_json(), running: version.settings.to_json() });
        Self {
            plugin: CheckpointedPlugin {
                name: descriptor.name.clone(),
                version: descriptor.version.clone(),
                declared: declared.digest.clone(),
                file: Some(Names::plugin(&running)),
                running,
                settings,
            },
            states: version.states(),
            index,
            version,
            declared,
        }
    }

    /// The next version of the operator.
    fn changed(&self, version: OperatorVersion) -> Self {
        Self::of(version, self.declared.clone(), self.index)
    }

    fn former(&self, id: &str) -> FormerVersion {
        FormerVersion {
            id: id.to_owned(),
            plugin: self.plugin.clone(),
            states: self.states.clone(),
            next_state: self.version.register.next(),
        }
    }
}

/// An exchange on probation, as manifests tell of it.
#[derive(Clone)]
pub(super) struct GraphSwap {
    pub(super) open: OpenSwap,
    /// The plugins that ran before, by their names.
    components: Vec<(String, Bytes)>,
}

/// A task of the job: a chain of tasks of vertices.
#[derive(Clone)]
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
                Part::Operator(Box::new(OperatorFacts::of(job.version(index), job.declared[index].clone(), index)))
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
            swap: None,
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

    /// The names of the plugins, also of those that run no more and may have to again, with what they are.
    pub(super) fn components(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        let running = self.operators().filter_map(|(_, _, facts)| {
            let name = facts.plugin.file.as_deref()?;
            Some((name, &facts.version.located.component))
        });
        let former = self.swap.iter().flat_map(|swap| &swap.components).map(|(name, bytes)| (name.as_str(), bytes));
        running.chain(former)
    }

    /// The same job with other versions of operators, by their vertices, from the barrier of a checkpoint on.
    pub(super) fn exchanged(&self, at: CheckpointId, changes: &[(usize, OperatorVersion)]) -> Self {
        let mut graph = self.clone();
        let (mut former, mut components) = (Vec::new(), Vec::new());
        for (vertex, version) in changes {
            let GraphVertex { id, part, .. } = &mut graph.vertices[*vertex];
            let Part::Operator(facts) = part else { continue };
            former.push(facts.former(id));
            if let Some(name) = &facts.plugin.file {
                components.push((name.clone(), facts.version.located.component.clone()));
            }
            **facts = facts.changed(version.clone());
        }
        graph.swap = Some(GraphSwap { open: OpenSwap { checkpoint: at, former }, components });
        graph
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
