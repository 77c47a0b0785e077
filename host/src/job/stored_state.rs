//! State of a job that lies somewhere, and the way to read it: what a dump has written, and checkpoints.
//!
//! ```text
//! <folder>/manifest.json                             a dump: written last, the state is whole when this is there
//! <folder>/data-<number>/<operator>-<task>.state     the entries of one task; none for operators without state
//!
//! <job>/checkpoints/<id>/manifest.json               a checkpoint: written last, put-if-absent
//! <job>/segments/<operator>/….seg                    entries of a task, newest last; shared by checkpoints
//! ```
//!
//! A manifest says what there is: per operator its states, with kinds and schemas, and its files, with their lengths and checksums (see the modules `manifest`, for dumps, and
//! `checkpoint_manifest`). A file has stored keys and values of one task in their order: as the module `data_file` draws it in dumps, as a segment of the room `checkpoint` in
//! checkpoints. What keys and values are is frozen in the room `state`.
//!
//! A reader refuses what is newer than itself, and files that are missing, cut or changed, each time with the file's name and what to do. It believes nothing: every block is checked
//! before it is looked at. It neither writes nor prints, and does not know who wrote.

mod checkpoint_manifest;
pub(super) mod data_file;
pub(super) mod described;
mod dump_entries;
mod error;
mod format;
pub(super) mod manifest;

use std::{
    cmp::Ordering,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

pub use checkpoint_manifest::{
    CheckpointManifest, CheckpointMode, CheckpointedOperator, CheckpointedPlugin, CheckpointedSink, CheckpointedSource,
    CheckpointedTask, Root, SegmentOfTask,
};
pub use described::DescribedState;
pub use error::{StoredStateError, StoredStateProblem};
pub use manifest::{DumpManifest, Ended, PluginOfState, StoredFile, StoredOperator};

use self::{data_file::DataFileReader, dump_entries::DumpEntries};
use crate::{
    operator::StateKind,
    state::{StoredBytes, StoredError, StoredKey},
    stream::{hash_key, key_group},
};

/// The name of the manifest in its folder.
pub(super) const MANIFEST: &str = "manifest.json";

/// No manifest is longer: schemas are most of it, and those are bounded.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// The state of a job, as it was stored.
#[derive(Debug)]
pub struct StoredState {
    folder: PathBuf,
    manifest: DumpManifest,
}

/// An operator of which state is stored.
#[derive(Clone, Copy, Debug)]
pub struct OperatorOfState<'s> {
    /// Its id in the job.
    pub id: &'s str,
    /// The own name of the plugin that it ran.
    pub plugin: &'s str,
    /// The own version of that.
    pub version: &'s str,
    /// SHA-256 of that.
    pub digest: &'s str,
    /// Its number of tasks.
    pub parallelism: u32,
    /// Its states, in the order of their numbers.
    pub states: &'s [DescribedState],
    tasks: TasksOfState<'s>,
}

#[derive(Clone, Copy, Debug)]
enum TasksOfState<'s> {
    Dump(&'s [StoredFile]),
}

/// How much there is of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Entries.
    pub entries: u64,
    /// Bytes of their stored keys and values.
    pub bytes: u64,
    /// Whether that is so; else it is what all segments have together, and some of it was written anew or removed in later ones.
    pub exact: bool,
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

    /// The job's name.
    pub fn job(&self) -> &str {
        &self.manifest.job
    }

    /// How the job ended that had it; none: it ran on.
    pub fn ended(&self) -> Option<Ended> {
        Some(self.manifest.ended)
    }

    /// The checkpoint that it is; none: it is a dump.
    pub fn checkpoint(&self) -> Option<&CheckpointManifest> {
        None
    }

    /// All operators, also those without state, in the order of the job file.
    pub fn operators(&self) -> Vec<OperatorOfState<'_>> {
        self.manifest.operators.iter().map(OperatorOfState::of_dump).collect()
    }

    /// The entries of a state in the order of tasks and stored keys: keys by key group, then by length; map keys and list elements in their order. Of broadcast state, which is the
    /// same on all tasks, those of the first task.
    pub fn entries<'s>(&'s self, operator: OperatorOfState<'s>, state: &DescribedState) -> Entries<'s> {
        self.wanted_entries(operator, state, Wanted { state: state.number, key: None })
    }

    /// The entries that a key has in a keyed state. Reads of the task that owned the key only, and no more than up to the key.
    pub fn entries_of_key<'s>(
        &'s self,
        operator: OperatorOfState<'s>,
        state: &DescribedState,
        key: &[u8],
    ) -> Entries<'s> {
        let group = key_group(hash_key(key), self.manifest.max_parallelism);
        let wanted = Wanted { state: state.number, key: Some((group as u16, key.to_owned())) };
        self.wanted_entries(operator, state, wanted)
    }

    fn wanted_entries<'s>(
        &'s self,
        operator: OperatorOfState<'s>,
        state: &DescribedState,
        wanted: Wanted,
    ) -> Entries<'s> {
        let all_tasks = state.kind != StateKind::Broadcast;
        let TasksOfState::Dump(files) = operator.tasks;
        let files = &files[..if all_tasks { files.len() } else { files.len().min(1) }];
        Entries(DumpEntries::new(&self.folder, files, wanted))
    }
}

impl<'s> OperatorOfState<'s> {
    /// How much there is of one of its states.
    pub fn counted(&self, state: &DescribedState) -> Counted {
        Counted { entries: state.entries.unwrap_or(0), bytes: state.bytes.unwrap_or(0), exact: true }
    }

    fn of_dump(operator: &'s StoredOperator) -> Self {
        Self {
            id: &operator.id,
            plugin: &operator.plugin.name,
            version: &operator.plugin.version,
            digest: &operator.plugin.digest,
            parallelism: operator.parallelism,
            states: &operator.states,
            tasks: TasksOfState::Dump(&operator.files),
        }
    }
}

/// Reads the manifest of the dump in a folder.
pub(super) fn read_manifest(folder: &Path) -> Result<DumpManifest, StoredStateError> {
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
    let text = read(&path).map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => failed(folder, StoredStateProblem::NoManifest),
        _ => failed(&path, StoredStateProblem::Io(error)),
    })?;
    DumpManifest::from_json(&path, &text)
}

/// Entries of a state.
pub struct Entries<'s>(DumpEntries<'s>);

impl Entries<'_> {
    /// The next entry; none behind the last one. It is lent until the next call.
    ///
    /// # Errors
    /// [`StoredStateError`] when a file was cut or changed.
    #[expect(clippy::should_implement_trait, reason = "it lends, which an iterator can't")]
    pub fn next(&mut self) -> Result<Option<StoredEntry<'_>>, StoredStateError> {
        self.0.next()
    }
}

/// Which entries are wanted: those of a state, or of one key in it.
struct Wanted {
    state: u16,
    /// Key group and key.
    key: Option<(u16, Vec<u8>)>,
}

impl Wanted {
    fn key_group(&self) -> Option<u32> {
        self.key.as_ref().map(|(group, _)| (*group).into())
    }

    /// Where a stored key lies: `Equal`, it is wanted; `Less`, what is wanted may follow; `Greater`, nothing does any more.
    fn order_of(&self, stored_key: &[u8]) -> Result<Ordering, StoredError> {
        let stored = StoredKey::decode(stored_key)?;
        Ok(match &self.key {
            // Each key group has every state.
            None if stored.state == self.state => Ordering::Equal,
            None => Ordering::Less,
            Some((group, key)) => (stored.key_group, stored.state, stored.key.len(), stored.key).cmp(&(
                *group,
                self.state,
                key.len(),
                key,
            )),
        })
    }
}

/// What lies under a stored key.
fn decoded<'a>(task: u32, stored_key: &'a [u8], stored_value: &'a [u8]) -> Result<StoredEntry<'a>, StoredError> {
    let StoredKey { key, namespace, entry, .. } = StoredKey::decode(stored_key)?;
    let StoredBytes { version, value, .. } = StoredBytes::decode(stored_value)?;
    Ok(StoredEntry { task, key, namespace, entry, version, value })
}

#[cfg(test)]
mod tests;
