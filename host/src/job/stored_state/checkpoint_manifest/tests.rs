//! Any manifest is read as it was written, one that was changed is not, and the format is frozen.

use std::{fs, path::PathBuf, time::Duration};

use proptest::{collection::vec, option, prelude::*};
use serde_json::json;

use super::*;
use crate::{
    checkpoint::{Label, LabelCount},
    operator::StateKind,
    state::NO_KEY_GROUP,
    stream::{EventTime, schema::Schema},
};

const PATH: &str = "checkpoints/7/manifest.json";

fn read(text: &str) -> Result<CheckpointManifest, StoredStateError> {
    CheckpointManifest::from_json(Path::new(PATH), text.as_bytes())
}

fn described(number: u16, kind: StateKind, counts: Option<(u64, u64)>) -> DescribedState {
    DescribedState {
        number,
        name: format!("state-{number}"),
        kind,
        version: 2,
        key: kind.is_keyed().then(Schema::text),
        map_key: kind.is_map().then(Schema::u64),
        value: Schema::bytes(),
        ttl_ms: counts.map(|_| 60_000),
        ttl_since: None,
        entries: counts.map(|(entries, _)| entries),
        bytes: counts.map(|(_, bytes)| bytes),
    }
}

fn count(state: u16, version: u16, entries: u64, bytes: u64) -> LabelCount {
    LabelCount { label: Label { state, version }, entries, bytes }
}

fn segment(name: String, key_groups: Range<u32>, run: u64) -> SegmentOfTask {
    let facts = SegmentFacts {
        bytes: 1_234,
        checksum: 0x0123_4567_89ab_cdef,
        entries: 5,
        key_groups,
        raw_bytes: 2_345,
        labels: vec![count(0, 2, 5, 60), count(1, 0, 1, 9)],
    };
    SegmentOfTask { name, run, facts }
}

/// One of everything.
fn recorded() -> CheckpointManifest {
    let keyless = u32::from(NO_KEY_GROUP)..u32::from(NO_KEY_GROUP) + 1;
    let plugin = |name: &str, file: Option<&str>| CheckpointedPlugin {
        name: name.to_owned(),
        version: "1.2.3".into(),
        declared: "00ff".repeat(16),
        running: "11ee".repeat(16),
        file: file.map(str::to_owned),
        settings: None,
    };
    let task = |task: u32, key_groups: Range<u32>, segments, operator_state| CheckpointedTask {
        task,
        key_groups,
        watermark: (task == 0).then_some(-5),
        list_elements: 11,
        ended: task == 1,
        segments,
        operator_state,
    };
    let count = "segments/count/3";
    CheckpointManifest {
        job: "word-count".into(),
        attempt: 3,
        id: CheckpointId(7),
        completed: SystemTime::UNIX_EPOCH + Duration::from_millis(1_793_613_600_123),
        duration_ms: 480,
        new_bytes: 2_468,
        ended: Some(Ended::Stopped),
        max_parallelism: 128,
        mode: Mode::ExactlyOnce,
        sources: vec![CheckpointedSource {
            id: "lines".into(),
            position: json!({ "splits": { "done": [[0, 7]] }, "files": [] }),
        }],
        operators: vec![
            CheckpointedOperator {
                id: "split".into(),
                plugin: plugin("split-words", None),
                parallelism: 1,
                states: vec![],
                next_state: 0,
                tasks: vec![task(0, 0..128, vec![], None)],
            },
            CheckpointedOperator {
                id: "count".into(),
                plugin: plugin("word-count", Some("plugins/11ee.wasm")),
                parallelism: 2,
                next_state: 5,
                states: vec![
                    described(0, StateKind::Value, Some((7, 99))),
                    described(1, StateKind::KeyedMap, None),
                    described(4, StateKind::OperatorList, None),
                ],
                tasks: vec![
                    task(
                        0,
                        0..64,
                        vec![
                            segment(format!("{count}-0-2-0.seg"), 0..40, 1),
                            segment(format!("{count}-0-2-1.seg"), 39..64, 1),
                            segment(format!("{count}-0-7-0.seg"), 3..9, 2),
                        ],
                        Some(segment(format!("{count}-0-7-1.seg"), keyless, 0)),
                    ),
                    task(1, 64..128, vec![], None),
                ],
            },
        ],
        sinks: vec![CheckpointedSink {
            id: "counts".into(),
            transactions: json!([{ "hidden": ".part-0", "visible": "part-0", "bytes": 9 }]),
        }],
        swap: None,
        root: Root::JOB,
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoint-format-2/manifest.json")
}

#[test]
fn the_manifest_of_a_checkpoint_is_frozen() {
    let frozen = fs::read_to_string(fixture()).expect("it is there");
    assert_eq!(recorded().to_json(), frozen);
    assert_eq!(read(&frozen).expect("it is whole"), recorded());
}

#[test]
fn the_checksum_holds_after_a_formatter_and_not_after_an_editor() {
    let text = recorded().to_json();
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read(&json.to_string()).expect("white space says nothing"), recorded());
    for changed in [
        text.replace("\"attempt\": 3", "\"attempt\": 4"),
        text.replace(".part-0", ".part -0"),
        text.replace("\"entries\": 5,", ""),
    ] {
        assert_ne!(changed, text);
        let error = read(&changed).expect_err("it was changed").to_string();
        assert!(
            error.contains("the manifest is damaged: it was changed after it was written: its checksum is "),
            "{error}"
        );
        assert!(
            error.ends_with("or use another checkpoint: `wasmill checkpoint list` shows which there are"),
            "{error}"
        );
    }
    let mut unsigned = json.clone();
    unsigned.as_object_mut().expect("an object").shift_remove("checksum");
    let error = read(&unsigned.to_string()).expect_err("it has none").to_string();
    assert!(error.contains("it does not end with its checksum"), "{error}");
}

#[test]
fn what_can_not_be_is_refused() {
    let text = recorded().to_json();
    let unsigned = &text[..text.rfind(",\n  \"checksum\"").expect("its last member")];
    let signed = |from: &str, to: &str| {
        assert!(unsigned.contains(from), "{from}");
        checksum::sign(&format!("{}\n}}", unsigned.replace(from, to)))
    };
    for (from, to, expected) in [
        ("\"job\"", "\"jop\"", "unknown field `jop`"),
        ("\"id\": 7", "\"id\": 0", "there is no checkpoint 0"),
        ("\"id\": \"split\"", "\"id\": \"lines\"", "it names lines twice"),
        ("exactly-once", "at-most-once", "`at-most-once` is no mode"),
        (".123Z", ".1234Z", "is no time"),
        ("\"../..\"", "\"../../jobs\"", "names can't be relative to `../../jobs`"),
        ("\"../..\"", "\"/\"", "names can't be relative to `/`"),
        ("plugins/11ee", "../11ee", "operator count: `../11ee.wasm` is no name below the root"),
        (
            "segments/count/3-0-2-1",
            "/segments/count/3-0-2-1",
            "operator count: task 0: `/segments/count/3-0-2-1.seg` is no name below the root",
        ),
        ("\"parallelism\": 2", "\"parallelism\": 3", "operator count: it has 3 tasks and state of others"),
        ("\"parallelism\": 1", "\"parallelism\": 0", "operator split: it has 0 tasks and state of others"),
        ("\"task\": 1", "\"task\": 2", "operator count: it has 2 tasks and state of others"),
        ("\"max-parallelism\": 128", "\"max-parallelism\": 0", "there can't be 0 key groups"),
        (
            "\"max-parallelism\": 128",
            "\"max-parallelism\": 129",
            "operator split: its tasks do not share the 129 key groups",
        ),
        ("0123456789abcdef", "0123456789abcdeg", "`0123456789abcdeg` is no checksum"),
        ("\"number\": 1", "\"number\": 0", "operator count: two states have one number"),
        ("\"run\": 2", "\"run\": 1", "task 0: the segments of run 1 are not in order"),
        ("\"run\": 1", "\"run\": 2", "task 0: the segments of run 2 are not in order"),
        ("65535,\n", "64,\n", "operator count: task 0: segments/count/3-0-7-1.seg can't have the key groups 64..65536"),
        ("  3,\n", "  10,\n", "operator count: task 0: segments/count/3-0-7-0.seg can't have the key groups 10..9"),
    ] {
        let error = read(&signed(from, to)).expect_err(expected).to_string();
        assert!(error.starts_with(PATH) && error.contains(expected), "{error}\n{expected}");
    }
    let newer = read(&text.replace("\"format-version\": 2", "\"format-version\": 4")).expect_err("newer").to_string();
    assert!(newer.contains("it has format version 4, and this wasmill reads up to 3; use a later wasmill"), "{newer}");
    let dump = read(&text.replace("\"format-version\": 2", "\"format-version\": 1")).expect_err("a dump").to_string();
    assert!(dump.contains("this is a dump, which can be looked into by `wasmill state`, and no checkpoint"), "{dump}");
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[ -~\"\\\\\n\u{e4}]{0,9}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z\" ]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn segments(key_groups: Range<u32>) -> impl Strategy<Value = Vec<SegmentOfTask>> {
    let labels = vec(any::<(u16, u16, u64, u64)>(), 0..3);
    let labels = labels.prop_map(|labels| {
        labels.into_iter().map(|(state, version, entries, bytes)| count(state, version, entries, bytes)).collect()
    });
    let facts = (any::<u64>(), any::<u64>(), 0..5_u64, labels).prop_map(move |(bytes, checksum, entries, labels)| {
        let key_groups = if entries == 0 { 0..0 } else { key_groups.clone() };
        SegmentFacts { bytes, checksum, entries, key_groups, raw_bytes: bytes / 2, labels }
    });
    vec(facts, 0..4).prop_map(|facts| {
        let segments = (0..).zip(facts);
        segments.map(|(run, facts)| SegmentOfTask { name: format!("segments/a b/{run}.seg"), run, facts }).collect()
    })
}

fn tasks() -> impl Strategy<Value = Vec<CheckpointedTask>> {
    let task = |key_groups: Range<u32>| {
        let drawn =
            (option::of(any::<i64>()), any::<u64>(), any::<bool>(), segments(key_groups.clone()), any::<bool>());
        drawn.prop_map(move |(watermark, list_elements, ended, segments, lists)| CheckpointedTask {
            task: key_groups.start / 8,
            key_groups: key_groups.clone(),
            watermark,
            list_elements,
            ended,
            segments,
            operator_state: lists.then(|| segment("segments/lists.seg".into(), 0xffff..0x1_0000, 0)),
        })
    };
    (task(0..8), task(8..16)).prop_map(|(first, second)| vec![first, second])
}

fn manifests() -> impl Strategy<Value = CheckpointManifest> {
    let numbers = (any::<u64>(), 1..u64::MAX, 0..4_000_000_000_000_u64, any::<u64>(), any::<u64>());
    let ended = prop_oneof![Just(None), Just(Some(Ended::Done)), Just(Some(Ended::Stopped))];
    (".{0,5}", numbers, ended, json_values(), json_values(), tasks(), 0..4_u32, any::<bool>()).prop_map(
        |(
            job,
            (attempt, id, completed, duration_ms, new_bytes),
            ended,
            position,
            transactions,
            tasks,
            root,
            aligned,
        )| {
            let mut manifest = recorded();
            manifest.operators[0].tasks[0].key_groups = 0..16;
            manifest.operators[1].tasks = tasks;
            manifest.operators[1].states[0].ttl_since = aligned.then_some(EventTime(completed as i64));
            CheckpointManifest {
                job,
                attempt,
                id: CheckpointId(id),
                completed: SystemTime::UNIX_EPOCH + Duration::from_millis(completed),
                duration_ms,
                new_bytes,
                ended,
                max_parallelism: 16,
                mode: if aligned { Mode::ExactlyOnce } else { Mode::AtLeastOnce },
                sources: vec![CheckpointedSource { id: "source".into(), position }],
                sinks: vec![CheckpointedSink { id: "sink".into(), transactions }],
                root: Root(root),
                ..manifest
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_is_read(manifest in manifests()) {
        let text = manifest.to_json();
        prop_assert_eq!(read(&text).expect("it is whole"), manifest);
    }

    #[test]
    fn a_flipped_bit_is_found_or_says_nothing(manifest in manifests(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut text = manifest.to_json().into_bytes();
        let at = at.index(text.len());
        text[at] ^= 1 << bit;
        if let Ok(read) = CheckpointManifest::from_json(Path::new(PATH), &text) {
            prop_assert_eq!(read, manifest);
        }
    }

    #[test]
    fn a_manifest_that_was_cut_is_found(manifest in manifests(), at in any::<prop::sample::Index>()) {
        let text = manifest.to_json();
        let cut = &text.as_bytes()[..at.index(text.trim_end().len())];
        prop_assert!(CheckpointManifest::from_json(Path::new(PATH), cut).is_err());
    }
}

#[test]
fn runs_are_what_segments_were_made_of() {
    let task = &recorded().operators[1].tasks[0];
    let runs = task.runs();
    assert_eq!(runs.iter().map(|run| run.segments.len()).collect::<Vec<_>>(), [2, 1]);
    let segments = SegmentOfTask::of_runs(&runs);
    assert_eq!(segments.iter().map(|segment| segment.run).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(CheckpointedTask { segments, ..task.clone() }.runs(), runs);
}
