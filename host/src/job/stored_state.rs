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

mod checkpoint_entries;
mod checkpoint_manifest;
mod checkpoints;
pub(super) mod data_file;
mod deletion;
pub(super) mod described;
mod dump_entries;
mod error;
mod format;
pub(super) mod manifest;
mod place;
mod verify;

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

pub use checkpoint_manifest::{
    CheckpointManifest, CheckpointedOperator, CheckpointedPlugin, CheckpointedSink, CheckpointedSource,
    CheckpointedTask, ExchangedSettings, FormerVersion, OpenSwap, Root, SegmentOfTask,
};
pub use checkpoints::{Checkpoints, FolderContents, FoundCheckpoint, StoredCheckpoint};
pub use deletion::{Deletion, DeletionError, JobLock, Unwanted};
pub use described::DescribedState;
pub use error::{StoredStateError, StoredStateProblem};
pub use manifest::{DumpManifest, Ended, PluginOfState, StoredFile, StoredOperator};
pub use place::StatePlace;
pub(in crate::job) use place::open_storage;
pub use verify::{DamagedFile, Held, Use, Verified, verify};

use self::{checkpoint_entries::CheckpointEntries, data_file::DataFileReader, dump_entries::DumpEntries};
use crate::{
    checkpoint::Storage,
    operator::StateKind,
    state::{StoredBytes, StoredError, StoredKey},
    stream::{EventTime, hash_key, key_group},
};

/// The name of the manifest in its folder.
pub(super) const MANIFEST: &str = "manifest.json";

/// No manifest is longer: schemas are most of it, and those are bounded.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// The state of a job, as it was stored.
#[derive(Debug)]
pub enum StoredState {
    /// What a job dumped when it had ended.
    Dump {
        /// Where it lies.
        folder: PathBuf,
        /// What it consists of.
        manifest: DumpManifest,
    },
    /// What a job had at a checkpoint.
    Checkpoint(StoredCheckpoint),
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
    Dump(&'s Path, &'s [StoredFile]),
    /// And when it was complete.
    Checkpoint(&'s Arc<dyn Storage>, &'s CheckpointedOperator, EventTime),
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

impl Counted {
    const NOTHING: Self = Self { entries: 0, bytes: 0, exact: true };

    fn and(self, more: Self) -> Self {
        Self { entries: self.entries + more.entries, bytes: self.bytes + more.bytes, exact: self.exact && more.exact }
    }
}

impl StoredState {
    /// Opens the state in a place: a dump, a checkpoint, or the newest one of a job's folder. Reads the manifest, and looks whether all files are there in full length.
    ///
    /// # Errors
    /// [`StoredStateError`].
    pub fn open(path: &Path) -> Result<Self, StoredStateError> {
        let checkpoint = match StatePlace::open(path)? {
            StatePlace::Dump(folder, manifest) => {
                for file in manifest.operators.iter().flat_map(|operator| &operator.files) {
                    DataFileReader::open(&folder.join(&file.path), file.facts)?;
                }
                return Ok(Self::Dump { folder, manifest });
            }
            StatePlace::Checkpoint(checkpoint) => checkpoint,
            StatePlace::Job(checkpoints) => checkpoints.newest()?,
        };
        match checkpoint.damage()?.into_iter().next() {
            Some(damage) => Err(damage),
            None => Ok(Self::Checkpoint(checkpoint)),
        }
    }

    /// The job's name.
    pub fn job(&self) -> &str {
        match self {
            Self::Dump { manifest, .. } => &manifest.job,
            Self::Checkpoint(checkpoint) => &checkpoint.manifest.job,
        }
    }

    /// How the job ended that had it; none: it ran on.
    pub fn ended(&self) -> Option<Ended> {
        match self {
            Self::Dump { manifest, .. } => Some(manifest.ended),
            Self::Checkpoint(checkpoint) => checkpoint.manifest.ended,
        }
    }

    /// The checkpoint that it is; none: it is a dump.
    pub fn checkpoint(&self) -> Option<&CheckpointManifest> {
        match self {
            Self::Dump { .. } => None,
            Self::Checkpoint(checkpoint) => Some(&checkpoint.manifest),
        }
    }

    /// All operators, also those without state, in the order of the job file.
    pub fn operators(&self) -> Vec<OperatorOfState<'_>> {
        match self {
            Self::Dump { folder, manifest } => {
                manifest.operators.iter().map(|operator| OperatorOfState::of_dump(folder, operator)).collect()
            }
            Self::Checkpoint(StoredCheckpoint { storage, manifest }) => {
                let since_epoch = manifest.completed.duration_since(UNIX_EPOCH).unwrap_or_default();
                let completed = EventTime(since_epoch.as_millis() as i64);
                let of = |operator| OperatorOfState::of_checkpoint(storage, operator, completed);
                manifest.operators.iter().map(of).collect()
            }
        }
    }

    fn max_parallelism(&self) -> u32 {
        match self {
            Self::Dump { manifest, .. } => manifest.max_parallelism,
            Self::Checkpoint(checkpoint) => checkpoint.manifest.max_parallelism,
        }
    }

    /// The entries of a state in the order of tasks and stored keys: keys by key group, then by length; map keys and list elements in their order. Of broadcast state, which is the
    /// same on all tasks, those of the first task. What had expired is left out: of a checkpoint, when it was complete.
    pub fn entries<'s>(&'s self, operator: OperatorOfState<'s>, state: &'s DescribedState) -> Entries<'s> {
        operator.entries(state, Wanted { state: state.number, key: None })
    }

    /// The entries that a key has in a keyed state. Reads of the task that owned the key only, and of a dump no more than up to the key, of a checkpoint its key group.
    pub fn entries_of_key<'s>(
        &'s self,
        operator: OperatorOfState<'s>,
        state: &'s DescribedState,
        key: &[u8],
    ) -> Entries<'s> {
        let group = key_group(hash_key(key), self.max_parallelism());
        operator.entries(state, Wanted { state: state.number, key: Some((group as u16, key.to_owned())) })
    }
}

impl<'s> OperatorOfState<'s> {
    fn of_dump(folder: &'s Path, operator: &'s StoredOperator) -> Self {
        Self {
            id: &operator.id,
            plugin: &operator.plugin.name,
            version: &operator.plugin.version,
            digest: &operator.plugin.digest,
            parallelism: operator.parallelism,
            states: &operator.states,
            tasks: TasksOfState::Dump(folder, &operator.files),
        }
    }

    fn of_checkpoint(storage: &'s Arc<dyn Storage>, operator: &'s CheckpointedOperator, completed: EventTime) -> Self {
        Self {
            id: &operator.id,
            plugin: &operator.plugin.name,
            version: &operator.plugin.version,
            digest: &operator.plugin.running,
            parallelism: operator.parallelism,
            states: &operator.states,
            tasks: TasksOfState::Checkpoint(storage, operator, completed),
        }
    }

    /// How much there is of one of its states.
    pub fn counted(&self, state: &DescribedState) -> Counted {
        match self.tasks {
            TasksOfState::Dump(..) => {
                Counted { entries: state.entries.unwrap_or(0), bytes: state.bytes.unwrap_or(0), exact: true }
            }
            TasksOfState::Checkpoint(_, operator, _) => operator.counted(state),
        }
    }

    fn entries(self, state: &'s DescribedState, wanted: Wanted) -> Entries<'s> {
        let shown = |tasks: usize| if state.kind == StateKind::Broadcast { tasks.min(1) } else { tasks };
        Entries(match self.tasks {
            TasksOfState::Dump(folder, files) => {
                EntriesOf::Dump(DumpEntries::new(folder, &files[..shown(files.len())], wanted))
            }
            TasksOfState::Checkpoint(storage, CheckpointedOperator { tasks, .. }, completed) => {
                let tasks = &tasks[..shown(tasks.len())];
                EntriesOf::Checkpoint(CheckpointEntries::new(storage, tasks, (state, completed), wanted))
            }
        })
    }
}

/// Reads the manifest of the dump in a folder.
pub(super) fn read_manifest(folder: &Path) -> Result<DumpManifest, StoredStateError> {
    DumpManifest::from_json(&folder.join(MANIFEST), &place::manifest_of_folder(folder)?)
}

/// Entries of a state.
pub struct Entries<'s>(EntriesOf<'s>);

enum EntriesOf<'s> {
    Dump(DumpEntries<'s>),
    Checkpoint(CheckpointEntries<'s>),
}

impl Entries<'_> {
    /// The next entry; none behind the last one. It is lent until the next call.
    ///
    /// # Errors
    /// [`StoredStateError`] when a file was cut or changed.
    #[expect(clippy::should_implement_trait, reason = "it lends, which an iterator can't")]
    pub fn next(&mut self) -> Result<Option<StoredEntry<'_>>, StoredStateError> {
        match &mut self.0 {
            EntriesOf::Dump(entries) => entries.next(),
            EntriesOf::Checkpoint(entries) => entries.next(),
        }
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
