//! `--dump-state`: the state of a job that has ended, in a folder.
//!
//! What lies in the folder is drawn in the module `stored_state`, which reads it. While the job runs:
//!
//! ```text
//! <folder>/.unfinished/<operator>-<task>.state    each task writes its own when it has come to its end
//! ```
//!
//! When all tasks have ended well, `.unfinished` becomes `data-<number>`, with a number that was not there, then the manifest takes the place of an earlier one in one step, then earlier
//! data is removed. So the folder holds a whole dump or none at any time, and a job that fails leaves an earlier one as it was.
//!
//! A folder is ours when it is new or empty, holds nothing but what a killed process left unfinished, or bears a manifest of ours. Nothing in it is removed but what has our names.

mod folder;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

pub use self::folder::{DumpFolder, DumpFolderError};
use super::{
    PreparedJob,
    plan::{Role, Vertex},
    stored_state::{
        data_file::{DataFileWriter, FileFacts},
        described::DescribedState,
        manifest::{DumpManifest, Ended, PluginOfState, StoredFile, StoredOperator},
    },
};
use crate::{
    operator::{Plugin, StateKeeper},
    state::{StoredError, StoredKey},
    stream::{Fault, FaultKind, key_groups_of_task},
};

/// What a task has written.
#[derive(Clone, Debug)]
struct Written {
    facts: FileFacts,
    /// Entries and bytes by number of the state.
    states: BTreeMap<u16, (u64, u64)>,
}

/// What tasks have written so far, by operator and task.
type Parts = Arc<Mutex<BTreeMap<(String, u32), Written>>>;

/// Writes the state of one task.
struct TaskDump {
    of: (String, u32),
    path: PathBuf,
    /// Made with the first entry or at the end.
    file: Option<DataFileWriter>,
    states: BTreeMap<u16, (u64, u64)>,
    parts: Parts,
}

impl TaskDump {
    fn file(&mut self) -> io::Result<&mut DataFileWriter> {
        let file = match self.file.take() {
            Some(file) => file,
            None => DataFileWriter::create(&self.path)?,
        };
        Ok(self.file.insert(file))
    }
}

impl StateKeeper for TaskDump {
    fn keep(&mut self, stored_key: &[u8], stored_value: &[u8]) -> io::Result<()> {
        let foreign = |error: StoredError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        let state = StoredKey::decode(stored_key).map_err(foreign)?.state;
        self.file()?.push(stored_key, stored_value)?;
        let (entries, bytes) = self.states.entry(state).or_default();
        *entries += 1;
        *bytes += (stored_key.len() + stored_value.len()) as u64;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let facts = self.file()?.finish()?;
        let written = Written { facts, states: std::mem::take(&mut self.states) };
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(self.of.clone(), written);
        Ok(())
    }
}

impl DumpFolder {
    /// Who takes the state of a task.
    pub(super) fn keeper(&self, operator: &str, task: u32) -> Box<dyn StateKeeper> {
        Box::new(TaskDump {
            of: (operator.to_owned(), task),
            path: self.unfinished().join(file_name(operator, task)),
            file: None,
            states: BTreeMap::new(),
            parts: Arc::clone(&self.parts),
        })
    }
}

fn file_name(operator: &str, task: u32) -> String {
    format!("{operator}-{task}.state")
}

impl PreparedJob {
    /// Makes a whole dump of what the tasks have written, if there is to be one.
    pub(super) fn finish_dump(&self, ended: Ended) -> Result<(), Fault> {
        let Some(dump) = &self.dump else { return Ok(()) };
        let data = dump.next_data();
        let manifest = DumpManifest {
            job: self.spec.name.clone(),
            ended,
            max_parallelism: self.spec.max_parallelism,
            operators: self.dumped_operators(dump, &data)?,
        };
        dump.publish(&data, &manifest.to_json()).map_err(|error| {
            let text = format!("the state can't be dumped to {}: {error}", dump.path().display());
            Fault::new(FaultKind::External, text)
        })
    }

    fn dumped_operators(&self, dump: &DumpFolder, data: &str) -> Result<Vec<StoredOperator>, Fault> {
        let parts = dump.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let operators = self.plan.vertices.iter().filter_map(|vertex| match vertex.role {
            Role::Operator(index) => Some((vertex, index)),
            Role::Source(_) | Role::Sink(_) => None,
        });
        let operators = operators.map(|(vertex, index)| self.dumped_operator(vertex, index, &parts, data));
        operators.collect()
    }

    fn dumped_operator(
        &self,
        vertex: &Vertex,
        index: usize,
        parts: &BTreeMap<(String, u32), Written>,
        data: &str,
    ) -> Result<StoredOperator, Fault> {
        let plugin = &*self.plugins[index].plugin;
        let descriptor = plugin.descriptor();
        // It may have had none when its tasks were made, and have been exchanged.
        let has_parts = parts.keys().any(|(id, _)| *id == vertex.id);
        let tasks = if descriptor.states.is_empty() || !has_parts { 0 } else { vertex.parallelism };
        let written = (0..tasks).map(|task| {
            parts.get(&(vertex.id.clone(), task)).ok_or_else(|| {
                let text = format!("operator {}, task {task}: it ended and gave no state to dump", vertex.id);
                Fault::new(FaultKind::HostBug, text)
            })
        });
        let written: Vec<&Written> = written.collect::<Result<_, _>>()?;
        let ids = self.version(index).ids;
        let states = DescribedState::of(descriptor, &ids).into_iter().map(|state| {
            let counts = written.iter().filter_map(|written| written.states.get(&state.number));
            let (entries, bytes) = counts.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
            DescribedState { ttl_since: None, entries: Some(entries), bytes: Some(bytes), ..state }
        });
        let files = (0_u32..).zip(&written).map(|(task, written)| StoredFile {
            task,
            key_groups: key_groups_of_task(task, vertex.parallelism, self.spec.max_parallelism),
            path: format!("{data}/{}", file_name(&vertex.id, task)),
            facts: written.facts,
        });
        Ok(StoredOperator {
            id: vertex.id.clone(),
            plugin: PluginOfState {
                name: descriptor.name.clone(),
                version: descriptor.version.clone(),
                digest: plugin.digest().to_owned(),
            },
            parallelism: vertex.parallelism,
            states: states.collect(),
            files: files.collect(),
        })
    }
}
