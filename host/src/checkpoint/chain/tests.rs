//! The strategy keeps its bounds whatever comes, and the worker does what it chose.

use proptest::prelude::*;

use super::*;
use crate::{
    checkpoint::{
        segment::{Entry, Label, SEGMENT_BYTES_MAX},
        storage::{Faults, Faulty, MemoryStorage},
    },
    stream::SplitMix64,
};

const ALL: Range<u32> = 0..1 << 16;

/// A chain of which only sizes are known.
struct Sizes {
    runs: Vec<u64>,
    /// What one run with everything would have at most.
    live_max: u64,
    came: u64,
    written: u64,
    most_runs: usize,
    most_bytes: u64,
}

impl Sizes {
    fn new(live_max: u64) -> Self {
        Self { runs: Vec::new(), live_max, came: 0, written: 0, most_runs: 0, most_bytes: 0 }
    }

    fn append(&mut self, bytes: u64, live_bytes: Option<u64>) {
        self.came += bytes;
        self.written += bytes;
        self.runs.push(bytes);
        let mut merges = 0;
        while let Some(choice) = choose(&self.runs, live_bytes, ChainLimits::default()) {
            assert!(choice.runs.len() >= 2 && choice.runs.end <= self.runs.len(), "{choice:?}");
            assert_eq!(choice.marks == Marks::Drop, choice.runs.start == 0);
            let merged = self.runs[choice.runs.clone()].iter().sum::<u64>().min(self.live_max);
            self.written += merged;
            self.runs.splice(choice.runs, [merged]);
            merges += 1;
            assert!(merges < 20, "it comes to rest");
        }
        self.most_runs = self.most_runs.max(self.runs.len());
        self.most_bytes = self.most_bytes.max(self.runs.iter().sum());
    }
}

#[test]
fn chains_stay_short_small_and_seldom_written() {
    let mut random = SplitMix64::new(11);
    let mut draw = |below: u64| 1 + random.draw() % below;
    let sizes: [(&str, Box<dyn Fn(u64, u64) -> u64>); 5] = [
        ("all the same", Box::new(|_, _| 500)),
        ("of any size", Box::new(|_, drawn| drawn)),
        ("now and then a large one", Box::new(|at, drawn| if at % 50 == 0 { 60 * drawn } else { drawn / 20 + 1 })),
        ("shrinking", Box::new(|at, _| 1 + 1_000_000 / (1 + at))),
        ("growing", Box::new(|at, _| 1 + at)),
    ];
    for (name, size) in sizes {
        // State of a fixed size that is written over again and again, and state that only grows.
        for live_max in [50_000, u64::MAX] {
            let mut chain = Sizes::new(live_max);
            for at in 0..2_000 {
                chain.append(size(at, draw(1_000)).min(live_max), None);
            }
            let amplification = chain.written as f64 / chain.came as f64;
            assert!(chain.most_runs <= 16, "{name}: {} runs", chain.most_runs);
            assert!(amplification < 10.0, "{name}, up to {live_max}: everything is written {amplification:.1} times");
            // Twice the oldest run, and the last delta.
            let most = 2 * live_max.min(chain.came) + 60_000;
            assert!(chain.most_bytes <= most, "{name}: {} of {most}", chain.most_bytes);
        }
    }
}

#[test]
fn a_live_estimate_brings_garbage_collection_forward_but_not_always_anew() {
    assert_eq!(choose(&[1_000, 300], None, ChainLimits::default()), None);
    let all = |runs: usize| Some(Choice { runs: 0..runs, marks: Marks::Drop });
    assert_eq!(choose(&[1_000, 300], Some(500), ChainLimits::default()), all(2));
    assert_eq!(choose(&[1_000, 10], Some(1), ChainLimits::default()), None);
    assert_eq!(choose(&[1_000, 400, 600], None, ChainLimits::default()), all(3));
}

#[test]
fn what_is_small_is_merged_without_what_is_large() {
    let chosen = choose(&[90_000, 8_000, 100, 120, 90, 110], None, ChainLimits::default());
    assert_eq!(chosen, Some(Choice { runs: 2..6, marks: Marks::Keep }));
    // A tier that a small run hides.
    let chosen = choose(&[90_000, 1_000, 1_000, 1_000, 1_000, 1], None, ChainLimits::default());
    assert_eq!(chosen, Some(Choice { runs: 1..5, marks: Marks::Keep }));
    let limits = ChainLimits { runs_max: 3, tier_width: 4 };
    let chosen = choose(&[90_000, 9_000, 900, 90, 9], None, limits);
    assert_eq!(chosen, Some(Choice { runs: 2..5, marks: Marks::Keep }));
    for few in [&[][..], &[5], &[90_000, 9_000, 900]] {
        assert_eq!(choose(few, None, limits), None);
    }
}

proptest! {
    #[test]
    fn every_choice_is_of_neighbours_and_ends(sizes in prop::collection::vec(0_u64..1 << 40, 0..40), live in prop::option::of(0_u64..1 << 40)) {
        let mut chain = Sizes::new(u64::MAX);
        sizes.into_iter().for_each(|bytes| chain.append(bytes, live));
        prop_assert!(chain.most_runs <= 16);
    }
}

fn key(number: u32) -> Vec<u8> {
    [&((number % 8) as u16).to_be_bytes()[..], &number.to_be_bytes()].concat()
}

/// A chain of three runs: numbers 0 to 2,000, of which every third is written anew and every fifth is gone.
fn chain(storage: &dyn Storage) -> Vec<Run> {
    let mut runs = Vec::new();
    for (at, step) in [1, 3, 5].into_iter().enumerate() {
        let mut keys: Vec<_> = (0..2_000_u32).step_by(step).map(key).collect();
        keys.sort();
        let mut writer = SegmentWriter::new();
        for key in keys {
            let value = vec![at as u8; 50];
            let entry = if step == 5 { Entry::Tombstone } else { Entry::Value(&value) };
            writer.push(&key, entry, Label { state: 0, version: u16::from(step != 5) }).expect("they ascend");
        }
        let (bytes, facts) = writer.finish();
        let name = format!("segments/sum/1-0-{at}-0.seg");
        storage.put_new(&name, bytes.into()).expect("it is new");
        runs.push(Run { segments: vec![StoredSegment { name, facts }] });
    }
    runs
}

fn merged(
    storage: &Arc<dyn Storage>,
    runs: &[Run],
    key_groups: Range<u32>,
    marks: Marks,
    segment_bytes: u64,
    cancelled: &AtomicBool,
) -> Result<Run, MergeError> {
    let mut number = 0;
    let mut name = || {
        number += 1;
        format!("segments/sum/1-0-9-{number}.seg")
    };
    merge_runs(storage, runs, key_groups, marks, segment_bytes, &mut name, cancelled)
}

fn entries(storage: &Arc<dyn Storage>, runs: &[Run]) -> Vec<(Vec<u8>, Option<u8>)> {
    let source = |segment: &StoredSegment| (Stored::new(Arc::clone(storage), &segment.name), segment.facts.clone());
    let sources = runs.iter().map(|run| run.segments.iter().map(source).collect()).collect();
    let mut merge = Merge::open(sources, ALL, Marks::Drop).expect("they are whole");
    let mut entries = Vec::new();
    while merge.advance().expect("they are whole") {
        let value = match merge.entry() {
            Entry::Value(value) => value.first().copied(),
            _ => None,
        };
        entries.push((merge.key().to_vec(), value));
    }
    entries
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

static GO_ON: AtomicBool = AtomicBool::new(false);

#[test]
fn a_merged_run_says_what_its_runs_said() {
    let storage = memory();
    let runs = chain(storage.as_ref());
    let before = entries(&storage, &runs);
    assert_eq!(before.len(), 1_600);
    for segment_bytes in [1, 10_000, SEGMENT_BYTES_MAX] {
        for (range, marks) in [(0..3, Marks::Drop), (1..3, Marks::Keep), (0..2, Marks::Drop)] {
            let run =
                merged(&storage, &runs[range.clone()], ALL, marks, segment_bytes, &GO_ON).expect("they are whole");
            let single = segment_bytes == SEGMENT_BYTES_MAX;
            assert!((run.segments.len() == 1) == single, "{} segments", run.segments.len());
            let mut shorter = runs.clone();
            shorter.splice(range, [run.clone()]);
            assert_eq!(entries(&storage, &shorter), before);
            run.segments.iter().for_each(|segment| storage.delete(&segment.name).expect("memory does not fail"));
        }
    }
}

#[test]
fn a_merge_for_some_key_groups_has_those_only() {
    let storage = memory();
    let runs = chain(storage.as_ref());
    let run = merged(&storage, &runs, 2..5, Marks::Drop, SEGMENT_BYTES_MAX, &GO_ON).expect("they are whole");
    assert_eq!(run.segments[0].facts.key_groups, 2..5);
    assert_eq!(run.segments[0].facts.entries, 600);
    assert_eq!(run.bytes(&(2..5)), run.segments[0].facts.bytes);
    assert_eq!(run.bytes(&(4..9)), run.segments[0].facts.bytes / 3);
    assert_eq!(run.bytes(&(5..9)), 0);
    let nothing = merged(&storage, &runs, 8..9, Marks::Drop, SEGMENT_BYTES_MAX, &GO_ON).expect("they are whole");
    assert_eq!(nothing, Run::default());
}

#[test]
fn a_merge_that_is_cancelled_leaves_nothing_behind() {
    let storage = memory();
    let runs = chain(storage.as_ref());
    let error = merged(&storage, &runs, ALL, Marks::Drop, 1, &AtomicBool::new(true)).expect_err("it is cancelled");
    assert_eq!(error, MergeError::Cancelled);
    assert_eq!(storage.list("").expect("memory does not fail").len(), 3);
}

#[test]
fn a_merge_that_fails_at_any_call_harms_nothing() {
    let behind = memory();
    let runs = chain(behind.as_ref());
    let before = entries(&behind, &runs);
    let faulty = Arc::new(Faulty::new(Arc::clone(&behind), 1, Faults::default(), Box::new(|| ())));
    let storage: Arc<dyn Storage> = Arc::clone(&faulty) as Arc<dyn Storage>;
    let mut calls = 0;
    loop {
        faulty.stop_after(calls);
        let done = merged(&storage, &runs, ALL, Marks::Drop, 20_000, &GO_ON);
        faulty.crash().expect("memory does not fail");
        assert_eq!(entries(&behind, &runs), before);
        let Err(error) = done else { break };
        match &error {
            MergeError::Storage(error) => assert_eq!(error.kind, StorageErrorKind::Unavailable),
            MergeError::Segment(error) => assert!(error.name.starts_with("memory:///segments/sum/1-0-"), "{error}"),
            other => panic!("{other}"),
        }
        calls += 1;
    }
    assert!(calls > 5, "it had {calls} calls");
}

#[test]
fn what_somebody_else_has_put_is_left_alone() {
    let storage = memory();
    let runs = chain(storage.as_ref());
    let theirs = "segments/sum/1-0-9-2.seg";
    storage.put_new(theirs, Bytes::from_static(b"theirs")).expect("it is new");
    let error = merged(&storage, &runs, ALL, Marks::Drop, 20_000, &GO_ON).expect_err("the name is taken");
    assert!(matches!(&error, MergeError::Storage(error) if error.kind == StorageErrorKind::AlreadyThere), "{error}");
    assert_eq!(storage.get(theirs).expect("it is there"), "theirs");
    assert_eq!(storage.list("").expect("memory does not fail").len(), 4);
}

#[test]
fn a_missing_segment_is_named() {
    let storage = memory();
    let runs = chain(storage.as_ref());
    storage.delete(&runs[1].segments[0].name).expect("memory does not fail");
    let error = merged(&storage, &runs, ALL, Marks::Drop, 1, &GO_ON).expect_err("one is missing").to_string();
    assert!(error.starts_with("memory:///segments/sum/1-0-1-0.seg: "), "{error}");
    assert!(error.contains("it is not there"), "{error}");
}
