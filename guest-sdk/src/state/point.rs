//! States with one value per key: [`ValueState`], [`ReducingState`], and what they share with [`AggregatingState`](super::AggregatingState).

use crate::Result;
use crate::codec::Value;
use crate::column::{Column, Shared, set};
use crate::context::Context;
use crate::former::Formers;
use crate::operator::Operator;

use super::{Handle, PointHandle};

/// Number and values of a state with one value per key.
#[doc(hidden)]
pub struct Point<T> {
    pub(crate) index: u32,
    pub(crate) column: Shared<T>,
}

impl<T: Value> Point<T> {
    #[inline(always)]
    pub(crate) fn with<O: Operator, R>(&self, ctx: &Context<'_, O>, look: impl FnOnce(Option<&T>) -> R) -> Result<R> {
        self.column.read(|column| Ok(look(column.get(ctx)?)))
    }

    #[inline(always)]
    pub(crate) fn get<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<Option<T>>
    where
        T: Clone,
    {
        self.column.read(|column| Ok(column.get(ctx)?.cloned()))
    }

    #[inline(always)]
    pub(crate) fn set<O: Operator>(&self, ctx: &Context<'_, O>, value: Option<T>) -> Result<()> {
        set(&self.column, ctx, value)
    }

    pub(crate) fn formers(&self) -> Formers<T> {
        self.column.read(Column::formers)
    }
}

/// One value per key.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// # struct Last { last: ValueState<String> }
/// # impl Operator for Last {
/// #     type Key<'a> = u64;
/// #     type Input<'a> = &'a str;
/// #     type Output<'a> = &'a str;
/// #     fn declare(states: &mut Declaration) -> Self { Self { last: states.value("last") } }
/// fn process(&mut self, input: &str, ctx: &mut Context<Self>) -> Result<()> {
///     // Emits a value when it differs from the one before.
///     let same = self.last.with(ctx, |last| last.is_some_and(|last| last == input))?;
///     if !same {
///         self.last.set(ctx, input.to_owned())?;
///         ctx.emit(input)?;
///     }
///     Ok(())
/// }
/// # }
/// # let mut harness = wasmill_sdk::testing::Harness::<Last>::new();
/// # for input in ["a", "a", "b"] { harness.send(1_u64, input); }
/// # assert_eq!(harness.take_outputs::<String>(), ["a", "b"]);
/// ```
pub struct ValueState<T> {
    point: Point<T>,
}

impl<T: Value> ValueState<T> {
    pub(crate) fn new(point: Point<T>) -> Self {
        Self { point }
    }

    /// The value of the current key; `None` when there is none. Large values are cheaper to look at by [`ValueState::with`].
    ///
    /// # Errors
    /// When the stored bytes do not decode or are of a schema version that is not migrated.
    #[inline(always)]
    pub fn get<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<Option<T>>
    where
        T: Clone,
    {
        self.point.get(ctx)
    }

    /// What `look` makes of the value of the current key.
    ///
    /// # Errors
    /// As [`ValueState::get`].
    #[inline(always)]
    pub fn with<O: Operator, R>(&self, ctx: &Context<'_, O>, look: impl FnOnce(Option<&T>) -> R) -> Result<R> {
        self.point.with(ctx, look)
    }

    /// Sets the value of the current key.
    ///
    /// # Errors
    /// When the record has no key.
    #[inline(always)]
    pub fn set<O: Operator>(&self, ctx: &mut Context<'_, O>, value: T) -> Result<()> {
        self.point.set(ctx, Some(value))
    }

    /// Removes the value of the current key; there need not be one.
    ///
    /// # Errors
    /// When the record has no key.
    #[inline(always)]
    pub fn clear<O: Operator>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        self.point.set(ctx, None)
    }

    /// Sets the value of the current key to what `change` makes of it. `None` stands for "no value" both ways.
    ///
    /// # Errors
    /// As [`ValueState::get`].
    #[inline(always)]
    pub fn update<O: Operator>(
        &self,
        ctx: &mut Context<'_, O>,
        change: impl FnOnce(Option<T>) -> Option<T>,
    ) -> Result<()>
    where
        T: Clone,
    {
        let old = self.get(ctx)?;
        let new = change(old);
        self.point.set(ctx, new)
    }
}

/// One value per key, folded at every [`add`](ReducingState::add).
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// # struct Max { max: ReducingState<u64> }
/// # impl Operator for Max {
/// #     type Key<'a> = &'a str;
/// #     type Input<'a> = u64;
/// #     type Output<'a> = u64;
/// #     fn declare(states: &mut Declaration) -> Self { Self { max: states.reducing("max", |a, b| a.max(b)) } }
/// fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
///     let max = self.max.add(ctx, input)?;
///     ctx.emit(max)
/// }
/// # }
/// # let mut harness = wasmill_sdk::testing::Harness::<Max>::new();
/// # for input in [3_u64, 5, 4] { harness.send("key", input); }
/// # assert_eq!(harness.take_outputs::<u64>(), [3, 5, 5]);
/// ```
pub struct ReducingState<T> {
    point: Point<T>,
    fold: fn(T, T) -> T,
}

impl<T: Value + Clone> ReducingState<T> {
    pub(crate) fn new(point: Point<T>, fold: fn(T, T) -> T) -> Self {
        Self { point, fold }
    }

    /// Folds `value` into the value of the current key and returns the result.
    ///
    /// # Errors
    /// When the stored bytes do not decode or are of a schema version that is not migrated.
    #[inline(always)]
    pub fn add<O: Operator>(&self, ctx: &mut Context<'_, O>, value: T) -> Result<T> {
        let new = match self.get(ctx)? {
            Some(old) => (self.fold)(old, value),
            None => value,
        };
        self.point.set(ctx, Some(new.clone()))?;
        Ok(new)
    }

    /// The folded value of the current key; `None` when nothing was added.
    ///
    /// # Errors
    /// As [`ReducingState::add`].
    #[inline(always)]
    pub fn get<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<Option<T>> {
        self.point.get(ctx)
    }

    /// Forgets what was added for the current key.
    ///
    /// # Errors
    /// When the record has no key.
    #[inline(always)]
    pub fn clear<O: Operator>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        self.point.set(ctx, None)
    }
}

macro_rules! handles {
    ($($state:ident),*) => {$(
        impl<T: Value> Handle for $state<T> {
            type Stored = T;
            fn index(&self) -> u32 {
                self.point.index
            }
            fn formers(&self) -> Formers<T> {
                self.point.formers()
            }
        }

        impl<T: Value> PointHandle for $state<T> {
            fn point(&self) -> &Point<T> {
                &self.point
            }
        }
    )*};
}

handles! { ValueState, ReducingState }
