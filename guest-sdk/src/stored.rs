//! Stored values as the host hands them over, checked and decoded.

use crate::Result;
use crate::bytes::Strings;
use crate::codec::Value;
use crate::former::{Formers, Step};
use crate::wire::{Error as Fault, StoredColumn};

/// A column of stored values that does not contradict itself.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    strings: Strings<'a>,
    versions: &'a [u16],
    current: u16,
}

impl<'a> Stored<'a> {
    /// Checks the column of a state whose schema has the version `current`.
    pub(crate) fn new(what: &str, column: &'a StoredColumn, current: u16) -> Result<Self, Fault> {
        let StoredColumn { data, ends, versions } = column;
        let strings = Strings::new(what, data, ends)?;
        if versions.is_empty() || versions.len() == ends.len() {
            return Ok(Self { strings, versions, current });
        }
        Err(Fault::InvalidInput(format!("{what}: {} values, {} versions", ends.len(), versions.len())))
    }

    pub(crate) fn len(&self) -> usize {
        self.strings.len()
    }

    /// Schema version and bytes of value `index`. Version 0: there is none.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> (u16, &'a [u8]) {
        let (version, bytes, length) = self.get_with_rest(index);
        (version, &bytes[..length])
    }

    /// Schema version of value `index`, its bytes with all that lies behind them, and how many they are.
    #[inline(always)]
    pub(crate) fn get_with_rest(&self, index: usize) -> (u16, &'a [u8], usize) {
        let (bytes, length) = self.strings.get_with_rest(index);
        (self.versions.get(index).copied().unwrap_or(self.current), bytes, length)
    }
}

/// The value of these bytes, which are of a version other than 0.
pub(crate) fn decode<T: Value>(formers: &Formers<T>, step: Step<'_>, bytes: &[u8]) -> Result<T> {
    if step.from == step.to
        && let Ok(value) = T::decode(bytes)
    {
        return Ok(value);
    }
    formers.migrate(step, bytes)
}
