//! What a simulation has beside a seed: a storage that fails, time that passes, what happens to the job, and work off the record path that gets on when the seed says so.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    background::{Background, Inline},
    checkpoint::Storage,
    job::live::Request,
    runtime::ManualClock,
    stream::{CheckpointId, SplitMix64},
};

/// What goes wrong in a run on purpose.
#[derive(Clone)]
pub struct Simulation {
    /// Decides when work off the record path gets on.
    pub seed: u64,
    /// Where checkpoints lie, whatever the job file says.
    pub storage: Arc<dyn Storage>,
    /// Simulated time. With the same clock, it goes on in the next run where this one ended.
    pub clock: Arc<ManualClock>,
    /// So much time passes with each step.
    pub step_time: Duration,
    /// What happens to the job, each once.
    pub happenings: Vec<(Moment, Happening)>,
    /// Counts the steps.
    pub steps: Arc<AtomicU64>,
}

impl Simulation {
    /// One in which nothing goes wrong, in time that passes only when every task waits.
    pub fn new(seed: u64, storage: Arc<dyn Storage>) -> Self {
        Self {
            seed,
            storage,
            clock: Arc::default(),
            step_time: Duration::ZERO,
            happenings: Vec::new(),
            steps: Arc::default(),
        }
    }

    /// The process crashes after so many steps.
    #[must_use]
    pub fn crashing_after(mut self, steps: u64) -> Self {
        let moment = Moment { after: Landmark::Start, steps };
        self.happenings.push((moment, Happening::Crash(Arc::new(|| {}))));
        self
    }
}

/// A point in a run, whichever attempt it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What is waited for.
    pub after: Landmark,
    /// And so many steps more.
    pub steps: u64,
}

/// Something in a run that can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landmark {
    /// Its begin.
    Start,
    /// So many checkpoints were triggered.
    Triggered(u64),
    /// So many checkpoints are known to be complete.
    Completed(u64),
}

/// Something that happens to a job.
#[derive(Clone)]
pub enum Happening {
    /// The process crashes. What is given is called at once: what it finds is what a crash leaves, since the simulation itself tidies up after that.
    Crash(Arc<dyn Fn() + Send + Sync>),
    /// Somebody stops the job.
    Stop,
    /// An attempt ends with an external fault.
    Fault,
    /// Somebody asks something of the job, and waits for no answer.
    Ask(Arc<dyn Fn() -> Request + Send + Sync>),
    /// The task at this place does nothing for so many steps.
    Stall {
        /// Its place, modulo the number of tasks.
        task: usize,
        /// For how long.
        steps: u64,
    },
    /// Work off the record path does not get on for so many steps.
    Delay {
        /// For how long.
        steps: u64,
    },
}

/// Which of a run's happenings are due.
pub(super) struct Happenings {
    clock: Arc<ManualClock>,
    step_time: Duration,
    steps: Arc<AtomicU64>,
    step: u64,
    waiting: Vec<(Moment, Happening)>,
    /// The steps at which checkpoints were triggered, and complete.
    triggered: Landmarks,
    completed: Landmarks,
    stalls: Vec<(usize, u64)>,
    delayed_until: u64,
}

/// When something came that is counted.
#[derive(Default)]
struct Landmarks {
    last: Option<CheckpointId>,
    at: Vec<u64>,
}

impl Landmarks {
    fn look(&mut self, now: Option<CheckpointId>, step: u64) {
        if now.is_some() && now != self.last {
            self.last = now;
            self.at.push(step);
        }
    }

    fn nth(&self, number: u64) -> Option<u64> {
        self.at.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }
}

impl Happenings {
    pub(super) fn new(simulation: &Simulation) -> Self {
        let Simulation { clock, step_time, happenings, steps, .. } = simulation.clone();
        let (triggered, completed) = Default::default();
        Self {
            clock,
            step_time,
            steps,
            step: 0,
            waiting: happenings,
            triggered,
            completed,
            stalls: Vec::new(),
            delayed_until: 0,
        }
    }

    /// A checkpoint was complete before this run.
    pub(super) fn begin_from(&mut self, complete: Option<CheckpointId>) {
        self.completed.last = complete;
    }

    /// One more step, with the checkpoint that is in flight and the newest that is complete. Returns what happens in it.
    pub(super) fn step(&mut self, in_flight: Option<CheckpointId>, complete: Option<CheckpointId>) -> Vec<Happening> {
        self.clock.advance(self.step_time);
        self.step += 1;
        self.steps.store(self.step, Ordering::Relaxed);
        self.triggered.look(in_flight, self.step);
        self.completed.look(complete, self.step);
        let due = |moment: &Moment| {
            let since = match moment.after {
                Landmark::Start => Some(0),
                Landmark::Triggered(number) => self.triggered.nth(number),
                Landmark::Completed(number) => self.completed.nth(number),
            };
            since.is_some_and(|since| since + moment.steps <= self.step)
        };
        let (now, later) = std::mem::take(&mut self.waiting).into_iter().partition(|(moment, _)| due(moment));
        self.waiting = later;
        let mut happening = Vec::new();
        for (_, what) in now {
            match what {
                Happening::Stall { task, steps } => self.stalls.push((task, self.step + steps)),
                Happening::Delay { steps } => self.delayed_until = self.step + steps,
                other => happening.push(other),
            }
        }
        self.stalls.retain(|(_, until)| *until > self.step);
        happening
    }

    pub(super) fn is_delayed(&self) -> bool {
        self.step < self.delayed_until
    }

    /// When time has to go on while work off the record path waits.
    pub(super) fn next_step(&self) -> Duration {
        crate::runtime::Clock::elapsed(&*self.clock) + self.step_time
    }

    pub(super) fn stalls(&self, task: usize, tasks: usize) -> bool {
        self.stalls.iter().any(|(stalled, _)| tasks > 0 && stalled % tasks == task)
    }
}

/// All places where work off the record path runs, in simulation.
pub(super) struct Backgrounds(Mutex<State>);

struct State {
    random: Option<SplitMix64>,
    all: Vec<Arc<Inline>>,
}

impl Backgrounds {
    /// Without a seed, work runs at once.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(State { random: seed.map(SplitMix64::new), all: Vec::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more place.
    pub(super) fn make(&self) -> Arc<dyn Background> {
        let mut state = self.lock();
        let Some(seed) = state.random.as_mut().map(SplitMix64::draw) else { return Arc::new(Inline::at_once()) };
        let inline = Arc::new(Inline::seeded(seed));
        state.all.push(Arc::clone(&inline));
        inline
    }

    /// Lets one of them get on. Returns whether anything ran.
    pub(super) fn step(&self) -> bool {
        let chosen = {
            let mut state = self.lock();
            let count = state.all.len() as u64;
            match (&mut state.random, count) {
                (Some(random), 1..) => Some(random.draw() % count),
                _ => None,
            }
        };
        // Not under the lock: work may make others.
        let chosen = chosen.map(|index| Arc::clone(&self.lock().all[index as usize]));
        chosen.is_some_and(|inline| inline.step())
    }

    /// Whether work waits to be run.
    pub(super) fn have_work(&self) -> bool {
        self.lock().all.iter().any(|inline| inline.has_work())
    }

    /// The attempt has ended: what is left of its work never runs.
    pub(super) fn forget(&self) {
        self.lock().all.clear();
    }
}
