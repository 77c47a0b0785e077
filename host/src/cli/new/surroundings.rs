//! What a new crate finds where it is made: the SDK, a workspace, a toolchain.
//!
//! The SDK is not published. A binary that was built from a checkout knows where that lay, and where it still is there, the crate depends on the SDK in it: by a
//! relative path within the checkout, so that it can be moved as a whole, else by an absolute one.
//!
//! Cargo takes a crate for a part of the workspace around it, and fails where the workspace does not know it. So the crate is a workspace of its own, unless it
//! lies where the members of the one around it are: there it is one of them.

#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use glob::{MatchOptions, Pattern};
use toml::{Table, Value};

/// The SDK's package and its folder in the source tree.
const SDK: &str = "wasmill-sdk";
const SDK_FOLDER: &str = "guest-sdk";

/// The source tree that this binary was built from, if it is still there.
pub(super) fn source_tree() -> Option<PathBuf> {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let manifest = manifest(&tree.join(SDK_FOLDER))?;
    let name = manifest.get("package")?.get("name")?.as_str()?;
    (name == SDK).then(|| fs::canonicalize(tree).ok())?
}

/// What Cargo.toml says of the SDK: a value behind `wasmill-sdk =`. `folder` is the crate's, absolute and without links.
pub(super) fn sdk(folder: &Path, source_tree: Option<&Path>) -> String {
    let path = source_tree.and_then(|tree| {
        let relative = folder.strip_prefix(tree).ok();
        let path = match relative {
            Some(inner) => inner.components().map(|_| Component::ParentDir).collect::<PathBuf>().join(SDK_FOLDER),
            None => tree.join(SDK_FOLDER),
        };
        path.into_os_string().into_string().ok()
    });
    match path {
        // A JSON string is a TOML string too.
        Some(path) => format!("{{ path = {} }}", serde_json::Value::String(path)),
        None => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
    }
}

/// Whether the crate in `folder` would be a member of a workspace around it.
pub(super) fn is_member(folder: &Path) -> bool {
    let around = folder.ancestors().skip(1);
    let mut workspaces = around.filter_map(|root| Some((root, manifest(root)?.get("workspace")?.as_table()?.clone())));
    workspaces.next().is_some_and(|(root, workspace)| has_member(root, &workspace, folder))
}

/// As cargo decides: a name of a member is stronger than `exclude`, and `exclude` than a glob.
fn has_member(root: &Path, workspace: &Table, folder: &Path) -> bool {
    let Ok(inner) = folder.strip_prefix(root) else { return false };
    let listed = |key: &str| -> Vec<String> {
        let list = workspace.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(|path| path.trim_end_matches('/').to_owned()).collect()
    };
    let members = listed("members");
    if members.iter().any(|member| Path::new(member) == inner) {
        return true;
    }
    let excluded = listed("exclude").iter().any(|path| inner.starts_with(path));
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let matches = |glob: &String| Pattern::new(glob).is_ok_and(|glob| glob.matches_path_with(inner, options));
    !excluded && members.iter().any(matches)
}

/// Whether a toolchain is chosen for all below some folder around.
pub(super) fn has_toolchain(folder: &Path) -> bool {
    let names = ["rust-toolchain.toml", "rust-toolchain"];
    folder.ancestors().skip(1).any(|around| names.iter().any(|name| around.join(name).is_file()))
}

/// The text of `rust-toolchain.toml`: the toolchain that the SDK and this version are made with.
pub(super) fn toolchain() -> String {
    let version = env!("CARGO_PKG_RUST_VERSION");
    format!("[toolchain]\nchannel = \"{version}.0\"\ntargets = [\"{}\"]\n", crate::job::builder::GUEST_TARGET)
}

/// The Cargo.toml of a folder, if it has one that can be read.
fn manifest(folder: &Path) -> Option<Table> {
    fs::read_to_string(folder.join("Cargo.toml")).ok()?.parse().ok()
}
