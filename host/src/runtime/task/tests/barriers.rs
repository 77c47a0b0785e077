//! Barriers through a task: what is before and behind them, alignment, and the rest at the end.

use std::sync::{Arc, Mutex, PoisonError};

use super::*;
use crate::{
    background::Inline,
    checkpoint::Mode,
    runtime::{TaskCheckpoints, TaskEvent},
};

const FIRST: CheckpointId = CheckpointId(1);
const SECOND: CheckpointId = CheckpointId(2);

/// What a task has told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<TaskEvent>>>);

impl Told {
    /// What came since this was asked last: the ids of acknowledged checkpoints, and whether it is at rest.
    fn take(&self) -> (Vec<u64>, bool) {
        let events = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut at_rest = false;
        let acknowledged = events.into_iter().filter_map(|event| match event {
            TaskEvent::Acknowledged { task: 7, checkpoint, .. } => Some(checkpoint.0),
            TaskEvent::AtRest { task: 7 } => {
                at_rest = true;
                None
            }
            other => panic!("{other:?}"),
        });
        (acknowledged.collect(), at_rest)
    }
}

impl Bench {
    fn with_checkpoints(&self, mut task: Task, mode: Mode) -> (Task, Told) {
        let told = Told::default();
        let events = told.clone();
        let checkpoints = TaskCheckpoints {
            number: 7,
            mode,
            events: Arc::new(move |event| events.0.lock().unwrap_or_else(PoisonError::into_inner).push(event)),
            background: Arc::new(Inline::at_once()),
            watermark: None,
        };
        if let TaskHead::Inputs(inputs) = &task.head {
            task.aligner = Some(Aligner::new(inputs.len(), mode));
        }
        task.checkpoints = Some(checkpoints);
        (task, told)
    }
}

/// What is in a channel: values, barriers as negative numbers, 100 for the end.
fn elements(input: &mut Input) -> Vec<i64> {
    let mut seen = Vec::new();
    while let Some(element) = input.take() {
        match element {
            Element::Batch(batch) => seen.extend(batch.values.iter().map(|value| i64::from(value[0]))),
            Element::Barrier(id) => seen.push(-(id.0 as i64)),
            Element::End | Element::Stop => seen.push(100),
            Element::Watermark(_) => {}
        }
    }
    seen
}

#[test]
fn a_source_sends_a_barrier_between_what_it_has_read_and_what_it_reads_next() {
    let bench = Bench::new();
    let (task, mut input) = bench.sending(&[1, 2, 3, 4, 5, 6].map(Act::Give));
    let (mut task, told) = bench.with_checkpoints(task, Mode::ExactlyOnce);
    (0..3).for_each(|_| assert_eq!(task.step(), Ok(Progress::Worked)));
    bench.control.ask_for(FIRST);
    assert!(matches!(run(&mut task), Ok(Progress::Idle(_))), "it waits for the last checkpoint");
    assert_eq!(elements(&mut input), [1, 2, 3, -1, 4, 5, 6, 100]);
    assert_eq!(told.take(), (vec![1], true));
}

#[test]
fn an_input_that_gave_its_barrier_is_left_alone_until_the_others_have() {
    let bench = Bench::new();
    let (task, mut edges) = bench.receiving(2, Mood::Good);
    let (mut task, told) = bench.with_checkpoints(task, Mode::ExactlyOnce);
    edges[0].send(batch(&[1; 4]), Duration::ZERO);
    edges[0].broadcast(&Element::Barrier(FIRST));
    edges[0].send(batch(&[2; 4]), Duration::ZERO);
    edges[1].send(batch(&[3; 4]), Duration::ZERO);
    run(&mut task).expect("no fault");
    let written = || {
        let mut written = bench.shared.log().written.clone();
        written.sort_unstable();
        written.dedup();
        written
    };
    assert_eq!(written(), [1, 3], "what is behind the barrier waits");
    assert_eq!(told.take(), (vec![], false));
    edges[1].broadcast(&Element::Barrier(FIRST));
    run(&mut task).expect("no fault");
    assert_eq!((written(), told.take()), (vec![1, 2, 3], (vec![1], false)));
}

#[test]
fn at_least_once_waits_for_no_input() {
    let bench = Bench::new();
    let (task, mut edges) = bench.receiving(2, Mood::Good);
    let (mut task, told) = bench.with_checkpoints(task, Mode::AtLeastOnce);
    edges[0].broadcast(&Element::Barrier(FIRST));
    edges[0].send(batch(&[2; 4]), Duration::ZERO);
    run(&mut task).expect("no fault");
    assert_eq!((bench.shared.log().written.clone(), told.take()), (vec![2; 4], (vec![], false)));
    edges[1].broadcast(&Element::Barrier(FIRST));
    run(&mut task).expect("no fault");
    assert_eq!(told.take(), (vec![1], false));
}

#[test]
fn an_input_that_has_ended_is_waited_for_no_more() {
    let bench = Bench::new();
    let (task, mut edges) = bench.receiving(2, Mood::Good);
    let (mut task, told) = bench.with_checkpoints(task, Mode::ExactlyOnce);
    edges[0].broadcast(&Element::Barrier(FIRST));
    run(&mut task).expect("no fault");
    edges[1].broadcast(&Element::End);
    run(&mut task).expect("no fault");
    assert_eq!(told.take(), (vec![1], false));
    edges[0].broadcast(&Element::Barrier(SECOND));
    run(&mut task).expect("no fault");
    assert_eq!(told.take(), (vec![2], false));
}

#[test]
fn a_checkpoint_that_was_given_up_opens_its_inputs_again() {
    let bench = Bench::new();
    let (task, mut edges) = bench.receiving(2, Mood::Good);
    let (mut task, told) = bench.with_checkpoints(task, Mode::ExactlyOnce);
    edges[0].broadcast(&Element::Barrier(FIRST));
    edges[0].send(batch(&[2; 4]), Duration::ZERO);
    run(&mut task).expect("no fault");
    assert!(bench.shared.log().written.is_empty());
    bench.control.give_up(FIRST);
    run(&mut task).expect("no fault");
    assert_eq!(bench.shared.log().written, [2; 4]);
    edges[1].broadcast(&Element::Barrier(FIRST));
    run(&mut task).expect("no fault");
    assert_eq!(told.take(), (vec![], false), "its barrier is stale");
}

#[test]
fn a_task_at_rest_takes_every_checkpoint_and_goes_when_it_may() {
    let bench = Bench::new();
    let (task, mut edges) = bench.receiving(1, Mood::Good);
    let (mut task, told) = bench.with_checkpoints(task, Mode::ExactlyOnce);
    edges[0].send(batch(&[1; 4]), Duration::ZERO);
    edges[0].broadcast(&Element::End);
    run(&mut task).expect("no fault");
    assert_eq!(told.take(), (vec![], true));
    for id in [FIRST, SECOND] {
        bench.control.ask_for(id);
        run(&mut task).expect("no fault");
        assert_eq!(told.take(), (vec![id.0], false));
    }
    assert_eq!(bench.shared.log().finished, 0, "results wait for the last checkpoint");
    bench.control.let_end();
    assert_eq!(run(&mut task), Ok(Progress::Done));
    assert_eq!(bench.shared.log().finished, 1);
}
