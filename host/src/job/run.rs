//! Runs a prepared job and reports on it: one attempt after the other, where the job takes checkpoints.

mod attempt;
mod simulation;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

pub use self::simulation::{Happening, Landmark, Moment, Simulation};
use self::{
    attempt::{Machine, processing_time},
    simulation::Backgrounds,
};
use super::{
    checkpointing::{Beginning, CheckpointCounters, Checkpointing, Origin, UnfinishedSwap},
    live::{CheckpointStatus, JobState, Live},
    plan::Role,
    plugins::JobError,
    prepare::PreparedJob,
    report::{CheckpointReport, Outcome, Report, VertexReport},
    start::Start,
    stored_state::Ended,
    timeline::Timeline,
};
use crate::{
    checkpoint::{Decision, FaultFacts, RestartPolicy},
    connector::Commits,
    metrics::OperatorCounters,
    runtime::Control,
    stream::{CheckpointId, Fault, FaultKind},
};

/// While a job waits for its next attempt it is looked so often whether it is to stop.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// How tasks are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// Each on a thread of its own.
    Threads,
    /// All on one thread, in an order that the seed decides; time is simulated.
    Seeded(u64),
}

/// What is shown while a job runs.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Seconds since the start.
    pub seconds: f64,
    /// Records read by all sources.
    pub records_in: u64,
    /// Records written by all sinks.
    pub records_out: u64,
    /// The last checkpoint, and how many seconds ago it was complete.
    pub checkpoint: Option<(CheckpointId, f64)>,
}

/// How a job is run.
pub struct RunOptions<'a> {
    /// How its tasks are run.
    pub executor: Executor,
    /// What it begins from; means nothing to a job without checkpoints.
    pub start: Start,
    /// When the process started.
    pub process_start: Instant,
    /// By which it can be stopped.
    pub control: Arc<Control>,
    /// Called about a hundred times a second.
    pub progress: &'a mut dyn FnMut(Progress),
    /// Called with what a person should know: where it begins, what happens to it.
    pub say: &'a mut dyn FnMut(&str),
    /// As whom others see it.
    pub live: Arc<Live>,
    /// What goes wrong, on purpose; with the seeded executor.
    pub simulation: Option<Simulation>,
}

type Counters = [Vec<Arc<OperatorCounters>>];

/// How a run has ended.
struct Ran {
    counters: Vec<Vec<Arc<OperatorCounters>>>,
    timeline: Timeline,
    elapsed: Duration,
    fault: Option<Fault>,
    outcome: Outcome,
    restarts: u32,
    checkpoints: Option<(Option<CheckpointId>, CheckpointCounters)>,
}

impl PreparedJob {
    /// Runs the job to its end.
    ///
    /// # Errors
    /// [`JobError`] when it can't be started. A job that fails while it runs gives a report whose outcome says so, and the fault.
    pub fn run(mut self, options: RunOptions<'_>) -> Result<(Report, Option<Fault>), JobError> {
        let (process_start, control, live) =
            (options.process_start, Arc::clone(&options.control), Arc::clone(&options.live));
        let ran = self.run_to_end(options);
        // Also where it could not begin.
        live.end();
        let Ran { counters, timeline, elapsed, fault, outcome, restarts, checkpoints } = ran?;
        let since_start = |at: &Instant| at.duration_since(process_start).as_secs_f64() * 1e3;
        let mut report = Report {
            job: self.spec.name.clone(),
            outcome,
            fault: fault.as_ref().map(|fault| fault.message.clone()),
            seconds: elapsed.as_secs_f64(),
            cpu_seconds: cpu_seconds(),
            peak_memory_bytes: peak_memory_bytes(),
            start_to_first_processed_ms: control.first_processed.get().map(since_start),
            start_to_first_result_ms: control.first_result.get().map(since_start),
            steady_records_per_second: None,
            restarts,
            checkpoints: checkpoints.map(|(restored_from, counters)| CheckpointReport::new(restored_from, &counters)),
            sources: Default::default(),
            operators: Default::default(),
            sinks: Default::default(),
        };
        self.fill(&mut report, &counters, &timeline);
        Ok((report, fault))
    }

    fn run_to_end(&mut self, options: RunOptions<'_>) -> Result<Ran, JobError> {
        let Some(settings) = self.spec.checkpoint.clone() else { return self.run_once(options) };
        let checkpointing = match &options.simulation {
            Some(simulation) => Checkpointing::with_storage(self, &settings, Arc::clone(&simulation.storage), None)?,
            None => Checkpointing::open(self, &settings)?,
        };
        self.run_with_checkpoints(checkpointing, options)
    }

    /// A job without checkpoints resumes nothing, and is not started again.
    fn run_once(&self, options: RunOptions<'_>) -> Result<Ran, JobError> {
        let RunOptions { executor, control, progress, simulation, live, .. } = options;
        for (spec, source) in self.spec.sources.iter().zip(&self.sources) {
            source.prepare(None).map_err(|source| JobError::Connector { id: spec.id.value.clone(), source })?;
        }
        for (spec, sink) in self.spec.sinks.iter().zip(&self.sinks) {
            sink.prepare(Commits::AtEnd).map_err(|source| JobError::Connector { id: spec.id.value.clone(), source })?;
        }
        let mut machine = Machine::new(executor, simulation.as_ref());
        let tried = self.attempt(&mut machine, (&control, &live), None, progress)?;
        let stopped = control.stop.load(Ordering::Relaxed);
        let fault =
            tried.result.and_then(|()| self.finish_dump(if stopped { Ended::Stopped } else { Ended::Done })).err();
        Ok(Ran {
            outcome: outcome(fault.as_ref(), stopped),
            counters: tried.counters,
            timeline: tried.timeline,
            elapsed: machine.began.elapsed(),
            fault,
            restarts: 0,
            checkpoints: None,
        })
    }

    fn run_with_checkpoints(
        &mut self,
        mut checkpointing: Checkpointing,
        options: RunOptions<'_>,
    ) -> Result<Ran, JobError> {
        let RunOptions { executor, start, control, progress, say, simulation, live, .. } = options;
        let beginning = checkpointing.beginning(&start)?;
        let adopted = checkpointing.adopt(self, &beginning, &start, processing_time(executor, simulation.as_ref()))?;
        if let Beginning::From(origin) | Beginning::Ended(origin) = &beginning {
            adopted.check(origin.manifest().id)?;
        }
        adopted.notes.iter().for_each(|note| say(note));
        adopted.comparison.differences.iter().for_each(|difference| say(&difference.text));
        let (first, discard) = match beginning {
            Beginning::Fresh => (None, None),
            Beginning::From(origin) => {
                let id = origin.manifest().id;
                say(&format!("going on from checkpoint {id} ({})", origin.describe()));
                (Some(origin), start.discard_results_after)
            }
            Beginning::Ended(origin) => {
                let id = origin.manifest().id;
                // Results may have been made visible or not when the last run ended.
                checkpointing.prepare_ends(Some(&origin), start.discard_results_after)?;
                say(&format!(
                    "{} has come to the end of its input before, with checkpoint {id} ({}): nothing is left to do; to run it again from the beginning, add --from none",
                    self.spec.name,
                    checkpointing.location(id)
                ));
                return Ok(self.nothing_to_do(id));
            }
        };
        checkpointing.caveats().iter().for_each(|caveat| say(&format!("note: {caveat}")));
        let mut machine = Machine::new(executor, simulation.as_ref());
        let seed = match executor {
            Executor::Seeded(seed) => seed,
            Executor::Threads => u64::from(std::process::id()),
        };
        if let Some(happenings) = &mut machine.happenings {
            happenings.begin_from(first.as_ref().map(|origin| origin.manifest().id));
        }
        let mut policy = RestartPolicy::new(self.spec.restart.strategy, seed);
        let (mut origin, mut restarts): (Option<Origin>, u32) = (None, 0);
        let mut discard = discard;
        // An exchange that was not over when the last attempt failed, and why that did.
        let mut unresolved: Option<(UnfinishedSwap, Fault)> = None;
        live.facts().checkpoints = Some(CheckpointStatus::default());
        loop {
            control.begin_attempt();
            live.facts().restarts = restarts;
            let began = match (restarts, discard) {
                (0, Some(after)) => checkpointing.discard_after(after),
                (0, None) => Ok(()),
                _ => checkpointing.beginning_again().map(|again| {
                    origin = again;
                    if let Some((swap, fault)) = unresolved.take() {
                        let is_over = |origin: &Origin| {
                            origin.manifest().swap.is_none() && Some(origin.manifest().id) > swap.checkpoint
                        };
                        if origin.as_ref().is_some_and(is_over) {
                            for (index, version) in swap.changes.clone() {
                                self.set_version(index, version);
                            }
                            say(&format!("attempt failed: {fault}"));
                            swap.confirmed(&live);
                        } else {
                            say(&format!("the exchange of {} is taken back: {fault}", swap.operators.join(", ")));
                            swap.taken_back(&live, &fault.to_string());
                        }
                    }
                    let from = origin.as_ref().or(first.as_ref()).map(|origin| origin.manifest().id);
                    let from = from.map_or("the beginning".to_owned(), |id| format!("checkpoint {id}"));
                    say(&format!("starting again from {from}"));
                }),
            };
            let from: Option<&Origin> = origin.as_ref().or(first.as_ref());
            let restored_from = from.map(|origin| origin.manifest().id);
            let readied = began.and_then(|()| checkpointing.prepare_ends(from, discard.take()));
            let tried = readied.and_then(|()| {
                self.attempt(&mut machine, (&control, &live), Some((&mut checkpointing, from)), progress)
            });
            let tried = match tried {
                Ok(tried) => tried,
                // What is wrong at the start is wrong with the job.
                Err(error) if restarts == 0 => return Err(error),
                Err(error) => attempt::Tried::not_begun(self, &error),
            };
            let stopped = control.stop.load(Ordering::Relaxed);
            let attempt::Tried { counters, timeline, result, has_crashed, mut unfinished, exchanged } = tried;
            for (index, version) in exchanged {
                self.set_version(index, version);
            }
            if let Some(swap) = unfinished.take_if(|_| result.is_ok()) {
                // It could not begin before the end.
                swap.taken_back(&live, "it has come to its end");
            }
            let result = result.and_then(|()| self.finish_dump(if stopped { Ended::Stopped } else { Ended::Done }));
            let ran = Ran {
                counters,
                timeline,
                elapsed: machine.began.elapsed(),
                outcome: outcome(result.as_ref().err(), stopped),
                fault: result.as_ref().err().cloned(),
                restarts,
                checkpoints: Some((first.as_ref().map(|origin| origin.manifest().id), checkpointing.counted())),
            };
            let fault = match result {
                Err(fault) if !has_crashed => fault,
                Ok(()) | Err(_) => return Ok(ran),
            };
            match unfinished {
                // What becomes of it is for the storage to say: that its probation was over may be written there. That an attempt failed is not said by this.
                Some(swap) if swap.checkpoint.is_some() && !stopped => {
                    unresolved = Some((swap, fault));
                    restarts += 1;
                    continue;
                }
                Some(swap) => swap.taken_back(&live, &fault.to_string()),
                None => {}
            }
            let facts = FaultFacts {
                kind: fault.kind,
                signature: fault.kind.name().to_owned(),
                place: fault.message.clone(),
                restored_from,
            };
            let wait = match policy.failed(machine.elapsed(), &facts) {
                Decision::RestartAfter(wait) if !stopped => wait,
                Decision::RestartAfter(_) => return Ok(ran),
                Decision::GiveUp { reason } => {
                    let origin = from.filter(|_| fault.kind == FaultKind::Unfit);
                    match origin.and_then(|origin| checkpointing.damage(origin)) {
                        Some(damage) if restarts == 0 => return Err(JobError::Refused(damage)),
                        Some(damage) => {
                            let fault = Some(Fault { message: format!("it can't go on: {damage}"), ..fault });
                            return Ok(Ran { fault, ..ran });
                        }
                        None => {}
                    }
                    say(&format!("not starting again: {reason}"));
                    return Ok(ran);
                }
            };
            say(&format!("attempt failed: {fault}; starting again in {:.1} s", wait.as_secs_f64()));
            restarts += 1;
            live.facts().state = JobState::Restarting;
            machine.wait(wait, &control);
            if control.stop.load(Ordering::Relaxed) {
                return Ok(ran);
            }
        }
    }

    fn nothing_to_do(&self, id: CheckpointId) -> Ran {
        Ran {
            counters: vec![Vec::new(); self.plan.vertices.len()],
            timeline: Timeline::new(self.plan.vertices.len()),
            elapsed: Duration::ZERO,
            fault: None,
            outcome: Outcome::AlreadyDone,
            restarts: 0,
            checkpoints: Some((Some(id), CheckpointCounters::default())),
        }
    }

    fn progress(&self, counters: &Counters, start: Instant, checkpoint: Option<(CheckpointId, f64)>) -> Progress {
        let sum = |role: fn(Role) -> bool, count: fn(&OperatorCounters) -> u64| -> u64 {
            let vertices = self.plan.vertices.iter().zip(counters).filter(|(vertex, _)| role(vertex.role));
            vertices.flat_map(|(_, tasks)| tasks).map(|task| count(task)).sum()
        };
        Progress {
            seconds: start.elapsed().as_secs_f64(),
            records_in: sum(|role| matches!(role, Role::Source(_)), |task| task.records_in.get()),
            records_out: sum(|role| matches!(role, Role::Sink(_)), |task| task.records_out.get()),
            checkpoint,
        }
    }

    fn fill(&self, report: &mut Report, counters: &Counters, timeline: &Timeline) {
        // With several sources, the largest one says when the run is steady.
        let sources =
            self.plan.vertices.iter().enumerate().filter(|(_, vertex)| matches!(vertex.role, Role::Source(_)));
        let totals = taken(counters);
        let largest = sources.clone().max_by_key(|(index, _)| totals[*index]).map(|(index, _)| index);
        let rates = largest.and_then(|source| timeline.steady_rates(source));
        report.steady_records_per_second = rates.as_ref().map(|rates| sources.map(|(index, _)| rates[index]).sum());
        for (index, vertex) in self.plan.vertices.iter().enumerate() {
            let mut filled = VertexReport {
                parallelism: vertex.parallelism,
                steady_records_per_second: rates.as_ref().map(|rates| rates[index]),
                ..VertexReport::default()
            };
            counters[index].iter().for_each(|task| filled.add(task));
            let place = match vertex.role {
                Role::Source(_) => &mut report.sources,
                Role::Operator(_) => &mut report.operators,
                Role::Sink(_) => &mut report.sinks,
            };
            place.insert(vertex.id.clone(), filled);
        }
    }
}

fn outcome(fault: Option<&Fault>, stopped: bool) -> Outcome {
    match (fault, stopped) {
        (Some(_), _) => Outcome::Failed,
        (None, true) => Outcome::Stopped,
        (None, false) => Outcome::Done,
    }
}

fn taken(counters: &Counters) -> Vec<u64> {
    counters.iter().map(|tasks| tasks.iter().map(|task| task.records_in.get()).sum()).collect()
}

fn cpu_seconds() -> f64 {
    use nix::sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike,
    };
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
    })
}

fn peak_memory_bytes() -> u64 {
    // The kernel gives kilobytes on Linux and bytes on macOS.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .map_or(0, |usage| usage.max_rss() as u64 * unit)
}
