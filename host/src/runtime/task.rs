//! A task as a step function.
//!
//! A task is a tree of nodes: a source, or an operator or sink with its inputs at the root, and behind it what is chained. Batches go down the tree by plain calls; what leaves the
//! task goes through edges. A step takes one element (or one read of a source), or one batch of work at the end of the input, and never blocks.
//!
//! With checkpoints, a task whose inputs have ended stays until the last one is complete (see the module `barrier`).
//!
//! Invariants: while an edge has elements that did not fit, the task takes no input; all results that an element triggers leave before the next is taken; at the end of a
//! bounded input comes the last watermark, then for each operator in the order of the tree its visits, its close and the
//! handing over of its state, then the end mark.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

mod barrier;
mod ending;

pub use barrier::{TaskCheckpoints, TaskEvent, TaskSnapshot};

use super::{Clock, Control, Edge, Input, channel::Ended};
use crate::{
    checkpoint::Aligner,
    connector::{ConnectorError, Read, SinkWriter, SourceReader},
    dataflow::WatermarkTracker,
    metrics::OperatorCounters,
    operator::{CallTime, Execution},
    stream::{Batch, BatchLimits, CheckpointId, Element, EventTime, Fault, FaultKind},
};

/// Where the elements of a task come from.
pub enum TaskHead {
    /// It is a source.
    Source(Box<dyn SourceReader>),
    /// It has inputs, one per sending task; several may lead to one input of an operator.
    Inputs(Vec<Input>),
}

/// What a node does with records.
pub enum NodeKind {
    /// Gives them on: the root of a source task.
    Source,
    /// Runs an operator.
    Operator(Box<Execution>),
    /// Writes them.
    Sink(Option<Box<dyn SinkWriter>>),
}

/// Where a node's records go.
pub enum Target {
    /// To a node of the same task.
    Chained(usize),
    /// To other tasks.
    Edge(Edge),
}

/// One source, operator or sink in a task.
pub struct Node {
    /// Its id in the job.
    pub id: String,
    /// What it does.
    pub kind: NodeKind,
    /// Where its results go; several get all of them.
    pub targets: Vec<Target>,
    /// Where its dead letters go.
    pub dead_targets: Vec<Target>,
    /// What it counts.
    pub counters: Arc<OperatorCounters>,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more to do at once.
    Worked,
    /// There is no input; call again when woken, and at the latest after this time.
    Idle(Duration),
    /// An edge is full; call again when woken.
    Blocked,
    /// The task has ended.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// State is taken back: this node's is next.
    Restoring(usize),
    Running,
    /// The end of the input: this node is next.
    Ending(usize),
    /// The job is being stopped: this node is next.
    Stopping(usize),
    /// What is pending has to leave.
    Leaving,
    /// The last checkpoint is waited for.
    Resting,
    Done,
}

/// How long a task without input sleeps at most. Whoever has something for it wakes it; this bounds what a lost wake would cost.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// One parallel instance of a chain of operators.
pub struct Task {
    name: String,
    head: TaskHead,
    nodes: Vec<Node>,
    clock: Arc<dyn Clock>,
    control: Arc<Control>,
    limits: BatchLimits,
    timeout: Duration,
    phase: Phase,
    watermark: WatermarkTracker,
    /// The input that is asked next.
    turn: usize,
    /// What a source has read and not given on yet.
    gathered: Batch,
    gathered_since: Option<Duration>,
    /// Some sink has records that a watcher can't see yet.
    unflushed: bool,
    scratch: Vec<Vec<Batch>>,
    checkpoints: Option<TaskCheckpoints>,
    /// Of tasks with inputs, when there are checkpoints.
    aligner: Option<Aligner>,
    /// When the first barrier came that others are waited for now.
    aligning_since: Option<Instant>,
    /// When an operator had done the last batch.
    last_fed: Option<Instant>,
    /// Another version has taken over, and has got no batch yet.
    exchange: Option<barrier::Exchange>,
    /// The checkpoint whose barrier was sent on last.
    last_barrier: Option<CheckpointId>,
    /// Work of its sinks was handed to others.
    sinks_have_worked: bool,
    /// The end of its input has come.
    ended: bool,
}

impl Task {
    /// A task whose root is node 0. `source_keyed` says whether a source's records have keys.
    pub fn new(
        name: String,
        head: TaskHead,
        nodes: Vec<Node>,
        source_keyed: bool,
        (limits, timeout): (BatchLimits, Duration),
        clock: Arc<dyn Clock>,
        control: Arc<Control>,
        checkpoints: Option<TaskCheckpoints>,
    ) -> Self {
        let (inputs, is_source) = match &head {
            TaskHead::Source(_) => (1, true),
            TaskHead::Inputs(inputs) => (inputs.len(), false),
        };
        let aligner = checkpoints.as_ref().filter(|_| !is_source && inputs > 0);
        let aligner = aligner.map(|checkpoints| Aligner::new(inputs, checkpoints.mode));
        let restores = nodes
            .iter()
            .any(|node| matches!(&node.kind, NodeKind::Operator(execution) if execution.has_state_to_restore()));
        let watermark = checkpoints.as_ref().and_then(|checkpoints| checkpoints.watermark);
        Self {
            name,
            head,
            nodes,
            clock,
            control,
            limits,
            timeout,
            phase: if restores { Phase::Restoring(0) } else { Phase::Running },
            watermark: WatermarkTracker::restored(inputs, watermark),
            turn: 0,
            gathered: Batch::new(source_keyed),
            gathered_since: None,
            unflushed: false,
            scratch: Vec::new(),
            checkpoints,
            aligner,
            aligning_since: None,
            last_fed: None,
            exchange: None,
            last_barrier: None,
            sinks_have_worked: false,
            ended: false,
        }
    }

    /// The task's name: the ids of its nodes and its index.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The counters of its nodes.
    pub fn counters(&self) -> impl Iterator<Item = &Arc<OperatorCounters>> {
        self.nodes.iter().map(|node| &node.counters)
    }

    /// Does a little.
    ///
    /// # Errors
    /// A fault that fails the job. The task is not called again.
    pub fn step(&mut self) -> Result<Progress, Fault> {
        if self.control.abort.load(Ordering::Relaxed) {
            self.phase = Phase::Done;
        }
        if self.phase == Phase::Done {
            return Ok(Progress::Done);
        }
        if !self.flush_pending() {
            self.copy_some()?;
            return Ok(Progress::Blocked);
        }
        match self.phase {
            Phase::Restoring(node) => self.step_restoring(node),
            Phase::Running => {
                let progress = match self.head {
                    TaskHead::Source(_) => self.step_source()?,
                    TaskHead::Inputs(_) => self.step_inputs()?,
                };
                self.flush_due();
                if let Progress::Idle(wait) = progress {
                    return if self.copy_some()? { Ok(Progress::Worked) } else { self.idle(wait) };
                }
                Ok(progress)
            }
            Phase::Ending(node) => self.step_ending(node),
            Phase::Stopping(node) => self.step_stopping(node),
            Phase::Leaving => {
                self.come_to_rest()?;
                Ok(Progress::Worked)
            }
            Phase::Resting => self.step_resting(),
            Phase::Done => Ok(Progress::Done),
        }
    }

    fn step_source(&mut self) -> Result<Progress, Fault> {
        let now = self.clock.elapsed();
        if self.control.stop.load(Ordering::Relaxed) {
            self.give_gathered()?;
            self.begin_stopping();
            return Ok(Progress::Worked);
        }
        if let Some(id) = self.asked_for() {
            self.give_gathered()?;
            self.pass_barrier(id)?;
            return Ok(Progress::Worked);
        }
        let TaskHead::Source(reader) = &mut self.head else { unreachable!("called for sources only") };
        let began = Instant::now();
        let read =
            reader.read(now, &mut self.gathered, self.limits).map_err(|error| external(&self.nodes[0].id, &error))?;
        self.nodes[0].counters.busy_ns.add_time(began.elapsed());
        let full = self.gathered.is_full(self.limits);
        if !self.gathered.is_empty() && self.gathered_since.is_none() {
            self.gathered_since = Some(now);
        }
        let due = self.gathered_since.map(|since| since + self.timeout);
        // What waits for more waits at an edge, once.
        if full || read != Read::More || due.is_some_and(|due| due <= now) {
            self.give_gathered()?;
        }
        match read {
            Read::More => Ok(Progress::Worked),
            Read::Waiting(wait) => Ok(Progress::Idle(wait)),
            Read::End => {
                self.end_of_input()?;
                Ok(Progress::Worked)
            }
        }
    }

    fn give_gathered(&mut self) -> Result<(), Fault> {
        self.gathered_since = None;
        if self.gathered.is_empty() {
            return Ok(());
        }
        let room = Batch::with_room_of(&self.gathered);
        let batch = std::mem::replace(&mut self.gathered, room);
        let counters = &self.nodes[0].counters;
        counters.records_in.add(batch.len() as u64);
        counters.records_out.add(batch.len() as u64);
        counters.batches_in.add(1);
        self.emit(0, batch)
    }

    fn step_inputs(&mut self) -> Result<Progress, Fault> {
        self.give_up_aligning();
        let TaskHead::Inputs(inputs) = &mut self.head else { unreachable!("called for tasks with inputs only") };
        for _ in 0..inputs.len() {
            let index = self.turn;
            self.turn = if index + 1 == inputs.len() { 0 } else { index + 1 };
            if self.aligner.as_ref().is_some_and(|aligner| aligner.is_blocked(index)) {
                continue;
            }
            let taken = inputs[index].take();
            if taken.is_none() && inputs[index].ended == Some(Ended::Gone) {
                // The sender failed and has said so itself; this task just has nothing more to do.
                self.phase = Phase::Done;
                return Ok(Progress::Done);
            }
            match taken {
                None => continue,
                Some(Element::Batch(batch)) => {
                    let number = inputs[index].number;
                    self.feed(0, number, batch)?;
                }
                Some(Element::Watermark(watermark)) => {
                    if let Some(watermark) = self.watermark.advance(index, watermark)
                        && watermark != EventTime::MAX
                    {
                        self.broadcast(&Element::Watermark(watermark));
                    }
                }
                Some(Element::Barrier(id)) => self.barrier_came(index, id)?,
                Some(Element::End | Element::Stop) => self.input_ended(index)?,
            }
            return Ok(Progress::Worked);
        }
        Ok(Progress::Idle(SLEEP_MAX))
    }

    /// An input has ended. A checkpoint may have waited for it alone; and it may have been the last one.
    fn input_ended(&mut self, index: usize) -> Result<(), Fault> {
        let TaskHead::Inputs(inputs) = &self.head else { return Ok(()) };
        let all = inputs.iter().all(|input| input.ended.is_some());
        let stopped = inputs.iter().any(|input| input.ended == Some(Ended::Stop));
        if let Some(aligner) = &mut self.aligner {
            let alignment = aligner.ended(index);
            self.aligned(alignment)?;
        }
        match (all, stopped) {
            (false, _) => Ok(()),
            (true, true) => {
                self.begin_stopping();
                Ok(())
            }
            (true, false) => self.end_of_input(),
        }
    }

    /// Takes back the state of a node.
    fn step_restoring(&mut self, index: usize) -> Result<Progress, Fault> {
        let time = self.time();
        let Some(node) = self.nodes.get_mut(index) else {
            self.phase = Phase::Running;
            return Ok(Progress::Worked);
        };
        if let NodeKind::Operator(execution) = &mut node.kind {
            execution.restore_keyed_state(time)?;
        }
        self.phase = Phase::Restoring(index + 1);
        Ok(Progress::Worked)
    }

    fn inputs(&self) -> usize {
        match &self.head {
            TaskHead::Source(_) => 1,
            TaskHead::Inputs(inputs) => inputs.len(),
        }
    }

    /// Gives a batch to an input of a node.
    fn feed(&mut self, index: usize, input: u32, batch: Batch) -> Result<(), Fault> {
        let time = self.time();
        let began = Instant::now();
        let node = &mut self.nodes[index];
        match &mut node.kind {
            NodeKind::Source => Ok(()),
            NodeKind::Operator(execution) => {
                let mut out = self.scratch.pop().unwrap_or_default();
                let mut dead = Batch::new(false);
                execution.process(input, &batch, time, &mut out, &mut dead)?;
                let ended = Instant::now();
                node.counters.busy_ns.add_time(ended - began);
                self.last_fed = Some(ended);
                if self.exchange.is_some() {
                    self.tell_exchange(Some(began));
                }
                if self.control.first_processed.get().is_none() {
                    // As for the first result.
                    let _ = self.control.first_processed.set(Instant::now());
                }
                drop(batch);
                self.give_results(index, &mut out, dead)?;
                self.scratch.push(out);
                Ok(())
            }
            NodeKind::Sink(writer) => {
                let count = batch.len() as u64;
                if self.control.first_result.get().is_none() {
                    // Another task may have been first at the same time; either will do.
                    let _ = self.control.first_result.set(began);
                }
                node.counters.records_in.add(count);
                node.counters.batches_in.add(1);
                if let Some(open) = writer {
                    match open.write(&batch) {
                        Ok(()) => node.counters.records_out.add(count),
                        Err(ConnectorError::Closed) => {
                            // Whoever watched has gone: nobody misses the rest, and the job ends quietly.
                            *writer = None;
                            self.control.closed.store(true, Ordering::Relaxed);
                            self.control.stop.store(true, Ordering::Relaxed);
                        }
                        Err(error) => return Err(external(&node.id, &error)),
                    }
                }
                self.unflushed = true;
                node.counters.busy_ns.add_time(began.elapsed());
                Ok(())
            }
        }
    }

    fn give_results(&mut self, index: usize, out: &mut Vec<Batch>, dead: Batch) -> Result<(), Fault> {
        for batch in out.drain(..) {
            self.emit(index, batch)?;
        }
        if !dead.is_empty() {
            let mut targets = std::mem::take(&mut self.nodes[index].dead_targets);
            let result = self.deliver(&mut targets, dead);
            self.nodes[index].dead_targets = targets;
            result?;
        }
        Ok(())
    }

    fn emit(&mut self, index: usize, batch: Batch) -> Result<(), Fault> {
        let mut targets = std::mem::take(&mut self.nodes[index].targets);
        let result = self.deliver(&mut targets, batch);
        self.nodes[index].targets = targets;
        result
    }

    fn deliver(&mut self, targets: &mut [Target], batch: Batch) -> Result<(), Fault> {
        let Some((last, others)) = targets.split_last_mut() else { return Ok(()) };
        for target in others {
            self.deliver_to(target, batch.clone())?;
        }
        self.deliver_to(last, batch)
    }

    fn deliver_to(&mut self, target: &mut Target, batch: Batch) -> Result<(), Fault> {
        match target {
            // What is chained has no other input.
            Target::Chained(node) => self.feed(*node, 0, batch),
            Target::Edge(edge) => {
                edge.send(batch, self.clock.elapsed());
                Ok(())
            }
        }
    }

    fn edges(&mut self) -> impl Iterator<Item = &mut Edge> {
        self.nodes.iter_mut().flat_map(|node| node.targets.iter_mut().chain(&mut node.dead_targets)).filter_map(
            |target| match target {
                Target::Edge(edge) => Some(edge),
                Target::Chained(_) => None,
            },
        )
    }

    fn broadcast(&mut self, mark: &Element) {
        self.edges().for_each(|edge| edge.broadcast(mark));
    }

    fn flush_pending(&mut self) -> bool {
        // Every edge is flushed, whatever came of the others.
        self.edges().filter_map(|edge| (!edge.flush_pending()).then_some(())).count() == 0
    }

    fn flush_due(&mut self) {
        let (now, timeout) = (self.clock.elapsed(), self.timeout);
        for edge in self.edges() {
            if edge.due(timeout).is_some_and(|due| due <= now) {
                edge.flush_gathered();
            }
        }
    }

    /// Nothing is at hand: sinks show what they have, and the task sleeps until gathered records are due.
    fn idle(&mut self, wait: Duration) -> Result<Progress, Fault> {
        self.tell_exchange(None);
        if std::mem::take(&mut self.unflushed) {
            for node in &mut self.nodes {
                if let NodeKind::Sink(Some(writer)) = &mut node.kind {
                    match writer.flush() {
                        Ok(()) => {}
                        Err(ConnectorError::Closed) => {
                            node.kind = NodeKind::Sink(None);
                            self.control.closed.store(true, Ordering::Relaxed);
                            self.control.stop.store(true, Ordering::Relaxed);
                        }
                        Err(error) => return Err(external(&node.id, &error)),
                    }
                }
            }
        }
        let (now, timeout) = (self.clock.elapsed(), self.timeout);
        let due = self.edges().filter_map(|edge| edge.due(timeout)).min();
        Ok(Progress::Idle(due.map_or(wait, |due| wait.min(due.saturating_sub(now))).min(SLEEP_MAX)))
    }

    /// Whether an input has something to take.
    pub(super) fn has_input(&self) -> bool {
        match &self.head {
            TaskHead::Source(_) => true,
            TaskHead::Inputs(inputs) => inputs.iter().any(|input| !input.is_empty()),
        }
    }

    fn time(&self) -> CallTime {
        CallTime { now: self.clock.now(), watermark: self.watermark.current() }
    }
}

fn external(id: &str, error: &ConnectorError) -> Fault {
    let kind = match error {
        ConnectorError::Input(_) | ConnectorError::Refused(_) => FaultKind::Unfit,
        ConnectorError::Io { .. } | ConnectorError::Closed => FaultKind::External,
    };
    Fault::new(kind, format!("{id}: {error}"))
}

#[cfg(test)]
mod tests;
