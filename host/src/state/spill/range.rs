//! A range over a spill: outstanding runs and the database merged in key order, where the newest entry of a key counts and tombstones hide what is older.

use std::cmp::Ordering;

use fjall::{Iter, UserKey, UserValue};

use super::{
    OUTSTANDING_MAX, SpillError,
    run::{Evicted, RunRange},
    store::Store,
};

/// Entries in the order of their keys. It lends keys and values until its next step.
pub struct SpillRange<'a> {
    pub(super) prefix: &'a [u8],
    /// Newest first.
    pub(super) runs: [Option<RunHead<'a>>; OUTSTANDING_MAX + 1],
    pub(super) store: Option<StoreHead<'a>>,
}

/// The entries of a run, of which the first one is looked at.
pub(super) struct RunHead<'a> {
    key: &'a [u8],
    value: Evicted<'a>,
    rest: RunRange<'a>,
}

/// The entries of the database, of which the first one is looked at.
pub(super) struct StoreHead<'a> {
    store: &'a Store,
    entry: Option<(UserKey, UserValue)>,
    /// Nobody wants the entry any more; it may still be lent.
    used: bool,
    rest: Iter,
}

impl<'a> RunHead<'a> {
    /// None when there are no entries with the prefix.
    pub(super) fn new(prefix: &[u8], mut rest: RunRange<'a>) -> Option<Self> {
        let (key, value) = rest.next().filter(|(key, _)| key.starts_with(prefix))?;
        Some(Self { key, value, rest })
    }
}

impl<'a> StoreHead<'a> {
    pub(super) fn new(store: &'a Store, rest: Iter) -> Self {
        Self { store, entry: None, used: true, rest }
    }

    fn key(&mut self) -> Result<Option<&[u8]>, SpillError> {
        if self.used {
            self.entry = self.store.next(&mut self.rest)?;
            self.used = false;
        }
        Ok(self.entry.as_ref().map(|(key, _)| &**key))
    }
}

/// Which of two sorted inputs has the smaller key.
enum Smaller {
    Runs,
    Both,
    Store,
}

impl<'a> SpillRange<'a> {
    /// The next key and its value; none after the last one.
    ///
    /// # Errors
    /// When the database can't be read.
    #[expect(clippy::should_implement_trait, reason = "it lends, which an iterator can't")]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>, SpillError> {
        loop {
            let of_runs = self.runs.iter().flatten().map(|head| head.key).min();
            let of_store = match &mut self.store {
                Some(store) => store.key()?,
                None => None,
            };
            let smaller = match (of_runs, of_store) {
                (None, None) => return Ok(None),
                (Some(_), None) => Smaller::Runs,
                (None, Some(_)) => Smaller::Store,
                (Some(of_runs), Some(of_store)) => match of_runs.cmp(of_store) {
                    Ordering::Less => Smaller::Runs,
                    Ordering::Equal => Smaller::Both,
                    Ordering::Greater => Smaller::Store,
                },
            };
            if let (Smaller::Store | Smaller::Both, Some(store)) = (&smaller, &mut self.store) {
                store.used = true;
            }
            match (smaller, of_runs) {
                (Smaller::Runs | Smaller::Both, Some(key)) => {
                    if let Some(value) = self.take_newest(key) {
                        return Ok(Some((key, value)));
                    }
                }
                _ => break,
            }
        }
        let entry = self.store.as_ref().and_then(|store| store.entry.as_ref());
        Ok(entry.map(|(key, value)| (&**key, &**value)))
    }

    /// What the newest run with this key holds. All runs move behind it.
    fn take_newest(&mut self, key: &[u8]) -> Evicted<'a> {
        let mut newest = None;
        for run in &mut self.runs {
            let Some(head) = run.as_mut().filter(|head| head.key == key) else { continue };
            newest.get_or_insert(head.value);
            *run = RunHead::new(self.prefix, head.rest);
        }
        newest.flatten()
    }
}
