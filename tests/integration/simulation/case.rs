//! One case: a job that is run until it has come to its end, whatever happens to it meanwhile.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use wasmill::{
    checkpoint::{Faults, Faulty, MemoryStorage, Name, Names, Storage},
    job::{Executor, Happening, JobError, Landmark, Moment, Outcome, Report, Request, RunOptions, Simulation, Start},
    runtime::{Control, ManualClock},
    stream::{CheckpointId, Fault, splitmix64},
};

use super::{
    asks::{AskedFor, BUILDS, Builds, ask_for_savepoint, ask_to_stop, stops, swap_for},
    folders::{Folders, Left},
    jobs::SimulatedJob,
    outage::Outage,
    random::Random,
};
use crate::{
    harness::{Job, assert_same, folder},
    ways::Place,
};

/// So many runs are disturbed at most; then one is left alone, and has to end.
const DISTURBED_MAX: u64 = 8;
/// A run that has not come to an end after so many steps never will.
const STEPS_MAX: u64 = 400_000;
/// What a step takes in simulated time.
const STEP: Duration = Duration::from_micros(100);
/// With less, no checkpoint of many tasks would ever be complete.
const TIMEOUT_MIN: Duration = Duration::from_millis(30);
/// What a call of the storage that is delayed takes.
const DELAY: Duration = Duration::from_millis(3);
/// Sizes of batches.
const RECORDS: [u64; 4] = [1, 7, 64, 1_024];

/// A job and a seed.
pub(crate) struct Case<'j> {
    job: &'j SimulatedJob,
    seed: u64,
}

/// What lasts from run to run.
struct World {
    folders: Folders,
    /// Without faults.
    memory: Arc<MemoryStorage>,
    faulty: Arc<Faulty>,
    outage: Arc<Outage>,
    clock: Arc<ManualClock>,
    retain: u64,
    trace: Vec<String>,
    runs: u64,
    /// The run that came to the end was not hindered from removing what is old.
    is_tidy: bool,
    /// No sink had another number of tasks than what it follows, so each key's records came in their order.
    keeps_order: bool,
    /// Other builds of the operators' plugins.
    builds: Arc<Builds>,
}

/// How one run is to go.
struct RunPlan {
    job: Job,
    seed: u64,
    happenings: Vec<(Moment, Happening)>,
    describe: String,
    /// Whether the storage fails now and then.
    fails: bool,
}

/// A point in a run of about so many steps.
fn moment(random: &mut Random, steps: u64) -> Moment {
    match random.within(0..4) {
        0 | 1 => Moment { after: Landmark::Start, steps: random.within(0..steps) },
        2 => Moment { after: Landmark::Triggered(random.within(1..8)), steps: random.within(0..120) },
        _ => Moment { after: Landmark::Completed(random.within(1..8)), steps: random.within(0..60) },
    }
}

impl World {
    fn new(results: &Path, sinks: &[&str], seed: u64) -> Self {
        let clock = Arc::new(ManualClock::default());
        let memory = Arc::new(MemoryStorage::new());
        let outage = Arc::new(Outage::new(Arc::clone(&memory) as Arc<dyn Storage>, &clock));
        let delay_clock = Arc::clone(&clock);
        let delay = Box::new(move || delay_clock.advance(DELAY));
        let faulty = Faulty::new(Arc::clone(&outage) as Arc<dyn Storage>, seed, Faults::default(), delay);
        Self {
            folders: Folders::new(results, sinks),
            memory,
            faulty: Arc::new(faulty),
            outage,
            clock,
            retain: 1,
            trace: Vec::new(),
            runs: 0,
            is_tidy: false,
            keeps_order: true,
            builds: Arc::default(),
        }
    }

    fn simulation(&self, seed: u64, happenings: Vec<(Moment, Happening)>) -> Simulation {
        Simulation {
            seed,
            storage: Arc::clone(&self.faulty) as Arc<dyn Storage>,
            clock: Arc::clone(&self.clock),
            step_time: STEP,
            happenings,
            steps: Arc::default(),
        }
    }
}

impl<'j> Case<'j> {
    pub(crate) fn new(job: &'j SimulatedJob, seed: u64) -> Self {
        Self { job, seed }
    }

    /// Runs it, and gives all that a second time must be the same.
    pub(crate) fn run(&self) -> Vec<String> {
        let of_job = self.job.name.bytes().fold(self.seed, |seed, byte| splitmix64(seed ^ u64::from(byte)));
        let mut random = Random::new(of_job);
        let results = folder();
        let mut world = World::new(results.path(), self.job.sinks, random.draw());
        world.retain = random.within(1..5);
        let disturbed = random.within(1..DISTURBED_MAX + 1);
        for run in 0..=disturbed {
            let is_last = run == disturbed;
            let plan = self.plan(&mut world, &mut random, is_last);
            let ended = self.run_once(&mut world, plan, &mut random);
            self.check_so_far(&world);
            if ended {
                break;
            }
            assert!(!is_last, "{}: it does not end though nothing disturbs it", self.describe(&world));
        }
        self.check_end(&mut world, &mut random);
        world.trace
    }

    /// Stops the job after its first checkpoints and goes on at the next of these parallelisms, where it comes to its end at the last one.
    pub(crate) fn run_at(&self, parallelisms: &[u64]) {
        let results = folder();
        let mut random = Random::new(self.seed);
        let mut world = World::new(results.path(), self.job.sinks, self.seed);
        world.retain = 2;
        let interval = STEP * self.straight_steps(1) as u32 / 16;
        for (run, parallelism) in parallelisms.iter().enumerate() {
            let is_last = run + 1 == parallelisms.len();
            let job = self.job.job().set("parallelism", parallelism).set("batch.records", 1);
            let job = job
                .set("checkpoint.interval", format!("{}us", interval.as_micros()))
                .set("checkpoint.retain", world.retain);
            let state = world.folders.root.join(format!(".state-{run}"));
            let stop = (Moment { after: Landmark::Completed(1), steps: 0 }, Happening::Stop);
            let plan = RunPlan {
                job: job.set("state.directory", state.display()),
                seed: random.draw(),
                happenings: if is_last { Vec::new() } else { vec![stop] },
                describe: format!("{parallelism} tasks"),
                fails: false,
            };
            let ended = self.run_once(&mut world, plan, &mut random);
            assert_eq!(ended, is_last, "{}", self.describe(&world));
            self.check_so_far(&world);
        }
        self.check_end(&mut world, &mut random);
    }

    /// Something is asked of the job after a quarter of the run, and the process crashes so many steps later; then the job goes on to its end, undisturbed.
    pub(crate) fn run_crashing_behind(&self, asked: AskedFor, crash_after: u64) -> Vec<String> {
        let results = folder();
        let mut random = Random::new(self.seed ^ crash_after);
        let mut world = World::new(results.path(), self.job.sinks, self.seed);
        world.retain = 3;
        let records = 1;
        let steps = self.straight_steps(records);
        let begin = Moment { after: Landmark::Start, steps: steps / 4 };
        let crash = Moment { after: Landmark::Start, steps: steps / 4 + crash_after };
        let swap = |output: Option<u64>, builds: &Arc<Builds>| {
            swap_for(self.job.operators.iter().map(|id| ((*id).to_owned(), 0, output)).collect(), builds)
        };
        let ask = match asked {
            AskedFor::Swap => swap(None, &world.builds),
            AskedFor::SwapThatFails => swap(Some(200), &world.builds),
            AskedFor::Savepoint => ask_for_savepoint(),
            AskedFor::Stop => ask_to_stop(),
        };
        let job = self.job.job().set("parallelism", 2).set("batch.records", records);
        let job = job.set("checkpoint.interval", format!("{}us", (STEP * steps as u32 / 8).as_micros()));
        // One step of the sources and all that comes of it is a small part of the run.
        let job =
            job.set("swap.probation-batches", 12).set("checkpoint.retain", world.retain).set("swap.probation", "1h");
        for happenings in [vec![(begin, ask), (crash, Happening::Crash(Arc::new(|| {})))], Vec::new()] {
            let state = world.folders.root.join(format!(".state-{}", world.runs));
            let describe = format!("{asked:?} at step {}, a crash {crash_after} later", begin.steps);
            let plan = RunPlan {
                job: job.clone().set("state.directory", state.display()),
                seed: self.seed,
                happenings,
                describe,
                fails: false,
            };
            let from = world.trace.len();
            let ended = self.run_once(&mut world, plan, &mut random);
            let going_on =
                world.trace[from..].iter().filter(|line| line.contains("for which it was exchanged")).count();
            assert!(
                going_on == 0 || going_on == self.job.operators.len(),
                "{}operators of different versions go on",
                self.describe(&world)
            );
            self.check_so_far(&world);
            if ended {
                break;
            }
        }
        self.check_end(&mut world, &mut random);
        world.trace
    }

    fn describe(&self, world: &World) -> String {
        format!("{} with seed {}:\n{}\n", self.job.name, self.seed, world.trace.join("\n"))
    }

    fn plan(&self, world: &mut World, random: &mut Random, is_quiet: bool) -> RunPlan {
        let parallelism = random.one_of(&[1, 1, 2, 3, 5]);
        let records = random.one_of(&RECORDS);
        let steps = self.straight_steps(records);
        let place = random.one_of(&[Place::Memory, Place::Disk("1B"), Place::Disk("64KiB")]);
        let checkpoints = random.within(2..25);
        let interval = (STEP * steps as u32 / checkpoints as u32).max(Duration::from_millis(1));
        let timeout = if random.percent(20) { interval.max(TIMEOUT_MIN) } else { Duration::from_secs(60) };
        let mut job = place.of(&self.job.job());
        job = job.set("parallelism", parallelism).set("batch.records", records);
        job = job.set("checkpoint.interval", format!("{}us", interval.as_micros()));
        job = job.set("checkpoint.timeout", format!("{}us", if is_quiet { 60_000_000 } else { timeout.as_micros() }));
        job = job.set("checkpoint.retain", world.retain);
        job = job.set("state.directory", world.folders.root.join(format!(".state-{}", world.runs)).display());
        let mut describe =
            format!("{parallelism} tasks, batches of {records}, {place:?}, every {interval:?}, {timeout:?}");
        for operator in self.job.operators {
            if random.percent(20) {
                let own = random.one_of(&[1, 2, 4]);
                job = job.set(&format!("operator.{operator}.parallelism"), own);
                world.keeps_order &= own == parallelism;
                describe += &format!(", {operator} {own}");
            }
        }
        let fails = !is_quiet && random.percent(50);
        let faults = match fails {
            true => Faults {
                failing: random.within(0..40) as u32,
                unanswered: random.within(0..40) as u32,
                torn: 0,
                delayed: random.within(0..100) as u32,
            },
            false => Faults::default(),
        };
        world.faulty.set_faults(faults);
        let away = match !is_quiet && random.percent(20) {
            true => {
                let from = world.clock.total() + STEP * random.within(0..steps) as u32;
                from..from + Duration::from_millis(random.within(1..3_000))
            }
            false => Duration::ZERO..Duration::ZERO,
        };
        describe += &format!(", {faults:?}, away {away:?}");
        let fails = fails || !away.is_empty();
        world.outage.set(away);
        let mut happenings = if is_quiet { Vec::new() } else { self.happenings(random, steps) };
        let (mut probation, mut batches) = (STEP * random.within(1..steps) as u32, random.within(1..200));
        if !is_quiet {
            // Where what fails becomes a letter, no fault takes a version back.
            let some_fail = random.percent(40) && !self.job.sinks.contains(&"dead");
            if some_fail {
                // What fails does so sooner or later: while it is on probation, if that lasts to the end and nobody stops the job before.
                (probation, batches) = (Duration::from_secs(3_600), u64::from(u32::MAX));
                happenings.retain(|(_, what)| !stops(what));
            }
            for percent in [60, 40, 20] {
                if random.percent(percent) {
                    let fails = some_fail && random.percent(70);
                    happenings.push((moment(random, steps), self.swap(random, &world.builds, fails)));
                }
            }
        }
        job = job.set("swap.probation", format!("{}us", probation.as_micros().max(1_000)));
        job = job.set("swap.probation-batches", batches);
        for (moment, what) in &happenings {
            let what = match what {
                Happening::Crash(_) => "crash".to_owned(),
                Happening::Stop => "stop".to_owned(),
                Happening::Ask(ask) => match ask() {
                    Request::Swap(_) => "swap".to_owned(),
                    Request::Savepoint(_) => "savepoint".to_owned(),
                    Request::Stop(_) => "stop with savepoint".to_owned(),
                    Request::Checkpoint => "checkpoint".to_owned(),
                },
                Happening::Fault => "fault".to_owned(),
                Happening::Stall { task, steps } => format!("stall {task} for {steps}"),
                Happening::Delay { steps } => format!("delay for {steps}"),
            };
            describe += &format!("; {:?} + {}: {what}", moment.after, moment.steps);
        }
        RunPlan { job, seed: random.draw(), happenings, describe, fails }
    }

    /// How many steps a run without disturbance has, about.
    fn straight_steps(&self, records: u64) -> u64 {
        static STEPS: Mutex<BTreeMap<(&str, u64), u64>> = Mutex::new(BTreeMap::new());
        let of_job = (self.job.name, records);
        if let Some(known) = STEPS.lock().unwrap_or_else(PoisonError::into_inner).get(&of_job) {
            return *known;
        }
        let results = folder();
        let world = World::new(results.path(), self.job.sinks, 1);
        let job = self.job.job().set("parallelism", 2).set("batch.records", records);
        let job = job.set("checkpoint.interval", "1s").set("state.backend", "memory");
        let simulation = world.simulation(1, Vec::new());
        let steps = Arc::clone(&simulation.steps);
        let ran = self.start(&job, &world, Executor::Seeded(1), simulation, &mut Vec::new());
        assert_eq!(ran.expect("it starts").0.outcome, Outcome::Done);
        let steps = steps.load(Ordering::Relaxed);
        STEPS.lock().unwrap_or_else(PoisonError::into_inner).insert(of_job, steps);
        steps
    }

    /// Operators are exchanged: for another build, which does the same; or for one that has too little room for its results, which fails sooner or later.
    fn swap(&self, random: &mut Random, builds: &Arc<Builds>, fails: bool) -> Happening {
        let operators: Vec<&str> = self.job.operators.iter().copied().filter(|_| random.percent(60)).collect();
        let operators = if operators.is_empty() { vec![self.job.operators[0]] } else { operators };
        let chosen: Vec<(String, usize, Option<u64>)> = operators
            .into_iter()
            .map(|id| {
                let output = (fails && random.percent(60)).then(|| random.within(1..600));
                (id.to_owned(), random.within(0..BUILDS) as usize, output)
            })
            .collect();
        swap_for(chosen, builds)
    }

    /// What happens in a run of about so many steps. The last is what ends it, if nothing else does.
    fn happenings(&self, random: &mut Random, steps: u64) -> Vec<(Moment, Happening)> {
        let moment = |random: &mut Random| moment(random, steps);
        let mut happenings = Vec::new();
        for (percent, what) in [
            (30, Happening::Fault),
            (10, Happening::Fault),
            (40, Happening::Stall { task: random.within(0..12) as usize, steps: random.within(1..steps / 4) }),
            (20, Happening::Stall { task: random.within(0..12) as usize, steps: random.within(1..200) }),
            (30, Happening::Delay { steps: random.within(1..300) }),
            (15, Happening::Stop),
            (10, ask_to_stop()),
            (20, ask_for_savepoint()),
            (10, Happening::Ask(Arc::new(|| Request::Checkpoint))),
        ] {
            if random.percent(percent) {
                happenings.push((moment(random), what));
            }
        }
        if random.percent(80) {
            let crash = Happening::Crash(Arc::new(|| {}));
            happenings.push((moment(random), crash.clone()));
            happenings.push((Moment { after: Landmark::Start, steps: random.within(1..2 * steps) }, crash));
        }
        happenings
    }

    /// Runs it once. Returns whether it came to the end of its input.
    fn run_once(&self, world: &mut World, plan: RunPlan, random: &mut Random) -> bool {
        let RunPlan { job, seed, mut happenings, describe, fails } = plan;
        world.trace.push(format!("run {}: {describe}", world.runs));
        world.runs += 1;
        let crashed: Arc<Mutex<Option<Left>>> = Arc::default();
        let end = Moment { after: Landmark::Start, steps: STEPS_MAX };
        happenings.push((end, Happening::Crash(Arc::new(|| {}))));
        for (_, what) in &mut happenings {
            if let Happening::Crash(then) = what {
                let (crashed, folders) = (Arc::clone(&crashed), Folders::new(&world.folders.root, self.job.sinks));
                *then = Arc::new(move || {
                    *crashed.lock().unwrap_or_else(PoisonError::into_inner) = Some(folders.look());
                });
            }
        }
        let stops = happenings.iter().any(|(_, what)| stops(what));
        let simulation = world.simulation(seed ^ 1, happenings);
        let steps = Arc::clone(&simulation.steps);
        let mut said = Vec::new();
        let ran = self.start(&job, world, Executor::Seeded(seed), simulation, &mut said);
        world.trace.extend(said.into_iter().map(|line| format!("  {line}")));
        let crashed = crashed.lock().unwrap_or_else(PoisonError::into_inner).take();
        world.trace.push(format!("  {} steps", steps.load(Ordering::Relaxed)));
        assert!(steps.load(Ordering::Relaxed) < STEPS_MAX, "{}it never ends", self.describe(world));
        let has_crashed = crashed.is_some();
        if let Some(left) = crashed {
            world.outage.set(Duration::ZERO..Duration::ZERO);
            world.faulty.crash().expect("the memory does not fail");
            let manifests = self.manifests(world);
            world.folders.put_back(&left, &manifests, random);
        }
        self.trace_world(world);
        match ran {
            Ok((report, fault)) => {
                let checkpoints = report.checkpoints.as_ref().expect("it takes checkpoints");
                world.trace.push(format!(
                    "  {:?} from {:?}, {} complete, {} failed, {} bytes, {} restarts, {fault:?}",
                    report.outcome,
                    checkpoints.restored_from,
                    checkpoints.completed,
                    checkpoints.failed,
                    checkpoints.bytes,
                    report.restarts
                ));
                match report.outcome {
                    Outcome::Done => {
                        world.is_tidy = !fails;
                        true
                    }
                    Outcome::AlreadyDone => true,
                    Outcome::Stopped => {
                        assert!(stops, "{}nobody stopped it", self.describe(world));
                        false
                    }
                    // A job that is to stop is not started again.
                    Outcome::Failed => {
                        assert!(has_crashed || stops, "{}it gave up: {fault:?}", self.describe(world));
                        false
                    }
                }
            }
            Err(error) => {
                world.trace.push(format!("  not started: {error}"));
                let is_simulated = fails && error.to_string().contains("simulated");
                assert!(is_simulated, "{}it does not start: {error}", self.describe(world));
                false
            }
        }
    }

    fn start(
        &self,
        job: &Job,
        world: &World,
        executor: Executor,
        simulation: Simulation,
        said: &mut Vec<String>,
    ) -> Result<(Report, Option<Fault>), JobError> {
        let prepared = job.prepare(&world.folders.root)?;
        world.builds.make(&prepared);
        prepared.run(RunOptions {
            executor,
            start: Start::default(),
            process_start: Instant::now(),
            control: Arc::new(Control::default()),
            progress: &mut |_| {},
            say: &mut |line| said.push(line.to_owned()),
            live: wasmill::job::Live::new("job"),
            simulation: Some(simulation),
        })
    }

    /// What all manifests say, one after the other.
    fn manifests(&self, world: &World) -> String {
        let names = world.memory.list("").expect("memory can be listed").into_iter().map(|file| file.name);
        let manifests = names.filter(|name| name.ends_with("/manifest.json"));
        let text = |name: String| {
            let bytes = world.memory.get(&name).expect("it was listed");
            String::from_utf8(bytes.to_vec()).expect("manifests are text")
        };
        manifests.map(text).collect()
    }

    fn trace_world(&self, world: &mut World) {
        let mut hasher = DefaultHasher::new();
        for file in world.memory.list("").expect("memory can be listed") {
            (&file.name, &*world.memory.get(&file.name).expect("it was listed")).hash(&mut hasher);
        }
        let storage = hasher.finish();
        let folders = world.folders.look();
        let names: Vec<String> =
            folders.iter().flat_map(|(sink, files)| files.keys().map(move |name| format!("{sink}/{name}"))).collect();
        let mut hasher = DefaultHasher::new();
        folders.hash(&mut hasher);
        let line = format!("  storage {storage:x}, results {:x}: {}", hasher.finish(), names.join(" "));
        world.trace.push(line);
    }

    /// What is visible is part of what will be.
    fn check_so_far(&self, world: &World) {
        for (sink, golden) in self.job.golden() {
            let shown = self.job.kept(&sink, &world.folders.lines(&sink));
            let mut rest = golden.iter();
            for line in &shown {
                assert!(
                    rest.any(|expected| expected == line),
                    "{}{sink} shows {line} too often, or should not at all",
                    self.describe(world)
                );
            }
        }
    }

    fn check_end(&self, world: &mut World, random: &mut Random) {
        let job = self.job.job().set("checkpoint.retain", world.retain).set("parallelism", random.one_of(&[1, 2]));
        world.faulty.set_faults(Faults::default());
        world.outage.set(Duration::ZERO..Duration::ZERO);
        let plan = RunPlan {
            job: job.set("state.directory", world.folders.root.join(".state-again").display()),
            seed: 1,
            happenings: Vec::new(),
            describe: "once more".to_owned(),
            fails: false,
        };
        let ended = self.run_once(world, plan, random);
        let last = world.trace.last().cloned().unwrap_or_default();
        assert!(ended && last.starts_with("  AlreadyDone"), "{}it ran once more", self.describe(world));
        let what = self.describe(world);
        for (sink, golden) in self.job.golden() {
            let lines = world.folders.lines(&sink);
            assert_same(&self.job.kept(&sink, &lines), &golden, &format!("{what}{sink}"));
            if world.keeps_order {
                self.check_order(&sink, &lines, &what);
            }
        }
        let hidden = world.folders.hidden();
        assert!(hidden.is_empty(), "{what}hidden files are left: {hidden:?}");
        if world.is_tidy {
            self.check_storage(world, &what);
        }
    }

    fn check_order(&self, sink: &str, lines: &[String], what: &str) {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        for line in lines {
            let document: Value = serde_json::from_str(line).expect("a line is JSON");
            if let Some((key, number)) = (self.job.rising)(sink, &document) {
                let before = last.insert(key, number);
                assert!(before <= Some(number), "{what}{sink}: {line} comes after {before:?}");
            }
        }
    }

    /// As many checkpoints are kept as are to be, and nothing that none of them needs; but what was merged while the last one was taken came too late for it.
    fn check_storage(&self, world: &World, what: &str) {
        let files = world.memory.list("").expect("memory can be listed");
        // Each lies in the folder of the job.
        let names = files.iter().filter_map(|file| Some(file.name.split_once('/')?.1));
        let parsed: Vec<(&str, Name)> = names.filter_map(|name| Some((name, Names::parse(name)?))).collect();
        let kept: Vec<CheckpointId> = parsed
            .iter()
            .filter_map(|(_, parsed)| match parsed {
                Name::Manifest(id) => Some(*id),
                _ => None,
            })
            .collect();
        // One that a crash has brought back lacks what was deleted behind it; it stands among the others, and is not counted.
        let is_whole = |id: &&CheckpointId| {
            let of_checkpoint = files.iter().find(|file| file.name.ends_with(&Names::manifest(**id)));
            let text = of_checkpoint.and_then(|file| world.memory.get(&file.name).ok()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let segments = text.split("\"segments/").skip(1).filter_map(|rest| rest.split('"').next());
            let mut there = segments.map(|name| parsed.iter().any(|(other, _)| *other == format!("segments/{name}")));
            there.all(|there| there)
        };
        let count = kept.iter().filter(is_whole).count() as u64;
        assert!((1..=world.retain).contains(&count), "{what}{count} checkpoints are kept, not {}", world.retain);
        let manifests = self.manifests(world);
        for (name, parsed) in &parsed {
            let is_late = matches!(parsed, Name::Segment { checkpoint, .. } if Some(checkpoint) > kept.iter().max());
            let is_needed = match parsed {
                Name::Segment { .. } | Name::Plugin { .. } => manifests.contains(name),
                Name::Manifest(_) | Name::Attempt(_) => true,
            };
            assert!(is_needed || is_late, "{what}no checkpoint needs {name}");
        }
    }
}
