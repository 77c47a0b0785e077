//! State whose type changes: an operator with all kinds of state, in three versions, each of which goes on with what the others left.

mod every;
mod failures;
mod misfits;

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_sdk::EventTime;
use wasmill_sdk::testing::Setup;

use every::{Do, EveryHarness, KEYED, Kind, Rules, Seen, TASK, V1, V2, V3, is_expiring, name};

/// Does all of it for a key, in one record.
fn send<T: every::Kept>(harness: &mut EveryHarness<T>, key: &str, deeds: &[Do]) {
    harness.send(key, (deeds.to_vec(), false));
}

fn all(deed: fn(Kind) -> Do) -> Vec<Do> {
    KEYED.into_iter().chain(TASK).map(deed).collect()
}

/// A harness of version 1 that has 5 in everything, for two keys and the task.
fn filled() -> EveryHarness<V1> {
    let mut harness = EveryHarness::<V1>::new();
    for key in ["a", "b"] {
        send(&mut harness, key, &KEYED.map(|kind| Do::Add(kind, 5)));
    }
    send(&mut harness, "a", &TASK.map(|kind| Do::Add(kind, 5)));
    harness.send_to::<Rules<V1>>((), (1_u8, 5_u64));
    harness.send_to::<Rules<V1>>((), (2_u8, 6_u64));
    harness
}

fn versions<T: every::Kept>(harness: &mut EveryHarness<T>, kind: Kind) -> Vec<(u16, usize)> {
    harness.state_versions(name(kind)).into_iter().collect()
}

#[test]
fn what_is_only_read_keeps_its_version() {
    for (batch, slots) in [(1, 1), (1, 9), (9, 1), (9, 9)] {
        let setup = Setup::default().batch_records(batch).slots_max(slots);
        let mut harness = EveryHarness::<V2>::with(setup.restore(filled().snapshot()));
        for key in ["a", "b", "a", "b"] {
            send(&mut harness, key, &all(Do::Look));
        }
        let seen = vec![vec![5]; KEYED.len() + TASK.len()];
        assert_eq!(harness.take_outputs::<Seen>(), vec![seen; 4]);
        for kind in KEYED {
            // To look at what expires then begins its time anew: it is written.
            let version = if kind == Kind::OnRead { 2 } else { 1 };
            assert_eq!(versions(&mut harness, kind), [(version, 2)], "{kind:?}");
        }
        for kind in TASK {
            assert_eq!(versions(&mut harness, kind), [(1, 1)], "{kind:?}");
        }
        send(&mut harness, "a", &[Do::Rules]);
        assert_eq!(harness.take_outputs::<Seen>(), [[[1, 5, 2, 6]]]);
        assert_eq!(harness.state_versions("rules"), [(1, 2)].into());
        assert!(harness.take_failures().is_empty());
    }
}

#[test]
fn what_is_written_has_the_current_version_and_the_rest_keeps_its_own() {
    let mut harness: EveryHarness<V2> = filled().upgrade();
    send(&mut harness, "a", &all(|kind| Do::Add(kind, 1)));
    for kind in KEYED {
        let expected = match kind {
            // Items and entries that were not written stay as they are.
            Kind::List => [(1, 2), (2, 1)],
            _ => [(1, 1), (2, 1)],
        };
        assert_eq!(versions(&mut harness, kind), expected, "{kind:?}");
    }
    // These are written whole.
    for kind in TASK {
        assert_eq!(versions(&mut harness, kind), [(2, 2)], "{kind:?}");
    }
    harness.send_to::<Rules<V2>>((), (1_u8, 7_u64));
    assert_eq!(harness.state_versions("rules"), [(1, 1), (2, 1)].into());

    assert_eq!(harness.state::<V2>("value", "a"), Some(V2 { number: 6, doubled: 12 }));
    assert_eq!(harness.state::<V2>("value", "b"), Some(V2 { number: 5, doubled: 10 }));
    assert_eq!(harness.list::<V2>("list", "a"), [5, 1].map(|number| V2 { number, doubled: 2 * number }));
    assert_eq!(harness.broadcast::<u8, V2>("rules")[1], (2, V2 { number: 6, doubled: 12 }));
}

#[test]
fn a_state_may_hold_values_of_several_former_versions() {
    let mut harness: EveryHarness<V2> = filled().upgrade();
    send(&mut harness, "a", &all(|kind| Do::Add(kind, 1)));
    let mut harness: EveryHarness<V3> = harness.upgrade();
    for key in ["a", "b"] {
        send(&mut harness, key, &[Do::Look(Kind::Value), Do::Look(Kind::List), Do::Look(Kind::Map(1)), Do::Rules]);
    }
    let results = harness.take_outputs::<Seen>();
    assert_eq!(results[0], [vec![6], vec![5, 1], vec![6], vec![1, 5, 2, 6]]);
    assert_eq!(results[1], [vec![5], vec![5], vec![5], vec![1, 5, 2, 6]]);
    assert_eq!(versions(&mut harness, Kind::Value), [(1, 1), (2, 1)]);
    send(&mut harness, "b", &all(|kind| Do::Add(kind, 1)));
    assert_eq!(versions(&mut harness, Kind::Value), [(2, 1), (3, 1)]);
    assert_eq!(versions(&mut harness, Kind::Map(1)), [(2, 1), (3, 1)]);
    assert_eq!(harness.list::<V3>("list", "a").len(), 2);
    assert_eq!(harness.state::<V3>("value", "b"), Some(V3 { text: "6".to_owned() }));
}

#[test]
fn another_instance_finds_what_was_left() {
    let mut harness: EveryHarness<V3> = filled().upgrade();
    for key in ["a", "b"] {
        send(&mut harness, key, &[Do::Look(Kind::Value)]);
    }
    harness.reopen();
    send(&mut harness, "a", &[Do::Add(Kind::Value, 1), Do::Add(Kind::Items, 1)]);
    harness.reopen();
    send(&mut harness, "a", &[Do::Look(Kind::Value), Do::Look(Kind::Items)]);
    assert_eq!(harness.take_outputs::<Seen>().pop(), Some(vec![vec![6], vec![5, 1]]));
}

#[test]
fn a_time_to_live_goes_on() {
    let mut former = filled();
    former.set_now(EventTime::from_millis(every::TTL - 1));
    let mut harness: EveryHarness<V2> = former.upgrade();
    let look = [Kind::OnRead, Kind::OnWrite].map(Do::Look);
    send(&mut harness, "a", &look);
    harness.set_now(EventTime::from_millis(every::TTL));
    send(&mut harness, "a", &look);
    send(&mut harness, "b", &look);
    assert_eq!(harness.take_outputs::<Seen>(), [[vec![5], vec![5]], [vec![5], vec![]], [vec![], vec![]]]);
}

fn kind() -> impl Strategy<Value = Kind> {
    let plain: Vec<Kind> = KEYED.into_iter().chain(TASK).filter(|kind| !is_expiring(*kind)).collect();
    prop_oneof![6 => proptest::sample::select(plain), 2 => (0..3_u8).prop_map(Kind::Map)]
}

fn deed() -> impl Strategy<Value = Do> {
    prop_oneof![
        4 => (kind(), 0..9_u64).prop_map(|(kind, number)| Do::Add(kind, number)),
        1 => kind().prop_map(Do::Clear),
        3 => kind().prop_map(Do::Look),
        1 => Just(Do::LookAtMap),
        1 => Just(Do::Rules),
    ]
}

/// What is sent: deeds for a key, or an entry of what is broadcast.
#[derive(Clone, Debug)]
enum Step {
    Record(String, Vec<Do>, bool),
    Rule(u8, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => ("[a-c]", proptest::collection::vec(deed(), 0..5), proptest::bool::weighted(0.25))
            .prop_map(|(key, deeds, fails)| Step::Record(key, deeds, fails)),
        1 => (0..3_u8, 0..9_u64).prop_map(|(key, number)| Step::Rule(key, number)),
    ]
}

fn take<T: every::Kept>(harness: &mut EveryHarness<T>, steps: &[Step]) -> Vec<Seen> {
    for step in steps {
        match step.clone() {
            Step::Record(key, deeds, fails) => harness.send(key.as_str(), (deeds, fails)),
            Step::Rule(key, number) => harness.send_to::<Rules<T>>((), (key, number)),
        }
    }
    harness.take_outputs::<Seen>()
}

/// All values, as version 3 has them.
fn everything(harness: &mut EveryHarness<V3>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for key in ["a", "b", "c"] {
        let values = ["value", "reducing", "aggregating"].map(|name| harness.state::<V3>(name, key));
        let space = harness.state_in::<V3>("space", key, every::SPACE);
        let lists = (harness.list::<V3>("list", key), harness.map::<u8, V3>("map", key));
        all.insert(key.to_owned(), format!("{values:?} {space:?} {lists:?}"));
    }
    let lists = ["items", "union"].map(|name| harness.operator_list::<V3>(name));
    all.insert("task".to_owned(), format!("{lists:?} {:?}", harness.broadcast::<u8, V3>("rules")));
    all
}

proptest! {
    /// Where nothing is lost by migrating, it does not matter when it is done.
    #[test]
    fn an_upgrade_at_any_point_changes_no_result(
        steps in proptest::collection::vec(step(), 0..60),
        (first, second) in (0_usize..60, 0_usize..60),
        (batch, slots) in (1_usize..20, 1_usize..4),
    ) {
        let setup = Setup::default().batch_records(batch).slots_max(slots);
        let mut straight = EveryHarness::<V3>::with(setup.clone());
        let expected = take(&mut straight, &steps);

        let (first, second) = (first.min(second).min(steps.len()), first.max(second).min(steps.len()));
        let mut harness = EveryHarness::<V1>::with(setup);
        let mut results = take(&mut harness, &steps[..first]);
        let mut harness: EveryHarness<V2> = harness.upgrade();
        results.extend(take(&mut harness, &steps[first..second]));
        let mut harness: EveryHarness<V3> = harness.upgrade();
        results.extend(take(&mut harness, &steps[second..]));

        prop_assert_eq!(results, expected);
        prop_assert_eq!(everything(&mut harness), everything(&mut straight));
    }
}
