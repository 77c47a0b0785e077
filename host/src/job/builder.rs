//! Builds a plugin crate to a component, and remembers that it did.
//!
//! Two paths:
//! - **Nothing changed**: a stamp in the cache folder says which files and variables the component was made from. Where all of them are as they were, the
//!   component is handed back after some dozens of `stat` calls; no process is started.
//! - **Anything else**: cargo decides. It gets a target folder of its own (`<target dir>/wasmill-guests`), a profile of its own that is passed on its
//!   command line, and an environment without what an outer cargo put there, so that a plugin is built alike under `wasmill run`, `cargo run` and `cargo test`
//!   and never waits for the lock of an outer cargo.
//!
//! The invariant: a stamp is only written where every file in it was last changed *before* cargo began. Whatever is edited during a build, or can't be watched
//! from outside (a folder given to `rerun-if-changed`, a build script that says nothing of the kind), leaves no stamp, and the next call asks cargo again.
//!
//! Builds of one crate exclude each other by a lock file in the cache folder, across threads and processes. Nothing keeps a *later* build from replacing the
//! component: who reads it compares what was read with [`Built::digest`].
//!
//! Absent on purpose: whether the component fits the WIT is the business of `wasm`, and what is done with it that of the job.

mod cargo;
mod environment;
mod inputs;
mod stamp;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use cargo::Cargo;
use environment::Environment;
use stamp::{FileState, Stamp};

/// The Rust target of plugins.
pub const GUEST_TARGET: &str = "wasm32-wasip2";

/// Builds plugin crates, and knows from stamps in a cache folder which of them need no building.
#[derive(Debug)]
pub struct Builder {
    cache: PathBuf,
    environment: Environment,
}

/// A component that [`Builder::build`] made or found unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The component, in cargo's target folder. A later build replaces it.
    pub component: PathBuf,
    /// SHA-256 of the component, in lower-case hexadecimal digits.
    pub digest: String,
    /// Size of the component in bytes.
    pub bytes: u64,
    /// Whether cargo ran. It may have found nothing to do.
    pub fresh: bool,
}

/// Why a plugin crate gave no component, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder can't be opened.
    #[error("cannot open the plugin crate {}: {source}", .path.display())]
    NoFolder {
        /// The folder as it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder holds no Cargo.toml.
    #[error("{} is not a crate: it has no Cargo.toml; give the folder of a plugin crate", .path.display())]
    NotACrate {
        /// The folder.
        path: PathBuf,
    },
    /// The Cargo.toml is that of a workspace without a package.
    #[error("{} has no [package]: give the folder of one crate of the workspace", .manifest.display())]
    NoPackage {
        /// The Cargo.toml.
        manifest: PathBuf,
    },
    /// The package has no library that can become a component.
    #[error(
        "the package `{package}` builds no component, since its library lacks the crate type cdylib; add to {}:\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n",
        .manifest.display()
    )]
    NotACdylib {
        /// The package's name.
        package: String,
        /// Its Cargo.toml.
        manifest: PathBuf,
    },
    /// A program of the Rust toolchain is not there.
    #[error(
        "`{program}` was not found on PATH, and building a plugin from its crate needs it; install Rust from https://rustup.rs, or give the plugin as a .wasm file"
    )]
    NoProgram {
        /// `cargo` or `rustc`.
        program: &'static str,
    },
    /// The toolchain lacks the target of plugins, and it could not be added.
    #[error(
        "the Rust toolchain for {} lacks the target {GUEST_TARGET}, and it could not be added: {reason}\nRun, in that folder: rustup target add {GUEST_TARGET}\n\
         (For a toolchain that rustup does not manage, install its standard library for {GUEST_TARGET} so that {} exists.)",
        .crate_dir.display(), .libdir.display()
    )]
    NoTarget {
        /// The crate's folder, which decides on the toolchain.
        crate_dir: PathBuf,
        /// Where the target's standard library would lie.
        libdir: PathBuf,
        /// Why rustup did not add it.
        reason: String,
    },
    /// A program of the toolchain failed before anything was compiled.
    #[error("`{command}` failed for {}: {message}", .crate_dir.display())]
    Toolchain {
        /// The command.
        command: String,
        /// The folder that it ran in.
        crate_dir: PathBuf,
        /// What it wrote to stderr.
        message: String,
    },
    /// The crate does not compile.
    #[error("the plugin crate {} does not compile ({status}): see cargo's messages above", .crate_dir.display())]
    Compile {
        /// The crate's folder.
        crate_dir: PathBuf,
        /// How cargo ended.
        status: std::process::ExitStatus,
    },
    /// Cargo said something that this version does not understand.
    #[error("cargo's answer for {} was not understood ({what}); is this cargo newer than wasmill?", .crate_dir.display())]
    Unexpected {
        /// The crate's folder.
        crate_dir: PathBuf,
        /// What was missing or malformed.
        what: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Builder {
    /// A builder that keeps its stamps and locks in `cache`, a folder that is made when it is needed.
    pub fn new(cache: PathBuf) -> Self {
        Self { cache, environment: Environment::of_process() }
    }

    /// The component of the crate in `crate_dir`, built where it has to be. `say` gets lines for a person who waits; cargo's own messages go to stderr.
    ///
    /// # Errors
    ///
    /// [`BuildError`]: the folder is no plugin crate, the toolchain is incomplete, the crate does not compile, or a file can't be read or written.
    pub fn build(&self, crate_dir: &Path, say: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
        let crate_dir = fs::canonicalize(crate_dir)
            .map_err(|source| BuildError::NoFolder { path: crate_dir.to_owned(), source })?;
        let memory = Memory::of(&self.cache, &crate_dir);
        if let Some(built) = memory.recall(&self.environment) {
            return Ok(built);
        }
        if !crate_dir.join("Cargo.toml").is_file() {
            return Err(BuildError::NotACrate { path: crate_dir });
        }
        fs::create_dir_all(&self.cache).map_err(|source| io_error("create", &self.cache, source))?;
        let lock = BuildLock::take(&memory.lock, &crate_dir, say)?;
        // Another process may have built it while this one waited.
        if let Some(built) = memory.recall(&self.environment) {
            return Ok(built);
        }
        self.run_cargo(&crate_dir, &memory, &lock, say)
    }

    fn run_cargo(
        &self,
        crate_dir: &Path,
        memory: &Memory,
        lock: &BuildLock,
        say: &mut dyn FnMut(&str),
    ) -> Result<Built, BuildError> {
        let cargo = Cargo::new(&self.environment, crate_dir);
        let package = cargo.package()?;
        let target_libdir = cargo.ensure_target(say)?;
        say(&format!("building {}", shown(crate_dir)));
        let began_ns = lock.now_ns()?;
        let compiled = cargo.compile(&package)?;

        let component = compiled.component.clone();
        let unreadable = |source| io_error("read", &component, source);
        let state =
            FileState::of(&component).map_err(unreadable)?.ok_or_else(|| unreadable(io::ErrorKind::NotFound.into()))?;
        let bytes = fs::read(&component).map_err(unreadable)?;
        let built = Built {
            component: component.clone(),
            digest: hexadecimal(&Sha256::digest(&bytes)),
            bytes: bytes.len() as u64,
            fresh: true,
        };

        let places = inputs::Places {
            crate_dir,
            package: &package,
            target_libdir: &target_libdir,
            environment: &self.environment,
        };
        if let Some(inputs) = inputs::of_build(&compiled, &places, began_ns) {
            let environment = self.environment.digest(&inputs.variables);
            let digest = built.digest.clone();
            memory.remember(&Stamp::new(component, state, digest, environment, inputs.variables, inputs.files))?;
        }
        Ok(built)
    }
}

/// Where the cache folder keeps what it knows about one crate.
struct Memory {
    stamp: PathBuf,
    lock: PathBuf,
}

impl Memory {
    fn of(cache: &Path, crate_dir: &Path) -> Self {
        let name = crate_dir.file_name().unwrap_or_default().to_string_lossy();
        let digest = hexadecimal(&Sha256::digest(crate_dir.as_os_str().as_encoded_bytes()));
        // The folder's name is for the reader; the digest of the whole path makes it unique.
        let stem = format!("{name}-{}", &digest[..16]);
        Self { stamp: cache.join(format!("{stem}.json")), lock: cache.join(format!("{stem}.lock")) }
    }

    /// The component, if it and all that it was made from are as the stamp says. A stamp that can't be read is none.
    fn recall(&self, environment: &Environment) -> Option<Built> {
        let stamp = Stamp::parse(&fs::read(&self.stamp).ok()?)?;
        let same_environment = environment.digest(&stamp.variables) == stamp.environment;
        let unchanged = same_environment && stamp.component_unchanged() && stamp.inputs_unchanged();
        unchanged.then(|| Built {
            bytes: stamp.component.size(),
            component: stamp.component.path,
            digest: stamp.digest,
            fresh: false,
        })
    }

    /// Replaces the stamp at once, so that a reader sees the old one or the new one.
    fn remember(&self, stamp: &Stamp) -> Result<(), BuildError> {
        let unfinished = self.stamp.with_extension(format!("{}.tmp", std::process::id()));
        let written = fs::write(&unfinished, stamp.to_json()).and_then(|()| fs::rename(&unfinished, &self.stamp));
        written.map_err(|source| io_error("write", &self.stamp, source))
    }
}

/// Keeps other builds of the same crate out until it is dropped.
struct BuildLock {
    file: File,
    path: PathBuf,
}

impl BuildLock {
    fn take(path: &Path, crate_dir: &Path, say: &mut dyn FnMut(&str)) -> Result<Self, BuildError> {
        let failed = |source| io_error("lock", path, source);
        let file = File::create(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say(&format!("waiting for another build of {}", shown(crate_dir)));
                file.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// The present by the clock that stamps files, in nanoseconds since 1970. (It is coarser than the system's clock, and may lag it by some milliseconds.)
    fn now_ns(&self) -> Result<i64, BuildError> {
        let touched = (&self.file).write_all(b"\n").and_then(|()| FileState::of(&self.path));
        let state = touched.map_err(|source| io_error("write", &self.path, source))?;
        Ok(state.map_or(0, |state| state.modified_ns))
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> BuildError {
    BuildError::Io { action, path: path.to_owned(), source }
}

/// A path as a person would write it here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let short = path.strip_prefix(&here).ok().filter(|short| !short.as_os_str().is_empty());
    short.unwrap_or(path).display().to_string()
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
