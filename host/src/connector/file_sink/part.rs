//! A part: one file, hidden while it is written.
//!
//! It ends in one of two ways: published (synced, then renamed to its visible name), or dropped and removed.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::{HIDDEN, IN_PROGRESS, io_error};
use crate::connector::ConnectorError;

/// How many bytes are gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is being written. Whoever drops it removes it.
pub(super) struct Part {
    file: File,
    hidden: PathBuf,
    visible: PathBuf,
    buffer: Vec<u8>,
    /// Bytes written to the file.
    written: u64,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Hidden,
    Visible,
}

impl Part {
    /// Begins a part with that visible name.
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self, ConnectorError> {
        let hidden = folder.join(format!("{HIDDEN}{name}{IN_PROGRESS}"));
        let file = File::create_new(&hidden).map_err(io_error(&hidden, "creating the file"))?;
        // Tells other runs that it is in use; where the file system knows no locks, nothing does.
        let _ = file.try_lock();
        let buffer = Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 8);
        let visible = folder.join(name);
        Ok(Self { file, hidden, visible, buffer, written: 0, state: State::Hidden })
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Lets `line` append to the buffer.
    #[inline]
    pub(super) fn append(
        &mut self,
        line: impl FnOnce(&mut Vec<u8>) -> Result<(), ConnectorError>,
    ) -> Result<(), ConnectorError> {
        line(&mut self.buffer)?;
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what was gathered.
    pub(super) fn flush(&mut self) -> Result<(), ConnectorError> {
        let written = self.file.write_all(&self.buffer);
        written.map_err(io_error(&self.hidden, "writing to the file"))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Lets what follows be written elsewhere.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        self.file = file;
    }

    /// Makes the part visible, for good.
    pub(super) fn publish(mut self) -> Result<(), ConnectorError> {
        self.flush()?;
        self.file.sync_all().map_err(io_error(&self.hidden, "syncing the file to the disk"))?;
        fs::rename(&self.hidden, &self.visible)
            .map_err(io_error(&self.hidden, "renaming the file to its visible name"))?;
        self.state = State::Visible;
        // The new name is in the folder, so the folder is synced too.
        let folder = self.visible.parent().unwrap_or(Path::new("/"));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(io_error(folder, "syncing the folder to the disk"))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.state == State::Hidden {
            // It has no value any more; if it can't be removed, the next run will.
            let _ = fs::remove_file(&self.hidden);
        }
    }
}
