//! One attempt: tasks are made, run and looked after until they end.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Backgrounds, Executor, Progress, Simulation, WAIT_SLICE,
    simulation::{Happening, Happenings},
    taken,
};
use crate::{
    background::Threads,
    connector::ConnectorError,
    job::{
        assemble::{Assembled, MakeBackground, WithCheckpoints, assemble},
        checkpointing::{AttemptSetup, Checkpointing, Driver, Origin, UnfinishedSwap},
        live::{Answer, JobState, Live, OperatorStatus, PluginRef, Refusal, RefusalKind, VertexFacts, VertexKind},
        plan::Role,
        plugins::JobError,
        prepare::PreparedJob,
        timeline::Timeline,
        version::OperatorVersion,
    },
    metrics::OperatorCounters,
    operator::Plugin,
    runtime::{Clock, Control, ManualClock, Supervisor, SystemClock, run_on_threads, run_seeded},
    stream::{EventTime, Fault, FaultKind},
};

/// What runs the tasks of all attempts.
pub(super) struct Machine {
    executor: Executor,
    /// When the run began.
    pub(super) began: Instant,
    /// Of the seeded executor, and what it was when the run began.
    clock: Arc<ManualClock>,
    clock_began: Duration,
    backgrounds: Option<Arc<Backgrounds>>,
    pub(super) happenings: Option<Happenings>,
}

/// Before there is a machine.
pub(super) fn processing_time(executor: Executor, simulation: Option<&Simulation>) -> EventTime {
    match (executor, simulation) {
        (Executor::Threads, _) => SystemClock::start().now(),
        (Executor::Seeded(_), Some(simulation)) => simulation.clock.now(),
        (Executor::Seeded(_), None) => ManualClock::default().now(),
    }
}

impl Machine {
    /// Without a simulation, work off the record path of the seeded executor runs at once.
    pub(super) fn new(executor: Executor, simulation: Option<&Simulation>) -> Self {
        let backgrounds = match executor {
            Executor::Threads => None,
            Executor::Seeded(_) => Some(Arc::new(Backgrounds::new(simulation.map(|simulation| simulation.seed)))),
        };
        let clock = simulation.map(|simulation| Arc::clone(&simulation.clock)).unwrap_or_default();
        let clock_began = clock.total();
        let happenings = simulation.map(Happenings::new);
        Self { executor, began: Instant::now(), clock, clock_began, backgrounds, happenings }
    }

    /// Time since the run began, as its tasks feel it.
    pub(super) fn elapsed(&self) -> Duration {
        match self.executor {
            Executor::Threads => self.began.elapsed(),
            Executor::Seeded(_) => self.clock.total().saturating_sub(self.clock_began),
        }
    }

    fn make_background(&self) -> MakeBackground {
        match &self.backgrounds {
            None => Arc::new(|name| Arc::new(Threads::new(name))),
            Some(backgrounds) => {
                let backgrounds = Arc::clone(backgrounds);
                Arc::new(move |_| backgrounds.make())
            }
        }
    }

    /// Waits before the next attempt, unless the job is to stop.
    pub(super) fn wait(&self, wait: Duration, control: &Control) {
        if self.backgrounds.is_some() {
            self.clock.advance(wait);
            return;
        }
        let began = Instant::now();
        while began.elapsed() < wait && !control.stop.load(Ordering::Relaxed) {
            thread::sleep(WAIT_SLICE.min(wait));
        }
    }
}

/// What came of an attempt.
pub(super) struct Tried {
    pub(super) counters: Vec<Vec<Arc<OperatorCounters>>>,
    pub(super) timeline: Timeline,
    pub(super) result: Result<(), Fault>,
    /// It was ended as a crash of the process ends it.
    pub(super) has_crashed: bool,
    /// An exchange of operators that was not over.
    pub(super) unfinished: Option<UnfinishedSwap>,
    /// What operators run from now on, by their places in the job file.
    pub(super) exchanged: Vec<(usize, OperatorVersion)>,
}

impl Tried {
    /// It could not even begin.
    pub(super) fn not_begun(job: &PreparedJob, error: &JobError) -> Self {
        let kind = match error {
            JobError::Fault(fault) => fault.kind,
            JobError::State(error) if error.is_of_storage() => FaultKind::External,
            JobError::Connector { source: ConnectorError::Input(_) | ConnectorError::Refused(_), .. }
            | JobError::State(_)
            | JobError::Refused(_) => FaultKind::Unfit,
            _ => FaultKind::External,
        };
        Self {
            counters: vec![Vec::new(); job.plan.vertices.len()],
            timeline: Timeline::new(job.plan.vertices.len()),
            result: Err(Fault::new(kind, error.to_string())),
            has_crashed: false,
            unfinished: None,
            exchanged: Vec::new(),
        }
    }
}

/// Looks after the tasks of an attempt.
struct Overseer<'a> {
    driver: Option<Driver>,
    /// Called at each look.
    watch: &'a mut dyn FnMut(Option<&Driver>),
    backgrounds: Option<&'a Backgrounds>,
    happenings: Option<&'a mut Happenings>,
    control: &'a Control,
    live: &'a Live,
    tasks: usize,
    has_crashed: bool,
}

impl Overseer<'_> {
    /// What a simulation has in store for this step.
    fn simulate(&mut self) -> Result<bool, Fault> {
        let Some(happenings) = &mut self.happenings else { return Ok(false) };
        let driver = self.driver.as_ref();
        let happening = happenings.step(driver.and_then(Driver::in_flight), driver.and_then(Driver::newest_complete));
        let any = !happening.is_empty();
        for what in happening {
            match what {
                Happening::Crash(then) => {
                    then();
                    self.has_crashed = true;
                    return Err(Fault::new(FaultKind::External, "the process crashed, in simulation"));
                }
                Happening::Fault => return Err(Fault::new(FaultKind::External, "something failed, in simulation")),
                Happening::Stop => self.control.stop.store(true, Ordering::Relaxed),
                // With too many waiting, this one is lost.
                Happening::Ask(request) => drop(self.live.ask(request())),
                Happening::Stall { .. } | Happening::Delay { .. } => {}
            }
        }
        Ok(any)
    }

    /// Hands requests on, or answers them. Returns whether there were any.
    fn take_requests(&mut self) -> bool {
        let mut any = false;
        while let Some(asked) = self.live.take_request() {
            any = true;
            match &mut self.driver {
                Some(driver) => driver.asked(asked),
                None => {
                    let why = "the job takes no checkpoints, which this needs: give it a [checkpoint] section";
                    asked.answering.answer(Answer::Refused(Refusal::new(RefusalKind::Usage, why)));
                }
            }
        }
        any
    }

    fn is_delayed(&self) -> bool {
        self.happenings.as_ref().is_some_and(|happenings| happenings.is_delayed())
    }
}

impl Supervisor for Overseer<'_> {
    fn poll(&mut self) -> Result<bool, Fault> {
        (self.watch)(self.driver.as_ref());
        let happened = self.simulate()? | self.take_requests();
        let worked = !self.is_delayed() && self.backgrounds.is_some_and(Backgrounds::step);
        Ok(self.driver.as_mut().map_or(Ok(false), Driver::poll)? | worked | happened)
    }

    fn wake_at(&self) -> Option<Duration> {
        let has_work = self.backgrounds.is_some_and(Backgrounds::have_work);
        let working = self.happenings.as_ref().filter(|_| has_work).map(|happenings| happenings.next_step());
        self.driver.as_ref().and_then(Driver::wake_at).into_iter().chain(working).min()
    }

    fn stalls(&self, task: usize) -> bool {
        self.happenings.as_ref().is_some_and(|happenings| happenings.stalls(task, self.tasks))
    }
}

impl PreparedJob {
    /// From now on the status of the job is that of an attempt with these counters.
    fn shown_in(&self, live: &Live, counters: &[Vec<Arc<OperatorCounters>>]) {
        let vertices = self.plan.vertices.iter().zip(counters).map(|(vertex, counters)| {
            let (kind, operator) = match vertex.role {
                Role::Source(_) => (VertexKind::Source, None),
                Role::Sink(_) => (VertexKind::Sink, None),
                Role::Operator(index) => (VertexKind::Operator, Some(self.operator_status(index))),
            };
            VertexFacts {
                id: vertex.id.clone(),
                kind,
                parallelism: vertex.parallelism,
                operator,
                counters: counters.clone(),
            }
        });
        let mut facts = live.facts();
        facts.vertices = vertices.collect();
        facts.graph = self.graph();
        facts.state = JobState::Running;
    }

    fn operator_status(&self, index: usize) -> OperatorStatus {
        let plugin = &self.plugins[index].plugin;
        let descriptor = plugin.descriptor();
        OperatorStatus {
            plugin: PluginRef::of(&**plugin),
            declared: self.declared[index].digest.clone(),
            states: descriptor.states.iter().map(|state| state.name.clone()).collect(),
        }
    }

    /// Makes the tasks and runs them. Sources and sinks are prepared.
    pub(super) fn attempt(
        &self,
        machine: &mut Machine,
        (control, live): (&Arc<Control>, &Arc<Live>),
        checkpoints: Option<(&mut Checkpointing, Option<&Origin>)>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Tried, JobError> {
        let clock: Arc<dyn Clock> = match machine.executor {
            Executor::Threads => Arc::new(SystemClock::start()),
            Executor::Seeded(_) => {
                machine.clock.begin();
                Arc::clone(&machine.clock) as Arc<dyn Clock>
            }
        };
        let background = machine.make_background();
        let assembled = match checkpoints {
            None => assemble(self, Arc::clone(&clock), Arc::clone(control), &background, None)
                .map(|assembled| (assembled, None)),
            Some((checkpointing, origin)) => {
                let setup = AttemptSetup {
                    background: Arc::clone(&background),
                    control: Arc::clone(control),
                    is_simulated: machine.executor != Executor::Threads,
                };
                checkpointing.look_at(self);
                let mut attempt = checkpointing.attempt(origin, setup)?;
                let with = WithCheckpoints { checkpointing, attempt: &mut attempt, origin };
                let assembled = assemble(self, Arc::clone(&clock), Arc::clone(control), &background, Some(with));
                assembled.map(|assembled| {
                    let driver = checkpointing.driver(self, attempt, (control, live), &clock, &assembled.wake_all);
                    (assembled, Some(driver))
                })
            }
        };
        let (Assembled { tasks, wake_all, counters }, driver) = match assembled {
            Ok(assembled) => assembled,
            // An operator that fails in `open` fails the job as any other fault does, with a report.
            Err(error @ JobError::Fault(_)) => return Ok(Tried::not_begun(self, &error)),
            Err(error) => return Err(error),
        };
        self.shown_in(live, &counters);
        let (start, executor) = (machine.began, machine.executor);
        let mut timeline = Timeline::new(self.plan.vertices.len());
        let mut watch = |driver: Option<&Driver>| {
            if executor == Executor::Threads {
                timeline.sample(start.elapsed(), || taken(&counters));
                progress(self.progress(&counters, start, driver.and_then(Driver::last_checkpoint)));
            }
        };
        let mut overseer = Overseer {
            driver,
            watch: &mut watch,
            backgrounds: machine.backgrounds.as_deref(),
            happenings: machine.happenings.as_mut(),
            control,
            live,
            tasks: tasks.len(),
            has_crashed: false,
        };
        let result = match executor {
            Executor::Threads => run_on_threads(tasks, &wake_all, control, &mut overseer),
            Executor::Seeded(seed) => {
                let tasks = tasks.into_iter().map(|(task, _)| task).collect();
                run_seeded(tasks, seed, &machine.clock, control, &mut overseer)
            }
        };
        let (has_crashed, last) = (overseer.has_crashed, overseer.driver.as_ref().and_then(Driver::last_checkpoint));
        let (unfinished, exchanged) = overseer.driver.as_mut().map(Driver::end_swaps).unwrap_or_default();
        drop(overseer);
        if let Some(backgrounds) = &machine.backgrounds {
            backgrounds.forget();
        }
        timeline.finish(start.elapsed(), taken(&counters));
        progress(self.progress(&counters, start, last));
        Ok(Tried { counters, timeline, result, has_crashed, unfinished, exchanged })
    }
}
