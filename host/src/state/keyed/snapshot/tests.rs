//! The pieces of every snapshot make what the state was at its barrier, whatever changes while it is copied; and a state that takes them back is that state.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use proptest::{collection::vec, prelude::*};

use crate::{
    background::Inline,
    state::{
        Change, Known, Piece, PieceOrder, RestoreBatch, SnapshotSetup, StateIds, StoredBytes, WritePieces,
        keyed::model::{Both, Memory, Model, SHORT_MAP, SHORT_VALUE, Write, lives, specs, state, writes},
    },
    stream::EventTime,
};

#[derive(Clone, Debug)]
enum Step {
    Write(u8, Write),
    /// A call that fails.
    InVain(u8, Write),
    Barrier,
    /// The guest is replaced.
    Forget,
    /// Whoever writes pieces gets on.
    Background,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        30 => writes().prop_map(|(key, write)| Step::Write(key, write)),
        4 => writes().prop_map(|(key, write)| Step::InVain(key, write)),
        2 => Just(Step::Barrier),
        1 => Just(Step::Forget),
        2 => Just(Step::Background),
    ];
    vec(step, 0..400)
}

#[derive(Clone, Debug)]
enum Kept {
    Value(Vec<u8>),
    Gone,
    Cleared,
}

/// Remembers pieces.
#[derive(Default)]
struct Pieces(Mutex<BTreeMap<PieceOrder, Vec<(Vec<u8>, Kept)>>>);

impl WritePieces for Pieces {
    fn write(&self, order: PieceOrder, piece: &Piece<'_>) {
        let mut entries: Vec<(Vec<u8>, Kept)> = Vec::new();
        let collected = piece.for_each(|key, change| {
            let kept = match change {
                Change::Value(value) => Kept::Value(value.to_vec()),
                Change::Gone => Kept::Gone,
                Change::Cleared => Kept::Cleared,
            };
            let in_order = entries.last().is_none_or(|(last, before)| {
                **last < *key || (**last == *key && matches!(before, Kept::Cleared) && !matches!(kept, Kept::Cleared))
            });
            entries.push((key.to_vec(), kept));
            if in_order { Ok(()) } else { Err(()) }
        });
        assert_eq!(collected, Ok(()), "a piece is in order");
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(order, entries);
        assert!(before.is_none(), "every piece has a place of its own");
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Pieces {
    /// What the pieces up to an epoch make.
    fn of_epochs(&self, last: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut entries: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, piece) in pieces.iter().filter(|(order, _)| order.epoch <= last) {
            // What a piece clears is in earlier pieces.
            for (key, _) in piece.iter().filter(|(_, kept)| matches!(kept, Kept::Cleared)) {
                entries.retain(|stored, _| !stored.starts_with(key));
            }
            for (key, kept) in piece {
                match kept {
                    Kept::Value(value) => drop(entries.insert(key.clone(), value.clone())),
                    Kept::Gone => drop(entries.remove(key)),
                    Kept::Cleared => {}
                }
            }
        }
        entries
    }
}

fn alive(entries: BTreeMap<Vec<u8>, Vec<u8>>, now: i64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let accessed = |value: &[u8]| StoredBytes::decode(value).expect("a stored value").accessed_ms();
    entries.into_iter().filter(|(key, value)| lives(key, accessed(value), now)).collect()
}

fn check(steps: &[Step], memory: Memory, restored_into: Memory, units: u32, seed: u64) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    let pieces = Arc::new(Pieces::default());
    let background = Arc::new(Inline::seeded(seed));
    let snapshots = SnapshotSetup {
        background: Arc::clone(&background) as Arc<dyn crate::background::Background>,
        writer: Arc::clone(&pieces) as Arc<dyn WritePieces>,
    };
    let mut both = Both::new(state(memory, &folder, Some(snapshots)));
    both.state.table.copy_in_steps_of(units);
    both.state.cells.copy_in_steps_of(3);
    both.state.behind.changes.hand_over_pieces_of(1 << 10);
    // What the state was at each barrier, and when that was.
    let mut at_barriers: Vec<(Model, i64)> = Vec::new();
    for step in steps {
        match step {
            Step::Write(key, write) => both.write(*key, write),
            Step::InVain(key, write) => both.write_in_vain(*key, write),
            Step::Barrier => {
                both.state.begin_snapshot();
                at_barriers.push((both.model.clone(), both.now));
            }
            Step::Forget => both.state.forget_slots(),
            Step::Background => drop(background.step()),
        }
    }
    both.state.begin_snapshot();
    at_barriers.push((both.model.clone(), both.now));
    while both.state.is_copying() {
        both.state.copy_some();
        background.step();
    }
    let (ended, all_written) = (Arc::new(Mutex::new(false)), both.state.next_element());
    let told = Arc::clone(&ended);
    both.state.after_pieces(Box::new(move || *told.lock().expect("not poisoned") = true)).expect("it is inline");
    while !*ended.lock().expect("not poisoned") {
        background.step();
    }
    for (epoch, (model, now)) in (0_u64..).zip(&at_barriers) {
        let model = model.iter().map(|(key, (_, value))| (key.clone(), value.clone())).collect();
        prop_assert_eq!(alive(pieces.of_epochs(epoch), *now), alive(model, *now), "at barrier {}", epoch);
    }
    // And back.
    let other = tempfile::tempdir().expect("a folder");
    let mut restored = Both::new(state(restored_into, &other, None));
    restored.state.begin(EventTime(both.now));
    (restored.model, restored.now) = (both.model.clone(), both.now);
    let entries = pieces.of_epochs(u64::MAX);
    restored.state.expect(entries.len() as u64);
    let mut batch = RestoreBatch::default();
    for (key, value) in entries {
        batch.push(&key, &value);
        if batch.is_full() {
            restored.state.restore_batch(&mut batch, Known::Yes).expect("it was stored so");
        }
    }
    restored.state.restore_batch(&mut batch, Known::Yes).expect("it was stored so");
    restored.state.raise_next_element(all_written);
    prop_assert_eq!(restored.state.next_element(), all_written);
    let (exported, expected) = (restored.exported(), restored.expected());
    prop_assert_eq!(exported, expected, "restored");
    Ok(())
}

fn memory() -> impl Strategy<Value = Memory> {
    prop_oneof![Just(Memory::Enough), Just(Memory::Tiny)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_snapshot_is_the_state_at_its_barrier(
        steps in steps(),
        memory in memory(),
        restored_into in memory(),
        units in 1_u32..60,
        seed in any::<u64>(),
    ) {
        check(&steps, memory, restored_into, units, seed)?;
    }
}

#[test]
fn what_is_copied_behind_an_exchange_that_ends_a_time_to_live_has_the_times_of_its_last_access() {
    for memory in [Memory::Enough, Memory::Tiny] {
        let folder = tempfile::tempdir().expect("a folder");
        let pieces = Arc::new(Pieces::default());
        let snapshots = SnapshotSetup {
            background: Arc::new(Inline::at_once()),
            writer: Arc::clone(&pieces) as Arc<dyn WritePieces>,
        };
        let mut both = Both::new(state(memory, &folder, Some(snapshots)));
        let writes = [
            Write::Point(SHORT_VALUE, false),
            Write::Namespaced(SHORT_VALUE, 1, false),
            Write::Map(SHORT_MAP, 1, false),
        ];
        let write_all = |both: &mut Both| {
            for (key, write) in (0..8).flat_map(|key| writes.iter().map(move |write| (key, write))) {
                both.write(key, write);
            }
        };
        write_all(&mut both);
        for _ in 0..2 {
            let written = both.now;
            let epoch = both.state.begin_snapshot();
            // The version that takes over has no time to live; whoever takes that back has.
            both.state.adopt(&specs(None), &StateIds::default());
            while both.state.is_copying() {
                both.state.copy_some();
            }
            both.state.after_pieces(Box::new(|| ())).expect("it is inline");
            let entries = pieces.of_epochs(epoch);
            assert_eq!(entries.len(), 3 * 8);
            for value in entries.values() {
                let stored = StoredBytes::decode(value).expect("a stored value");
                assert_eq!(stored.last_access, Some(EventTime(written)), "{memory:?}, epoch {epoch}");
            }
            // What it writes has them too: a later version may have one again.
            both.now += 10;
            write_all(&mut both);
        }
    }
}
