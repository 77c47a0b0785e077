//! What all manifests of stored state begin with: by which they are known from other JSON, and by which a reader knows whether it can read them.
//!
//! ```text
//! { "format": "wasmill-state", "format-version": 1, …    a dump, see the module `manifest`
//! { "format": "wasmill-state", "format-version": 2, …    a checkpoint, see the module `checkpoint_manifest`
//! { "format": "wasmill-state", "format-version": 3, …    a checkpoint with what comes of exchanging operators
//! ```

use std::path::Path;

use serde_json::Value;

use super::error::{StoredStateError, StoredStateProblem};

/// By this a manifest is known from other JSON.
pub(super) const FORMAT: &str = "wasmill-state";
/// The version of the manifest and the files of a dump.
pub(super) const DUMP_VERSION: u32 = 1;
/// The version of the manifest of a checkpoint.
pub(super) const CHECKPOINT_VERSION: u32 = 2;
/// The version of the manifest of a checkpoint with what comes of exchanging operators.
pub(super) const EXCHANGES_VERSION: u32 = 3;
/// The highest version that is read.
const VERSION_MAX: u32 = EXCHANGES_VERSION;

/// What a manifest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Dump,
    Checkpoint,
}

impl Format {
    /// Reads the text of a manifest as JSON and what it is of; `path` is for errors.
    pub(super) fn of(path: &Path, text: &[u8]) -> Result<(Self, Value), StoredStateError> {
        let failed = |problem| StoredStateError { path: path.to_owned(), problem };
        let json: Value =
            serde_json::from_slice(text).map_err(|error| failed(StoredStateProblem::Manifest(error.to_string())))?;
        if json["format"] != FORMAT {
            return Err(failed(StoredStateProblem::Foreign));
        }
        let version = json["format-version"].as_u64().unwrap_or(0);
        match u32::try_from(version) {
            Ok(DUMP_VERSION) => Ok((Self::Dump, json)),
            Ok(CHECKPOINT_VERSION | EXCHANGES_VERSION) => Ok((Self::Checkpoint, json)),
            Ok(0) => Err(failed(StoredStateProblem::Manifest("its format version is no number above 0".into()))),
            _ => Err(failed(StoredStateProblem::Newer { found: version, latest: VERSION_MAX })),
        }
    }
}
