//! The slab of entries, held against a map: entries that come, change and go, and the bytes that they take.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::At;
use super::slab::Slab;
use crate::cell::Cell;

const BYTES_MAX: usize = 4 << 10;

#[derive(Clone, Debug)]
enum Step {
    Load(u32, u8, u64),
    Change(u32, u8, u64),
    Release(u32),
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u32, 0..20_u8, any::<u64>()).prop_map(|(slot, key, value)| Step::Load(slot, key, value)),
        4 => (0..6_u32, 0..20_u8, any::<u64>()).prop_map(|(slot, key, value)| Step::Change(slot, key, value)),
        1 => (0..6_u32).prop_map(Step::Release),
        1 => Just(Step::Settle),
    ]
}

/// A namespace and a map key for a small number: some keys look alike but for where the namespace ends.
fn place(key: u8) -> (Vec<u8>, Vec<u8>) {
    let whole = [key / 4; 4];
    let (namespace, key) = whole.split_at(usize::from(key % 4));
    (namespace.to_vec(), key.to_vec())
}

proptest! {
    #[test]
    fn an_entry_is_what_it_was_or_is_forgotten(steps in proptest::collection::vec(step(), 0..400)) {
        let mut slab = Slab::<u64>::new(BYTES_MAX);
        // Value, and whether it was changed since the last settling.
        let mut model: BTreeMap<(u32, u8), (u64, bool)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Load(slot, key, value) | Step::Change(slot, key, value) => {
                    let (namespace, map_key) = place(key);
                    let index = slab.find_or_insert(At::new(slot, &namespace, &map_key));
                    let known = slab[index].cell.value().copied();
                    let expected = model.get(&(slot, key)).copied();
                    if let (Some(known), Some((value, _))) = (known, expected) {
                        prop_assert_eq!(known, value);
                    }
                    prop_assert!(known.is_some() || !expected.is_some_and(|(_, changed)| changed), "what was changed must stay");
                    let change = matches!(step, Step::Change(..));
                    if change {
                        slab.mark_changed(index);
                    }
                    if change || known.is_none() {
                        slab[index].cell = Cell::present(value);
                        slab.set_bytes(index, 50);
                        model.insert((slot, key), (value, change || expected.is_some_and(|(_, changed)| changed)));
                    }
                }
                // Slots are released between calls.
                Step::Release(slot) => {
                    settle(&mut slab, &mut model);
                    slab.release(slot);
                    model.retain(|(one, _), _| *one != slot);
                    prop_assert!((0..20).all(|key| slab.find(At::new(slot, &place(key).0, &place(key).1)).is_none()));
                }
                Step::Settle => {
                    settle(&mut slab, &mut model);
                    prop_assert!(slab.bytes() <= BYTES_MAX);
                }
            }
            let changed: usize = (0..6).map(|slot| slab.changed_of(slot).count()).sum();
            prop_assert_eq!(changed, model.values().filter(|(_, changed)| *changed).count());
        }
        (0..6).for_each(|slot| slab.release(slot));
        prop_assert_eq!(slab.bytes(), 0);
    }
}

fn settle(slab: &mut Slab<u64>, model: &mut BTreeMap<(u32, u8), (u64, bool)>) {
    let changed = slab.take_changed();
    slab.settle(changed);
    slab.shrink();
    model.values_mut().for_each(|(_, changed)| *changed = false);
}
