//! A file of a storage, for those who read parts of it.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{Storage, StorageError};
use crate::checkpoint::segment::ReadAt;

/// A file of a storage.
#[derive(Clone, Debug)]
pub struct Stored {
    storage: Arc<dyn Storage>,
    name: Arc<str>,
}

impl Stored {
    /// The file of that name; it need not be there.
    pub fn new(storage: Arc<dyn Storage>, name: &str) -> Self {
        Self { storage, name: name.into() }
    }
}

impl ReadAt for Stored {
    fn name(&self) -> String {
        self.storage.location(&self.name)
    }

    fn size(&self) -> Result<u64, StorageError> {
        self.storage.size(&self.name)
    }

    fn read_at(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.storage.get_range(&self.name, range)
    }
}
