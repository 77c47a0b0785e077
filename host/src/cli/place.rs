//! Where a user's compiled code and stamps of builds are kept.

use std::{env, path::PathBuf};

/// `$WASMILL_CACHE_DIR`, or `wasmill` in the user's cache folder (XDG Base Directory Specification); none without a home.
pub(super) fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("WASMILL_CACHE_DIR").or_else(|| {
        let caches =
            set("XDG_CACHE_HOME").filter(|path| path.is_absolute()).or_else(|| Some(set("HOME")?.join(".cache")));
        Some(caches?.join("wasmill"))
    })
}
