//! The storage for paths and URLs: the crate `object_store`, behind blocking calls.
//!
//! - A local file is written under another name, synced, and linked to its own; then its folder is synced. A link fails where the name is taken: that is put-if-absent.
//! - Folders on a disk are made as files need them; a file's own goes with the last file in it, so that checkpoints that are gone leave nothing.
//! - In object stores put-if-absent is a put with `If-None-Match: *` (or its like).
//! - Credentials and endpoints come from the environment, by the names that the tools of each store know: `AWS_*`, `GOOGLE_*`, `AZURE_*`.
//!
//! tokio stays in here: a runtime without threads of its own, which lives in the threads that call.

use std::{error::Error, fmt, future::Future, io, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
    azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem,
    memory::InMemory,
    path::Path,
};
use tokio::runtime::Runtime;

use super::{
    Listed, Storage, StorageError, StorageErrorKind, StorageLocation, check_name,
    location::{Bucket, invalid},
};

/// How long a call may take: a segment has up to about 64 MiB, so this asks for about 1 MiB/s.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);
/// How long it may take to connect.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// A folder on a disk or in an object store.
pub struct ObjectStorage {
    store: Arc<dyn ObjectStore>,
    /// Where the folder is, on a disk.
    local: Option<PathBuf>,
    /// The folder, as the store has it.
    folder: Path,
    /// The same for people.
    shown: String,
    runtime: Runtime,
    time_max: Duration,
}

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStorage({})", self.shown)
    }
}

/// A builder of an object store, with what the environment says under names that begin with a prefix.
macro_rules! builder {
    ($builder:ty, $scheme:literal, $bucket:expr, $prefix:literal, $environment:expr) => {{
        let options = ClientOptions::new().with_timeout(CALL_TIME_MAX).with_connect_timeout(CONNECT_TIME_MAX);
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let builder = <$builder>::default().with_client_options(options).with_retry(retry);
        let builder = $environment.into_iter().filter(|(name, _)| name.starts_with($prefix)).fold(
            builder,
            |builder, (name, value)| match name.to_ascii_lowercase().parse() {
                Ok(key) => builder.with_config(key, value),
                Err(_) => builder,
            },
        );
        builder.with_url(format!("{}://{}", $scheme, $bucket.name))
    }};
}

impl ObjectStorage {
    /// Makes ready to use a place; asks nobody yet. `environment` is all variables of the process's environment.
    ///
    /// # Errors
    /// When there are no credentials, or other settings can't be.
    pub fn open(
        location: &StorageLocation,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StorageError> {
        let shown = location.to_string();
        let failed = |error: object_store::Error| invalid(&shown, error.to_string());
        let in_bucket = |bucket: &Bucket| Path::parse(&bucket.folder).map_err(|error| failed(error.into()));
        let mut local = None;
        let (store, folder): (Arc<dyn ObjectStore>, Path) = match location {
            StorageLocation::Folder(path) => {
                let absolute = std::path::absolute(path).map_err(|error| invalid(&shown, error.to_string()))?;
                let folder = Path::from_absolute_path(local.insert(without_parents(&absolute)))
                    .map_err(|error| failed(error.into()))?;
                (Arc::new(LocalFileSystem::new().with_fsync(true)), folder)
            }
            StorageLocation::S3(bucket) => {
                let builder = builder!(AmazonS3Builder, "s3", bucket, "AWS_", environment);
                let store = builder.with_conditional_put(S3ConditionalPut::ETagMatch).build().map_err(failed)?;
                (Arc::new(store), in_bucket(bucket)?)
            }
            StorageLocation::GoogleCloud(bucket) => {
                let builder = builder!(GoogleCloudStorageBuilder, "gs", bucket, "GOOGLE_", environment);
                (Arc::new(builder.build().map_err(failed)?), in_bucket(bucket)?)
            }
            StorageLocation::Azure(bucket) => {
                let builder = builder!(MicrosoftAzureBuilder, "az", bucket, "AZURE_", environment);
                (Arc::new(builder.build().map_err(failed)?), in_bucket(bucket)?)
            }
            StorageLocation::Memory => (Arc::new(InMemory::new()), Path::default()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StorageError {
            kind: StorageErrorKind::Unavailable,
            ..invalid(&shown, format!("no runtime can be made: {error}"))
        })?;
        Ok(Self { store, local, folder, shown, runtime, time_max: CALL_TIME_MAX })
    }

    fn path(&self, name: &str) -> Result<Path, StorageError> {
        check_name(name).map_err(|why| self.error(name, StorageErrorKind::Invalid, why))?;
        Ok(name.split('/').fold(self.folder.clone(), |path, part| path.join(part)))
    }

    /// Runs a call to its end, or as long as it may take.
    fn call<T>(&self, name: &str, call: impl Future<Output = object_store::Result<T>>) -> Result<T, StorageError> {
        let bounded = async { tokio::time::timeout(self.time_max, call).await };
        match self.runtime.block_on(bounded) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.error(name, kind_of(&error), error.to_string())),
            Err(_) => {
                let detail = format!("no answer within {} s", self.time_max.as_secs());
                Err(self.error(name, StorageErrorKind::Unavailable, detail))
            }
        }
    }
}

impl Storage for ObjectStorage {
    fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), StorageError> {
        let path = self.path(name)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let Err(error) = self.call(name, self.store.put_opts(&path, bytes.into(), options)) else { return Ok(()) };
        Err(match error.kind {
            // Stores also answer so to one of two who put at once, of whom neither may succeed.
            StorageErrorKind::AlreadyThere => match self.size(name) {
                Err(gone) if gone.kind == StorageErrorKind::NotFound => {
                    StorageError { kind: StorageErrorKind::Unavailable, ..error }
                }
                _ => error,
            },
            StorageErrorKind::NotFound => StorageError { kind: StorageErrorKind::Invalid, ..error },
            _ => error,
        })
    }

    fn get(&self, name: &str) -> Result<Bytes, StorageError> {
        let path = self.path(name)?;
        self.call(name, async { self.store.get(&path).await?.bytes().await })
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let path = self.path(name)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let start = range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let got = self.call(name, async { self.store.get_opts(&path, options).await?.bytes().await });
        got.map_err(|error| match self.size(name) {
            // Every store has its own words for this.
            Ok(length) if start >= length => {
                let detail = format!("it has {length} bytes, and byte {start} was asked for");
                self.error(name, StorageErrorKind::Invalid, detail)
            }
            _ => error,
        })
    }

    fn size(&self, name: &str) -> Result<u64, StorageError> {
        let path = self.path(name)?;
        self.call(name, self.store.head(&path)).map(|found| found.size)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let path = if prefix.is_empty() { self.folder.clone() } else { self.path(prefix)? };
        let mut stream = self.store.list(Some(&path));
        let collected = self.call(prefix, async {
            let mut found = Vec::new();
            while let Some(each) = std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await {
                found.push(each?);
            }
            Ok(found)
        });
        let found = collected.map_err(|error| match error.kind {
            // No file is asked for, so it is the bucket.
            StorageErrorKind::NotFound => StorageError { kind: StorageErrorKind::Invalid, ..error },
            _ => error,
        })?;
        let named = |each: object_store::ObjectMeta| {
            let parts: Vec<_> =
                each.location.prefix_match(&self.folder)?.map(|part| part.as_ref().to_owned()).collect();
            Some(Listed { name: parts.join("/"), bytes: each.size })
        };
        let mut listed: Vec<_> = found.into_iter().filter_map(named).collect();
        listed.sort_unstable();
        Ok(listed)
    }

    fn delete(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(name)?;
        match self.call(name, self.store.delete(&path)) {
            Err(error) if error.kind == StorageErrorKind::NotFound => {}
            other => other?,
        }
        if let (Some(local), Some((parent, _))) = (&self.local, name.rsplit_once('/')) {
            // As long as there is anything in it, this fails.
            let _ = std::fs::remove_dir(local.join(parent));
        }
        Ok(())
    }

    fn location(&self, name: &str) -> String {
        match name {
            "" => self.shown.clone(),
            name => format!("{}/{name}", self.shown.trim_end_matches('/')),
        }
    }
}

pub(super) fn kind_of(error: &object_store::Error) -> StorageErrorKind {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => StorageErrorKind::NotFound,
        E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => StorageErrorKind::AlreadyThere,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => StorageErrorKind::Refused,
        E::InvalidPath { .. } | E::NotSupported { .. } | E::NotImplemented { .. } => StorageErrorKind::Invalid,
        E::UnknownConfigurationKey { .. } => StorageErrorKind::Invalid,
        other => kind_of_cause(other),
    }
}

/// What the system said, wherever in the chain of causes that is.
fn kind_of_cause(error: &(dyn Error + 'static)) -> StorageErrorKind {
    let causes = std::iter::successors(Some(error), |cause: &&(dyn Error + 'static)| (*cause).source());
    let kinds = causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let kinds = kinds.filter_map(|kind| match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Some(StorageErrorKind::Full)
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(StorageErrorKind::Refused),
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidFilename => {
            Some(StorageErrorKind::Invalid)
        }
        _ => None,
    });
    kinds.last().unwrap_or(StorageErrorKind::Unavailable)
}

/// An absolute path in which no part is `..`, which an object store can't have. A link before such a part is followed, as the system does it.
fn without_parents(path: &std::path::Path) -> PathBuf {
    let mut found = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            found = std::fs::canonicalize(&found).unwrap_or(found);
            found.pop();
        } else {
            found.push(part);
        }
    }
    found
}
