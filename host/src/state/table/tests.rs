//! The table against a model: a `HashMap`, and a guest that believes what it is told.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::{collection::vec, prelude::*};

use super::{slots::SLOTS_FEW, *};

fn states() -> Vec<StoredValue> {
    vec![
        StoredValue { number: 0, id: 0, version: 1, prefetch: true, on_end: true, noted: Noted::No },
        StoredValue { number: 1, id: 1, version: 3, prefetch: true, on_end: false, noted: Noted::No },
    ]
}

/// What a guest knows: key and values by slot, as they were delivered and as it wrote them.
#[derive(Default)]
struct Guest {
    slots: HashMap<u32, (Vec<u8>, [Option<Vec<u8>>; 2])>,
}

impl Guest {
    fn apply(&mut self, delivery: &Delivery) {
        for slot in &delivery.released {
            assert!(self.slots.remove(slot).is_some(), "only slots that are known are released");
        }
        for (index, slot) in delivery.fresh.iter().enumerate() {
            let values = [0, 1].map(|state| {
                let (number, column) = &delivery.prefetched[state];
                assert_eq!(*number, state as u32);
                let current = states()[state].version;
                let (version, value) = column.get(index, current);
                (version != 0).then(|| value.to_vec())
            });
            self.slots.insert(*slot, (delivery.fresh_keys.get(index).to_vec(), values));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Keys of a batch; each record writes `value` bytes (none: clears) to a state.
    Batch(Vec<(u16, u32, Option<u16>)>),
    Forget,
    Lower(usize),
    Walk,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record =
        (0_u16..400, 0_u32..2, proptest::option::weighted(0.7, prop_oneof![8 => 0_u16..40, 1 => 500_u16..700]));
    let step = prop_oneof![
        20 => vec(record, 1..=120).prop_map(Step::Batch),
        1 => Just(Step::Forget),
        1 => (1_usize..64).prop_map(Step::Lower),
        1 => Just(Step::Walk),
    ];
    vec(step, 1..40)
}

fn key(number: u16) -> Vec<u8> {
    // All lengths around the special cases of comparing and copying.
    let mut key = number.to_le_bytes().to_vec();
    key.resize(2 + usize::from(number % 37), b'k');
    key
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_table_agrees_with_a_map_and_its_guest(steps in steps(), slots_max in 1_usize..300, prefetch in any::<bool>(), window in 1_usize..2000) {
        let mut table = KeyTable::new(states(), slots_max, 120);
        if prefetch {
            table.prefetch_bytes_min = 0;
        }
        table.window.length = window;
        table.ring_max = 2 * table.ring;
        let mut delivery = Delivery::default();
        let mut guest = Guest::default();
        let mut model: BTreeMap<Vec<u8>, [Option<Vec<u8>>; 2]> = BTreeMap::new();
        let (mut serial, mut walked_once) = (0_u8, false);
        for step in steps {
            match step {
                Step::Batch(records) => {
                    let keys = Keys::hashed(records.iter().map(|(number, ..)| key(*number)).collect());
                    table.resolve(&keys, &mut Behind::nothing(), &mut delivery);
                    guest.apply(&delivery);
                    for ((number, state, len), slot) in records.into_iter().zip(&delivery.slots) {
                        let key = key(number);
                        let known = guest.slots.get_mut(slot).expect("a slot is delivered before it is used");
                        prop_assert_eq!(&known.0, &key);
                        let expected = model.get(&key).cloned().unwrap_or_default();
                        prop_assert_eq!(&known.1, &expected);
                        serial = serial.wrapping_add(1);
                        let value = len.map(|len| vec![serial; usize::from(len)]);
                        table.set_value(*slot, state, value.as_ref().map_or(0, |_| states()[state as usize].version), value.as_deref().unwrap_or_default(), &mut Behind::nothing()).unwrap();
                        known.1[state as usize] = value.clone();
                        model.entry(key).or_default()[state as usize] = value;
                    }
                }
                Step::Forget => {
                    table.forget_slots(&mut Behind::nothing());
                    guest = Guest::default();
                }
                Step::Lower(slots) => table.lower_slots(slots, &mut Behind::nothing()),
                Step::Walk => {
                    walked_once = true;
                    let (mut visited, mut walked) = (HashSet::new(), Keys::default());
                    let mut cursor = Some(0);
                    while let Some(at) = cursor {
                        cursor = table.walk(at, 7, &mut walked);
                        table.resolve(&walked, &mut Behind::nothing(), &mut delivery);
                        guest.apply(&delivery);
                        for slot in &delivery.slots {
                            let (key, values) = &guest.slots[slot];
                            prop_assert_eq!(values, &model[key]);
                            prop_assert!(visited.insert(key.clone()), "each key is visited once");
                        }
                    }
                    let expected: HashSet<_> = model.iter().filter(|(_, values)| values[0].is_some()).map(|(key, _)| key.clone()).collect();
                    prop_assert_eq!(visited, expected);
                }
            }
            model.retain(|_, values| values.iter().any(Option::is_some));
            // What is given up during a walk stays: a walk is the last thing that happens to a table.
            prop_assert!(walked_once || table.len() <= model.len() + table.slots.len());
        }
    }
}

#[test]
fn keys_of_one_task_do_not_cluster() {
    let mut table = KeyTable::new(states(), 100_000, 40_000);
    let mut keys = Keys::default();
    for number in 0_u64.. {
        let key = number.to_le_bytes();
        let hash = hash_key(&key);
        // The first of eight tasks: an eighth of the key groups.
        if hash % 128 < 16 {
            keys.push(&key, hash);
        }
        if keys.hashes.len() == 40_000 {
            break;
        }
    }
    table.resolve(&keys, &mut Behind::nothing(), &mut Delivery::default());
    let mask = table.buckets.len() - 1;
    let probes: usize = table
        .buckets
        .iter()
        .enumerate()
        .filter(|(_, bucket)| **bucket != 0)
        .map(|(at, bucket)| (at.wrapping_sub(((bucket >> 32) as u32 >> table.shift) as usize) & mask) + 1)
        .sum();
    assert!(probes < 40_000 * 2, "{} probes a key", probes as f64 / 40_000.0);
}

#[test]
fn an_entry_costs_at_most_forty_bytes_beyond_key_and_value() {
    let mut table = KeyTable::new(
        vec![StoredValue { number: 0, id: 0, version: 1, prefetch: true, on_end: false, noted: Noted::No }],
        1024,
        1000,
    );
    let mut delivery = Delivery::default();
    // Up to the moment after the buckets have grown, when they are fewest to be full.
    for first in (0..800_000_u64).step_by(1000) {
        let keys = Keys::hashed((first..first + 1000).map(u64::to_le_bytes).collect());
        table.resolve(&keys, &mut Behind::nothing(), &mut delivery);
        for slot in &delivery.slots {
            table.set_value(*slot, 0, 1, &[7; 16], &mut Behind::nothing()).expect("the slot was just given");
        }
    }
    let overhead = table.bytes() as f64 / 800_000.0 - 24.0;
    assert!(overhead <= 40.0, "{overhead} bytes");
}

/// The number of slots after `records` records of `keys` keys in turn.
fn slots_after(table: &mut KeyTable, records: u64, keys: u64) -> usize {
    let mut delivery = Delivery::default();
    for first in (0..records).step_by(1000) {
        table.resolve(
            &Keys::hashed((first..first + 1000).map(|record| (record % keys).to_le_bytes()).collect()),
            &mut Behind::nothing(),
            &mut delivery,
        );
        for slot in &delivery.slots {
            table.set_value(*slot, 0, 1, &[7], &mut Behind::nothing()).unwrap();
        }
    }
    table.slots_max()
}

#[test]
fn the_number_of_slots_follows_what_is_worth_keeping() {
    let mut table = KeyTable::new(states(), SLOTS_DEFAULT, 1000);
    assert_eq!(slots_after(&mut table, 2_200_000, 100_000), SLOTS_DEFAULT, "all keys have a slot");
    assert_eq!(slots_after(&mut table, 2_200_000, 300_000), SLOTS_FEW, "no key has a slot when it comes again");
    assert_eq!(slots_after(&mut table, 2_200_000, 3_000), SLOTS_DEFAULT, "few keys come now");
}

#[test]
fn what_is_in_use_is_not_evicted() {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = crate::state::SpillSetup {
        directory: folder.path().join("spill"),
        options: crate::state::SpillOptions::default(),
        background: std::sync::Arc::new(crate::background::Inline::at_once()),
        cache_bytes: 1,
    };
    let mut behind = Behind::new(Some(setup), 128, None);
    let state = StoredValue { number: 0, id: 0, version: 1, prefetch: true, on_end: false, noted: Noted::No };
    let mut table = KeyTable::new(vec![state], 1024, 64);
    let mut delivery = Delivery::default();
    let used: Vec<u64> = (0..32).map(|key| key * 1_000_003).collect();
    let mut loaded = 0;
    for batch in 0..2_000_u64 {
        let others = (0..32).map(|key| batch * 32 + key + (1 << 40));
        let keys = Keys::hashed(used.iter().copied().chain(others).map(u64::to_le_bytes).collect());
        let before = behind.counters().disk_reads;
        table.resolve(&keys, &mut behind, &mut delivery);
        loaded += behind.counters().disk_reads - before;
        for slot in delivery.slots.clone() {
            table.set_value(slot, 0, 1, &batch.to_le_bytes(), &mut behind).expect("the slot was given");
        }
        // What the batch brought goes again, from 16,000 entries on.
        if batch >= 500 {
            table.evict(32, &mut behind);
        }
        behind.check().expect("the disk is well");
    }
    assert_eq!(behind.counters().entries, 32 * 1_500, "nothing came back to be evicted twice; {loaded} were read");
}
