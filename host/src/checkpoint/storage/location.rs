//! The place of a storage, as a job file names it: a path, or the URL of an object store.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{StorageError, StorageErrorKind};

/// Where a storage is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageLocation {
    /// A folder on a disk; it need not be there yet.
    Folder(PathBuf),
    /// A folder of a bucket: `s3://bucket/folder`.
    S3(Bucket),
    /// A folder of a bucket: `gs://bucket/folder`.
    GoogleCloud(Bucket),
    /// A folder of a container: `az://container/folder`.
    Azure(Bucket),
    /// The memory of this process: `memory://`. What is there is gone when the process ends.
    Memory,
}

/// A bucket and a folder in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The bucket, or Azure's container.
    pub name: String,
    /// The folder, without `/` at its ends; may be empty.
    pub folder: String,
}

impl StorageLocation {
    /// Understands a path, relative to `folder`, or a URL.
    ///
    /// # Errors
    /// [`Invalid`](StorageErrorKind::Invalid), when it is neither.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, StorageError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text {
                "" => Err(invalid(text, "it is empty; name a path or a URL")),
                path => Ok(Self::Folder(folder.join(path))),
            };
        };
        let bucket = || {
            let (name, folder) = rest.split_once('/').unwrap_or((rest, ""));
            match name.is_empty() || name.contains(['@', '?', '#']) || folder.contains(['%', '?', '#']) {
                true => Err(invalid(text, "it has the form `SCHEME://BUCKET/FOLDER`, without `@`, `%`, `?` or `#`")),
                false => Ok(Bucket { name: name.to_owned(), folder: folder.trim_matches('/').to_owned() }),
            }
        };
        match scheme {
            "file" if rest.starts_with('/') && !rest.contains('%') => Ok(Self::Folder(rest.into())),
            "file" => Err(invalid(text, "write the path itself, without `file://`")),
            "s3" => bucket().map(Self::S3),
            "gs" => bucket().map(Self::GoogleCloud),
            "az" => bucket().map(Self::Azure),
            "memory" if rest.trim_matches('/').is_empty() => Ok(Self::Memory),
            "memory" => Err(invalid(text, "write `memory://`, and nothing behind it")),
            _ => Err(invalid(text, "storages are a path, or s3://, gs://, az://, file:/// or memory://")),
        }
    }
}

impl fmt::Display for StorageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, bucket) = match self {
            Self::Folder(path) => return path.display().fmt(f),
            Self::Memory => return f.write_str("memory://"),
            Self::S3(bucket) => ("s3", bucket),
            Self::GoogleCloud(bucket) => ("gs", bucket),
            Self::Azure(bucket) => ("az", bucket),
        };
        let separator = if bucket.folder.is_empty() { "" } else { "/" };
        write!(f, "{scheme}://{}{separator}{}", bucket.name, bucket.folder)
    }
}

pub(super) fn invalid(location: &str, detail: impl Into<String>) -> StorageError {
    StorageError {
        name: String::new(),
        location: location.to_owned(),
        kind: StorageErrorKind::Invalid,
        detail: detail.into(),
    }
}
