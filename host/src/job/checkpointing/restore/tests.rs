use super::*;
use crate::checkpoint::SegmentFacts;

fn segment(name: &str, run: u64, key_groups: Range<u32>) -> SegmentOfTask {
    let facts = SegmentFacts { bytes: 1, raw_bytes: 1, checksum: 0, entries: 1, key_groups, labels: Vec::new() };
    SegmentOfTask { name: name.to_owned(), run, facts }
}

fn part(key_groups: Range<u32>, chain: Vec<SegmentOfTask>) -> Part {
    Part { chain, key_groups }
}

#[test]
fn runs_of_several_tasks_are_not_taken_for_one() {
    let low = vec![segment("a", 4, 0..30), segment("b", 4, 30..64), segment("c", 6, 0..64)];
    let high = vec![segment("d", 6, 64..128)];
    let chain = chain_of(vec![part(0..64, low), part(64..128, high)], &(0..128)).expect("nothing is shared");
    let numbered: Vec<_> = chain.iter().map(|segment| (segment.name.as_str(), segment.run)).collect();
    assert_eq!(numbered, [("a", 0), ("b", 0), ("c", 1), ("d", 2)]);
}

#[test]
fn what_several_tasks_share_is_no_chain_of_a_task_that_takes_both_over() {
    let low = || part(0..64, vec![segment("merged", 3, 0..64)]);
    let high = || part(64..128, vec![segment("shared", 0, 0..128), segment("own", 1, 64..128)]);
    assert_eq!(chain_of(vec![low(), high()], &(0..128)), None, "keys below 64 in `shared` are older than `merged`");
    let alone = chain_of(vec![high()], &(64..128)).expect("the task's key groups say what counts");
    assert_eq!(alone.len(), 2);
}
