//! The manifest of stored state as it lies on the disk, and as it is used.
//!
//! A person can read it: JSON with names in kebab-case, in the order in which things are declared. Frozen, by format version; a reader refuses what is newer before it looks at
//! anything else, and a member that it does not know after that.

use std::{collections::BTreeSet, ops::Range, path::Path};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    FORMAT_VERSION,
    data_file::FileFacts,
    error::{StoredStateError, StoredStateProblem},
};
use crate::{
    operator::StateKind,
    stream::{MAX_PARALLELISM_LIMIT, schema::Schema},
};

/// By this a manifest is known from other JSON.
const FORMAT: &str = "wasmill-state";

/// No manifest is longer: schemas are most of it, and those are bounded.
pub(super) const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// How the job ended that left the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// At the end of its input.
    Done,
    /// It was stopped before.
    Stopped,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    format: String,
    format_version: u32,
    job: String,
    ended: Ended,
    max_parallelism: u32,
    operators: IndexMap<String, OperatorDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OperatorDocument {
    plugin: PluginOfState,
    parallelism: u32,
    states: Vec<StateDocument>,
    files: Vec<FileDocument>,
}

/// The plugin that an operator ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PluginOfState {
    /// Its own name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// SHA-256 of the component.
    pub digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StateDocument {
    number: u16,
    name: String,
    kind: String,
    schema_version: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    map_key: Option<Value>,
    value: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    entries: u64,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileDocument {
    task: u32,
    /// From the first one to behind the last one.
    key_groups: [u32; 2],
    path: String,
    bytes: u64,
    entries: u64,
    checksum: String,
}

/// Stored state of a job: which, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The job's name.
    pub job: String,
    /// How it ended.
    pub ended: Ended,
    /// The number of key groups.
    pub max_parallelism: u32,
    /// All operators, also those without state, in the order of the job file.
    pub operators: Vec<StoredOperator>,
}

/// An operator and its state.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredOperator {
    /// Its id in the job.
    pub id: String,
    /// The plugin that it ran.
    pub plugin: PluginOfState,
    /// Its number of tasks.
    pub parallelism: u32,
    /// Its states, in the order of their numbers.
    pub states: Vec<DescribedState>,
    /// A file for each task, in their order; none where there is no state.
    pub files: Vec<StoredFile>,
}

/// A state as its operator described it.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedState {
    /// Its number in the descriptor, which is in the stored keys.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// Version of the schema.
    pub version: u16,
    /// Schema of the keys; none for operator state.
    pub key: Option<Schema>,
    /// Schema of the map keys, for maps.
    pub map_key: Option<Schema>,
    /// Schema of the values.
    pub value: Schema,
    /// Time to live in milliseconds.
    pub ttl_ms: Option<u64>,
    /// How many entries, over all tasks.
    pub entries: u64,
    /// Bytes of their stored keys and values.
    pub bytes: u64,
}

/// A file of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFile {
    /// The task.
    pub task: u32,
    /// The key groups that the task owned.
    pub key_groups: Range<u32>,
    /// Where it is, from the manifest's folder.
    pub path: String,
    pub(in crate::job) facts: FileFacts,
}

const KINDS: [(&str, StateKind); 8] = [
    ("value", StateKind::Value),
    ("reducing", StateKind::Reducing),
    ("aggregating", StateKind::Aggregating),
    ("keyed-list", StateKind::KeyedList),
    ("keyed-map", StateKind::KeyedMap),
    ("operator-list", StateKind::OperatorList),
    ("operator-union", StateKind::OperatorUnion),
    ("broadcast", StateKind::Broadcast),
];

impl Manifest {
    /// The manifest's text.
    pub(in crate::job) fn to_json(&self) -> String {
        let document = Document {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            job: self.job.clone(),
            ended: self.ended,
            max_parallelism: self.max_parallelism,
            operators: self.operators.iter().map(|operator| (operator.id.clone(), operator.to_document())).collect(),
        };
        let mut text = serde_json::to_string_pretty(&document).expect("its maps have names for keys");
        text.push('\n');
        text
    }

    /// Reads a manifest; `path` is for errors.
    pub(in crate::job) fn from_json(path: &Path, text: &[u8]) -> Result<Self, StoredStateError> {
        let failed = |problem| StoredStateError { path: path.to_owned(), problem };
        let damaged = |what: String| failed(StoredStateProblem::Manifest(what));
        let json: Value = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        if json["format"] != FORMAT {
            return Err(failed(StoredStateProblem::Foreign));
        }
        match json["format-version"].as_u64().unwrap_or(0) {
            0 => return Err(damaged("its format version is no number above 0".into())),
            version if version > FORMAT_VERSION.into() => return Err(failed(StoredStateProblem::Newer(version))),
            _ => {}
        }
        let document: Document = serde_json::from_value(json).map_err(|error| damaged(error.to_string()))?;
        if !(1..=MAX_PARALLELISM_LIMIT).contains(&document.max_parallelism) {
            return Err(damaged(format!("there can't be {} key groups", document.max_parallelism)));
        }
        let operators = document.operators.into_iter().map(|(id, operator)| {
            let read = StoredOperator::from_document(id.clone(), operator);
            read.map_err(|what| damaged(format!("operator {id}: {what}")))
        });
        Ok(Self {
            job: document.job,
            ended: document.ended,
            max_parallelism: document.max_parallelism,
            operators: operators.collect::<Result<_, _>>()?,
        })
    }
}

impl StoredOperator {
    fn to_document(&self) -> OperatorDocument {
        let files = self.files.iter().map(|file| FileDocument {
            task: file.task,
            key_groups: [file.key_groups.start, file.key_groups.end],
            path: file.path.clone(),
            bytes: file.facts.bytes,
            entries: file.facts.entries,
            checksum: format!("{:016x}", file.facts.checksum),
        });
        OperatorDocument {
            plugin: self.plugin.clone(),
            parallelism: self.parallelism,
            states: self.states.iter().map(DescribedState::to_document).collect(),
            files: files.collect(),
        }
    }

    fn from_document(id: String, document: OperatorDocument) -> Result<Self, String> {
        let states: Vec<_> =
            document.states.into_iter().map(DescribedState::from_document).collect::<Result<_, _>>()?;
        let numbers: BTreeSet<_> = states.iter().map(|state| state.number).collect();
        if numbers.len() != states.len() {
            return Err("two states have one number".into());
        }
        let files = document.files.into_iter().map(|file| {
            let checksum = u64::from_str_radix(&file.checksum, 16);
            let checksum = checksum.map_err(|_| format!("`{}` is no checksum", file.checksum))?;
            let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
            if !file.path.split('/').all(plain) {
                return Err(format!("`{}` is no path below the manifest", file.path));
            }
            Ok(StoredFile {
                task: file.task,
                key_groups: file.key_groups[0]..file.key_groups[1],
                path: file.path,
                facts: FileFacts { bytes: file.bytes, entries: file.entries, checksum },
            })
        });
        let files: Vec<_> = files.collect::<Result<_, String>>()?;
        let tasks = if states.is_empty() { 0 } else { document.parallelism };
        if !files.iter().map(|file| file.task).eq(0..tasks) {
            return Err(format!("it has {tasks} tasks with state and files of others"));
        }
        Ok(Self { id, plugin: document.plugin, parallelism: document.parallelism, states, files })
    }
}

impl DescribedState {
    fn to_document(&self) -> StateDocument {
        let schema = |schema: &Schema| serde_json::from_str(&schema.document()).unwrap_or_default();
        StateDocument {
            number: self.number,
            name: self.name.clone(),
            kind: self.kind_name().to_owned(),
            schema_version: self.version,
            key: self.key.as_ref().map(schema),
            map_key: self.map_key.as_ref().map(schema),
            value: schema(&self.value),
            ttl_ms: self.ttl_ms,
            entries: self.entries,
            bytes: self.bytes,
        }
    }

    /// Its kind, as manifests and the WIT name it.
    pub fn kind_name(&self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name)
    }

    fn from_document(document: StateDocument) -> Result<Self, String> {
        let name = document.name;
        let kind = KINDS.iter().find(|(known, _)| *known == document.kind).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| format!("state {name} has the kind `{}`, which is not known", document.kind))?;
        let schema = |what: &str, json: &Value| {
            Schema::parse(&json.to_string()).map_err(|error| format!("state {name}, {what}: {error}"))
        };
        let key = document.key.as_ref().map(|json| schema("key", json)).transpose()?;
        let map_key = document.map_key.as_ref().map(|json| schema("map key", json)).transpose()?;
        let value = schema("value", &document.value)?;
        if key.is_some() != kind.is_keyed() || map_key.is_some() != kind.is_map() {
            return Err(format!("state {name} does not have the schemas that a {kind} state has"));
        }
        Ok(Self {
            number: document.number,
            name,
            kind,
            version: document.schema_version,
            key,
            map_key,
            value,
            ttl_ms: document.ttl_ms,
            entries: document.entries,
            bytes: document.bytes,
        })
    }
}
