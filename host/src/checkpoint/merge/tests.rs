//! Merging is held to a map that does what a history of operations says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::checkpoint::segment::{InMemory, SegmentWriter};

const ALL: Range<u32> = 0..1 << 16;

#[derive(Clone, Debug)]
enum Operation {
    Put(Vec<u8>, u8),
    Remove(Vec<u8>),
    Clear(Vec<u8>),
}

/// What one run says of a key.
#[derive(Clone, Debug, Default)]
struct Said {
    cleared: bool,
    /// A value, or nothing any more.
    entry: Option<Option<u8>>,
}

type Changes = BTreeMap<Vec<u8>, Said>;

fn label(version: u16) -> Label {
    Label { state: 3, version }
}

fn apply(model: &mut BTreeMap<Vec<u8>, u8>, operation: &Operation) {
    match operation {
        Operation::Put(key, value) => _ = model.insert(key.clone(), *value),
        Operation::Remove(key) => _ = model.remove(key),
        Operation::Clear(prefix) => model.retain(|key, _| !key.starts_with(prefix)),
    }
}

/// What is to be stored of operations, as whoever collects them for a checkpoint does it.
fn collect(operations: &[Operation]) -> Changes {
    let mut said = Changes::new();
    for operation in operations {
        match operation {
            Operation::Put(key, value) => said.entry(key.clone()).or_default().entry = Some(Some(*value)),
            Operation::Remove(key) => said.entry(key.clone()).or_default().entry = Some(None),
            Operation::Clear(prefix) => {
                said.retain(|key, _| !key.starts_with(prefix));
                said.insert(prefix.clone(), Said { cleared: true, entry: None });
            }
        }
    }
    said
}

type Parts = Vec<(InMemory, SegmentFacts)>;

/// Writes entries as segments of a few entries each.
struct Cutting {
    entries_max: u64,
    writer: SegmentWriter,
    parts: Parts,
}

impl Cutting {
    fn new(entries_max: u64) -> Self {
        Self { entries_max, writer: SegmentWriter::new(), parts: Vec::new() }
    }

    fn push(&mut self, key: &[u8], entry: Entry<'_>, label: Label) {
        if self.writer.entries() >= self.entries_max && self.writer.last_key() != key {
            self.cut();
        }
        self.writer.push(key, entry, label).expect("it ascends");
    }

    fn cut(&mut self) {
        let (bytes, facts) = std::mem::take(&mut self.writer).finish();
        self.parts.push((InMemory { name: format!("{}.seg", self.parts.len()), bytes: bytes.into() }, facts));
    }

    fn finish(mut self) -> Parts {
        self.cut();
        self.parts
    }
}

fn write(said: &Changes, entries_max: u64) -> Parts {
    let mut cutting = Cutting::new(entries_max);
    for (key, said) in said {
        if said.cleared {
            cutting.push(key, Entry::Cleared, label(0));
        }
        match said.entry {
            Some(Some(value)) => cutting.push(key, Entry::Value(&[value]), label(1)),
            Some(None) if !said.cleared => cutting.push(key, Entry::Tombstone, label(0)),
            _ => {}
        }
    }
    cutting.finish()
}

/// What a merge yields: values, and whatever marks there are.
fn merged(runs: Vec<Parts>, key_groups: Range<u32>, marks: Marks) -> Vec<(Vec<u8>, Option<u8>, bool, Label)> {
    let mut merge = Merge::open(runs, key_groups, marks).expect("they are whole");
    let mut all = Vec::new();
    while merge.advance().expect("they are whole") {
        let (value, cleared) = match merge.entry() {
            Entry::Value(value) => (Some(value[0]), false),
            Entry::Tombstone => (None, false),
            Entry::Cleared => (None, true),
        };
        all.push((merge.key().to_vec(), value, cleared, merge.label()));
    }
    assert!(!merge.advance().expect("they are whole"), "the end stays the end");
    all
}

/// Merges and writes what comes out.
fn rewritten(runs: Vec<Parts>, entries_max: u64) -> Parts {
    let mut cutting = Cutting::new(entries_max);
    let mut merge = Merge::open(runs, ALL, Marks::Keep).expect("they are whole");
    while merge.advance().expect("they are whole") {
        cutting.push(merge.key(), merge.entry(), merge.label());
    }
    cutting.finish()
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    (0_u8..3, prop::collection::vec(0_u8..2, 0..5)).prop_map(|(group, rest)| [vec![0, group], rest].concat())
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        5 => (keys(), any::<u8>()).prop_map(|(key, value)| Operation::Put(key, value)),
        2 => keys().prop_map(Operation::Remove),
        1 => keys().prop_map(Operation::Clear),
    ];
    prop::collection::vec(operation, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_merge_says_what_happened(
        histories in prop::collection::vec(operations(), 1..7),
        entries_max in 1_u64..8,
        group in 0_u32..4,
        part in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let mut model = BTreeMap::new();
        histories.iter().flatten().for_each(|operation| apply(&mut model, operation));
        let runs: Vec<_> = histories.iter().map(|history| write(&collect(history), entries_max)).collect();
        let expected: Vec<_> = model.iter().map(|(key, value)| (key.clone(), Some(*value), false, label(1))).collect();
        prop_assert_eq!(&merged(runs.clone(), ALL, Marks::Drop), &expected);
        // Some key groups.
        let of_group: Vec<_> = expected.iter().filter(|each| u32::from(each.0[1]) == group).cloned().collect();
        prop_assert_eq!(merged(runs.clone(), group..group + 1, Marks::Drop), of_group);
        // Some of the runs merged before all of them are.
        let (from, to) = (part.0.index(runs.len()), part.1.index(runs.len()));
        let (from, to) = (from.min(to), from.max(to) + 1);
        let mut shorter = runs;
        let middle = rewritten(shorter[from..to].to_vec(), entries_max);
        shorter.splice(from..to, [middle]);
        prop_assert_eq!(&merged(shorter, ALL, Marks::Drop), &expected);
    }

    /// What is kept for older runs is no more than needed: no tombstone lies under a cleared mark, and no mark under another one.
    #[test]
    fn marks_that_others_cover_are_not_kept(histories in prop::collection::vec(operations(), 1..4)) {
        let runs: Vec<_> = histories.iter().map(|history| write(&collect(history), 5)).collect();
        let all = merged(runs, ALL, Marks::Keep);
        for (at, (key, value, cleared, _)) in all.iter().enumerate() {
            let over = all[..at].iter().filter(|(prefix, _, over, _)| *over && key.starts_with(prefix));
            let tombstone = value.is_none() && !cleared;
            prop_assert!(!tombstone || over.count() == 0, "{:?}", all);
        }
    }
}

#[test]
fn a_value_and_the_mark_on_its_own_key_both_count() {
    let key = |rest: &[u8]| [&[0, 1], rest].concat();
    let older = collect(&[Operation::Put(key(b""), 1), Operation::Put(key(b"a"), 2), Operation::Put(key(b"b"), 3)]);
    let newer = collect(&[Operation::Clear(key(b"")), Operation::Put(key(b""), 4), Operation::Put(key(b"b"), 5)]);
    let newest = collect(&[Operation::Put(key(b""), 6)]);
    let runs: Vec<_> = [older, newer, newest].iter().map(|said| write(said, 9)).collect();
    let values = vec![(key(b""), Some(6), false, label(1)), (key(b"b"), Some(5), false, label(1))];
    assert_eq!(merged(runs.clone(), ALL, Marks::Drop), values);
    let marks = [vec![(key(b""), None, true, label(0))], values].concat();
    assert_eq!(merged(runs, ALL, Marks::Keep), marks);
}

#[test]
fn nothing_merged_is_nothing() {
    assert_eq!(merged(vec![], ALL, Marks::Keep), []);
    assert_eq!(merged(vec![vec![], write(&Changes::new(), 1)], ALL, Marks::Keep), []);
}

#[test]
fn segments_in_the_wrong_order_are_found() {
    let said = collect(&[Operation::Put(vec![0, 1], 1), Operation::Put(vec![0, 2], 2)]);
    let mut parts = write(&said, 1);
    parts.reverse();
    let mut merge = Merge::open(vec![parts], ALL, Marks::Drop).expect("the first is whole");
    assert!(merge.advance().expect("the first is whole"));
    let error = merge.advance().expect_err("the second is below").to_string();
    assert!(error.starts_with("0.seg: its stored keys are not above those of the segment before it"), "{error}");
}

#[test]
fn a_damaged_segment_ends_a_merge_with_its_name() {
    let said = collect(&(0..200).map(|number| Operation::Put(vec![0, 1, number], 9)).collect::<Vec<_>>());
    let mut parts = write(&said, 1_000);
    let mut bytes = parts[0].0.bytes.to_vec();
    bytes[20] ^= 1;
    parts[0].0.bytes = bytes.into();
    let error = Merge::open(vec![parts], ALL, Marks::Drop).expect_err("it is damaged").to_string();
    assert!(error.starts_with("0.seg: a block does not have its checksum"), "{error}");
}
