//! Where checkpoints lie: a folder of files that are written once, on a disk or in an object store.
//!
//! [`Storage`] says what this room needs of such a place, and no more: whoever can put a file that nobody has put before, and list, read and delete, can hold checkpoints.
//! [`ObjectStorage`] is the one for paths and URLs. [`MemoryStorage`] and [`Faulty`] are for tests and simulation. One conformance suite holds them all to the contract.
//!
//! Nothing here tries again: who calls knows how often and how long it is worth it.

mod below;
mod error;
mod faulty;
mod location;
mod memory;
mod object;
mod retrying;
mod stored;

pub use below::Below;
pub use error::{StorageError, StorageErrorKind};
pub use faulty::{Faults, Faulty, StorageMode};
pub use location::{Bucket, StorageLocation};
pub use memory::MemoryStorage;
pub use object::ObjectStorage;
pub use retrying::Retrying;
pub use stored::Stored;

use std::{fmt::Debug, ops::Range};

use bytes::Bytes;

/// A name and what lies under it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The name, as one gives it to [`Storage::get`].
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
}

/// A place for files that are never changed.
///
/// A *name* is like a relative path: parts of letters, digits, `-`, `_`, `.` and `=`, joined by `/`; no part is `.` or `..`, and no name lies below another one.
///
/// What is needed of a place:
/// - A file is there whole or not at all, whoever looks and whatever fails meanwhile.
/// - What one call has done, every later call sees, also of others: read after write, and list after write.
/// - Of all who put one name, at most one succeeds, ever (until it is deleted).
/// - What was put is there after a loss of power. What was deleted may be there again.
///
/// Calls block, for a bounded time, and may be made from several threads at once; not from within a tokio runtime.
pub trait Storage: Send + Sync + Debug {
    /// Puts a file under a name that nothing has, durably.
    ///
    /// # Errors
    /// [`AlreadyThere`](StorageErrorKind::AlreadyThere) when something has the name. After [`Unavailable`](StorageErrorKind::Unavailable) the file may be there all the same:
    /// [`put_same`] is for those who try again.
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), StorageError>;

    /// All of a file.
    ///
    /// # Errors
    /// When it is not there or can't be read.
    fn get(&self, name: &str) -> Result<Bytes, StorageError>;

    /// Some bytes of a file. Fewer than asked for only where it ends sooner; an empty range gives nothing and asks nobody.
    ///
    /// # Errors
    /// When it is not there or can't be read; [`Invalid`](StorageErrorKind::Invalid) when the range begins at or behind its end.
    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StorageError>;

    /// How many bytes a file has.
    ///
    /// # Errors
    /// When it is not there or can't be asked.
    fn size(&self, name: &str) -> Result<u64, StorageError>;

    /// All files whose names begin with the parts of `prefix`, ascending by name; with an empty prefix, all files. None is no error.
    ///
    /// # Errors
    /// When the storage can't be asked.
    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError>;

    /// Removes a file. One that is not there is no error.
    ///
    /// # Errors
    /// When it can't be removed.
    fn delete(&self, name: &str) -> Result<(), StorageError>;

    /// The path or URL of a name, for people.
    fn location(&self, name: &str) -> String;

    /// The error for a name.
    fn error(&self, name: &str, kind: StorageErrorKind, detail: String) -> StorageError {
        StorageError { name: name.to_owned(), location: self.location(name), kind, detail }
    }
}

/// Puts a file, or finds that the very same bytes are under its name already: for those who try again what may have been done. The bytes must tell who wrote them where that
/// matters.
///
/// # Errors
/// As [`Storage::put_new`]; [`AlreadyThere`](StorageErrorKind::AlreadyThere) only when the bytes there are others.
pub fn put_same(storage: &dyn Storage, name: &str, bytes: Bytes) -> Result<(), StorageError> {
    match storage.put_new(name, bytes.clone()) {
        Err(error) if error.kind == StorageErrorKind::AlreadyThere => match storage.get(name)? == bytes {
            true => Ok(()),
            false => Err(error),
        },
        other => other,
    }
}

/// Whether a name can be one; says why not.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte);
    let good = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(allowed);
    match name.len() <= NAME_BYTES_MAX && name.split('/').all(good) {
        true => Ok(()),
        false => Err(format!(
            "`{name}` can't be a name: that is up to {NAME_BYTES_MAX} letters, digits, `-`, `_`, `.`, `=`, in parts joined by `/`"
        )),
    }
}

/// Of a name: object stores allow 1,024 bytes, of which the folder needs some.
const NAME_BYTES_MAX: usize = 768;

/// Whether `name` is in the folder `prefix`, which may be empty.
fn is_below(name: &str, prefix: &str) -> bool {
    prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
