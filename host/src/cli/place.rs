//! Where a user's compiled code and stamps of builds are kept, and where running jobs are found.

use std::{env, fs, os::unix::fs::MetadataExt, path::PathBuf};

/// `$WASMILL_CACHE_DIR`, or `wasmill` in the user's cache folder (XDG Base Directory Specification); none without a home.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("WASMILL_CACHE_DIR").or_else(|| {
        let caches =
            set("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(|| Some(set("HOME")?.join(".cache")));
        Some(caches?.join("wasmill"))
    })
}

/// `$WASMILL_RUNTIME_DIR`, or `wasmill` in the user's runtime folder (XDG Base Directory Specification), or a folder of the user's among the temporary ones.
pub(super) fn runtime_folder() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = nix::unistd::geteuid();
    // Where a login made one, also for programs that were not told.
    let of_login = || {
        let folder = PathBuf::from(format!("/run/user/{user}"));
        fs::metadata(&folder).is_ok_and(|metadata| metadata.uid() == user.as_raw()).then_some(folder)
    };
    set("WASMILL_RUNTIME_DIR").unwrap_or_else(|| {
        let run = set("XDG_RUNTIME_DIR").filter(|path| path.is_absolute()).or_else(of_login);
        run.map_or_else(|| env::temp_dir().join(format!("wasmill-{user}")), |folder| folder.join("wasmill"))
    })
}
