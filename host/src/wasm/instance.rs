//! One live instance. The only file that calls the guest: it sets the time budget, calls, and turns whatever comes back into a result or a classified fault. After a
//! fault the store is dead and the instance is only good for being dropped.

use std::{cell::RefCell, sync::atomic::Ordering};

use wasmtime::{
    Store, WasmBacktrace,
    component::{
        ComponentNamedList, Func, Instance as WasmInstance, InstancePre, Lift, Lower, ResourceTable, TypedFunc,
    },
};
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

use super::{
    limits::{CallClock, MemoryCap, MemoryMeter, TimeBudget},
    plugin::Exports,
    wasi, wit,
};
use crate::{
    operator::{CallTime, Exchange, Failure, Instance, InstanceLimits, LogLevel, StateKind, TaskInfo, shortened},
    state::Delivery,
    stream::{Batch, Fault, FaultKind},
};

/// What belongs to an instance on the host's side.
pub(super) struct Host {
    /// The task's exchange during a call, an idle one otherwise.
    pub(super) exchange: RefCell<Box<Exchange>>,
    pub(super) clock: CallClock,
    pub(super) task: TaskInfo,
    pub(super) state_kinds: Vec<StateKind>,
    memory: MemoryMeter,
    time: wasi::CallTime,
    printed: wasi::Printed,
    wasi: WasiCtx,
    resources: ResourceTable,
}

impl Host {
    /// Processing time of the call, in milliseconds.
    pub(super) fn now(&self) -> i64 {
        self.time.0.load(Ordering::Relaxed)
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

/// The exports of an instance, their types checked.
struct Functions {
    open: TypedFunc<(&'static str, wit::TaskInfo), (Result<(), wit::Error>,)>,
    /// Called with columns that live only as long as the call; see `call_batch`.
    process: Func,
    on_end: Func,
    snapshot: TypedFunc<(), (Result<(), wit::Error>,)>,
    close: TypedFunc<(), (Result<(), wit::Error>,)>,
}

type Failures = (Result<Vec<wit::Failure>, wit::Error>,);

/// One live instance.
pub(super) struct WasmInstanceOfTask {
    store: Store<Host>,
    functions: Functions,
}

/// Makes a store and instantiates the component in it.
fn instantiate(
    pre: &InstancePre<Host>,
    limits: InstanceLimits,
    task: &TaskInfo,
    state_kinds: Vec<StateKind>,
) -> Result<(Store<Host>, WasmInstance), Fault> {
    let (time, printed) = (wasi::CallTime::default(), wasi::Printed::default());
    let host = Host {
        exchange: RefCell::new(Exchange::idle()),
        clock: CallClock::new(limits.call_time),
        wasi: wasi::context(task, &time, &printed),
        task: task.clone(),
        state_kinds,
        memory: MemoryMeter { limit: limits.memory_bytes_max, bytes: 0, table_elements: 0 },
        time,
        printed,
        resources: ResourceTable::new(),
    };
    let mut store = Store::new(pre.engine(), host);
    store.limiter(|host| &mut host.memory);
    store.epoch_deadline_callback(|ctx| ctx.data().clock.check());
    let ticks = store.data_mut().clock.begin();
    store.set_epoch_deadline(ticks);
    let instance = pre.instantiate(&mut store).map_err(|error| {
        let fault = classify(&error, None);
        Fault { message: format!("the component can't be instantiated: {}", fault.message), ..fault }
    })?;
    Ok((store, instance))
}

/// Runs `describe` on an instance of its own.
pub(super) fn describe(
    pre: &InstancePre<Host>,
    exports: &Exports,
    limits: InstanceLimits,
    task: &TaskInfo,
) -> Result<wit::Descriptor, Fault> {
    let (mut store, instance) = instantiate(pre, limits, task, Vec::new())?;
    let describe =
        instance.get_typed_func::<(), (wit::Descriptor,)>(&mut store, &exports.describe).map_err(|error| {
            Fault::new(FaultKind::GuestError, format!("the export describe has another type: {error:#}"))
        })?;
    let mut exchange = Exchange::idle();
    let (descriptor,) = call(&mut store, &mut exchange, 0, |store| describe.call(store, ()))?;
    Ok(descriptor)
}

impl WasmInstanceOfTask {
    pub(super) fn new(
        pre: &InstancePre<Host>,
        exports: &Exports,
        limits: InstanceLimits,
        task: &TaskInfo,
        state_kinds: Vec<StateKind>,
    ) -> Result<Self, Fault> {
        let (mut store, instance) = instantiate(pre, limits, task, state_kinds)?;
        let functions = Functions::find(&mut store, &instance, exports).map_err(|error| {
            Fault::new(FaultKind::HostBug, format!("an export changed its type after loading: {error:#}"))
        })?;
        Ok(Self { store, functions })
    }
}

impl Functions {
    fn find(store: &mut Store<Host>, instance: &WasmInstance, exports: &Exports) -> wasmtime::Result<Self> {
        let process = instance.get_typed_func::<(wit::Batch<'static>,), Failures>(&mut *store, &exports.process)?;
        let on_end =
            instance.get_typed_func::<(wit::Keys<'static>, &'static [u32]), Failures>(&mut *store, &exports.on_end)?;
        Ok(Self {
            open: instance.get_typed_func(&mut *store, exports.open)?,
            process: *process.func(),
            on_end: *on_end.func(),
            snapshot: instance.get_typed_func(&mut *store, exports.snapshot)?,
            close: instance.get_typed_func(&mut *store, exports.close)?,
        })
    }
}

impl Instance for WasmInstanceOfTask {
    fn open(
        &mut self,
        config: &str,
        task: &TaskInfo,
        time: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<(), Fault> {
        let open = self.functions.open;
        // SAFETY: as in `call_batch`; the type was checked with another lifetime.
        let open: TypedFunc<(&str, wit::TaskInfo), (Result<(), wit::Error>,)> =
            unsafe { TypedFunc::new_unchecked(*open.func()) };
        let (result,) = call(&mut self.store, exchange, time.now.0, |store| open.call(store, (config, task.into())))?;
        result.map_err(guest_error)
    }

    fn process(
        &mut self,
        input: u32,
        delivery: &Delivery,
        batch: &Batch,
        time: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault> {
        let argument = wit::Batch {
            input,
            keys: delivery.into(),
            slots: &delivery.slots,
            values: (&batch.values).into(),
            timestamps: &batch.timestamps,
            watermark: time.watermark.map(|watermark| watermark.0),
            now: time.now.0,
        };
        call_batch(&mut self.store, exchange, self.functions.process, time, (argument,))
    }

    fn on_end(
        &mut self,
        delivery: &Delivery,
        time: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault> {
        call_batch(
            &mut self.store,
            exchange,
            self.functions.on_end,
            time,
            (wit::Keys::from(delivery), &delivery.slots[..]),
        )
    }

    fn snapshot(&mut self, time: CallTime, exchange: &mut Box<Exchange>) -> Result<(), Fault> {
        let snapshot = self.functions.snapshot;
        let (result,) = call(&mut self.store, exchange, time.now.0, |store| snapshot.call(store, ()))?;
        result.map_err(guest_error)
    }

    fn close(&mut self, time: CallTime, exchange: &mut Box<Exchange>) -> Result<(), Fault> {
        let close = self.functions.close;
        let (result,) = call(&mut self.store, exchange, time.now.0, |store| close.call(store, ()))?;
        for line in self.store.data().printed.take_lines(true) {
            exchange.log(LogLevel::Info, "stdout", &line);
        }
        result.map_err(guest_error)
    }

    fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes
    }
}

/// Calls an export that takes columns and returns failures.
fn call_batch<P: ComponentNamedList + Lower>(
    store: &mut Store<Host>,
    exchange: &mut Box<Exchange>,
    func: Func,
    time: CallTime,
    params: P,
) -> Result<Vec<Failure>, Fault> {
    // SAFETY: `Functions::find` checked the function against this type with 'static in the place of the columns' lifetime, and a lifetime changes neither the type of
    // the component nor the layout of the parameters, which are only read while the call lasts.
    let func: TypedFunc<P, Failures> = unsafe { TypedFunc::new_unchecked(func) };
    let (result,) = call(store, exchange, time.now.0, |store| func.call(store, params))?;
    result.map(|failures| failures.into_iter().map(Failure::from).collect()).map_err(guest_error)
}

/// Calls the guest: hands the exchange in and takes it back, whatever happens.
fn call<R: Lift>(
    store: &mut Store<Host>,
    exchange: &mut Box<Exchange>,
    now_ms: i64,
    export: impl FnOnce(&mut Store<Host>) -> wasmtime::Result<R>,
) -> Result<R, Fault> {
    let host = store.data_mut();
    host.time.0.store(now_ms, Ordering::Relaxed);
    std::mem::swap(host.exchange.get_mut(), exchange);
    let ticks = host.clock.begin();
    store.set_epoch_deadline(ticks);
    let result = export(store);
    let host = store.data_mut();
    std::mem::swap(host.exchange.get_mut(), exchange);
    for line in host.printed.take_lines(result.is_err()) {
        exchange.log(LogLevel::Info, "stdout", &line);
    }
    result.map_err(|error| classify(&error, exchange.take_panic()))
}

fn guest_error(error: wit::Error) -> Fault {
    Fault::new(FaultKind::GuestError, shortened(&error.into_message()))
}

/// Whose a failed call is, and what to tell about it. The one place where this is decided.
fn classify(error: &wasmtime::Error, panic: Option<(String, Option<u32>)>) -> Fault {
    let (kind, message) = if error.downcast_ref::<MemoryCap>().is_some() {
        (FaultKind::MemoryLimit, root_cause(error))
    } else if error.downcast_ref::<TimeBudget>().is_some() {
        (FaultKind::TimeLimit, root_cause(error))
    } else if let Some((text, _)) = &panic {
        (FaultKind::Panic, format!("the operator panicked: {text}"))
    } else if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
        // A guest's stack lies before its other memory, so one that overflows leaves the memory.
        let hint = if *trap == wasmtime::Trap::MemoryOutOfBounds { " (or its stack overflowed)" } else { "" };
        (FaultKind::Trap, format!("the operator trapped: {}{hint}", trap.to_string().trim_start_matches("wasm trap: ")))
    } else if let Some(sleeps) = error.downcast_ref::<wasi::Sleeps>() {
        (FaultKind::Trap, sleeps.to_string())
    } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
        (FaultKind::Trap, format!("the operator called exit({})", exit.0))
    } else {
        // What is left: a list or string whose place is not in guest memory, text that is not UTF-8, a handle that is none.
        (FaultKind::MalformedColumns, format!("the operator broke the interface: {}", root_cause(error)))
    };
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(shown_backtrace);
    Fault { kind, message, backtrace, index: panic.and_then(|(_, index)| index) }
}

fn root_cause(error: &wasmtime::Error) -> String {
    shortened(&error.chain().last().map_or_else(|| error.to_string(), |cause| cause.to_string())).to_owned()
}

/// The frames, one a line, innermost first: function, and file and line where the component has debug information.
fn shown_backtrace(backtrace: &WasmBacktrace) -> String {
    const FRAMES_MAX: usize = 20;
    let frames = backtrace.frames().iter().take(FRAMES_MAX).map(|frame| {
        let name = frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), demangled);
        let place =
            frame.symbols().first().and_then(|symbol| Some(format!(" at {}:{}", symbol.file()?, symbol.line()?)));
        format!("{name}{}", place.unwrap_or_default())
    });
    frames.collect::<Vec<_>>().join("\n")
}

/// Drops the hash that Rust puts behind a function's name.
fn demangled(name: &str) -> String {
    let name = rustc_demangle::demangle(name);
    format!("{name:#}")
}
