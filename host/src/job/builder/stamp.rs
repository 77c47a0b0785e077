//! What a component was made from, as a file in the cache folder.
//!
//! JSON, since a person may want to see why a crate is built again. It is a cache: a stamp of another format, or one that can't be read, counts as none, so
//! that this format may change with [`FORMAT`] and nothing needs to be migrated.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Raised whenever the stamp's shape or the way of building changes.
const FORMAT: u32 = 1;

/// How a file looks from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileState {
    /// In bytes.
    pub(super) size: u64,
    /// When its content was last changed, in nanoseconds since 1970.
    pub(super) modified_ns: i64,
}

/// A file that went into a build, or that would have, had it existed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Input {
    /// Where it is.
    pub(super) path: PathBuf,
    /// How it looked; nothing, if it did not exist.
    pub(super) state: Option<FileState>,
}

/// What a component was made from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    format: u32,
    /// The component.
    pub(super) component: Input,
    /// Its SHA-256.
    pub(super) digest: String,
    /// Digest of the variables that mattered.
    pub(super) environment: String,
    /// Names of the variables that the crates and their build scripts read.
    pub(super) variables: Vec<String>,
    inputs: Vec<Input>,
}

impl FileState {
    /// The state of a file or folder; nothing, if there is none.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        Ok(metadata(path)?.as_ref().map(Self::from_metadata))
    }

    /// The state of a file that was last changed before a moment; nothing, if there is none. The outer option is empty if it was changed since. Its change time
    /// counts too, which also tells of a file that was put there with an old modification time.
    pub(super) fn of_settled(path: &Path, before_ns: i64) -> io::Result<Option<Option<Self>>> {
        let Some(metadata) = metadata(path)? else {
            return Ok(Some(None));
        };
        let changed_ns = nanoseconds(metadata.ctime(), metadata.ctime_nsec());
        let state = Self::from_metadata(&metadata);
        let settled = changed_ns.max(state.modified_ns) < before_ns;
        Ok(settled.then_some(Some(state)))
    }

    fn from_metadata(metadata: &fs::Metadata) -> Self {
        Self { size: metadata.len(), modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()) }
    }
}

impl Input {
    /// The recorded size.
    pub(super) fn size(&self) -> u64 {
        self.state.map_or(0, |state| state.size)
    }

    /// Whether the file looks as recorded. What can't be looked at counts as changed.
    pub(super) fn unchanged(&self) -> bool {
        FileState::of(&self.path).is_ok_and(|now| now == self.state)
    }
}

impl Stamp {
    /// What `component`, which looks like `state`, was made from.
    pub(super) fn new(
        component: PathBuf,
        state: FileState,
        digest: String,
        environment: String,
        variables: Vec<String>,
        inputs: Vec<Input>,
    ) -> Self {
        let component = Input { path: component, state: Some(state) };
        Self { format: FORMAT, component, digest, environment, variables, inputs }
    }

    /// A stamp from its file's bytes, unless it is of another format.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let stamp: Self = serde_json::from_slice(bytes).ok()?;
        (stamp.format == FORMAT).then_some(stamp)
    }

    /// The bytes of its file. A path that is not UTF-8 can't be written, and gives an empty file, which is no stamp.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Whether the component is there and as it was.
    pub(super) fn component_unchanged(&self) -> bool {
        self.component.state.is_some() && self.component.unchanged()
    }

    /// Whether everything that the component was made from is as it was.
    pub(super) fn inputs_unchanged(&self) -> bool {
        self.inputs.iter().all(Input::unchanged)
    }
}

fn metadata(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        // A file where a folder is expected means, too, that there is no such file.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
