//! A storage that is away for a while of simulated time.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use wasmill::{
    checkpoint::{Listed, Storage, StorageError, StorageErrorKind},
    runtime::ManualClock,
};

/// Nobody answers between two times; else all is as in the storage behind it.
#[derive(Debug)]
pub(crate) struct Outage {
    storage: Arc<dyn Storage>,
    clock: Arc<ManualClock>,
    away: Mutex<Range<Duration>>,
}

impl Outage {
    pub(crate) fn new(storage: Arc<dyn Storage>, clock: &Arc<ManualClock>) -> Self {
        Self { storage, clock: Arc::clone(clock), away: Mutex::default() }
    }

    /// It is away between these times of the clock.
    pub(crate) fn set(&self, away: Range<Duration>) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = away;
    }

    fn check(&self, name: &str) -> Result<(), StorageError> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.clock.total());
        match away {
            true => Err(self.error(name, StorageErrorKind::Unavailable, "simulated: it is away".to_owned())),
            false => Ok(()),
        }
    }
}

impl Storage for Outage {
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.check(name)?;
        self.storage.put_new(name, bytes)
    }

    fn get(&self, name: &str) -> Result<Bytes, StorageError> {
        self.check(name)?;
        self.storage.get(name)
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.check(name)?;
        self.storage.get_range(name, range)
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        self.check(name)?;
        self.storage.size(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        self.check(prefix)?;
        self.storage.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.check(name)?;
        self.storage.delete(name)
    }

    fn location(&self, name: &str) -> String {
        self.storage.location(name)
    }
}
