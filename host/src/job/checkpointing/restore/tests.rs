//! How the chains of former tasks become one, and which of them can not.

use super::*;

fn segment(name: &str, run: u64, key_groups: Range<u32>) -> SegmentOfTask {
    let facts =
        crate::checkpoint::SegmentFacts { bytes: 1, checksum: 0, entries: 1, key_groups, raw_bytes: 1, labels: vec![] };
    SegmentOfTask { name: name.to_owned(), run, facts }
}

fn share(key_groups: Range<u32>, segments: &[(&str, u64, Range<u32>)]) -> Share {
    let segments = segments.iter().map(|(name, run, groups)| segment(name, *run, groups.clone())).collect();
    Share { segments, key_groups }
}

fn chained(shares: &[Share], key_groups: Range<u32>) -> Vec<(String, u64)> {
    let chain = chain_of(shares.to_vec(), &key_groups);
    chain.into_iter().map(|segment| (segment.name, segment.run)).collect()
}

#[test]
fn chains_of_former_tasks_become_one_run_by_run() {
    let shares =
        [share(0..64, &[("a", 7, 0..60), ("b", 3, 1..2), ("c", 3, 2..9)]), share(64..128, &[("d", 3, 64..128)])];
    let expected = [("a", 0), ("d", 0), ("b", 1), ("c", 1)].map(|(name, run)| (name.to_owned(), run));
    assert_eq!(chained(&shares, 0..128), expected);
}

#[test]
fn a_chain_may_have_more_than_the_task_that_takes_it_over_but_not_what_belongs_to_another_share() {
    let alone = share(64..128, &[("a", 0, 0..128), ("b", 1, 64..70)]);
    assert_eq!(chained(std::slice::from_ref(&alone), 64..128).len(), 2);
    // The key groups below 64 belong to the first share, and `a` tells what they were before it had them.
    assert_eq!(chained(&[share(0..64, &[("c", 0, 0..64)]), alone.clone()], 0..128), []);
    // Also when nothing of the first one is left.
    assert_eq!(chained(&[alone], 0..128), []);
}

#[test]
fn a_task_goes_on_with_its_chain_though_others_share_its_segments() {
    let task = |task, key_groups: Range<u32>| CheckpointedTask {
        task,
        key_groups,
        watermark: None,
        list_elements: 0,
        ended: false,
        segments: vec![segment("of one task", 0, 0..128), segment("own", 1, 70..71)],
        operator_state: None,
    };
    let tasks = [task(0, 0..64), task(1, 64..128)];
    let names = |key_groups: Range<u32>| {
        let chain = chain_of(shares_of(&tasks, &key_groups), &key_groups);
        chain.into_iter().map(|segment| segment.name).collect::<Vec<_>>()
    };
    assert_eq!(names(0..64), ["of one task"]);
    assert_eq!(names(64..128), ["of one task", "own"]);
    assert_eq!(names(0..32), ["of one task"]);
    assert!(names(32..96).is_empty(), "both have said something of all");
}
