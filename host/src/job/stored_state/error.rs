//! Why stored state can't be read, with the file and what to do.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Stored state that can't be read.
#[derive(Debug, Error)]
#[error("{}: {problem}", path.display())]
pub struct StoredStateError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: StoredStateProblem,
}

/// What is wrong with stored state.
#[derive(Debug, Error)]
pub enum StoredStateProblem {
    /// There is nothing of that name.
    #[error("it is not there; give the folder that `wasmill run --dump-state` wrote")]
    Absent,
    /// The folder has no manifest.
    #[error(
        "this folder holds no state: it has no manifest.json, which is written last; give the folder that `wasmill run --dump-state` wrote, or run the job once more if it did not end well"
    )]
    NoManifest,
    /// The manifest is somebody else's.
    #[error(
        "this is no manifest of state that wasmill has stored; give the folder that `wasmill run --dump-state` wrote"
    )]
    Foreign,
    /// A later version wrote it.
    #[error("it has format version {0}, and this wasmill reads up to {latest}; use a later wasmill", latest = super::FORMAT_VERSION)]
    Newer(u64),
    /// The manifest can't be understood.
    #[error("the manifest is damaged: {0}; {TAKE_ANEW}")]
    Manifest(String),
    /// A file that the manifest names is not there.
    #[error("the manifest names this file, but it is not there; bring it back, or {TAKE_ANEW}")]
    Missing,
    /// A file is shorter or longer than it was.
    #[error("it has {found} bytes where {expected} were written; it was cut or changed: bring it back, or {TAKE_ANEW}")]
    Length {
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// The bytes are not those that were written.
    #[error("{what} (at byte {at}); it was cut or changed: bring it back, or {TAKE_ANEW}")]
    Corrupt {
        /// Where the block begins.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// The system says no.
    #[error("it can't be read: {0}")]
    Io(io::Error),
}

const TAKE_ANEW: &str = "run the job once more with --dump-state";
