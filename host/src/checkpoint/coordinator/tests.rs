//! The coordinator by hand, against random events, and with tasks that behave.

use proptest::{collection::vec, option, prelude::*};

use super::*;

const ONE: CheckpointId = CheckpointId(1);
const TWO: CheckpointId = CheckpointId(2);
const THREE: CheckpointId = CheckpointId(3);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn settings(interval: Option<u64>, timeout: u64, tolerable_failures: Option<u32>) -> CoordinatorSettings {
    CoordinatorSettings { interval: interval.map(seconds), timeout: seconds(timeout), tolerable_failures }
}

/// A coordinator with two tasks, every 10 s, given up after 60 s.
fn usual() -> Coordinator {
    Coordinator::new(settings(Some(10), 60, None), 2, ONE)
}

impl Coordinator {
    /// What it wants done after an event at that second.
    fn at(&mut self, second: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.handle(seconds(second), event, &mut actions);
        actions
    }

    /// All tasks acknowledge.
    fn acknowledged(&mut self, second: u64, checkpoint: CheckpointId) -> Vec<Action> {
        let events = (0..self.at_rest.len()).map(|task| Event::Acknowledged { task, checkpoint });
        events.collect::<Vec<_>>().into_iter().flat_map(|event| self.at(second, event)).collect()
    }
}

fn declined(checkpoint: CheckpointId) -> Event {
    Event::Declined { task: 1, checkpoint, reason: "the disk is full".to_owned() }
}

fn not_written(checkpoint: CheckpointId) -> Event {
    Event::NotWritten { checkpoint, reason: "no network".to_owned() }
}

fn abort(checkpoint: CheckpointId, reason: &str) -> Action {
    Action::Abort { checkpoint, reason: reason.to_owned() }
}

#[test]
fn a_checkpoint_is_complete_when_its_manifest_is_there() {
    let mut coordinator = usual();
    assert_eq!(coordinator.wake_at(), Some(seconds(10)));
    assert_eq!(coordinator.at(9, Event::Tick), []);
    assert_eq!(coordinator.at(10, Event::Tick), [Action::Trigger(ONE)]);
    assert_eq!((coordinator.in_flight(), coordinator.wake_at()), (Some(ONE), Some(seconds(70))));
    assert_eq!(coordinator.at(11, Event::Acknowledged { task: 0, checkpoint: ONE }), []);
    assert_eq!(coordinator.at(11, Event::Acknowledged { task: 0, checkpoint: ONE }), []);
    assert_eq!(coordinator.at(12, Event::Acknowledged { task: 1, checkpoint: ONE }), [Action::WriteManifest(ONE)]);
    assert_eq!(coordinator.wake_at(), None);
    assert_eq!(coordinator.at(13, Event::Written { checkpoint: ONE }), [Action::Complete(ONE)]);
    assert_eq!((coordinator.in_flight(), coordinator.wake_at()), (None, Some(seconds(20))));
    assert_eq!(coordinator.at(14, Event::Written { checkpoint: ONE }), []);
    assert_eq!(coordinator.at(20, Event::Tick), [Action::Trigger(TWO)]);
}

#[test]
fn one_that_is_overdue_begins_when_the_one_in_flight_has_ended() {
    let mut coordinator = usual();
    coordinator.at(10, Event::Tick);
    assert_eq!(coordinator.at(35, Event::Tick), []);
    assert_eq!(coordinator.acknowledged(40, ONE), [Action::WriteManifest(ONE)]);
    assert_eq!(coordinator.at(41, Event::Written { checkpoint: ONE }), [Action::Complete(ONE), Action::Trigger(TWO)]);
    assert_eq!(coordinator.acknowledged(42, TWO), [Action::WriteManifest(TWO)]);
    assert_eq!(coordinator.at(43, Event::Written { checkpoint: TWO }), [Action::Complete(TWO)]);
    assert_eq!(coordinator.wake_at(), Some(seconds(51)));
}

#[test]
fn a_timeout_gives_up_unless_the_manifest_is_being_written() {
    let mut coordinator = Coordinator::new(settings(Some(100), 60, None), 3, ONE);
    coordinator.at(100, Event::Tick);
    coordinator.at(101, Event::Acknowledged { task: 1, checkpoint: ONE });
    let reason = "it took longer than 60s; not acknowledged by 2 of 3 tasks";
    assert_eq!(coordinator.at(160, Event::Tick), [abort(ONE, reason)]);
    assert_eq!(coordinator.acknowledged(161, ONE), []);
    assert_eq!(coordinator.at(162, declined(ONE)), []);
    assert_eq!(coordinator.at(200, Event::Tick), [Action::Trigger(TWO)]);
    assert_eq!(coordinator.acknowledged(201, TWO), [Action::WriteManifest(TWO)]);
    assert_eq!(coordinator.at(1_000, Event::Tick), []);
    let expected = [abort(TWO, "the manifest was not written: no network"), Action::Trigger(THREE)];
    assert_eq!(coordinator.at(1_001, not_written(TWO)), expected);
    coordinator.at(1_002, Event::Acknowledged { task: 0, checkpoint: THREE });
    coordinator.at(1_002, Event::Acknowledged { task: 2, checkpoint: THREE });
    let actions = coordinator.at(1_061, Event::Tick);
    assert_eq!(actions[0], abort(THREE, "it took longer than 60s; not acknowledged by task 1"));
}

#[test]
fn failures_in_a_row_are_counted() {
    let mut coordinator = Coordinator::new(settings(Some(10), 60, Some(1)), 2, ONE);
    coordinator.at(10, Event::Tick);
    assert_eq!(coordinator.at(11, declined(ONE)), [abort(ONE, "task 1 declined: the disk is full")]);
    coordinator.at(20, Event::Tick);
    coordinator.acknowledged(21, TWO);
    coordinator.at(22, Event::Written { checkpoint: TWO });
    coordinator.at(30, Event::Tick);
    assert_eq!(coordinator.at(31, declined(THREE)).len(), 1, "the one that was complete has set the count back");
    coordinator.at(40, Event::Tick);
    let reason = "2 checkpoints in a row have failed and `checkpoint.tolerable-failures` is 1; checkpoint 4: task 1 declined: the disk is full";
    let expected =
        [abort(CheckpointId(4), "task 1 declined: the disk is full"), Action::Fail { reason: reason.to_owned() }];
    assert_eq!(coordinator.at(41, declined(CheckpointId(4))), expected);
    assert_eq!(coordinator.wake_at(), None);
    assert_eq!(coordinator.at(99, Event::Tick), []);
}

#[test]
fn the_last_one_begins_when_all_are_at_rest() {
    let mut coordinator = Coordinator::new(settings(None, 60, None), 2, CheckpointId(7));
    assert_eq!(coordinator.wake_at(), None);
    assert_eq!(coordinator.at(1_000, Event::Tick), []);
    assert_eq!(coordinator.at(1_000, Event::AtRest { task: 1 }), []);
    assert_eq!(coordinator.at(1_001, Event::AtRest { task: 0 }), [Action::Trigger(CheckpointId(7))]);
    coordinator.acknowledged(1_002, CheckpointId(7));
    let expected = [Action::Complete(CheckpointId(7)), Action::Finish(CheckpointId(7))];
    assert_eq!(coordinator.at(1_003, Event::Written { checkpoint: CheckpointId(7) }), expected);
    assert_eq!(coordinator.at(1_004, Event::Fenced { reason: "late".to_owned() }), []);
    assert_eq!(coordinator.wake_at(), None);
}

#[test]
fn one_that_began_before_the_rest_is_not_the_last() {
    let mut coordinator = usual();
    coordinator.at(10, Event::Tick);
    coordinator.at(11, Event::AtRest { task: 0 });
    assert_eq!(coordinator.at(11, Event::AtRest { task: 1 }), []);
    coordinator.acknowledged(12, ONE);
    assert_eq!(coordinator.at(13, Event::Written { checkpoint: ONE }), [Action::Complete(ONE), Action::Trigger(TWO)]);
}

#[test]
fn a_last_one_that_fails_is_tried_again_after_ever_longer_waits() {
    let mut coordinator = usual();
    coordinator.at(0, Event::AtRest { task: 0 });
    assert_eq!(coordinator.at(0, Event::AtRest { task: 1 }), [Action::Trigger(ONE)]);
    let (mut now, mut id) = (0, ONE);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        coordinator.acknowledged(now, id);
        assert_eq!(coordinator.at(now, not_written(id)).len(), 1);
        assert_eq!(coordinator.wake_at(), Some(seconds(now + wait)));
        assert_eq!(coordinator.at(now + wait - 1, Event::Tick), []);
        (now, id) = (now + wait, id.next());
        assert_eq!(coordinator.at(now, Event::Tick), [Action::Trigger(id)]);
    }
    coordinator.acknowledged(now, id);
    assert_eq!(coordinator.at(now, Event::Written { checkpoint: id }), [Action::Complete(id), Action::Finish(id)]);
}

#[test]
fn a_newer_attempt_decides_about_a_manifest_that_is_being_written() {
    let fenced = || Event::Fenced { reason: "attempt 3 has begun".to_owned() };
    let fail = || Action::Fail { reason: "attempt 3 has begun".to_owned() };
    assert_eq!(usual().at(5, fenced()), [fail()]);
    let mut coordinator = usual();
    coordinator.at(10, Event::Tick);
    assert_eq!(coordinator.clone().at(11, fenced()), [abort(ONE, "attempt 3 has begun"), fail()]);
    coordinator.acknowledged(11, ONE);
    assert_eq!(coordinator.at(12, fenced()), [fail()]);
    assert_eq!(coordinator.at(13, Event::Written { checkpoint: ONE }), []);
}

#[test]
fn a_job_without_tasks_ends_with_a_checkpoint_too() {
    let mut coordinator = Coordinator::new(settings(None, 60, None), 0, ONE);
    assert_eq!(coordinator.wake_at(), Some(Duration::ZERO));
    assert_eq!(coordinator.at(0, Event::Tick), [Action::Trigger(ONE), Action::WriteManifest(ONE)]);
}

/// Made-up events: some fit what is in flight, others are late or wrong.
#[derive(Clone, Debug)]
enum Deed {
    Tick,
    Acknowledge(usize, u64),
    AcknowledgeAll,
    Decline(usize, u64),
    Rest(usize),
    Written(u64),
    NotWritten(u64),
    Fenced,
}

fn deeds() -> impl Strategy<Value = Deed> {
    // How far behind the newest one.
    let behind = || prop_oneof![8 => Just(0_u64), 1 => 1_u64..4];
    prop_oneof![
        20 => Just(Deed::Tick),
        20 => (0_usize..4, behind()).prop_map(|(task, behind)| Deed::Acknowledge(task, behind)),
        10 => Just(Deed::AcknowledgeAll),
        4 => (0_usize..4, behind()).prop_map(|(task, behind)| Deed::Decline(task, behind)),
        4 => (0_usize..4).prop_map(Deed::Rest),
        15 => behind().prop_map(Deed::Written),
        6 => behind().prop_map(Deed::NotWritten),
        1 => Just(Deed::Fenced),
    ]
}

/// What an onlooker knows, from events and actions alone.
#[derive(Debug, Default)]
struct Onlooker {
    newest: u64,
    in_flight: Option<CheckpointId>,
    acknowledged: Vec<bool>,
    writing: bool,
    at_rest: Vec<bool>,
    /// Whether all were at rest when the newest was triggered.
    is_last: bool,
    failures: u32,
    is_over: bool,
}

impl Onlooker {
    fn see(&mut self, event: &Event) {
        match event {
            Event::Acknowledged { task, checkpoint } if self.in_flight == Some(*checkpoint) => {
                self.acknowledged[*task] = true
            }
            Event::AtRest { task } => self.at_rest[*task] = true,
            _ => {}
        }
    }

    fn check(&mut self, event: &Event, action: &Action, tolerable_failures: Option<u32>) {
        let all = |of: &[bool]| of.iter().all(|one| *one);
        assert!(!self.is_over, "{action:?} after the end");
        match action {
            Action::Trigger(id) => {
                assert_eq!(self.in_flight, None);
                assert!(id.0 > self.newest, "ids rise");
                (self.newest, self.in_flight, self.writing) = (id.0, Some(*id), false);
                self.acknowledged.fill(false);
                self.is_last = all(&self.at_rest);
            }
            Action::WriteManifest(id) => {
                assert!(self.in_flight == Some(*id) && !self.writing && all(&self.acknowledged));
                self.writing = true;
            }
            Action::Complete(id) => {
                assert!(self.writing && self.in_flight.take() == Some(*id));
                assert_eq!(*event, Event::Written { checkpoint: *id });
                (self.failures, self.writing) = (0, false);
            }
            Action::Abort { checkpoint, .. } => {
                assert_eq!(self.in_flight.take(), Some(*checkpoint));
                let known = matches!(event, Event::NotWritten { checkpoint: named, .. } if named == checkpoint);
                assert!(!self.writing || known, "what may exist was aborted");
                (self.failures, self.writing) = (self.failures + 1, false);
            }
            Action::Finish(id) => {
                assert!(self.in_flight.is_none() && self.is_last && id.0 == self.newest && all(&self.at_rest));
                assert_eq!(*event, Event::Written { checkpoint: *id });
                self.is_over = true;
            }
            Action::Fail { .. } => {
                let too_many = tolerable_failures.is_some_and(|tolerable| self.failures > tolerable);
                assert!(too_many || matches!(event, Event::Fenced { .. }));
                self.is_over = true;
            }
        }
    }
}

proptest! {
    #[test]
    fn no_order_of_events_breaks_the_rules(
        interval in option::of(1_u64..30),
        timeout in 1_u64..60,
        tolerable in option::of(0_u32..4),
        tasks in 1_usize..5,
        first in 1_u64..5,
        steps in vec((0_u64..20, deeds()), 0..200),
    ) {
        let mut coordinator = Coordinator::new(settings(interval, timeout, tolerable), tasks, CheckpointId(first));
        let mut onlooker = Onlooker { newest: first - 1, acknowledged: vec![false; tasks], at_rest: vec![false; tasks], ..Onlooker::default() };
        let mut now = Duration::ZERO;
        for (wait, deed) in steps {
            now += seconds(wait);
            let id = |behind: u64| CheckpointId(onlooker.newest.saturating_sub(behind));
            let events = match deed {
                Deed::Tick => vec![Event::Tick],
                Deed::Acknowledge(task, behind) => vec![Event::Acknowledged { task: task % tasks, checkpoint: id(behind) }],
                Deed::AcknowledgeAll => (0..tasks).map(|task| Event::Acknowledged { task, checkpoint: id(0) }).collect(),
                Deed::Decline(task, behind) => vec![Event::Declined { task: task % tasks, checkpoint: id(behind), reason: String::new() }],
                Deed::Rest(task) => vec![Event::AtRest { task: task % tasks }],
                Deed::Written(behind) => vec![Event::Written { checkpoint: id(behind) }],
                Deed::NotWritten(behind) => vec![Event::NotWritten { checkpoint: id(behind), reason: String::new() }],
                Deed::Fenced => vec![Event::Fenced { reason: String::new() }],
            };
            for event in events {
                let mut actions = Vec::new();
                coordinator.handle(now, event.clone(), &mut actions);
                onlooker.see(&event);
                for action in &actions {
                    onlooker.check(&event, action, tolerable);
                }
                prop_assert_eq!(coordinator.in_flight().filter(|_| !onlooker.is_over), onlooker.in_flight.filter(|_| !onlooker.is_over));
                // Nothing that is due is left undone.
                let begun = actions.iter().any(|action| matches!(action, Action::Trigger(_)));
                prop_assert!(begun || coordinator.wake_at().is_none_or(|at| at > now));
                let all_rest = onlooker.at_rest.iter().all(|at_rest| *at_rest);
                prop_assert!(onlooker.is_over || onlooker.writing || !all_rest || coordinator.wake_at().is_some());
            }
        }
    }

    /// Tasks acknowledge within the timeout and come to rest, and the storage fails a few times only: checkpoints complete and the job ends.
    #[test]
    fn with_tasks_that_behave_checkpoints_complete(
        interval in option::of(1_u64..30),
        tasks in 1_usize..5,
        delays in vec((0_u64..20, 0_u64..20), 1..10),
        failing in vec(any::<bool>(), 0..12),
        rest_at in 0_u64..400,
    ) {
        let mut coordinator = Coordinator::new(settings(interval, 60, None), tasks, ONE);
        let mut failing = failing.into_iter();
        let mut delays = delays.iter().cycle();
        // What will happen, by when; and in the order in which it was caused.
        let mut agenda: Vec<(Duration, Event)> = (0..tasks).map(|task| (seconds(rest_at + task as u64), Event::AtRest { task })).collect();
        let (mut complete, mut finished, mut actions) = (Vec::new(), None, Vec::new());
        for _ in 0..10_000 {
            let next = (0..agenda.len()).min_by_key(|index| agenda[*index].0);
            let (now, event) = match (next, coordinator.wake_at()) {
                (Some(next), tick) if tick.is_none_or(|tick| agenda[next].0 <= tick) => agenda.remove(next),
                (_, Some(tick)) => (tick, Event::Tick),
                (_, None) => break,
            };
            coordinator.handle(now, event, &mut actions);
            for action in actions.drain(..) {
                let (first, second) = *delays.next().expect("it is endless");
                match action {
                    Action::Trigger(checkpoint) => agenda.extend((0..tasks).map(|task| {
                        let delay = if task % 2 == 0 { first } else { second };
                        (now + seconds(delay), Event::Acknowledged { task, checkpoint })
                    })),
                    Action::WriteManifest(checkpoint) => {
                        let fails = failing.next().unwrap_or(false);
                        let outcome = if fails { not_written(checkpoint) } else { Event::Written { checkpoint } };
                        agenda.push((now + seconds(first), outcome));
                    }
                    Action::Complete(id) => complete.push(id),
                    Action::Abort { reason, .. } => prop_assert!(reason.contains("not written"), "{}", reason),
                    Action::Finish(id) => finished = Some(id),
                    Action::Fail { reason } => prop_assert!(false, "{}", reason),
                }
            }
        }
        prop_assert!(finished.is_some() && finished.as_ref() == complete.last());
        prop_assert!(complete.is_sorted_by(|a, b| a < b));
        if let Some(interval) = interval {
            // Each takes 40 s at most, and at most twelve fail.
            prop_assert!(complete.len() as u64 >= (rest_at / (interval + 40)).saturating_sub(12));
        }
    }
}

#[test]
fn one_that_is_asked_for_begins_at_once() {
    let mut coordinator = usual();
    assert_eq!(coordinator.at(3, Event::Asked), [Action::Trigger(ONE)]);
    assert!(!coordinator.is_asked());
}

#[test]
fn one_that_is_asked_for_waits_for_the_one_in_flight() {
    let mut coordinator = usual();
    coordinator.at(10, Event::Tick);
    assert_eq!(coordinator.at(11, Event::Asked), []);
    assert!(coordinator.is_asked());
    coordinator.acknowledged(12, ONE);
    assert_eq!(coordinator.at(13, Event::Written { checkpoint: ONE }), [Action::Complete(ONE), Action::Trigger(TWO)]);
}

#[test]
fn one_that_is_asked_for_waits_a_little_after_a_failure() {
    let mut coordinator = Coordinator::new(settings(None, 60, None), 2, ONE);
    assert_eq!(coordinator.at(3, Event::Asked), [Action::Trigger(ONE)]);
    assert_eq!(coordinator.at(4, declined(ONE)), [abort(ONE, "task 1 declined: the disk is full")]);
    assert_eq!(coordinator.at(4, Event::Asked), []);
    assert!(coordinator.is_asked());
    assert_eq!(coordinator.wake_at(), Some(seconds(5)));
    assert_eq!(coordinator.at(5, Event::Tick), [Action::Trigger(TWO)]);
}
