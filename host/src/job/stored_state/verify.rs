//! Reads every file of checkpoints wholly, and says what is lost with each that is not as it was written.
//!
//! Checkpoints share files: each is read once.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use sha2::{Digest, Sha256};

use super::{
    checkpoint_manifest::CheckpointedTask,
    checkpoints::StoredCheckpoint,
    error::{StoredStateError, StoredStateProblem},
};
use crate::{
    checkpoint::{SegmentFacts, SegmentReader, Storage, Stored},
    state::NO_KEY_GROUP,
    stream::CheckpointId,
};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Keyed state.
    KeyedState {
        /// The first key group.
        first: u32,
        /// Behind the last one.
        end: u32,
    },
    /// Lists and broadcast maps of a task.
    OperatorState,
    /// The component of an operator.
    Plugin,
}

/// What a checkpoint needs a file for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The operator.
    pub operator: String,
    /// The task; none for a plugin.
    pub task: Option<u32>,
    /// What it holds of that.
    pub held: Held,
}

/// A file that is not as it was written.
#[derive(Debug)]
pub struct DamagedFile {
    /// What is wrong with it.
    pub error: StoredStateError,
    /// What is lost with it.
    pub lost: Vec<Use>,
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that were read.
    pub files: usize,
    /// All files that are to be read.
    pub files_all: usize,
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// Bytes of all segments that are to be read.
    pub bytes_all: u64,
}

/// What a file must be.
#[derive(Clone, Copy)]
enum Expected<'c> {
    Segment(&'c SegmentFacts),
    /// A component of this SHA-256.
    Plugin(&'c str),
}

struct File<'c> {
    name: &'c str,
    expected: Expected<'c>,
    uses: Vec<Use>,
}

/// Reads all files of checkpoints that lie in one storage, and tells after each how far it has come.
///
/// # Errors
/// When the storage can't be asked; what is missing or damaged is no error.
pub fn verify(
    checkpoints: &[StoredCheckpoint],
    progress: &mut dyn FnMut(Verified),
) -> Result<(Verified, Vec<DamagedFile>), StoredStateError> {
    let Some(StoredCheckpoint { storage, .. }) = checkpoints.first() else { return Ok(Default::default()) };
    let files = files(checkpoints);
    let mut verified = Verified {
        files_all: files.len(),
        bytes_all: files.iter().map(|file| file.expected.bytes()).sum(),
        ..Verified::default()
    };
    let mut damaged = Vec::new();
    for file in files {
        let bytes = file.expected.bytes();
        match file.read(storage) {
            Ok(()) => {}
            Err(error) if error.is_of_storage() => return Err(error),
            Err(error) => damaged.push(DamagedFile { error, lost: file.uses }),
        }
        verified.files += 1;
        verified.bytes += bytes;
        progress(verified);
    }
    Ok((verified, damaged))
}

/// All files with their uses, each once. Where two checkpoints expect different things of one name, one of them is wrong, and both are tried.
fn files<'c>(checkpoints: &'c [StoredCheckpoint]) -> Vec<File<'c>> {
    let mut files: BTreeMap<(&str, String), File<'c>> = BTreeMap::new();
    let mut add = |name: &'c str, expected: Expected<'c>, used| {
        let file = files.entry((name, expected.fingerprint()));
        file.or_insert_with(|| File { name, expected, uses: Vec::new() }).uses.push(used);
    };
    for manifest in checkpoints.iter().map(StoredCheckpoint::manifest) {
        for operator in &manifest.operators {
            let used = |task, held| Use { checkpoint: manifest.id, operator: operator.id.clone(), task, held };
            if let Some(file) = &operator.plugin.file {
                add(file, Expected::Plugin(&operator.plugin.running), used(None, Held::Plugin));
            }
            for CheckpointedTask { task, key_groups, segments, operator_state, .. } in &operator.tasks {
                let keyed = segments.iter().map(|segment| {
                    let Range { start, end } = segment.facts.key_groups;
                    (segment, Held::KeyedState { first: start.max(key_groups.start), end: end.min(key_groups.end) })
                });
                let keyless = operator_state.iter().map(|segment| (segment, Held::OperatorState));
                for (segment, held) in keyed.chain(keyless) {
                    add(&segment.name, Expected::Segment(&segment.facts), used(Some(*task), held));
                }
            }
        }
    }
    files.into_values().collect()
}

impl Expected<'_> {
    fn bytes(&self) -> u64 {
        match self {
            Expected::Segment(facts) => facts.bytes,
            Expected::Plugin(_) => 0,
        }
    }

    /// By which files of one name are told apart.
    fn fingerprint(&self) -> String {
        match self {
            Expected::Segment(facts) => format!("{:016x}-{}", facts.checksum, facts.bytes),
            Expected::Plugin(digest) => (*digest).to_owned(),
        }
    }
}

impl File<'_> {
    /// Reads all of it.
    fn read(&self, storage: &Arc<dyn Storage>) -> Result<(), StoredStateError> {
        match self.expected {
            Expected::Segment(facts) => {
                let reader = SegmentReader::open(Stored::new(Arc::clone(storage), self.name), facts);
                let mut cursor = reader.map_err(StoredStateError::of_segment)?.range(0..u32::from(NO_KEY_GROUP) + 1);
                while cursor.advance().map_err(StoredStateError::of_segment)? {}
                Ok(())
            }
            Expected::Plugin(expected) => {
                let component = storage.get(self.name).map_err(StoredStateError::of_storage)?;
                let found: String = Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
                if found == expected {
                    return Ok(());
                }
                let problem = StoredStateProblem::Plugin { found, expected: expected.to_owned() };
                Err(StoredStateError { path: storage.location(self.name).into(), problem })
            }
        }
    }
}
