//! Where records come from and where they go.
//!
//! A connector knows nothing of tasks, channels and operators: a source gives each of its tasks a [`SourceReader`], a sink gives each of its tasks a
//! [`SinkWriter`], and both are driven by the runtime. Neither may block for longer than a disk access takes: inputs that block (standard input) have a reader
//! thread of their own. Connectors are given the time, they never read a clock.
//!
//! For exactly-once results a source says how far it was read ([`SourcePosition`]) and can be opened there again; a sink sets results aside as transactions
//! ([`Transaction`]), which become visible when a checkpoint is complete. What a checkpoint is and where it lies, connectors do not know. Some can't do it: standard
//! input can't be read twice ([`Source::replays`]), standard output can't be taken back ([`Sink::takes_back`]).

mod blackhole;
mod datagen;
mod file_sink;
mod file_source;
mod format;
mod json_key;
mod lines;
mod listing;
mod position;
mod records;
mod stdin;
mod stdout;
#[cfg(test)]
mod testing;
mod transaction;

use std::{path::PathBuf, time::Duration};

use thiserror::Error;

use crate::{
    metrics::CounterSet,
    stream::{Batch, BatchLimits, CheckpointId, schema::Schema},
};

pub use blackhole::Blackhole;
pub use datagen::{Datagen, Generator, NexmarkEvents, NexmarkField, NexmarkSettings, SensorSettings};
pub use file_sink::FileSink;
pub use file_source::{Codec, FileSource};
pub use json_key::{JsonKey, KeyPathError, KeyType};
pub use position::{SourceFile, SourcePosition, SplitOffset, SplitsRead};
pub use records::{Content, InvalidJson, LineFormat};
pub use stdin::StdinSource;
pub use stdout::StdoutSink;
pub use transaction::{Commits, Prepared, Transaction};

/// What a task of a source or sink is given when it opens.
pub struct TaskContext {
    /// This task's index, from 0.
    pub task: u32,
    /// How many tasks there are.
    pub parallelism: u32,
    /// Counters of this task by name, for what only the connector knows.
    pub counters: CounterSet,
    /// Wakes the task. For sources whose reader thread has something new.
    pub wake: Box<dyn Fn() + Send + Sync>,
}

/// A configured source.
pub trait Source: Send + Sync {
    /// Schema of the keys, if records have them.
    fn key_schema(&self) -> Option<Schema>;
    /// Schema of the values.
    fn value_schema(&self) -> Schema;
    /// The most tasks it can have.
    fn parallelism_max(&self) -> u32;
    /// Whether what was read can be read again. Where not, records that were read after the last checkpoint are lost by a fault, and the position is empty.
    fn replays(&self) -> bool;
    /// Looks at what there is to read, before the job starts, or takes it from a position and goes on there. Called before the first `reader`, and again before the
    /// readers of a job that is started anew after a fault; readers made before are dropped by then.
    ///
    /// # Errors
    /// When the input is not there or can't be read, or is no longer what it was at the position.
    fn prepare(&self, restored: Option<&SourcePosition>) -> Result<(), ConnectorError>;
    /// Where the source is once its tasks have read so much since [`prepare`](Self::prepare): all their [`SourceReader::position`]s, merged.
    fn position(&self, tasks: SplitsRead) -> SourcePosition;
    /// Opens the reader of a task.
    ///
    /// # Errors
    /// When the input can't be opened.
    fn reader(&self, context: TaskContext) -> Result<Box<dyn SourceReader>, ConnectorError>;
}

/// What came of a call of [`SourceReader::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// There may be more at once: the batch is full, or it was a convenient place to stop.
    More,
    /// Nothing more is at hand now. The task is called again when it is woken, and at the latest after this time.
    Waiting(Duration),
    /// This task will never have more.
    End,
}

/// One task's side of a source.
pub trait SourceReader: Send {
    /// Appends records to `batch` until it is full by `limits` or nothing more is at hand. `now` is the time since the job's start. May append fewer; must
    /// not block.
    ///
    /// # Errors
    /// When the input can't be read, or has what the settings do not allow.
    fn read(&mut self, now: Duration, batch: &mut Batch, limits: BatchLimits) -> Result<Read, ConnectorError>;
    /// What this task has read since the source was prepared, exactly up to the last record that it has given out.
    fn position(&mut self) -> SplitsRead;
}

/// A configured sink.
pub trait Sink: Send + Sync {
    /// The most tasks it can have.
    fn parallelism_max(&self) -> u32;
    /// Whether the records' keys are looked at; where not, they are not sent.
    fn reads_keys(&self) -> bool;
    /// Whether what was written after the last checkpoint disappears when the job goes back to it. Where not, records can come twice.
    fn takes_back(&self) -> bool;
    /// Checks and readies the place where records go, before the job starts, and again before the writers of a job that is started anew after a fault; writers made
    /// before are dropped by then.
    ///
    /// # Errors
    /// When it is not fit, or does not hold what it should by the restored checkpoint.
    fn prepare(&self, commits: Commits<'_>) -> Result<(), ConnectorError>;
    /// Makes transactions visible for good, those that are so already too. For another thread than the writers': it waits for the disk. A restore knows only those of
    /// the checkpoint that it goes back to; so before the next one is complete, this must have succeeded or the next one have them too.
    ///
    /// # Errors
    /// When one of them is not there any more or can't be made visible; it can be tried again.
    fn commit(&self, transactions: &[Transaction]) -> Result<(), ConnectorError>;
    /// Opens the writer of a task, one for each input of the sink: the records of `input` have the schema `value`.
    ///
    /// # Errors
    /// When the place can't be opened.
    fn writer(&self, context: TaskContext, value: &Schema) -> Result<Box<dyn SinkWriter>, ConnectorError>;
}

/// One task's side of a sink.
pub trait SinkWriter: Send {
    /// Takes records.
    ///
    /// # Errors
    /// When they can't be written.
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError>;
    /// Makes what was taken so far visible to whoever watches, as far as the sink's guarantees allow. Called when the input pauses.
    ///
    /// # Errors
    /// When it can't be written.
    fn flush(&mut self) -> Result<(), ConnectorError>;
    /// Sets aside what was taken since the last call: it belongs to this checkpoint. If the checkpoint fails, its transactions and their work belong to the next
    /// one, and whoever called this hands them on.
    ///
    /// # Errors
    /// When it can't be written, or the sink was not prepared for checkpoints.
    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Prepared, ConnectorError>;
    /// The input has ended or the job was stopped: without checkpoints, everything taken becomes final; with them, the commit of the last one does that, and nothing may
    /// have been taken after it. A writer that is dropped without this takes back what it can, but nothing that was set aside.
    ///
    /// # Errors
    /// When it can't be written.
    fn finish(self: Box<Self>) -> Result<(), ConnectorError>;
}

/// Why a connector failed.
#[derive(Debug, Error)]
pub enum ConnectorError {
    /// A file or folder can't be used.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The settings do not fit what is there; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// The input holds what the settings do not allow; the text says where.
    #[error("{0}")]
    Input(String),
    /// Whoever read the results has gone (a closed pipe): the job ends quietly.
    #[error("the reader of the results has gone")]
    Closed,
}

/// What a text source does with a line that is not UTF-8. Every such line is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum InvalidUtf8 {
    /// Each maximal invalid sequence becomes U+FFFD, as `String::from_utf8_lossy` does it.
    #[default]
    Replace,
    /// The line is left out.
    Skip,
    /// The job fails and names the place.
    Fail,
}

/// How the files of a file source are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Each as its name says: gzip where it ends with `.gz`, zstd where it ends with `.zst`, else not at all.
    #[default]
    Auto,
    /// Not at all, whatever their names.
    None,
    /// All by gzip.
    Gzip,
    /// All by zstd.
    Zstd,
}

/// How a sink writes a record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON document a line, by the recorded schema.
    #[default]
    Json,
    /// The value's bytes as they are, and a line feed.
    Raw,
}
