//! What an operator says of its states.

use std::rc::Rc;
use std::time::Duration;

use crate::any_state::AnyState;
use crate::codec::Value;
use crate::column::Column;
use crate::descriptor::{StateDescriptor, StateKind};
use crate::entries::{Entries, Shape};
use crate::guarded::Guarded;
use crate::map_key::MapKey;
use crate::schema::Schema;
use crate::state::{
    Aggregate, AggregatingState, BroadcastMap, BroadcastState, Handle, Items, List, ListState, MapState, OperatorList,
    Point, PointHandle, ReducingState, ValueState,
};
use crate::ttl::{Refresh, Ttl};

/// The states of an operator, as they are declared. A state is found again by its name, in a checkpoint as in another version of the operator.
///
/// All functions that declare a state panic when the name is empty or was declared before.
#[derive(Default)]
pub struct Declaration {
    pub(crate) descriptors: Vec<StateDescriptor>,
    pub(crate) states: Vec<Rc<dyn AnyState>>,
}

impl Declaration {
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
        let entries = self.add::<V, _>(name, StateKind::Map, |index| Entries::new(name, index, Shape::Maps));
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
            let entries = Entries::new(column.name(), index, Shape::Points);
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

    /// The version of the state's schema, which is 1 unless it is said here. A type that changes needs a new version.
    ///
    /// # Panics
    /// When `version` is 0.
    pub fn schema_version(&mut self, state: &impl Handle, version: u16) {
        assert!(version > 0, "schema versions begin at 1");
        self.descriptor(state).version = version;
        self.states[state.index() as usize].set_version(version);
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
            ttl: None,
            prefetch: kind.is_point(),
            on_end: false,
        });
        state
    }
}
