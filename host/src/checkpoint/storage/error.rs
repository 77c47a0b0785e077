//! Why a storage did not do what it was asked, with the place and what to do.

use std::fmt;

use thiserror::Error;

/// A call of a [`Storage`](super::Storage) that failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{location}: {kind}{}{detail}; {}", if detail.is_empty() { "" } else { ": " }, kind.advice())]
pub struct StorageError {
    /// The name that was asked for, or the prefix; empty for the storage as a whole.
    pub name: String,
    /// The path or URL of that name, for people.
    pub location: String,
    /// What kind of failure it is.
    pub kind: StorageErrorKind,
    /// What the system or the service said; may be empty.
    pub detail: String,
}

/// Kinds of failures: each asks something else of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageErrorKind {
    /// Nothing has that name.
    NotFound,
    /// Something has that name already, and it was left as it is.
    AlreadyThere,
    /// The storage does not answer, or not in time. The call may have had its effect all the same.
    Unavailable,
    /// The storage does not allow it: credentials, permissions, or it can only be read.
    Refused,
    /// There is no room left.
    Full,
    /// What was asked for can't be: a name, range or location that makes no sense to this storage.
    Invalid,
}

impl StorageErrorKind {
    /// Whether the same call may do well later without anybody's help.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable)
    }

    fn advice(self) -> &'static str {
        match self {
            Self::NotFound => "bring it back from a copy, or name what is there",
            Self::AlreadyThere => "another run of the job may have written it: see that only one runs",
            Self::Unavailable => "it is worth trying again; see that the storage can be reached",
            Self::Refused => "grant this user, or these credentials, to read, write, list and delete there",
            Self::Full => "make room, retain fewer checkpoints, or name another storage",
            Self::Invalid => "correct the storage in the job file",
        }
    }
}

impl fmt::Display for StorageErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "it is not there",
            Self::AlreadyThere => "it is there already",
            Self::Unavailable => "the storage does not answer",
            Self::Refused => "the storage refuses it",
            Self::Full => "the storage has no room left",
            Self::Invalid => "this can't be asked of the storage",
        })
    }
}
