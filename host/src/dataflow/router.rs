//! Cuts what a task emits into batches for the tasks behind an edge.
//!
//! Invariants: every record goes to exactly one target (to each one once on a broadcast edge), records for one target keep their order, and a record of a hash edge goes
//! to the task that owns its key group. A batch leaves when it is full or when the caller asks for all.

use super::Partitioning;
use crate::stream::{Batch, BatchLimits, key_group, task_of_key_group};

/// Routes the records of one sending task.
pub struct Router {
    limits: BatchLimits,
    keyed: bool,
    /// What is gathered for each target; one batch alone where a batch goes to its target, or to all, as it is.
    gathered: Vec<Batch>,
    whole: Whole,
    targets: usize,
    next: usize,
    /// Maps a hash to its key group where their number is a power of two, as it usually is: a division costs more than all else here.
    key_group_mask: Option<u64>,
    /// Target of each key group; empty unless the edge is a hash edge with several targets.
    target_of_key_group: Vec<u16>,
    /// Which records of the batch that is being scattered go to each target.
    picked: Vec<Vec<u32>>,
}

/// Where a batch goes that is not scattered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    /// To the target whose turn it is.
    InTurn,
    /// To every target.
    ToAll,
}

impl Router {
    /// A router to `targets` tasks. For a forward edge there is one: the task with the sender's index.
    pub fn new(
        partitioning: Partitioning,
        targets: usize,
        max_parallelism: u32,
        limits: BatchLimits,
        keyed: bool,
    ) -> Self {
        let scatters = partitioning == Partitioning::Hash && targets > 1;
        let target_of_key_group = if scatters {
            (0..max_parallelism).map(|group| task_of_key_group(group, targets as u32, max_parallelism) as u16).collect()
        } else {
            Vec::new()
        };
        let gathered = vec![Batch::new(keyed); if scatters { targets } else { 1 }];
        let key_group_mask = max_parallelism.is_power_of_two().then(|| u64::from(max_parallelism) - 1);
        let whole = if partitioning == Partitioning::Broadcast { Whole::ToAll } else { Whole::InTurn };
        let picked = vec![Vec::new(); if scatters { targets } else { 0 }];
        Self { limits, keyed, gathered, whole, targets, next: 0, key_group_mask, target_of_key_group, picked }
    }

    /// Takes a batch; calls `send` with the target of every batch that became full.
    pub fn route(&mut self, mut batch: Batch, mut send: impl FnMut(usize, Batch)) {
        if !self.keyed {
            batch.keys = None;
        }
        if !self.target_of_key_group.is_empty() {
            self.scatter(&batch, send);
            return;
        }
        // Most batches arrive full enough to go on as they are.
        if self.gathered[0].is_empty() && (batch.len() * 2 > self.limits.records || batch.is_full(self.limits)) {
            self.send_whole(batch, &mut send);
            return;
        }
        let mut from = 0;
        while from < batch.len() {
            let room = self.limits.records.saturating_sub(self.gathered[0].len()).max(1);
            let to = (from + room).min(batch.len());
            self.gathered[0].extend_from(&batch, from, to);
            from = to;
            if self.gathered[0].is_full(self.limits) {
                let batch = take(&mut self.gathered[0]);
                self.send_whole(batch, &mut send);
            }
        }
    }

    /// Hands out everything gathered.
    pub fn flush(&mut self, mut send: impl FnMut(usize, Batch)) {
        for index in 0..self.gathered.len() {
            if !self.gathered[index].is_empty() {
                let batch = take(&mut self.gathered[index]);
                if self.target_of_key_group.is_empty() {
                    self.send_whole(batch, &mut send);
                } else {
                    send(index, batch);
                }
            }
        }
    }

    /// Whether something is gathered.
    pub fn holds_records(&self) -> bool {
        self.gathered.iter().any(|batch| !batch.is_empty())
    }

    fn send_whole(&mut self, batch: Batch, send: &mut impl FnMut(usize, Batch)) {
        if self.whole == Whole::ToAll {
            for target in 1..self.targets {
                send(target, batch.clone());
            }
            return send(0, batch);
        }
        let turn = self.next;
        self.next = if turn + 1 == self.targets { 0 } else { turn + 1 };
        send(turn, batch);
    }

    fn scatter(&mut self, batch: &Batch, mut send: impl FnMut(usize, Batch)) {
        let groups = self.target_of_key_group.len() as u32;
        let Some(keys) = &batch.keys else { unreachable!("the planner refuses hash edges on records without keys") };
        // Who gets what comes first: then each column is copied in a loop of its own that does nothing else.
        for (index, hash) in (0_u32..).zip(&keys.hashes) {
            let group = match self.key_group_mask {
                Some(mask) => (hash & mask) as u32,
                None => key_group(*hash, groups),
            };
            self.picked[usize::from(self.target_of_key_group[group as usize])].push(index);
        }
        let bytes = batch.bytes();
        for (target, (picked, gathered)) in self.picked.iter_mut().zip(&mut self.gathered).enumerate() {
            let mut left = &picked[..];
            while !left.is_empty() {
                let within_bytes = gathered.bytes() + bytes < self.limits.bytes;
                let most = if within_bytes { self.limits.records.saturating_sub(gathered.len()).max(1) } else { 1 };
                let (now, later) = left.split_at(most.min(left.len()));
                gathered.extend_picked(batch, now);
                left = later;
                if gathered.is_full(self.limits) {
                    send(target, take(gathered));
                }
            }
            picked.clear();
        }
    }
}

/// Takes what is gathered and leaves room for as much.
fn take(gathered: &mut Batch) -> Batch {
    let room = Batch::with_room_of(gathered);
    std::mem::replace(gathered, room)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::stream::{Keys, key_groups_of_task};

    fn batch(numbers: &[u16]) -> Batch {
        let bytes = |number: &u16| number.to_le_bytes();
        Batch {
            keys: Some(Keys::hashed(numbers.iter().map(bytes).collect())),
            values: numbers.iter().map(bytes).collect(),
            timestamps: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn every_record_reaches_one_target_or_all_in_order(
            batches in vec(vec(0_u16..500, 0..60), 0..20),
            targets in 1_usize..7,
            records in 1_usize..40,
            bytes in 1_usize..200,
            partitioning in prop_oneof![Just(Partitioning::Hash), Just(Partitioning::Rebalance), Just(Partitioning::Broadcast)],
            max in prop_oneof![Just(128_u32), 7_u32..200],
        ) {
            let limits = BatchLimits { records, bytes };
            let mut router = Router::new(partitioning, targets, max, limits, true);
            let mut sent: Vec<Vec<u16>> = vec![Vec::new(); targets];
            let mut count = 0;
            let mut send = |target: usize, batch: Batch| {
                batch.assert_consistent();
                assert!(!batch.is_empty());
                let numbers = batch.values.iter().map(|value| u16::from_le_bytes(value.try_into().expect("two bytes")));
                sent[target].extend(numbers);
                count += batch.len();
            };
            for numbers in &batches {
                router.route(batch(numbers), &mut send);
            }
            router.flush(&mut send);
            prop_assert!(!router.holds_records());
            let copies = if partitioning == Partitioning::Broadcast { targets } else { 1 };
            prop_assert_eq!(count, copies * batches.iter().map(Vec::len).sum::<usize>());
            if partitioning == Partitioning::Hash {
                for (target, numbers) in sent.iter().enumerate() {
                    let owned = key_groups_of_task(target as u32, targets as u32, max);
                    let expected: Vec<u16> = batches.iter().flatten().copied()
                        .filter(|number| owned.contains(&key_group(crate::stream::hash_key(&number.to_le_bytes()), max))).collect();
                    prop_assert_eq!(numbers, &expected);
                }
            } else if partitioning == Partitioning::Broadcast || targets == 1 {
                for numbers in &sent {
                    prop_assert_eq!(numbers, &batches.concat());
                }
            }
        }
    }
}
