//! The folder that a dump goes to: whose it is, who works on it, and what of it may be removed.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::Parts;
use crate::job::stored_state::{MANIFEST, StoredStateError, StoredStateProblem, read_manifest};

/// Where tasks write while the job runs.
const UNFINISHED: &str = ".unfinished";
/// The manifest before it is whole.
const UNFINISHED_MANIFEST: &str = ".unfinished-manifest";
/// Folders of whole dumps have a number behind this.
const DATA: &str = "data-";

/// Why a dump can't go to a folder. Nothing in it was touched.
#[derive(Debug, Error)]
#[error("--dump-state {}: {problem}", folder.display())]
pub struct DumpFolderError {
    folder: PathBuf,
    problem: DumpFolderProblem,
}

#[derive(Debug, Error)]
enum DumpFolderProblem {
    #[error(
        "the folder holds `{0}` and no earlier dump; a dump goes to a new or empty folder, or takes the place of an earlier one"
    )]
    NotEmpty(String),
    #[error("the dump there can't be replaced ({0}); choose another folder, or empty this one")]
    Unreadable(StoredStateError),
    #[error("this is no folder; choose another name")]
    NoFolder,
    #[error("another job is dumping its state there; choose another folder, or wait for its end")]
    InUse,
    #[error("the folder can't be used: {0}")]
    Io(#[from] io::Error),
}

/// A folder that is claimed for the dump of one job. Dropping it removes what is not finished.
#[derive(Debug)]
pub struct DumpFolder {
    folder: PathBuf,
    /// It was made here, and goes again when nothing comes to lie in it.
    made: bool,
    pub(super) parts: Parts,
    lock: File,
}

impl DumpFolder {
    /// Claims a folder: one that is not there is made.
    ///
    /// # Errors
    /// [`DumpFolderError`] when it is not empty and holds no dump, when its dump is of a later version or damaged, when it is in use, and when it can't be written to.
    pub fn claim(folder: &Path) -> Result<Self, DumpFolderError> {
        Self::try_claim(folder).map_err(|problem| DumpFolderError { folder: folder.to_owned(), problem })
    }

    fn try_claim(folder: &Path) -> Result<Self, DumpFolderProblem> {
        let made = match fs::metadata(folder) {
            Ok(metadata) if !metadata.is_dir() => return Err(DumpFolderProblem::NoFolder),
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                true
            }
            Err(error) => return Err(error.into()),
        };
        let lock = File::open(folder)?;
        // Before anything is looked at: another process may be at work here.
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DumpFolderProblem::InUse,
            TryLockError::Error(error) => DumpFolderProblem::Io(error),
        })?;
        match read_manifest(folder) {
            Ok(_) => {}
            Err(StoredStateError { problem: StoredStateProblem::NoManifest, .. }) => {
                let strange = names(folder)?.into_iter().find(|name| name != UNFINISHED && name != UNFINISHED_MANIFEST);
                if let Some(name) = strange {
                    return Err(DumpFolderProblem::NotEmpty(name));
                }
            }
            Err(StoredStateError { problem: StoredStateProblem::Foreign, .. }) => {
                return Err(DumpFolderProblem::NotEmpty(MANIFEST.to_owned()));
            }
            Err(error) => return Err(DumpFolderProblem::Unreadable(error)),
        }
        let claimed = Self { folder: folder.to_owned(), made, parts: Parts::default(), lock };
        claimed.remove_unfinished()?;
        fs::create_dir(claimed.unfinished())?;
        Ok(claimed)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    pub(super) fn unfinished(&self) -> PathBuf {
        self.folder.join(UNFINISHED)
    }

    fn unfinished_manifest(&self) -> PathBuf {
        self.folder.join(UNFINISHED_MANIFEST)
    }

    /// A name for data that is not there.
    pub(super) fn next_data(&self) -> String {
        let numbers = names(&self.folder).unwrap_or_default();
        let last = numbers.iter().filter_map(|name| data_number(name)).max().unwrap_or(0);
        format!("{DATA}{}", last + 1)
    }

    /// Makes what tasks have written, and a manifest that names it as `data`, the dump in this folder.
    pub(super) fn publish(&self, data: &str, manifest: &str) -> io::Result<()> {
        // The tasks have synced their files, but not that they are there.
        sync(&self.unfinished())?;
        fs::rename(self.unfinished(), self.folder.join(data))?;
        let unfinished = self.unfinished_manifest();
        let mut file = File::create(&unfinished)?;
        file.write_all(manifest.as_bytes()).and_then(|()| file.sync_all())?;
        fs::rename(&unfinished, self.folder.join(MANIFEST))?;
        sync(&self.folder)?;
        self.remove_data_but(data)
    }

    /// Removes all data but that of this name.
    fn remove_data_but(&self, kept: &str) -> io::Result<()> {
        let names = names(&self.folder)?;
        let mut data = names.iter().filter(|name| *name != kept && data_number(name).is_some());
        data.try_for_each(|name| fs::remove_dir_all(self.folder.join(name)))
    }

    fn remove_unfinished(&self) -> io::Result<()> {
        let absent_is_well = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        absent_is_well(fs::remove_dir_all(self.unfinished()))?;
        absent_is_well(fs::remove_file(self.unfinished_manifest()))
    }
}

impl Drop for DumpFolder {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next dump.
        let _ = self.remove_unfinished();
        if self.made {
            // Fails when something is in it, as it should.
            let _ = fs::remove_dir(&self.folder);
        }
        // Closing the file alone would leave it locked while a process that is just being started still has a copy.
        let _ = self.lock.unlock();
    }
}

/// The number of a folder with data, if its name is one.
fn data_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(DATA)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Writes down to the disk which names a folder has.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    fs::read_dir(folder)?.map(name).collect()
}

#[cfg(test)]
mod tests;
