//! A folder of a storage, as a storage of its own.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{Listed, Storage, StorageError};

/// Puts a folder before every name.
#[derive(Clone, Debug)]
pub struct Below {
    storage: Arc<dyn Storage>,
    folder: String,
}

impl Below {
    /// The folder of that name; it need not be there.
    pub fn new(storage: Arc<dyn Storage>, folder: impl Into<String>) -> Self {
        Self { storage, folder: folder.into() }
    }

    /// An error tells the name that was asked for here; its location tells the folder. An empty name stays one that can't be.
    fn call<T>(&self, name: &str, call: impl FnOnce(&str) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let full = format!("{}/{name}", self.folder);
        call(&full).map_err(|error| StorageError { name: name.to_owned(), ..error })
    }
}

impl Storage for Below {
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.call(name, |name| self.storage.put_new(name, bytes))
    }

    fn get(&self, name: &str) -> Result<Bytes, StorageError> {
        self.call(name, |name| self.storage.get(name))
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.call(name, |name| self.storage.get_range(name, range))
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.call(name, |name| self.storage.size(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let listed = match prefix {
            "" => self.storage.list(&self.folder),
            prefix => self.call(prefix, |prefix| self.storage.list(prefix)),
        }?;
        let own = |each: Listed| {
            let name = each.name.strip_prefix(&self.folder)?.strip_prefix('/')?;
            Some(Listed { name: name.to_owned(), bytes: each.bytes })
        };
        Ok(listed.into_iter().filter_map(own).collect())
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.call(name, |name| self.storage.delete(name))
    }

    fn location(&self, name: &str) -> String {
        match name {
            "" => self.storage.location(&self.folder),
            name => self.storage.location(&format!("{}/{name}", self.folder)),
        }
    }
}
