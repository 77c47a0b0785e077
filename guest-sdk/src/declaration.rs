//! What an operator says of its states.

use std::rc::Rc;
use std::time::Duration;

use crate::Result;
use crate::any_state::AnyState;
use crate::codec::{Decode, Value};
use crate::column::Column;
use crate::descriptor::{StateDescriptor, StateKind};
use crate::entries::{Entries, Shape};
use crate::former::{Formers, Migrate};
use crate::guarded::Guarded;
use crate::map_key::MapKey;
use crate::operator::Operator;
use crate::rewrite::{Rewriter, rewrite_each};
use crate::schema::Schema;
use crate::state::{
    Aggregate, AggregatingState, BroadcastMap, BroadcastState, Handle, Items, List, ListState, MapState, OperatorList,
    Point, PointHandle, ReducingState, ValueState,
};
use crate::ttl::{Refresh, Ttl};
use crate::wire::BytesColumn;

/// The states of an operator, as they are declared. A state is found again by its name, in a checkpoint as in another version of the operator.
///
/// All functions that declare a state panic when the name is empty or was declared before.
#[derive(Default)]
pub struct Declaration {
    pub(crate) descriptors: Vec<StateDescriptor>,
    pub(crate) states: Vec<Rc<dyn AnyState>>,
    pub(crate) rewriters: Vec<Rewriter>,
}

impl Declaration {
    /// Makes an operator, and checks what it said of its states.
    pub(crate) fn of<O: Operator>() -> (O, Self) {
        let mut declaration = Self::default();
        let operator = O::declare(&mut declaration);
        declaration.check();
        (operator, declaration)
    }

    /// Checks what can't be told before all is said.
    fn check(&self) {
        for StateDescriptor { name, version, migrates_from, .. } in &self.descriptors {
            let highest = migrates_from.last().copied().unwrap_or(0);
            assert!(
                highest < *version,
                "state \"{name}\" migrates from schema version {highest} but has version {version}: former versions are lower"
            );
        }
    }

    /// A state with one value per key.
    pub fn value<T: Value>(&mut self, name: &str) -> ValueState<T> {
        ValueState::new(self.point(name, StateKind::Value))
    }

    /// A state with one value per key that is folded whenever something is added.
    ///
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # fn declare(states: &mut Declaration) {
    /// let max: ReducingState<u64> = states.reducing("max", |a, b| a.max(b));
    /// # }
    /// ```
    pub fn reducing<T: Value + Clone>(&mut self, name: &str, fold: fn(T, T) -> T) -> ReducingState<T> {
        ReducingState::new(self.point(name, StateKind::Reducing), fold)
    }

    /// A state with one accumulator per key.
    pub fn aggregating<A: Aggregate>(&mut self, name: &str, aggregate: A) -> AggregatingState<A> {
        AggregatingState::new(self.point(name, StateKind::Aggregating), aggregate)
    }

    /// A state with a list per key.
    pub fn list<T: Value>(&mut self, name: &str) -> ListState<T> {
        ListState::new(self.add::<T, _>(name, StateKind::List, |index| List::new(name, index)))
    }

    /// A state with a map per key.
    pub fn map<K: MapKey, V: Value>(&mut self, name: &str) -> MapState<K, V> {
        let entries =
            self.add::<V, _>(name, StateKind::Map, |index| Entries::new(name, index, Formers::default(), Shape::Maps));
        self.set_map_key::<K>();
        MapState::new(entries)
    }

    /// A list of the task. When the parallelism changes, the items of all tasks are dealt out evenly.
    pub fn operator_list<T: Value>(&mut self, name: &str) -> OperatorList<T> {
        OperatorList::new(self.add::<T, _>(name, StateKind::OperatorList, |index| Items::new(name, index)))
    }

    /// A list of the task. When the parallelism changes, each task gets the items of all tasks.
    pub fn operator_union_list<T: Value>(&mut self, name: &str) -> OperatorList<T> {
        OperatorList::new(self.add::<T, _>(name, StateKind::OperatorUnion, |index| Items::new(name, index)))
    }

    /// A map that is the same on all tasks.
    pub fn broadcast<K: MapKey, V: Value + Clone>(&mut self, name: &str) -> BroadcastState<K, V> {
        let map = self.add::<V, _>(name, StateKind::Broadcast, |index| BroadcastMap::new(name, index));
        self.set_map_key::<K>();
        BroadcastState::new(map)
    }

    /// The values of this state are not delivered with their keys but asked for, one at a time, when they are looked at; then they are kept, up to 8 MiB. So they can lie in
    /// [namespaces](crate::Context::set_namespace); and it costs less where the values are large and few records look at them. Maps and lists are like that without it.
    ///
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # struct PerHour { sums: ReducingState<u64> }
    /// # impl Operator for PerHour {
    /// #     type Key<'a> = &'a str;
    /// #     type Input<'a> = u64;
    /// #     type Output<'a> = u64;
    /// fn declare(states: &mut Declaration) -> Self {
    ///     let sums = states.reducing("sums", |a, b| a + b);
    ///     states.namespaced(&sums);
    ///     Self { sums }
    /// }
    ///
    /// /// Adds up what each hour brings.
    /// fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
    ///     let hour = ctx.event_time().unwrap_or_default().as_millis() / 3_600_000;
    ///     ctx.set_namespace(&hour.to_be_bytes())?;
    ///     let sum = self.sums.add(ctx, input)?;
    ///     ctx.emit(sum)
    /// }
    /// # }
    /// # let mut harness = wasmill_sdk::testing::Harness::<PerHour>::new();
    /// # for (time, input) in [(0, 3_u64), (3_600_000, 4), (1, 5)] { harness.send_at("a", input, EventTime::from_millis(time)); }
    /// # assert_eq!(harness.take_outputs::<u64>(), [3, 4, 8]);
    /// # assert_eq!(harness.state_in::<u64>("sums", "a", &1_i64.to_be_bytes()), Some(4));
    /// ```
    pub fn namespaced<S: PointHandle>(&mut self, state: &S) {
        self.descriptor(state).prefetch = false;
        let index = state.index();
        state.point().column.change(|column| {
            let entries = Entries::new(column.name(), index, column.formers(), Shape::Points);
            column.set_beyond(Rc::new(Guarded::new(entries)));
        });
    }

    /// Entries of this state are absent when so much processing time has passed since they were written, or written or read, last. In lists and maps each item or entry has
    /// its own time.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use wasmill_sdk::prelude::*;
    /// # struct Distinct { seen: ValueState<()> }
    /// # impl Operator for Distinct {
    /// #     type Key<'a> = &'a str;
    /// #     type Input<'a> = u64;
    /// #     type Output<'a> = u64;
    /// fn declare(states: &mut Declaration) -> Self {
    ///     let seen = states.value("seen");
    ///     states.ttl(&seen, Duration::from_secs(60), Refresh::OnWrite);
    ///     Self { seen }
    /// }
    ///
    /// /// Emits the first record of a key, and drops the others of a minute.
    /// fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
    ///     if self.seen.get(ctx)?.is_none() {
    ///         self.seen.set(ctx, ())?;
    ///         ctx.emit(input)?;
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// # let mut harness = wasmill_sdk::testing::Harness::<Distinct>::new();
    /// # for (now, input) in [(0, 1_u64), (59_999, 2), (60_000, 3), (60_001, 4)] {
    /// #     harness.set_now(EventTime::from_millis(now));
    /// #     harness.send("a", input);
    /// # }
    /// # assert_eq!(harness.take_outputs::<u64>(), [1, 3]);
    /// ```
    ///
    /// # Panics
    /// When the state belongs to the task and not to a key, or the time is less than a millisecond.
    pub fn ttl(&mut self, state: &impl Handle, time: Duration, refresh: Refresh) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let descriptor = self.descriptor(state);
        let name = &descriptor.name;
        assert!(millis > 0, "state \"{name}\": a time to live has at least one millisecond");
        assert!(descriptor.kind.is_keyed(), "state \"{name}\" belongs to no key: it has no time to live");
        descriptor.ttl = Some(Ttl { millis, refresh });
        self.states[state.index() as usize].set_ttl(refresh);
    }

    /// [`Operator::on_end`](crate::Operator::on_end) is called for each key that has an entry in this state.
    ///
    /// # Panics
    /// When the state belongs to the task and not to a key.
    pub fn visit_at_end(&mut self, state: &impl Handle) {
        let descriptor = self.descriptor(state);
        assert!(descriptor.kind.is_keyed(), "state \"{}\" belongs to no key that could be visited", descriptor.name);
        descriptor.on_end = true;
    }

    /// The version of the state's schema, which is 1 unless it is said here. A type that changes needs a new version, and [a function](Declaration::migrates_from) for each
    /// former one of which there may be values.
    ///
    /// # Panics
    /// When `version` is 0.
    pub fn schema_version(&mut self, state: &impl Handle, version: u16) {
        assert!(version > 0, "schema versions begin at 1");
        self.descriptor(state).version = version;
        self.states[state.index() as usize].set_version(version);
    }

    /// How a value of a former schema version becomes one of the current type: each former version has a function of its own, straight to the current type. `F` is the former
    /// type; its name and those of its fields do not matter, unless it is [`Json`](crate::Json).
    ///
    /// A value is migrated when it is read. What is stored stays as it is until it is written the next time, and items and entries of lists and maps each for itself. When the
    /// function returns an error, the record that read the value fails, and the value stays.
    ///
    /// ```
    /// use wasmill_sdk::prelude::*;
    /// use wasmill_sdk::testing::Harness;
    /// # mod former {
    /// #     use wasmill_sdk::prelude::*;
    /// #     pub struct Cards { card: ValueState<Card> }
    /// #     #[derive(Clone, Serialize, Deserialize, Schema)]
    /// #     pub struct Card { pub seen: u64 }
    /// #     impl Operator for Cards {
    /// #         type Key<'a> = &'a str;
    /// #         type Input<'a> = ();
    /// #         type Output<'a> = u64;
    /// #         fn declare(states: &mut Declaration) -> Self { Self { card: states.value("card") } }
    /// #         fn process(&mut self, _: (), ctx: &mut Context<Self>) -> Result<()> {
    /// #             let seen = self.card.get(ctx)?.map_or(0, |card| card.seen) + 1;
    /// #             self.card.set(ctx, Card { seen })?;
    /// #             ctx.emit(seen)
    /// #         }
    /// #     }
    /// # }
    ///
    /// /// What was kept in version 1.
    /// #[derive(Deserialize, Schema)]
    /// struct CardV1 {
    ///     seen: u64,
    /// }
    ///
    /// #[derive(Clone, Serialize, Deserialize, Schema)]
    /// struct Card {
    ///     seen: u64,
    ///     limit: u64,
    /// }
    ///
    /// struct Cards {
    ///     card: ValueState<Card>,
    /// }
    ///
    /// impl Operator for Cards {
    ///     type Key<'a> = &'a str;
    ///     type Input<'a> = ();
    ///     type Output<'a> = u64;
    ///
    ///     fn declare(states: &mut Declaration) -> Self {
    ///         let card = states.value("card");
    ///         states.schema_version(&card, 2);
    ///         states.migrates_from(&card, 1, |old: CardV1| Ok(Card { seen: old.seen, limit: 3 }));
    ///         Self { card }
    ///     }
    ///
    ///     /// Emits how often a card was seen, up to its limit.
    ///     fn process(&mut self, _: (), ctx: &mut Context<Self>) -> Result<()> {
    ///         let Card { seen, limit } = self.card.get(ctx)?.unwrap_or(Card { seen: 0, limit: 3 });
    ///         self.card.set(ctx, Card { seen: seen + 1, limit })?;
    ///         if seen < limit { ctx.emit(seen + 1) } else { Ok(()) }
    ///     }
    /// }
    ///
    /// let mut former = Harness::<former::Cards>::new();
    /// former.send("ace", ());
    /// former.send("ace", ());
    /// former.send("king", ());
    ///
    /// let mut harness = Harness::<Cards>::restore(former.snapshot());
    /// harness.send("ace", ());
    /// harness.send("ace", ());
    /// assert_eq!(harness.take_outputs::<u64>(), [3]);
    /// // The king was not written since.
    /// assert_eq!(harness.state_versions("card"), [(1, 1), (2, 1)].into());
    /// ```
    ///
    /// # Panics
    /// When `version` is 0, or has a function already. When declaring is over, also when it is not below the state's own version.
    pub fn migrates_from<S: Handle, F: for<'a> Decode<'a> + 'static>(
        &mut self,
        state: &S,
        version: u16,
        migrate: impl Fn(F) -> Result<S::Stored> + 'static,
    ) {
        assert!(version > 0, "schema versions begin at 1");
        let StateDescriptor { name, migrates_from, .. } = self.descriptor(state);
        match migrates_from.binary_search(&version) {
            Ok(_) => panic!("state \"{name}\" has two functions that migrate from schema version {version}"),
            Err(place) => migrates_from.insert(place, version),
        }
        let migrate: Rc<Migrate<S::Stored>> = Rc::new(move |bytes| migrate(F::decode(bytes)?));
        state.formers().add(version, Rc::clone(&migrate));
        let rewrite = Box::new(move |state: &StateDescriptor, values: &BytesColumn| {
            rewrite_each(&*migrate, version, state, values)
        });
        self.rewriters.push(Rewriter { state: state.index(), version, rewrite });
    }

    fn descriptor(&mut self, state: &impl Handle) -> &mut StateDescriptor {
        &mut self.descriptors[state.index() as usize]
    }

    fn point<T: Value>(&mut self, name: &str, kind: StateKind) -> Point<T> {
        let mut index = 0;
        let column = self.add::<T, _>(name, kind, |number| {
            index = number;
            Column::new(name, number)
        });
        Point { index, column }
    }

    fn set_map_key<K: MapKey>(&mut self) {
        if let Some(descriptor) = self.descriptors.last_mut() {
            descriptor.map_key = Some(K::document());
        }
    }

    fn add<T: Schema, S>(&mut self, name: &str, kind: StateKind, make: impl FnOnce(u32) -> S) -> Rc<Guarded<S>>
    where
        Guarded<S>: AnyState + 'static,
    {
        assert!(!name.is_empty(), "a state needs a name");
        assert!(self.descriptors.iter().all(|state| state.name != name), "state \"{name}\" is declared twice");
        let state = Rc::new(Guarded::new(make(self.descriptors.len() as u32)));
        self.states.push(state.clone());
        self.descriptors.push(StateDescriptor {
            name: name.to_owned(),
            kind,
            version: 1,
            schema: T::document(),
            map_key: None,
            migrates_from: Vec::new(),
            ttl: None,
            prefetch: kind.is_point(),
            on_end: false,
        });
        state
    }
}
