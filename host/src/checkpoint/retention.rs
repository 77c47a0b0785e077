//! What may be deleted from a job's folder.
//!
//! Decided on facts that were read before, in this order: the names of all objects, then what the running attempt needs, then the checkpoints. What is listed and in use is then
//! in one of the two later answers, whenever it moves from one to the other.
//!
//! Everything is classified before anything is deleted:
//!
//! - Checkpoints are kept from the newest on until as many *restorable* ones are kept as were asked for, and at least one. A damaged one among them is kept too: a person may
//!   want it. So the last restorable checkpoint always stays, and where there is none, no checkpoint goes.
//! - Segments and plugins stay that a kept checkpoint refers to or the running attempt needs. All others are orphans and go.
//! - Of the marks of attempts the newest stays: it is what the next attempt counts from.
//! - Where anything is seen of a newer attempt, nothing goes: it may be restoring from whatever is there.
//! - Where it isn't known what a checkpoint that stays refers to, no segment and no plugin goes.
//! - Names that [`Names`] does not know are somebody else's and stay.
//!
//! Manifests are deleted first, so that whatever interrupts the deletions, no checkpoint lacks what it refers to.
//!
//! Pure: deletes nothing.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    names::{Name, Names},
    resolver::{age, known_attempts},
};
use crate::stream::CheckpointId;

/// A checkpoint whose manifest is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFacts {
    /// The checkpoint.
    pub id: CheckpointId,
    /// The attempt that wrote it. None: its manifest can't be read.
    pub attempt: Option<u64>,
    /// Whether a run can begin from it.
    pub restorable: bool,
    /// What its manifest refers to.
    pub references: References,
}

/// What a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum References {
    /// The names of these segments and plugins.
    Known(BTreeSet<String>),
    /// It can't be read.
    Unknown,
}

/// What is decided on.
#[derive(Clone, Copy, Debug)]
pub struct RetentionFacts<'a> {
    /// The attempt that wants to delete.
    pub attempt: u64,
    /// How many restorable checkpoints are kept; at least one is.
    pub retain: usize,
    /// The names of all objects below the job's folder; read first.
    pub objects: &'a [String],
    /// What the running attempt needs: segments that its state consists of, also those that are being written and in no manifest yet, the plugins that it runs, and the manifest
    /// of the checkpoint that it would restart from. Read second.
    pub needed: &'a BTreeSet<String>,
    /// All checkpoints whose manifest is there, each once; read last.
    pub checkpoints: &'a [CheckpointFacts],
}

/// The names of the objects that may be deleted, in the order in which to do it. Stop at the first one that can't be deleted: the order is what keeps checkpoints whole.
pub fn deletions(facts: &RetentionFacts<'_>) -> Vec<String> {
    let named: Vec<(&String, Name)> =
        facts.objects.iter().filter_map(|object| Some((object, Names::parse(object)?))).collect();
    if has_newer_attempt(facts, &named) {
        return Vec::new();
    }
    let fates = fates(facts, &named);
    let referred = references_of_kept(facts, &fates, &named);
    let newest_attempt = named.iter().filter_map(|(_, name)| attempt_mark(name)).max();
    let goes = |name: &Name| match name {
        Name::Manifest(id) => fates.get(id) == Some(&Fate::Goes),
        Name::Segment { .. } | Name::Plugin { .. } => {
            referred.as_ref().is_some_and(|referred| !referred.contains(name.to_string().as_str()))
        }
        Name::Attempt(number) => Some(*number) < newest_attempt,
    };
    let mut going: Vec<(&String, Name)> =
        named.into_iter().filter(|(object, name)| !facts.needed.contains(*object) && goes(name)).collect();
    // Names sort as they are to be deleted: manifests, segments, plugins, attempts.
    going.sort_by(|(_, a), (_, b)| a.cmp(b));
    going.into_iter().map(|(object, _)| object.clone()).collect()
}

/// What becomes of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
}

fn attempt_mark(name: &Name) -> Option<u64> {
    match name {
        Name::Attempt(number) => Some(*number),
        Name::Manifest(_) | Name::Segment { .. } | Name::Plugin { .. } => None,
    }
}

fn has_newer_attempt(facts: &RetentionFacts<'_>, named: &[(&String, Name)]) -> bool {
    let of_names = named.iter().filter_map(|(_, name)| match name {
        Name::Segment { attempt, .. } | Name::Attempt(attempt) => Some(*attempt),
        Name::Manifest(_) | Name::Plugin { .. } => None,
    });
    let of_checkpoints = facts.checkpoints.iter().filter_map(|checkpoint| checkpoint.attempt);
    of_names.chain(of_checkpoints).any(|attempt| attempt > facts.attempt)
}

/// Walks from the newest to the oldest until enough restorable ones are kept. Only a manifest that was listed can go.
fn fates(facts: &RetentionFacts<'_>, named: &[(&String, Name)]) -> BTreeMap<CheckpointId, Fate> {
    let listed: BTreeSet<&Name> = named.iter().map(|(_, name)| name).collect();
    let known = known_attempts(facts.checkpoints.iter().map(|checkpoint| (checkpoint.id, checkpoint.attempt)));
    let mut newest_first: Vec<&CheckpointFacts> = facts.checkpoints.iter().collect();
    newest_first.sort_by_key(|checkpoint| Reverse(age(checkpoint.id, checkpoint.attempt, &known)));
    let mut restorable = 0;
    let walk = newest_first.into_iter().map(|checkpoint| {
        let enough = restorable >= facts.retain.max(1);
        restorable += usize::from(checkpoint.restorable);
        let manifest = Name::Manifest(checkpoint.id);
        let goes = enough && listed.contains(&manifest) && !facts.needed.contains(&manifest.to_string());
        (checkpoint.id, if goes { Fate::Goes } else { Fate::Stays })
    });
    walk.collect()
}

/// None: it isn't known what all of those refer to that stay.
fn references_of_kept<'a>(
    facts: &RetentionFacts<'a>,
    fates: &BTreeMap<CheckpointId, Fate>,
    named: &[(&String, Name)],
) -> Option<BTreeSet<&'a str>> {
    let strange = |(_, name): &(&String, Name)| matches!(name, Name::Manifest(id) if !fates.contains_key(id));
    if named.iter().any(strange) {
        return None;
    }
    let mut referred = BTreeSet::new();
    for checkpoint in facts.checkpoints.iter().filter(|checkpoint| fates.get(&checkpoint.id) != Some(&Fate::Goes)) {
        match &checkpoint.references {
            References::Known(names) => referred.extend(names.iter().map(String::as_str)),
            References::Unknown => return None,
        }
    }
    Some(referred)
}

#[cfg(test)]
mod tests;
