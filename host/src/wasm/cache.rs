//! Compiled code on disk, by the component's digest and the engine's settings.
//!
//! Invariant: a file appears under its name only when it is complete. Whoever can write to the folder can run code as this user, so it is readable and writable by its owner
//! alone, and a folder that others may write to is not used.

use std::{
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

use wasmtime::component::Component;

pub(super) struct CompileCache {
    folder: Option<PathBuf>,
    engine_key: u64,
}

impl CompileCache {
    pub(super) fn new(folder: Option<PathBuf>, engine: &wasmtime::Engine) -> Self {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { folder: folder.filter(|folder| make_private(folder)), engine_key: hasher.finish() }
    }

    /// The compiled code of a component, compiling it only when it is not there yet.
    pub(super) fn load(
        &self,
        engine: &wasmtime::Engine,
        digest: &str,
        component: &[u8],
    ) -> wasmtime::Result<Component> {
        let Some(folder) = &self.folder else { return Component::new(engine, component) };
        let path = folder.join(format!("{digest}-{:016x}.cwasm", self.engine_key));
        if path.exists() {
            // SAFETY: the folder is writable by this user alone, files appear in it complete, and their names hold the digest of the component and the engine's settings.
            // wasmtime checks version and settings again.
            match unsafe { Component::deserialize_file(engine, &path) } {
                Ok(component) => return Ok(component),
                Err(error) => {
                    tracing::debug!("compiled code {} is not usable and is made anew: {error:#}", path.display());
                    let _ = fs::remove_file(&path);
                }
            }
        }
        let compiled = Component::new(engine, component)?;
        // The cache is a convenience: what can't be kept is compiled again next time.
        if let Err(error) = compiled
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|code| keep(&path, &code).map_err(|error| error.to_string()))
        {
            tracing::debug!("compiled code can't be kept in {}: {error}", path.display());
        }
        Ok(compiled)
    }
}

fn keep(path: &Path, code: &[u8]) -> std::io::Result<()> {
    let hidden = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&hidden, code)?;
    fs::rename(&hidden, path).inspect_err(|_| {
        let _ = fs::remove_file(&hidden);
    })
}

/// Whether the folder is there and nobody else can write to it.
fn make_private(folder: &Path) -> bool {
    if let Err(error) = fs::create_dir_all(folder) {
        tracing::debug!("no compiled code is kept: {}: {error}", folder.display());
        return false;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
        let Ok(metadata) = fs::metadata(folder) else { return false };
        if metadata.mode() & 0o022 != 0 || metadata.uid() != nix::unistd::geteuid().as_raw() {
            tracing::warn!("{} may be written to by others: no compiled code is kept there", folder.display());
            return false;
        }
    }
    true
}
