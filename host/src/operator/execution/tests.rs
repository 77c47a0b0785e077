//! Calls are transactions, whatever an operator does: held against a model that knows neither batches nor instances.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use serde_json::Value;

use super::*;
use crate::{
    operator::{Hooks, InputDescriptor, OutputDescriptor, StateDescriptor, StateKind},
    stream::{BatchLimits, EventTime},
};

/// What the fake operator does when it meets a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// Returns it as a failure, with its effects undone.
    Fails,
    /// Returns an error for the whole call.
    Refuses,
    /// Traps and says at which record.
    Panics,
    /// Traps and names a record that is not of the call.
    Raves,
    /// Traps.
    Traps,
    /// Takes too long.
    Hangs,
    /// Takes too long unless the batch has at most three records.
    Crawls,
    /// Hands over columns that contradict themselves, and returns well.
    Lies,
    /// Returns failures in a wrong order.
    Muddles,
}

const DEEDS: [Deed; 8] =
    [Deed::Fails, Deed::Refuses, Deed::Panics, Deed::Raves, Deed::Traps, Deed::Hangs, Deed::Lies, Deed::Muddles];

impl Deed {
    fn fault(self) -> &'static str {
        match self {
            Self::Fails => "failed-record",
            Self::Refuses => "guest-error",
            Self::Panics | Self::Raves => "panic",
            Self::Traps => "trap",
            Self::Hangs | Self::Crawls => "time-limit",
            Self::Lies | Self::Muddles => "malformed-columns",
        }
    }
}

/// Counts records by key, and emits the count after each, as the SDK does it: with values decoded once and kept by slot.
struct Counting {
    descriptor: Descriptor,
    deeds: BTreeMap<u64, Deed>,
    /// What instances say that they use, in turn; above half of the cap they have to forget slots.
    memory: Vec<usize>,
    calls: Arc<Mutex<Vec<usize>>>,
}

struct CountingInstance {
    deeds: BTreeMap<u64, Deed>,
    memory: Vec<usize>,
    /// The count of each slot it was told of.
    counts: Vec<Option<u64>>,
    dead: bool,
    calls: Arc<Mutex<Vec<usize>>>,
}

const MEMORY_CAP: usize = 1000;

impl Plugin for Counting {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn digest(&self) -> &str {
        ""
    }

    fn instantiate(&self, _: InstanceLimits, _: &TaskInfo) -> Result<Box<dyn Instance>, Fault> {
        let (deeds, memory, calls) = (self.deeds.clone(), self.memory.clone(), Arc::clone(&self.calls));
        Ok(Box::new(CountingInstance { deeds, memory, counts: Vec::new(), dead: false, calls }))
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
}

impl CountingInstance {
    fn learn(&mut self, delivery: &Delivery) {
        for slot in &delivery.released {
            assert!(self.counts[*slot as usize].take().is_some(), "slot {slot} is released, and was not held");
        }
        for (index, slot) in delivery.fresh.iter().enumerate() {
            let (version, value) = delivery.prefetched[0].1.get(index, 1);
            let slot = *slot as usize;
            self.counts.resize(self.counts.len().max(slot + 1), None);
            self.counts[slot] = Some(if version == 0 { 0 } else { number(value) });
        }
    }

    fn work(&mut self, delivery: &Delivery, batch: &Batch, exchange: &mut Exchange) -> Result<Vec<Failure>, Fault> {
        let (mut failures, mut src, mut out) = (Vec::new(), Vec::new(), BytesColumn::default());
        for (index, slot) in delivery.slots.iter().enumerate() {
            let count = self.counts[*slot as usize].as_mut().expect("a slot is told of before it is used");
            let fault = |kind| Err(Fault::new(kind, "as configured"));
            match self.deeds.get(&number(batch.values.get(index))) {
                Some(Deed::Crawls) if delivery.slots.len() > 3 => return fault(FaultKind::TimeLimit),
                None | Some(Deed::Crawls) => {
                    *count += 1;
                    src.push(index as u32);
                    out.push(&count.to_le_bytes());
                }
                Some(Deed::Fails) => failures.push(Failure { index: index as u32, message: "as configured".into() }),
                Some(Deed::Refuses) => return fault(FaultKind::GuestError),
                Some(Deed::Panics) => {
                    return Err(Fault { index: Some(index as u32), ..Fault::new(FaultKind::Panic, "as configured") });
                }
                Some(Deed::Raves) => {
                    return Err(Fault { index: Some(u32::MAX), ..Fault::new(FaultKind::Panic, "as configured") });
                }
                Some(Deed::Traps) => return fault(FaultKind::Trap),
                Some(Deed::Hangs) => return fault(FaultKind::TimeLimit),
                Some(Deed::Lies) => {
                    let _ = exchange.emit(0, &[index as u32], &[1, 2], &[1], &[]);
                }
                Some(Deed::Muddles) => failures.extend([1, 0].map(|index| Failure { index, message: String::new() })),
            }
        }
        // In two pieces, so that several calls of an import are one transaction.
        let half = src.len() / 2;
        for part in [0..half, half..src.len()] {
            let mut values = BytesColumn::default();
            values.extend_from(&out, part.start, part.end);
            let _ = exchange.emit(0, &src[part], values.data(), values.ends(), &[]);
        }
        let mut touched = delivery.slots.clone();
        touched.sort_unstable();
        touched.dedup();
        touched.retain(|slot| self.counts[*slot as usize] != Some(0));
        let counts: BytesColumn =
            touched.iter().map(|slot| self.counts[*slot as usize].unwrap_or(0).to_le_bytes()).collect();
        let _ = exchange.put_many(0, &touched, counts.data(), counts.ends(), &[]);
        Ok(failures)
    }

    /// Notes have no keys: there is nothing to learn of slots, and nothing to do with keyed state.
    fn note(&mut self, delivery: &Delivery, batch: &Batch, exchange: &mut Exchange) -> Result<Vec<Failure>, Fault> {
        self.alive(batch.len());
        assert!(delivery.slots.is_empty() && delivery.fresh.is_empty() && delivery.released.is_empty());
        assert!(delivery.prefetched.iter().all(|(_, column)| column.values.is_empty()));
        assert!(batch.keys.is_none(), "keys that came by such an input stay behind");
        assert!(exchange.get_many(0, &[0]).is_err() && exchange.slot_of(&[0; 8]).is_err());
        for (index, value) in batch.values.iter().enumerate() {
            match self.deeds.get(&number(value)) {
                Some(Deed::Traps) => {
                    self.dead = true;
                    return Err(Fault::new(FaultKind::Trap, "as configured"));
                }
                Some(Deed::Lies) => {
                    self.dead = true;
                    // A record that keeps a key which is not there.
                    let _ = exchange.emit(0, &[index as u32], &[1], &[1], &[]);
                }
                _ => {}
            }
        }
        Ok(Vec::new())
    }

    fn alive(&mut self, records: usize) {
        assert!(!self.dead, "an instance is called after a fault");
        self.calls.lock().unwrap().push(records);
    }
}

impl Instance for CountingInstance {
    fn open(&mut self, _: &str, _: &TaskInfo, _: CallTime, exchange: &mut Box<Exchange>) -> Result<(), Fault> {
        assert!(exchange.emit(0, &[0], &[1], &[1], &[]).is_err(), "open may not emit");
        Ok(())
    }

    fn process(
        &mut self,
        input: u32,
        delivery: &Delivery,
        batch: &Batch,
        _: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault> {
        if input == NOTES {
            return self.note(delivery, batch, exchange);
        }
        self.alive(batch.len());
        self.learn(delivery);
        let result = self.work(delivery, batch, exchange);
        let muddled =
            result.as_ref().is_ok_and(|failures| failures.windows(2).any(|pair| pair[0].index >= pair[1].index));
        let lied = batch.values.iter().any(|value| self.deeds.get(&number(value)) == Some(&Deed::Lies));
        self.dead = result.is_err() || muddled || lied;
        result
    }

    fn on_end(
        &mut self,
        delivery: &Delivery,
        _: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault> {
        self.alive(delivery.slots.len());
        self.learn(delivery);
        for (index, slot) in delivery.slots.iter().enumerate() {
            let key = number(&exchange.key_of(*slot).expect("a slot has a key"));
            let count = self.counts[*slot as usize].expect("a slot is told of before it is used");
            let value = (key << 32 | count).to_le_bytes();
            exchange.emit(0, &[index as u32], &value, &[8], &[]).expect("it may emit");
        }
        Ok(Vec::new())
    }

    fn snapshot(&mut self, _: CallTime, _: &mut Box<Exchange>) -> Result<(), Fault> {
        Ok(())
    }

    fn close(&mut self, _: CallTime, _: &mut Box<Exchange>) -> Result<(), Fault> {
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        let calls = self.calls.lock().unwrap().len();
        self.memory.get(calls % self.memory.len().max(1)).copied().unwrap_or(0)
    }
}

/// The number of the input without keys.
const NOTES: u32 = 1;
/// A value that no record with a key has.
const BAD_NOTE: u64 = 1_000;

fn input(name: &str, key: Option<Schema>) -> InputDescriptor {
    InputDescriptor { name: name.into(), key, value: Schema::u64(), broadcast: false }
}

fn descriptor() -> Descriptor {
    let state = StateDescriptor {
        name: "count".into(),
        kind: StateKind::Value,
        version: 1,
        schema: Schema::u64(),
        migrates_from: Vec::new(),
        map_key: None,
        ttl: None,
        prefetch: true,
        on_end: true,
    };
    Descriptor {
        name: "counting".into(),
        version: "1".into(),
        inputs: vec![input("in", Some(Schema::u64())), input("notes", None)],
        outputs: vec![OutputDescriptor { name: "out".into(), keying: Keying::Keep, value: Schema::u64() }],
        states: vec![state],
        hooks: Hooks::default(),
    }
}

fn execution(plugin: Counting, policy: FaultPolicy, records: usize, faults_per_minute: u32) -> Execution {
    let info = TaskInfo {
        job: "job".into(),
        operator: "counting".into(),
        task: 3,
        parallelism: 4,
        max_parallelism: 128,
        key_groups: 96..128,
        batch: BatchLimits { records, bytes: 1 << 20 },
    };
    let setup = ExecutionSetup {
        info,
        plugin: Arc::new(plugin),
        config: "{}".into(),
        limits: InstanceLimits { memory_bytes_max: MEMORY_CAP, call_time: Duration::from_secs(1) },
        exchange_limits: ExchangeLimits::default(),
        policy,
        faults_per_minute,
        keys_wanted: true,
        key_schemas: vec![Some(Schema::u64())],
        counters: Arc::new(OperatorCounters::default()),
        time: TIME,
        spill: None,
        snapshots: None,
        restored: Restored::default(),
        state_ids: Default::default(),
        succession: Arc::default(),
        log: Box::new(|_, _, _| {}),
    };
    Execution::new(setup).expect("it opens")
}

fn counting(deeds: &[(u64, Deed)]) -> Counting {
    let deeds = deeds.iter().copied().collect();
    Counting { descriptor: descriptor(), deeds, memory: Vec::new(), calls: Arc::default() }
}

fn batch(records: &[(u64, u64)]) -> Batch {
    let bytes = |number: &u64| number.to_le_bytes();
    Batch {
        keys: Some(Keys::hashed(records.iter().map(|(key, _)| bytes(key)).collect())),
        values: records.iter().map(|(_, value)| bytes(value)).collect(),
        timestamps: Vec::new(),
    }
}

fn notes(numbers: &[u64]) -> Batch {
    Batch { values: numbers.iter().map(|number| number.to_le_bytes()).collect(), ..Batch::default() }
}

const TIME: CallTime = CallTime { now: EventTime(60_000), watermark: None };

/// Key and value of each record.
fn shown(batches: &[Batch]) -> Vec<(u64, u64)> {
    let mut records = Vec::new();
    for batch in batches {
        batch.assert_consistent();
        let keys = batch.keys.as_ref().expect("the output keeps keys");
        records.extend(keys.column.iter().map(number).zip(batch.values.iter().map(number)));
    }
    records
}

proptest! {
    #[test]
    fn results_state_and_letters_are_those_of_the_records_one_by_one(
        keys in vec(0_u64..9, 0..120),
        deeds in vec((0_u64..120, 0_usize..DEEDS.len()), 0..6),
        cuts in vec(1_usize..40, 1..6),
        records in 1_usize..40,
        memory in vec(0_usize..MEMORY_CAP, 0..5),
        between in vec(0_usize..4, 1..4),
    ) {
        // Each record's value is its number.
        let input: Vec<(u64, u64)> = keys.into_iter().zip(0..).collect();
        let deeds: BTreeMap<u64, Deed> = deeds.into_iter().map(|(value, deed)| (value, DEEDS[deed])).chain([(BAD_NOTE, Deed::Traps)]).collect();
        let calls = Arc::default();
        let plugin = Counting { descriptor: descriptor(), deeds: deeds.clone(), memory, calls: Arc::clone(&calls) };
        let mut execution = execution(plugin, FaultPolicy::DeadLetter, records, u32::MAX);
        let (mut out, mut dead) = (Vec::new(), Batch::new(false));
        let (mut rest, mut sizes, mut between) = (&input[..], cuts.iter().cycle(), between.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            execution.process(0, &batch(now), TIME, &mut out, &mut dead).expect("nothing fails the job");
            rest = later;
            // Batches without keys come between, and some of their records fail.
            let noted = &[u64::MAX, BAD_NOTE, u64::MAX][..*between.next().unwrap()];
            if !noted.is_empty() {
                let mut dead = Batch::new(false);
                execution.process(NOTES, &notes(noted), TIME, &mut out, &mut dead).expect("nothing fails the job");
                prop_assert_eq!(dead.len(), usize::from(noted.len() > 1));
            }
        }

        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        let mut expected = Vec::new();
        for (key, _) in input.iter().filter(|(_, value)| !deeds.contains_key(value)) {
            let count = counts.entry(*key).or_default();
            *count += 1;
            expected.push((*key, *count));
        }
        prop_assert_eq!(shown(&out), expected);
        prop_assert!(calls.lock().unwrap().iter().all(|call| *call <= records));

        let letters: Vec<Value> = dead.values.iter().map(|letter| serde_json::from_slice(letter).unwrap()).collect();
        let poison: Vec<_> = input.iter().filter_map(|(key, value)| Some((*key, *value, deeds.get(value)?.fault()))).collect();
        let found: Vec<_> = letters.iter().map(|letter| {
            (letter["key"].as_u64().unwrap(), letter["value"].as_u64().unwrap(), letter["fault"].as_str().unwrap())
        }).collect();
        prop_assert_eq!(found, poison);

        out.clear();
        while execution.on_end(TIME, &mut out, &mut dead).expect("nothing fails the job") {}
        let mut at_end: Vec<(u64, u64)> = shown(&out).into_iter().map(|(_, value)| (value >> 32, value & 0xffff_ffff)).collect();
        at_end.sort_unstable();
        prop_assert_eq!(at_end, counts.into_iter().collect::<Vec<_>>());
    }
}

#[track_caller]
fn fails(deed: Deed, records: &[(u64, u64)], expected: &str) {
    let mut execution = execution(counting(&[(7, deed)]), FaultPolicy::Fail, 100, u32::MAX);
    let mut out = Vec::new();
    let fault =
        execution.process(0, &batch(records), TIME, &mut out, &mut Batch::new(false)).expect_err("the job fails");
    assert_eq!((fault.message.as_str(), fault.kind.name()), (expected, deed.fault()));
}

#[test]
fn a_fault_that_fails_the_job_names_what_is_known_of_the_record() {
    let records = [(1, 5), (2, 6), (3, 7)];
    let named = "operator counting, task 3: as configured (the record with key 3 and value 7 of the input in)";
    fails(Deed::Fails, &records, named);
    fails(Deed::Panics, &records, named);
    // A limit is tried again in halves until the record is alone, under every setting.
    fails(Deed::Hangs, &records, named);
    // Where the guest does not say which record it was, trying shows it.
    fails(Deed::Traps, &records, named);
    fails(Deed::Raves, &records, named);
    fails(Deed::Refuses, &records, named);
    fails(Deed::Traps, &[(3, 7)], named);
}

#[test]
fn a_fault_names_the_input_where_there_are_several() {
    let fails = |deed, values: &[u64]| {
        let mut execution = execution(counting(&[(7, deed)]), FaultPolicy::Fail, 100, u32::MAX);
        let (mut out, mut dead) = (Vec::new(), Batch::new(false));
        let fault = execution.process(NOTES, &notes(values), TIME, &mut out, &mut dead).expect_err("the job fails");
        fault.message
    };
    let place = "(the record 7 of the input notes)";
    assert_eq!(fails(Deed::Traps, &[5, 6, 7, 8]), format!("operator counting, task 3: as configured {place}"));
    // Somebody wants the keys that the output keeps, and these records have none.
    let message = "emit was called for an output that keeps keys, in a batch of an input whose records have none";
    assert_eq!(fails(Deed::Lies, &[5, 6, 7]), format!("operator counting, task 3: {message} {place}"));
}

#[test]
fn records_of_an_input_that_there_is_not_are_a_bug_of_ours() {
    let mut execution = execution(counting(&[]), FaultPolicy::Skip, 100, u32::MAX);
    let fault = execution.process(2, &notes(&[1]), TIME, &mut Vec::new(), &mut Batch::new(false));
    assert_eq!(fault.expect_err("it is").kind, FaultKind::HostBug);
}

#[test]
fn nothing_of_a_call_that_fails_the_job_is_applied() {
    for deed in [Deed::Fails, Deed::Traps, Deed::Lies] {
        let mut execution = execution(counting(&[(7, deed)]), FaultPolicy::Fail, 100, u32::MAX);
        let mut out = Vec::new();
        assert!(execution.process(0, &batch(&[(1, 5), (3, 7)]), TIME, &mut out, &mut Batch::new(false)).is_err());
        assert!(out.is_empty(), "{deed:?}");
    }
}

#[test]
fn faults_are_counted_by_minutes() {
    let deeds: Vec<_> = (0..10).map(|value| (value, Deed::Traps)).collect();
    let mut execution = execution(counting(&deeds), FaultPolicy::Skip, 100, 2);
    let mut process = |value: u64, minute: i64| {
        let time = CallTime { now: EventTime(minute * 60_000), watermark: None };
        execution.process(0, &batch(&[(0, value)]), time, &mut Vec::new(), &mut Batch::new(false))
    };
    for (value, minute) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        process(value, minute).expect("two faults in a minute are allowed");
    }
    let fault = process(4, 2).expect_err("three are not");
    assert!(fault.message.contains("more than 2 faults in a minute (limits.faults-per-minute)"), "{fault}");
}

/// The sizes of calls for a first batch of 16 records, and for 199 more.
fn call_sizes(deed: Deed) -> (Vec<usize>, Vec<usize>) {
    let plugin = counting(&[(7, deed)]);
    let calls = Arc::clone(&plugin.calls);
    let mut execution = execution(plugin, FaultPolicy::Skip, 16, u32::MAX);
    let mut process = |from: u64| {
        let records: Vec<_> = (from..from + 16).map(|value| (value % 3, value)).collect();
        execution
            .process(0, &batch(&records), TIME, &mut Vec::new(), &mut Batch::new(false))
            .expect("nothing fails the job");
    };
    process(0);
    let first = std::mem::take(&mut *calls.lock().unwrap());
    (1..200).for_each(|number| process(number * 16));
    let later = std::mem::take(&mut *calls.lock().unwrap());
    (first, later)
}

#[test]
fn a_slow_operator_gets_smaller_batches_and_larger_ones_again() {
    let (first, later) = call_sizes(Deed::Crawls);
    assert_eq!(first[..3], [16, 8, 4], "{first:?}");
    assert!(later[0] < 4 && later.is_sorted() && later.last() == Some(&16), "{later:?}");
}

#[test]
fn one_record_that_takes_too_long_does_not_make_later_batches_smaller() {
    let (first, later) = call_sizes(Deed::Hangs);
    assert!(first.contains(&1), "{first:?}");
    assert!(later.iter().all(|size| *size == 16), "{later:?}");
}
