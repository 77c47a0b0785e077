//! Versions that can't go on with what another one left, and declarations that contradict themselves.

use std::panic::catch_unwind;

use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::{Harness, Setup, Snapshot};

/// An operator that declares states and has no use for them.
macro_rules! operator {
    ($name:ident by $key:ty: |$states:ident| $declare:block) => {
        struct $name;

        impl Operator for $name {
            type Key<'a> = $key;
            type Input<'a> = ();
            type Output<'a> = ();
            fn declare($states: &mut Declaration) -> Self {
                $declare
                Self
            }
            fn process(&mut self, (): (), _: &mut Context<Self>) -> Result<()> {
                Ok(())
            }
        }
    };
}

operator!(Former by u64: |states| {
    let kept: ValueState<u64> = states.value("kept");
    let kind: ValueState<u64> = states.value("kind");
    let _: MapState<u32, u64> = states.map("map-key");
    let _: ValueState<u64> = states.value("same-version");
    let lower: ValueState<u64> = states.value("lower");
    let _: ListState<u64> = states.list("unmigrated");
    let _: ListState<u64> = states.list("empty");
    let _: OperatorList<u64> = states.operator_list("gone");
    states.schema_version(&kept, 2);
    states.migrates_from(&kept, 1, |old: u32| Ok(u64::from(old)));
    states.schema_version(&lower, 4);
    states.visit_at_end(&kind);
});

operator!(Current by u64: |states| {
    let _: OperatorList<u64> = states.operator_list("new");
    // In another place, and migrated from the version of which there are values.
    let empty: ListState<String> = states.list("empty");
    states.schema_version(&empty, 9);
    let kept: ValueState<String> = states.value("kept");
    states.schema_version(&kept, 3);
    states.migrates_from(&kept, 2, |old: u64| Ok(old.to_string()));
    let _: ReducingState<u64> = states.reducing("kind", |a, b| a + b);
    let _: MapState<u64, u64> = states.map("map-key");
    let _: ValueState<String> = states.value("same-version");
    let lower: ValueState<u64> = states.value("lower");
    states.schema_version(&lower, 3);
    let unmigrated: ListState<String> = states.list("unmigrated");
    states.schema_version(&unmigrated, 3);
    states.migrates_from(&unmigrated, 2, |old: u64| Ok(old.to_string()));
});

fn left() -> Snapshot {
    let mut former = Harness::<Former>::new();
    former.put_state_bytes("kept", 7_u64, 2, &7_u64.to_le_bytes());
    former.put_state_bytes("unmigrated", 7_u64, 1, &7_u64.to_le_bytes());
    former.snapshot()
}

#[test]
fn all_that_does_not_fit_is_said_at_once() {
    let error = Harness::<Current>::open(Setup::default().restore(left())).err().expect("it does not fit");
    let expected = [
        "the operator can't go on with this state:",
        "state \"kind\": the kind was value and is reducing",
        "state \"map-key\": the type of the map's keys was {\"encoding\":\"postcard\",\"type\":\"u32\"} and is {\"encoding\":\"u64\"}",
        "state \"same-version\": the type, under the same schema version 1, was {\"encoding\":\"u64\"} and is {\"encoding\":\"text\"}",
        "state \"lower\": the schema version was 4 and is 3, which is lower",
        "state \"unmigrated\": nothing migrates from schema version 1 to 3, and there are values of it: 1",
        "state \"gone\" is not declared any more, so nobody takes what is in it",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_fits_is_taken_and_what_is_new_begins_empty() {
    let mut snapshot = left();
    for name in ["kind", "map-key", "same-version", "lower", "unmigrated", "gone"] {
        snapshot = snapshot.drop_state(name);
    }
    let mut harness = Harness::<Current>::restore(snapshot.clone());
    assert_eq!(harness.state::<String>("kept", 7_u64).as_deref(), Some("7"));
    assert_eq!((harness.state_len("kind"), harness.state_len("unmigrated")), (0, 0));
    assert!(harness.operator_list::<u64>("new").is_empty());
    // A snapshot can be used many times, and is not changed by that.
    assert_eq!(Harness::<Current>::restore(snapshot).state_versions("kept"), [(2, 1)].into());
    assert!(catch_unwind(|| left().drop_state("misspelt")).is_err());
}

#[test]
fn values_of_a_version_before_the_former_one_need_a_function_too() {
    let mut former = Harness::<Former>::new();
    former.put_state_bytes("kept", 8_u64, 1, &[8]);
    assert_eq!(former.state::<u64>("kept", 8_u64), Some(8));
    let error = Harness::<Current>::open(Setup::default().restore(former.snapshot())).err();
    let expected = "state \"kept\": nothing migrates from schema version 1 to 3, and there are values of it: 1";
    assert!(error.is_some_and(|text| text.contains(expected)));
}

#[test]
fn keys_of_another_type_do_not_fit() {
    operator!(ByNumber by u64: |states| { let _: ValueState<u64> = states.value("state"); });
    operator!(ByText by &'a str: |states| { let _: ValueState<u64> = states.value("state"); });
    let error = Harness::<ByText>::open(Setup::default().restore(Harness::<ByNumber>::new().snapshot())).err();
    let expected = "state \"state\": the type of the key was {\"encoding\":\"u64\"} and is {\"encoding\":\"text\"}";
    assert!(error.is_some_and(|text| text.ends_with(expected)));
}

#[test]
fn the_ends_of_an_operator_stay_what_they_are_when_it_is_exchanged() {
    struct Before;
    impl Operator for Before {
        type Key<'a> = u64;
        type Input<'a> = u64;
        type Output<'a> = u64;
        fn declare(_: &mut Declaration) -> Self {
            Self
        }
        fn process(&mut self, _: u64, _: &mut Context<Self>) -> Result<()> {
            Ok(())
        }
    }
    struct Now;
    impl Operator for Now {
        type Key<'a> = &'a str;
        type Input<'a> = u32;
        type Output<'a> = Unkeyed<&'a str>;
        fn declare(_: &mut Declaration) -> Self {
            Self
        }
        fn process(&mut self, _: u32, _: &mut Context<Self>) -> Result<()> {
            Ok(())
        }
    }
    let text = panic_text(|| {
        let _: Harness<Now> = Harness::<Before>::new().upgrade();
    });
    let expected = [
        "the operator can't take the place of the other one:",
        "the key of the input \"in\" was {\"encoding\":\"u64\"} and is {\"encoding\":\"text\"}",
        "the type of the input \"in\" was {\"encoding\":\"u64\"} and is {\"encoding\":\"postcard\",\"type\":\"u32\"}",
        "the key of the output was that of the record and is none",
        "the type of the output was {\"encoding\":\"u64\"} and is {\"encoding\":\"text\"}",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

/// The text with which declaring an operator panics.
fn refusal<O: Operator>() -> String {
    panic_text(|| drop(Harness::<O>::new()))
}

fn panic_text(panics: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panicked = catch_unwind(panics).expect_err("it is refused");
    match panicked.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast_ref::<&str>().expect("a text")).to_owned(),
    }
}

#[test]
fn declarations_that_contradict_themselves_are_refused() {
    operator!(Twice by u64: |states| {
        let state: ValueState<u64> = states.value("state");
        states.schema_version(&state, 3);
        states.migrates_from(&state, 1, |old: u32| Ok(old.into()));
        states.migrates_from(&state, 1, |old: u16| Ok(old.into()));
    });
    assert_eq!(refusal::<Twice>(), "state \"state\" has two functions that migrate from schema version 1");

    operator!(Zero by u64: |states| {
        let state: ValueState<u64> = states.value("state");
        states.migrates_from(&state, 0, |old: u32| Ok(old.into()));
    });
    assert_eq!(refusal::<Zero>(), "schema versions begin at 1");

    operator!(Same by u64: |states| {
        let state: ValueState<u64> = states.value("state");
        states.migrates_from(&state, 1, |old: u32| Ok(old.into()));
    });
    let text = "state \"state\" migrates from schema version 1 but has version 1: former versions are lower";
    assert_eq!(refusal::<Same>(), text);

    operator!(Above by u64: |states| {
        let state: ValueState<u64> = states.value("state");
        states.migrates_from(&state, 3, |old: u32| Ok(old.into()));
        states.schema_version(&state, 2);
    });
    let text = "state \"state\" migrates from schema version 3 but has version 2: former versions are lower";
    assert_eq!(refusal::<Above>(), text);
}

#[test]
fn former_versions_are_described_in_ascending_order() {
    operator!(Many by u64: |states| {
        let state: ValueState<u64> = states.value("state");
        states.migrates_from(&state, 5, |old: u32| Ok(old.into()));
        states.migrates_from(&state, 1, |old: u32| Ok(old.into()));
        states.schema_version(&state, 7);
        states.migrates_from(&state, 2, |old: u32| Ok(old.into()));
    });
    assert_eq!(Harness::<Many>::new().descriptor().states[0].migrates_from, [1, 2, 5]);
}
