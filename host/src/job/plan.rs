//! The planner: what runs, how it is joined, and everything that is refused before it starts.
//!
//! Pure: it takes the job file and facts already read (descriptors of plugins, schemas and bounds of connectors) and gives a plan or all refusals at once.

use std::collections::BTreeSet;

mod edges;

use self::edges::{Placed, Receiver};
use crate::{
    dataflow::Partitioning,
    operator::{Descriptor, Keying},
    spec::{At, JobFile, Location, OnError, SpecError, nearest},
    stream::schema::Schema,
};

/// What the planner must know of a source.
pub struct SourceFacts {
    /// Schema of its keys, if its records have keys.
    pub key: Option<Schema>,
    /// Schema of its values.
    pub value: Schema,
    /// The most tasks it can have.
    pub parallelism_max: u32,
}

/// What the planner must know of a sink.
pub struct SinkFacts {
    /// The most tasks it can have.
    pub parallelism_max: u32,
    /// It looks at the records' keys.
    pub reads_keys: bool,
}

/// Which part of the job file a vertex is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `sources[i]`
    Source(usize),
    /// `operators[i]`
    Operator(usize),
    /// `sinks[i]`
    Sink(usize),
}

/// A source, operator or sink of the logical graph.
#[derive(Clone, Debug)]
pub struct Vertex {
    /// Its id.
    pub id: String,
    /// What it is.
    pub role: Role,
    /// How many tasks it has.
    pub parallelism: u32,
    /// Schema of the keys of its results, if they have keys.
    pub key: Option<Schema>,
    /// Schema of the values of its results; for a sink, that of the first input.
    pub value: Schema,
    /// Its results are partitioned by their keys already.
    partitioned: bool,
    /// Somebody behind it looks at the keys of its results.
    pub keys_wanted: bool,
}

/// What an edge carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Results.
    Records,
    /// Records that were given up.
    DeadLetters,
}

/// An edge of the logical graph.
#[derive(Clone, Debug)]
pub struct PlannedEdge {
    /// Vertex that sends.
    pub from: usize,
    /// Vertex that receives.
    pub to: usize,
    /// The receiving operator's input; 0 for a sink.
    pub input: u32,
    /// How it routes.
    pub partitioning: Partitioning,
    /// What it carries.
    pub carries: Carries,
    /// Its records bring their keys, if they have any.
    pub with_keys: bool,
    /// Both ends run in one task and no channel lies between them.
    pub chained: bool,
}

/// A job that can run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In an order in which every vertex comes after those that send to it.
    pub vertices: Vec<Vertex>,
    /// All edges.
    pub edges: Vec<PlannedEdge>,
}

struct Planner<'a> {
    job: &'a JobFile,
    descriptors: &'a [&'a Descriptor],
    errors: Option<SpecError>,
}

/// Plans a job.
///
/// # Errors
/// Everything that is refused, with its place in the job file.
pub fn plan(
    job: &JobFile,
    sources: &[SourceFacts],
    descriptors: &[&Descriptor],
    sinks: &[SinkFacts],
) -> Result<Plan, SpecError> {
    let mut planner = Planner { job, descriptors, errors: None };
    let order = planner.order_operators();
    let plan = planner.build(&order, sources, sinks);
    planner.refuse_dangling(&plan, order.len() == job.operators.len());
    match planner.errors {
        Some(errors) => Err(errors),
        None => Ok(plan),
    }
}

impl Planner<'_> {
    fn refuse(&mut self, at: &Location, message: impl Into<String>) {
        let error = self.job.error(at, message);
        self.errors = Some(match self.errors.take() {
            Some(errors) => errors.and(error),
            None => error,
        });
    }

    /// Indices of the operators such that each comes after those that it reads. Unknown ids and cycles are refused and left out.
    fn order_operators(&mut self) -> Vec<usize> {
        let job = self.job;
        let known: Vec<&str> = job
            .sources
            .iter()
            .map(|source| source.id.as_str())
            .chain(job.operators.iter().map(|operator| operator.id.as_str()))
            .collect();
        for input in job
            .operators
            .iter()
            .flat_map(|operator| &operator.inputs)
            .chain(job.sinks.iter().flat_map(|sink| &sink.inputs))
        {
            if !known.contains(&input.from.as_str()) {
                let what = if job.sinks.iter().any(|sink| *sink.id == *input.from) {
                    "is a sink: it gives no records"
                } else {
                    "is not the id of a source or operator"
                };
                let hint = nearest(&input.from, known.iter().copied())
                    .map(|id| format!("; did you mean {id:?}?"))
                    .unwrap_or_default();
                self.refuse(&input.from.at, format!("{:?} {what}{hint}", input.from.value));
            }
        }
        let mut order: Vec<usize> = Vec::new();
        loop {
            let placed: BTreeSet<&str> = job
                .sources
                .iter()
                .map(|source| source.id.as_str())
                .chain(order.iter().map(|index| job.operators[*index].id.as_str()))
                .collect();
            let is_ready = |index: &usize| {
                !order.contains(index)
                    && job.operators[*index]
                        .inputs
                        .iter()
                        .all(|input| placed.contains(input.from.as_str()) || !known.contains(&input.from.as_str()))
            };
            match (0..job.operators.len()).find(is_ready) {
                Some(index) => order.push(index),
                None => break,
            }
        }
        let stuck: Vec<usize> = (0..job.operators.len()).filter(|index| !order.contains(index)).collect();
        if let Some(first) = stuck.first() {
            let ids: Vec<_> = stuck.iter().map(|index| job.operators[*index].id.as_str()).collect();
            self.refuse(
                &job.operators[*first].id.at,
                format!("a cycle: {} read from each other's results, directly or through others", ids.join(", ")),
            );
        }
        order
    }

    fn build(&mut self, order: &[usize], sources: &[SourceFacts], sinks: &[SinkFacts]) -> Plan {
        let job = self.job;
        let mut plan = Plan { vertices: Vec::new(), edges: Vec::new() };
        for (index, (source, facts)) in job.sources.iter().zip(sources).enumerate() {
            let most = facts.parallelism_max;
            let parallelism =
                self.parallelism(source.parallelism.as_ref(), job.parallelism.min(most), most, &source.id);
            plan.vertices.push(Vertex {
                id: source.id.value.clone(),
                role: Role::Source(index),
                parallelism,
                key: facts.key.clone(),
                value: facts.value.clone(),
                partitioned: false,
                keys_wanted: false,
            });
        }
        for index in order {
            self.add_operator(*index, &mut plan);
        }
        for (index, (sink, facts)) in job.sinks.iter().zip(sinks).enumerate() {
            let most = facts.parallelism_max;
            let parallelism = self.parallelism(sink.parallelism.as_ref(), job.parallelism.min(most), most, &sink.id);
            let to = plan.vertices.len();
            plan.vertices.push(Vertex {
                id: sink.id.value.clone(),
                role: Role::Sink(index),
                parallelism,
                key: None,
                value: Schema::opaque(),
                partitioned: false,
                keys_wanted: facts.reads_keys,
            });
            let receiver = Receiver::Sink { reads_keys: facts.reads_keys };
            for spec in &sink.inputs {
                self.add_edge(&mut plan, spec, to, receiver);
            }
        }
        self.add_dead_letter_edges(&mut plan);
        finish(&mut plan);
        plan
    }

    fn add_operator(&mut self, index: usize, plan: &mut Plan) {
        let (operator, descriptor) = (&self.job.operators[index], self.descriptors[index]);
        let parallelism = self.parallelism(operator.parallelism.as_ref(), self.job.parallelism, u32::MAX, &operator.id);
        let to = plan.vertices.len();
        let (keying, value) = match descriptor.outputs.first() {
            Some(output) => (output.keying.clone(), output.value.clone()),
            None => (Keying::Drop, Schema::unit()),
        };
        plan.vertices.push(Vertex {
            id: operator.id.value.clone(),
            role: Role::Operator(index),
            parallelism,
            key: None,
            value,
            partitioned: false,
            keys_wanted: false,
        });
        let inputs = self.inputs_of_edges(operator, descriptor);
        let mut keys: Vec<Option<Schema>> = Vec::new();
        let mut partitioned = true;
        for (spec, input) in operator.inputs.iter().zip(inputs) {
            let Some(input) = input else { continue };
            let receiver = Receiver::Operator { descriptor, input };
            let Some(edge) = self.add_edge(plan, spec, to, receiver) else { continue };
            let placed = self.check_edge(plan, edge, spec, (operator, descriptor));
            // Where some inputs have keys, what is emitted for the records of the others has none that could be kept.
            if receiver.takes_keys() {
                partitioned &= placed == Placed::ByKey;
                keys.push(plan.vertices[plan.edges[edge].from].key.clone());
            }
        }
        let kept = keys.first().cloned().flatten().filter(|first| keys.iter().all(|key| key.as_ref() == Some(first)));
        let vertex = &mut plan.vertices[to];
        (vertex.key, vertex.partitioned) = match keying {
            Keying::Keep => (kept.clone(), partitioned && kept.is_some()),
            Keying::Set(key) => (Some(key), false),
            Keying::Drop => (None, false),
        };
    }

    fn add_dead_letter_edges(&mut self, plan: &mut Plan) {
        let job = self.job;
        for operator in &job.operators {
            let OnError::DeadLetter { sink } = &operator.on_error.value else { continue };
            let from = plan.vertices.iter().position(|vertex| vertex.id == *operator.id.value);
            let to = plan.vertices.iter().position(|vertex| vertex.id == *sink && matches!(vertex.role, Role::Sink(_)));
            match (from, to) {
                (Some(from), Some(to)) => {
                    let same = plan.vertices[from].parallelism == plan.vertices[to].parallelism;
                    let partitioning = if same { Partitioning::Forward } else { Partitioning::Rebalance };
                    plan.edges.push(PlannedEdge {
                        from,
                        to,
                        input: 0,
                        partitioning,
                        carries: Carries::DeadLetters,
                        with_keys: false,
                        chained: false,
                    });
                }
                (_, None) => {
                    let hint = nearest(sink, job.sinks.iter().map(|sink| sink.id.as_str()))
                        .map(|id| format!("; did you mean {id:?}?"))
                        .unwrap_or_default();
                    self.refuse(&operator.on_error.at, format!("{sink:?} is not the id of a sink{hint}"));
                }
                (None, _) => {}
            }
        }
    }

    fn parallelism(&mut self, given: Option<&At<u32>>, default: u32, most: u32, id: &At<String>) -> u32 {
        let Some(given) = given else { return default };
        if given.value > self.job.max_parallelism {
            let text =
                format!("parallelism {} is above max-parallelism, which is {}", given.value, self.job.max_parallelism);
            self.refuse(&given.at, text);
        } else if given.value > most {
            let tasks = if most == 1 { "one task".to_owned() } else { format!("{most} tasks") };
            self.refuse(&given.at, format!("{} can have {tasks} at most", id.value));
        }
        given.value
    }

    /// Results that nobody takes, and sinks that get nothing.
    fn refuse_dangling(&mut self, plan: &Plan, complete: bool) {
        if !complete {
            return;
        }
        let job = self.job;
        for (index, vertex) in plan.vertices.iter().enumerate() {
            let taken = plan.edges.iter().any(|edge| edge.from == index && edge.carries == Carries::Records);
            match vertex.role {
                Role::Source(source) if !taken => {
                    self.refuse(&job.sources[source].id.at, format!("nothing reads the records of {}", vertex.id))
                }
                Role::Operator(operator) if !taken && !self.descriptors[operator].outputs.is_empty() => {
                    self.refuse(
                        &job.operators[operator].id.at,
                        format!(
                            "nothing reads the results of {}: add a sink (type = \"blackhole\" drops them)",
                            vertex.id
                        ),
                    );
                }
                Role::Sink(sink) if !plan.edges.iter().any(|edge| edge.to == index) => {
                    self.refuse(
                        &job.sinks[sink].id.at,
                        format!("the sink {} has no inputs, and no operator's on-error names it", vertex.id),
                    );
                }
                _ => {}
            }
        }
    }
}

/// Chains what can be chained and finds out whose keys anybody wants.
fn finish(plan: &mut Plan) {
    let inputs = |plan: &Plan, to: usize| plan.edges.iter().filter(|edge| edge.to == to).count();
    for index in 0..plan.edges.len() {
        let to = plan.edges[index].to;
        // A sink writes each of its inputs with a writer of its own, so several inputs are no obstacle there. An operator with several edges is one task for all of them:
        // chained to one sender, it would run in that sender's task, whose other work would then wait for the channels of the others.
        let alone = inputs(plan, to) == 1 || matches!(plan.vertices[to].role, Role::Sink(_));
        plan.edges[index].chained = plan.edges[index].partitioning == Partitioning::Forward && alone;
    }
    // Receivers come after senders, so one pass from the end suffices. An operator that keeps keys wants them when somebody behind it does.
    for from in (0..plan.vertices.len()).rev() {
        let wanted = plan.edges.iter().any(|edge| edge.from == from && edge.with_keys);
        if !matches!(plan.vertices[from].role, Role::Sink(_)) {
            plan.vertices[from].keys_wanted = wanted;
        }
    }
}

#[cfg(test)]
mod tests;
