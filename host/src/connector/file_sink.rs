//! Results as files of a folder.
//!
//! Each task writes parts of its own, `part-<task>-<number>.jsonl`, each under a hidden name (`.part-….inprogress`) until it is whole; then it is synced to the
//! disk and renamed. So who watches the folder sees whole parts only, and a part that is seen survives a power failure. A part that is given up is removed, and
//! what a killed process left hidden is removed by the next run. A folder belongs to one run: results of an earlier run are never mixed with new ones and
//! never removed.
//!
//! A hidden file is locked while it is written, so that a second run in the same folder is refused instead of losing the first one's work.

mod part;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{ConnectorError, Format, Sink, SinkWriter, TaskContext};
use crate::stream::{Batch, MAX_PARALLELISM_LIMIT, schema::Schema};
use part::Part;

/// What a part's visible name begins with.
const PREFIX: &str = "part-";
/// What stands before the name while a part is written.
const HIDDEN: &str = ".";
/// What stands behind the name while a part is written.
const IN_PROGRESS: &str = ".inprogress";

/// Files of lines in a folder.
pub struct FileSink {
    folder: PathBuf,
    format: Format,
    part_bytes: u64,
    /// How many writers each task has opened: one for each of the sink's inputs.
    inputs: Mutex<BTreeMap<u32, u32>>,
}

impl FileSink {
    /// Writes into `folder`; a part is closed once it has `part_bytes` or more.
    pub fn new(folder: PathBuf, format: Format, part_bytes: u64) -> Self {
        Self { folder, format, part_bytes, inputs: Mutex::default() }
    }
}

impl Sink for FileSink {
    fn parallelism_max(&self) -> u32 {
        MAX_PARALLELISM_LIMIT
    }

    fn reads_keys(&self) -> bool {
        false
    }

    fn prepare(&self) -> Result<(), ConnectorError> {
        let folder = &self.folder;
        if folder.exists() && !folder.is_dir() {
            return Err(ConnectorError::Refused(format!(
                "{}: this is not a folder; a file sink's path is the folder for its parts",
                folder.display()
            )));
        }
        fs::create_dir_all(folder).map_err(io_error(folder, "creating the folder"))?;
        let names = names(folder)?;
        refuse_results(folder, &names)?;
        for name in names.iter().filter(|name| is_leftover(name)) {
            remove_leftover(&folder.join(name))?;
        }
        // Better now than when the first result is there.
        let probe = folder.join(format!("{HIDDEN}{PREFIX}probe{IN_PROGRESS}"));
        File::create(&probe).map_err(io_error(&probe, "trying to create a file in the folder"))?;
        fs::remove_file(&probe).map_err(io_error(&probe, "removing it"))
    }

    fn writer(&self, context: TaskContext, value: &Schema) -> Result<Box<dyn SinkWriter>, ConnectorError> {
        let mut inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inputs.entry(context.task).or_default();
        let (input, task) = (*count, context.task);
        *count += 1;
        let name = match input {
            0 => format!("{PREFIX}{task:04}"),
            _ => format!("{PREFIX}{task:04}-{input}"),
        };
        Ok(Box::new(FileWriter {
            folder: self.folder.clone(),
            name,
            format: self.format,
            schema: value.clone(),
            part_bytes: self.part_bytes,
            parts: 0,
            part: None,
        }))
    }
}

/// The names in a folder that are ours, sorted.
fn names(folder: &Path) -> Result<Vec<String>, ConnectorError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error(folder, "listing the folder"))? {
        let entry = entry.map_err(io_error(folder, "listing the folder"))?;
        // Ours are UTF-8.
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

fn is_leftover(name: &str) -> bool {
    name.strip_prefix(HIDDEN).is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(IN_PROGRESS))
}

fn refuse_results(folder: &Path, names: &[String]) -> Result<(), ConnectorError> {
    let results: Vec<_> = names.iter().filter(|name| name.starts_with(PREFIX)).collect();
    let more = match results.len() {
        0 => return Ok(()),
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Err(ConnectorError::Refused(format!(
        "{folder}: the folder holds results of an earlier run ({first}{more}); remove them (rm {folder}/{PREFIX}*) or choose another folder",
        folder = folder.display(),
        first = results[0],
    )))
}

fn remove_leftover(path: &Path) -> Result<(), ConnectorError> {
    let file = match File::open(path) {
        Ok(file) => file,
        // Its writer was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(path, "opening what an earlier run left")(error)),
    };
    // Where the file system knows no locks, a second run can't be noticed.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(ConnectorError::Refused(format!(
            "{}: another run is writing into this folder; wait for its end or choose another folder",
            path.display()
        )));
    }
    fs::remove_file(path).map_err(io_error(path, "removing what an earlier run left"))
}

struct FileWriter {
    folder: PathBuf,
    /// The name of all parts up to their number.
    name: String,
    format: Format,
    schema: Schema,
    part_bytes: u64,
    /// Parts begun so far.
    parts: u32,
    /// The part that is being written. Dropped, it is removed.
    part: Option<Part>,
}

impl SinkWriter for FileWriter {
    fn write(&mut self, batch: &Batch) -> Result<(), ConnectorError> {
        for value in batch.values.iter() {
            let part = match &mut self.part {
                Some(part) => part,
                None => {
                    let part = Part::create(&self.folder, &self.next_name())?;
                    self.parts += 1;
                    self.part.insert(part)
                }
            };
            part.append(|buffer| self.format.append_line(value, &self.schema, buffer))?;
            if part.len() >= self.part_bytes {
                self.close()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConnectorError> {
        self.part.as_mut().map_or(Ok(()), Part::flush)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ConnectorError> {
        self.close()
    }
}

impl FileWriter {
    fn next_name(&self) -> String {
        format!("{}-{:04}.{}", self.name, self.parts, self.format.extension())
    }

    fn close(&mut self) -> Result<(), ConnectorError> {
        self.part.take().map_or(Ok(()), Part::publish)
    }
}

fn io_error(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> ConnectorError {
    let path = path.to_owned();
    move |source| ConnectorError::Io { path, doing, source }
}
