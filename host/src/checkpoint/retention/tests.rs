//! What goes and what stays, by hand and for any facts.

use proptest::{collection::btree_set, collection::vec, option, prelude::*, sample::subsequence};

use super::*;

fn segment(attempt: u64, id: u64) -> String {
    Names::segment("count", attempt, 0, CheckpointId(id), 0)
}

fn plugin(digit: char) -> String {
    Names::plugin(&digit.to_string().repeat(64))
}

fn manifest(id: u64) -> String {
    Names::manifest(CheckpointId(id))
}

fn names<T: ToString>(names: &[T]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn checkpoint(id: u64, attempt: u64, references: &[String]) -> CheckpointFacts {
    let references = References::Known(references.iter().cloned().collect());
    CheckpointFacts { id: CheckpointId(id), attempt: Some(attempt), restorable: true, references }
}

fn damaged(id: u64, attempt: Option<u64>, references: References) -> CheckpointFacts {
    CheckpointFacts { id: CheckpointId(id), attempt, restorable: false, references }
}

/// What attempt 2 may delete.
fn going(retain: usize, objects: &[String], needed: &[String], checkpoints: &[CheckpointFacts]) -> Vec<String> {
    let needed = needed.iter().cloned().collect();
    deletions(&RetentionFacts { attempt: 2, retain, objects, needed: &needed, checkpoints })
}

#[test]
fn what_only_old_checkpoints_refer_to_goes_after_their_manifests() {
    let checkpoints = [
        checkpoint(1, 1, &[segment(1, 1), plugin('a')]),
        checkpoint(2, 1, &[segment(1, 1), segment(1, 2), plugin('a')]),
        checkpoint(3, 2, &[segment(1, 2), segment(2, 3), plugin('b')]),
    ];
    let objects = [
        Names::attempt(1),
        Names::attempt(2),
        manifest(1),
        manifest(2),
        manifest(3),
        plugin('a'),
        plugin('b'),
        segment(1, 1),
        segment(1, 2),
        segment(2, 3),
    ];
    assert_eq!(going(3, &objects, &[], &checkpoints), [Names::attempt(1)]);
    assert_eq!(going(2, &objects, &[], &checkpoints), [manifest(1), Names::attempt(1)]);
    let expected = [manifest(1), manifest(2), segment(1, 1), plugin('a'), Names::attempt(1)];
    assert_eq!(going(1, &objects, &[], &checkpoints), expected);
    assert_eq!(going(0, &objects, &[], &checkpoints), expected, "one is always kept");
}

#[test]
fn orphans_go_and_what_the_running_attempt_needs_stays() {
    let checkpoints = [checkpoint(3, 2, &[segment(2, 3)])];
    let objects = [manifest(3), segment(2, 3), segment(1, 2), segment(2, 4), segment(2, 5), plugin('c'), plugin('d')];
    let needed = [segment(2, 5), plugin('d')];
    assert_eq!(going(3, &objects, &needed, &checkpoints), [segment(1, 2), segment(2, 4), plugin('c')]);
}

#[test]
fn the_checkpoint_that_a_restart_needs_stays_whole() {
    let checkpoints =
        [checkpoint(1, 1, &[segment(1, 1)]), checkpoint(2, 1, &[segment(1, 2)]), checkpoint(3, 1, &[segment(1, 3)])];
    let objects = [manifest(1), manifest(2), manifest(3), segment(1, 1), segment(1, 2), segment(1, 3)];
    assert_eq!(going(1, &objects, &[manifest(1)], &checkpoints), [manifest(2), segment(1, 2)]);
}

#[test]
fn damaged_ones_count_for_nothing() {
    let unreadable = damaged(3, None, References::Unknown);
    let objects = [manifest(1), manifest(2), manifest(3), segment(1, 1), segment(1, 2), segment(1, 9)];
    let checkpoints = [
        checkpoint(1, 1, &[segment(1, 1)]),
        damaged(2, Some(1), References::Known([segment(1, 2)].into())),
        unreadable.clone(),
    ];
    assert_eq!(
        going(1, &objects, &[], &checkpoints),
        Vec::<String>::new(),
        "the last restorable one stays, and nobody knows what the unreadable one needs"
    );
    assert_eq!(going(1, &objects[..2], &[], &checkpoints[..2]), Vec::<String>::new());
    assert_eq!(
        going(1, &[manifest(2), manifest(3)], &[], &checkpoints[1..]),
        Vec::<String>::new(),
        "none is restorable, so all stay"
    );

    let newer = checkpoint(4, 2, &[segment(2, 4)]);
    let objects = [manifest(3), manifest(4), segment(1, 9), segment(2, 4)];
    assert_eq!(going(1, &objects, &[], &[unreadable, newer]), [manifest(3), segment(1, 9)]);
}

#[test]
fn a_fenced_attempt_deletes_nothing() {
    let checkpoints = [checkpoint(1, 1, &[]), checkpoint(2, 2, &[])];
    let objects = [manifest(1), manifest(2), segment(1, 1), Names::attempt(1), Names::attempt(2)];
    assert_eq!(going(1, &objects, &[], &checkpoints).len(), 3);
    for trace in [Names::attempt(3), segment(3, 3)] {
        let objects = [objects.as_slice(), &[trace]].concat();
        assert_eq!(going(1, &objects, &[], &checkpoints), Vec::<String>::new());
    }
    let newer = [checkpoints.as_slice(), &[checkpoint(3, 3, &[])]].concat();
    assert_eq!(going(1, &objects, &[], &newer), Vec::<String>::new());
}

#[test]
fn a_manifest_that_was_not_read_keeps_all_segments() {
    let checkpoints = [checkpoint(1, 1, &[]), checkpoint(2, 2, &[])];
    let objects = [manifest(1), manifest(2), manifest(3), segment(1, 1), plugin('a')];
    assert_eq!(going(1, &objects, &[], &checkpoints), [manifest(1)]);
}

#[test]
fn a_manifest_that_was_not_listed_keeps_what_it_refers_to() {
    let checkpoints = [damaged(1, Some(1), References::Known([segment(1, 1)].into())), checkpoint(2, 2, &[])];
    let objects = [manifest(2), segment(1, 1), segment(1, 2)];
    assert_eq!(going(1, &objects, &[], &checkpoints), [segment(1, 2)]);
}

#[test]
fn files_of_others_stay() {
    let objects = names(&[
        "README",
        "checkpoints/1/notes.txt",
        "savepoints/a/manifest.json",
        "segments/count/1-0-1-0.seg.tmp",
        "attempts/1",
    ]);
    assert_eq!(going(1, &objects, &[], &[]), Vec::<String>::new());
}

#[derive(Clone, Debug)]
struct Case {
    attempt: u64,
    retain: usize,
    objects: Vec<String>,
    needed: BTreeSet<String>,
    checkpoints: Vec<CheckpointFacts>,
}

impl Case {
    fn deletions(&self) -> Vec<String> {
        let Self { attempt, retain, objects, needed, checkpoints } = self;
        deletions(&RetentionFacts { attempt: *attempt, retain: *retain, objects, needed, checkpoints })
    }
}

/// Every name that the cases know.
fn pool() -> Vec<String> {
    let segments = (1..4).flat_map(|attempt| (1..8).map(move |id| segment(attempt, id)));
    segments.chain("abc".chars().map(plugin)).collect()
}

fn cases() -> impl Strategy<Value = Case> {
    let checkpoint = (option::weighted(0.9, 1_u64..4), any::<bool>(), option::weighted(0.9, subsequence(pool(), 0..8)));
    let others = names(&[
        "README",
        "plugins/x.wasm",
        "checkpoints/1/x",
        &Names::attempt(1),
        &Names::attempt(2),
        &Names::attempt(3),
    ]);
    let objects = (subsequence(pool(), 0..24), subsequence(others, 0..5), btree_set(1_u64..9, 0..9));
    // Mostly of the highest attempt, which alone may delete anything.
    let attempt = prop_oneof![4 => Just(3_u64), 1 => 1_u64..4];
    (attempt, 0_usize..4, objects, subsequence(pool(), 0..6), vec(checkpoint, 0..8)).prop_map(
        |(attempt, retain, (mut objects, others, manifests), needed, checkpoints)| {
            objects.extend(others);
            objects.extend(manifests.into_iter().filter(|id| *id as usize <= checkpoints.len() + 1).map(manifest));
            let facts = (1..).zip(checkpoints).map(|(id, (attempt, restorable, references))| CheckpointFacts {
                id: CheckpointId(id),
                attempt,
                restorable: restorable && attempt.is_some() && references.is_some(),
                references: references
                    .map_or(References::Unknown, |names| References::Known(names.into_iter().collect())),
            });
            Case { attempt, retain, objects, needed: needed.into_iter().collect(), checkpoints: facts.collect() }
        },
    )
}

proptest! {
    #[test]
    fn nothing_goes_that_anyone_may_need(case in cases()) {
        let going = case.deletions();
        let gone: BTreeSet<&String> = going.iter().collect();
        prop_assert_eq!(gone.len(), going.len());
        prop_assert!(going.iter().all(|name| case.objects.contains(name) && !case.needed.contains(name)));
        prop_assert!(going.iter().all(|name| Names::parse(name).is_some()));
        // Whatever stays is whole, and so at every moment on the way there.
        for end in 0..=going.len() {
            let gone: BTreeSet<&String> = going[..end].iter().collect();
            for checkpoint in case.checkpoints.iter().filter(|checkpoint| !gone.contains(&Names::manifest(checkpoint.id))) {
                match &checkpoint.references {
                    References::Known(names) => prop_assert!(names.iter().all(|name| !gone.contains(name))),
                    References::Unknown => prop_assert!(!gone.iter().any(|name| name.starts_with("segments/") || name.starts_with("plugins/"))),
                }
            }
        }
        let restorable = case.checkpoints.iter().filter(|checkpoint| checkpoint.restorable);
        let staying = restorable.clone().filter(|checkpoint| !gone.contains(&Names::manifest(checkpoint.id))).count();
        prop_assert!(staying >= restorable.count().min(case.retain.max(1)));
        let newest = case.checkpoints.iter().filter(|checkpoint| checkpoint.restorable).max_by_key(|checkpoint| (checkpoint.attempt, checkpoint.id));
        prop_assert!(newest.is_none_or(|newest| !gone.contains(&Names::manifest(newest.id))));
        if case.checkpoints.iter().any(|checkpoint| checkpoint.attempt > Some(case.attempt)) {
            prop_assert!(going.is_empty());
        }
    }

    /// With all manifests read, nothing stays without a reason; and to decide again on what is left changes nothing.
    #[test]
    fn nothing_stays_without_a_reason(mut case in cases()) {
        case.attempt = 3;
        case.checkpoints.retain(|checkpoint| checkpoint.references != References::Unknown);
        case.objects.retain(|name| !name.starts_with("checkpoints/"));
        case.objects.extend(case.checkpoints.iter().map(|checkpoint| Names::manifest(checkpoint.id)));
        let gone: BTreeSet<String> = case.deletions().into_iter().collect();
        case.objects.retain(|name| !gone.contains(name));
        case.checkpoints.retain(|checkpoint| !gone.contains(&Names::manifest(checkpoint.id)));
        for name in case.objects.iter().filter(|name| name.starts_with("segments/") || Names::parse(name).is_some_and(|name| matches!(name, Name::Plugin { .. }))) {
            let referred = case.checkpoints.iter().any(|checkpoint| matches!(&checkpoint.references, References::Known(names) if names.contains(name)));
            prop_assert!(referred || case.needed.contains(name), "{}", name);
        }
        let restorable = case.checkpoints.iter().filter(|checkpoint| checkpoint.restorable).count();
        prop_assert!(restorable <= case.retain.max(1));
        prop_assert_eq!(case.deletions(), Vec::<String>::new());
    }
}
