//! Lines of standard input.
//!
//! Reading it can block for ever, so a thread of its own does it and hands over chunks through a short channel; the channel's end blocks the thread when the job
//! is slower than the input. The thread is detached: it may hang in a read when the job has ended, and ends with the process.
//!
//! Standard input can't be replayed. Its position is empty, and a job that is started anew in the same process goes on with what comes next: the thread and the
//! chunks that wait outlive the task, and so do the bytes that it has not yet cut into records. **Records that were given out and are not covered by a checkpoint are
//! lost by a fault**, and those that were given out before the process ended are not there for the next one.
//!
//! Invariant: the way to the input is either in the source, as a [`Pipe`], or in its one reader.

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

use super::{
    ConnectorError, LineFormat, Read, Source, SourcePosition, SourceReader, SplitsRead, TaskContext, lines::Start,
    records::Records,
};
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

type Wake = Box<dyn Fn() + Send + Sync>;

/// The lines of standard input. Counters: `bytes-read` and those of the [`LineFormat`].
pub struct StdinSource {
    shared: Arc<Shared>,
    format: LineFormat,
}

/// What outlives a reader.
struct Shared {
    /// None while a reader has it.
    pipe: Mutex<Option<Pipe>>,
    /// Wakes the task of the present reader. The thread holds this and nothing else, so that it ends when nobody reads any more.
    wake: Arc<Mutex<Wake>>,
}

/// The way to the input, and what came by it and is no record yet.
struct Pipe {
    input: PipeInput,
    /// Bytes that were taken and not cut into records.
    rest: Vec<u8>,
    /// Offset of the first of them in the input.
    offset: u64,
}

/// Where bytes come from.
enum PipeInput {
    /// No thread reads it.
    Unread(Input),
    Read(Chunks),
    Ended,
}

/// The reader's side of the thread.
struct Chunks {
    received: Receiver<Chunk>,
    /// Takes back empty buffers.
    returned: SyncSender<Vec<u8>>,
}

impl StdinSource {
    /// Reads standard input.
    pub fn new(format: LineFormat) -> Self {
        Self::of(Box::new(io::stdin()), format)
    }

    /// Reads something else in the same way.
    pub fn of(input: Input, format: LineFormat) -> Self {
        let pipe = Pipe { input: PipeInput::Unread(input), rest: Vec::new(), offset: 0 };
        let shared = Shared { pipe: Mutex::new(Some(pipe)), wake: Arc::new(Mutex::new(Box::new(|| {}))) };
        Self { shared: Arc::new(shared), format }
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

    fn replays(&self) -> bool {
        false
    }

    fn prepare(&self, restored: Option<&SourcePosition>) -> Result<(), ConnectorError> {
        if restored.is_some_and(|position| *position != SourcePosition::default()) {
            return Err(ConnectorError::Refused(format!(
                "{NAME}: the checkpoint has a position of another type of source; set the source's \"type\" back to what it was"
            )));
        }
        Ok(())
    }

    fn position(&self, _: SplitsRead) -> SourcePosition {
        SourcePosition::default()
    }

    fn reader(&self, context: TaskContext) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let pipe = self
            .shared
            .take()
            .ok_or_else(|| ConnectorError::Refused(format!("{NAME} is being read already and can't be read twice")))?;
        let mut records = Records::new(&self.format, &context.counters);
        *self.shared.wake.lock().unwrap_or_else(PoisonError::into_inner) = context.wake;
        records.lines.begin(Arc::from(Path::new(NAME)), Start::Line, pipe.offset, u64::MAX);
        let bytes_read = context.counters.counter("bytes-read");
        let mut reader = StdinReader { shared: Arc::clone(&self.shared), input: pipe.input, records, bytes_read };
        reader.records.lines.room(pipe.rest.len()).copy_from_slice(&pipe.rest);
        reader.records.lines.took(pipe.rest.len())?;
        reader.start()?;
        Ok(Box::new(reader))
    }
}

impl Shared {
    fn take(&self) -> Option<Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put_back(&self, pipe: Pipe) {
        *self.pipe.lock().unwrap_or_else(PoisonError::into_inner) = Some(pipe);
    }
}

/// What the thread hands over. Something follows only after bytes.
enum Chunk {
    Bytes(Vec<u8>),
    End,
    /// With the input, which may be tried again.
    Failed(io::Error, Input),
}

/// The thread's side.
struct Pump {
    input: Input,
    chunks: SyncSender<Chunk>,
    /// Buffers to use again.
    empty: Receiver<Vec<u8>>,
    wake: Arc<Mutex<Wake>>,
}

impl Pump {
    fn run(mut self) {
        let last = loop {
            match self.next() {
                Ok(bytes) if bytes.is_empty() => break Chunk::End,
                Ok(bytes) => {
                    if self.chunks.send(Chunk::Bytes(bytes)).is_err() {
                        return;
                    }
                    wake(&self.wake);
                }
                Err(error) => break Chunk::Failed(error, self.input),
            }
        };
        if self.chunks.send(last).is_ok() {
            wake(&self.wake);
        }
    }

    /// The next bytes; none at the end.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.resize(CHUNK_BYTES, 0);
        loop {
            match self.input.read(&mut buffer) {
                Ok(len) => {
                    buffer.truncate(len);
                    return Ok(buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn wake(wake: &Mutex<Wake>) {
    wake.lock().unwrap_or_else(PoisonError::into_inner)();
}

/// The task's side.
struct StdinReader {
    shared: Arc<Shared>,
    input: PipeInput,
    records: Records,
    bytes_read: Arc<Counter>,
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
            let received = match &self.input {
                PipeInput::Ended => return Ok(Read::End),
                PipeInput::Read(_) if chunks == CHUNKS_MAX => break,
                PipeInput::Read(chunks) => chunks.received.try_recv(),
                PipeInput::Unread(_) => Err(TryRecvError::Disconnected),
            };
            chunks += 1;
            match received {
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

    fn position(&mut self) -> SplitsRead {
        SplitsRead::default()
    }
}

impl StdinReader {
    /// Starts the thread if nothing reads the input.
    fn start(&mut self) -> Result<(), ConnectorError> {
        let PipeInput::Unread(_) = self.input else { return Ok(()) };
        let (sent, received) = sync_channel(CHUNKS_MAX);
        let (returned, empty) = sync_channel(CHUNKS_MAX);
        let chunks = PipeInput::Read(Chunks { received, returned });
        let PipeInput::Unread(input) = std::mem::replace(&mut self.input, chunks) else { return Ok(()) };
        let pump = Pump { input, chunks: sent, empty, wake: Arc::clone(&self.shared.wake) };
        let started = thread::Builder::new().name("wasmill-stdin".into()).spawn(move || pump.run());
        started.map(drop).map_err(|e| failed("starting the thread that reads it", e))
    }

    fn take(&mut self, chunk: Chunk) -> Result<(), ConnectorError> {
        match chunk {
            Chunk::Bytes(bytes) => {
                self.records.lines.room(bytes.len()).copy_from_slice(&bytes);
                self.records.lines.took(bytes.len())?;
                self.bytes_read.add(bytes.len() as u64);
                if let PipeInput::Read(chunks) = &self.input {
                    // If there is no place for it, it is not needed again.
                    let _ = chunks.returned.try_send(bytes);
                }
            }
            Chunk::End => {
                self.records.lines.end();
                self.input = PipeInput::Ended;
            }
            Chunk::Failed(error, input) => {
                self.input = PipeInput::Unread(input);
                return Err(failed("reading it", error));
            }
        }
        Ok(())
    }
}

impl Drop for StdinReader {
    fn drop(&mut self) {
        let (rest, offset) = self.records.lines.rest();
        let input = std::mem::replace(&mut self.input, PipeInput::Ended);
        self.shared.put_back(Pipe { input, rest: rest.to_vec(), offset });
    }
}

fn failed(doing: &'static str, source: io::Error) -> ConnectorError {
    ConnectorError::Io { path: NAME.into(), doing, source }
}
