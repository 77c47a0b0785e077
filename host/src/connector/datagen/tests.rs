//! Records that are made up: which ones, how they lie in splits, and how fast they come.

use proptest::prelude::*;

use super::{reciprocal::Reciprocal, *};
use crate::{
    connector::{
        SplitOffset,
        testing::{context, drain, readers},
    },
    metrics::CounterSet,
    stream::splitmix64,
};

/// A record as bytes: key, value, event time.
pub(super) type Made = (Option<Vec<u8>>, Vec<u8>, Option<i64>);

/// What each of some tasks makes, in order.
pub(super) fn made(generator: &Generator, count: u64, parallelism: u32, limits: BatchLimits) -> Vec<Vec<Made>> {
    let source = Datagen::new(generator.clone(), Some(count), None);
    let record = |batch: &Batch, index: usize| {
        let key = batch.keys.as_ref().map(|keys| keys.column.get(index).to_vec());
        (key, batch.values.get(index).to_vec(), batch.timestamps.get(index).copied())
    };
    let records = |batches: Vec<Batch>| {
        batches.iter().flat_map(|batch| (0..batch.len()).map(|index| record(batch, index))).collect()
    };
    let readers = readers(&source, parallelism, &CounterSet::default()).unwrap();
    drain(readers, limits).unwrap().into_iter().map(records).collect()
}

/// What does not depend on the generator: that tasks share the records, whatever the batches, and that as many are made as were asked for.
pub(super) fn check_shares(generator: &Generator, count: u64) {
    let alone = made(generator, count, 1, BatchLimits::default()).concat();
    assert_eq!(alone.len() as u64, count);
    for (parallelism, limits) in [
        (3, BatchLimits::default()),
        (64, BatchLimits { records: 7, bytes: 1 << 20 }),
        (2, BatchLimits { records: 5000, bytes: 2000 }),
    ] {
        let tasks = made(generator, count, parallelism, limits);
        for (task, records) in tasks.iter().enumerate() {
            let own = |number: &u64| (number / BLOCK) % SPLITS % u64::from(parallelism) == task as u64;
            let expected: Vec<_> = (0..count).filter(own).map(|number| alone[number as usize].clone()).collect();
            assert_eq!(*records, expected, "task {task} of {parallelism}");
        }
    }
}

/// The records (key, value) of each task, in order.
fn records(source: &Datagen, parallelism: u32, limits: BatchLimits) -> Result<Vec<Vec<(u64, u64)>>, ConnectorError> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let records = |batches: Vec<Batch>| {
        batches
            .iter()
            .flat_map(|batch| {
                let keys = batch.keys.iter().flat_map(|keys| keys.column.iter().map(number));
                keys.zip(batch.values.iter().map(number)).collect::<Vec<_>>()
            })
            .collect()
    };
    let readers = readers(source, parallelism, &CounterSet::default())?;
    Ok(drain(readers, limits)?.into_iter().map(records).collect())
}

#[test]
fn the_sequence_is_frozen() {
    let source = Datagen::sequence(Some(5), 1000, None);
    let records = records(&source, 1, BatchLimits::default()).unwrap().remove(0);
    let expected: Vec<_> = (0..5).map(|i| (splitmix64(i) % 1000, i)).collect();
    assert_eq!(records, expected);
    assert_eq!(records[0].0, 16_294_208_416_658_607_535 % 1000);
}

#[test]
fn one_task_makes_the_records_in_order() {
    let count = SPLITS * BLOCK * 2 + BLOCK + 7;
    let source = Datagen::sequence(Some(count), 10, None);
    let limits = BatchLimits { records: 1000, bytes: 1 << 20 };
    let records = records(&source, 1, limits).unwrap().remove(0);
    assert!(records.iter().map(|(_, value)| *value).eq(0..count));
}

#[test]
fn batches_are_full_until_the_end() {
    let source = Datagen::sequence(Some(100_000), 10, None);
    for (limits, expected) in [
        (BatchLimits { records: 1500, bytes: 1 << 20 }, 1500),
        (BatchLimits { records: 1500, bytes: 1590 }, 100),
        (BatchLimits { records: 1500, bytes: 1 }, 1),
    ] {
        let mut reader = source.reader(context(0, 1)).unwrap();
        let mut batch = Batch::new(true);
        assert_eq!(reader.read(Duration::ZERO, &mut batch, limits).unwrap(), Read::More);
        assert_eq!(batch.len(), expected);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |keys, rate| Datagen::sequence(None, keys, rate).prepare(None).unwrap_err().to_string();
    assert_eq!(refused(0, None), "datagen: \"keys\" must be at least 1");
    let refused_by = |generator| Datagen::new(generator, None, None).prepare(None).unwrap_err().to_string();
    let sensors = SensorSettings { sensors: 0, interval: Duration::from_secs(1), seed: 0 };
    assert_eq!(refused_by(Generator::Sensors(sensors)), "datagen: \"sensors\" must be at least 1");
    let nexmark = NexmarkSettings { seed: 0, events: NexmarkEvents::All, event_rate: 0, key: None };
    assert_eq!(refused_by(Generator::Nexmark(nexmark.clone())), "datagen: \"event-rate\" must be at least 1");
    let key = NexmarkEvents::Bid.fields()[0].1;
    let nexmark = NexmarkSettings { event_rate: 1, key: Some(key), ..nexmark };
    assert_eq!(refused_by(Generator::Nexmark(nexmark)), "datagen: not every event has the field \"auction\"");
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(refused(1, Some(rate)).starts_with("datagen: \"rate\" must be a number"));
    }
}

/// Lets one of some tasks run for a while, called when it wants to be. How many records it made by then.
fn paced(rate: f64, parallelism: u32, seconds: f64, count: Option<u64>) -> (usize, usize) {
    let source = Datagen::sequence(count, 10, Some(rate));
    let mut reader = source.reader(context(parallelism - 1, parallelism)).unwrap();
    // The job may have been running for long when the source begins.
    let (began, mut now) = (Duration::from_secs(100), Duration::from_secs(100));
    let (mut made, mut calls) = (0, 0);
    while (now - began).as_secs_f64() <= seconds {
        let mut batch = Batch::new(true);
        let read = reader.read(now, &mut batch, BatchLimits::default()).unwrap();
        made += batch.len();
        calls += 1;
        match read {
            Read::More => {}
            Read::Waiting(time) => now += time,
            Read::End => break,
        }
    }
    (made, calls)
}

#[test]
fn the_rate_is_kept_and_shared_out() {
    for (rate, parallelism, seconds, expected) in [
        (10.0, 1, 10.0, 100),
        (0.25, 1, 40.0, 10),
        (1e6, 1, 3.0, 3_000_000),
        (64_000.0, 64, 5.0, 5_000),
        (64_000.0, 48, 5.0, 5_000),
    ] {
        let (made, calls) = paced(rate, parallelism, seconds, None);
        let slack = 1 + expected / 500;
        assert!(made.abs_diff(expected) <= slack, "{rate} by {parallelism}: {made}");
        assert!(calls as f64 <= seconds * 2_100.0 + expected as f64 / 512.0, "{rate}: {calls} calls");
    }
    assert_eq!(paced(1000.0, 1, 60.0, Some(5_000)).0, 5_000);
}

#[test]
fn a_task_that_was_held_up_makes_up_for_it() {
    let source = Datagen::sequence(None, 10, Some(1000.0));
    let mut reader = source.reader(context(0, 1)).unwrap();
    let limits = BatchLimits { records: 1 << 20, bytes: 1 << 30 };
    let mut batch = Batch::new(true);
    for now in [0, 5] {
        let read = reader.read(Duration::from_secs(now), &mut batch, limits).unwrap();
        assert!(matches!(read, Read::Waiting(_)));
    }
    assert_eq!(batch.len(), 5_001);
}

/// Reads so many records of each task, a few at a time; what was made, and where the source is then.
fn make_some(
    source: &Datagen,
    position: Option<&SourcePosition>,
    quotas: &[usize],
    records_max: usize,
) -> (Vec<Vec<u64>>, SourcePosition) {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("a number"));
    source.prepare(position).expect("it is its own position");
    let mut read = SplitsRead::default();
    let parallelism = quotas.len() as u32;
    let tasks = quotas.iter().zip(0..).map(|(quota, task)| {
        let mut reader = source.reader(context(task, parallelism)).expect("it opens");
        let mut made = Vec::new();
        while made.len() < *quota {
            let mut batch = Batch::new(true);
            let limits = BatchLimits { records: records_max.min(quota - made.len()), bytes: 1 << 20 };
            let end = reader.read(Duration::ZERO, &mut batch, limits).expect("it makes records") == Read::End;
            made.extend(batch.values.iter().map(number));
            if end {
                break;
            }
        }
        read.merge(reader.position());
        made
    });
    let made = tasks.collect();
    (made, source.position(read))
}

#[test]
fn a_restored_source_makes_the_rest_in_order() {
    let source = Datagen::sequence(Some(200_000), 10, None);
    let (made, position) = make_some(&source, None, &[1_500, 66_000], 700);
    let total = made.concat().len() as u64;
    assert_eq!(total, 67_500);
    // One task came to its second block, in split 2; the other was through with its splits twice, and began a third block of split 1.
    let offset = |split, offset| SplitOffset { split, offset };
    assert_eq!(position.splits.reading[..3], [offset(0, 1024), offset(1, 2048 + 464), offset(2, 476)]);
    assert!(position.splits.done.is_empty());

    let (rest, end) = make_some(&source, Some(&position), &[usize::MAX], 1024);
    assert!(rest[0].is_sorted());
    let mut all = [made.concat(), rest.concat()].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..200_000));

    let longer = Datagen::sequence(Some(200_100), 10, None);
    let (more, _) = make_some(&longer, Some(&end), &[usize::MAX; 3], 1024);
    assert!(more.concat().into_iter().eq(200_000..200_100), "a higher count goes on");
}

#[test]
fn a_position_of_another_source_is_refused() {
    let source = Datagen::sequence(None, 10, None);
    let offset = |split, offset| SplitsRead { done: Vec::new(), reading: vec![SplitOffset { split, offset }] };
    let splits = |splits| SourcePosition { splits, ..SourcePosition::default() };
    let done = SplitsRead { done: std::iter::once(0..1).collect(), reading: Vec::new() };
    let bytes = SourcePosition { split_bytes: 1, ..SourcePosition::default() };
    for position in [splits(offset(64, 1)), splits(offset(0, u64::MAX / 64)), splits(done), bytes] {
        let error = source.prepare(Some(&position)).expect_err("it is another source's").to_string();
        assert!(error.starts_with("datagen: the checkpoint has a position of another type of source"), "{error}");
    }
    assert!(source.prepare(Some(&splits(offset(63, 1 << 50)))).is_ok());
}

#[test]
fn the_rate_counts_from_the_restore() {
    let source = Datagen::sequence(None, 10, Some(1000.0));
    let position = {
        let splits = SplitsRead { done: Vec::new(), reading: vec![SplitOffset { split: 0, offset: 1_000_000 }] };
        SourcePosition { splits, ..SourcePosition::default() }
    };
    source.prepare(Some(&position)).expect("it is its own");
    let mut reader = source.reader(context(0, 1)).expect("it opens");
    let mut batch = Batch::new(true);
    let limits = BatchLimits { records: 1 << 20, bytes: 1 << 30 };
    for now in [100, 101] {
        reader.read(Duration::from_secs(now), &mut batch, limits).expect("it makes records");
    }
    assert_eq!(batch.len(), 1_001);
}

proptest! {
    #[test]
    fn remainders_are_exact(number: u64, divisor in 1_u64.., shift in 0_u32..64, near in 0_u64..3) {
        let check = |number: u64, divisor: u64| {
            if divisor > 0 {
                assert_eq!(Reciprocal::of(divisor).remainder(number), number % divisor, "{number} % {divisor}");
            }
        };
        let power = 1_u64 << shift;
        let divisors = [divisor, divisor >> shift, power, power.wrapping_add(near), power - near.min(power), u64::MAX - near];
        for divisor in divisors {
            let multiple = (number >> shift).wrapping_mul(divisor);
            for number in [number, number >> shift, u64::MAX - near, near, power, multiple, multiple.wrapping_add(near), multiple.wrapping_sub(near)] {
                check(number, divisor);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn tasks_share_the_records_by_splits(count in 0_u64..300_000, parallelism in 1_u32..=66, records_max in 1_usize..3000) {
        let limits = BatchLimits { records: records_max.max(700), bytes: 1 << 20 };
        let tasks = records(&Datagen::sequence(Some(count), 97, None), parallelism, limits).unwrap();
        let mut all = Vec::new();
        for (task, records) in tasks.iter().enumerate() {
            prop_assert!(records.is_sorted_by_key(|(_, value)| *value));
            let owner = |value: u64| (value / BLOCK) % SPLITS % u64::from(parallelism);
            prop_assert!(records.iter().all(|(_, value)| owner(*value) == task as u64));
            prop_assert!(records.iter().all(|(key, value)| *key == splitmix64(*value) % 97));
            all.extend(records.iter().map(|(_, value)| *value));
        }
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..count));
    }

    #[test]
    fn every_record_is_made_once_over_restores_at_any_point_and_parallelism(
        count in 0_u64..200_000,
        runs in proptest::collection::vec(proptest::collection::vec(0_usize..20_000, 1..6), 0..5),
        records_max in 1_usize..3000,
    ) {
        let source = Datagen::sequence(Some(count), 97, None);
        let (mut position, mut all) = (None, Vec::new());
        for quotas in runs.into_iter().chain([vec![usize::MAX; 3]]) {
            let (made, next) = make_some(&source, position.as_ref(), &quotas, records_max.max(700));
            prop_assert!(made.iter().all(|made| made.is_sorted()));
            all.extend(made.concat());
            position = Some(SourcePosition::from_json(&next.to_json()).expect("it is read back"));
        }
        all.sort_unstable();
        prop_assert!(all.into_iter().eq(0..count));
    }
}
