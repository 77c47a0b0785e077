//! Which task a key belongs to.
//!
//! Frozen: the hash of a key is XXH3-64 with seed 0 of its bytes, its key group is that hash modulo max-parallelism, and a task owns a contiguous range of key
//! groups (Flink: "key group", "max parallelism"). State is stored by key group, so any change here would make stored state unreadable; a golden test
//! holds it fast.

use std::ops::Range;

/// XXH3-64 of a key's bytes. Computed once, by the sender of a record.
pub type KeyHash = u64;

/// The key groups that a task owns.
pub type KeyGroupRange = Range<u32>;

/// Number of key groups when a job does not say otherwise.
pub const MAX_PARALLELISM_DEFAULT: u32 = 128;

/// The largest number of key groups, because a key group is stored as a `u16` (Flink has the same bound).
pub const MAX_PARALLELISM_LIMIT: u32 = 1 << 15;

/// The hash of a key.
#[inline(always)]
pub fn hash_key(key: &[u8]) -> KeyHash {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// The key group of a key.
#[inline]
pub fn key_group(hash: KeyHash, max_parallelism: u32) -> u32 {
    (hash % u64::from(max_parallelism)) as u32
}

/// The task that owns a key group.
#[inline]
pub fn task_of_key_group(key_group: u32, parallelism: u32, max_parallelism: u32) -> u32 {
    // Both are at most 32,768, so the product fits.
    key_group * parallelism / max_parallelism
}

/// The key groups that `task` owns: exactly those for which [`task_of_key_group`] gives `task`.
pub fn key_groups_of_task(task: u32, parallelism: u32, max_parallelism: u32) -> KeyGroupRange {
    let first = |task: u32| (task * max_parallelism).div_ceil(parallelism);
    first(task)..first(task + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_groups_are_frozen() {
        let groups = |max| {
            ["", "a", "the", "wasmill", "key groups never change"].map(|key| key_group(hash_key(key.as_bytes()), max))
        };
        assert_eq!(groups(128), [66, 31, 125, 44, 55]);
        assert_eq!(hash_key(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(hash_key(&7_u64.to_le_bytes()), hash_key(&[7, 0, 0, 0, 0, 0, 0, 0]));
    }

    proptest::proptest! {
        #[test]
        fn ranges_partition_all_key_groups(parallelism in 1_u32..300, extra in 0_u32..2_000) {
            let max = parallelism + extra;
            let mut next = 0;
            for task in 0..parallelism {
                let range = key_groups_of_task(task, parallelism, max);
                assert_eq!(range.start, next);
                assert!(range.clone().all(|group| task_of_key_group(group, parallelism, max) == task));
                next = range.end;
            }
            assert_eq!(next, max);
        }
    }
}
