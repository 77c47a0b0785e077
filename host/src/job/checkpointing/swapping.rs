//! What the driver of checkpoints does for exchanges of operators; see [`crate::job::swap`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Seat,
    driver::{Driver, Outcome, Told},
    graph::GraphSwap,
};
use crate::{
    background::Background,
    job::{
        live::{
            Answer, AnswerAt, Answering, Live, OperatorChange, PluginRef, Refusal, RefusalKind, Rehearsal, SwapAnswer,
            SwapOutcome, SwapRequest, SwapStatus,
        },
        swap::{Change, Course, Preparation, Prepared, ProbationSettings, Stage, Target},
        version::OperatorVersion,
    },
    operator::{CallTime, Plugin, Successor},
    stream::{CheckpointId, Fault, FaultKind},
    wasm::Engine,
};

/// What exchanges need.
pub(super) struct SwapSetup {
    pub(super) live: Arc<Live>,
    pub(super) engine: Arc<Engine>,
    /// Where instances are made ready.
    pub(super) background: Arc<dyn Background>,
    /// The tasks of operators, by vertex and index.
    pub(super) seats: Arc<BTreeMap<(usize, u32), Seat>>,
    pub(super) probation: ProbationSettings,
    /// Operators with the sinks to which edges for their dead letters lead.
    pub(super) dead_letter_sinks: Vec<(String, String)>,
}

/// An exchange that is under way.
pub(super) struct ActiveSwap {
    pub(super) course: Course,
    operators: Vec<String>,
    answering: Answering,
    answer_at: AnswerAt,
    rehearsal: Rehearsal,
    is_answered: bool,
    began: Instant,
    /// Filled when all is ready.
    answer: Option<SwapAnswer>,
    changes: Vec<Change>,
    /// What manifests tell of it while it is on probation.
    told: Option<GraphSwap>,
    /// Until they wait at their tasks.
    successors: BTreeMap<(usize, u32), Successor>,
    /// How many batches the tasks had processed when its checkpoint was complete.
    batches_before: BTreeMap<(usize, u32), u64>,
}

/// An exchange that was not over when its attempt ended.
pub(in crate::job) struct UnfinishedSwap {
    /// At whose barrier operators were exchanged; none: nothing was touched.
    pub(in crate::job) checkpoint: Option<CheckpointId>,
    pub(in crate::job) operators: Vec<String>,
    /// What they were exchanged for, by their places in the job file.
    pub(in crate::job) changes: Vec<(usize, OperatorVersion)>,
    answer: Option<SwapAnswer>,
    answering: Answering,
}

impl UnfinishedSwap {
    /// The checkpoint that ended its probation exists, though nobody had heard of it when the attempt ended.
    pub(in crate::job) fn confirmed(self, live: &Live) {
        let Some(mut answer) = self.answer else { return };
        answer.outcome = SwapOutcome::Confirmed;
        live.facts().last_swap = Some(answer.clone());
        self.answering.answer(Answer::Swap(answer));
    }

    /// It was taken back for this reason.
    pub(in crate::job) fn taken_back(self, live: &Live, reason: &str) {
        let Some(mut answer) = self.answer else {
            return refuse(&self.answering, RefusalKind::Failed, format!("the job failed meanwhile: {reason}"));
        };
        answer.outcome = SwapOutcome::RolledBack;
        answer.reason = Some(reason.to_owned());
        live.facts().last_swap = Some(answer.clone());
        self.answering.answer(Answer::Swap(answer));
    }
}

fn refuse(answering: &Answering, kind: RefusalKind, message: String) {
    answering.answer(Answer::Refused(Refusal::new(kind, message)));
}

impl Driver {
    /// Somebody wants operators to be exchanged.
    pub(super) fn asked_to_swap(&mut self, now: Duration, request: SwapRequest, answering: Answering) {
        if let Some(swap) = &self.swap {
            let left = swap.course.remaining(now, self.batches_since(swap));
            let left = left.map_or(String::new(), |left| {
                format!(
                    "; its probation ends in {:.1} s, or after {} batches",
                    left.remaining_seconds, left.remaining_batches
                )
            });
            let operators = swap.operators.join(", ");
            return refuse(&answering, RefusalKind::Busy, format!("{operators} is being exchanged already{left}"));
        }
        if self.is_wanted() {
            return refuse(
                &answering,
                RefusalKind::Busy,
                "a checkpoint or savepoint is being taken for somebody".into(),
            );
        }
        if self.is_ending() || self.setup.control.stop.load(std::sync::atomic::Ordering::Relaxed) {
            return refuse(&answering, RefusalKind::Busy, "the job is coming to its end".into());
        }
        let operators: Vec<String> = request.operators.iter().map(|operator| operator.id.clone()).collect();
        let targets = match self.targets(request.operators) {
            Ok(targets) => targets,
            Err(why) => return refuse(&answering, RefusalKind::Usage, why),
        };
        let preparation = Preparation {
            engine: Arc::clone(&self.setup.swaps.engine),
            targets,
            dropped: request.dropped.into_iter().collect(),
            seats: Arc::clone(&self.setup.swaps.seats),
            time: CallTime { now: self.setup.clock.now(), watermark: None },
        };
        let lost = Refusal::new(RefusalKind::Failed, "the thread that makes instances ready is gone");
        let told = Told { outcomes: self.outcomes.0.clone(), lost: Some(Outcome::Prepared(Box::new(Err(lost)))) };
        let work = move || told.tell(Outcome::Prepared(Box::new(preparation.run())));
        self.swap = Some(ActiveSwap {
            course: Course::new(self.setup.swaps.probation),
            operators,
            answering,
            answer_at: request.answer_at,
            rehearsal: request.rehearsal,
            is_answered: false,
            began: Instant::now(),
            answer: None,
            changes: Vec::new(),
            told: None,
            successors: BTreeMap::new(),
            batches_before: BTreeMap::new(),
        });
        // Where no thread can be had, what is lost says so.
        drop(self.setup.swaps.background.spawn(Box::new(work)));
    }

    fn targets(&self, wanted: Vec<OperatorChange>) -> Result<Vec<Target>, String> {
        let mut targets: Vec<Target> = Vec::new();
        for OperatorChange { id, changes } in wanted {
            let found = self.setup.graph.operators().find(|(_, vertex, _)| vertex.id == id);
            let Some((vertex, _, facts)) = found else {
                let ids: Vec<&str> = self.setup.graph.operators().map(|(_, vertex, _)| vertex.id.as_str()).collect();
                let hint = crate::spec::nearest(&id, ids.iter().copied());
                let hint = hint.map_or_else(
                    || format!("; there are {}", ids.join(", ")),
                    |near| format!("; did you mean {near}?"),
                );
                return Err(format!("the job has no operator {id}{hint}"));
            };
            if targets.iter().any(|target| target.id == id) {
                return Err(format!("operator {id} is named twice"));
            }
            targets.push(Target {
                vertex,
                index: facts.index,
                running: facts.version.clone(),
                changes,
                versions: self.versions_there(vertex),
                dead_letter_sinks: self.setup.swaps.dead_letter_sinks_of(&id),
                id,
            });
        }
        if targets.is_empty() {
            return Err("no operator is named".into());
        }
        Ok(targets)
    }

    /// By the ids of an operator's states, the schema versions of which there may be values: all that is in its chains of segments, or was in those that the attempt began with. What was
    /// written since is of the version that runs.
    fn versions_there(&self, vertex: usize) -> BTreeMap<u16, BTreeSet<u16>> {
        let mut versions: BTreeMap<u16, BTreeSet<u16>> = BTreeMap::new();
        for place in self.setup.swaps.seats.keys().filter(|(of, _)| *of == vertex) {
            let chain = self.setup.chains.of(*place);
            let labels = chain.iter().flat_map(|segment| &segment.facts.labels).map(|count| count.label);
            for label in labels.filter(|label| label.version > 0) {
                versions.entry(label.state).or_default().insert(label.version);
            }
        }
        if let Some(restored) = self.setup.restored_versions.get(&vertex) {
            restored.iter().for_each(|(state, of)| versions.entry(*state).or_default().extend(of));
        }
        versions
    }

    /// All is ready, or can't be.
    pub(super) fn swap_prepared(&mut self, prepared: Result<Prepared, Refusal>) {
        let Some(mut swap) = self.swap.take() else { return };
        let Prepared { changes, successors, comparison } = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => return swap.answering.answer(Answer::Refused(refusal)),
        };
        let plugins = |of: fn(&Change) -> &OperatorVersion| {
            changes.iter().map(|change| (change.id.clone(), PluginRef::of(&*of(change).located.plugin))).collect()
        };
        let answer = SwapAnswer {
            outcome: SwapOutcome::DryRun,
            from: plugins(|change| &change.from),
            to: plugins(|change| &change.to),
            pause_ms: None,
            prepare_ms: swap.began.elapsed().as_secs_f64() * 1e3,
            checkpoint: None,
            migrations: comparison.migrations,
            differences: comparison.differences,
            reason: None,
        };
        if swap.rehearsal == Rehearsal::Yes {
            return swap.answering.answer(Answer::Swap(answer));
        }
        let nodes = |task: &super::graph::GraphTask| task.nodes.iter().any(|node| successors.contains_key(node));
        let tasks = self.setup.graph.tasks.iter().enumerate().filter(|(_, task)| nodes(task));
        swap.course.prepared(tasks.map(|(number, _)| number).collect());
        swap.answer = Some(answer);
        (swap.changes, swap.successors) = (changes, successors);
        self.swap = Some(swap);
    }

    /// A checkpoint is about to be asked for: what waits takes over at its barrier, or its manifest says that the probation is over.
    pub(super) fn swap_triggered(&mut self, id: CheckpointId) {
        let is_last = self.setup.coordinator.is_last_in_flight();
        let Some(swap) = &mut self.swap else { return };
        if is_last && *swap.course.stage() == Stage::Ready {
            // All input is processed: there is nothing that the new version could do.
            refuse(&swap.answering, RefusalKind::Busy, "the job has come to its end".into());
            self.swap = None;
            return;
        }
        let was_ready = *swap.course.stage() == Stage::Ready;
        swap.course.triggered(id, is_last);
        if was_ready {
            let seats = &self.setup.swaps.seats;
            // It may have been prepared long ago: a time to live that begins does so now, in all tasks and in what is stored.
            let now = self.setup.clock.now();
            swap.changes.iter_mut().for_each(|change| change.begin(now));
            for (place, mut successor) in std::mem::take(&mut swap.successors) {
                if let Some(change) = swap.changes.iter().find(|change| change.vertex == place.0) {
                    successor.begin(change.to.ids.clone());
                }
                if let Some(seat) = seats.get(&place) {
                    seat.succession.put(id, successor);
                }
            }
            let changes: Vec<_> = swap.changes.iter().map(|change| (change.vertex, change.to.clone())).collect();
            self.setup.graph = Arc::new(self.setup.graph.exchanged(id, &changes));
            swap.told.clone_from(&self.setup.graph.swap);
            if let Some(answer) = &mut swap.answer {
                answer.checkpoint = Some(id.0);
            }
        } else if self.setup.graph.swap.is_some() && !swap.course.is_open_in(id) {
            let mut graph = (*self.setup.graph).clone();
            graph.swap = None;
            self.setup.graph = Arc::new(graph);
        }
    }

    pub(super) fn task_exchanged(&mut self, task: usize, pause: Duration) {
        if let Some(swap) = &mut self.swap {
            swap.course.exchanged(task, pause);
        }
        for node in &self.setup.graph.tasks[task].nodes {
            if let Some(seat) = self.setup.swaps.seats.get(node) {
                seat.succession.clear();
            }
        }
    }

    pub(super) fn swap_completed(&mut self, id: CheckpointId, now: Duration) {
        let Some(swap) = &mut self.swap else { return };
        let is_over = swap.course.completed(id, now);
        if matches!(swap.course.stage(), Stage::Probation { checkpoint, .. } if *checkpoint == id) {
            let of_changes = |(vertex, _): &(usize, u32)| swap.changes.iter().any(|change| change.vertex == *vertex);
            let seats = self.setup.swaps.seats.iter().filter(|(place, _)| of_changes(place));
            swap.batches_before = seats.map(|(place, seat)| (*place, seat.counters.batches_in.get())).collect();
            let mut facts = self.setup.swaps.live.facts();
            for change in &swap.changes {
                let of_change = facts.vertices.iter_mut().filter(|vertex| vertex.id == change.id);
                for operator in of_change.filter_map(|vertex| vertex.operator.as_mut()) {
                    let plugin = &change.to.located.plugin;
                    operator.plugin = PluginRef::of(&**plugin);
                    operator.states = plugin.descriptor().states.iter().map(|state| state.name.clone()).collect();
                }
            }
        }
        if is_over && let Some(mut swap) = self.swap.take() {
            self.confirmed.extend(swap.changes.drain(..).map(|change| (change.index, change.to)));
            swap.tell(&self.setup.swaps.live, SwapOutcome::Confirmed);
            tracing::info!("the exchange of {} is confirmed with checkpoint {id}", swap.operators.join(", "));
        }
    }

    /// # Errors
    /// When some tasks may have been exchanged and others not.
    pub(super) fn swap_aborted(&mut self, id: CheckpointId, reason: &str) -> Result<(), Fault> {
        let Some(swap) = &mut self.swap else { return Ok(()) };
        if swap.course.aborted(id) {
            let text = format!("checkpoint {id}, at which operators were exchanged, failed: {reason}");
            return Err(Fault::new(FaultKind::External, text));
        }
        if let (None, Some(told)) = (&self.setup.graph.swap, &swap.told) {
            let mut graph = (*self.setup.graph).clone();
            graph.swap = Some(told.clone());
            self.setup.graph = Arc::new(graph);
        }
        Ok(())
    }

    /// Goes on with an exchange. Returns whether it did anything.
    ///
    /// # Errors
    /// When the attempt can't go on.
    pub(super) fn poll_swap(&mut self, now: Duration) -> Result<bool, Fault> {
        let Some(mut swap) = self.swap.take() else {
            self.setup.swaps.live.facts().swap = None;
            return Ok(false);
        };
        let batches = self.batches_since(&swap);
        swap.course.advance(now, batches);
        if swap.answer_at == AnswerAt::Commit && !swap.is_answered && swap.course.pause().is_some() {
            let is_committed = matches!(
                swap.course.stage(),
                Stage::Probation { .. } | Stage::Confirming { .. } | Stage::Closing { .. }
            );
            if is_committed {
                swap.tell(&self.setup.swaps.live, SwapOutcome::Committed);
            }
        }
        self.setup.swaps.live.facts().swap = Some(SwapStatus {
            phase: swap.course.phase(),
            operators: swap.operators.clone(),
            checkpoint: swap.course.checkpoint().map(|id| id.0),
            probation: swap.course.remaining(now, batches),
        });
        let wants = swap.course.wants_checkpoint();
        self.swap = Some(swap);
        if wants { self.ask_for_checkpoint(now) } else { Ok(false) }
    }

    /// How many batches the task that is furthest behind has processed since.
    fn batches_since(&self, swap: &ActiveSwap) -> u64 {
        let since = swap.batches_before.iter().filter_map(|(place, before)| {
            let seat = self.setup.swaps.seats.get(place)?;
            Some(seat.counters.batches_in.get().saturating_sub(*before))
        });
        since.min().unwrap_or(0)
    }

    /// The attempt ends: what becomes of the exchange is for whoever knows why.
    pub(super) fn end_swap(&mut self) -> Option<UnfinishedSwap> {
        let swap = self.swap.take()?;
        self.setup.swaps.live.facts().swap = None;
        if self.is_fenced() {
            // What becomes of it is for the run that has taken over.
            refuse(&swap.answering, RefusalKind::Failed, "another run of this job has taken over".into());
            return None;
        }
        let checkpoint = swap.course.checkpoint();
        let pause_ms = swap.course.pause().map(|pause| pause.as_secs_f64() * 1e3);
        let answer = swap.answer.filter(|_| checkpoint.is_some()).map(|answer| SwapAnswer { pause_ms, ..answer });
        let changes = swap.changes.into_iter().map(|change| (change.index, change.to)).collect();
        Some(UnfinishedSwap { checkpoint, operators: swap.operators, changes, answer, answering: swap.answering })
    }
}

impl SwapSetup {
    fn dead_letter_sinks_of(&self, operator: &str) -> Vec<String> {
        let of_operator = self.dead_letter_sinks.iter().filter(|(from, _)| from == operator);
        of_operator.map(|(_, sink)| sink.clone()).collect()
    }
}

impl ActiveSwap {
    pub(super) fn operators(&self) -> &[String] {
        &self.operators
    }

    /// Says how it stands, to whoever asked if that is still open.
    fn tell(&mut self, live: &Live, outcome: SwapOutcome) {
        let Some(answer) = &mut self.answer else { return };
        answer.outcome = outcome;
        answer.pause_ms = self.course.pause().map(|pause| pause.as_secs_f64() * 1e3);
        live.facts().last_swap = Some(answer.clone());
        self.answering.answer(Answer::Swap(answer.clone()));
        self.is_answered = true;
    }
}
