//! The runtime folder: one lock and one file for each job that runs, readable by its user alone.
//!
//! ```text
//! <folder>/             0700, owned by the user, no link
//!   JOB.lock            locked (flock) as long as the process lives; holds its number
//!   JOB.json            0600, put in place whole: an `Entry`
//! ```
//!
//! The lock decides whether a job runs; what else lies there is hearsay. A process that was killed leaves both files, unlocked: such an entry counts for nothing, and the next run replaces it. Nobody else's
//! file is touched.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::fcntl::OFlag;

use super::{ControlError, Entry};

/// How often a lock that is held is tried again, since one who looks whether a job runs holds it for a moment.
const LOCK_TRIES: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// An entry is smaller than this.
const ENTRY_BYTES_MAX: u64 = 64 << 10;

/// The folder in which jobs that run are found.
#[derive(Clone, Debug)]
pub struct RuntimeFolder(PathBuf);

impl RuntimeFolder {
    /// The folder at `path`, made if it is not there.
    ///
    /// # Errors
    /// When it can't be made, or others could write to it.
    pub fn make(path: &Path) -> Result<Self, ControlError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(ControlError::io(path))?;
        Self::existing(path).map(|folder| folder.unwrap_or_else(|| Self(path.to_owned())))
    }

    /// The folder at `path`, if there is one.
    ///
    /// # Errors
    /// When others could write to it.
    pub fn existing(path: &Path) -> Result<Option<Self>, ControlError> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ControlError::io(path)(error)),
        };
        let problem = if !metadata.is_dir() {
            "is a link, or no folder"
        } else if metadata.uid() != nix::unistd::geteuid().as_raw() {
            "belongs to another user"
        } else if metadata.mode() & 0o022 != 0 {
            "can be written to by others"
        } else {
            return Ok(Some(Self(path.to_owned())));
        };
        Err(ControlError::Unsafe { path: path.to_owned(), problem })
    }

    /// Takes a job's name for this process.
    ///
    /// # Errors
    /// [`ControlError::Running`] when another process has it.
    pub fn claim(&self, job: &str) -> Result<Claim, ControlError> {
        let path = self.lock_of(job);
        let mut tries = 0;
        loop {
            let lock = open_lock(&path).map_err(ControlError::io(&path))?;
            match lock.try_lock() {
                Ok(()) if is_at(&lock, &path) => {
                    return Claim::new(self.clone(), job, lock).map_err(ControlError::io(&path));
                }
                Ok(()) | Err(TryLockError::WouldBlock) if tries == LOCK_TRIES => {
                    return Err(ControlError::Running { job: job.to_owned(), pid: pid_in(&lock) });
                }
                // Whoever had it before may have removed the file between our opening and locking it.
                Ok(()) | Err(TryLockError::WouldBlock) => {
                    tries += 1;
                    thread::sleep(LOCK_WAIT);
                }
                Err(TryLockError::Error(error)) => return Err(ControlError::io(&path)(error)),
            }
        }
    }

    /// The jobs that run, by name.
    pub fn jobs(&self) -> Vec<Entry> {
        let names = fs::read_dir(&self.0).into_iter().flatten().flatten().filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            Some(name.strip_suffix(".json")?.to_owned())
        });
        let mut jobs: Vec<_> = names.filter_map(|name| self.find(&name)).collect();
        jobs.sort_by(|a, b| a.job.cmp(&b.job));
        jobs
    }

    /// A job that runs.
    pub fn find(&self, job: &str) -> Option<Entry> {
        if !is_name(job) || !self.runs(job) {
            return None;
        }
        let mut text = Vec::new();
        File::open(self.entry_of(job)).ok()?.take(ENTRY_BYTES_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok().filter(|entry: &Entry| entry.job == job)
    }

    fn runs(&self, job: &str) -> bool {
        let Ok(lock) = File::open(self.lock_of(job)) else { return false };
        let held = matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock));
        if !held {
            let _ = lock.unlock();
        }
        held
    }

    fn lock_of(&self, job: &str) -> PathBuf {
        self.0.join(format!("{job}.lock"))
    }

    fn entry_of(&self, job: &str) -> PathBuf {
        self.0.join(format!("{job}.json"))
    }
}

/// Whether it can be a job's name, and so is safe in a path.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

/// Whether the file is still the one of that name.
fn is_at(file: &File, path: &Path) -> bool {
    let at = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), fs::symlink_metadata(path)), (Ok(a), Ok(b)) if at(&a) == at(&b))
}

fn pid_in(lock: &File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// A job's name, for as long as it is held.
#[derive(Debug)]
pub struct Claim {
    folder: RuntimeFolder,
    job: String,
    lock: File,
}

impl Claim {
    fn new(folder: RuntimeFolder, job: &str, mut lock: File) -> io::Result<Self> {
        lock.set_len(0)?;
        lock.write_all(std::process::id().to_string().as_bytes())?;
        // What a process that was killed has left would be taken for ours.
        match fs::remove_file(folder.entry_of(job)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { folder, job: job.to_owned(), lock })
    }

    /// The job's name.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// Lets others find the job. Gives the file.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn publish(&self, entry: &Entry) -> Result<PathBuf, ControlError> {
        let path = self.folder.entry_of(&self.job);
        let new = self.folder.0.join(format!(".{}.new", self.job));
        let write = || {
            let text = serde_json::to_string_pretty(entry)?;
            // Left by a process that was killed while it wrote.
            let _ = fs::remove_file(&new);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&new, &path)
        };
        write().map(|()| path.clone()).map_err(ControlError::io(&path))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.entry_of(&self.job));
        let _ = fs::remove_file(self.folder.lock_of(&self.job));
        // Closing the file alone would leave it locked while a process that is just being started still has a copy.
        let _ = self.lock.unlock();
    }
}
