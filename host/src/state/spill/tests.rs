//! The spill against a `BTreeMap`: whatever is pushed, sealed, ingested and read, in whatever order the helper works.

mod failures;

use std::{collections::BTreeMap, ops::Bound};

use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::*;
use crate::background::{Inline, Threads};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    /// Key, and bytes of the value; none: a tombstone.
    Push(u16, Option<usize>),
    Flush,
    Get(u16),
    /// Prefix, where to begin, how many entries at most.
    Range(Vec<u8>, Bound<u16>, usize),
    /// Lets the helper work, where a seed decides when it does.
    Work,
    /// Drops the spill and opens another one in the same folder.
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Helper {
    Threads,
    AtOnce,
    Seeded(u64),
}

const KEYS: u16 = 300;

/// Keys from [`POINTS`] on are only looked up.
const POINTS: u16 = 200;

fn key(number: u16) -> Vec<u8> {
    let group = if number < POINTS { b'a' + (number % 4) as u8 } else { b'p' };
    // All lengths, with keys that are prefixes of others, and long common beginnings.
    let mut key = vec![group];
    key.extend(std::iter::repeat_n(0xff, usize::from(number % 3) * 9));
    key.extend_from_slice(&number.to_be_bytes()[usize::from(number < 256 && number.is_multiple_of(5))..]);
    key
}

fn access(number: u16) -> Access {
    if number < POINTS { Access::Ordered } else { Access::Point }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = proptest::option::weighted(0.75, prop_oneof![10 => 0_usize..30, 1 => 400_usize..1_500]);
    let bound =
        prop_oneof![Just(Bound::Unbounded), (0..KEYS).prop_map(Bound::Included), (0..KEYS).prop_map(Bound::Excluded),];
    let prefix =
        prop_oneof![(b'a'..b'f').prop_map(|group| vec![group]), Just(vec![b'b', 0xff, 0xff]), Just(vec![0xff])];
    let step = prop_oneof![
        60 => (0..KEYS, value).prop_map(|(key, value)| Step::Push(key, value)),
        20 => (0..KEYS).prop_map(Step::Get),
        8 => (prefix, bound, 1_usize..60).prop_map(|(prefix, from, limit)| Step::Range(prefix, from, limit)),
        3 => Just(Step::Flush),
        8 => Just(Step::Work),
    ];
    let with_reopening = (vec(step.clone(), 1..150), vec(step, 0..150));
    with_reopening.prop_map(|(mut steps, after)| {
        if !after.is_empty() {
            steps.push(Step::Reopen);
            steps.extend(after);
        }
        steps
    })
}

fn check(steps: &[Step], helper: Helper, run_bytes: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let inline = match helper {
        Helper::Threads => None,
        Helper::AtOnce => Some(Arc::new(Inline::at_once())),
        Helper::Seeded(seed) => Some(Arc::new(Inline::seeded(seed))),
    };
    let background: Arc<dyn Background> = match &inline {
        Some(inline) => Arc::clone(inline) as _,
        None => Arc::new(Threads::new("spill")),
    };
    let open = || {
        let options = SpillOptions { run_bytes, block_cache_bytes: 1 << 20, ..SpillOptions::default() };
        Spill::open(folder.path(), options, Arc::clone(&background)).expect("it opens")
    };
    let mut spill = Some(open());
    let mut model = Model::new();
    let mut writes = 0_u64;
    for step in steps {
        let opened = spill.as_mut().expect("one is open");
        match step {
            Step::Push(number, value) => {
                writes += 1;
                let key = key(*number);
                let value = value.map(|bytes| {
                    let mut value = writes.to_le_bytes().repeat(bytes / 8 + 1);
                    value.truncate(bytes);
                    value
                });
                opened.push(&key, value.as_deref(), access(*number)).expect("it takes everything");
                match value {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
            Step::Flush => opened.flush().expect("it flushes"),
            Step::Get(number) => check_get(opened, &model, &key(*number)),
            Step::Range(prefix, from, limit) => check_range(opened, &model, prefix, from.map(key), *limit),
            Step::Work => {
                inline.as_ref().map(|inline| inline.step());
            }
            Step::Reopen => {
                drop(spill.take());
                spill = Some(open());
                model.clear();
            }
        }
        let opened = spill.as_ref().expect("one is open");
        assert!(opened.sealed.len() <= OUTSTANDING_MAX && opened.spare.len() <= OUTSTANDING_MAX + 1);
        assert!(opened.active.size() < 2 * run_bytes + 2_000);
    }
    let opened = spill.as_mut().expect("one is open");
    for number in 0..KEYS {
        check_get(opened, &model, &key(number));
    }
    for group in b'a'..b'f' {
        check_range(opened, &model, &[group], Bound::Unbounded, usize::MAX);
    }
    // And when everything is on the disk.
    opened.settle().expect("the helper works");
    assert!(opened.sealed.is_empty() && opened.active.is_empty());
    for number in 0..KEYS {
        check_get(opened, &model, &key(number));
    }
    check_range(opened, &model, b"", Bound::Unbounded, usize::MAX);
}

fn check_get(spill: &mut Spill, model: &Model, key: &[u8]) {
    let mut value = b"what was there before".to_vec();
    let found = spill.get(key, &mut value).expect("it can be read");
    assert_eq!((found == Found::Value).then_some(&value), model.get(key), "{key:?}");
    assert!(found == Found::Value || value.is_empty());
}

fn check_range(spill: &mut Spill, model: &Model, prefix: &[u8], from: Bound<Vec<u8>>, limit: usize) {
    let mut range = spill.range(prefix, from.as_ref().map(|from| &**from)).expect("it can be read");
    let mut found = Vec::new();
    while let Some((key, value)) = range.next().expect("it can be read") {
        found.push((key.to_vec(), value.to_vec()));
        if found.len() == limit {
            break;
        }
    }
    let expected = model.range((from, Bound::Unbounded)).filter(|(key, _)| key.starts_with(prefix)).take(limit);
    assert_eq!(found, expected.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>());
}

/// Each case makes a database or two; thousands on demand: `PROPTEST_CASES=5000`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn the_spill_agrees_with_a_map(
        steps in steps(),
        helper in prop_oneof![Just(Helper::Threads), Just(Helper::AtOnce), any::<u64>().prop_map(Helper::Seeded)],
        run_bytes in 1_usize..3_000,
    ) {
        check(&steps, helper, run_bytes);
    }
}

/// Runs are sorted, hold each key once, and give the last entry of each.
#[test]
fn a_sealed_run_is_in_key_order_with_its_tombstones() {
    let mut run = Run::default();
    let mut model = BTreeMap::new();
    for round in 0_u32..3_000 {
        let key = key((round * 7 % 250) as u16);
        let value = (round % 3 != 0).then(|| vec![round as u8; (round % 11) as usize]);
        run.push(&key, hash_of(&key), value.as_deref(), Access::Point);
        model.insert(key, value);
    }
    let sorted: Vec<_> = run.sorted().iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect();
    assert_eq!(sorted, model.into_iter().collect::<Vec<_>>());
    run.clear();
    assert!(run.is_empty() && run.sorted().iter().next().is_none() && run.range(Bound::Unbounded).next().is_none());
}

/// A folder and what opens a spill in it.
struct Fixture {
    folder: TempDir,
    background: Arc<dyn Background>,
    options: SpillOptions,
}

impl Fixture {
    fn new(background: impl Background + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SpillOptions { stuck_after: Duration::from_secs(5), ..SpillOptions::default() };
        Self { folder, background: Arc::new(background), options }
    }

    fn open(&self) -> Result<Spill, SpillError> {
        Spill::open(self.folder.path(), self.options.clone(), Arc::clone(&self.background))
    }

    fn spill(&self) -> Spill {
        self.open().expect("it opens")
    }
}

#[test]
fn where_nothing_was_pushed_nobody_is_asked() {
    let fixture = Fixture::new(Inline::at_once());
    let mut spill = fixture.spill();
    assert!(!spill.may_contain());
    assert_eq!(spill.get(b"key", &mut Vec::new()), Ok(Found::Absent));
    spill.push(b"key", Some(b"value"), Access::Point).expect("it takes it");
    assert!(spill.may_contain());
    assert_eq!(spill.get(b"other", &mut Vec::new()), Ok(Found::Absent));
    assert_eq!(spill.counters().disk_reads, 0, "nothing is on the disk yet");
    spill.flush().expect("it flushes");
    assert_eq!(spill.get(b"other", &mut Vec::new()), Ok(Found::Absent));
    assert_eq!(spill.get(b"key", &mut Vec::new()), Ok(Found::Value));
    let counters = spill.counters();
    assert_eq!((counters.entries, counters.bytes, counters.runs), (1, 8, 1));
    assert_eq!((counters.disk_reads, counters.disk_hits, counters.waits), (2, 1, 0));
    assert!(counters.disk_bytes > 0);
}

#[test]
fn the_owner_waits_when_two_runs_are_outstanding_and_that_is_counted() {
    let mut fixture = Fixture::new(Inline::seeded(1));
    fixture.options.run_bytes = 100;
    let mut spill = fixture.spill();
    let mut pushed = 0_u32;
    while spill.may_push().expect("it is well") {
        spill.push(&pushed.to_be_bytes(), Some(b"a value"), Access::Ordered).expect("it takes it");
        pushed += 1;
    }
    assert_eq!((spill.sealed.len(), spill.counters().waits), (OUTSTANDING_MAX, 0));
    spill.wait().expect("the helper works");
    assert_eq!((spill.sealed.len(), spill.counters().waits, spill.counters().runs), (OUTSTANDING_MAX - 1, 1, 1));
    assert!(spill.may_push().expect("it is well"));
    for number in 0..pushed {
        assert_eq!(spill.get(&number.to_be_bytes(), &mut Vec::new()), Ok(Found::Value));
    }
}

#[test]
fn asking_for_a_compaction_changes_nothing_that_can_be_read() {
    let fixture = Fixture::new(Inline::at_once());
    let mut spill = fixture.spill();
    let mut model = Model::new();
    for number in 0..KEYS {
        spill.push(&key(number), Some(b"value"), Access::Point).expect("it takes it");
        model.insert(key(number), b"value".to_vec());
        if number % 20 == 0 {
            spill.settle().expect("the helper works");
            spill.store.ask_for_a_compaction().expect("it is well");
        }
    }
    spill.settle().expect("the helper works");
    check_range(&mut spill, &model, b"", Bound::Unbounded, usize::MAX);
}

#[test]
fn expired_entries_leave_the_disk_when_it_is_compacted() {
    use crate::{
        state::{Expiry, StoredBytes, StoredKey},
        stream::EventTime,
    };
    let expiry = Arc::new(Expiry::new([(1, crate::state::Lifespan { ttl_ms: 1_000, since: None })]));
    let mut fixture = Fixture::new(Inline::at_once());
    fixture.options.expiry = Arc::clone(&expiry);
    let mut spill = fixture.spill();
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let mut stored = |state, last_access: i64| {
        StoredKey { key_group: 0, state, key: b"key", namespace: b"", entry: &last_access.to_be_bytes() }
            .encode(&mut key)
            .expect("it is short");
        StoredBytes { version: 1, last_access: Some(EventTime(last_access)), value: b"value" }
            .encode(&mut value)
            .expect("it has a version");
        (key.clone(), value.clone())
    };
    let (old, old_value) = stored(1, 0);
    let (young, young_value) = stored(1, 500);
    let (eternal, eternal_value) = stored(2, 0);
    for (key, value) in [(&old, &old_value), (&young, &young_value), (&eternal, &eternal_value)] {
        spill.push(key, Some(value), Access::Point).expect("it takes it");
    }
    spill.flush().expect("it flushes");
    expiry.set_now(EventTime(1_000));
    let found = |spill: &mut Spill, key: &[u8]| spill.get(key, &mut Vec::new()).expect("it can be read");
    // The disk is compacted by a thread of the database, some time after enough runs have come that overlap.
    let mut rounds = 0;
    while found(&mut spill, &old) == Found::Value {
        rounds += 1;
        assert!(rounds < 1_000, "never compacted");
        spill.push(&[0; 5], Some(b"first"), Access::Point).expect("it takes it");
        spill.push(&[0xff; 5], Some(b"last"), Access::Point).expect("it takes it");
        spill.flush().expect("it flushes");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((found(&mut spill, &young), found(&mut spill, &eternal)), (Found::Value, Found::Value));
}
