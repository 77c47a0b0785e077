//! An operator with all kinds of state, all of the same type, which has three versions.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

use wasmill_sdk::prelude::*;
use wasmill_sdk::testing::Harness;
use wasmill_sdk::{Handle, Value};

pub(crate) type EveryHarness<T> = Harness<Every<T>, (Rules<T>,)>;

/// The type of all states: it holds a number.
pub(crate) trait Kept: Value + Clone + Debug {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
    /// Says which version this is, and how the former ones become it.
    fn declare(states: &mut Declaration, state: &impl Handle<Stored = Self>);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub(crate) struct V1 {
    pub(crate) number: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub(crate) struct V2 {
    pub(crate) number: u64,
    pub(crate) doubled: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub(crate) struct V3 {
    pub(crate) text: String,
}

impl Kept for V1 {
    fn of(number: u64) -> Self {
        Self { number }
    }
    fn number(&self) -> u64 {
        self.number
    }
    fn declare(_: &mut Declaration, _: &impl Handle<Stored = Self>) {}
}

impl Kept for V2 {
    fn of(number: u64) -> Self {
        Self { number, doubled: 2 * number }
    }
    fn number(&self) -> u64 {
        assert_eq!(self.doubled, 2 * self.number);
        self.number
    }
    fn declare(states: &mut Declaration, state: &impl Handle<Stored = Self>) {
        states.migrates_from(state, 1, |old: V1| Ok(Self::of(old.number)));
        states.schema_version(state, 2);
    }
}

impl Kept for V3 {
    fn of(number: u64) -> Self {
        Self { text: number.to_string() }
    }
    fn number(&self) -> u64 {
        self.text.parse().expect("a number")
    }
    fn declare(states: &mut Declaration, state: &impl Handle<Stored = Self>) {
        states.schema_version(state, 3);
        states.migrates_from(state, 2, |old: V2| Ok(Self::of(old.number())));
        states.migrates_from(state, 1, |old: V1| Ok(Self::of(old.number)));
    }
}

/// Which state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub(crate) enum Kind {
    Value,
    Reducing,
    Aggregating,
    /// A value in a namespace.
    Space,
    /// Values with a time to live.
    OnWrite,
    OnRead,
    List,
    /// An entry of the map.
    Map(u8),
    Items,
    Union,
}

pub(crate) const KEYED: [Kind; 8] = [
    Kind::Value,
    Kind::Reducing,
    Kind::Aggregating,
    Kind::Space,
    Kind::OnWrite,
    Kind::OnRead,
    Kind::List,
    Kind::Map(1),
];

pub(crate) const TASK: [Kind; 2] = [Kind::Items, Kind::Union];

pub(crate) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Value => "value",
        Kind::Reducing => "reducing",
        Kind::Aggregating => "aggregating",
        Kind::Space => "space",
        Kind::OnWrite => "on-write",
        Kind::OnRead => "on-read",
        Kind::List => "list",
        Kind::Map(_) => "map",
        Kind::Items => "items",
        Kind::Union => "union",
    }
}

pub(crate) fn is_expiring(kind: Kind) -> bool {
    matches!(kind, Kind::OnWrite | Kind::OnRead)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub(crate) enum Do {
    /// Adds to a value, or an item to a list.
    Add(Kind, u64),
    Clear(Kind),
    Look(Kind),
    LookAtMap,
    /// Looks at what is broadcast.
    Rules,
}

/// The numbers that were seen, for each look.
pub(crate) type Seen = Vec<Vec<u64>>;

pub(crate) const SPACE: &[u8] = b"space";

/// In milliseconds.
pub(crate) const TTL: i64 = 100;

pub(crate) struct Every<T: Kept> {
    value: ValueState<T>,
    reducing: ReducingState<T>,
    aggregating: AggregatingState<Adding<T>>,
    space: ValueState<T>,
    on_write: ValueState<T>,
    on_read: ValueState<T>,
    list: ListState<T>,
    map: MapState<u8, T>,
    items: OperatorList<T>,
    union: OperatorList<T>,
    rules: BroadcastState<u8, T>,
}

pub(crate) struct Adding<T>(PhantomData<T>);

impl<T: Kept> Aggregate for Adding<T> {
    type Input = u64;
    type Accumulator = T;
    type Output = u64;

    fn create(&self) -> T {
        T::of(0)
    }
    fn add(&self, sum: &mut T, input: u64) {
        *sum = T::of(sum.number() + input);
    }
    fn get(&self, sum: &T) -> u64 {
        sum.number()
    }
    fn merge(&self, sum: &mut T, other: T) {
        self.add(sum, other.number());
    }
}

/// What `add` makes of a value.
fn more<T: Kept>(old: Option<T>, number: u64) -> Option<T> {
    Some(T::of(old.map_or(0, |old| old.number()) + number))
}

impl<T: Kept> Every<T> {
    fn add(&self, kind: Kind, number: u64, ctx: &mut Context<Self>) -> Result<()> {
        match kind {
            Kind::Value => self.value.update(ctx, |old| more(old, number)),
            Kind::Reducing => self.reducing.add(ctx, T::of(number)).map(drop),
            Kind::Aggregating => self.aggregating.add(ctx, number),
            Kind::Space => self.space.update(ctx, |old| more(old, number)),
            Kind::OnWrite => self.on_write.update(ctx, |old| more(old, number)),
            Kind::OnRead => self.on_read.update(ctx, |old| more(old, number)),
            Kind::List => self.list.add(ctx, &T::of(number)),
            Kind::Map(key) => self.map.update(ctx, &key, |old| more(old, number)),
            Kind::Items => {
                self.items.push(ctx, T::of(number));
                Ok(())
            }
            Kind::Union => {
                self.union.change(ctx, |items| items.push(T::of(number)));
                Ok(())
            }
        }
    }

    fn clear(&self, kind: Kind, ctx: &mut Context<Self>) -> Result<()> {
        match kind {
            Kind::Value => self.value.clear(ctx),
            Kind::Reducing => self.reducing.clear(ctx),
            Kind::Aggregating => self.aggregating.clear(ctx),
            Kind::Space => self.space.clear(ctx),
            Kind::OnWrite => self.on_write.clear(ctx),
            Kind::OnRead => self.on_read.clear(ctx),
            Kind::List => self.list.clear(ctx),
            Kind::Map(key) => self.map.remove(ctx, &key),
            Kind::Items => {
                self.items.clear(ctx);
                Ok(())
            }
            Kind::Union => {
                self.union.clear(ctx);
                Ok(())
            }
        }
    }

    fn look(&self, kind: Kind, ctx: &Context<Self>) -> Result<Vec<u64>> {
        let one = |value: Option<T>| value.iter().map(T::number).collect();
        Ok(match kind {
            Kind::Value => one(self.value.get(ctx)?),
            Kind::Reducing => one(self.reducing.get(ctx)?),
            Kind::Aggregating => self.aggregating.get(ctx)?.into_iter().collect(),
            Kind::Space => one(self.space.get(ctx)?),
            Kind::OnWrite => one(self.on_write.get(ctx)?),
            Kind::OnRead => one(self.on_read.get(ctx)?),
            Kind::List => self.list.items(ctx)?.map(|item| Ok(item?.number())).collect::<Result<_>>()?,
            Kind::Map(key) => {
                assert_eq!(self.map.contains(ctx, &key)?, self.map.get(ctx, &key)?.is_some());
                one(self.map.get(ctx, &key)?)
            }
            Kind::Items => self.items.with(|items| items.iter().map(T::number).collect()),
            Kind::Union => self.union.with(|items| items.iter().map(T::number).collect()),
        })
    }
}

impl<T: Kept> Operator for Every<T> {
    type Key<'a> = &'a str;
    type Input<'a> = (Vec<Do>, bool);
    type Output<'a> = Seen;

    fn declare(states: &mut Declaration) -> Self {
        let every = Self {
            value: states.value("value"),
            reducing: states.reducing("reducing", |a: T, b| T::of(a.number() + b.number())),
            aggregating: states.aggregating("aggregating", Adding(PhantomData)),
            space: states.value("space"),
            on_write: states.value("on-write"),
            on_read: states.value("on-read"),
            list: states.list("list"),
            map: states.map("map"),
            items: states.operator_list("items"),
            union: states.operator_union_list("union"),
            rules: states.broadcast("rules"),
        };
        T::declare(states, &every.value);
        T::declare(states, &every.reducing);
        T::declare(states, &every.aggregating);
        T::declare(states, &every.space);
        states.namespaced(&every.space);
        let ttl = Duration::from_millis(TTL as u64);
        states.ttl(&every.on_write, ttl, Refresh::OnWrite);
        T::declare(states, &every.on_write);
        T::declare(states, &every.on_read);
        states.ttl(&every.on_read, ttl, Refresh::OnReadAndWrite);
        T::declare(states, &every.list);
        T::declare(states, &every.map);
        T::declare(states, &every.items);
        T::declare(states, &every.union);
        T::declare(states, &every.rules);
        every
    }

    fn process(&mut self, (deeds, fails): Self::Input<'_>, ctx: &mut Context<Self>) -> Result<()> {
        let mut seen = Vec::new();
        for deed in deeds {
            let in_space = matches!(deed, Do::Add(Kind::Space, _) | Do::Clear(Kind::Space) | Do::Look(Kind::Space));
            ctx.set_namespace(if in_space { SPACE } else { b"" })?;
            match deed {
                Do::Add(kind, number) => self.add(kind, number, ctx)?,
                Do::Clear(kind) => self.clear(kind, ctx)?,
                Do::Look(kind) => seen.push(self.look(kind, ctx)?),
                Do::LookAtMap => {
                    let entries = self.map.entries(ctx)?.map(|entry| Ok(entry?.1.number()));
                    seen.push(entries.collect::<Result<_>>()?);
                }
                Do::Rules => {
                    let rules = self.rules.entries(ctx)?;
                    seen.push(rules.iter().flat_map(|(key, rule)| [u64::from(*key), rule.number()]).collect());
                }
            }
        }
        if fails {
            bail!("as it was told");
        }
        if seen.is_empty() { Ok(()) } else { ctx.emit(seen) }
    }
}

/// Writes what is broadcast: 0 removes.
pub(crate) struct Rules<T>(PhantomData<T>);

impl<T: Kept> OtherInput for Rules<T> {
    type Operator = Every<T>;
    type Value<'a> = (u8, u64);
    const KIND: InputKind = InputKind::Broadcast;

    fn name() -> String {
        "rules".to_owned()
    }

    fn process(every: &mut Every<T>, (key, number): (u8, u64), ctx: &mut Context<Every<T>>) -> Result<()> {
        if number == 0 { every.rules.remove(ctx, &key) } else { every.rules.insert(ctx, key, T::of(number)) }
    }
}
