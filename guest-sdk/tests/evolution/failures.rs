//! Values that can't be migrated: who fails, what is said, and what stays.

use std::time::Duration;

use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::{Harness, Setup};

/// What version 1 kept, whose numbers may be anything.
struct Former {
    states: States<u64>,
}

/// Takes no 13.
struct Current {
    states: States<String>,
}

struct States<T> {
    value: ValueState<T>,
    space: ValueState<T>,
    expiring: ValueState<T>,
    list: ListState<T>,
    map: MapState<u8, T>,
    rules: BroadcastState<u8, T>,
}

impl<T: wasmill_sdk::Value + Clone> States<T> {
    fn declare(states: &mut Declaration) -> Self {
        let these = Self {
            value: states.value("value"),
            space: states.value("space"),
            expiring: states.value("expiring"),
            list: states.list("list"),
            map: states.map("map"),
            rules: states.broadcast("rules"),
        };
        states.namespaced(&these.space);
        states.ttl(&these.expiring, Duration::from_secs(1), Refresh::OnReadAndWrite);
        these
    }
}

impl Operator for Former {
    type Key<'a> = &'a str;
    type Input<'a> = u64;
    type Output<'a> = ();

    fn declare(states: &mut Declaration) -> Self {
        Self { states: States::declare(states) }
    }

    fn process(&mut self, number: u64, ctx: &mut Context<Self>) -> Result<()> {
        let States { value, space, expiring, list, map, .. } = &self.states;
        value.set(ctx, number)?;
        space.set(ctx, number)?;
        expiring.set(ctx, number)?;
        list.add_all(ctx, &[1, number])?;
        map.insert(ctx, &1, number)
    }
}

struct FormerRules;

impl OtherInput for FormerRules {
    type Operator = Former;
    type Value<'a> = u64;
    const KIND: InputKind = InputKind::Broadcast;

    fn name() -> String {
        "rules".to_owned()
    }

    fn process(former: &mut Former, number: u64, ctx: &mut Context<Former>) -> Result<()> {
        former.states.rules.insert(ctx, number as u8, number)
    }
}

fn migrate(number: u64) -> Result<String> {
    match number {
        13 => bail!("{number} is unlucky"),
        14 => panic!("what now?"),
        number => Ok(number.to_string()),
    }
}

impl Operator for Current {
    type Key<'a> = &'a str;
    type Input<'a> = &'a str;
    type Output<'a> = String;

    fn declare(states: &mut Declaration) -> Self {
        let these = States::declare(states);
        macro_rules! migrate {
            ($($state:ident),*) => {$(
                states.schema_version(&these.$state, 5);
                states.migrates_from(&these.$state, 1, migrate);
            )*};
        }
        migrate!(value, space, expiring, list, map, rules);
        Self { states: these }
    }

    fn process(&mut self, input: &str, ctx: &mut Context<Self>) -> Result<()> {
        let States { value, space, expiring, list, map, rules } = &self.states;
        let seen = match input {
            "value" => value.get(ctx)?,
            "space" => space.get(ctx)?,
            "expiring" => expiring.get(ctx)?,
            "list" => list.items(ctx)?.collect::<Result<Vec<_>>>()?.pop(),
            "list goes on" => list.items(ctx)?.find_map(Result::ok),
            "map" => map.get(ctx, &1)?,
            "entries" => map.entries(ctx)?.next().transpose()?.map(|(_, value)| value),
            "contains" => Some(format!("{} {}", map.contains(ctx, &1)?, map.contains(ctx, &2)?)),
            "rule" => rules.get(ctx, &1)?,
            "bad rule" => rules.get(ctx, &13)?,
            "set" => {
                value.set(ctx, "new".to_owned())?;
                map.insert(ctx, &1, "new".to_owned())?;
                None
            }
            "set and fail" => {
                value.set(ctx, "new".to_owned())?;
                space.set(ctx, "new".to_owned())?;
                expiring.set(ctx, "new".to_owned())?;
                map.insert(ctx, &1, "new".to_owned())?;
                bail!("as it was told");
            }
            _ => None,
        };
        seen.map_or(Ok(()), |seen| ctx.emit(seen))
    }
}

/// "good" has 7 in everything, "bad" 13; both are rules.
fn restored(setup: Setup) -> Harness<Current> {
    let mut former = Harness::<Former, (FormerRules,)>::new();
    former.send("good", 7_u64);
    former.send("bad", 13_u64);
    former.send_to::<FormerRules>((), 1_u64);
    former.send_to::<FormerRules>((), 13_u64);
    Harness::with(setup.restore(former.snapshot()))
}

fn text(state: &str) -> String {
    format!("state \"{state}\": the value of schema version 1 can't be migrated to version 5: 13 is unlucky")
}

const LOOKS: [(&str, &str); 6] = [
    ("value", "value"),
    ("space", "space"),
    ("expiring", "expiring"),
    ("list", "list"),
    ("map", "map"),
    ("entries", "map"),
];

#[test]
fn only_records_fail_that_read_what_can_not_be_migrated() {
    for (batch, slots) in [(1, 1), (100, 100)] {
        for (look, state) in LOOKS {
            let mut harness = restored(Setup::default().batch_records(batch).slots_max(slots));
            for (key, look) in [("good", look), ("bad", look), ("good", look), ("bad", "nothing"), ("bad", look)] {
                harness.send(key, look);
            }
            assert_eq!(harness.take_outputs::<String>(), ["7", "7"], "{look}");
            let failures: Vec<_> = harness.take_failures().into_iter().map(|one| (one.index, one.message)).collect();
            assert_eq!(failures, [(1, text(state)), (4, text(state))]);
            // Nothing is lost.
            let count = if state == "list" { 4 } else { 2 };
            let versions = harness.state_versions(state);
            assert_eq!(versions.values().sum::<usize>(), count);
            assert!(versions[&1] >= 1, "{look}: {versions:?}");
        }
    }
}

#[test]
fn what_can_not_be_migrated_is_there_and_can_be_replaced() {
    let mut harness = restored(Setup::default());
    for input in ["contains", "map", "contains", "list goes on", "set", "map", "value"] {
        harness.send("bad", input);
    }
    assert_eq!(harness.take_outputs::<String>(), ["true false", "true false", "1", "new", "new"]);
    assert_eq!(harness.take_failures().len(), 1);
    assert_eq!(harness.state::<String>("value", "bad").as_deref(), Some("new"));
}

#[test]
fn whether_a_value_is_there_is_known_without_migrating_it() {
    let mut harness = Harness::<Current>::with(Setup::default().batch_records(1));
    // A migration that panics, and bytes that do not decode.
    for (key, version, bytes) in [("worst", 1, &14_u64.to_le_bytes()[..]), ("broken", 5, &[0xFF])] {
        harness.put_map_bytes("map", key, 1_u8, version, bytes);
        let before = harness.host_calls();
        harness.send(key, "contains");
        harness.send(key, "contains");
        // Two entries are asked for, once, and each record emits.
        assert_eq!(harness.host_calls() - before, 2 + 2);
    }
    assert_eq!(harness.take_outputs::<String>(), ["true false"; 4]);
}

#[test]
fn a_failed_write_over_it_is_undone() {
    let mut harness = restored(Setup::default());
    harness.send("bad", "set and fail");
    harness.send("good", "set and fail");
    for (look, _) in LOOKS {
        harness.send("bad", look);
        harness.send("good", look);
    }
    let messages: Vec<_> = harness.take_failures().into_iter().map(|failed| failed.message).collect();
    assert_eq!(messages[2..], LOOKS.map(|(_, state)| text(state)));
    assert_eq!(harness.take_outputs::<String>(), ["7"; LOOKS.len()]);
}

#[test]
fn a_rule_that_can_not_be_migrated_fails_who_asks_for_it() {
    let mut harness = restored(Setup::default());
    for input in ["rule", "bad rule", "rule"] {
        harness.send("good", input);
    }
    assert_eq!(harness.take_outputs::<String>(), ["1", "1"]);
    assert_eq!(harness.take_failures()[0].message, text("rules"));
}

#[test]
fn bytes_that_are_not_of_the_former_type_and_versions_that_nobody_knows_are_told() {
    let mut harness = Harness::<Current>::new();
    harness.put_state_bytes("value", "short", 1, &[1, 2]);
    harness.put_state_bytes("value", "unknown", 3, &[1, 2]);
    harness.put_state_bytes("value", "current", 5, &[0xFF]);
    for key in ["short", "unknown", "current"] {
        harness.send(key, "value");
    }
    let messages: Vec<_> = harness.take_failures().into_iter().map(|failed| failed.message).collect();
    assert_eq!(
        messages,
        [
            "state \"value\": the value of schema version 1 can't be migrated to version 5: 2 bytes don't decode as u64: it has 8",
            "state \"value\": the value has schema version 3, the operator knows versions 1, 5 only",
            "state \"value\": the value stored under schema version 5 doesn't decode as String",
        ]
    );
}

#[test]
fn an_item_of_the_task_that_can_not_be_migrated_fails_open() {
    struct Items<const VERSION: u16>;
    impl<const VERSION: u16> Operator for Items<VERSION> {
        type Key<'a> = ();
        type Input<'a> = ();
        type Output<'a> = ();
        fn declare(states: &mut Declaration) -> Self {
            if VERSION == 1 {
                let _: OperatorList<u64> = states.operator_list("items");
                return Self;
            }
            let items: OperatorList<String> = states.operator_list("items");
            states.migrates_from(&items, 1, migrate);
            states.schema_version(&items, VERSION);
            Self
        }
        fn process(&mut self, (): (), _: &mut Context<Self>) -> Result<()> {
            Ok(())
        }
    }
    let mut former = Harness::<Items<1>>::new();
    former.set_operator_list("items", [1_u64, 13]);
    let error = Harness::<Items<5>>::open(Setup::default().restore(former.snapshot())).err();
    assert_eq!(error, Some(format!("state: {}", text("items"))));
}

#[test]
fn a_panic_of_a_migration_is_one_of_the_operator() {
    let mut former = Harness::<Former>::new();
    former.send("worst", 14_u64);
    let snapshot = former.snapshot();
    let panicked = std::panic::catch_unwind(move || {
        let mut harness = Harness::<Current>::restore(snapshot);
        harness.send("worst", "value");
        harness.run();
    });
    assert_eq!(panicked.expect_err("it panics").downcast_ref::<&str>(), Some(&"what now?"));
}
