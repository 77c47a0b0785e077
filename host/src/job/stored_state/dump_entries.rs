//! The entries of a state in the files of a dump.

use std::{cmp::Ordering, path::Path, slice};

use super::{StoredEntry, Wanted, data_file::DataFileReader, decoded, error::StoredStateError, manifest::StoredFile};

/// Entries of a state in a dump, in the order of tasks and stored keys.
pub(super) struct DumpEntries<'s> {
    folder: &'s Path,
    files: slice::Iter<'s, StoredFile>,
    current: Option<(u32, DataFileReader)>,
    wanted: Wanted,
}

enum Step {
    /// To an entry, of this task.
    Entry(u32),
    NextFile,
}

impl<'s> DumpEntries<'s> {
    pub(super) fn new(folder: &'s Path, files: &'s [StoredFile], wanted: Wanted) -> Self {
        let owned = |group: u32| files.iter().position(|file| file.key_groups.contains(&group));
        let files = match wanted.key_group() {
            None => files,
            Some(group) => owned(group).map_or(&[][..], |owner| slice::from_ref(&files[owner])),
        };
        Self { folder, files: files.iter(), current: None, wanted }
    }

    pub(super) fn next(&mut self) -> Result<Option<StoredEntry<'_>>, StoredStateError> {
        loop {
            if self.current.is_none() {
                let Some(file) = self.files.next() else { return Ok(None) };
                self.current = Some((file.task, DataFileReader::open(&self.folder.join(&file.path), file.facts)?));
            }
            match self.step()? {
                Step::NextFile => self.current = None,
                Step::Entry(task) => {
                    let (_, reader) = self.current.as_ref().expect("it has just been read");
                    let (key, value) = reader.last();
                    return decoded(task, key, value).map(Some).map_err(|error| reader.corrupt(&error.to_string()));
                }
            }
        }
    }

    /// Goes on to the next entry of the state in the current file.
    fn step(&mut self) -> Result<Step, StoredStateError> {
        let Some((task, reader)) = &mut self.current else { return Ok(Step::NextFile) };
        while reader.advance()? {
            let order = self.wanted.order_of(reader.last().0).map_err(|error| reader.corrupt(&error.to_string()))?;
            match order {
                Ordering::Less => {}
                Ordering::Equal => return Ok(Step::Entry(*task)),
                // Everything is in order: nothing more of the key can come.
                Ordering::Greater => break,
            }
        }
        Ok(Step::NextFile)
    }
}
