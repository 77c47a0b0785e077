//! One task's parts.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    HIDDEN, IN_PROGRESS, PREFIX, folder,
    part::{ClosedPart, Part},
};
use crate::{
    connector::{ConnectorError, Format, Prepared, SinkWriter, Transaction},
    stream::{Batch, CheckpointId, schema::Schema},
};

/// How many closed parts wait with an open file for the work of a checkpoint; older ones are synced at once. It bounds open files where parts are small.
const UNSYNCED_MAX: usize = 16;

/// What becomes of a part that is closed.
#[derive(Clone)]
pub(super) enum Closing {
    /// It becomes visible at once.
    Publish,
    /// It waits for a checkpoint. With the number of the next hidden name.
    SetAside(Arc<AtomicU64>),
}

/// Writes parts.
pub(super) struct FileWriter {
    folder: PathBuf,
    /// Task and input, as the names of all parts have them.
    name: String,
    format: Format,
    schema: Schema,
    part_bytes: u64,
    closing: Closing,
    /// Parts published so far.
    parts: u32,
    /// The part that is being written. Dropped, it is removed.
    part: Option<Part>,
    /// What waits for the next checkpoint. Dropped, they are removed.
    closed: Vec<ClosedPart>,
}

impl FileWriter {
    /// Writes values of a schema in a format.
    pub(super) fn new(
        folder: PathBuf,
        name: String,
        (format, schema): (Format, Schema),
        part_bytes: u64,
        closing: Closing,
    ) -> Self {
        Self { folder, name, format, schema, part_bytes, closing, parts: 0, part: None, closed: Vec::new() }
    }

    fn begin(&self) -> Result<Part, ConnectorError> {
        let name = match &self.closing {
            Closing::Publish => self.final_name(),
            Closing::SetAside(sequence) => {
                format!("{PREFIX}{}-{}", self.name, sequence.fetch_add(1, Ordering::Relaxed))
            }
        };
        let part = Part::create(self.folder.join(format!("{HIDDEN}{name}{IN_PROGRESS}")))?;
        if let Closing::Publish = self.closing {
            part.lock();
        }
        Ok(part)
    }

    /// The visible name of the present part, without checkpoints.
    fn final_name(&self) -> String {
        format!("{PREFIX}{}-{:04}.{}", self.name, self.parts, self.format.extension())
    }

    fn close(&mut self) -> Result<(), ConnectorError> {
        let Some(part) = self.part.take() else { return Ok(()) };
        let closed = part.close()?;
        if let Closing::SetAside(_) = self.closing {
            self.closed.push(closed);
            let synced = self.closed.len().saturating_sub(UNSYNCED_MAX).checked_sub(1);
            return synced.map_or(Ok(()), |index| self.closed[index].sync());
        }
        let visible = self.folder.join(self.final_name());
        self.parts += 1;
        closed.publish(&visible)
    }
}

impl SinkWriter for FileWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        for value in batch.values.iter() {
            let part = match &mut self.part {
                Some(part) => part,
                None => {
                    let part = self.begin()?;
                    self.part.insert(part)
                }
            };
            part.append(|buffer| self.format.append_line(value, &self.schema, buffer))?;
            if part.len() >= self.part_bytes {
                self.close()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.part.as_mut().map_or(Ok(()), Part::flush)
    }

    fn prepare_commit(&mut self, checkpoint: CheckpointId) -> Result<Prepared, ConnectorError> {
        if let Closing::Publish = self.closing {
            return Err(ConnectorError::Refused(format!(
                "{}: checkpoint {checkpoint} came to a sink that was prepared for a job without checkpoints; this is a bug of the host",
                self.folder.display()
            )));
        }
        self.close()?;
        let (mut transactions, mut unsynced) = (Vec::new(), Vec::new());
        for (number, part) in self.closed.drain(..).enumerate() {
            let visible = format!("{PREFIX}{:08}-{}-{number:04}.{}", checkpoint.0, self.name, self.format.extension());
            let (hidden, bytes) = (part.name(), part.bytes());
            transactions.push(Transaction { hidden, visible, bytes });
            unsynced.extend(part.keep());
        }
        if transactions.is_empty() {
            return Ok(Prepared::default());
        }
        let folder = self.folder.clone();
        let work = move || {
            unsynced.iter().try_for_each(|part| part.sync())?;
            // The hidden names are in the folder.
            folder::sync(&folder)
        };
        Ok(Prepared { transactions, work: Some(Box::new(work)) })
    }

    fn finish(mut self: Box<Self>) -> Result<(), ConnectorError> {
        match self.closing {
            Closing::Publish => self.close(),
            Closing::SetAside(_) if self.part.is_none() && self.closed.is_empty() => Ok(()),
            Closing::SetAside(_) => Err(ConnectorError::Refused(format!(
                "{}: records came after the last checkpoint and would be lost; this is a bug of the host",
                self.folder.display()
            ))),
        }
    }
}
