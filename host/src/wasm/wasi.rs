//! WASI with nothing granted.
//!
//! No files, no network, no environment, no arguments, an empty standard input. Standard output and error become log lines; the clocks show the processing time of the
//! call; random numbers are a fixed sequence per task, so that the same input gives the same run.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{DynPollable, OutputStream, Pollable, StreamResult, pipe::MemoryOutputPipe},
};

use super::instance::Host;
use crate::operator::TaskInfo;

/// What a guest prints between two calls and is not logged is bounded by this many bytes.
const PRINTED_BYTES_MAX: usize = 64 << 10;
const RANDOM_BYTES: usize = 4096;

/// Processing time in milliseconds, set before each call.
#[derive(Clone, Default)]
pub(super) struct CallTime(pub(super) Arc<AtomicI64>);

impl CallTime {
    fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed).max(0) as u64
    }
}

impl HostWallClock for CallTime {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.ms())
    }
}

impl HostMonotonicClock for CallTime {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        self.ms() * 1_000_000
    }
}

/// What a guest has printed since its lines were last taken.
#[derive(Clone, Default)]
pub(super) struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    /// The lines, and what follows the last line feed if `all`.
    pub(super) fn take_lines(&self, all: bool) -> Vec<String> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that fills all the room is cut: nothing more would fit.
        let all = all || bytes.len() >= PRINTED_BYTES_MAX;
        let end = if all { bytes.len() } else { bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
        if end == 0 {
            return Vec::new();
        }
        let lines = String::from_utf8_lossy(&bytes[..end]).lines().map(str::to_owned).collect();
        bytes.drain(..end);
        lines
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only for WASI 0.3, which is not linked.
        Box::new(MemoryOutputPipe::new(0))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl OutputStream for Printed {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        let mut printed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = PRINTED_BYTES_MAX.saturating_sub(printed.len());
        printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PRINTED_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

/// What a guest is told that wants to wait. A trap, because a time budget interrupts guests only while they run.
#[derive(Debug, thiserror::Error)]
#[error("the operator asked WASI to wait, and operators may not sleep")]
pub(super) struct Sleeps;

/// Waiting is the one thing in WASI that could hold a task up for as long as a guest likes.
pub(super) fn forbid_sleeping(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type Refused = wasmtime::Result<(Resource<DynPollable>,)>;
    linker.allow_shadowing(true);
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    for name in ["subscribe-duration", "subscribe-instant"] {
        clock.func_wrap(name, |_: StoreContextMut<'_, Host>, (_,): (u64,)| -> Refused {
            Err(wasmtime::Error::new(Sleeps))
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// The context of an instance for `task`.
pub(super) fn context(task: &TaskInfo, time: &CallTime, printed: &Printed) -> WasiCtx {
    let name = format!("{}/{}/{}", task.job, task.operator, task.task);
    let seed = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    let random = || {
        Deterministic::new(
            (0..RANDOM_BYTES as u64 / 8)
                .flat_map(|index| xxhash_rust::xxh3::xxh3_64_with_seed(&index.to_le_bytes(), seed).to_le_bytes())
                .collect(),
        )
    };
    let mut builder = WasiCtx::builder();
    builder
        .stdout(printed.clone())
        .stderr(printed.clone())
        .wall_clock(time.clone())
        .monotonic_clock(time.clone())
        .secure_random(random())
        .insecure_random(random())
        .insecure_random_seed(u128::from(seed))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder.build()
}
