//! A storage that fails as real ones do, as a seed says: for simulation and tests only.
//!
//! Calls fail before they did anything, or after they did it (the answer got lost); a put may leave a part of its bytes behind, where a store is modelled that does not keep what
//! [`Storage`] promises; and after [`Faulty::crash`], what was not promised to last may be another way: a put that failed may be there or not, a delete may not have been.
//! Whoever saw a file was promised that it lasts. No clock is read: a delay is a call of the function that was given for it.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{Listed, Storage, StorageError, StorageErrorKind};
use crate::stream::SplitMix64;

/// What goes wrong, and how often of a thousand calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Calls that fail and do nothing.
    pub failing: u32,
    /// Calls that do what they should, but say that they failed.
    pub unanswered: u32,
    /// Puts that fail and leave the beginning of the file under its name: against the contract of [`Storage`], for those who want to survive even that.
    pub torn: u32,
    /// Calls before which the delay is called.
    pub delayed: u32,
}

/// What the storage as a whole is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageMode {
    /// It works, but for its faults.
    Working,
    /// Puts and deletes are refused.
    ReadOnly,
    /// Puts find no room.
    Full,
    /// Every call fails as if nobody were there.
    Unreachable,
}

/// A storage with faults.
pub struct Faulty {
    storage: Arc<dyn Storage>,
    state: Mutex<State>,
    delay: Box<dyn Fn() + Send + Sync>,
}

struct State {
    random: SplitMix64,
    faults: Faults,
    mode: StorageMode,
    calls: u64,
    /// From this call on, all fail.
    stop_at: u64,
    /// Effects that a crash may undo or complete.
    open: Vec<Open>,
}

/// Something of which it is not sure yet that it lasts.
enum Open {
    /// These bytes were to be put, and whether they are there was not said.
    Put(String, Bytes),
    /// These bytes were there.
    Delete(String, Bytes),
}

/// What becomes of a call.
enum Verdict {
    Done,
    /// It fails, without any effect.
    Fails(StorageErrorKind, &'static str),
    /// It has its effect and fails.
    Unanswered,
    Torn,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "Faulty({:?}, {:?}, {:?}, {} calls)", self.storage, state.mode, state.faults, state.calls)
    }
}

impl Faulty {
    /// A storage that fails now and then. `delay` is called before a call that is delayed.
    pub fn new(storage: Arc<dyn Storage>, seed: u64, faults: Faults, delay: Box<dyn Fn() + Send + Sync>) -> Self {
        let state = State {
            random: SplitMix64::new(seed),
            faults,
            mode: StorageMode::Working,
            calls: 0,
            stop_at: u64::MAX,
            open: Vec::new(),
        };
        Self { storage, state: Mutex::new(state), delay }
    }

    /// Changes what the storage as a whole is like.
    pub fn set_mode(&self, mode: StorageMode) {
        self.state().mode = mode;
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Lets `calls` more calls pass; all after them fail as if nobody were there. So a test can stop at every call, one after the other.
    pub fn stop_after(&self, calls: u64) {
        let mut state = self.state();
        state.stop_at = state.calls.saturating_add(calls);
    }

    /// The power goes and comes back: each effect that nobody was promised is undone or completed, as the seed says, and the storage works again.
    ///
    /// # Errors
    /// When the storage that is modelled on fails by itself.
    pub fn crash(&self) -> Result<(), StorageError> {
        let mut state = self.state();
        (state.mode, state.stop_at) = (StorageMode::Working, u64::MAX);
        for open in std::mem::take(&mut state.open) {
            let happened = state.random.draw().is_multiple_of(2);
            match open {
                Open::Put(name, bytes) if happened => self.put_if_free(&name, bytes)?,
                Open::Put(name, bytes) => {
                    // Somebody else's file of that name stays.
                    let own = self.storage.get(&name).is_ok_and(|there| bytes.starts_with(&there));
                    if own {
                        self.storage.delete(&name)?;
                    }
                }
                Open::Delete(name, _) if happened => self.storage.delete(&name)?,
                Open::Delete(name, bytes) => self.put_if_free(&name, bytes)?,
            }
        }
        Ok(())
    }

    fn put_if_free(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        match self.storage.put_new(name, bytes) {
            Err(error) if error.kind != StorageErrorKind::AlreadyThere => Err(error),
            _ => Ok(()),
        }
    }

    /// Where a file of that name was deleted before, that lasts now.
    fn put_behind_deletes(&self, name: &str) {
        self.state().open.retain(|open| !matches!(open, Open::Delete(deleted, _) if deleted == name));
    }

    /// Somebody saw a file: from now on it lasts.
    fn seen(&self, name: &str) {
        self.state().open.retain(|open| !matches!(open, Open::Put(put, _) if put == name));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what becomes of the next call.
    fn judge(&self, call: Call) -> Verdict {
        let (verdict, delayed) = self.state().judge(call);
        if delayed {
            (self.delay)();
        }
        verdict
    }

    fn unavailable(&self, name: &str) -> StorageError {
        self.error(name, StorageErrorKind::Unavailable, UNANSWERED.to_owned())
    }

    fn read<T>(&self, name: &str, read: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
        match self.judge(Call::Read) {
            Verdict::Done => read(),
            Verdict::Fails(kind, why) => Err(self.error(name, kind, why.to_owned())),
            Verdict::Unanswered | Verdict::Torn => Err(self.unavailable(name)),
        }
    }
}

const UNANSWERED: &str = "simulated: the answer got lost";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    Put,
    Delete,
}

impl State {
    fn judge(&mut self, call: Call) -> (Verdict, bool) {
        let stopped = self.calls >= self.stop_at;
        self.calls += 1;
        let mut happens = |of_a_thousand: u32| self.random.draw() % 1_000 < u64::from(of_a_thousand);
        let faults = self.faults;
        let [failing, unanswered, torn, delayed] =
            [faults.failing, faults.unanswered, faults.torn, faults.delayed].map(&mut happens);
        let verdict = match (self.mode, call) {
            (StorageMode::Unreachable, _) => {
                Verdict::Fails(StorageErrorKind::Unavailable, "simulated: nobody is there")
            }
            _ if stopped => Verdict::Fails(StorageErrorKind::Unavailable, "simulated: stopped"),
            (StorageMode::ReadOnly, Call::Put | Call::Delete) => Verdict::Fails(StorageErrorKind::Refused, "simulated"),
            (StorageMode::Full, Call::Put) => Verdict::Fails(StorageErrorKind::Full, "simulated"),
            _ if failing => Verdict::Fails(StorageErrorKind::Unavailable, "simulated: the call got lost"),
            _ if unanswered => Verdict::Unanswered,
            (_, Call::Put) if torn => Verdict::Torn,
            _ => Verdict::Done,
        };
        (verdict, delayed)
    }
}

impl Storage for Faulty {
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        match self.judge(Call::Put) {
            Verdict::Done => {
                let done = self.storage.put_new(name, bytes);
                match &done {
                    Ok(()) => self.put_behind_deletes(name),
                    Err(error) if error.kind == StorageErrorKind::AlreadyThere => self.seen(name),
                    Err(_) => {}
                }
                done
            }
            Verdict::Fails(kind, why) => Err(self.error(name, kind, why.to_owned())),
            Verdict::Unanswered => {
                self.storage.put_new(name, bytes.clone())?;
                self.put_behind_deletes(name);
                self.state().open.push(Open::Put(name.to_owned(), bytes));
                Err(self.unavailable(name))
            }
            Verdict::Torn => {
                let part = self.state().random.draw() as usize % (bytes.len() + 1);
                self.storage.put_new(name, bytes.slice(..part))?;
                Err(self.unavailable(name))
            }
        }
    }

    fn get(&self, name: &str) -> Result<Bytes, StorageError> {
        let bytes = self.read(name, || self.storage.get(name))?;
        self.seen(name);
        Ok(bytes)
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let bytes = self.read(name, || self.storage.get_range(name, range))?;
        self.seen(name);
        Ok(bytes)
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        let bytes = self.read(name, || self.storage.size(name))?;
        self.seen(name);
        Ok(bytes)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let listed = self.read(prefix, || self.storage.list(prefix))?;
        listed.iter().for_each(|each| self.seen(&each.name));
        Ok(listed)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let verdict = self.judge(Call::Delete);
        if let Verdict::Fails(kind, why) = verdict {
            return Err(self.error(name, kind, why.to_owned()));
        }
        match self.storage.get(name) {
            Ok(bytes) => self.state().open.push(Open::Delete(name.to_owned(), bytes)),
            Err(error) if error.kind == StorageErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.storage.delete(name)?;
        if matches!(verdict, Verdict::Unanswered) { Err(self.unavailable(name)) } else { Ok(()) }
    }

    fn location(&self, name: &str) -> String {
        self.storage.location(name)
    }
}
