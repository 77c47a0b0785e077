//! Runs a prepared job and reports on it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{
    assemble::{Assembled, assemble},
    plan::Role,
    plugins::JobError,
    prepare::PreparedJob,
    report::{Outcome, Report, VertexReport},
    stored_state::Ended,
    timeline::Timeline,
};
use crate::{
    background::{Inline, Threads},
    connector::Commits,
    metrics::OperatorCounters,
    runtime::{Clock, Control, ManualClock, SystemClock, run_on_threads, run_seeded},
    stream::Fault,
};

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
}

/// How a job is run.
pub struct RunOptions<'a> {
    /// How its tasks are run.
    pub executor: Executor,
    /// When the process started.
    pub process_start: Instant,
    /// By which it can be stopped.
    pub control: Arc<Control>,
    /// Called about a hundred times a second.
    pub progress: &'a mut dyn FnMut(Progress),
}

type Counters = [Vec<Arc<OperatorCounters>>];

impl PreparedJob {
    /// Runs the job to its end.
    ///
    /// # Errors
    /// [`JobError`] when it can't be started. A job that fails while it runs gives a report whose outcome says so, and the fault.
    pub fn run(self, options: RunOptions<'_>) -> Result<(Report, Option<Fault>), JobError> {
        let RunOptions { executor, process_start, control, progress } = options;
        for (spec, source) in self.spec.sources.iter().zip(&self.sources) {
            source.prepare(None).map_err(|source| JobError::Connector { id: spec.id.value.clone(), source })?;
        }
        for (spec, sink) in self.spec.sinks.iter().zip(&self.sinks) {
            sink.prepare(Commits::AtEnd).map_err(|source| JobError::Connector { id: spec.id.value.clone(), source })?;
        }
        let start = Instant::now();
        let mut timeline = Timeline::new(self.plan.vertices.len());
        let (counters, result) = match executor {
            Executor::Threads => {
                let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
                match assemble(&self, clock, Arc::clone(&control), |name| Arc::new(Threads::new(name))) {
                    Ok(Assembled { tasks, wake_all, counters }) => {
                        let result = run_on_threads(tasks, &wake_all, &control, || {
                            timeline.sample(start.elapsed(), || taken(&counters));
                            progress(self.progress(&counters, start));
                        });
                        (counters, result)
                    }
                    Err(error) => self.failed_at_start(error)?,
                }
            }
            Executor::Seeded(seed) => {
                let clock = Arc::new(ManualClock::default());
                match assemble(&self, Arc::clone(&clock) as Arc<dyn Clock>, Arc::clone(&control), |_| {
                    Arc::new(Inline::at_once())
                }) {
                    Ok(Assembled { tasks, counters, .. }) => {
                        let tasks = tasks.into_iter().map(|(task, _)| task).collect();
                        (counters, run_seeded(tasks, seed, &clock, &control))
                    }
                    Err(error) => self.failed_at_start(error)?,
                }
            }
        };
        let elapsed = start.elapsed();
        timeline.finish(elapsed, taken(&counters));
        progress(self.progress(&counters, start));
        let stopped = control.stop.load(Ordering::Relaxed);
        let fault = result.and_then(|()| self.finish_dump(if stopped { Ended::Stopped } else { Ended::Done })).err();
        let outcome = match (&fault, stopped) {
            (Some(_), _) => Outcome::Failed,
            (None, true) => Outcome::Stopped,
            (None, false) => Outcome::Done,
        };
        let mut report = Report {
            job: self.spec.name.clone(),
            outcome,
            fault: fault.as_ref().map(|fault| fault.message.clone()),
            seconds: elapsed.as_secs_f64(),
            cpu_seconds: cpu_seconds(),
            peak_memory_bytes: peak_memory_bytes(),
            start_to_first_result_ms: control
                .first_result
                .get()
                .map(|first| first.duration_since(process_start).as_secs_f64() * 1e3),
            steady_records_per_second: None,
            sources: Default::default(),
            operators: Default::default(),
            sinks: Default::default(),
        };
        self.fill(&mut report, &counters, &timeline);
        Ok((report, fault))
    }

    /// An operator that fails in `open` fails the job as any other fault does, with a report.
    fn failed_at_start(
        &self,
        error: JobError,
    ) -> Result<(Vec<Vec<Arc<OperatorCounters>>>, Result<(), Fault>), JobError> {
        match error {
            JobError::Fault(fault) => Ok((vec![Vec::new(); self.plan.vertices.len()], Err(fault))),
            other => Err(other),
        }
    }

    fn progress(&self, counters: &Counters, start: Instant) -> Progress {
        let sum = |role: fn(Role) -> bool, count: fn(&OperatorCounters) -> u64| -> u64 {
            let vertices = self.plan.vertices.iter().zip(counters).filter(|(vertex, _)| role(vertex.role));
            vertices.flat_map(|(_, tasks)| tasks).map(|task| count(task)).sum()
        };
        Progress {
            seconds: start.elapsed().as_secs_f64(),
            records_in: sum(|role| matches!(role, Role::Source(_)), |task| task.records_in.get()),
            records_out: sum(|role| matches!(role, Role::Sink(_)), |task| task.records_out.get()),
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
