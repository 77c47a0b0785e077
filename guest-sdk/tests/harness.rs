//! The SDK as a whole, run by the harness: what is undone, what is delivered again, what an operator can see and say.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmill_sdk::EventTime;
use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::{Harness, Setup};

/// Keeps a text and a maximum by key; does what the input says.
struct Keeper {
    text: ValueState<String>,
    max: ReducingState<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize, Schema)]
enum Do {
    Append(String),
    Clear,
    Max(u64),
    /// Does all of it, then fails.
    Fail(String),
    ReadText,
}

impl Operator for Keeper {
    type Key<'a> = &'a str;
    type Input<'a> = Do;
    type Output<'a> = (Option<String>, Option<u64>);

    fn declare(states: &mut Declaration) -> Self {
        let text = states.value("text");
        states.schema_version(&text, 2);
        Self { text, max: states.reducing("max", |a, b| a.max(b)) }
    }

    fn process(&mut self, input: Do, ctx: &mut Context<Self>) -> Result<()> {
        match input {
            Do::Append(more) => self.text.update(ctx, |text| Some(text.unwrap_or_default() + &more))?,
            Do::Clear => {
                self.text.clear(ctx)?;
                self.max.clear(ctx)?;
            }
            Do::Max(value) => drop(self.max.add(ctx, value)?),
            Do::Fail(text) => {
                self.text.clear(ctx)?;
                self.text.set(ctx, text.clone())?;
                self.max.add(ctx, u64::MAX)?;
                ctx.emit((Some(text.clone()), None))?;
                ctx.count("fails", 1);
                bail!("failed with {text}");
            }
            Do::ReadText => {}
        }
        let text = self.text.get(ctx)?;
        ctx.emit((text, self.max.get(ctx)?))
    }
}

fn action() -> impl Strategy<Value = Do> {
    prop_oneof![
        "[a-z]{0,20}".prop_map(Do::Append),
        Just(Do::Clear),
        (0_u64..100).prop_map(Do::Max),
        "[a-z]{0,3}".prop_map(Do::Fail),
        Just(Do::ReadText),
    ]
}

proptest! {
    /// Whatever the sizes of batches, outputs and slot table: state and results are those of a map.
    #[test]
    fn state_is_that_of_a_map(
        records in proptest::collection::vec(("[a-d]|[e-h]{15,40}", action()), 0..80),
        (batch, outputs, slots) in (1_usize..20, 1_u32..5, 1_usize..6),
        reopen_at in 0_usize..80,
    ) {
        let setup = Setup::default().batch_records(batch).output_records(outputs).slots_max(slots);
        let mut harness = Harness::<Keeper>::with(setup);
        let mut model: BTreeMap<String, (Option<String>, Option<u64>)> = BTreeMap::new();
        let (mut results, mut failures) = (Vec::new(), 0);
        for (index, (key, action)) in records.into_iter().enumerate() {
            if index == reopen_at {
                harness.reopen();
            }
            let (text, max) = model.entry(key.clone()).or_default();
            match action.clone() {
                Do::Append(more) => *text = Some(text.take().unwrap_or_default() + &more),
                Do::Clear => (*text, *max) = (None, None),
                Do::Max(value) => *max = Some(max.map_or(value, |max| max.max(value))),
                Do::Fail(_) => failures += 1,
                Do::ReadText => {}
            }
            if !matches!(action, Do::Fail(_)) {
                results.push((text.clone(), *max));
            }
            harness.send(key.as_str(), action);
        }
        prop_assert_eq!(harness.take_outputs::<(Option<String>, Option<u64>)>(), results);
        prop_assert_eq!(harness.take_failures().len(), failures);
        prop_assert_eq!(harness.counter("fails"), failures as u64);
        for (key, (text, max)) in model {
            prop_assert_eq!(harness.state::<String>("text", key.as_str()), text);
            prop_assert_eq!(harness.state::<u64>("max", key.as_str()), max);
        }
    }
}

#[test]
fn a_value_that_does_not_decode_fails_only_those_who_read_it() {
    let mut harness = Harness::<Keeper>::new();
    harness.put_state_bytes("text", "bad", 2, &[0xFF]);
    harness.put_state_bytes("text", "old", 1, b"fine");
    harness.send("bad", Do::ReadText);
    harness.send("old", Do::ReadText);
    harness.send("new", Do::ReadText);
    let messages: Vec<_> = harness.take_failures().into_iter().map(|failed| (failed.index, failed.message)).collect();
    assert_eq!(messages.len(), 2);
    let expected = "state \"text\": the value stored under schema version 2 doesn't decode as String";
    assert_eq!(messages[0], (0, expected.to_owned()));
    let expected = "state \"text\": the value has schema version 1, the operator knows version 2 only";
    assert_eq!(messages[1], (1, expected.to_owned()));

    // A failed write over it is undone and never handed over; one that succeeds replaces it.
    harness.send("bad", Do::Fail("x".to_owned()));
    harness.send("bad", Do::ReadText);
    assert_eq!(harness.take_failures().len(), 2);
    harness.send("bad", Do::Clear);
    assert_eq!(harness.state::<String>("text", "bad"), None);
}

/// Emits at times of its own.
struct Times;

impl Operator for Times {
    type Key<'a> = u64;
    type Input<'a> = i64;
    type Output<'a> = i64;

    fn declare(_: &mut Declaration) -> Self {
        Self
    }

    fn process(&mut self, input: i64, ctx: &mut Context<Self>) -> Result<()> {
        ctx.gauge("input", input as f64);
        if input < 0 {
            warn!(ctx, "{input} at {} with {:?}", ctx.now(), ctx.watermark());
            return ctx.emit_at(input, EventTime::from_millis(input));
        }
        ctx.emit(ctx.event_time().map_or(0, EventTime::as_millis))
    }
}

#[test]
fn results_have_the_time_of_their_record_or_their_own() {
    let mut harness = Harness::<Times>::with(Setup::default().now(EventTime::from_millis(9)));
    harness.send(1_u64, 1_i64);
    harness.send_at(1_u64, 2_i64, EventTime::from_millis(20));
    harness.send(1_u64, -3_i64);
    harness.send_at(1_u64, 4_i64, EventTime::from_millis(40));
    let times: Vec<_> = harness.take_emitted().iter().map(|emitted| emitted.time.map(EventTime::as_millis)).collect();
    assert_eq!(times, [None, Some(20), Some(-3), Some(40)]);
    assert_eq!(harness.gauge("input"), Some(4.0));
    assert_eq!(harness.take_logs()[0].message, "-3 at 9 ms with None");
    // Times of their own do not spread to the next batch.
    harness.send(1_u64, 1_i64);
    assert_eq!(harness.take_emitted()[0].time, None);
}

#[test]
fn keys_of_results_are_kept_set_or_dropped() {
    struct Drops;
    impl Operator for Drops {
        type Key<'a> = &'a str;
        type Input<'a> = ();
        type Output<'a> = Unkeyed<&'a str>;
        fn declare(_: &mut Declaration) -> Self {
            Self
        }
        fn process(&mut self, _: (), ctx: &mut Context<Self>) -> Result<()> {
            ctx.emit(Unkeyed(ctx.key()))
        }
    }
    let mut harness = Harness::<Drops>::new();
    harness.send_at("a", (), EventTime::from_millis(1));
    let emitted = harness.take_emitted();
    assert_eq!((emitted[0].key.as_deref(), emitted[0].value.as_slice()), (None, &b"a"[..]));
    assert_eq!(emitted[0].time, Some(EventTime::from_millis(1)));
    let mut harness = Harness::<Times>::new();
    harness.send(7_u64, 1_i64);
    assert_eq!(harness.take_keyed_outputs::<u64, i64>(), [(7, 0)]);
}

#[test]
fn an_operator_without_a_key_has_no_keyed_state() {
    struct Wrong {
        _state: ValueState<u64>,
    }
    impl Operator for Wrong {
        type Key<'a> = ();
        type Input<'a> = ();
        type Output<'a> = ();
        fn declare(states: &mut Declaration) -> Self {
            Self { _state: states.value("state") }
        }
        fn process(&mut self, _: (), _: &mut Context<Self>) -> Result<()> {
            Ok(())
        }
    }
    let error = Harness::<Wrong>::open(Setup::default()).err();
    assert!(error.is_some_and(|text| text.contains("needs a key")));
}
