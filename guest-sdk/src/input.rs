//! Inputs besides the first: a type for each, which is named where the operator is exported.

use std::marker::PhantomData;

use crate::Result;
use crate::codec::{Decode, short_name};
use crate::context::Context;
use crate::descriptor::{InputDescriptor, has_key};
use crate::host::Host;
use crate::operator::{Operator, kebab};
use crate::runner::Memory;
use crate::schema::Schema;
use crate::wire::{Batch, Error as Fault, Failure};

/// How the records of an input come to the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// By their key, which has the type of the operator's. All inputs with keys share the keyed state.
    Keyed,
    /// In any way, without a key; there is no keyed state.
    Unkeyed,
    /// Each record to every task, without a key; [broadcast state](crate::BroadcastState) can be written. The same record must lead to the same writes on every task.
    Broadcast,
}

/// Another input of an operator, besides [`Operator::Input`].
///
/// ```
/// use wasmill_sdk::prelude::*;
///
/// /// Says when a price is above the limit that was set for its article.
/// struct PriceAlert {
///     limits: BroadcastState<String, u64>,
/// }
///
/// impl Operator for PriceAlert {
///     type Key<'a> = &'a str;
///     type Input<'a> = u64;
///     type Output<'a> = u64;
///
///     fn declare(states: &mut Declaration) -> Self {
///         Self { limits: states.broadcast("limits") }
///     }
///
///     fn process(&mut self, price: u64, ctx: &mut Context<Self>) -> Result<()> {
///         match self.limits.get(ctx, ctx.key())? {
///             Some(limit) if price > limit => ctx.emit(price),
///             _ => Ok(()),
///         }
///     }
/// }
///
/// /// The limits, as they are set.
/// struct Limits;
///
/// impl OtherInput for Limits {
///     type Operator = PriceAlert;
///     type Value<'a> = (String, u64);
///     const KIND: InputKind = InputKind::Broadcast;
///
///     fn process(alert: &mut PriceAlert, (article, limit): (String, u64), ctx: &mut Context<PriceAlert>) -> Result<()> {
///         alert.limits.insert(ctx, article, limit)
///     }
/// }
///
/// export_operator!(PriceAlert, Limits);
///
/// let mut harness = wasmill_sdk::testing::Harness::<PriceAlert, (Limits,)>::new();
/// harness.send_to::<Limits>((), ("fig", 5_u64));
/// harness.send("fig", 5_u64);
/// harness.send("fig", 6_u64);
/// harness.send("pear", 7_u64);
/// assert_eq!(harness.take_outputs::<u64>(), [6]);
/// ```
pub trait OtherInput: Sized + 'static {
    /// Whose input it is.
    type Operator: Operator;
    /// The value of a record.
    type Value<'a>: Decode<'a>;
    /// How its records come.
    const KIND: InputKind;

    /// Processes one record. Where the input has no key, [`Context::key`] is not to be asked.
    ///
    /// # Errors
    /// As for [`Operator::process`].
    fn process<'b>(
        operator: &mut Self::Operator,
        value: Self::Value<'b>,
        ctx: &mut Context<'b, Self::Operator>,
    ) -> Result<()>;

    /// The input's name, by which the job file leads edges to it: that of the type, in kebab case.
    #[must_use]
    fn name() -> String {
        kebab(short_name::<Self>())
    }
}

/// The operator's first input.
pub(crate) struct First<O>(PhantomData<O>);

impl<O: Operator> OtherInput for First<O> {
    type Operator = O;
    type Value<'a> = O::Input<'a>;
    const KIND: InputKind = if has_key::<O::Key<'_>>() { InputKind::Keyed } else { InputKind::Unkeyed };

    #[inline(always)]
    fn process<'b>(operator: &mut O, value: O::Input<'b>, ctx: &mut Context<'b, O>) -> Result<()> {
        operator.process(value, ctx)
    }

    fn name() -> String {
        O::input_name()
    }
}

pub(crate) fn describe<A: OtherInput>() -> InputDescriptor {
    let keyed = matches!(A::KIND, InputKind::Keyed);
    InputDescriptor {
        name: A::name(),
        key: keyed.then(<<A::Operator as Operator>::Key<'_>>::document),
        value: <A::Value<'_>>::document(),
        broadcast: matches!(A::KIND, InputKind::Broadcast),
    }
}

/// The inputs of an operator besides the first: a tuple of up to 7 types that implement [`OtherInput`].
pub trait Inputs<O: Operator>: 'static {
    /// For the descriptor.
    #[doc(hidden)]
    fn describe() -> Vec<InputDescriptor>;

    /// Processes a batch of the input with this number, counted from the first of these.
    #[doc(hidden)]
    fn process(
        number: u32,
        operator: &mut O,
        memory: &mut Memory,
        batch: &Batch,
        host: &dyn Host,
    ) -> Result<Vec<Failure>, Fault>;
}

macro_rules! inputs {
    ($($input:ident)*) => {
        impl<O: Operator, $($input: OtherInput<Operator = O>),*> Inputs<O> for ($($input,)*) {
            fn describe() -> Vec<InputDescriptor> {
                vec![$(describe::<$input>()),*]
            }

            #[allow(unused_mut, unused_variables, unused_assignments)]
            fn process(
                number: u32,
                operator: &mut O,
                memory: &mut Memory,
                batch: &Batch,
                host: &dyn Host,
            ) -> Result<Vec<Failure>, Fault> {
                let mut first = 0;
                $(
                    if number == first {
                        return memory.process::<$input>(operator, batch, host);
                    }
                    first += 1;
                )*
                Err(Fault::InvalidInput(format!("there is no input {}", batch.input)))
            }
        }
    };
}

inputs! {}
inputs! { A }
inputs! { A B }
inputs! { A B C }
inputs! { A B C D }
inputs! { A B C D E }
inputs! { A B C D E F }
inputs! { A B C D E F G }
