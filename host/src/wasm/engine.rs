//! The wasmtime engine of a process: its settings, its ticker, its linker.
//!
//! Settings and their reasons, measured for wasmtime 48 (`host/docs/decisions/0002-the-boundary.md`): concurrency support off (calls cost a third), epoch interruption
//! on (5 %), 4 GiB reservations with guard pages and signals as they are by default (without them 1.4 to 1.9 times slower).

use std::{path::PathBuf, sync::Arc, time::Duration};

use thiserror::Error;
use wasmtime::{Config, component::Linker};

use super::{cache::CompileCache, imports, instance::Host, wasi};

/// How often running guests are looked at. The granularity of time budgets.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Why there is no engine.
#[derive(Debug, Error)]
#[error("WebAssembly can't be run on this machine: {0}")]
pub struct EngineError(String);

/// What all plugins of a process share.
pub struct Engine {
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Linker<Host>,
    pub(super) cache: CompileCache,
}

impl Engine {
    /// Makes an engine that keeps compiled code in `cache` (none: compiles every time).
    ///
    /// # Errors
    /// When the system does not allow what wasmtime needs.
    pub fn new(cache: Option<PathBuf>) -> Result<Arc<Self>, EngineError> {
        let mut config = Config::new();
        config.concurrency_support(false);
        config.epoch_interruption(true);
        config.wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
        if std::env::var_os("WASMILL_PERF_MAP").is_some() {
            // For `perf`: names of compiled guest functions where `perf` looks for them.
            config.profiler(wasmtime::ProfilingStrategy::PerfMap);
        }
        let failed = |error: wasmtime::Error| EngineError(format!("{error:#}"));
        let engine = wasmtime::Engine::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(failed)?;
        wasi::forbid_sleeping(&mut linker).map_err(failed)?;
        imports::add_to_linker(&mut linker).map_err(failed)?;
        start_ticker(&engine).map_err(|error| EngineError(error.to_string()))?;
        let cache = CompileCache::new(cache, &engine);
        Ok(Arc::new(Self { engine, linker, cache }))
    }
}

/// Ticks as long as the engine lives.
fn start_ticker(engine: &wasmtime::Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("epoch ticker".into()).spawn(move || {
        loop {
            std::thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    })?;
    Ok(())
}
