//! What the driver of checkpoints has done in the storage, off its own thread: manifests, plugins, and the removal of what nobody needs.

use std::sync::Arc;

use super::{
    super::stored_state::{CheckpointManifest, Checkpoints},
    graph::Graph,
    keeper::Writing,
};
use crate::{
    checkpoint::{Name, Names, RetentionFacts, Storage, StorageError, StorageErrorKind, deletions, put_same},
    stream::CheckpointId,
};

/// How often a manifest is tried before its checkpoint fails.
const MANIFEST_TRIES: u32 = 3;

/// What became of a manifest.
pub(super) enum ManifestOutcome {
    Written,
    NotWritten(String),
    /// A newer attempt has taken over.
    Fenced(String),
}

impl ManifestOutcome {
    /// Nobody has tried.
    pub(super) fn lost() -> Self {
        Self::NotWritten("the thread that writes manifests is gone".into())
    }
}

/// Writes what a checkpoint refers to and is not there yet, and then its manifest, unless a newer attempt has begun.
pub(super) fn write_manifest(writing: &Writing, graph: &Graph, manifest: &CheckpointManifest) -> ManifestOutcome {
    let mut tries = 0;
    loop {
        let written = try_write(writing, graph, manifest);
        tries += 1;
        match written {
            Err(error) if error.kind.is_retryable() && tries < MANIFEST_TRIES && !writing.is_cancelled() => {}
            Err(error) => return ManifestOutcome::NotWritten(error.to_string()),
            Ok(outcome) => return outcome,
        }
    }
}

fn try_write(writing: &Writing, graph: &Graph, manifest: &CheckpointManifest) -> Result<ManifestOutcome, StorageError> {
    let storage = &*writing.storage;
    writing.look_for_mark()?;
    for (name, component) in graph.components() {
        writing.put_plugin(name, component)?;
    }
    // As late as can be: from here on a newer attempt that has not begun yet sees this manifest, or gets the name first.
    if let Some(newer) = newest_attempt(storage)?.filter(|newest| *newest > writing.attempt) {
        return Ok(ManifestOutcome::Fenced(fenced(newer)));
    }
    let name = Names::manifest(manifest.id);
    match put_same(storage, &name, manifest.to_json().into()) {
        Ok(()) => Ok(ManifestOutcome::Written),
        Err(error) if error.kind == StorageErrorKind::AlreadyThere => {
            Ok(ManifestOutcome::Fenced(format!("checkpoint {} was written by another run of this job", manifest.id)))
        }
        Err(error) => Err(error),
    }
}

fn fenced(newer: u64) -> String {
    format!("another run of this job has taken over (attempt {newer}); this one ends")
}

/// The highest attempt that has begun.
pub(super) fn newest_attempt(storage: &dyn Storage) -> Result<Option<u64>, StorageError> {
    let attempts = storage.list("attempts")?.into_iter().filter_map(|file| match Names::parse(&file.name) {
        Some(Name::Attempt(number)) => Some(number),
        _ => None,
    });
    Ok(attempts.max())
}

/// The highest attempt of which anything is left: no other one may write under its names, also when its mark was lost.
pub(super) fn newest_known_attempt(storage: &dyn Storage) -> Result<Option<u64>, StorageError> {
    let attempts = storage.list("")?.into_iter().filter_map(|file| match Names::parse(&file.name) {
        Some(Name::Attempt(number) | Name::Segment { attempt: number, .. }) => Some(number),
        _ => None,
    });
    Ok(attempts.max())
}

/// Deletes what no checkpoint that is kept refers to and the attempt does not need: what it is known to need itself, and what is `wanted` beside. Returns how many files went; none when it could not be found out.
pub(super) fn delete_old(
    writing: &Writing,
    wanted: impl Iterator<Item = String>,
    retain: usize,
    newest: CheckpointId,
) -> Option<usize> {
    let checkpoints = Checkpoints::new(Arc::clone(&writing.storage), None);
    // In this order: what is listed and then no longer in use is in a manifest.
    let objects: Vec<String> = writing.storage.list("").ok()?.into_iter().map(|file| file.name).collect();
    let mut needed = writing.in_use();
    needed.extend(wanted.chain([Names::manifest(newest)]));
    let contents = checkpoints.contents().ok()?;
    let mut of_newest = contents.checkpoints.iter().filter(|found| found.id == newest).flat_map(|found| &found.damage);
    if let Some(damage) = of_newest.next() {
        tracing::warn!(
            "checkpoint {newest} is complete, but no run can begin from it, and none can from later ones until this is mended: {damage}"
        );
    }
    let facts = contents.retention_facts();
    let facts =
        RetentionFacts { attempt: writing.attempt, retain, objects: &objects, needed: &needed, checkpoints: &facts };
    let mut deleted = 0;
    for name in deletions(&facts) {
        if let Err(error) = writing.storage.delete(&name) {
            tracing::debug!("{error}");
            break;
        }
        deleted += 1;
    }
    Some(deleted)
}
