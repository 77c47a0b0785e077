//! Lines of standard input.
//!
//! Reading it can block for ever, so a thread of its own does it and hands over chunks through a short channel; the channel's end blocks the thread when the job
//! is slower than the input. The thread is detached: it may hang in a read when the job has ended, and ends with the process.
//!
//! Standard input can't be replayed: it is opened once, by one task.

#[cfg(test)]
mod tests;

use std::{
    io::{self, Read as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use super::{ConnectorError, LineFormat, Read, Source, SourceReader, TaskContext, lines::Start, records::Records};
use crate::{
    metrics::Counter,
    stream::{Batch, BatchLimits, schema::Schema},
};

/// The name in error messages.
const NAME: &str = "standard input";

/// The longest chunk, in bytes: what a pipe holds on Linux.
const CHUNK_BYTES: usize = 64 << 10;

/// How many chunks wait at most.
const CHUNKS_MAX: usize = 8;

/// How long the task waits when it is not woken. It always is; this only bounds what a lost wake-up could do.
const WAIT_MAX: Duration = Duration::from_secs(1);

type Input = Box<dyn io::Read + Send>;

/// The lines of standard input. Counters: `bytes-read` and those of the [`LineFormat`].
pub struct StdinSource {
    input: Mutex<Option<Input>>,
    format: LineFormat,
}

impl StdinSource {
    /// Reads standard input.
    pub fn new(format: LineFormat) -> Self {
        Self::of(Box::new(io::stdin()), format)
    }

    /// Reads something else in the same way.
    pub fn of(input: Input, format: LineFormat) -> Self {
        Self { input: Mutex::new(Some(input)), format }
    }
}

impl Source for StdinSource {
    fn key_schema(&self) -> Option<Schema> {
        self.format.key_schema()
    }

    fn value_schema(&self) -> Schema {
        self.format.value_schema()
    }

    fn parallelism_max(&self) -> u32 {
        1
    }

    fn prepare(&self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn reader(&self, context: TaskContext) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        let input = input.ok_or_else(|| {
            let text = format!("{NAME} was opened before and can't be replayed");
            ConnectorError::Refused(text)
        })?;
        let mut records = Records::new(&self.format, &context.counters);
        records.lines.begin(Arc::from(Path::new(NAME)), Start::Line, 0, u64::MAX);
        let bytes_read = context.counters.counter("bytes-read");
        let (chunks, received) = sync_channel(CHUNKS_MAX);
        let (returned, empty) = sync_channel(CHUNKS_MAX);
        let pump = Pump { input, chunks, empty, wake: context.wake };
        thread::Builder::new()
            .name("wasmill-stdin".into())
            .spawn(move || pump.run())
            .map_err(|e| failed("starting the thread that reads it", e))?;
        Ok(Box::new(StdinReader { chunks: received, returned, records, bytes_read, ended: false }))
    }
}

/// What the thread hands over.
enum Chunk {
    Bytes(Vec<u8>),
    End,
    Failed(io::Error),
}

/// The thread's side.
struct Pump {
    input: Input,
    chunks: SyncSender<Chunk>,
    /// Buffers to use again.
    empty: Receiver<Vec<u8>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Pump {
    fn run(mut self) {
        loop {
            let chunk = self.next();
            let is_last = !matches!(chunk, Chunk::Bytes(_));
            if self.chunks.send(chunk).is_err() {
                return;
            }
            (self.wake)();
            if is_last {
                return;
            }
        }
    }

    fn next(&mut self) -> Chunk {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.resize(CHUNK_BYTES, 0);
        loop {
            match self.input.read(&mut buffer) {
                Ok(0) => return Chunk::End,
                Ok(len) => {
                    buffer.truncate(len);
                    return Chunk::Bytes(buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Chunk::Failed(error),
            }
        }
    }
}

/// The task's side.
struct StdinReader {
    chunks: Receiver<Chunk>,
    returned: SyncSender<Vec<u8>>,
    records: Records,
    bytes_read: Arc<Counter>,
    ended: bool,
}

impl SourceReader for StdinReader {
    fn read(&mut self, _: Duration, batch: &mut Batch, limits: BatchLimits) -> Result<Read, ConnectorError> {
        // No more chunks than the channel holds, so that an endless line does not keep the task from other things.
        let mut chunks = 0;
        while !batch.is_full(limits) {
            if self.records.lines.has_lines() {
                self.records.cut(batch, limits)?;
                continue;
            }
            if self.ended {
                return Ok(Read::End);
            }
            if chunks == CHUNKS_MAX {
                break;
            }
            chunks += 1;
            match self.chunks.try_recv() {
                Ok(chunk) => self.take(chunk)?,
                Err(TryRecvError::Empty) => return Ok(Read::Waiting(WAIT_MAX)),
                Err(TryRecvError::Disconnected) => {
                    let gone = io::Error::other("the thread that reads it has ended unexpectedly");
                    return Err(failed("reading it", gone));
                }
            }
        }
        Ok(Read::More)
    }
}

impl StdinReader {
    fn take(&mut self, chunk: Chunk) -> Result<(), ConnectorError> {
        match chunk {
            Chunk::Bytes(bytes) => {
                self.records.lines.room(bytes.len()).copy_from_slice(&bytes);
                self.records.lines.took(bytes.len())?;
                self.bytes_read.add(bytes.len() as u64);
                // If there is no place for it, it is not needed again.
                let _ = self.returned.try_send(bytes);
            }
            Chunk::End => {
                self.records.lines.end();
                self.ended = true;
            }
            Chunk::Failed(error) => return Err(failed("reading it", error)),
        }
        Ok(())
    }
}

fn failed(doing: &'static str, source: io::Error) -> ConnectorError {
    ConnectorError::Io { path: NAME.into(), doing, source }
}
