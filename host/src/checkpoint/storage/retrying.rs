//! A storage that is asked again when it did not answer.
//!
//! For reads only, which can be made any number of times: a job is not begun again because one of many answers got lost. Whoever writes knows better what another try means.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{Listed, Storage, StorageError};

/// How often a read is tried.
const TRIES: u32 = 4;

/// Reads again what could not be read.
#[derive(Clone, Debug)]
pub struct Retrying(Arc<dyn Storage>);

impl Retrying {
    /// The same storage, asked again.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self(storage)
    }
}

fn again<T>(mut read: impl FnMut() -> Result<T, StorageError>) -> Result<T, StorageError> {
    let mut tries = 1;
    loop {
        match read() {
            Err(error) if error.kind.is_retryable() && tries < TRIES => tries += 1,
            other => return other,
        }
    }
}

impl Storage for Retrying {
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.0.put_new(name, bytes)
    }

    fn get(&self, name: &str) -> Result<Bytes, StorageError> {
        again(|| self.0.get(name))
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        again(|| self.0.get_range(name, range.clone()))
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        again(|| self.0.size(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        again(|| self.0.list(prefix))
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        self.0.delete(name)
    }

    fn location(&self, name: &str) -> String {
        self.0.location(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Faults, Faulty, MemoryStorage};

    #[test]
    fn a_lost_answer_is_asked_for_again_and_a_storage_that_is_away_is_said_to_be() {
        let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        memory.put_new("a", Bytes::from_static(b"bytes")).expect("nothing has the name");
        let faults = Faults { failing: 300, ..Faults::default() };
        let faulty = Arc::new(Faulty::new(memory, 7, faults, Box::new(|| {})));
        let retrying = Retrying::new(Arc::clone(&faulty) as Arc<dyn Storage>);
        let failed = |times: u32, read: &dyn Fn() -> bool| (0..times).filter(|_| !read()).count();
        let (alone, again) = (failed(200, &|| faulty.get("a").is_ok()), failed(200, &|| retrying.get("a").is_ok()));
        assert!(alone > 30 && again < 10, "{alone} and {again} of 200");
        faulty.set_faults(Faults { failing: 1000, ..Faults::default() });
        assert!(retrying.get("a").is_err_and(|error| error.kind.is_retryable()));
    }
}
