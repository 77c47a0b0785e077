//! From a plan to tasks: one task per chain and index, channels along the edges that are not chained.

use std::{collections::HashMap, sync::Arc};

use crossbeam::sync::{Parker, Unparker};

use super::{
    checkpointing::{Attempt, Checkpointing, Origin, Seat},
    plan::{Carries, Plan, PlannedEdge, Role},
    plugins::JobError,
    prepare::PreparedJob,
};
use crate::{
    background::Background,
    connector::TaskContext,
    dataflow::{Partitioning, Router},
    metrics::OperatorCounters,
    operator::{CallTime, Execution, ExecutionSetup, LogLevel, Plugin, Restored, Succession, TaskInfo, Version},
    runtime::{Clock, Control, Edge, Input, Node, NodeKind, Outlet, Target, Task, TaskHead, channel, parker},
    spec::StateBackend,
    state::{SpillOptions, SpillSetup},
    stream::{key_groups_of_task, schema::Schema},
};

/// A run on its way to disk is not smaller, whatever the memory for state: each costs a file.
const RUN_BYTES_MIN: usize = 64 << 10;

/// The database reads with no less memory than this.
const BLOCK_CACHE_BYTES_MIN: usize = 1 << 20;

/// Log lines that an operator task may write in a second; the others are dropped and counted.
const LOG_LINES_PER_SECOND_MAX: u32 = 100;

/// The parts of a job, ready to run.
pub(super) struct Assembled {
    pub(super) tasks: Vec<(Task, Parker)>,
    pub(super) wake_all: Vec<Unparker>,
    /// Counters of each vertex, one for each task.
    pub(super) counters: Vec<Vec<Arc<OperatorCounters>>>,
}

/// A place in the graph that gets tasks of its own: a vertex, or one input of a sink.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Place {
    vertex: usize,
    /// The edge by which a sink's records come.
    edge: Option<usize>,
}

/// Makes the place where a task's work off the record path runs, given a name for it.
pub(super) type MakeBackground = Arc<dyn Fn(String) -> Arc<dyn Background> + Send + Sync>;

/// What is assembled for an attempt that takes checkpoints.
pub(super) struct WithCheckpoints<'a> {
    pub(super) checkpointing: &'a Checkpointing,
    pub(super) attempt: &'a mut Attempt,
    pub(super) origin: Option<&'a Origin>,
}

struct Assembler<'a> {
    job: &'a PreparedJob,
    checkpoints: Option<WithCheckpoints<'a>>,
    clock: Arc<dyn Clock>,
    control: Arc<Control>,
    background: MakeBackground,
    parkers: HashMap<(Place, u32), (Option<Parker>, Unparker)>,
    inputs: HashMap<(Place, u32), Vec<Input>>,
    outlets: HashMap<(usize, u32), Vec<Outlet>>,
    counters: Vec<Vec<Arc<OperatorCounters>>>,
}

/// Makes all tasks of a job. Instances are made and opened here, files are opened.
pub(super) fn assemble(
    job: &PreparedJob,
    clock: Arc<dyn Clock>,
    control: Arc<Control>,
    background: &MakeBackground,
    checkpoints: Option<WithCheckpoints<'_>>,
) -> Result<Assembled, JobError> {
    let mut assembler = Assembler {
        job,
        checkpoints,
        clock,
        control,
        background: Arc::clone(background),
        parkers: HashMap::new(),
        inputs: HashMap::new(),
        outlets: HashMap::new(),
        counters: vec![Vec::new(); job.plan.vertices.len()],
    };
    let roots = assembler.roots();
    for root in &roots {
        for task in 0..job.plan.vertices[root.vertex].parallelism {
            let (parker, unparker) = parker();
            assembler.parkers.insert((*root, task), (Some(parker), unparker));
        }
    }
    assembler.join(&roots);
    let mut tasks = Vec::new();
    for root in &roots {
        for task in 0..job.plan.vertices[root.vertex].parallelism {
            tasks.push(assembler.task(*root, task)?);
        }
    }
    let wake_all = assembler.parkers.values().map(|(_, unparker)| unparker.clone()).collect();
    Ok(Assembled { tasks, wake_all, counters: assembler.counters })
}

impl Assembler<'_> {
    fn plan(&self) -> &Plan {
        &self.job.plan
    }

    fn place_of(&self, edge: usize) -> Place {
        let to = self.plan().edges[edge].to;
        let is_sink = matches!(self.plan().vertices[to].role, Role::Sink(_));
        Place { vertex: to, edge: is_sink.then_some(edge) }
    }

    /// The places that begin a chain.
    fn roots(&self) -> Vec<Place> {
        let mut roots = Vec::new();
        for (vertex, planned) in self.plan().vertices.iter().enumerate() {
            let incoming = (0..self.plan().edges.len()).filter(|edge| self.plan().edges[*edge].to == vertex);
            match planned.role {
                Role::Source(_) => roots.push(Place { vertex, edge: None }),
                Role::Operator(_) => {
                    if incoming.clone().all(|edge| !self.plan().edges[edge].chained) {
                        roots.push(Place { vertex, edge: None });
                    }
                }
                Role::Sink(_) => roots
                    .extend(incoming.filter(|edge| !self.plan().edges[*edge].chained).map(|edge| self.place_of(edge))),
            }
        }
        roots
    }

    /// The root of the chain that a vertex belongs to.
    fn root_of(&self, vertex: usize) -> Place {
        match self.plan().edges.iter().find(|edge| edge.to == vertex && edge.chained) {
            Some(edge) => self.root_of(edge.from),
            None => Place { vertex, edge: None },
        }
    }

    fn join(&mut self, roots: &[Place]) {
        for index in 0..self.plan().edges.len() {
            let edge = self.plan().edges[index].clone();
            if edge.chained {
                continue;
            }
            let (sender, receiver) = (self.root_of(edge.from), self.place_of(index));
            debug_assert!(roots.contains(&sender) && roots.contains(&receiver));
            let receivers = self.plan().vertices[edge.to].parallelism;
            for from in 0..self.plan().vertices[edge.from].parallelism {
                let targets = if edge.partitioning == Partitioning::Forward { from..from + 1 } else { 0..receivers };
                for to in targets {
                    let (outlet, input) =
                        channel(self.parkers[&(sender, from)].1.clone(), self.parkers[&(receiver, to)].1.clone());
                    self.outlets.entry((index, from)).or_default().push(outlet);
                    self.inputs.entry((receiver, to)).or_default().push(input.leading_to(edge.input));
                }
            }
        }
    }

    fn task(&mut self, root: Place, task: u32) -> Result<(Task, Parker), JobError> {
        let (mut nodes, mut places) = (Vec::new(), Vec::new());
        self.add_node(root, task, &mut nodes, &mut places)?;
        let vertex = &self.plan().vertices[root.vertex];
        let names: Vec<_> = nodes.iter().map(|node: &Node| node.id.as_str()).collect();
        let name = format!("{}/{task}", names.join("+"));
        let keyed = vertex.key.is_some();
        let head = match vertex.role {
            Role::Source(index) => {
                let unparker = self.parkers[&(root, task)].1.clone();
                let context = TaskContext {
                    task,
                    parallelism: vertex.parallelism,
                    counters: nodes[0].counters.named.clone(),
                    wake: Box::new(move || unparker.unpark()),
                };
                let id = vertex.id.clone();
                let reader = self.job.sources[index].reader(context);
                TaskHead::Source(reader.map_err(|source| JobError::Connector { id, source })?)
            }
            Role::Operator(_) | Role::Sink(_) => {
                TaskHead::Inputs(self.inputs.remove(&(root, task)).unwrap_or_default())
            }
        };
        let batch = self.job.spec.batch;
        let checkpoints = self.checkpoints.as_mut().map(|with| {
            let watermark = with.checkpointing.watermark(with.origin, root.vertex);
            with.attempt.task(&name, places, with.checkpointing.mode(), watermark)
        });
        let task_of_root = Task::new(
            name,
            head,
            nodes,
            keyed,
            (batch.limits, batch.timeout),
            Arc::clone(&self.clock),
            Arc::clone(&self.control),
            checkpoints,
        );
        let parker = self.parkers.get_mut(&(root, task)).and_then(|(parker, _)| parker.take());
        Ok((task_of_root, parker.expect("each task is made once")))
    }

    /// Adds the node of a place and everything chained behind it; returns its number.
    fn add_node(
        &mut self,
        place: Place,
        task: u32,
        nodes: &mut Vec<Node>,
        places: &mut Vec<(usize, u32)>,
    ) -> Result<usize, JobError> {
        let counters = Arc::new(OperatorCounters::default());
        self.counters[place.vertex].push(Arc::clone(&counters));
        let vertex = &self.plan().vertices[place.vertex];
        let (id, role) = (vertex.id.clone(), vertex.role);
        let kind = match role {
            Role::Source(_) => NodeKind::Source,
            Role::Operator(index) => {
                NodeKind::Operator(Box::new(self.execution(index, place.vertex, task, &counters)?))
            }
            Role::Sink(index) => NodeKind::Sink(Some(self.writer(index, place, task, &counters)?)),
        };
        let number = nodes.len();
        places.push((place.vertex, task));
        nodes.push(Node { id, kind, targets: Vec::new(), dead_targets: Vec::new(), counters });
        let outgoing: Vec<usize> =
            (0..self.plan().edges.len()).filter(|edge| self.plan().edges[*edge].from == place.vertex).collect();
        if matches!(role, Role::Sink(_)) {
            return Ok(number);
        }
        for index in outgoing {
            let edge = self.plan().edges[index].clone();
            let target = if edge.chained {
                Target::Chained(self.add_node(self.place_of(index), task, nodes, places)?)
            } else {
                self.edge(index, &edge, task)
            };
            match edge.carries {
                Carries::Records => nodes[number].targets.push(target),
                Carries::DeadLetters => nodes[number].dead_targets.push(target),
            }
        }
        Ok(number)
    }

    fn edge(&mut self, index: usize, edge: &PlannedEdge, task: u32) -> Target {
        let outlets = self.outlets.remove(&(index, task)).unwrap_or_default();
        let from = &self.plan().vertices[edge.from];
        let keyed = edge.with_keys && from.key.is_some();
        let spec = &self.job.spec;
        Target::Edge(Edge::new(
            Router::new(edge.partitioning, outlets.len(), spec.max_parallelism, spec.batch.limits, keyed),
            outlets,
        ))
    }

    fn execution(
        &mut self,
        index: usize,
        vertex: usize,
        task: u32,
        counters: &Arc<OperatorCounters>,
    ) -> Result<Execution, JobError> {
        let id = self.plan().vertices[vertex].id.clone();
        let version = self.job.version(index);
        let descriptor = version.located.plugin.descriptor();
        let has_state = !descriptor.states.is_empty();
        let info = self.task_info(vertex, task);
        let log = {
            let (name, clock, counters) = (format!("{id}/{task}"), Arc::clone(&self.clock), Arc::clone(counters));
            move || log_lines(name.clone(), Arc::clone(&clock), &counters)
        };
        let time = CallTime { now: self.clock.now(), watermark: None };
        let succession = Arc::new(Succession::default());
        let (snapshots, restored) = match &mut self.checkpoints {
            Some(with) => {
                let seat = Seat {
                    info: info.clone(),
                    counters: Arc::clone(counters),
                    succession: Arc::clone(&succession),
                    log: Box::new(log.clone()),
                };
                with.attempt.seat(vertex, task, seat);
                let restored = with.checkpointing.restored(with.origin, vertex, task)?;
                // One without state may be exchanged for one that has some.
                (Some(with.attempt.keeper(vertex, &id, task)), restored)
            }
            None => (None, Restored::default()),
        };
        let inputs = descriptor.inputs.len() as u32;
        let key_schema = |input| {
            let edge = self.plan().edges.iter().find(|edge| edge.to == vertex && edge.input == input)?;
            self.plan().vertices[edge.from].key.clone()
        };
        let Version { plugin, state_ids, config, limits, exchange_limits, policy, faults_per_minute } =
            version.for_tasks();
        let execution = Execution::new(ExecutionSetup {
            info,
            plugin,
            config,
            limits,
            exchange_limits,
            policy,
            faults_per_minute,
            keys_wanted: self.plan().vertices[vertex].keys_wanted,
            key_schemas: (0..inputs).map(key_schema).collect(),
            counters: Arc::clone(counters),
            time,
            log: log(),
            spill: self.spill(&id, task),
            snapshots,
            restored,
            state_ids,
            succession,
        });
        let mut execution = execution.map_err(JobError::Fault)?;
        if let Some(dump) = self.job.dump.as_ref().filter(|_| has_state) {
            execution.give_state_to(dump.keeper(&id, task));
        }
        Ok(execution)
    }

    fn task_info(&self, vertex: usize, task: u32) -> TaskInfo {
        let (spec, planned) = (&self.job.spec, &self.plan().vertices[vertex]);
        TaskInfo {
            job: spec.name.clone(),
            operator: planned.id.clone(),
            task,
            parallelism: planned.parallelism,
            max_parallelism: spec.max_parallelism,
            key_groups: key_groups_of_task(task, planned.parallelism, spec.max_parallelism),
            batch: spec.batch.limits,
        }
    }

    /// Where a task of this operator keeps state that does not fit its share of the memory.
    fn spill(&self, operator: &str, task: u32) -> Option<SpillSetup> {
        let spec = &self.job.spec;
        if spec.state.backend == StateBackend::Memory {
            return None;
        }
        let share = usize::try_from(spec.state.cache / self.stateful_tasks().max(1)).unwrap_or(usize::MAX);
        Some(SpillSetup {
            directory: spec.state.directory.join(&spec.name).join(format!("{operator}-{task}")),
            options: spill_options(share),
            background: (self.background)(format!("{operator}/{task} spill")),
            cache_bytes: share,
        })
    }

    /// How many tasks have keyed state.
    fn stateful_tasks(&self) -> u64 {
        let stateful = |role: Role| match role {
            Role::Operator(index) => self.job.plugins[index].plugin.descriptor().keyed_states().next().is_some(),
            _ => false,
        };
        let tasks = self.plan().vertices.iter().filter(|vertex| stateful(vertex.role));
        tasks.map(|vertex| u64::from(vertex.parallelism)).sum()
    }

    fn writer(
        &self,
        index: usize,
        place: Place,
        task: u32,
        counters: &OperatorCounters,
    ) -> Result<Box<dyn crate::connector::SinkWriter>, JobError> {
        let vertex = &self.plan().vertices[place.vertex];
        let incoming: Vec<usize> =
            (0..self.plan().edges.len()).filter(|edge| self.plan().edges[*edge].to == place.vertex).collect();
        let input = incoming.iter().position(|edge| Some(*edge) == place.edge).unwrap_or(0) as u32;
        let schema = match place.edge.map(|edge| &self.plan().edges[edge]) {
            Some(edge) if edge.carries == Carries::Records => self.plan().vertices[edge.from].value.clone(),
            _ => Schema::json(),
        };
        // Writers of several inputs are numbered on, so that their files have different names.
        let context = TaskContext {
            task: input * vertex.parallelism + task,
            parallelism: incoming.len() as u32 * vertex.parallelism,
            counters: counters.named.clone(),
            wake: Box::new(|| {}),
        };
        self.job.sinks[index]
            .writer(context, &schema)
            .map_err(|source| JobError::Connector { id: vertex.id.clone(), source })
    }
}

/// What a spill takes for itself, in proportion to the task's share of the memory for state: three runs and a cache.
fn spill_options(share: usize) -> SpillOptions {
    let most = SpillOptions::default();
    SpillOptions {
        run_bytes: (share / 32).clamp(RUN_BYTES_MIN, most.run_bytes / 2),
        block_cache_bytes: (share / 8).clamp(BLOCK_CACHE_BYTES_MIN, most.block_cache_bytes),
        ..most
    }
}

/// Shows an operator's log lines, at most so many in a second.
fn log_lines(
    task: String,
    clock: Arc<dyn Clock>,
    counters: &OperatorCounters,
) -> Box<dyn FnMut(LogLevel, &str, &str) + Send> {
    let lines = counters.named.counter("log-lines");
    let dropped = counters.named.counter("log-lines-dropped");
    let (mut second, mut shown) = (0, 0);
    Box::new(move |level, context, message| {
        lines.add(1);
        let now = clock.elapsed().as_secs();
        if now != second {
            if shown > LOG_LINES_PER_SECOND_MAX {
                tracing::warn!(task = %task, "{} log lines were dropped", shown - LOG_LINES_PER_SECOND_MAX);
            }
            (second, shown) = (now, 0);
        }
        shown += 1;
        if shown > LOG_LINES_PER_SECOND_MAX {
            dropped.add(1);
            return;
        }
        let context = if context.is_empty() { String::new() } else { format!("{context}: ") };
        match level {
            LogLevel::Trace => tracing::trace!(task = %task, "{context}{message}"),
            LogLevel::Debug => tracing::debug!(task = %task, "{context}{message}"),
            LogLevel::Info => tracing::info!(task = %task, "{context}{message}"),
            LogLevel::Warn => tracing::warn!(task = %task, "{context}{message}"),
            LogLevel::Error => tracing::error!(task = %task, "{context}{message}"),
        }
    })
}
