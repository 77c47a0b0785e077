//! Writes checkpoints as a job does: segments, plugins, and the manifest last.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, SystemTime},
};

use serde_json::json;
use wasmill::{
    checkpoint::{Entry, Label, Mode, Names, ObjectStorage, SegmentWriter, Storage, StorageLocation, put_same},
    job::{
        CheckpointManifest, CheckpointedOperator, CheckpointedPlugin, CheckpointedSink, CheckpointedSource,
        CheckpointedTask, DescribedState, Ended, FormerVersion, OpenSwap, Root, SegmentOfTask, StoredState,
    },
    operator::StateKind,
    state::{NO_KEY_GROUP, StoredBytes, StoredKey},
    stream::{CheckpointId, hash_key, key_group, key_groups_of_task, schema::Schema, task_of_key_group},
};

pub(super) const GROUPS: u32 = 128;
pub(super) const TASKS: u32 = 2;
/// The first one completed then; each later one ten minutes after the one before.
const COMPLETED: u64 = 1_700_000_000;
/// The SHA-256 of `COMPONENT`.
pub(super) const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const COMPONENT: &[u8] = b"";

/// What a checkpoint says of words: their counts, or that they are gone.
pub(super) type Words<'a> = &'a [(&'a str, Option<u64>)];

/// The folder of a job, with what is in its storage.
#[derive(Debug)]
pub(super) struct JobFolder {
    storage: ObjectStorage,
    /// Of each task the segments that its state consists of.
    chains: Vec<Vec<SegmentOfTask>>,
    pub(super) attempt: u64,
    /// The checkpoint of an exchange that is on probation.
    pub(super) exchanged_at: Option<u64>,
}

impl JobFolder {
    pub(super) fn new(folder: &Path) -> Self {
        let location = StorageLocation::Folder(folder.to_owned());
        let storage = ObjectStorage::open(&location, []).expect("a folder can be a storage");
        Self { storage, chains: vec![Vec::new(); TASKS as usize], attempt: 1, exchanged_at: None }
    }

    fn put(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        put_same(&self.storage, name, bytes.into().into()).expect("there is room");
    }

    fn put_segment(
        &self,
        name: String,
        run: u64,
        entries: &BTreeMap<Vec<u8>, (u16, Option<Vec<u8>>)>,
    ) -> SegmentOfTask {
        let mut writer = SegmentWriter::new();
        for (key, (state, value)) in entries {
            let (entry, version) = value.as_ref().map_or((Entry::Tombstone, 0), |value| (Entry::Value(value), 1));
            writer.push(key, entry, Label { state: *state, version }).expect("keys ascend");
        }
        let (bytes, facts) = writer.finish();
        self.put(&name, bytes);
        SegmentOfTask { name, run, facts }
    }

    /// A checkpoint of counted words, with a delta of its own for each task that has something new. Its segments are in all later checkpoints too.
    pub(super) fn checkpoint(&mut self, id: u64, words: Words<'_>, ended: Option<Ended>) -> &mut Self {
        let mut deltas: Vec<BTreeMap<Vec<u8>, (u16, Option<Vec<u8>>)>> = vec![BTreeMap::new(); TASKS as usize];
        for (word, count) in words {
            let group = key_group(hash_key(word.as_bytes()), GROUPS);
            let delta = &mut deltas[task_of_key_group(group, TASKS, GROUPS) as usize];
            let value = count.map(|count| stored_value(&count.to_le_bytes()));
            delta.insert(stored_key(group as u16, 0, word.as_bytes(), &[], &[]), (0, value));
        }
        let mut new_bytes = 0;
        for (task, delta) in (0..).zip(deltas) {
            if !delta.is_empty() {
                let segment =
                    self.put_segment(Names::segment("count", self.attempt, task, CheckpointId(id), 0), id, &delta);
                new_bytes += segment.facts.bytes;
                self.chains[task as usize].push(segment);
            }
        }
        self.put(&Names::plugin(DIGEST), COMPONENT);
        let manifest = self.manifest(id, ended, new_bytes);
        self.put(&Names::manifest(CheckpointId(id)), manifest.to_json());
        self
    }

    /// From now on, state begins anew.
    pub(super) fn forget(&mut self) -> &mut Self {
        self.chains.iter_mut().for_each(Vec::clear);
        self
    }

    fn manifest(&self, id: u64, ended: Option<Ended>, new_bytes: u64) -> CheckpointManifest {
        let states = vec![DescribedState {
            number: 0,
            name: "count".into(),
            kind: StateKind::Value,
            version: 1,
            key: Some(Schema::text()),
            map_key: None,
            value: Schema::u64(),
            ttl_ms: None,
            ttl_since: None,
            entries: None,
            bytes: None,
        }];
        let tasks = (0..).zip(&self.chains).map(|(task, chain)| task_of(task, TASKS, GROUPS, chain.clone(), None));
        let next_state = CheckpointedOperator::first_free(&states);
        let swap = self.exchanged_at.map(|id| OpenSwap {
            checkpoint: CheckpointId(id),
            former: vec![FormerVersion {
                id: "count".into(),
                plugin: plugin("word-count"),
                states: states.clone(),
                next_state,
            }],
        });
        CheckpointManifest {
            job: "word-count".into(),
            attempt: self.attempt,
            id: CheckpointId(id),
            completed: SystemTime::UNIX_EPOCH + Duration::from_secs(COMPLETED + 600 * (id - 1)),
            duration_ms: 480,
            new_bytes,
            ended,
            max_parallelism: GROUPS,
            mode: Mode::ExactlyOnce,
            sources: vec![CheckpointedSource { id: "lines".into(), position: json!({ "offset": 10 * id }) }],
            operators: vec![CheckpointedOperator {
                id: "count".into(),
                plugin: plugin("word-count"),
                parallelism: TASKS,
                next_state,
                states,
                tasks: tasks.collect(),
            }],
            sinks: vec![CheckpointedSink { id: "counts".into(), transactions: json!([]) }],
            swap,
            root: Root::JOB,
        }
    }

    /// A checkpoint with the state of a dump.
    pub(super) fn checkpoint_of_dump(&mut self, id: u64, dump: &Path) {
        let stored = StoredState::open(dump).expect("it is whole");
        let StoredState::Dump { manifest: of_dump, .. } = &stored else { panic!("it is a dump") };
        let operators = stored.operators().into_iter().zip(&of_dump.operators).map(|(operator, of_dump_operator)| {
            let (mut keyed, mut keyless) = (vec![BTreeMap::new(); operator.parallelism as usize], Vec::new());
            keyless.resize_with(operator.parallelism as usize, BTreeMap::new);
            for state in operator.states {
                let mut entries = stored.entries(operator, state);
                while let Some(entry) = entries.next().expect("it is whole") {
                    let group = match state.kind.is_keyed() {
                        true => key_group(hash_key(entry.key), of_dump.max_parallelism) as u16,
                        false => NO_KEY_GROUP,
                    };
                    let of_task = if state.kind.is_keyed() { &mut keyed } else { &mut keyless };
                    let key = stored_key(group, state.number, entry.key, entry.namespace, entry.entry);
                    of_task[entry.task as usize].insert(key, (state.number, Some(stored_value(entry.value))));
                }
            }
            let segment = |task: u32, number, entries: &BTreeMap<_, _>| {
                self.put_segment(Names::segment(operator.id, self.attempt, task, CheckpointId(id), number), 0, entries)
            };
            let tasks = (0..operator.parallelism).map(|task| {
                let segments =
                    if operator.states.is_empty() { vec![] } else { vec![segment(task, 0, &keyed[task as usize])] };
                let keyless = Some(&keyless[task as usize]).filter(|entries| !entries.is_empty());
                task_of(
                    task,
                    operator.parallelism,
                    of_dump.max_parallelism,
                    segments,
                    keyless.map(|entries| segment(task, 1, entries)),
                )
            });
            let plugin = &of_dump_operator.plugin;
            CheckpointedOperator {
                id: operator.id.to_owned(),
                plugin: CheckpointedPlugin {
                    name: plugin.name.clone(),
                    version: plugin.version.clone(),
                    declared: plugin.digest.clone(),
                    running: plugin.digest.clone(),
                    file: None,
                    settings: None,
                },
                parallelism: operator.parallelism,
                next_state: CheckpointedOperator::first_free(operator.states),
                states: operator
                    .states
                    .iter()
                    .map(|state| DescribedState { entries: None, bytes: None, ..state.clone() })
                    .collect(),
                tasks: tasks.collect(),
            }
        });
        let operators = operators.collect();
        let frame = self.manifest(id, Some(of_dump.ended), 0);
        let manifest = CheckpointManifest {
            job: of_dump.job.clone(),
            max_parallelism: of_dump.max_parallelism,
            operators,
            ..frame
        };
        self.put(&Names::manifest(manifest.id), manifest.to_json());
    }

    /// The names of all files.
    pub(super) fn names(&self) -> Vec<String> {
        self.storage.list("").expect("it is there").into_iter().map(|file| file.name).collect()
    }

    /// A checkpoint's folder that needs nothing else, made of this job's.
    pub(super) fn write_self_contained(&self, id: u64, folder: &Path) {
        let target = JobFolder::new(folder);
        let manifest = CheckpointManifest { root: Root::SELF_CONTAINED, ..self.manifest(id, None, 0) };
        for segment in manifest.segments() {
            target.put(&segment.name, self.storage.get(&segment.name).expect("it is there"));
        }
        target.put(&Names::plugin(DIGEST), COMPONENT);
        target.put("manifest.json", manifest.to_json());
    }
}

fn plugin(name: &str) -> CheckpointedPlugin {
    CheckpointedPlugin {
        name: name.to_owned(),
        version: "0.1.0".into(),
        declared: DIGEST.to_owned(),
        running: DIGEST.to_owned(),
        file: Some(Names::plugin(DIGEST)),
        settings: None,
    }
}

fn task_of(
    task: u32,
    tasks: u32,
    groups: u32,
    segments: Vec<SegmentOfTask>,
    operator_state: Option<SegmentOfTask>,
) -> CheckpointedTask {
    let key_groups = key_groups_of_task(task, tasks, groups);
    CheckpointedTask {
        task,
        key_groups,
        watermark: Some(1_234),
        list_elements: 0,
        ended: false,
        segments,
        operator_state,
    }
}

fn stored_key(key_group: u16, state: u16, key: &[u8], namespace: &[u8], entry: &[u8]) -> Vec<u8> {
    let mut stored = Vec::new();
    StoredKey { key_group, state, key, namespace, entry }.encode(&mut stored).expect("short");
    stored
}

fn stored_value(value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::new();
    StoredBytes { version: 1, last_access: None, value }.encode(&mut stored).expect("a version");
    stored
}
