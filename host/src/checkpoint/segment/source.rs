//! Where a reader gets the bytes of a segment from.

use std::ops::Range;

use bytes::Bytes;

use crate::checkpoint::storage::{StorageError, StorageErrorKind};

/// A file of which ranges can be read, by as many cursors as there are.
pub trait ReadAt: Clone {
    /// Its name, for people.
    fn name(&self) -> String;

    /// How many bytes it has.
    ///
    /// # Errors
    /// When it is not there or can't be asked.
    fn size(&self) -> Result<u64, StorageError>;

    /// Bytes of it. Fewer than asked for only where it ends sooner.
    ///
    /// # Errors
    /// When it is not there or can't be read.
    fn read_at(&self, range: Range<u64>) -> Result<Bytes, StorageError>;
}

/// A segment that lies in memory.
#[derive(Clone, Debug)]
pub struct InMemory {
    /// Its name, for people.
    pub name: String,
    /// All of it.
    pub bytes: Bytes,
}

impl ReadAt for InMemory {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size(&self) -> Result<u64, StorageError> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        let length = self.bytes.len() as u64;
        if range.start > range.end || range.start > length {
            return Err(StorageError {
                name: self.name.clone(),
                location: self.name.clone(),
                kind: StorageErrorKind::Invalid,
                detail: format!("bytes {} to {} of {length}", range.start, range.end),
            });
        }
        Ok(self.bytes.slice(range.start as usize..range.end.min(length) as usize))
    }
}
