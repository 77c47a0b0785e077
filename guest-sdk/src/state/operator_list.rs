//! A list that belongs to the task and not to a key.

use std::rc::Rc;

use crate::Result;
use crate::any_state::AnyState;
use crate::bytes::end;
use crate::codec::Value;
use crate::context::Context;
use crate::former::{Formers, Step};
use crate::guarded::Guarded;
use crate::host::{Host, seldom};
use crate::operator::Operator;
use crate::result::message;
use crate::stored::{self, Stored};
use crate::wire::{BytesColumn, Error as Fault};

use super::Handle;

/// A list that belongs to the task and not to a key: it is there when the operator is opened, and handed over whole at the end of each call that changed it. Meant for a
/// few items.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// # struct Number { count: OperatorList<u64> }
/// # impl Operator for Number {
/// #     type Key<'a> = ();
/// #     type Input<'a> = &'a str;
/// #     type Output<'a> = String;
/// #     fn declare(states: &mut Declaration) -> Self { Self { count: states.operator_list("count") } }
/// /// Numbers the lines of this task. After a change of parallelism a task has the counts of several tasks.
/// fn process(&mut self, line: &str, ctx: &mut Context<Self>) -> Result<()> {
///     let count = self.count.with(|counts| counts.iter().sum::<u64>()) + 1;
///     self.count.replace(ctx, vec![count]);
///     ctx.emit(format!("{count}: {line}"))
/// }
/// # }
/// # let mut harness = wasmill_sdk::testing::Harness::<Number>::new();
/// # for input in ["a", "b"] { harness.send((), input); }
/// # assert_eq!(harness.take_outputs::<String>(), ["1: a", "2: b"]);
/// # assert_eq!(harness.operator_list::<u64>("count"), [2]);
/// ```
pub struct OperatorList<T> {
    items: Rc<Guarded<Items<T>>>,
}

impl<T: Value> OperatorList<T> {
    pub(crate) fn new(items: Rc<Guarded<Items<T>>>) -> Self {
        Self { items }
    }

    /// What `look` makes of the items. May be called in [`Operator::open`] as well.
    pub fn with<R>(&self, look: impl FnOnce(&[T]) -> R) -> R {
        self.items.read(|items| look(&items.items))
    }

    /// The items.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.with(<[T]>::to_vec)
    }

    /// Adds an item to the end.
    pub fn push<O: Operator>(&self, ctx: &mut Context<'_, O>, item: T) {
        self.items.change(|items| {
            items.begin(ctx.record);
            items.items.push(item);
        });
    }

    /// Makes these the items.
    pub fn replace<O: Operator>(&self, ctx: &mut Context<'_, O>, new: Vec<T>) {
        self.items.change(|items| {
            items.begin(ctx.record);
            items.keep(new);
        });
    }

    /// Removes all items.
    pub fn clear<O: Operator>(&self, ctx: &mut Context<'_, O>) {
        self.replace(ctx, Vec::new());
    }

    /// Changes the items in any way. Copies them first, once for each record, so that a record that fails can be undone.
    pub fn change<O: Operator, R>(&self, ctx: &mut Context<'_, O>, change: impl FnOnce(&mut Vec<T>) -> R) -> R
    where
        T: Clone,
    {
        self.items.change(|items| {
            items.begin(ctx.record);
            if !matches!(items.old, Old::All(_)) {
                let copy = items.items.clone();
                items.keep(copy);
            }
            change(&mut items.items)
        })
    }
}

impl<T: Value> Handle for OperatorList<T> {
    type Stored = T;
    fn index(&self) -> u32 {
        self.items.read(|items| items.state)
    }
    fn formers(&self) -> Formers<T> {
        self.items.read(|items| items.formers.clone())
    }
}

/// The items of an operator's list.
pub(crate) struct Items<T> {
    name: String,
    state: u32,
    version: u16,
    formers: Formers<T>,
    items: Vec<T>,
    is_changed: bool,
    /// The record that wrote last, what was there before it, and whether that differed from what the host has.
    record: u64,
    old: Old<T>,
    was_changed: bool,
}

enum Old<T> {
    /// As many items from the start; the record added the others.
    First(usize),
    All(Vec<T>),
}

impl<T> Items<T> {
    pub(crate) fn new(name: &str, state: u32) -> Self {
        Self {
            name: name.to_owned(),
            state,
            version: 1,
            formers: Formers::default(),
            items: Vec::new(),
            is_changed: false,
            record: 0,
            old: Old::First(0),
            was_changed: false,
        }
    }

    fn begin(&mut self, record: u64) {
        if self.record != record {
            self.record = record;
            self.old = Old::First(self.items.len());
            self.was_changed = self.is_changed;
        }
        self.is_changed = true;
    }

    /// Puts new items there and keeps what was there before the record.
    fn keep(&mut self, new: Vec<T>) {
        let mut before = std::mem::replace(&mut self.items, new);
        if let Old::First(count) = self.old {
            before.truncate(count);
            self.old = Old::All(before);
        }
    }

    fn undo(&mut self, record: u64) {
        if self.record == record {
            match std::mem::replace(&mut self.old, Old::First(0)) {
                Old::First(count) => self.items.truncate(count),
                Old::All(items) => self.items = items,
            }
            self.is_changed = self.was_changed;
            self.record = 0;
        }
    }
}

impl<T: Value> AnyState for Guarded<Items<T>> {
    fn set_version(&self, version: u16) {
        self.change(|items| items.version = version);
    }

    fn open(&self, host: &dyn Host) -> Result<(), Fault> {
        self.change(|items| {
            let column = seldom::get_list(host, items.state)?;
            let values = Stored::new("an operator's list", &column, items.version)?;
            for index in 0..values.len() {
                let (from, bytes) = values.get(index);
                let step = Step { state: &items.name, from, to: items.version };
                let item = stored::decode(&items.formers, step, bytes);
                items.items.push(item.map_err(|error| Fault::State(message(&error)))?);
            }
            Ok(())
        })
    }

    fn undo(&self, _: u32, record: u64) {
        self.change(|items| items.undo(record));
    }

    fn flush(&self, host: &dyn Host) -> Result<(), Fault> {
        self.change(|items| {
            // What a record kept is of no use any more.
            (items.record, items.old) = (0, Old::First(0));
            if !std::mem::take(&mut items.is_changed) {
                return Ok(());
            }
            let mut values = BytesColumn::default();
            for item in &items.items {
                item.encode(&mut values.data)
                    .map_err(|error| Fault::State(format!("state \"{}\" doesn't encode: {error}", items.name)))?;
                values.ends.push(end(&values.data));
            }
            seldom::set_list(host, items.state, &values)
        })
    }
}
