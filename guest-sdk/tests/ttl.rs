//! Time to live: what is read when, and what a look at it changes.

use std::time::Duration;

use wasmill_sdk::EventTime;
use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::{Harness, Setup};

const TTL: i64 = 100;

struct Keeper {
    on_write: ValueState<u64>,
    on_read: ValueState<u64>,
    space: ReducingState<u64>,
    map: MapState<u64, u64>,
    list: ListState<u64>,
}

/// What is done: look at everything, write everything, write and then fail.
#[derive(Clone, Copy, Serialize, Deserialize, Schema)]
enum Do {
    Look,
    Write,
    WriteAndFail,
}

impl Operator for Keeper {
    type Key<'a> = &'a str;
    type Input<'a> = Do;
    type Output<'a> = Vec<Option<u64>>;

    fn declare(states: &mut Declaration) -> Self {
        let keeper = Self {
            on_write: states.value("on-write"),
            on_read: states.value("on-read"),
            space: states.reducing("space", |a, b| a + b),
            map: states.map("map"),
            list: states.list("list"),
        };
        let ttl = Duration::from_millis(TTL as u64);
        states.ttl(&keeper.on_write, ttl, Refresh::OnWrite);
        states.ttl(&keeper.on_read, ttl, Refresh::OnReadAndWrite);
        // In either order.
        states.ttl(&keeper.space, ttl, Refresh::OnReadAndWrite);
        states.namespaced(&keeper.space);
        states.ttl(&keeper.map, ttl, Refresh::OnReadAndWrite);
        states.ttl(&keeper.list, ttl, Refresh::OnWrite);
        keeper
    }

    fn process(&mut self, input: Do, ctx: &mut Context<Self>) -> Result<()> {
        if matches!(input, Do::Look) {
            let mut seen = vec![self.on_write.get(ctx)?, self.on_read.get(ctx)?, self.map.get(ctx, &1)?];
            seen.push(self.list.items(ctx)?.next().transpose()?);
            ctx.set_namespace(b"space")?;
            seen.push(self.space.get(ctx)?);
            return ctx.emit(seen);
        }
        self.on_write.set(ctx, 1)?;
        self.on_read.update(ctx, |old| Some(old.unwrap_or(0) + 1))?;
        self.map.insert(ctx, &1, 1)?;
        self.list.add(ctx, &1)?;
        ctx.set_namespace(b"space")?;
        self.space.add(ctx, 1)?;
        if matches!(input, Do::WriteAndFail) {
            bail!("as it was told");
        }
        Ok(())
    }
}

/// Does these things at these times, each in a call of its own, and says what was seen.
#[track_caller]
fn check(deeds: &[(i64, Do)], expected: &[[Option<u64>; 5]]) {
    for slots in [1, 10] {
        let mut harness = Harness::<Keeper>::with(Setup::default().slots_max(slots));
        for (now, deed) in deeds {
            harness.set_now(EventTime::from_millis(*now));
            harness.send("a", *deed);
            harness.send("other", Do::Look);
        }
        let seen = harness.take_outputs::<Vec<Option<u64>>>();
        let seen: Vec<_> = seen.into_iter().filter(|seen| seen.iter().any(Option::is_some)).collect();
        let expected: Vec<Vec<_>> = expected.iter().map(|seen| seen.to_vec()).collect();
        assert_eq!(seen, expected);
    }
}

const ALL: [Option<u64>; 5] = [Some(1); 5];

#[test]
fn an_expired_value_is_never_seen() {
    check(&[(0, Do::Write), (TTL - 1, Do::Look)], &[ALL]);
    check(&[(0, Do::Write), (TTL, Do::Look)], &[]);
    check(
        &[(0, Do::Write), (TTL - 1, Do::Write), (2 * TTL - 2, Do::Look)],
        &[[Some(1), Some(2), Some(1), Some(1), Some(2)]],
    );
}

#[test]
fn a_look_begins_the_time_anew_where_it_was_declared() {
    let read_only = [None, Some(1), Some(1), None, Some(1)];
    check(
        &[(0, Do::Write), (60, Do::Look), (120, Do::Look), (219, Do::Look), (319, Do::Look)],
        &[ALL, read_only, read_only],
    );
}

#[test]
fn a_failed_write_begins_nothing() {
    // Updating reads the value, which is refreshed by that; the other states were written only.
    let seen = [None, Some(1), None, None, Some(1)];
    check(&[(0, Do::Write), (50, Do::WriteAndFail), (TTL, Do::Look)], &[seen]);
    check(&[(0, Do::WriteAndFail), (1, Do::Look)], &[]);
}

#[test]
fn within_a_call_what_was_written_is_seen() {
    let mut harness = Harness::<Keeper>::new();
    for deed in [Do::Write, Do::Look, Do::WriteAndFail, Do::Look] {
        harness.send("a", deed);
    }
    assert_eq!(harness.take_outputs::<Vec<Option<u64>>>(), [ALL.to_vec(), ALL.to_vec()]);
    harness.set_now(EventTime::from_millis(TTL));
    assert_eq!(harness.state::<u64>("on-write", "a"), None);
    assert_eq!(harness.state_len("map"), 0);
}

#[test]
fn only_keyed_state_has_a_time_to_live() {
    struct Wrong;
    impl Operator for Wrong {
        type Key<'a> = ();
        type Input<'a> = ();
        type Output<'a> = ();
        fn declare(states: &mut Declaration) -> Self {
            let list: OperatorList<u64> = states.operator_list("list");
            states.ttl(&list, Duration::from_secs(1), Refresh::OnWrite);
            Self
        }
        fn process(&mut self, (): (), _: &mut Context<Self>) -> Result<()> {
            Ok(())
        }
    }
    let refused = std::panic::catch_unwind(Harness::<Wrong>::new);
    assert!(refused.is_err());
}

#[test]
fn a_time_to_live_that_begins_with_an_upgrade_counts_from_then() {
    struct Keeps<const TTL_SECONDS: u64>(ValueState<u64>);
    impl<const TTL_SECONDS: u64> Operator for Keeps<TTL_SECONDS> {
        type Key<'a> = u64;
        type Input<'a> = u64;
        type Output<'a> = u64;
        fn declare(states: &mut Declaration) -> Self {
            let kept = states.value("kept");
            if TTL_SECONDS > 0 {
                states.ttl(&kept, Duration::from_secs(TTL_SECONDS), Refresh::OnWrite);
            }
            Self(kept)
        }
        fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
            self.0.set(ctx, input)
        }
    }
    let mut former = Harness::<Keeps<0>>::new();
    former.send(1_u64, 7_u64);
    former.set_now(EventTime::from_millis(600_000));
    let mut harness: Harness<Keeps<60>> = former.upgrade();
    assert_eq!(harness.state::<u64>("kept", 1_u64), Some(7));
    harness.set_now(EventTime::from_millis(659_999));
    assert_eq!(harness.state::<u64>("kept", 1_u64), Some(7));
    harness.set_now(EventTime::from_millis(660_000));
    assert_eq!(harness.state::<u64>("kept", 1_u64), None);
}
