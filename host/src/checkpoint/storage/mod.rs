//! Where checkpoints lie.

mod error;

pub use error::{StorageError, StorageErrorKind};
