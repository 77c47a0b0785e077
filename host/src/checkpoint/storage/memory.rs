//! A storage that lasts as long as the process: for tests and simulation.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{Listed, Storage, StorageError, StorageErrorKind, check_name, is_below};

/// Files in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    files: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// No call leaves the map half changed.
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checked(&self, name: &str) -> Result<(), StorageError> {
        check_name(name).map_err(|why| self.error(name, StorageErrorKind::Invalid, why))
    }

    fn find(&self, name: &str) -> Result<Bytes, StorageError> {
        self.checked(name)?;
        let found = self.files().get(name).cloned();
        found.ok_or_else(|| self.error(name, StorageErrorKind::NotFound, String::new()))
    }
}

impl Storage for MemoryStorage {
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.checked(name)?;
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(self.error(name, StorageErrorKind::AlreadyThere, String::new()));
        }
        files.insert(name.to_owned(), bytes);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Bytes, StorageError> {
        self.find(name)
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let bytes = self.find(name)?;
        let length = bytes.len() as u64;
        if range.start >= length {
            let detail = format!("it has {length} bytes, and byte {} was asked for", range.start);
            return Err(self.error(name, StorageErrorKind::Invalid, detail));
        }
        Ok(bytes.slice(range.start as usize..range.end.min(length) as usize))
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.find(name).map(|bytes| bytes.len() as u64)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        if !prefix.is_empty() {
            self.checked(prefix)?;
        }
        let files = self.files();
        let below = files.iter().filter(|(name, _)| is_below(name, prefix));
        Ok(below.map(|(name, bytes)| Listed { name: name.clone(), bytes: bytes.len() as u64 }).collect())
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.checked(name)?;
        self.files().remove(name);
        Ok(())
    }

    fn location(&self, name: &str) -> String {
        format!("memory:///{name}")
    }
}
