//! Which checkpoint a run begins from.
//!
//! Decided on facts that were read before. The newest complete checkpoint is the one of the highest attempt, and of its the one with the highest id: what a stale attempt wrote
//! after it was fenced does not count, however high its id. When the newest one is damaged the run is refused and the next older one is offered: taking it by itself would
//! process anew, in silence, what has been seen already. A checkpoint without a manifest was never complete and is no checkpoint.
//!
//! Pure: reads nothing.

use std::cmp::Reverse;

use crate::stream::CheckpointId;

/// Where a run was asked to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// With the newest checkpoint, or at the beginning if there is none.
    #[default]
    Latest,
    /// At the beginning.
    None,
    /// With this one.
    Checkpoint(CheckpointId),
}

/// What was found in the folder of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFolder {
    /// The checkpoint.
    pub id: CheckpointId,
    /// The attempt that wrote it. None: its manifest can't be read, or there is none.
    pub attempt: Option<u64>,
    /// What it is good for.
    pub condition: Condition,
}

/// What a checkpoint is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A run can begin from it.
    Restorable {
        /// Whether the job had come to the end of its input.
        job_ended: bool,
    },
    /// Its manifest is there, but no run can begin from it.
    Damaged {
        /// Which file, and what is wrong with it.
        what: String,
    },
    /// It was never complete.
    NoManifest,
}

/// Where a run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// At the beginning.
    Fresh,
    /// From this checkpoint.
    Restore(CheckpointId),
    /// Nowhere: the job has ended with this checkpoint, and nothing is left to do.
    AlreadyEnded(CheckpointId),
    /// Nowhere, until a person decides.
    Refused {
        /// Why, for people.
        reason: String,
        /// The newest one that is older and can be restored.
        next_older_restorable: Option<CheckpointId>,
    },
}

/// Decides where a run begins. `folders` in any order, each id once.
pub fn resolve(wanted: Wanted, folders: &[CheckpointFolder]) -> Resolution {
    let mut complete: Vec<&CheckpointFolder> =
        folders.iter().filter(|folder| folder.condition != Condition::NoManifest).collect();
    let known = known_attempts(complete.iter().map(|folder| (folder.id, folder.attempt)));
    complete.sort_by_key(|folder| Reverse(age(folder.id, folder.attempt, &known)));
    match wanted {
        Wanted::None => Resolution::Fresh,
        Wanted::Latest => match complete.split_first() {
            None => Resolution::Fresh,
            Some((newest, older)) => match &newest.condition {
                Condition::Restorable { job_ended: true } => Resolution::AlreadyEnded(newest.id),
                _ => restore(newest, older),
            },
        },
        Wanted::Checkpoint(id) => match complete.iter().position(|folder| folder.id == id) {
            Some(index) => restore(complete[index], &complete[index + 1..]),
            None => missing(id, &complete),
        },
    }
}

/// The checkpoint itself, or why not and what else.
fn restore(wanted: &CheckpointFolder, older: &[&CheckpointFolder]) -> Resolution {
    match &wanted.condition {
        Condition::Restorable { .. } => Resolution::Restore(wanted.id),
        Condition::Damaged { what } => Resolution::Refused {
            reason: format!("checkpoint {} is damaged: {what}", wanted.id),
            next_older_restorable: newest_restorable(older.iter().copied()),
        },
        Condition::NoManifest => missing(wanted.id, older),
    }
}

fn missing(id: CheckpointId, complete: &[&CheckpointFolder]) -> Resolution {
    let mut ids: Vec<CheckpointId> = complete.iter().map(|folder| folder.id).collect();
    ids.sort_unstable();
    let there = match ids.as_slice() {
        [] => "there is none at all".to_owned(),
        [only] => format!("there is {only} only"),
        [first, .., last] => format!("there are {} from {first} to {last}", ids.len()),
    };
    Resolution::Refused {
        reason: format!("there is no complete checkpoint {id}; {there}"),
        next_older_restorable: newest_restorable(complete.iter().copied().filter(|folder| folder.id < id)),
    }
}

/// `folders` begin with the newest.
fn newest_restorable<'a>(folders: impl IntoIterator<Item = &'a CheckpointFolder>) -> Option<CheckpointId> {
    let restorable = |folder: &&CheckpointFolder| matches!(folder.condition, Condition::Restorable { .. });
    folders.into_iter().find(restorable).map(|folder| folder.id)
}

/// The checkpoints whose attempt is known, in the order of their ids, each with the highest attempt up to it.
pub(super) fn known_attempts(
    checkpoints: impl IntoIterator<Item = (CheckpointId, Option<u64>)>,
) -> Vec<(CheckpointId, u64)> {
    let mut known: Vec<(CheckpointId, u64)> =
        checkpoints.into_iter().filter_map(|(id, attempt)| Some((id, attempt?))).collect();
    known.sort_unstable();
    let mut highest = 0;
    for (_, attempt) in &mut known {
        highest = highest.max(*attempt);
        *attempt = highest;
    }
    known
}

/// What sorts checkpoints from old to new. One whose manifest can't be read counts as of the highest attempt that had a lower id: it may be as new as that, and is never passed
/// over.
pub(super) fn age(id: CheckpointId, attempt: Option<u64>, known: &[(CheckpointId, u64)]) -> (u64, CheckpointId) {
    let before = &known[..known.partition_point(|(other, _)| *other < id)];
    let attempt = attempt.unwrap_or_else(|| before.last().map_or(0, |(_, highest)| *highest));
    (attempt, id)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn folder(id: u64, attempt: u64, condition: Condition) -> CheckpointFolder {
        CheckpointFolder { id: CheckpointId(id), attempt: Some(attempt), condition }
    }

    fn good() -> Condition {
        Condition::Restorable { job_ended: false }
    }

    fn damaged() -> Condition {
        Condition::Damaged { what: "segments/count/1-0-2-0.seg is missing".to_owned() }
    }

    fn refused(reason: &str, next: Option<u64>) -> Resolution {
        Resolution::Refused { reason: reason.to_owned(), next_older_restorable: next.map(CheckpointId) }
    }

    #[track_caller]
    fn check(wanted: Wanted, folders: &[CheckpointFolder], expected: Resolution) {
        assert_eq!(resolve(wanted, folders), expected);
        let reversed: Vec<CheckpointFolder> = folders.iter().rev().cloned().collect();
        assert_eq!(resolve(wanted, &reversed), expected, "the order of the facts means nothing");
    }

    #[test]
    fn the_newest_is_of_the_highest_attempt() {
        let folders =
            [folder(1, 1, good()), folder(2, 2, good()), folder(9, 1, good()), folder(3, 2, Condition::NoManifest)];
        check(Wanted::Latest, &folders, Resolution::Restore(CheckpointId(2)));
        check(Wanted::None, &folders, Resolution::Fresh);
        check(Wanted::Checkpoint(CheckpointId(9)), &folders, Resolution::Restore(CheckpointId(9)));
    }

    #[test]
    fn nothing_that_is_complete_means_the_beginning() {
        check(Wanted::Latest, &[], Resolution::Fresh);
        check(Wanted::Latest, &[folder(1, 1, Condition::NoManifest)], Resolution::Fresh);
    }

    #[test]
    fn a_damaged_one_is_never_passed_over_in_silence() {
        let folders = [folder(1, 1, good()), folder(2, 1, damaged()), folder(3, 1, damaged())];
        let reason = "checkpoint 3 is damaged: segments/count/1-0-2-0.seg is missing";
        check(Wanted::Latest, &folders, refused(reason, Some(1)));
        check(Wanted::Latest, &folders[1..], refused(reason, None));
        let reason = "checkpoint 2 is damaged: segments/count/1-0-2-0.seg is missing";
        check(Wanted::Checkpoint(CheckpointId(2)), &folders, refused(reason, Some(1)));
        check(Wanted::Checkpoint(CheckpointId(1)), &folders, Resolution::Restore(CheckpointId(1)));
    }

    #[test]
    fn one_whose_manifest_cannot_be_read_is_as_new_as_it_may_be() {
        let unread = |id| CheckpointFolder { id: CheckpointId(id), attempt: None, condition: damaged() };
        let reason = "checkpoint 4 is damaged: segments/count/1-0-2-0.seg is missing";
        check(Wanted::Latest, &[folder(3, 2, good()), unread(4), folder(9, 1, good())], refused(reason, Some(3)));
        check(Wanted::Latest, &[unread(4)], refused(reason, None));
        check(Wanted::Latest, &[unread(4), folder(5, 1, good())], Resolution::Restore(CheckpointId(5)));
    }

    #[test]
    fn a_job_that_has_ended_is_not_run_again_unless_told_so() {
        let ended = Condition::Restorable { job_ended: true };
        let folders = [folder(1, 1, good()), folder(2, 1, ended)];
        check(Wanted::Latest, &folders, Resolution::AlreadyEnded(CheckpointId(2)));
        check(Wanted::Checkpoint(CheckpointId(2)), &folders, Resolution::Restore(CheckpointId(2)));
        check(Wanted::None, &folders, Resolution::Fresh);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let seven = Wanted::Checkpoint(CheckpointId(7));
        check(seven, &[], refused("there is no complete checkpoint 7; there is none at all", None));
        let folders = [folder(7, 1, Condition::NoManifest), folder(9, 1, good())];
        check(seven, &folders, refused("there is no complete checkpoint 7; there is 9 only", None));
        let folders = [folder(3, 1, good()), folder(4, 1, damaged()), folder(9, 1, good())];
        check(seven, &folders, refused("there is no complete checkpoint 7; there are 3 from 3 to 9", Some(3)));
    }

    fn folders() -> impl Strategy<Value = Vec<CheckpointFolder>> {
        let condition = prop_oneof![
            3 => any::<bool>().prop_map(|job_ended| Condition::Restorable { job_ended }),
            1 => Just(damaged()),
            1 => Just(Condition::NoManifest),
        ];
        vec((1_u64..4, condition), 0..8).prop_map(|parts| {
            (1..).zip(parts).map(|(id, (attempt, condition))| folder(id, attempt, condition)).collect()
        })
    }

    proptest! {
        #[test]
        fn a_run_begins_from_the_newest_or_not_at_all(folders in folders(), named in option::of(1_u64..9)) {
            let complete = folders.iter().filter(|folder| folder.condition != Condition::NoManifest);
            let newest = complete.clone().max_by_key(|folder| (folder.attempt, folder.id));
            let wanted = named.map_or(Wanted::Latest, |id| Wanted::Checkpoint(CheckpointId(id)));
            let target = match named {
                None => newest,
                Some(id) => complete.clone().find(|folder| folder.id.0 == id),
            };
            let resolution = resolve(wanted, &folders);
            match (&resolution, target.map(|target| &target.condition)) {
                (Resolution::Fresh, None) => prop_assert!(named.is_none()),
                (Resolution::Restore(id), Some(Condition::Restorable { job_ended })) => {
                    prop_assert_eq!(Some(*id), target.map(|target| target.id));
                    prop_assert!(named.is_some() || !job_ended);
                }
                (Resolution::AlreadyEnded(id), Some(Condition::Restorable { job_ended: true })) => {
                    prop_assert!(named.is_none() && Some(*id) == newest.map(|newest| newest.id));
                }
                (Resolution::Refused { next_older_restorable, .. }, Some(Condition::Damaged { .. }) | None) => {
                    let older = |folder: &&CheckpointFolder| target.map_or(Some(folder.id.0) < named, |target| {
                        (folder.attempt, folder.id) < (target.attempt, target.id)
                    });
                    let restorable = |folder: &&CheckpointFolder| matches!(folder.condition, Condition::Restorable { .. });
                    let next = complete.filter(older).filter(restorable).max_by_key(|folder| (folder.attempt, folder.id));
                    prop_assert_eq!(*next_older_restorable, next.map(|folder| folder.id));
                }
                (resolution, condition) => prop_assert!(false, "{:?} for {:?}", resolution, condition),
            }
        }
    }
}
