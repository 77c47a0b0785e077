//! The graph of a job, as far as an exchange of operators leaves it as it is: for whoever compares it with another job file.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::job::{Carries, PreparedJob, Role};

/// What an exchange of operators can't change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobGraph {
    /// All vertices.
    pub vertices: BTreeSet<GraphVertex>,
    /// All edges.
    pub edges: BTreeSet<GraphEdge>,
}

/// A source, operator or sink.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GraphVertex {
    /// Its id.
    pub id: String,
    /// `source`, `operator` or `sink`.
    pub kind: String,
    /// How many tasks it has.
    pub parallelism: u32,
    /// Of a source or sink, 16 digits that stand for its settings: the same in the same version of wasmill only when these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
}

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GraphEdge {
    /// Who sends.
    pub from: String,
    /// Who receives.
    pub to: String,
    /// The number of the receiver's input.
    pub input: u32,
    /// How it routes.
    pub partitioning: String,
    /// `records` or `dead-letters`.
    pub carries: String,
}

impl PreparedJob {
    /// What an exchange of operators can't change.
    pub fn graph(&self) -> JobGraph {
        let digits = |settings: String| Some(format!("{:016x}", xxh3_64(without_parents(settings).as_bytes())));
        let vertices = self.plan.vertices.iter().map(|vertex| {
            let (kind, settings) = match vertex.role {
                Role::Source(index) => ("source", digits(format!("{:?}", self.spec.sources[index].kind))),
                Role::Operator(_) => ("operator", None),
                Role::Sink(index) => ("sink", digits(format!("{:?}", self.spec.sinks[index].kind))),
            };
            GraphVertex { id: vertex.id.clone(), kind: kind.into(), parallelism: vertex.parallelism, settings }
        });
        let id = |vertex: usize| self.plan.vertices[vertex].id.clone();
        let edges = self.plan.edges.iter().map(|edge| GraphEdge {
            from: id(edge.from),
            to: id(edge.to),
            input: edge.input,
            partitioning: edge.partitioning.name().to_owned(),
            carries: if edge.carries == Carries::Records { "records" } else { "dead-letters" }.to_owned(),
        });
        JobGraph { vertices: vertices.collect(), edges: edges.collect() }
    }
}

/// Two job files may name one place by way of different folders.
fn without_parents(mut settings: String) -> String {
    while let Some(at) = settings.find("/../") {
        let before = settings[..at].rfind('/').unwrap_or(at);
        settings.replace_range(before..at + 3, "");
    }
    settings
}

impl JobGraph {
    /// How another one differs from this one, for people; empty: not at all.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for now in &other.vertices {
            let (kind, id) = (&now.kind, &now.id);
            let Some(was) = self.vertices.iter().find(|was| was.id == *id && was.kind == *kind) else {
                differences.push(format!("{kind} {id} is in the job file only"));
                continue;
            };
            if was.parallelism != now.parallelism {
                differences
                    .push(format!("{kind} {id}: its parallelism is {} and was {}", now.parallelism, was.parallelism));
            }
            if was.settings != now.settings {
                differences.push(format!("{kind} {id}: its settings are others"));
            }
        }
        for GraphVertex { kind, id, .. } in &self.vertices {
            if !other.vertices.iter().any(|now| now.id == *id && now.kind == *kind) {
                differences.push(format!("{kind} {id} runs, and is not in the job file"));
            }
        }
        let shown = |edge: &GraphEdge| {
            let GraphEdge { from, to, input, partitioning, carries } = edge;
            let what = if carries == "records" { "" } else { " of dead letters" };
            format!("the edge{what} from {from} to {to} (input {input}, {partitioning})")
        };
        differences
            .extend(other.edges.difference(&self.edges).map(|edge| format!("{} is in the job file only", shown(edge))));
        differences
            .extend(self.edges.difference(&other.edges).map(|edge| format!("{} is not in the job file", shown(edge))));
        differences
    }
}
