//! A part: one file, hidden while it is written.
//!
//! It ends in one of three ways: published (synced, then renamed to its visible name), kept under its hidden name for a checkpoint to make it visible, or dropped and
//! removed.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::{folder, io_error};
use crate::connector::ConnectorError;

/// How many bytes are gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is being written. Whoever drops it removes it.
pub(super) struct Part {
    file: File,
    hidden: Hidden,
    buffer: Vec<u8>,
    /// Bytes written to the file.
    written: u64,
}

/// A file that is written and not yet final. Whoever drops it removes it.
pub(super) struct ClosedPart {
    hidden: Hidden,
    bytes: u64,
    /// None: it is synced.
    file: Option<File>,
}

/// A file whose bytes may not have reached the disk yet.
pub(super) struct Unsynced {
    file: File,
    path: PathBuf,
}

/// A hidden file.
struct Hidden {
    path: PathBuf,
    fate: Fate,
}

/// What becomes of a hidden file when nobody holds it any more.
#[derive(PartialEq, Eq)]
enum Fate {
    Removed,
    Stays,
}

impl Part {
    /// Begins a part under its hidden name.
    pub(super) fn create(hidden: PathBuf) -> Result<Self, ConnectorError> {
        let file = File::create_new(&hidden).map_err(io_error(&hidden, "creating the file"))?;
        let buffer = Vec::with_capacity(BUFFER_BYTES + BUFFER_BYTES / 8);
        Ok(Self { file, hidden: Hidden { path: hidden, fate: Fate::Removed }, buffer, written: 0 })
    }

    /// Tells other runs that it is in use; where the file system knows no locks, nothing does.
    pub(super) fn lock(&self) {
        let _ = self.file.try_lock();
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
        written.map_err(io_error(&self.hidden.path, "writing to the file"))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Lets what follows be written elsewhere.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        self.file = file;
    }

    /// Writes all of it.
    pub(super) fn close(mut self) -> Result<ClosedPart, ConnectorError> {
        self.flush()?;
        Ok(ClosedPart { hidden: self.hidden, bytes: self.written, file: Some(self.file) })
    }
}

impl ClosedPart {
    /// The name of the hidden file.
    pub(super) fn name(&self) -> String {
        self.hidden.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes sure that it is on the disk. Its name in the folder may not be.
    pub(super) fn sync(&mut self) -> Result<(), ConnectorError> {
        self.file.take().map_or(Ok(()), |file| sync(&file, &self.hidden.path))
    }

    /// Makes the part visible, for good.
    pub(super) fn publish(mut self, visible: &Path) -> Result<(), ConnectorError> {
        if let Some(file) = &self.file {
            // It stays open, since the lock goes with it.
            sync(file, &self.hidden.path)?;
        }
        fs::rename(&self.hidden.path, visible)
            .map_err(io_error(&self.hidden.path, "renaming the file to its visible name"))?;
        self.hidden.fate = Fate::Stays;
        // The new name is in the folder, so the folder is synced too.
        folder::sync(visible.parent().unwrap_or(Path::new("/")))
    }

    /// Leaves the hidden file where it is. What is still to be synced.
    pub(super) fn keep(mut self) -> Option<Unsynced> {
        self.hidden.fate = Fate::Stays;
        let path = self.hidden.path.clone();
        self.file.take().map(|file| Unsynced { file, path })
    }
}

impl Unsynced {
    /// Makes sure that it is on the disk.
    pub(super) fn sync(&self) -> Result<(), ConnectorError> {
        sync(&self.file, &self.path)
    }
}

fn sync(file: &File, path: &Path) -> Result<(), ConnectorError> {
    file.sync_all().map_err(io_error(path, "syncing the file to the disk"))
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if self.fate == Fate::Removed {
            // It has no value any more; if it can't be removed, the next run will.
            let _ = fs::remove_file(&self.path);
        }
    }
}
