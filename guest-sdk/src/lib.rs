//! Write wasmill stream operators in Rust: per record, in plain Rust, with typed state.
//!
//! ```
//! use wasmill_sdk::prelude::*;
//!
//! struct WordCount {
//!     count: ValueState<u64>,
//! }
//!
//! #[derive(Serialize, Schema)]
//! struct Count<'a> {
//!     word: &'a str,
//!     count: u64,
//! }
//!
//! impl Operator for WordCount {
//!     type Key<'a> = &'a str;
//!     type Input<'a> = ();
//!     type Output<'a> = Count<'a>;
//!
//!     fn declare(states: &mut Declaration) -> Self {
//!         Self { count: states.value("count") }
//!     }
//!
//!     fn process(&mut self, _: (), ctx: &mut Context<Self>) -> Result<()> {
//!         let count = self.count.get(ctx)?.unwrap_or(0) + 1;
//!         self.count.set(ctx, count)?;
//!         ctx.emit(Count { word: ctx.key(), count })
//!     }
//! }
//!
//! export_operator!(WordCount);
//!
//! // A test needs no wasm:
//! let mut harness = wasmill_sdk::testing::Harness::<WordCount>::new();
//! harness.send("to", ());
//! harness.send("be", ());
//! harness.send("to", ());
//! let last = harness.take_outputs_json().pop();
//! assert_eq!(last, Some(serde_json::json!({ "word": "to", "count": 2 })));
//! ```
//!
//! `wasmill build CRATE` makes the component and checks it; a job that names the crate does the same. `cargo build --target wasm32-wasip2 --release`
//! makes one as well, but without the link-time optimisation that `wasmill build` turns on: plain cargo leaves it out for crates that are both `cdylib` and `rlib`.
//!
//! # What the SDK does
//!
//! Records come in batches of about a thousand. State comes with them, once for each key that this instance has not seen, and stays decoded in an array; what changed is
//! encoded once and handed back at the end of the batch. So `get`, `set` and `emit` are a few instructions each, and no call leaves the sandbox while records are processed.
//!
//! # State
//!
//! | | holds | is read |
//! |---|---|---|
//! | [`ValueState`], [`ReducingState`], [`AggregatingState`] | one value per key | with the key, before it is asked for |
//! | the same, declared [for namespaces](Declaration::namespaced) | one value per key and [namespace](Context::set_namespace) | when it is asked for, then kept |
//! | [`MapState`] | a map per key and namespace, in the order of its keys | an entry when it is asked for, then kept; all of them by pages |
//! | [`ListState`] | a list per key and namespace | by pages; adding reads nothing |
//! | [`OperatorList`] | a list of the task | when the operator is opened |
//! | [`BroadcastState`] | a map that is the same on all tasks | when it is asked for first, then kept |
//!
//! Keyed state may have a [time to live](Declaration::ttl). An operator may have [other inputs](OtherInput), which share its state.
//!
//! # Changing the type of a state
//!
//! A job goes on with a new version of its operator, in a swap or from a checkpoint, and finds state by its name. Where the new version keeps another type under a name,
//!
//! 1. give the state a higher [`schema_version`](Declaration::schema_version), because values are told apart by it;
//! 2. keep the former type under another name, and give a function from it to the new one: [`migrates_from`](Declaration::migrates_from). A version before that keeps its
//!    function too, now to the newest type, until no value of it is left;
//! 3. test it: [`Harness::restore`](testing::Harness::restore) takes what the former version has left.
//!
//! Values are migrated when they are read and rewritten when they are written, so nothing is gone through when a job starts. What can't change under a name: the
//! [kind](StateKind) of state, the type of the key and that of a map's keys. For these a new state is declared under a new name.
//!
//! # What happens to errors
//!
//! An error that `process` returns undoes what this one record wrote and emitted, is reported with the record, and the batch goes on. A panic costs the batch: the host runs
//! it again in parts until the record that panics stands alone.
//!
//! # Bytes
//!
//! `&str` and `String` are UTF-8 as it is, `&[u8]` and `Vec<u8>` bytes as they are, `u64` 8 bytes (little-endian), `()` no bytes, [`Json<T>`](Json) is JSON, and everything
//! else [postcard](https://postcard.jamesmunns.com/wire-format). That is a matter of the whole key, value or state: within a struct all is postcard. [`Schema`] says it to the host.
//! [Keys of maps](MapKey) are bytes that are ordered as the keys are, whatever their schema.

// The derive macro names the crate by this name, in its own tests as anywhere.
#[allow(unused_extern_crates)]
extern crate self as wasmill_sdk;

mod any_state;
mod bytes;
mod cell;
mod codec;
mod column;
mod config;
mod context;
mod declaration;
mod descriptor;
mod entries;
mod former;
mod guarded;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod host;
mod input;
mod keys;
mod map_key;
mod metrics;
mod namespace;
mod operator;
mod output;
mod pages;
mod panics;
mod postcard;
mod result;
mod rewrite;
mod runner;
mod schema;
mod state;
mod stored;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod time;
mod ttl;
#[doc(hidden)]
pub mod wire;

pub use codec::{Decode, Encode, Json, Postcard, Value};
pub use context::Context;
pub use declaration::Declaration;
pub use descriptor::{Descriptor, InputDescriptor, StateDescriptor, StateKind};
pub use host::Level;
pub use input::{InputKind, Inputs, OtherInput};
pub use map_key::{KeyBytes, MapKey};
pub use operator::{OpenContext, Operator};
pub use output::{Keyed, Keying, Output, Unkeyed};
pub use result::{Error, Result};
pub use schema::{Encoding, Schema};
pub use state::{
    Aggregate, AggregatingState, BroadcastEntries, BroadcastState, Handle, ListItems, ListState, MapEntries, MapState,
    OperatorList, PointHandle, ReducingState, ValueState,
};
pub use time::EventTime;
pub use ttl::{Refresh, Ttl};
pub use wasmill_sdk_derive::Schema;
pub use wire::TaskInfo;
#[doc(hidden)]
pub use {host::Host, runner::Runner};

/// For `#[derive(Schema)]`.
#[doc(hidden)]
pub mod derive {
    pub use crate::schema::{Describe, Shape, Variant};
}

/// All that an operator needs.
pub mod prelude {
    pub use crate::{
        Aggregate, AggregatingState, BroadcastState, Context, Declaration, Error, EventTime, InputKind, Json, Keyed,
        Level, ListState, MapState, OpenContext, Operator, OperatorList, OtherInput, ReducingState, Refresh, Result,
        Schema, Unkeyed, ValueState, bail, debug, error, export_operator, info, trace, warn,
    };
    pub use serde::{Deserialize, Serialize};
}

/// Makes the component from an [`Operator`] and its [other inputs](OtherInput), in their order: once in a crate, which is a `cdylib`. Does nothing but for wasm.
#[macro_export]
macro_rules! export_operator {
    ($operator:ty $(, $input:ty)* $(,)?) => {
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            ::std::thread_local! {
                static INSTANCE: $crate::guest::Instance<$operator, ($($input,)*)> = const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            #[cfg(target_arch = "wasm32")]
            struct Component;

            #[cfg(target_arch = "wasm32")]
            impl $crate::guest::Component for Component {
                type Operator = $operator;
                type Inputs = ($($input,)*);
                const VERSION: &'static str = ::std::env!("CARGO_PKG_VERSION");
                fn instance() -> &'static ::std::thread::LocalKey<$crate::guest::Instance<$operator, ($($input,)*)>> {
                    &INSTANCE
                }
            }

            #[cfg(target_arch = "wasm32")]
            $crate::guest::bindings::export_component!(Component with_types_in $crate::guest::bindings);
        };
    };
}
