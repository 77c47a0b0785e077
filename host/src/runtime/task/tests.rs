//! A task step by step: when records leave, what a full channel does, how ends and stops go through, what becomes of a sink.

mod barriers;

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::*;
use crate::{
    connector::{Prepared, SplitsRead},
    dataflow::{Partitioning, Router},
    runtime::{CHANNEL_BATCHES, ManualClock, Outlet, channel, parker},
    stream::CheckpointId,
};

const LIMITS: BatchLimits = BatchLimits { records: 4, bytes: 1 << 20 };
const TIMEOUT: Duration = Duration::from_millis(5);

/// What a fake source does at each call.
#[derive(Clone, Copy)]
enum Act {
    /// Gives a record and says that there may be more.
    Give(u8),
    /// Gives a record and has nothing more for now.
    GiveLast(u8),
    Nothing,
    End,
}

/// What happened to the fakes of a test.
#[derive(Default)]
struct Log {
    written: Vec<u8>,
    reads: usize,
    flushes: usize,
    finished: usize,
    dropped: usize,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Log>>);

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct FakeSource {
    acts: VecDeque<Act>,
    shared: Shared,
}

impl SourceReader for FakeSource {
    fn read(&mut self, _: Duration, batch: &mut Batch, _: BatchLimits) -> Result<Read, ConnectorError> {
        self.shared.log().reads += 1;
        Ok(match self.acts.pop_front().unwrap_or(Act::End) {
            Act::Give(value) => {
                batch.values.push(&[value]);
                Read::More
            }
            Act::GiveLast(value) => {
                batch.values.push(&[value]);
                Read::Waiting(Duration::from_secs(1))
            }
            Act::Nothing => Read::Waiting(Duration::from_secs(1)),
            Act::End => Read::End,
        })
    }

    fn position(&mut self) -> SplitsRead {
        SplitsRead::default()
    }
}

/// What a fake sink answers.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Good,
    /// Takes so many batches; then its reader goes.
    ClosesAfter(usize),
    Fails,
}

struct FakeSink {
    mood: Mood,
    batches: usize,
    shared: Shared,
}

impl SinkWriter for FakeSink {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        match self.mood {
            Mood::Fails => {
                let source = std::io::Error::other("no");
                return Err(ConnectorError::Io { path: "results".into(), doing: "writing", source });
            }
            Mood::ClosesAfter(most) if self.batches >= most => return Err(ConnectorError::Closed),
            Mood::Good | Mood::ClosesAfter(_) => {}
        }
        self.batches += 1;
        self.shared.log().written.extend(batch.values.iter().map(|value| value[0]));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.shared.log().flushes += 1;
        Ok(())
    }

    fn prepare_commit(&mut self, _: CheckpointId) -> Result<Prepared, ConnectorError> {
        Ok(Prepared::default())
    }

    fn finish(self: Box<Self>) -> Result<(), ConnectorError> {
        self.shared.log().finished += 1;
        Ok(())
    }
}

impl Drop for FakeSink {
    fn drop(&mut self) {
        self.shared.log().dropped += 1;
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    control: Arc<Control>,
    shared: Shared,
}

impl Bench {
    fn new() -> Self {
        Self { clock: Arc::default(), control: Arc::default(), shared: Shared::default() }
    }

    fn task(&self, head: TaskHead, nodes: Vec<Node>) -> Task {
        let (clock, control) = (Arc::clone(&self.clock) as Arc<dyn Clock>, Arc::clone(&self.control));
        Task::new("test/0".into(), head, nodes, false, (LIMITS, TIMEOUT), clock, control, None)
    }

    fn source(&self, acts: &[Act]) -> TaskHead {
        TaskHead::Source(Box::new(FakeSource { acts: acts.iter().copied().collect(), shared: self.shared.clone() }))
    }

    fn sink(&self, mood: Mood) -> Node {
        let writer = FakeSink { mood, batches: 0, shared: self.shared.clone() };
        node("sink", NodeKind::Sink(Some(Box::new(writer))), Vec::new())
    }

    /// A source task that sends to a channel, and the channel's other end.
    fn sending(&self, acts: &[Act]) -> (Task, Input) {
        let (outlet, input) = pipe();
        let router = Router::new(Partitioning::Rebalance, 1, 128, LIMITS, false);
        let edge = Target::Edge(Edge::new(router, vec![outlet]));
        (self.task(self.source(acts), vec![node("source", NodeKind::Source, vec![edge])]), input)
    }

    /// A sink task with so many inputs, and their other ends.
    fn receiving(&self, inputs: usize, mood: Mood) -> (Task, Vec<Edge>) {
        let (outlets, inputs): (Vec<_>, Vec<_>) = (0..inputs).map(|_| pipe()).unzip();
        let edge = |outlet| Edge::new(Router::new(Partitioning::Rebalance, 1, 128, LIMITS, false), vec![outlet]);
        (self.task(TaskHead::Inputs(inputs), vec![self.sink(mood)]), outlets.into_iter().map(edge).collect())
    }
}

fn node(id: &str, kind: NodeKind, targets: Vec<Target>) -> Node {
    Node { id: id.into(), kind, targets, dead_targets: Vec::new(), counters: Arc::default() }
}

fn pipe() -> (Outlet, Input) {
    channel(parker().1, parker().1)
}

fn batch(values: &[u8]) -> Batch {
    Batch { values: values.iter().map(|value| [*value]).collect(), ..Batch::default() }
}

/// Steps until the task waits or ends.
fn run(task: &mut Task) -> Result<Progress, Fault> {
    loop {
        match task.step()? {
            Progress::Worked => {}
            other => return Ok(other),
        }
    }
}

/// The batches that are in a channel, and whether it has ended behind them.
fn received(input: &mut Input) -> (Vec<Vec<u8>>, Option<Ended>) {
    let mut batches = Vec::new();
    while let Some(element) = input.take() {
        if let Element::Batch(batch) = element {
            batches.push(batch.values.iter().map(|value| value[0]).collect());
        }
    }
    (batches, input.ended)
}

#[test]
fn records_wait_for_a_full_batch_or_the_timeout() {
    let bench = Bench::new();
    let (mut task, mut input) =
        bench.sending(&[Act::Give(1), Act::GiveLast(2), Act::Nothing, Act::Nothing, Act::Nothing]);
    assert_eq!(run(&mut task), Ok(Progress::Idle(TIMEOUT)), "it wants to be called when the records are due");
    assert!(input.is_empty());
    bench.clock.advance(TIMEOUT / 2);
    assert_eq!(run(&mut task), Ok(Progress::Idle(TIMEOUT / 2)));
    assert!(input.is_empty());
    bench.clock.advance(TIMEOUT / 2);
    // From the source to the router, and from there to the channel after a time that is bounded too.
    let wait = run(&mut task);
    bench.clock.advance(TIMEOUT);
    let again = run(&mut task);
    assert!(matches!((&wait, &again), (Ok(Progress::Idle(_)), Ok(Progress::Idle(_)))), "{wait:?}, {again:?}");
    assert_eq!(received(&mut input), (vec![vec![1, 2]], None));
}

#[test]
fn a_full_batch_leaves_at_once() {
    let bench = Bench::new();
    let (mut task, mut input) = bench.sending(&[1, 2, 3, 4, 5].map(Act::Give));
    (0..4).for_each(|_| assert_eq!(task.step(), Ok(Progress::Worked)));
    assert_eq!(received(&mut input), (vec![vec![1, 2, 3, 4]], None));
    assert_eq!(run(&mut task), Ok(Progress::Done));
    assert_eq!(received(&mut input), (vec![vec![5]], Some(Ended::End)));
}

#[test]
fn a_full_channel_stops_the_reading_and_nothing_is_lost() {
    let bench = Bench::new();
    let acts: Vec<_> = (0..200).map(Act::Give).collect();
    let (mut task, mut input) = bench.sending(&acts);
    assert_eq!(run(&mut task), Ok(Progress::Blocked));
    let reads = bench.shared.log().reads;
    assert!(reads <= (CHANNEL_BATCHES + 2) * LIMITS.records, "{reads} reads");
    assert_eq!(run(&mut task), Ok(Progress::Blocked));
    assert_eq!(bench.shared.log().reads, reads, "a task with a full output takes no input");
    let mut values = Vec::new();
    loop {
        let (batches, ended) = received(&mut input);
        values.extend(batches.concat());
        if ended == Some(Ended::End) {
            break;
        }
        run(&mut task).expect("no fault");
    }
    assert_eq!(values, (0..200).collect::<Vec<u8>>());
    assert_eq!(run(&mut task), Ok(Progress::Done));
}

#[test]
fn a_sink_is_finished_once_when_all_inputs_have_ended() {
    let bench = Bench::new();
    let (mut task, mut edges) = bench.receiving(2, Mood::Good);
    for (value, edge) in (1..).zip(&mut edges) {
        edge.send(batch(&[value; 4]), Duration::ZERO);
    }
    edges[0].broadcast(&Element::End);
    assert!(matches!(run(&mut task), Ok(Progress::Idle(_))));
    assert_eq!(bench.shared.log().finished, 0, "one input goes on");
    edges[1].broadcast(&Element::End);
    assert_eq!(run(&mut task), Ok(Progress::Done));
    let log = bench.shared.log();
    assert_eq!((log.written.len(), log.finished, log.dropped), (8, 1, 1));
}

#[test]
fn a_stop_finishes_sinks_too() {
    for marks in [[Element::Stop, Element::End], [Element::End, Element::Stop], [Element::Stop, Element::Stop]] {
        let bench = Bench::new();
        let (mut task, mut edges) = bench.receiving(2, Mood::Good);
        edges[0].send(batch(&[1]), Duration::ZERO);
        marks.iter().zip(&mut edges).for_each(|(mark, edge)| edge.broadcast(mark));
        assert_eq!(run(&mut task), Ok(Progress::Done));
        let log = bench.shared.log();
        assert_eq!((&log.written[..], log.finished), (&[1][..], 1), "{marks:?}");
    }
}

#[test]
fn a_source_that_is_stopped_gives_on_what_it_has_read() {
    let bench = Bench::new();
    let (mut task, mut input) = bench.sending(&[Act::Give(1), Act::GiveLast(2), Act::Give(3)]);
    (0..2).for_each(|_| assert_eq!(task.step().map(|_| ()), Ok(())));
    bench.control.stop.store(true, Ordering::Relaxed);
    assert_eq!(run(&mut task), Ok(Progress::Done));
    assert_eq!(received(&mut input), (vec![vec![1, 2]], Some(Ended::Stop)));
}

#[test]
fn a_sender_that_is_gone_without_a_word_leaves_nothing_finished() {
    let bench = Bench::new();
    let (mut task, mut edges) = bench.receiving(2, Mood::Good);
    edges[1].send(batch(&[1; 4]), Duration::ZERO);
    drop(edges.remove(0));
    assert_eq!(run(&mut task), Ok(Progress::Done));
    drop(task);
    let log = bench.shared.log();
    assert_eq!((log.finished, log.dropped), (0, 1), "a writer that is only dropped takes its results back");
}

#[test]
fn an_abort_ends_a_task_wherever_it_is() {
    let bench = Bench::new();
    let (mut task, _edges) = bench.receiving(1, Mood::Good);
    bench.control.abort.store(true, Ordering::Relaxed);
    assert_eq!(task.step(), Ok(Progress::Done));
    assert_eq!(bench.shared.log().finished, 0);
}

#[test]
fn a_reader_of_results_that_goes_away_stops_the_job() {
    let bench = Bench::new();
    let (mut task, mut edges) = bench.receiving(1, Mood::ClosesAfter(1));
    (1..4).for_each(|value| edges[0].send(batch(&[value; 4]), Duration::ZERO));
    assert!(matches!(run(&mut task), Ok(Progress::Idle(_))));
    assert!(bench.control.stop.load(Ordering::Relaxed) && bench.control.closed.load(Ordering::Relaxed));
    edges[0].broadcast(&Element::Stop);
    assert_eq!(run(&mut task), Ok(Progress::Done));
    let log = bench.shared.log();
    assert_eq!((&log.written[..], log.finished), (&[1; 4][..], 0));
}

#[test]
fn a_sink_that_fails_is_an_external_fault_with_its_id() {
    let bench = Bench::new();
    let (mut task, mut edges) = bench.receiving(1, Mood::Fails);
    edges[0].send(batch(&[1; 4]), Duration::ZERO);
    let fault = run(&mut task).unwrap_err();
    assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::External, "sink: results: writing: no"));
}

#[test]
fn sinks_show_what_they_have_when_the_input_pauses_and_only_then() {
    let bench = Bench::new();
    let (mut task, mut edges) = bench.receiving(1, Mood::Good);
    (1..4).for_each(|value| edges[0].send(batch(&[value; 4]), Duration::ZERO));
    (0..3).for_each(|_| assert_eq!(task.step(), Ok(Progress::Worked)));
    assert_eq!(bench.shared.log().flushes, 0);
    (0..3).for_each(|_| assert!(matches!(task.step(), Ok(Progress::Idle(_)))));
    assert_eq!(bench.shared.log().flushes, 1);
}

#[test]
fn what_is_chained_goes_down_the_tree_and_to_all_branches() {
    let bench = Bench::new();
    let source = node("source", NodeKind::Source, vec![Target::Chained(1), Target::Chained(2)]);
    let nodes = vec![source, bench.sink(Mood::Good), bench.sink(Mood::Good)];
    let mut task = bench.task(bench.source(&[1, 2, 3, 4, 5].map(Act::Give)), nodes);
    assert_eq!(run(&mut task), Ok(Progress::Done));
    let log = bench.shared.log();
    assert_eq!((&log.written[..], log.finished), (&[1, 2, 3, 4, 1, 2, 3, 4, 5, 5][..], 2));
}
