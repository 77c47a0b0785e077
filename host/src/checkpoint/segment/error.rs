//! Why a segment can't be read or an entry can't be written, with the file, the place in it and what to do.

use thiserror::Error;

use super::{FORMAT_VERSION, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::checkpoint::storage::StorageError;

/// A segment that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{problem}", problem.prefix(name))]
pub struct SegmentError {
    /// The name of the segment.
    pub name: String,
    /// What is wrong with it.
    pub problem: SegmentProblem,
}

/// What is wrong with a segment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SegmentProblem {
    /// It is shorter or longer than it was.
    #[error("it has {found} bytes where {expected} were written: it was cut or changed; {ELSEWHERE}")]
    Length {
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// A later version wrote it.
    #[error("it has format version {0}, and this wasmill reads up to {FORMAT_VERSION}; use a later wasmill")]
    Newer(u32),
    /// The bytes are not those that were written.
    #[error("{what} (at byte {at}): it was changed or is another file; {ELSEWHERE}")]
    Corrupt {
        /// Where what is wrong begins: a block, the footer or the trailer.
        at: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The storage does not give it.
    #[error("{0}")]
    Storage(StorageError),
}

impl SegmentProblem {
    /// What comes before it: the name, where it does not have it itself.
    fn prefix(&self, name: &str) -> String {
        match self {
            Self::Storage(_) => String::new(),
            _ => format!("{name}: "),
        }
    }
}

const ELSEWHERE: &str = "bring it back from a copy, or go on from another checkpoint";

/// An entry that no segment holds, or not at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RefusedEntry {
    /// The stored key has no key group, or is longer than can be.
    #[error("a stored key has {0} bytes; it has at least the 2 of its key group and at most {KEY_BYTES_MAX}")]
    Key(usize),
    /// The value is longer than can be.
    #[error("a value has {0} bytes; a segment holds values of up to {VALUE_BYTES_MAX}")]
    Value(usize),
    /// The stored key is not above the one before, nor is this the value of a key that was just cleared.
    #[error("the stored keys of a segment must ascend, and this one does not")]
    Order,
}
