//! Any state that is dumped is read back, and manifests are frozen.

mod checkpoints;

use std::{collections::BTreeMap, fs};

use proptest::{collection::btree_map, prelude::*};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{data_file::DataFileWriter, *};
use crate::{
    state::{NO_KEY_GROUP, OperatorStateKind, OperatorStates, StoredColumn},
    stream::{BytesColumn, key_groups_of_task, schema::Schema, task_of_key_group},
};

const GROUPS: u32 = 16;
const TASKS: u32 = 3;

const VALUE: u16 = 0;
const MAP: u16 = 1;
const LIST: u16 = 2;
const RULES: u16 = 3;

fn described(number: u16, name: &str, kind: StateKind) -> DescribedState {
    DescribedState {
        number,
        name: name.to_owned(),
        kind,
        version: 1,
        key: kind.is_keyed().then(Schema::text),
        map_key: kind.is_map().then(Schema::u64),
        value: Schema::bytes(),
        ttl_ms: (number == MAP).then_some(1_000),
        ttl_since: None,
        entries: Some(7),
        bytes: Some(99),
    }
}

fn states() -> Vec<DescribedState> {
    vec![
        described(VALUE, "value", StateKind::Value),
        described(MAP, "map", StateKind::KeyedMap),
        described(LIST, "list", StateKind::OperatorList),
        described(RULES, "rules", StateKind::Broadcast),
    ]
}

/// By task, what lies in its file.
type Stored = Vec<BTreeMap<Vec<u8>, Vec<u8>>>;

/// State number, key, namespace, rest → value: of keyed states.
type Keyed = BTreeMap<(u16, Vec<u8>, Vec<u8>, Vec<u8>), Vec<u8>>;

fn store(keyed: &Keyed, list: &[u8]) -> Stored {
    let mut stored = vec![BTreeMap::new(); TASKS as usize];
    for ((state, key, namespace, entry), value) in keyed {
        let group = key_group(hash_key(key), GROUPS);
        let (mut stored_key, mut stored_value) = (Vec::new(), Vec::new());
        let place = StoredKey { key_group: group as u16, state: *state, key, namespace, entry };
        place.encode(&mut stored_key).expect("short");
        StoredBytes { version: 1, last_access: None, value }.encode(&mut stored_value).expect("a version");
        stored[task_of_key_group(group, TASKS, GROUPS) as usize].insert(stored_key, stored_value);
    }
    let kinds = [None, None, Some(OperatorStateKind::List), Some(OperatorStateKind::Broadcast)];
    for (task, stored) in stored.iter_mut().enumerate() {
        let mut states = OperatorStates::new(kinds);
        let values = BytesColumn::from_iter(list.iter().map(|element| vec![*element, task as u8]));
        states.set_list(u32::from(LIST), StoredColumn { values, versions: Vec::new() });
        states.put(u32::from(RULES), b"rule", 1, b"same");
        let mut take = |key: &[u8], value: &[u8]| {
            stored.insert(key.to_vec(), value.to_vec());
            Ok(())
        };
        states.export(&[1, 1, 1, 1], &crate::state::StateIds::default(), &mut take).expect("memory takes it");
    }
    stored
}

fn write(folder: &TempDir, stored: &Stored) -> DumpManifest {
    fs::create_dir_all(folder.path().join("data-1")).expect("it can be made");
    let files = (0_u32..).zip(stored).map(|(task, entries)| {
        let path = format!("data-1/count-{task}.state");
        let mut file = DataFileWriter::create(&folder.path().join(&path)).expect("a new file");
        entries.iter().for_each(|(key, value)| file.push(key, value).expect("there is room"));
        let key_groups = key_groups_of_task(task, TASKS, GROUPS);
        StoredFile { task, key_groups, path, facts: file.finish().expect("there is room") }
    });
    let plugin = PluginOfState { name: "plugin".into(), version: "1.2.3".into(), digest: "00ff".into() };
    let manifest = DumpManifest {
        job: "job".into(),
        ended: Ended::Stopped,
        max_parallelism: GROUPS,
        operators: vec![
            StoredOperator {
                id: "split".into(),
                plugin: plugin.clone(),
                parallelism: 2,
                states: vec![],
                files: vec![],
            },
            StoredOperator { id: "count".into(), plugin, parallelism: TASKS, states: states(), files: files.collect() },
        ],
    };
    fs::write(folder.path().join(MANIFEST), manifest.to_json()).expect("it can be written");
    manifest
}

/// Task, key, namespace, rest, value.
type Seen = Vec<(u32, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>)>;

fn all(mut entries: Entries<'_>) -> Seen {
    let mut seen = Vec::new();
    while let Some(entry) = entries.next().expect("it is whole") {
        let StoredEntry { task, key, namespace, entry, version, value } = entry;
        assert_eq!(version, 1);
        seen.push((task, key.to_vec(), namespace.to_vec(), entry.to_vec(), value.to_vec()));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_stored_is_read(
        keyed in btree_map(
            (0_u16..2, "[a-e]{0,2}".prop_map(String::into_bytes), prop_oneof![Just(vec![]), Just(vec![1])], proptest::collection::vec(any::<u8>(), 0..3)),
            proptest::collection::vec(any::<u8>(), 0..2_000), 0..80),
        list in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = write(&folder, &store(&keyed, &list));
        let stored = StoredState::open(folder.path()).expect("it is whole");
        prop_assert_eq!(&read_manifest(folder.path()).expect("it is whole"), &manifest);
        let operator = stored.operators()[1];
        let task_of = |key: &[u8]| task_of_key_group(key_group(hash_key(key), GROUPS), TASKS, GROUPS);
        let of = |wanted: u16| keyed.iter().filter(move |((state, ..), _)| *state == wanted);
        let owned = |((_, key, namespace, rest), value): (&(u16, Vec<u8>, Vec<u8>, Vec<u8>), &Vec<u8>)| {
            (task_of(key), key.clone(), namespace.clone(), rest.clone(), value.clone())
        };
        for state in &operator.states[..2] {
            let mut seen = all(stored.entries(operator, state));
            prop_assert!(seen.is_sorted_by_key(|(task, ..)| *task));
            seen.sort();
            let mut expected: Seen = of(state.number).map(owned).collect();
            expected.sort();
            prop_assert_eq!(seen, expected);
            for key in ["", "a", "bc", "zz"] {
                let key = key.as_bytes();
                let expected: Seen = of(state.number).filter(|((_, other, ..), _)| other == key).map(owned).collect();
                prop_assert_eq!(all(stored.entries_of_key(operator, state, key)), expected);
            }
        }
        let elements: Vec<_> = all(stored.entries(operator, &operator.states[2])).into_iter().map(|(task, .., value)| (task, value)).collect();
        let expected: Vec<_> = (0..TASKS).flat_map(|task| list.iter().map(move |element| (task, vec![*element, task as u8]))).collect();
        prop_assert_eq!(elements, expected);
        prop_assert_eq!(all(stored.entries(operator, &operator.states[3])), vec![(0, vec![], vec![], b"rule".to_vec(), b"same".to_vec())]);
    }
}

#[test]
fn state_of_tasks_lies_behind_all_key_groups() {
    let stored = store(&Keyed::new(), &[1]);
    let (key, _) = stored[0].first_key_value().expect("an element");
    assert_eq!(StoredKey::decode(key).expect("a stored key").key_group, NO_KEY_GROUP);
}

#[test]
fn the_manifest_is_frozen() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, &store(&Keyed::new(), &[]));
    let text = fs::read_to_string(folder.path().join(MANIFEST)).expect("a manifest");
    let mut found: Value = serde_json::from_str(&text).expect("JSON");
    let file = found["operators"]["count"]["files"][1].take();
    assert_eq!((&file["task"], &file["key-groups"], &file["entries"]), (&json!(1), &json!([6, 11]), &json!(1)));
    assert_eq!((&file["path"], file["checksum"].as_str().map(str::len)), (&json!("data-1/count-1.state"), Some(16)));
    found["operators"]["count"]["files"].take();
    let plugin = json!({ "name": "plugin", "version": "1.2.3", "digest": "00ff" });
    let (text, bytes, number) = (json!({"encoding": "text"}), json!({"encoding": "bytes"}), json!({"encoding": "u64"}));
    let expected = json!({
        "format": "wasmill-state",
        "format-version": 1,
        "job": "job",
        "ended": "stopped",
        "max-parallelism": 16,
        "operators": {
            "split": { "plugin": plugin, "parallelism": 2, "states": [], "files": [] },
            "count": { "plugin": plugin, "parallelism": 3, "states": [
                { "number": 0, "name": "value", "kind": "value", "schema-version": 1, "key": text, "value": bytes, "entries": 7, "bytes": 99 },
                { "number": 1, "name": "map", "kind": "keyed-map", "schema-version": 1, "key": text, "map-key": number, "value": bytes, "ttl-ms": 1000, "entries": 7, "bytes": 99 },
                { "number": 2, "name": "list", "kind": "operator-list", "schema-version": 1, "value": bytes, "entries": 7, "bytes": 99 },
                { "number": 3, "name": "rules", "kind": "broadcast", "schema-version": 1, "map-key": number, "value": bytes, "entries": 7, "bytes": 99 },
            ], "files": null },
        },
    });
    assert_eq!(found.to_string(), expected.to_string(), "members are in this order");
}

#[test]
fn wrong_manifests_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = write(&folder, &store(&Keyed::new(), &[1])).to_json();
    let path = folder.path().join(MANIFEST);
    let changed = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        whole.replace(from, to)
    };
    for (text, expected) in [
        (String::new(), "the manifest is damaged: EOF"),
        ("[]".into(), "this is no manifest of state that wasmill has stored; give the folder"),
        (changed("wasmill-state", "web-app"), "this is no manifest of state"),
        (
            changed("\"format-version\": 1", "\"format-version\": 4"),
            "it has format version 4, and this wasmill reads up to 3",
        ),
        (changed("\"format-version\": 1", "\"format-version\": 9, \"new\": 1"), "it has format version 9"),
        (changed("\"format-version\": 1", "\"format-version\": \"1\""), "its format version is no number above 0"),
        (
            changed("\"format-version\": 1", "\"format-version\": 2"),
            "the manifest is damaged: it does not end with its checksum",
        ),
        (changed("\"job\"", "\"jop\""), "unknown field `jop`"),
        (changed("\"entries\": 7,", ""), "state value has no entries or bytes"),
        (
            changed("\"keyed-map\"", "\"keyed-set\""),
            "operator count: state map has the kind `keyed-set`, which is not known",
        ),
        (changed("\"keyed-map\"", "\"keyed-list\""), "does not have the schemas that a keyed list state has"),
        (
            changed("\"encoding\": \"u64\"", "\"encoding\": \"u65\""),
            "state map, map key: the schema has the encoding \"u65\"",
        ),
        (changed("\"number\": 1", "\"number\": 2"), "two states have one number"),
        (changed("data-1/count-1.state", "../count-1.state"), "`../count-1.state` is no path below the manifest"),
        (changed("data-1/count-1.state", "/count-1.state"), "`/count-1.state` is no path below the manifest"),
        (changed("\"task\": 1", "\"task\": 4"), "it has 3 tasks with state and files of others"),
        (changed("\"max-parallelism\": 16", "\"max-parallelism\": 0"), "there can't be 0 key groups"),
    ] {
        fs::write(&path, text).expect("it can be written");
        let error = StoredState::open(folder.path()).expect_err(expected).to_string();
        assert!(error.starts_with(&format!("{}: ", path.display())) && error.contains(expected), "{error}\n{expected}");
    }
    fs::remove_file(&path).expect("it is there");
    let error = StoredState::open(folder.path()).expect_err("no manifest").to_string();
    assert!(error.contains("this folder holds no state: it has no manifest.json, which is written last"), "{error}");
    let error = StoredState::open(&folder.path().join("nowhere")).expect_err("no folder").to_string();
    assert!(
        error.contains("nowhere: it is not there; give the folder that `wasmill run --dump-state` wrote"),
        "{error}"
    );
}

#[test]
fn a_missing_file_is_found_before_anything_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, &store(&Keyed::new(), &[1]));
    fs::remove_file(folder.path().join("data-1/count-2.state")).expect("it is there");
    let error = StoredState::open(folder.path()).expect_err("a file is gone").to_string();
    assert!(error.contains("data-1/count-2.state: the manifest names this file, but it is not there"), "{error}");
}
