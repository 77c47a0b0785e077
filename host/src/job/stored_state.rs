//! State of a job that lies on the disk, and the way to read it: what a dump has written now; checkpoints and savepoints will be read here too.
//!
//! ```text
//! <folder>/manifest.json                     written last: the state is whole when this is there
//! <folder>/data-<number>/<operator>-<task>.state    the entries of one task; none for operators without state
//! ```
//!
//! The manifest says what there is: per operator its states, with kinds, schemas and counts, and its files, with their lengths and checksums (see the module `manifest`).
//! A file has the stored keys and values of one task in their order (see the module `data_file`); what those are is frozen in the room `state`. Paths in a manifest are relative to it
//! and go down only, so a folder may be moved.
//!
//! A reader refuses what is newer than itself, and files that are missing, cut or changed, each time with the file's name and what to do. It believes nothing: every block is checked
//! before it is looked at. It neither writes nor prints, and does not know who wrote.

pub(super) mod data_file;
mod error;
pub(super) mod manifest;

use std::{
    cmp::Ordering,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    slice,
};

pub use error::{StoredStateError, StoredStateProblem};
pub use manifest::{DescribedState, Ended, Manifest, PluginOfState, StoredFile, StoredOperator};

use self::data_file::DataFileReader;
use crate::{
    operator::StateKind,
    state::{StoredBytes, StoredKey},
    stream::{hash_key, key_group},
};

/// The version of manifest and files that this program writes, and the highest that it reads.
pub(super) const FORMAT_VERSION: u32 = 1;

/// The name of the manifest in its folder.
pub(super) const MANIFEST: &str = "manifest.json";

/// The state of a job, as it was stored.
#[derive(Debug)]
pub struct StoredState {
    folder: PathBuf,
    manifest: Manifest,
}

/// An entry of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredEntry<'a> {
    /// The task that had it.
    pub task: u32,
    /// The key; empty for operator state.
    pub key: &'a [u8],
    /// The namespace; empty: none.
    pub namespace: &'a [u8],
    /// The map key for maps, the index for lists; else empty.
    pub entry: &'a [u8],
    /// Schema version of the value.
    pub version: u16,
    /// The value.
    pub value: &'a [u8],
}

impl StoredState {
    /// Opens the state in a folder: reads the manifest, and looks whether all files are there in full length.
    ///
    /// # Errors
    /// [`StoredStateError`].
    pub fn open(folder: &Path) -> Result<Self, StoredStateError> {
        let state = Self { folder: folder.to_owned(), manifest: read_manifest(folder)? };
        for file in state.manifest.operators.iter().flat_map(|operator| &operator.files) {
            DataFileReader::open(&folder.join(&file.path), file.facts)?;
        }
        Ok(state)
    }

    /// What there is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The entries of a state in the order of tasks and stored keys: keys by key group, then by length; map keys and list elements in their order. Of broadcast state, which is the
    /// same on all tasks, those of the first task.
    pub fn entries<'s>(&'s self, operator: &'s StoredOperator, state: &DescribedState) -> Entries<'s> {
        let files = match state.kind {
            StateKind::Broadcast => &operator.files[..operator.files.len().min(1)],
            _ => &operator.files[..],
        };
        Entries { folder: &self.folder, files: files.iter(), current: None, state: state.number, wanted: None }
    }

    /// The entries that a key has in a keyed state. Reads the file of the task that owned the key, up to the key.
    pub fn entries_of_key<'s>(
        &'s self,
        operator: &'s StoredOperator,
        state: &DescribedState,
        key: &[u8],
    ) -> Entries<'s> {
        let group = key_group(hash_key(key), self.manifest.max_parallelism);
        let owner = operator.files.iter().position(|file| file.key_groups.contains(&group));
        let files = owner.map_or(&[][..], |owner| slice::from_ref(&operator.files[owner]));
        let wanted = Some(Wanted { group: group as u16, key: key.to_owned() });
        Entries { folder: &self.folder, files: files.iter(), current: None, state: state.number, wanted }
    }
}

/// Reads the manifest in a folder.
pub(super) fn read_manifest(folder: &Path) -> Result<Manifest, StoredStateError> {
    let failed = |path: &Path, problem| StoredStateError { path: path.to_owned(), problem };
    if let Err(error) = fs::metadata(folder) {
        let absent = error.kind() == io::ErrorKind::NotFound;
        return Err(failed(folder, if absent { StoredStateProblem::Absent } else { StoredStateProblem::Io(error) }));
    }
    let path = folder.join(MANIFEST);
    let read = |path: &Path| {
        let mut text = Vec::new();
        fs::File::open(path)?.take(manifest::MANIFEST_BYTES_MAX).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read(&path).map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => failed(folder, StoredStateProblem::NoManifest),
        _ => failed(&path, StoredStateProblem::Io(error)),
    })?;
    Manifest::from_json(&path, &text)
}

/// Entries of a state.
pub struct Entries<'s> {
    folder: &'s Path,
    files: slice::Iter<'s, StoredFile>,
    current: Option<(u32, DataFileReader)>,
    state: u16,
    wanted: Option<Wanted>,
}

struct Wanted {
    group: u16,
    key: Vec<u8>,
}

impl Wanted {
    /// The fields of a stored key in their order, as far as they lead to the key.
    fn order(&self, state: u16) -> (u16, u16, usize, &[u8]) {
        (self.group, state, self.key.len(), &self.key)
    }
}

enum Step {
    /// To an entry, of this task.
    Entry(u32),
    NextFile,
}

impl Entries<'_> {
    /// The next entry; none behind the last one. It is lent until the next call.
    ///
    /// # Errors
    /// [`StoredStateError`] when a file was cut or changed.
    #[expect(clippy::should_implement_trait, reason = "it lends, which an iterator can't")]
    pub fn next(&mut self) -> Result<Option<StoredEntry<'_>>, StoredStateError> {
        loop {
            if self.current.is_none() {
                let Some(file) = self.files.next() else { return Ok(None) };
                self.current = Some((file.task, DataFileReader::open(&self.folder.join(&file.path), file.facts)?));
            }
            match self.step()? {
                Step::NextFile => self.current = None,
                Step::Entry(task) => {
                    let (_, reader) = self.current.as_ref().expect("it has just been read");
                    let (StoredKey { key, namespace, entry, .. }, StoredBytes { version, value, .. }) =
                        decoded(reader)?;
                    return Ok(Some(StoredEntry { task, key, namespace, entry, version, value }));
                }
            }
        }
    }

    /// Goes on to the next entry of the state in the current file.
    fn step(&mut self) -> Result<Step, StoredStateError> {
        let Some((task, reader)) = &mut self.current else { return Ok(Step::NextFile) };
        while reader.advance()? {
            let (stored, _) = decoded(reader)?;
            match &self.wanted {
                None if stored.state == self.state => return Ok(Step::Entry(*task)),
                None => {}
                Some(wanted) => {
                    let found = (stored.key_group, stored.state, stored.key.len(), stored.key);
                    match found.cmp(&wanted.order(self.state)) {
                        Ordering::Less => {}
                        Ordering::Equal => return Ok(Step::Entry(*task)),
                        // Everything is in order: nothing more of the key can come.
                        Ordering::Greater => break,
                    }
                }
            }
        }
        Ok(Step::NextFile)
    }
}

/// The entry that was read last.
fn decoded(reader: &DataFileReader) -> Result<(StoredKey<'_>, StoredBytes<'_>), StoredStateError> {
    let (key, value) = reader.last();
    let decoded = StoredKey::decode(key).and_then(|key| Ok((key, StoredBytes::decode(value)?)));
    decoded.map_err(|error| reader.corrupt(&error.to_string()))
}

#[cfg(test)]
mod tests;
