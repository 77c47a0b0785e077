//! The checkpoints that lie in the folder of a job, or one of them that lies alone.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    MANIFEST_BYTES_MAX,
    checkpoint_manifest::CheckpointManifest,
    error::{StoredStateError, StoredStateProblem},
    manifest::Ended,
};
use crate::{
    checkpoint::{
        CheckpointFacts, CheckpointFolder, Condition, Name, Names, References, Resolution, SegmentProblem, Storage,
        StorageErrorKind, Wanted, resolve,
    },
    stream::CheckpointId,
};

/// A checkpoint of which the manifest was read.
#[derive(Clone, Debug)]
pub struct StoredCheckpoint {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) manifest: CheckpointManifest,
}

/// The folder of a job in a storage.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    pub(super) storage: Arc<dyn Storage>,
    /// Where that is, on a local disk.
    pub(super) folder: Option<PathBuf>,
}

/// What was found of a checkpoint.
#[derive(Debug)]
pub struct FoundCheckpoint {
    /// Its number, by its name.
    pub id: CheckpointId,
    /// Its manifest, if that can be read.
    pub manifest: Option<CheckpointManifest>,
    /// Why it can't be read, or which of its files are missing or were cut. None: it is as whole as can be told without reading its files.
    pub damage: Vec<StoredStateError>,
}

/// All that is known of a job's folder without reading segments.
#[derive(Debug)]
pub struct FolderContents {
    /// All checkpoints whose manifest is there, newest first.
    pub checkpoints: Vec<FoundCheckpoint>,
    /// Names and lengths of all files.
    pub(super) objects: BTreeMap<String, u64>,
}

impl StoredCheckpoint {
    /// Where its files are.
    pub(in crate::job) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// What it consists of.
    pub fn manifest(&self) -> &CheckpointManifest {
        &self.manifest
    }

    /// What is missing or was cut, without reading any file.
    ///
    /// # Errors
    /// When the storage can't be asked.
    pub fn damage(&self) -> Result<Vec<StoredStateError>, StoredStateError> {
        let names: BTreeSet<&str> =
            self.manifest.segments().map(|segment| segment.name.as_str()).chain(self.manifest.plugins()).collect();
        let mut objects = BTreeMap::new();
        for name in names {
            match self.storage.size(name) {
                Ok(bytes) => drop(objects.insert(name.to_owned(), bytes)),
                Err(error) if error.kind == StorageErrorKind::NotFound => {}
                Err(error) => return Err(StoredStateError::of_storage(error)),
            }
        }
        Ok(damage(&*self.storage, &self.manifest, &objects))
    }
}

impl Checkpoints {
    /// The checkpoints in a storage; `folder` is where that is, if on a local disk.
    pub(in crate::job) fn new(storage: Arc<dyn Storage>, folder: Option<PathBuf>) -> Self {
        Self { storage, folder }
    }

    /// Where their files are.
    pub(in crate::job) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Looks at everything in the folder.
    ///
    /// # Errors
    /// When the storage can't be asked. A manifest that can't be read is no error here.
    pub fn contents(&self) -> Result<FolderContents, StoredStateError> {
        let listed = self.storage.list("").map_err(StoredStateError::of_storage)?;
        let objects: BTreeMap<String, u64> = listed.into_iter().map(|file| (file.name, file.bytes)).collect();
        let ids = objects.keys().filter_map(|name| match Names::parse(name) {
            Some(Name::Manifest(id)) => Some(id),
            _ => None,
        });
        let mut checkpoints = Vec::new();
        for id in ids {
            checkpoints.extend(self.found(id, &objects)?);
        }
        newest_first(&mut checkpoints);
        Ok(FolderContents { checkpoints, objects })
    }

    /// One of the checkpoints.
    ///
    /// # Errors
    /// When it is not there or its manifest can't be read.
    pub fn checkpoint(&self, id: CheckpointId) -> Result<StoredCheckpoint, StoredStateError> {
        let manifest = self.manifest(id)?;
        Ok(StoredCheckpoint { storage: Arc::clone(&self.storage), manifest })
    }

    /// The newest checkpoint, which is of the highest attempt.
    ///
    /// # Errors
    /// When there is none, and when it is damaged: an older one is never taken in silence.
    pub fn newest(&self) -> Result<StoredCheckpoint, StoredStateError> {
        let mut contents = self.contents()?;
        match resolve(Wanted::Latest, &contents.folders()) {
            Resolution::Restore(id) | Resolution::AlreadyEnded(id) => self.checkpoint(id),
            Resolution::Refused { .. } if !contents.checkpoints.is_empty() => {
                Err(contents.checkpoints.swap_remove(0).damage.swap_remove(0))
            }
            Resolution::Refused { .. } | Resolution::Fresh => Err(StoredStateError {
                path: self.storage.location("").into(),
                problem: StoredStateProblem::NoCheckpoints,
            }),
        }
    }

    /// What is at a checkpoint's name. None: it has gone since it was listed.
    fn found(
        &self,
        id: CheckpointId,
        objects: &BTreeMap<String, u64>,
    ) -> Result<Option<FoundCheckpoint>, StoredStateError> {
        match self.manifest(id) {
            Ok(manifest) => {
                let damage = damage(&*self.storage, &manifest, objects);
                Ok(Some(FoundCheckpoint { id, manifest: Some(manifest), damage }))
            }
            Err(StoredStateError { problem: StoredStateProblem::MissingOfCheckpoint, .. }) => Ok(None),
            Err(error) if error.is_of_storage() => Err(error),
            Err(error) => Ok(Some(FoundCheckpoint { id, manifest: None, damage: vec![error] })),
        }
    }

    fn manifest(&self, id: CheckpointId) -> Result<CheckpointManifest, StoredStateError> {
        let name = Names::manifest(id);
        let path = PathBuf::from(self.storage.location(&name));
        let text = manifest_text(&*self.storage, &name)?;
        let manifest = CheckpointManifest::from_json(&path, &text)?;
        if manifest.id != id {
            let text = format!("it is that of checkpoint {}", manifest.id);
            return Err(StoredStateError { path, problem: StoredStateProblem::CheckpointManifest(text) });
        }
        Ok(manifest)
    }
}

/// The text of a manifest, as far as it may be long.
pub(super) fn manifest_text(storage: &dyn Storage, name: &str) -> Result<Bytes, StoredStateError> {
    match storage.get_range(name, 0..MANIFEST_BYTES_MAX) {
        // No range lies in an empty file.
        Err(error) if error.kind == StorageErrorKind::Invalid && storage.size(name) == Ok(0) => Ok(Bytes::new()),
        other => other.map_err(StoredStateError::of_storage),
    }
}

/// What is missing or was cut of what a checkpoint refers to.
fn damage(
    storage: &dyn Storage,
    manifest: &CheckpointManifest,
    objects: &BTreeMap<String, u64>,
) -> Vec<StoredStateError> {
    let failed = |name: &str, problem| StoredStateError { path: storage.location(name).into(), problem };
    let segments = manifest.segments().map(|segment| (segment.name.as_str(), Some(segment.facts.bytes)));
    let plugins = manifest.plugins().map(|name| (name, None));
    let mut seen = BTreeSet::new();
    let files = segments.chain(plugins).filter(|(name, _)| seen.insert(*name));
    let damaged = files.filter_map(|(name, expected)| match (objects.get(name), expected) {
        (None, _) => Some(failed(name, StoredStateProblem::MissingOfCheckpoint)),
        (Some(found), Some(expected)) if *found != expected => Some(failed(
            name,
            StoredStateProblem::Segment(Box::new(SegmentProblem::Length { expected, found: *found })),
        )),
        _ => None,
    });
    damaged.collect()
}

/// Sorts by attempt, then id. One whose manifest can't be read counts as of the highest attempt that had a lower id, as the resolver of the room `checkpoint` has it.
fn newest_first(checkpoints: &mut [FoundCheckpoint]) {
    checkpoints.sort_by_key(|checkpoint| checkpoint.id);
    let mut highest = 0;
    let ages: BTreeMap<CheckpointId, (u64, CheckpointId)> = checkpoints
        .iter()
        .map(|FoundCheckpoint { id, manifest, .. }| {
            let attempt = manifest.as_ref().map_or(highest, |manifest| manifest.attempt);
            highest = highest.max(attempt);
            (*id, (attempt, *id))
        })
        .collect();
    checkpoints.sort_by_key(|checkpoint| Reverse(ages[&checkpoint.id]));
}

impl FolderContents {
    /// As those see it who decide where a run begins.
    pub fn folders(&self) -> Vec<CheckpointFolder> {
        let folder = |FoundCheckpoint { id, manifest, damage }: &FoundCheckpoint| CheckpointFolder {
            id: *id,
            attempt: manifest.as_ref().map(|manifest| manifest.attempt),
            condition: match (damage.first(), manifest) {
                (Some(error), _) => Condition::Damaged { what: error.to_string() },
                (None, manifest) => Condition::Restorable {
                    job_ended: manifest.as_ref().is_some_and(|manifest| manifest.ended == Some(Ended::Done)),
                },
            },
        };
        self.checkpoints.iter().map(folder).collect()
    }

    /// As those see it who decide what may be deleted.
    pub fn retention_facts(&self) -> Vec<CheckpointFacts> {
        self.checkpoints.iter().map(FoundCheckpoint::retention_facts).collect()
    }
}

impl FoundCheckpoint {
    /// Whether a run can begin from it, as far as can be told without reading its files.
    pub fn is_restorable(&self) -> bool {
        self.damage.is_empty()
    }

    fn retention_facts(&self) -> CheckpointFacts {
        let names = |manifest: &CheckpointManifest| {
            let segments = manifest.segments().map(|segment| segment.name.clone());
            References::Known(segments.chain(manifest.plugins().map(str::to_owned)).collect())
        };
        CheckpointFacts {
            id: self.id,
            attempt: self.manifest.as_ref().map(|manifest| manifest.attempt),
            restorable: self.is_restorable(),
            references: self.manifest.as_ref().map_or(References::Unknown, names),
        }
    }
}
