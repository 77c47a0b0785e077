//! The manifest of a dump as it lies on the disk, and as it is used: format version 1.
//!
//! A person can read it: JSON with names in kebab-case, in the order in which things are declared. Frozen, by format version; a reader refuses what is newer before it looks at
//! anything else, and a member that it does not know after that.

use std::{ops::Range, path::Path};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{
    data_file::FileFacts,
    described::{DescribedState, StateDocument, check_numbers},
    error::{StoredStateError, StoredStateProblem},
    format::{DUMP_VERSION, FORMAT, Format},
};
use crate::stream::MAX_PARALLELISM_LIMIT;

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
struct FileDocument {
    task: u32,
    /// From the first one to behind the last one.
    key_groups: [u32; 2],
    path: String,
    bytes: u64,
    entries: u64,
    checksum: String,
}

/// A dump of a job that has ended: which state, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct DumpManifest {
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

impl DumpManifest {
    /// The manifest's text.
    pub(in crate::job) fn to_json(&self) -> String {
        let document = Document {
            format: FORMAT.to_owned(),
            format_version: DUMP_VERSION,
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
        let (Format::Dump, json) = Format::of(path, text)? else {
            return Err(failed(StoredStateProblem::NoDump));
        };
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

/// A checksum as manifests write it.
pub(super) fn checksum_of_hex(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("`{text}` is no checksum"))
}

/// Whether a name leads nowhere but down.
pub(super) fn goes_down(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '\0']);
    name.split('/').all(plain)
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
        check_numbers(&states)?;
        if let Some(uncounted) = states.iter().find(|state| state.entries.is_none() || state.bytes.is_none()) {
            return Err(format!("state {} has no entries or bytes", uncounted.name));
        }
        let files = document.files.into_iter().map(|file| {
            let checksum = checksum_of_hex(&file.checksum)?;
            if !goes_down(&file.path) {
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
