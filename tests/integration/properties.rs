//! Properties of what every record passes through: columns, batches, and the way from a key to its task. (Routers and the table of keys are held by properties in their
//! own rooms.)

use proptest::{collection::vec, prelude::*};
use wasmill::stream::{
    Batch, BatchLimits, BytesColumn, Keys, MAX_PARALLELISM_LIMIT, hash_key, key_group, key_groups_of_task,
    task_of_key_group,
};

fn strings() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..24), 0..40)
}

/// Batches with and without keys and event times, and the records they are made of.
fn batches() -> impl Strategy<Value = Batch> {
    (vec((vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..40), any::<i64>()), 0..60), any::<bool>(), any::<bool>())
        .prop_map(|(records, keyed, timed)| Batch {
            keys: keyed.then(|| Keys::hashed(records.iter().map(|(key, ..)| key).collect())),
            values: records.iter().map(|(_, value, _)| value).collect(),
            timestamps: if timed { records.iter().map(|(.., time)| *time).collect() } else { Vec::new() },
        })
}

type Record = (Option<Vec<u8>>, Vec<u8>, i64);

fn records(batch: &Batch) -> Vec<Record> {
    let record = |index| {
        let key = batch.keys.as_ref().map(|keys| keys.column.get(index).to_vec());
        (key, batch.values.get(index).to_vec(), batch.timestamps.get(index).copied().unwrap_or(i64::MIN))
    };
    (0..batch.len()).map(record).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_column_holds_the_strings_that_were_pushed(strings in strings(), keep in 0_usize..50) {
        let mut column: BytesColumn = strings.iter().collect();
        prop_assert_eq!(column.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(), strings.clone());
        prop_assert_eq!(column.bytes(), strings.concat().len());
        let again = BytesColumn::from_slices(column.data(), column.ends()).unwrap();
        prop_assert!(again == column);
        column.truncate(keep);
        let kept = &strings[..keep.min(strings.len())];
        prop_assert_eq!(column.data(), &kept.concat()[..]);
        column.clear();
        prop_assert!(column.is_empty() && column.bytes() == 0);
    }

    #[test]
    fn two_lists_are_a_column_only_if_they_agree(data in vec(any::<u8>(), 0..30), ends in vec(0_u32..40, 0..10)) {
        let agree = ends.is_sorted() && ends.last().copied().unwrap_or(0) as usize == data.len();
        prop_assert_eq!(BytesColumn::from_slices(&data, &ends).is_ok(), agree);
        prop_assert_eq!(BytesColumn::from_parts(data, ends).is_ok(), agree);
    }

    #[test]
    fn a_part_of_a_column_appended_is_that_part(first in strings(), second in strings(), a in 0_usize..40, b in 0_usize..40) {
        let (from, to) = (a.min(b).min(second.len()), a.max(b).min(second.len()));
        let mut column: BytesColumn = first.iter().collect();
        column.extend_from(&second.iter().collect(), from, to);
        let expected: BytesColumn = first.iter().chain(&second[from..to]).collect();
        prop_assert!(column == expected);
    }

    #[test]
    fn batches_cut_within_limits_and_put_together_are_the_same(batch in batches(), most in 1_usize..30, bytes in 0_usize..200) {
        let limits = BatchLimits { records: most, bytes };
        let mut whole = Batch::new(batch.keys.is_some());
        let mut from = 0;
        while from < batch.len() {
            let count = batch.prefix_within(from, limits);
            prop_assert!(count >= 1);
            let part = batch.slice(from, from + count);
            part.assert_consistent();
            prop_assert!(part.len() <= most && (part.len() == 1 || part.bytes() <= bytes));
            // One more would not have fitted.
            if from + count < batch.len() && count < most {
                prop_assert!(batch.slice(from, from + count + 1).bytes() > bytes);
            }
            whole.extend_from(&part, 0, part.len());
            from += count;
        }
        prop_assert!(whole == batch);
    }

    #[test]
    fn records_appended_from_several_batches_keep_key_value_and_time(batches in vec(batches(), 0..5), keyed in any::<bool>()) {
        let keyed_alike = |batch: &&Batch| batch.keys.is_some() == keyed;
        let (mut one_by_one, mut in_parts, mut expected) = (Batch::new(keyed), Batch::new(keyed), Vec::new());
        for batch in batches.iter().filter(keyed_alike) {
            (0..batch.len()).for_each(|index| one_by_one.extend_picked(batch, &[index as u32]));
            in_parts.extend_from(batch, 0, batch.len());
            expected.extend(records(batch));
        }
        one_by_one.assert_consistent();
        in_parts.assert_consistent();
        prop_assert_eq!(records(&one_by_one), expected.clone());
        prop_assert_eq!(records(&in_parts), expected);
    }

    #[test]
    fn the_task_of_a_key_owns_its_key_group(key in vec(any::<u8>(), 0..40), parallelism in 1_u32..=512, extra in 0_u32..=MAX_PARALLELISM_LIMIT) {
        let max = (parallelism + extra).min(MAX_PARALLELISM_LIMIT);
        let group = key_group(hash_key(&key), max);
        let task = task_of_key_group(group, parallelism, max);
        prop_assert!(group < max && task < parallelism);
        prop_assert!(key_groups_of_task(task, parallelism, max).contains(&group));
    }
}
