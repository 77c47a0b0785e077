//! What a person means by a path or URL: a dump, a checkpoint, or the folder of a job in the storage of its checkpoints.
//!
//! Whatever has a manifest of its own is what that says. A checkpoint's manifest says where its root is, and the checkpoint is read from there.

use std::{
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    MANIFEST, MANIFEST_BYTES_MAX,
    checkpoint_manifest::{CheckpointManifest, Root},
    checkpoints::{Checkpoints, StoredCheckpoint, manifest_text},
    error::{StoredStateError, StoredStateProblem},
    format::Format,
    manifest::DumpManifest,
};
use crate::checkpoint::{ObjectStorage, Storage, StorageError, StorageLocation};

/// The folder of a job's storage in which checkpoints lie.
const CHECKPOINTS: &str = "checkpoints";

/// What lies in a place.
#[derive(Debug)]
pub enum StatePlace {
    /// A dump in this folder.
    Dump(PathBuf, DumpManifest),
    /// One checkpoint.
    Checkpoint(StoredCheckpoint),
    /// A job's folder, with any number of checkpoints.
    Job(Checkpoints),
}

impl StatePlace {
    /// Looks at a path, or at a URL that is written as one.
    ///
    /// # Errors
    /// When there is nothing of the kind, and when a manifest or the storage can't be read.
    pub fn open(path: &Path) -> Result<Self, StoredStateError> {
        let failed = |problem| StoredStateError { path: path.to_owned(), problem };
        let url = path.to_str().filter(|text| text.contains("://"));
        let location = match url {
            Some(url) => StorageLocation::parse(url, Path::new("")).map_err(StoredStateError::of_storage)?,
            None => StorageLocation::Folder(path.to_owned()),
        };
        let manifest = match &location {
            StorageLocation::Folder(folder) => manifest_of_folder(folder),
            _ => manifest_of_url(&location),
        };
        let text = match manifest {
            Err(StoredStateError { problem: StoredStateProblem::NoManifest, path }) => {
                return job_folder(&location, path);
            }
            other => other?,
        };
        let manifest_path = path.join(MANIFEST);
        if Format::of(&manifest_path, &text)?.0 == Format::Dump {
            let StorageLocation::Folder(folder) = location else {
                return Err(failed(StoredStateProblem::NoCheckpoint));
            };
            return Ok(Self::Dump(folder, DumpManifest::from_json(&manifest_path, &text)?));
        }
        let manifest = CheckpointManifest::from_json(&manifest_path, &text)?;
        let root = above(location, manifest.root).ok_or_else(|| {
            let text = format!("its root, {} folders above it, is not there", manifest.root.0);
            StoredStateError { path: manifest_path.clone(), problem: StoredStateProblem::CheckpointManifest(text) }
        })?;
        Ok(Self::Checkpoint(StoredCheckpoint { storage: open_there(&root)?, manifest }))
    }
}

/// A folder's path without `..` and links, which storages do not follow.
fn canonical(folder: &Path) -> Result<PathBuf, StoredStateError> {
    fs::canonicalize(folder)
        .map_err(|error| StoredStateError { path: folder.to_owned(), problem: StoredStateProblem::Io(error) })
}

/// The storage in a place that is there.
fn open_there(location: &StorageLocation) -> Result<Arc<dyn Storage>, StoredStateError> {
    let location = &match location {
        StorageLocation::Folder(folder) => StorageLocation::Folder(canonical(folder)?),
        other => other.clone(),
    };
    open_storage(location).map_err(StoredStateError::of_storage)
}

/// A storage, with the settings of object stores that the environment has.
pub(in crate::job) fn open_storage(location: &StorageLocation) -> Result<Arc<dyn Storage>, StorageError> {
    // What is no text is no such setting.
    let environment =
        env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Arc::new(ObjectStorage::open(location, environment)?))
}

/// The manifest in a folder, as it is.
pub(super) fn manifest_of_folder(folder: &Path) -> Result<Vec<u8>, StoredStateError> {
    let failed = |path: &Path, problem| StoredStateError { path: path.to_owned(), problem };
    if let Err(error) = fs::metadata(folder) {
        let absent = error.kind() == io::ErrorKind::NotFound;
        return Err(failed(folder, if absent { StoredStateProblem::Absent } else { StoredStateProblem::Io(error) }));
    }
    let path = folder.join(MANIFEST);
    let read = |path: &Path| {
        let mut text = Vec::new();
        fs::File::open(path)?.take(MANIFEST_BYTES_MAX).read_to_end(&mut text)?;
        Ok(text)
    };
    read(&path).map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => failed(folder, StoredStateProblem::NoManifest),
        _ => failed(&path, StoredStateProblem::Io(error)),
    })
}

fn manifest_of_url(location: &StorageLocation) -> Result<Vec<u8>, StoredStateError> {
    manifest_text(&*open_there(location)?, MANIFEST).map(Vec::from).map_err(|error| match error.problem {
        StoredStateProblem::MissingOfCheckpoint => {
            StoredStateError { path: location.to_string().into(), problem: StoredStateProblem::NoManifest }
        }
        problem => StoredStateError { problem, ..error },
    })
}

/// A place without a manifest may be a job's folder.
fn job_folder(location: &StorageLocation, path: PathBuf) -> Result<StatePlace, StoredStateError> {
    let failed = |problem| StoredStateError { path: path.clone(), problem };
    let storage = match location {
        StorageLocation::Folder(folder) if !folder.join(CHECKPOINTS).is_dir() => {
            return Err(failed(StoredStateProblem::NoManifest));
        }
        _ => open_there(location)?,
    };
    let folder = match location {
        StorageLocation::Folder(folder) => Some(folder.clone()),
        _ => None,
    };
    Ok(StatePlace::Job(Checkpoints { storage, folder }))
}

/// The folder from which names are relative.
fn above(location: StorageLocation, Root(levels): Root) -> Option<StorageLocation> {
    let strip = |folder: &mut String| {
        (0..levels).all(|_| {
            let parent = folder.rfind('/').unwrap_or(0);
            let is_below = !folder.is_empty();
            folder.truncate(parent);
            is_below
        })
    };
    let mut location = location;
    match &mut location {
        // Where a link leads is where its manifest lies.
        StorageLocation::Folder(folder) => {
            *folder = fs::canonicalize(&folder).ok()?;
            (0..levels).try_for_each(|_| folder.pop().then_some(()))?;
        }
        StorageLocation::S3(bucket) | StorageLocation::GoogleCloud(bucket) | StorageLocation::Azure(bucket) => {
            strip(&mut bucket.folder).then_some(())?;
        }
        StorageLocation::Memory => {}
    }
    Some(location)
}
