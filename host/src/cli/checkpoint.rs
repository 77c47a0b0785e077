//! `wasmill checkpoint`: which checkpoints there are, what is in them, whether they are whole, and their removal.
//!
//! Reads by the module that reads all stored state; it knows neither jobs nor plugins. What was asked for goes to standard output, progress and what else is to be said to standard
//! error.

mod delete;
mod list;
mod show;
mod verify;

use std::path::Path;

use super::args::CheckpointCommand;
use crate::{
    job::{StatePlace, StoredCheckpoint, StoredStateError, StoredStateProblem},
    stream::CheckpointId,
};

pub(super) fn checkpoint(command: CheckpointCommand) -> anyhow::Result<u8> {
    match command {
        CheckpointCommand::List(list) => list::list(list),
        CheckpointCommand::Show(show) => show::show(show),
        CheckpointCommand::Verify(verify) => verify::verify(verify),
        CheckpointCommand::Delete(delete) => delete::delete(delete),
    }
}

/// The checkpoint that is meant: the one in the place, or of a job's the newest or the one of this id.
fn one(path: &Path, id: Option<CheckpointId>) -> anyhow::Result<StoredCheckpoint> {
    match (StatePlace::open(path)?, id) {
        (StatePlace::Checkpoint(checkpoint), None) => Ok(checkpoint),
        (StatePlace::Checkpoint(checkpoint), Some(id)) if checkpoint.manifest().id == id => Ok(checkpoint),
        (StatePlace::Checkpoint(checkpoint), Some(id)) => Err(other(path, checkpoint.manifest().id, id)),
        (StatePlace::Job(checkpoints), None) => Ok(checkpoints.newest()?),
        (StatePlace::Job(checkpoints), Some(id)) => Ok(checkpoints.checkpoint(id)?),
        (StatePlace::Dump(..), _) => Err(no_checkpoint(path).into()),
    }
}

/// That the place is that of one checkpoint, and another one was asked for.
fn other(path: &Path, there: CheckpointId, wanted: CheckpointId) -> anyhow::Error {
    anyhow::anyhow!(
        "{} is the folder of checkpoint {there}; give that of the job to see checkpoint {wanted}",
        path.display()
    )
}

fn no_checkpoint(path: &Path) -> StoredStateError {
    StoredStateError { path: path.to_owned(), problem: StoredStateProblem::NoCheckpoint }
}
