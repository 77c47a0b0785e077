//! What a sink finds in its folder, and what it does with it before anything is written.
//!
//! Ours are the names that begin with `part-` (results) and those of the form `.part-….inprogress` (leftovers, and the lock). Everything else is left alone.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{HIDDEN, IN_PROGRESS, PREFIX, io_error};
use crate::{
    connector::{ConnectorError, Transaction},
    stream::CheckpointId,
};

/// The hidden file that a run with checkpoints holds locked.
const LOCK: &str = ".part-lock.inprogress";

/// How many digits the number of a checkpoint has in a name, at least. A task's number never has so many.
const CHECKPOINT_DIGITS: usize = 8;

/// A run's claim to a folder. Dropped, it is given up.
pub(super) struct RunLock {
    /// Locked as long as it is open.
    _file: File,
    path: PathBuf,
}

impl RunLock {
    /// Claims a folder.
    ///
    /// # Errors
    /// When another run has it, or the folder can't be written to.
    pub(super) fn take(folder: &Path) -> Result<Self, ConnectorError> {
        let path = folder.join(LOCK);
        let failed = || io_error(&path, "trying to create a file in the folder");
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed())?;
            // Where the file system knows no locks, a second run can't be noticed.
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                return Err(in_use(&path));
            }
            // A run that gives up its claim removes the file, perhaps after it was opened here: then another one would not find this lock.
            let own = file.metadata().map_err(failed())?;
            match fs::metadata(&path) {
                Ok(found) if (found.dev(), found.ino()) == (own.dev(), own.ino()) => {
                    return Ok(Self { _file: file, path });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed()(error)),
            }
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // If it can't be removed, the next run uses it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes sure that there is a folder.
pub(super) fn create(folder: &Path) -> Result<(), ConnectorError> {
    if folder.exists() && !folder.is_dir() {
        return Err(ConnectorError::Refused(format!(
            "{}: this is not a folder; a file sink's path is the folder for its parts",
            folder.display()
        )));
    }
    fs::create_dir_all(folder).map_err(io_error(folder, "creating the folder"))
}

/// Makes sure that files can be written.
pub(super) fn probe(folder: &Path) -> Result<(), ConnectorError> {
    let probe = folder.join(format!("{HIDDEN}{PREFIX}probe{IN_PROGRESS}"));
    File::create(&probe).map_err(io_error(&probe, "trying to create a file in the folder"))?;
    fs::remove_file(&probe).map_err(io_error(&probe, "removing it"))
}

/// Makes sure that names in a folder survive a power failure.
pub(super) fn sync(folder: &Path) -> Result<(), ConnectorError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(io_error(folder, "syncing the folder to the disk"))
}

/// The names in a folder, sorted.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, ConnectorError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error(folder, "listing the folder"))? {
        let entry = entry.map_err(io_error(folder, "listing the folder"))?;
        // Ours are UTF-8.
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn results(folder: &Path) -> Result<Vec<String>, ConnectorError> {
    let mut names = names(folder)?;
    names.retain(|name| name.starts_with(PREFIX));
    Ok(names)
}

/// A folder must have no results yet.
pub(super) fn refuse_results(folder: &Path) -> Result<(), ConnectorError> {
    let results = results(folder)?;
    let Some(listed) = listed(&results) else { return Ok(()) };
    Err(ConnectorError::Refused(format!(
        "{folder}: the folder holds results of an earlier run ({listed}); remove them (rm {folder}/{PREFIX}*) or choose another folder",
        folder = folder.display(),
    )))
}

/// A folder must have results of checkpoints up to the restored one only. Later ones are removed if `discard_after` says so.
pub(super) fn go_back(
    folder: &Path,
    restored: CheckpointId,
    discard_after: Option<CheckpointId>,
) -> Result<(), ConnectorError> {
    let results = results(folder)?;
    let others: Vec<_> = results.iter().filter(|name| checkpoint_of(name).is_none()).collect();
    if let Some(listed) = listed(&others) {
        return Err(ConnectorError::Refused(format!(
            "{}: the folder holds results of a run without checkpoints ({listed}); move them away",
            folder.display()
        )));
    }
    let later: Vec<_> = results.iter().filter(|name| checkpoint_of(name) > Some(restored)).collect();
    let Some(listed) = listed(&later) else { return Ok(()) };
    if discard_after != Some(restored) {
        return Err(ConnectorError::Refused(format!(
            "{}: the folder holds results of checkpoints after {restored}, from which the job would go on ({listed}): they would come twice; go on from a later checkpoint, or let them be removed by --discard-results-after {restored}",
            folder.display()
        )));
    }
    for name in later {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(io_error(&path, "removing results of a later checkpoint"))?;
    }
    sync(folder)
}

/// The first name, and how many more there are.
fn listed(names: &[impl AsRef<str>]) -> Option<String> {
    let first = names.first()?.as_ref();
    Some(match names.len() {
        1 => first.to_owned(),
        count => format!("{first} and {} more", count - 1),
    })
}

/// The checkpoint whose number a visible name carries.
fn checkpoint_of(name: &str) -> Option<CheckpointId> {
    let (number, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let is_number = number.len() >= CHECKPOINT_DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_number).map(CheckpointId)
}

/// Makes transactions visible, those that are so already too.
pub(super) fn commit(folder: &Path, transactions: &[Transaction]) -> Result<(), ConnectorError> {
    if transactions.is_empty() {
        return Ok(());
    }
    transactions.iter().try_for_each(|transaction| commit_one(folder, transaction))?;
    // Also where all was visible: nobody knows whether it came to this the last time.
    sync(folder)
}

fn commit_one(folder: &Path, transaction: &Transaction) -> Result<(), ConnectorError> {
    let Transaction { hidden, visible, bytes } = transaction;
    let is_name = |name: &str| !name.contains('/');
    if !(is_leftover(hidden) && visible.starts_with(PREFIX) && is_name(hidden) && is_name(visible)) {
        return Err(ConnectorError::Refused(format!(
            "{}: the checkpoint has results to commit that are not those of a file sink ({hidden:?} as {visible:?}); set the sink's \"type\" back to what it was",
            folder.display()
        )));
    }
    let (hidden, visible) = (folder.join(hidden), folder.join(visible));
    // First, because a hidden file beside it is what a later attempt has left under the same name.
    if is_whole(&visible, *bytes)? {
        return Ok(());
    }
    if is_whole(&hidden, *bytes)? {
        match fs::rename(&hidden, &visible) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map_err(io_error(&hidden, "renaming the file to its visible name")),
        }
    }
    // Another thread may have been faster.
    if is_whole(&visible, *bytes)? {
        return Ok(());
    }
    Err(ConnectorError::Refused(format!(
        "{}: these results are lost: by the checkpoint there are {bytes} bytes, here or as {}, and neither file is there; put it back, set the sink's \"path\" back if it was changed, or go on from another checkpoint",
        hidden.display(),
        visible.display()
    )))
}

/// Whether there is a file of that size.
fn is_whole(path: &Path, bytes: u64) -> Result<bool, ConnectorError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() == bytes => Ok(true),
        Ok(metadata) => Err(ConnectorError::Refused(format!(
            "{}: these results are damaged: by the checkpoint there are {bytes} bytes, but the file has {}; put it back as it was, or go on from another checkpoint",
            path.display(),
            metadata.len()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error(path, "looking at it")(error)),
    }
}

fn is_leftover(name: &str) -> bool {
    name.strip_prefix(HIDDEN).is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(IN_PROGRESS))
}

/// A number for hidden names above all that are in the folder or in the transactions. So a checkpoint whose parts are removed as leftovers, because the job went back
/// to an earlier one, never finds other parts in their place.
pub(super) fn fresh_sequence(folder: &Path, transactions: &[Transaction]) -> Result<u64, ConnectorError> {
    let names = names(folder)?;
    let hidden = names.iter().chain(transactions.iter().map(|transaction| &transaction.hidden));
    let sequence = |name: &String| name.strip_suffix(IN_PROGRESS)?.rsplit_once('-')?.1.parse::<u64>().ok();
    Ok(hidden.filter(|name| is_leftover(name)).filter_map(sequence).max().map_or(0, |last| last.saturating_add(1)))
}

/// Removes what earlier runs left hidden. `own` is this run's claim to the folder, if it has one.
///
/// # Errors
/// When another run is writing.
pub(super) fn remove_leftovers(folder: &Path, own: Option<&RunLock>) -> Result<(), ConnectorError> {
    // Another run's lock says that its parts are no leftovers, so it is looked at before them.
    if own.is_none() {
        remove_leftover(&folder.join(LOCK))?;
    }
    let names = names(folder)?;
    let mut leftovers = names.iter().filter(|name| is_leftover(name) && *name != LOCK);
    leftovers.try_for_each(|name| remove_leftover(&folder.join(name)))
}

fn remove_leftover(path: &Path) -> Result<(), ConnectorError> {
    let file = match File::open(path) {
        Ok(file) => file,
        // There is none, or its writer was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(path, "opening what an earlier run left")(error)),
    };
    // Where the file system knows no locks, a second run can't be noticed.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(in_use(path));
    }
    fs::remove_file(path).map_err(io_error(path, "removing what an earlier run left"))
}

fn in_use(path: &Path) -> ConnectorError {
    ConnectorError::Refused(format!(
        "{}: another run is writing into this folder; wait for its end or choose another folder",
        path.display()
    ))
}
