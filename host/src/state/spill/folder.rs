//! The folder of a spill: scratch, wiped at every start, and never anybody else's.
//!
//! ```text
//! <directory>/wasmill-spill    our marker; locked while the spill lives
//! <directory>/database/        fjall's; the only thing that is ever removed
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{SpillError, SpillProblem};

/// A file of this name says that a folder is a spill's.
const MARKER: &str = "wasmill-spill";
const DATABASE: &str = "database";
const MARKER_TEXT: &str =
    "State that wasmill keeps here while a job runs. It is wiped at every start; checkpoints are elsewhere.\n";

/// A spill's folder, empty and locked. Dropping it removes the database and releases the lock.
#[derive(Debug)]
pub(super) struct Folder {
    directory: PathBuf,
    /// Holds the lock.
    marker: File,
}

impl Folder {
    /// Makes the folder or wipes it.
    ///
    /// # Errors
    /// When it holds something foreign (then nothing is touched), is locked, or can't be read or written.
    pub(super) fn claim(directory: &Path) -> Result<Self, SpillError> {
        let failed = |problem| SpillError { directory: directory.to_owned(), problem };
        let io = |during| move |error: io::Error| failed(SpillProblem::io(during, &error));
        fs::create_dir_all(directory).map_err(io("making the folder"))?;
        let mut ours = true;
        for entry in fs::read_dir(directory).map_err(io("listing the folder"))? {
            let name = entry.map_err(io("listing the folder"))?.file_name();
            if name != MARKER && name != DATABASE {
                return Err(failed(SpillProblem::Foreign(name.to_string_lossy().into_owned())));
            }
            ours &= name == MARKER || directory.join(MARKER).is_file();
        }
        if !ours {
            return Err(failed(SpillProblem::Foreign(DATABASE.to_owned())));
        }
        let mut marker = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(MARKER))
            .map_err(io("writing its marker"))?;
        // Before anything is removed: another process may be at work here.
        marker.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => failed(SpillProblem::InUse),
            TryLockError::Error(error) => failed(SpillProblem::io("locking its marker", &error)),
        })?;
        marker.set_len(0).and_then(|()| marker.write_all(MARKER_TEXT.as_bytes())).map_err(io("writing its marker"))?;
        let folder = Self { directory: directory.to_owned(), marker };
        folder.wipe().map_err(io("wiping the folder"))?;
        Ok(folder)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn database(&self) -> PathBuf {
        self.directory.join(DATABASE)
    }

    /// Bytes that its files occupy on the disk, as far as they can be told: files come and go meanwhile.
    pub(super) fn disk_bytes(&self) -> u64 {
        disk_bytes(&self.database())
    }

    fn wipe(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.database()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed now is removed at the next start.
        let _ = self.wipe();
        // Closing the file alone would leave it locked while a process that is just being started still has a copy.
        let _ = self.marker.unlock();
    }
}

fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        // Not the length: the journal is sparse.
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}
