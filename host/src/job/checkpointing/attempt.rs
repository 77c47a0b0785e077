//! An attempt: its number, which fences earlier ones, and what its tasks need to take checkpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crossbeam::{
    channel::{Receiver, unbounded},
    sync::Unparker,
};

use super::{
    ATTEMPT_TRIES, Checkpointing, Driver, Origin,
    chains::Chains,
    driver::DriverSetup,
    graph::{Graph, GraphTask},
    keeper::{Patience, TaskKeeper, Writing},
    merging::Merging,
    newest, storing,
    swapping::SwapSetup,
};
use crate::{
    background::Background,
    checkpoint::{Coordinator, CoordinatorSettings, Mode, Names, StorageErrorKind, put_same},
    job::{PreparedJob, live::Live, plugins::JobError, swap::ProbationSettings},
    metrics::OperatorCounters,
    operator::{KeepSnapshots, LogLevel, Succession, TaskInfo},
    runtime::{Clock, Control, TaskCheckpoints, TaskEvent},
    stream::{CheckpointId, EventTime, key_groups_of_task},
};

impl Checkpointing {
    /// Takes the next number of an attempt, which fences all earlier ones.
    ///
    /// # Errors
    /// When the storage can't be used.
    fn begin_attempt(&mut self) -> Result<u64, JobError> {
        for _ in 0..ATTEMPT_TRIES {
            let number = storing::newest_known_attempt(&**self.storage()).map_err(JobError::Storage)?.unwrap_or(0) + 1;
            match self.storage().put_new(&Names::attempt(number), bytes::Bytes::from_static(b"attempt")) {
                Ok(()) => {
                    self.attempts.push(number);
                    return Ok(number);
                }
                Err(error) if error.kind == StorageErrorKind::AlreadyThere => {}
                Err(error) => return Err(JobError::Storage(error)),
            }
        }
        Err(JobError::Running(format!(
            "{ATTEMPT_TRIES} other runs of this job began at the same time; see that only one is started"
        )))
    }

    /// The job's operators may have been exchanged since: what the next attempt is restored by is what runs.
    pub(in crate::job) fn look_at(&mut self, job: &PreparedJob) {
        self.graph = Graph::new(job, self.settings.mode);
    }

    /// Everything that an attempt needs to take checkpoints.
    ///
    /// # Errors
    /// When the storage can't be used.
    pub(in crate::job) fn attempt(
        &mut self,
        origin: Option<&Origin>,
        setup: AttemptSetup,
    ) -> Result<Attempt, JobError> {
        let number = self.begin_attempt()?;
        let contents = self.checkpoints.contents().map_err(JobError::State)?;
        let last = newest(&contents);
        // Whoever takes one from now on sees the mark of this attempt, and ends.
        if let Some(last) = last.filter(|last| Some(*last) > self.newest_seen) {
            return Err(JobError::Running(format!("another run of this job has just taken checkpoint {last}")));
        }
        let mut restored_from = origin.filter(|origin| origin.is_own).map(|origin| origin.manifest().id);
        // Above all that are complete; the number of one that never was may be given again, to an attempt whose segments and hidden results have other names.
        let mut next =
            last.max(origin.map(|origin| origin.manifest().id)).map_or(CheckpointId::FIRST, CheckpointId::next);
        if let Some(taken_back) =
            origin.filter(|origin| origin.is_own).and_then(|origin| origin.taken_back(next, number))
        {
            let text = taken_back.to_json().into();
            put_same(&**self.storage(), &Names::manifest(next), text).map_err(JobError::Storage)?;
            (restored_from, next) = (Some(next), next.next());
        }
        let (send, events) = unbounded();
        let mut chains = Chains::default();
        if let Some(origin) = origin.filter(|origin| origin.is_own) {
            for (number, vertex, _) in self.graph.operators() {
                for task in 0..vertex.parallelism {
                    let key_groups = key_groups_of_task(task, vertex.parallelism, self.graph.max_parallelism);
                    chains.append((number, task), origin.chain(&vertex.id, &key_groups));
                }
            }
        }
        let visited = origin.map(|origin| self.visited(origin)).unwrap_or_default();
        let in_use: BTreeSet<String> = chains.names().collect();
        let failed = {
            let send = send.clone();
            // The driver may be gone.
            Box::new(move |fault| drop(send.send(TaskEvent::Failed(fault))))
        };
        let writing = Writing::new(
            Arc::clone(self.storage()),
            number,
            in_use,
            setup.patience(),
            Arc::clone(&setup.control),
            failed,
        );
        Ok(Attempt {
            next,
            restored_from,
            events,
            send: Arc::new(move |event| drop(send.send(event))),
            writing: Arc::new(writing),
            keepers: BTreeMap::new(),
            chains,
            visited,
            restored_versions: origin.map(|origin| self.versions_of(origin)).unwrap_or_default(),
            tasks: Vec::new(),
            seats: BTreeMap::new(),
            setup,
        })
    }

    /// The tasks of operators, by vertex and index, whose keys the end of the input had visited before.
    fn visited(&self, origin: &Origin) -> BTreeSet<(usize, u32)> {
        let tasks = self.graph.operators().flat_map(|(number, vertex, _)| {
            let had_ended = move |task: &u32| {
                let key_groups = key_groups_of_task(*task, vertex.parallelism, self.graph.max_parallelism);
                origin.had_ended(&vertex.id, &key_groups)
            };
            (0..vertex.parallelism).filter(had_ended).map(move |task| (number, task))
        });
        tasks.collect()
    }

    /// By vertex and the ids of its states, the schema versions of which there are values.
    fn versions_of(&self, origin: &Origin) -> BTreeMap<usize, BTreeMap<u16, BTreeSet<u16>>> {
        let found = self.graph.operators().filter_map(|(number, vertex, facts)| {
            let operator = origin.manifest().operators.iter().find(|operator| operator.id == vertex.id)?;
            let ids = facts.states.iter().map(|state| state.number);
            Some((number, ids.map(|id| (id, operator.versions_of(id))).collect()))
        });
        found.collect()
    }

    /// The driver of an attempt whose tasks are made.
    pub(in crate::job) fn driver(
        &self,
        job: &PreparedJob,
        attempt: Attempt,
        (control, live): (&Arc<Control>, &Arc<Live>),
        clock: &Arc<dyn Clock>,
        wake_all: &[Unparker],
    ) -> Driver {
        let Attempt {
            next,
            restored_from,
            events,
            writing,
            keepers,
            chains,
            visited,
            tasks,
            setup,
            seats,
            restored_versions,
            ..
        } = attempt;
        let settings = CoordinatorSettings {
            interval: Some(self.settings.interval),
            timeout: self.settings.timeout,
            tolerable_failures: self.settings.tolerable_failures,
        };
        let mut graph = Graph::new(job, self.settings.mode);
        let merging = Merging::new((setup.background)("merging".into()), Arc::clone(&writing));
        let count = tasks.len();
        graph.tasks = tasks;
        graph.visited = visited;
        Driver::new(DriverSetup {
            coordinator: Coordinator::new(settings, count, next),
            graph: Arc::new(graph),
            control: Arc::clone(control),
            clock: Arc::clone(clock),
            events,
            wake_all: wake_all.to_vec(),
            writing,
            background: (setup.background)("checkpoints".into()),
            keepers,
            chains,
            merging,
            retain: self.settings.retain as usize,
            restored_from,
            counters: Arc::clone(&self.counters),
            savepoints: (setup.background)("savepoints".into()),
            claimed: self.claimed.clone(),
            restored_versions,
            location: self.checkpoints.storage().location(""),
            swaps: SwapSetup {
                live: Arc::clone(live),
                engine: Arc::clone(&job.engine),
                background: (setup.background)("swap".into()),
                seats: Arc::new(seats),
                probation: ProbationSettings {
                    time: job.spec.swap.probation,
                    batches: job.spec.swap.probation_batches,
                },
                dead_letter_sinks: job.dead_letter_sinks(),
            },
        })
    }
}

/// How the tasks of an attempt are run.
#[derive(Clone)]
pub(in crate::job) struct AttemptSetup {
    pub(in crate::job) background: crate::job::assemble::MakeBackground,
    pub(in crate::job) control: Arc<Control>,
    pub(in crate::job) is_simulated: bool,
}

impl AttemptSetup {
    fn patience(&self) -> Patience {
        if self.is_simulated { Patience::Tries(SIMULATED_TRIES) } else { Patience::Endless }
    }
}

/// How often something is written in simulation before the attempt fails: nothing else runs meanwhile.
const SIMULATED_TRIES: u32 = 8;

/// An attempt whose tasks are being made.
pub(in crate::job) struct Attempt {
    next: CheckpointId,
    restored_from: Option<CheckpointId>,
    events: Receiver<TaskEvent>,
    send: Arc<dyn Fn(TaskEvent) + Send + Sync>,
    writing: Arc<Writing>,
    keepers: BTreeMap<(usize, u32), Arc<TaskKeeper>>,
    chains: Chains,
    visited: BTreeSet<(usize, u32)>,
    restored_versions: BTreeMap<usize, BTreeMap<u16, BTreeSet<u16>>>,
    tasks: Vec<GraphTask>,
    seats: BTreeMap<(usize, u32), Seat>,
    setup: AttemptSetup,
}

/// A task of an operator, as whoever exchanges it must know it.
pub(in crate::job) struct Seat {
    pub(in crate::job) info: TaskInfo,
    pub(in crate::job) counters: Arc<OperatorCounters>,
    pub(in crate::job) succession: Arc<Succession>,
    /// Makes what shows its log lines.
    pub(in crate::job) log: Box<dyn Fn() -> Box<dyn FnMut(LogLevel, &str, &str) + Send> + Send + Sync>,
}

impl Attempt {
    /// Notes a task of an operator, by its vertex and index.
    pub(in crate::job) fn seat(&mut self, vertex: usize, task: u32, seat: Seat) {
        self.seats.insert((vertex, task), seat);
    }

    /// Who keeps the snapshots of an operator's task, and where they are written.
    pub(in crate::job) fn keeper(
        &mut self,
        vertex: usize,
        operator: &str,
        task: u32,
    ) -> (Arc<dyn KeepSnapshots>, Arc<dyn Background>) {
        let first_run = self.chains.next_run((vertex, task));
        let keeper = Arc::new(TaskKeeper::new(Arc::clone(&self.writing), operator, task, first_run, self.next));
        self.keepers.insert((vertex, task), Arc::clone(&keeper));
        (keeper, (self.setup.background)(format!("{operator}/{task} snapshots")))
    }

    /// What a task of these nodes, each a vertex and an index, has to do with checkpoints. Tasks are numbered in the order of these calls.
    pub(in crate::job) fn task(
        &mut self,
        name: &str,
        nodes: Vec<(usize, u32)>,
        mode: Mode,
        watermark: Option<EventTime>,
    ) -> TaskCheckpoints {
        let number = self.tasks.len();
        self.tasks.push(GraphTask { name: name.to_owned(), nodes });
        TaskCheckpoints {
            number,
            mode,
            events: Arc::clone(&self.send),
            background: (self.setup.background)(format!("{name} results")),
            watermark,
        }
    }
}
