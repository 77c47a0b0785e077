//! What may follow what.

use super::*;
use crate::{
    job::version::StateRegister,
    operator::{Hooks, InputDescriptor, OutputDescriptor, StateKind},
    state::{StateIds, Ttl},
    stream::EventTime,
};

fn descriptor(states: Vec<StateDescriptor>) -> Descriptor {
    let input = InputDescriptor { name: "in".into(), key: Some(Schema::u64()), value: Schema::u64(), broadcast: false };
    let output = OutputDescriptor { name: "out".into(), keying: Keying::Keep, value: Schema::u64() };
    Descriptor {
        name: "sum".into(),
        version: "1".into(),
        inputs: vec![input],
        outputs: vec![output],
        states,
        hooks: Hooks::default(),
    }
}

fn state(name: &str, version: u16, schema: Schema, migrates_from: &[u16]) -> StateDescriptor {
    StateDescriptor {
        name: name.into(),
        kind: StateKind::Value,
        version,
        schema,
        migrates_from: migrates_from.to_vec(),
        map_key: None,
        ttl: None,
        prefetch: true,
        on_end: false,
    }
}

/// Compares two versions of an operator of which there are values of these schema versions in the first state.
fn compared(before: Vec<StateDescriptor>, there: &[u16], now: Vec<StateDescriptor>, dropped: &[&str]) -> Comparison {
    let states = DescribedState::of(&descriptor(before), &StateIds::default());
    let versions = BTreeMap::from([(0, there.iter().copied().collect())]);
    let dropped =
        dropped.iter().map(|state| DropState { operator: "sum".into(), state: (*state).to_owned() }).collect();
    let there = StateThere { states: &states, versions: &versions };
    compare_states("sum", &there, &descriptor(now), &dropped, Occasion::Exchange)
}

fn kinds(comparison: &Comparison) -> Vec<DifferenceKind> {
    comparison.differences.iter().map(|difference| difference.kind).collect()
}

fn one(version: u16, migrates_from: &[u16]) -> StateDescriptor {
    let schema = if version == 1 { Schema::u64() } else { Schema::json() };
    state("total", version, schema, migrates_from)
}

#[test]
fn the_same_states_are_compatible_whatever_their_order() {
    let both = || vec![one(1, &[]), state("last", 1, Schema::u64(), &[])];
    let turned = || both().into_iter().rev().collect();
    assert_eq!(compared(both(), &[1], both(), &[]), Comparison::default());
    assert_eq!(compared(both(), &[1], turned(), &[]), Comparison::default());
}

#[test]
fn every_version_of_which_there_are_values_has_to_be_migrated() {
    let migrated = compared(vec![one(2, &[1])], &[1, 2], vec![one(3, &[1, 2])], &[]);
    assert_eq!(kinds(&migrated), [DifferenceKind::Migrated]);
    assert_eq!((&migrated.migrations[0].from, migrated.migrations[0].to), (&vec![1, 2], 3));
    let lacks_first = compared(vec![one(2, &[1])], &[1, 2], vec![one(3, &[2])], &[]);
    assert_eq!(kinds(&lacks_first), [DifferenceKind::Incompatible]);
    let text = &lacks_first.differences[0].text;
    assert_eq!(
        text,
        "operator sum, state total: there may be values of schema version 1, but the operator has version 3 and migrates from 2 only"
    );
    // Of what was never written nothing has to be migrated but what the last version may write until the exchange.
    assert_eq!(kinds(&compared(vec![one(2, &[1])], &[], vec![one(3, &[2])], &[])), [DifferenceKind::Migrated]);
    let back = compared(vec![one(2, &[1])], &[2], vec![one(1, &[])], &[]);
    assert_eq!(kinds(&back), [DifferenceKind::Incompatible], "there is no way back to an older version");
}

#[test]
fn a_schema_may_not_change_under_the_same_version() {
    let changed = compared(vec![one(1, &[])], &[1], vec![state("total", 1, Schema::json(), &[])], &[]);
    assert_eq!(kinds(&changed), [DifferenceKind::Incompatible]);
    assert!(changed.differences[0].text.contains("under the same schema version 1"), "{}", changed.differences[0].text);
}

#[test]
fn state_that_nobody_takes_has_to_be_named() {
    let refused = compared(vec![one(1, &[])], &[1], vec![state("other", 1, Schema::u64(), &[])], &[]);
    assert_eq!(kinds(&refused), [DifferenceKind::Incompatible, DifferenceKind::New]);
    assert_eq!(
        refused.differences[0].text,
        "operator sum, state total: nobody takes what is in it (--drop-state sum/total gives it up)"
    );
    let named = compared(vec![one(1, &[])], &[1], vec![], &["total"]);
    assert_eq!(kinds(&named), [DifferenceKind::Dropped]);
}

#[test]
fn all_differences_are_told_at_once() {
    let mut other = one(2, &[]);
    other.kind = StateKind::KeyedMap;
    other.map_key = Some(Schema::u64());
    other.ttl = Some(Ttl { ms: 5, on_read: false });
    let comparison = compared(vec![one(1, &[])], &[1], vec![other], &[]);
    assert_eq!((comparison.refusals().count(), comparison.differences.len()), (2, 3), "{comparison:?}");
}

#[test]
fn a_time_to_live_may_begin_change_and_end_at_any_time() {
    let with = |ms: Option<u64>| {
        let ttl = ms.map(|ms| Ttl { ms, on_read: false });
        descriptor(vec![StateDescriptor { ttl, ..one(1, &[]) }])
    };
    let compared = |before, now, occasion| {
        let states = DescribedState::of(&with(before), &StateIds::default());
        let there = StateThere { states: &states, versions: &BTreeMap::new() };
        let comparison = compare_states("sum", &there, &with(now), &BTreeSet::new(), occasion);
        assert_eq!(kinds(&comparison), [DifferenceKind::Changed]);
        comparison.differences[0].text.clone()
    };
    for occasion in [Occasion::Exchange, Occasion::Restore] {
        let begins =
            "operator sum, state total: the time to live is 2 ms and was none; for what is there it counts from now on";
        assert_eq!(compared(None, Some(2), occasion), begins);
        let changes = "operator sum, state total: the time to live is 2 ms and was 1 ms";
        assert_eq!(compared(Some(1), Some(2), occasion), changes);
        let ends = "operator sum, state total: the time to live is none and was 2 ms";
        assert_eq!(compared(Some(2), None, occasion), ends);
    }
}

#[test]
fn what_was_there_before_its_time_to_live_is_known_by_when_that_began() {
    let with = |ms: Option<u64>| {
        let ttl = ms.map(|ms| Ttl { ms, on_read: false });
        descriptor(vec![StateDescriptor { ttl, ..one(1, &[]) }])
    };
    let mut register = StateRegister::default();
    let mut after = |ms: Option<u64>, now: i64| {
        let next = std::mem::take(&mut register).admit(&with(ms), EventTime(now));
        // By way of a manifest.
        let described = DescribedState::of(&with(ms), &next.ids(&with(ms)));
        register = StateRegister::of(&described, next.next());
        described[0].ttl_since.map(|since| since.0)
    };
    assert_eq!(after(None, 1), None);
    assert_eq!(after(Some(5), 2), Some(2));
    assert_eq!(after(Some(7), 3), Some(2), "a changed one goes on");
    assert_eq!(after(None, 4), None);
    assert_eq!(after(Some(5), 5), Some(5), "it begins anew");
    let mut fresh = StateRegister::default();
    for now in [1, 2] {
        fresh = fresh.admit(&with(Some(5)), EventTime(now));
        assert_eq!(fresh.ids(&with(Some(5))).ttl_since(0), None, "there was nothing before");
    }
}

#[test]
fn inputs_and_outputs_stay_what_they_are() {
    let before = descriptor(vec![]);
    assert_eq!(compare_ends("sum", &before, &before), Comparison::default());
    let mut now = descriptor(vec![]);
    now.inputs[0].key = Some(Schema::text());
    now.outputs[0].value = Schema::text();
    now.outputs[0].keying = Keying::Drop;
    assert_eq!(compare_ends("sum", &before, &now).refusals().count(), 3);
    now.inputs.push(InputDescriptor { name: "rules".into(), ..now.inputs[0].clone() });
    let text = &compare_ends("sum", &before, &now).differences[0].text;
    assert_eq!(text, "operator sum: its inputs are in, rules and were in");
}
