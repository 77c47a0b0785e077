//! Several inputs, and state of the task: lists and broadcast maps.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmill_sdk::EventTime;
use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::{Harness, Setup};

/// Marks up prices by rules that are broadcast, and forgets articles that are withdrawn.
struct Prices {
    rules: BroadcastState<u32, String>,
    last: ValueState<u64>,
    seen: OperatorList<String>,
}

impl Operator for Prices {
    type Key<'a> = &'a str;
    type Input<'a> = u64;
    type Output<'a> = String;

    fn declare(states: &mut Declaration) -> Self {
        Self { rules: states.broadcast("rules"), last: states.value("last"), seen: states.operator_union_list("seen") }
    }

    fn process(&mut self, price: u64, ctx: &mut Context<Self>) -> Result<()> {
        self.last.set(ctx, price)?;
        self.seen.push(ctx, ctx.key().to_owned());
        let rules = self.rules.entries(ctx)?;
        for (number, rule) in &rules {
            ctx.emit(format!("{} {price} {number}:{rule}", ctx.key()))?;
        }
        if price == 13 {
            self.rules.insert(ctx, 1, "not from here".to_owned())?;
        }
        Ok(())
    }

    fn input_name() -> String {
        "prices".to_owned()
    }
}

struct Rules;

impl OtherInput for Rules {
    type Operator = Prices;
    type Value<'a> = (u32, &'a str);
    const KIND: InputKind = InputKind::Broadcast;

    fn process(prices: &mut Prices, (number, rule): (u32, &str), ctx: &mut Context<Prices>) -> Result<()> {
        prices.seen.change(ctx, |seen| seen.retain(|one| one != rule));
        if rule.is_empty() {
            return prices.rules.remove(ctx, &number);
        }
        prices.rules.insert(ctx, number, rule.to_owned())?;
        prices.seen.replace(ctx, vec![rule.to_owned()]);
        match rule {
            "fails" => bail!("it fails"),
            "panics" => panic!("it panics"),
            "state" => prices.last.set(ctx, 1),
            "time" => ctx.emit(format!("{:?}", ctx.event_time())),
            _ => Ok(()),
        }
    }
}

/// Articles that are withdrawn.
struct Withdrawn;

impl OtherInput for Withdrawn {
    type Operator = Prices;
    type Value<'a> = ();
    const KIND: InputKind = InputKind::Keyed;

    fn process(prices: &mut Prices, (): (), ctx: &mut Context<Prices>) -> Result<()> {
        let last = prices.last.get(ctx)?;
        prices.last.clear(ctx)?;
        ctx.emit(format!("{} withdrawn at {last:?}", ctx.key()))
    }

    fn name() -> String {
        "gone".to_owned()
    }
}

type Prepared = Harness<Prices, (Rules, Withdrawn)>;

#[test]
fn inputs_are_described_in_their_order() {
    let harness = Prepared::new();
    let inputs: Vec<_> = harness
        .descriptor()
        .inputs
        .iter()
        .map(|input| (input.name.as_str(), input.key.is_some(), input.broadcast))
        .collect();
    assert_eq!(inputs, [("prices", true, false), ("rules", false, true), ("gone", true, false)]);
    let states = &harness.descriptor().states;
    assert_eq!(states[0].map_key.as_deref(), Some(r#"{"encoding":"postcard","type":"u32"}"#));
    assert_eq!(states.iter().map(|state| state.prefetch).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn all_inputs_work_on_the_same_state() {
    for batch in [1, 2, 100] {
        let mut harness = Prepared::with(Setup::default().batch_records(batch));
        harness.send("fig", 5_u64);
        harness.send_to::<Rules>((), (7_u32, "seven"));
        harness.send_to::<Rules>((), (3_u32, "three"));
        harness.send_to::<Withdrawn>("fig", ());
        harness.send_to::<Withdrawn>("pear", ());
        harness.send("fig", 6_u64);
        harness.send_to::<Rules>((), (7_u32, ""));
        harness.send("fig", 8_u64);
        harness.send_to_at::<Rules>((), (9_u32, "time"), EventTime::from_millis(4));
        assert_eq!(
            harness.take_outputs::<String>(),
            [
                "fig withdrawn at Some(5)",
                "pear withdrawn at None",
                "fig 6 3:three",
                "fig 6 7:seven",
                "fig 8 3:three",
                "Some(EventTime(4))"
            ]
        );
        assert_eq!(harness.state::<u64>("last", "fig"), Some(8));
        let rules = [(3, "three".to_owned()), (9, "time".to_owned())];
        assert_eq!(harness.broadcast::<u32, String>("rules"), rules);
        // Another instance reads them.
        harness.reopen();
        harness.send("kiwi", 1_u64);
        assert_eq!(harness.take_outputs::<String>(), ["kiwi 1 3:three", "kiwi 1 9:time"]);
        assert_eq!(harness.operator_list::<String>("seen"), ["time", "kiwi"]);
    }
}

#[test]
fn a_failed_record_leaves_the_states_of_the_task_as_they_were() {
    let mut harness = Prepared::new();
    harness.send_to::<Rules>((), (1_u32, "one"));
    harness.send_to::<Rules>((), (1_u32, "fails"));
    harness.send_to::<Rules>((), (2_u32, "fails"));
    harness.send_to::<Rules>((), (2_u32, "state"));
    assert_eq!(harness.broadcast::<u32, String>("rules"), [(1, "one".to_owned())]);
    assert_eq!(harness.operator_list::<String>("seen"), ["one"]);
    harness.send("fig", 13_u64);
    let messages: Vec<_> = harness.take_failures().into_iter().map(|failed| (failed.index, failed.message)).collect();
    let keyless = "state \"last\" belongs to a key, and this record has none that this operator knows".to_owned();
    let wrong =
        "broadcast state \"rules\" can be written by records of a broadcast input only, which all tasks get".to_owned();
    let fails = "it fails".to_owned();
    assert_eq!(messages, [(1, fails.clone()), (2, fails), (3, keyless), (4, wrong)]);
    assert_eq!(harness.state::<u64>("last", "fig"), None);
    assert_eq!(harness.operator_list::<String>("seen"), ["one"]);
}

#[test]
fn what_did_not_change_is_not_handed_over() {
    let mut harness = Prepared::new();
    harness.send_to::<Rules>((), (1_u32, "fails"));
    let before = harness.host_calls();
    harness.send_to::<Rules>((), (1_u32, "fails"));
    assert_eq!(harness.host_calls(), before);
    harness.send_to::<Rules>((), (1_u32, "one"));
    harness.send_to::<Rules>((), (2_u32, "two"));
    assert_eq!(harness.host_calls(), before + 2, "the map and the list, once each");
}

#[test]
fn a_panic_of_another_input_ends_the_instance() {
    let mut harness = Prepared::new();
    harness.send_to::<Rules>((), (1_u32, "panics"));
    assert!(catch_unwind(AssertUnwindSafe(|| harness.run())).is_err());
    harness.send("fig", 1_u64);
    assert!(catch_unwind(AssertUnwindSafe(|| harness.run())).is_err(), "it must be opened again");
}

#[test]
fn tasks_that_get_the_same_rules_have_the_same_rules() {
    let mut tasks = [0, 1].map(|task| Prepared::with(Setup::default().task(task, 2)));
    for (number, rule) in [(1_u32, "one"), (2, "two"), (1, "")] {
        for task in &mut tasks {
            task.send_to::<Rules>((), (number, rule));
        }
    }
    let [first, second] = &mut tasks;
    first.send("fig", 5_u64);
    assert_eq!(first.take_outputs::<String>(), ["fig 5 2:two"]);
    assert!(second.take_outputs::<String>().is_empty());
    assert_eq!(first.broadcast::<u32, String>("rules"), second.broadcast::<u32, String>("rules"));
}

/// Reads its list when it is opened.
struct Offsets {
    offsets: OperatorList<u64>,
    at_open: u64,
}

impl Operator for Offsets {
    type Key<'a> = ();
    type Input<'a> = u64;
    type Output<'a> = u64;

    fn declare(states: &mut Declaration) -> Self {
        let offsets = states.operator_list("offsets");
        states.schema_version(&offsets, 3);
        Self { offsets, at_open: 0 }
    }

    fn open(&mut self, _: &OpenContext) -> Result<()> {
        self.at_open = self.offsets.with(|offsets| offsets.iter().sum());
        Ok(())
    }

    fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
        match input {
            0 => self.offsets.clear(ctx),
            _ => self.offsets.push(ctx, input),
        }
        self.offsets.change(ctx, |offsets| offsets.sort_unstable());
        if input == 13 {
            bail!("unlucky");
        }
        ctx.emit(self.at_open)
    }
}

#[test]
fn a_list_is_there_when_the_operator_is_opened() {
    let mut harness = Harness::<Offsets>::new();
    harness.set_operator_list("offsets", [5_u64, 7]);
    for input in [6_u64, 13, 1] {
        harness.send((), input);
    }
    assert_eq!(harness.take_outputs::<u64>(), [12, 12]);
    assert_eq!(harness.operator_list::<u64>("offsets"), [1, 5, 6, 7]);
    harness.reopen();
    harness.send((), 0_u64);
    assert_eq!(harness.take_outputs::<u64>(), [19]);
    assert!(harness.operator_list::<u64>("offsets").is_empty());
}
