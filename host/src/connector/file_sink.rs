//! Results as files of a folder.
//!
//! Each task writes parts of its own, each under a hidden name until it is whole and final; then it is renamed. So who watches the folder sees whole parts only, and a
//! part that is seen survives a power failure. A folder belongs to one job: results of an earlier run are never mixed with new ones. A second run in the same
//! folder finds a lock and is refused, instead of losing the first one's work.
//!
//! | | without checkpoints | with checkpoints |
//! |---|---|---|
//! | visible name | `part-<task>[-<input>]-<number>.jsonl` | `part-<checkpoint>-<task>[-<input>]-<number>.jsonl` |
//! | hidden name | the same, as `.part-….inprogress` | `.part-<task>[-<input>]-<sequence>.inprogress` |
//! | visible | when the part is closed | when the checkpoint at whose barrier it was set aside is complete |
//! | given up | when the writer is dropped | when the job goes back to an earlier checkpoint |
//! | locked | each part while it is written | the folder, by `.part-lock.inprogress`, from `prepare` until the sink is dropped |
//!
//! The number of a checkpoint has at least 8 digits, more than a task's ever has: so the first number of a name says which kind it is. Sequences go on over restarts,
//! so that a new writer's file never has the name of one that a dropped writer or another checkpoint knows; in another process, from what is left in the folder.
//!
//! Nothing visible is ever removed but results of later checkpoints, when a job goes back to an earlier one and was told to discard them.

mod folder;
mod part;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Commits, ConnectorError, Format, Sink, SinkWriter, TaskContext, Transaction};
use crate::stream::{MAX_PARALLELISM_LIMIT, schema::Schema};
use folder::RunLock;
use writer::{Closing, FileWriter};

/// What a part's visible name begins with.
const PREFIX: &str = "part-";
/// What stands before the name while a part is written.
const HIDDEN: &str = ".";
/// What stands behind the name while a part is written.
const IN_PROGRESS: &str = ".inprogress";

/// Files of lines in a folder.
pub struct FileSink {
    folder: PathBuf,
    format: Format,
    part_bytes: u64,
    run: Mutex<Run>,
    /// The next hidden name's number.
    sequence: Arc<AtomicU64>,
}

/// What [`Sink::prepare`] has begun.
struct Run {
    /// How many writers each task has opened: one for each of the sink's inputs.
    inputs: BTreeMap<u32, u32>,
    closing: Closing,
    /// Held while the job takes checkpoints.
    lock: Option<RunLock>,
}

impl FileSink {
    /// Writes into `folder`; a part is closed once it has `part_bytes` or more.
    pub fn new(folder: PathBuf, format: Format, part_bytes: u64) -> Self {
        let run = Run { inputs: BTreeMap::new(), closing: Closing::Publish, lock: None };
        Self { folder, format, part_bytes, run: Mutex::new(run), sequence: Arc::default() }
    }
}

impl Sink for FileSink {
    fn parallelism_max(&self) -> u32 {
        MAX_PARALLELISM_LIMIT
    }

    fn reads_keys(&self) -> bool {
        false
    }

    fn takes_back(&self) -> bool {
        true
    }

    fn prepare(&self, commits: Commits<'_>) -> Result<(), ConnectorError> {
        let folder = &self.folder;
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        folder::create(folder)?;
        run.closing = match commits {
            Commits::AtEnd => Closing::Publish,
            Commits::Fresh | Commits::Restored { .. } => Closing::SetAside(Arc::clone(&self.sequence)),
        };
        match (commits, &run.lock) {
            (Commits::AtEnd, _) => run.lock = None,
            (Commits::Fresh | Commits::Restored { .. }, None) => run.lock = Some(RunLock::take(folder)?),
            (Commits::Fresh | Commits::Restored { .. }, Some(_)) => {}
        }
        let fresh = folder::fresh_sequence(folder, commits.pending())?;
        self.sequence.fetch_max(fresh, Ordering::Relaxed);
        folder::commit(folder, commits.pending())?;
        match commits {
            Commits::AtEnd | Commits::Fresh => folder::refuse_results(folder)?,
            Commits::Restored { checkpoint, discard_after, .. } => {
                folder::go_back(folder, checkpoint, discard_after)?;
            }
        }
        folder::remove_leftovers(folder, run.lock.as_ref())?;
        run.inputs.clear();
        // Better now than when the first result is there.
        folder::probe(folder)
    }

    fn commit(&self, transactions: &[Transaction]) -> Result<(), ConnectorError> {
        folder::commit(&self.folder, transactions)
    }

    fn writer(&self, context: TaskContext, value: &Schema) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let count = run.inputs.entry(context.task).or_default();
        let (input, task) = (*count, context.task);
        *count += 1;
        let name = match input {
            0 => format!("{task:04}"),
            _ => format!("{task:04}-{input}"),
        };
        let (folder, closing) = (self.folder.clone(), run.closing.clone());
        Ok(Box::new(FileWriter::new(folder, name, (self.format, value.clone()), self.part_bytes, closing)))
    }
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> ConnectorError {
    let path = path.to_owned();
    move |source| ConnectorError::Io { path, doing, source }
}
