//! State that gathers: what goes in, what is kept and what comes out are three types.

use crate::Result;
use crate::codec::Value;
use crate::context::Context;
use crate::former::Formers;
use crate::operator::Operator;

use super::{Handle, Point, PointHandle};

/// How values are gathered, as Flink's `AggregateFunction` says it. See [`AggregatingState`] for a whole one.
pub trait Aggregate: 'static {
    /// What is added.
    type Input;
    /// What is kept, and stored.
    type Accumulator: Value + Clone;
    /// What comes out.
    type Output;

    /// An accumulator to which nothing was added.
    fn create(&self) -> Self::Accumulator;

    /// Adds a value.
    fn add(&self, accumulator: &mut Self::Accumulator, input: Self::Input);

    /// The result by now.
    fn get(&self, accumulator: &Self::Accumulator) -> Self::Output;

    /// Adds all that was added to `other`, which came after what was added to `accumulator`.
    fn merge(&self, accumulator: &mut Self::Accumulator, other: Self::Accumulator);
}

/// One accumulator per key.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// struct Mean;
///
/// impl Aggregate for Mean {
///     type Input = f64;
///     /// Sum and count.
///     type Accumulator = (f64, u64);
///     type Output = f64;
///
///     fn create(&self) -> (f64, u64) {
///         (0.0, 0)
///     }
///     fn add(&self, (sum, count): &mut (f64, u64), input: f64) {
///         *sum += input;
///         *count += 1;
///     }
///     fn get(&self, (sum, count): &(f64, u64)) -> f64 {
///         sum / *count as f64
///     }
///     fn merge(&self, (sum, count): &mut (f64, u64), other: (f64, u64)) {
///         *sum += other.0;
///         *count += other.1;
///     }
/// }
///
/// struct Means {
///     mean: AggregatingState<Mean>,
/// }
///
/// impl Operator for Means {
///     type Key<'a> = &'a str;
///     type Input<'a> = f64;
///     type Output<'a> = f64;
///
///     fn declare(states: &mut Declaration) -> Self {
///         Self { mean: states.aggregating("mean", Mean) }
///     }
///
///     fn process(&mut self, input: f64, ctx: &mut Context<Self>) -> Result<()> {
///         self.mean.add(ctx, input)?;
///         if let Some(mean) = self.mean.get(ctx)? {
///             ctx.emit(mean)?;
///         }
///         Ok(())
///     }
/// }
/// # let mut harness = wasmill_sdk::testing::Harness::<Means>::new();
/// # for input in [1.0, 2.0, 6.0] { harness.send("key", input); }
/// # assert_eq!(harness.take_outputs::<f64>(), [1.0, 1.5, 3.0]);
/// # assert_eq!(harness.state::<(f64, u64)>("mean", "key"), Some((9.0, 3)));
/// ```
pub struct AggregatingState<A: Aggregate> {
    point: Point<A::Accumulator>,
    aggregate: A,
}

impl<A: Aggregate> AggregatingState<A> {
    pub(crate) fn new(point: Point<A::Accumulator>, aggregate: A) -> Self {
        Self { point, aggregate }
    }

    /// Adds a value to the accumulator of the current key. Copies the accumulator, so that a record that fails can be undone.
    ///
    /// # Errors
    /// When the stored bytes do not decode or are of a schema version that is not migrated.
    #[inline(always)]
    pub fn add<O: Operator>(&self, ctx: &mut Context<'_, O>, input: A::Input) -> Result<()> {
        self.change(ctx, |aggregate, accumulator| aggregate.add(accumulator, input))
    }

    /// The result for the current key; `None` when nothing was added.
    ///
    /// # Errors
    /// As [`AggregatingState::add`].
    #[inline(always)]
    pub fn get<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<Option<A::Output>> {
        self.point.with(ctx, |accumulator| accumulator.map(|accumulator| self.aggregate.get(accumulator)))
    }

    /// The accumulator of the current key; `None` when nothing was added.
    ///
    /// # Errors
    /// As [`AggregatingState::add`].
    pub fn accumulator<O: Operator>(&self, ctx: &Context<'_, O>) -> Result<Option<A::Accumulator>> {
        self.point.get(ctx)
    }

    /// Adds all that was gathered in another accumulator: one of another namespace, or one that came as a record.
    ///
    /// # Errors
    /// As [`AggregatingState::add`].
    pub fn merge<O: Operator>(&self, ctx: &mut Context<'_, O>, other: A::Accumulator) -> Result<()> {
        self.change(ctx, |aggregate, accumulator| aggregate.merge(accumulator, other))
    }

    /// Forgets what was added for the current key.
    ///
    /// # Errors
    /// When the record has no key.
    pub fn clear<O: Operator>(&self, ctx: &mut Context<'_, O>) -> Result<()> {
        self.point.set(ctx, None)
    }

    #[inline(always)]
    fn change<O: Operator>(&self, ctx: &Context<'_, O>, change: impl FnOnce(&A, &mut A::Accumulator)) -> Result<()> {
        let mut accumulator = match self.point.get(ctx)? {
            Some(accumulator) => accumulator,
            None => self.aggregate.create(),
        };
        change(&self.aggregate, &mut accumulator);
        self.point.set(ctx, Some(accumulator))
    }
}

impl<A: Aggregate> Handle for AggregatingState<A> {
    type Stored = A::Accumulator;
    fn index(&self) -> u32 {
        self.point.index
    }
    fn formers(&self) -> Formers<A::Accumulator> {
        self.point.formers()
    }
}

impl<A: Aggregate> PointHandle for AggregatingState<A> {
    fn point(&self) -> &Point<A::Accumulator> {
        &self.point
    }
}
