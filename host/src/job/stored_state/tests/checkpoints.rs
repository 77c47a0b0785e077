//! The state of a checkpoint is what a model says of its segments, whatever they are cut into; and what is damaged is found and named.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use proptest::collection::vec;

use super::*;
use crate::{
    checkpoint::{Entry, Label, MemoryStorage, Mode, Names, RefusedEntry, SegmentWriter, put_same},
    stream::{CheckpointId, EventTime},
};

const COMPLETED: Duration = Duration::from_secs(1_700_000_000);

fn put_segment(
    storage: &dyn Storage,
    name: String,
    run: u64,
    write: impl FnOnce(&mut SegmentWriter) -> Result<(), RefusedEntry>,
) -> SegmentOfTask {
    let mut writer = SegmentWriter::new();
    write(&mut writer).expect("keys ascend");
    let (bytes, facts) = writer.finish();
    put_same(storage, &name, bytes.into()).expect("memory takes it");
    SegmentOfTask { name, run, facts }
}

/// What a step does.
#[derive(Clone, Debug)]
enum Does {
    Put(Vec<u8>),
    /// It was accessed last so many milliseconds before the checkpoint was complete.
    PutBefore(Vec<u8>, i64),
    Remove,
    /// All map entries of the key and namespace.
    Clear,
}

/// State, key, namespace, map key.
type Place = (u16, Vec<u8>, Vec<u8>, Vec<u8>);

fn stored_key((state, key, namespace, entry): &Place) -> Vec<u8> {
    let group = key_group(hash_key(key), GROUPS) as u16;
    let mut stored = Vec::new();
    StoredKey { key_group: group, state: *state, key, namespace, entry }.encode(&mut stored).expect("short");
    stored
}

fn places() -> impl Strategy<Value = Place> {
    let namespace = prop_oneof![Just(vec![]), Just(vec![1])];
    let value =
        ("[a-d]{0,2}", namespace.clone()).prop_map(|(key, namespace)| (VALUE, key.into_bytes(), namespace, vec![]));
    let map = ("[a-d]{0,2}", namespace, vec(0..3_u8, 0..3))
        .prop_map(|(key, namespace, entry)| (MAP, key.into_bytes(), namespace, entry));
    prop_oneof![value, map]
}

fn deltas() -> impl Strategy<Value = Vec<Vec<(Place, Does)>>> {
    let does = prop_oneof![
        3 => vec(any::<u8>(), 0..6).prop_map(Does::Put),
        1 => (vec(any::<u8>(), 0..6), 0..2_000_i64).prop_map(|(value, before)| Does::PutBefore(value, before)),
        1 => Just(Does::Remove),
        1 => Just(Does::Clear),
    ];
    vec(vec((places(), does), 0..30), 1..5)
}

/// What one delta writes of one task, in the order of stored keys; of several steps for one stored key the last one counts, and clearing comes before what follows it.
fn entries_of(
    delta: &[(Place, Does)],
    groups: &Range<u32>,
    model: &mut Keyed,
) -> BTreeMap<Vec<u8>, (u16, Option<Option<Vec<u8>>>)> {
    let mut written: BTreeMap<Vec<u8>, (u16, Option<Option<Vec<u8>>>)> = BTreeMap::new();
    for (place, does) in delta {
        let (state, key, namespace, entry) = place;
        if !groups.contains(&key_group(hash_key(key), GROUPS)) {
            continue;
        }
        match does {
            Does::Put(value) | Does::PutBefore(value, _) => {
                let mut stored = Vec::new();
                let last_access = match does {
                    Does::PutBefore(_, before) => Some(EventTime(COMPLETED.as_millis() as i64 - before)),
                    _ => None,
                };
                StoredBytes { version: 1, last_access, value }.encode(&mut stored).expect("a version");
                // A mark of the same stored key would be lost: it is what a map without a map key has.
                if *state == MAP && entry.is_empty() {
                    continue;
                }
                written.insert(stored_key(place), (*state, Some(Some(stored))));
                // Only the map has a time to live, of a second.
                if *state == MAP && matches!(does, Does::PutBefore(_, 1_000..)) {
                    model.remove(place);
                } else {
                    model.insert(place.clone(), value.clone());
                }
            }
            Does::Remove if *state == MAP && entry.is_empty() => {}
            Does::Remove => {
                written.insert(stored_key(place), (*state, Some(None)));
                model.remove(place);
            }
            Does::Clear if *state == MAP => {
                let prefix = stored_key(&(*state, key.clone(), namespace.clone(), vec![]));
                written.retain(|stored, _| !stored.starts_with(&prefix));
                written.insert(prefix, (*state, None));
                model.retain(|(of, other, of_namespace, _), _| (of, other, of_namespace) != (state, key, namespace));
            }
            Does::Clear => {}
        }
    }
    written
}

fn checkpoint(storage: &Arc<dyn Storage>, tasks: Vec<CheckpointedTask>) -> CheckpointManifest {
    let digest = || "00ff".repeat(16);
    let plugin = CheckpointedPlugin {
        name: "plugin".into(),
        version: "1.2.3".into(),
        declared: digest(),
        running: digest(),
        file: None,
        settings: None,
    };
    let states = states().into_iter().map(|state| DescribedState { entries: None, bytes: None, ..state });
    let states: Vec<_> = states.collect();
    let manifest = CheckpointManifest {
        job: "job".into(),
        attempt: 1,
        id: CheckpointId(4),
        completed: SystemTime::UNIX_EPOCH + COMPLETED,
        duration_ms: 12,
        new_bytes: 34,
        ended: None,
        max_parallelism: GROUPS,
        mode: Mode::ExactlyOnce,
        sources: vec![],
        operators: vec![CheckpointedOperator {
            id: "count".into(),
            plugin,
            parallelism: tasks.len() as u32,
            next_state: CheckpointedOperator::first_free(&states),
            states,
            tasks,
        }],
        sinks: vec![],
        swap: None,
        root: Root::JOB,
    };
    put_same(&**storage, &Names::manifest(manifest.id), manifest.to_json().into()).expect("memory takes it");
    manifest
}

fn task(
    task: u32,
    tasks: u32,
    segments: Vec<SegmentOfTask>,
    operator_state: Option<SegmentOfTask>,
) -> CheckpointedTask {
    let key_groups = key_groups_of_task(task, tasks, GROUPS);
    CheckpointedTask { task, key_groups, watermark: None, list_elements: 0, ended: false, segments, operator_state }
}

/// A task's deltas as segments: every second one is cut in two parts of one run.
fn segments_of(
    storage: &dyn Storage,
    number: u32,
    deltas: &[Vec<(Place, Does)>],
    model: &mut Keyed,
) -> Vec<SegmentOfTask> {
    let groups = key_groups_of_task(number, TASKS, GROUPS);
    let mut segments = Vec::new();
    for (index, delta) in deltas.iter().enumerate() {
        let entries: Vec<_> = entries_of(delta, &groups, model).into_iter().collect();
        let parts = if index % 2 == 1 { entries.split_at(entries.len() / 2) } else { (&entries[..], &[][..]) };
        for (part, entries) in
            [parts.0, parts.1].into_iter().enumerate().filter(|(part, entries)| *part == 0 || !entries.is_empty())
        {
            let name = Names::segment("count", 1, number, CheckpointId(index as u64 + 1), part as u32);
            segments.push(put_segment(storage, name, index as u64, |writer| {
                entries.iter().try_for_each(|(key, (state, entry))| {
                    let (entry, version) = match entry {
                        Some(Some(value)) => (Entry::Value(value), 1),
                        Some(None) => (Entry::Tombstone, 0),
                        None => (Entry::Cleared, 0),
                    };
                    writer.push(key, entry, Label { state: *state, version })
                })
            }));
        }
    }
    segments
}

/// Lists and broadcast maps of a task.
fn operator_state(storage: &dyn Storage, number: u32, list: &[u8]) -> SegmentOfTask {
    let stored = &store(&Keyed::new(), list)[number as usize];
    put_segment(storage, Names::segment("count", 1, number, CheckpointId(9), 9), 0, |writer| {
        stored.iter().try_for_each(|(key, value)| {
            let state = StoredKey::decode(key).expect("a stored key").state;
            writer.push(key, Entry::Value(value), Label { state, version: 1 })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_newest_of_all_segments_wins(deltas in deltas(), list in vec(any::<u8>(), 0..4), rescaled in any::<bool>()) {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let mut model = Keyed::new();
        let chains: Vec<_> = (0..TASKS).map(|number| segments_of(&*storage, number, &deltas, &mut model)).collect();
        let lists: Vec<_> = (0..TASKS).map(|number| operator_state(&*storage, number, &list)).collect();
        let tasks: Vec<_> = if rescaled {
            // One task took all over, with the segments of each: their runs are of no task but one.
            let chain = chains.iter().flatten().cloned();
            let renumbered = chain.zip(100..).map(|(segment, run)| SegmentOfTask { run, ..segment });
            vec![task(0, 1, renumbered.collect(), Some(lists[0].clone()))]
        } else {
            (0..TASKS).zip(chains).zip(&lists).map(|((number, chain), lists)| task(number, TASKS, chain, Some(lists.clone()))).collect()
        };
        let count = tasks.len() as u32;
        let manifest = checkpoint(&storage, tasks);
        prop_assert_eq!(&CheckpointManifest::from_json(Path::new("m"), manifest.to_json().as_bytes()).expect("it can be"), &manifest);
        let stored = StoredState::Checkpoint(StoredCheckpoint { storage, manifest });
        let operator = stored.operators()[0];
        let task_of = |key: &[u8]| task_of_key_group(key_group(hash_key(key), GROUPS), count, GROUPS);
        for state in &operator.states[..2] {
            let expected = |wanted: Option<&[u8]>| -> Seen {
                let of = model.iter().filter(|((number, key, ..), _)| *number == state.number && wanted.is_none_or(|wanted| wanted == key));
                let seen = of.map(|((_, key, namespace, entry), value)| (task_of(key), key.clone(), namespace.clone(), entry.clone(), value.clone()));
                let mut seen: Seen = seen.collect();
                seen.sort();
                seen
            };
            let mut seen = all(stored.entries(operator, state));
            prop_assert!(seen.is_sorted_by_key(|(task, ..)| *task));
            seen.sort();
            prop_assert_eq!(&seen, &expected(None));
            let counted = operator.counted(state);
            prop_assert!(!counted.exact || counted.entries == seen.len() as u64, "{:?}", counted);
            for key in [&b""[..], b"a", b"bc", b"zz"] {
                prop_assert_eq!(all(stored.entries_of_key(operator, state, key)), expected(Some(key)));
            }
        }
        let elements = all(stored.entries(operator, &operator.states[2])).len();
        prop_assert_eq!(elements, list.len() * count as usize);
        prop_assert_eq!(all(stored.entries(operator, &operator.states[3])).len(), 1);
        let counted = operator.counted(&operator.states[3]);
        prop_assert_eq!((counted.entries, counted.exact), (1, true));
    }
}
