//! The component: generated bindings, and the thin layer between them and [`Runner`]. The only file that knows of them.

use std::cell::{Cell, RefCell};
use std::thread::LocalKey;

use crate::Operator;
use crate::descriptor::{Descriptor, InputDescriptor, StateKind};
use crate::host::{Host, Level};
use crate::input::Inputs;
use crate::output::Keying;
use crate::panics;
use crate::runner::Runner;
use crate::ttl::Refresh;
use crate::wire::{Batch, BytesColumn, Cells, Error, EventTime, Failure, Keys, StoredColumn, TaskInfo, TimerBatch};

/// What `wit-bindgen` makes of `wit/`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    unsafe_op_in_unsafe_fn,
    rust_2018_idioms
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "wasmill_sdk::guest::bindings",
        with: { "wasmill:operator/types@0.1.0": crate::wire },
    });
}

use bindings::exports::wasmill::operator::operator as exported;
use bindings::wasmill::operator::{keyed_state, logging, metrics, output, runtime_context};

/// Where a component keeps its instance.
pub type Instance<O, I> = RefCell<Option<Runner<O, I>>>;

/// What `export_operator!` implements.
pub trait Component {
    /// The operator.
    type Operator: Operator;
    /// Its inputs besides the first.
    type Inputs: Inputs<Self::Operator>;
    /// The version of its crate.
    const VERSION: &'static str;
    /// Its only instance.
    fn instance() -> &'static LocalKey<Instance<Self::Operator, Self::Inputs>>;
}

/// The imports.
struct Imports;

impl Host for Imports {
    fn put_many(&self, state: u32, cells: &Cells, values: &StoredColumn) -> Result<(), Error> {
        keyed_state::put_many(state, cells, values)
    }

    fn emit(&self, to: u32, src: &[u32], values: &BytesColumn, timestamps: &[EventTime]) -> Result<(), Error> {
        output::emit(to, src, values, timestamps)
    }

    fn emit_keyed(
        &self,
        to: u32,
        keys: &BytesColumn,
        values: &BytesColumn,
        timestamps: &[EventTime],
    ) -> Result<(), Error> {
        output::emit_keyed(to, keys, values, timestamps)
    }

    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Trace => logging::Level::Trace,
            Level::Debug => logging::Level::Debug,
            Level::Info => logging::Level::Info,
            Level::Warn => logging::Level::Warn,
            Level::Error => logging::Level::Error,
        };
        logging::log(level, "", message);
    }

    fn count(&self, name: &str, delta: u64) {
        metrics::count(name, delta);
    }

    fn gauge(&self, name: &str, value: f64) {
        metrics::gauge(name, value);
    }
}

/// The imports that a component has only when its operator uses them.
pub(crate) mod seldom {
    use super::bindings::wasmill::operator::{keyed_state, operator_state};
    use crate::host::Host;
    use crate::wire::{BytesColumn, Cells, Error, Page, StoredColumn};

    pub(crate) fn get_many(_: &dyn Host, state: u32, cells: &Cells) -> Result<StoredColumn, Error> {
        keyed_state::get_many(state, cells)
    }

    pub(crate) fn append_many(_: &dyn Host, state: u32, cells: &Cells, values: &BytesColumn) -> Result<(), Error> {
        keyed_state::append_many(state, cells, values)
    }

    pub(crate) fn clear_many(_: &dyn Host, state: u32, cells: &Cells) -> Result<(), Error> {
        keyed_state::clear_many(state, cells)
    }

    pub(crate) fn read(
        _: &dyn Host,
        state: u32,
        slot: u32,
        namespace: &[u8],
        from: Option<&[u8]>,
        bytes: u32,
    ) -> Result<Page, Error> {
        let keyed_state::Page { map_keys, values, next } = keyed_state::read(state, slot, namespace, from, bytes)?;
        Ok(Page { map_keys, values, next })
    }

    pub(crate) fn get_list(_: &dyn Host, state: u32) -> Result<StoredColumn, Error> {
        operator_state::get_list(state)
    }

    pub(crate) fn set_list(_: &dyn Host, state: u32, values: &BytesColumn) -> Result<(), Error> {
        operator_state::set_list(state, values)
    }

    pub(crate) fn put_broadcast(
        _: &dyn Host,
        state: u32,
        map_keys: &BytesColumn,
        values: &StoredColumn,
    ) -> Result<(), Error> {
        operator_state::put_broadcast(state, map_keys, values)
    }

    pub(crate) fn read_broadcast(_: &dyn Host, state: u32, from: Option<&[u8]>, bytes: u32) -> Result<Page, Error> {
        let operator_state::BroadcastPage { map_keys, values, next } =
            operator_state::read_broadcast(state, from, bytes)?;
        Ok(Page { map_keys, values, next })
    }
}

thread_local! {
    static OPENED: Cell<bool> = const { Cell::new(false) };
    static HOOKED: Cell<bool> = const { Cell::new(false) };
}

/// Reports panics to the host, once; in `describe`, where that may not be called, as a log line.
fn hook_panics() {
    if HOOKED.replace(true) {
        return;
    }
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("panic");
        let message = match info.location() {
            Some(place) => format!("{text} ({}:{}:{})", place.file(), place.line(), place.column()),
            None => text.to_owned(),
        };
        if OPENED.get() {
            runtime_context::report_panic(&message, panics::current());
        } else {
            logging::log(logging::Level::Error, "", &format!("panic: {message}"));
        }
    }));
}

/// Calls the opened instance.
fn with<C: Component, T>(
    call: impl FnOnce(&mut Runner<C::Operator, C::Inputs>) -> Result<T, Error>,
) -> Result<T, Error> {
    C::instance().with(|instance| match instance.try_borrow_mut() {
        Ok(mut instance) => match instance.as_mut() {
            Some(runner) => call(runner),
            None => Err(Error::Other("the instance was not opened".to_owned())),
        },
        Err(_) => Err(Error::Other("the instance is being called already".to_owned())),
    })
}

fn unsupported<T>(what: &str) -> Result<T, Error> {
    Err(Error::Unsupported(format!("this version of the SDK has no {what}")))
}

impl<C: Component> exported::Guest for C {
    fn describe() -> exported::Descriptor {
        hook_panics();
        let Descriptor { name, version, inputs, keying, output, states } =
            Descriptor::of::<C::Operator, C::Inputs>(C::VERSION);
        let keying = match keying {
            Keying::Keep => exported::Keying::Keep,
            Keying::Set(schema) => exported::Keying::Set(schema),
            Keying::Drop => exported::Keying::Drop,
        };
        let states = states.into_iter().map(|state| exported::StateDescriptor {
            name: state.name,
            kind: match state.kind {
                StateKind::Value => exported::StateKind::Value,
                StateKind::Reducing => exported::StateKind::Reducing,
                StateKind::Aggregating => exported::StateKind::Aggregating,
                StateKind::List => exported::StateKind::KeyedList,
                StateKind::Map => exported::StateKind::KeyedMap,
                StateKind::OperatorList => exported::StateKind::OperatorList,
                StateKind::OperatorUnion => exported::StateKind::OperatorUnion,
                StateKind::Broadcast => exported::StateKind::Broadcast,
            },
            version: state.version,
            schema: state.schema,
            map_key: state.map_key,
            migrates_from: state.migrates_from,
            ttl: state.ttl.map(|ttl| exported::Ttl {
                milliseconds: ttl.millis,
                refresh: match ttl.refresh {
                    Refresh::OnWrite => exported::TtlRefresh::OnWrite,
                    Refresh::OnReadAndWrite => exported::TtlRefresh::OnReadAndWrite,
                },
            }),
            prefetch: state.prefetch,
            on_end: state.on_end,
        });
        let inputs = inputs.into_iter().map(|InputDescriptor { name, key, value, broadcast }| {
            exported::InputDescriptor { name, key, value, broadcast }
        });
        exported::Descriptor {
            name,
            version,
            inputs: inputs.collect(),
            outputs: vec![exported::OutputDescriptor { name: "out".to_owned(), keying, value: output }],
            states: states.collect(),
            hooks: exported::Hooks::empty(),
        }
    }

    fn open(config: String, task: TaskInfo) -> Result<(), Error> {
        hook_panics();
        OPENED.set(true);
        let runner = Runner::open(&config, task, &Imports)?;
        C::instance().with(|instance| *instance.borrow_mut() = Some(runner));
        Ok(())
    }

    fn process(batch: Batch) -> Result<Vec<Failure>, Error> {
        with::<C, _>(|runner| runner.process(&batch, &Imports))
    }

    fn on_timers(_: TimerBatch) -> Result<Vec<Failure>, Error> {
        unsupported("timers")
    }

    fn on_watermark(_: EventTime) -> Result<(), Error> {
        unsupported("watermark hook")
    }

    fn on_end(keys: Keys, slots: Vec<u32>) -> Result<Vec<Failure>, Error> {
        with::<C, _>(|runner| runner.on_end(&keys, &slots, runtime_context::now(), &Imports))
    }

    fn snapshot() -> Result<(), Error> {
        // Each call has written what it changed.
        Ok(())
    }

    fn migrate(state: u32, from_version: u16, values: BytesColumn) -> Result<BytesColumn, Error> {
        with::<C, _>(|runner| runner.migrate(state, from_version, &values))
    }

    fn close() -> Result<(), Error> {
        C::instance().with(|instance| *instance.borrow_mut() = None);
        Ok(())
    }
}
