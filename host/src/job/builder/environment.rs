//! The environment that cargo gets, and the part of it that can change a component.
//!
//! An outer `cargo run` or `cargo test` describes itself to us by variables that would describe the wrong crate to the inner cargo, or make it rebuild
//! everything each time the way of starting changes. So of cargo's and rustc's variables only those pass that a person sets: what says where things are and how
//! to reach registries. Everything that is not about Rust passes.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Variables that pass although they begin like the ones that don't. Cargo itself sets none of them.
const KEPT: &[&str] = &["CARGO_HOME", "CARGO_TARGET_DIR"];
const KEPT_PREFIXES: &[&str] = &[
    "CARGO_BUILD_",
    "CARGO_CACHE_",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TARGET_WASM32_WASIP2_",
    "CARGO_TERM_",
];
/// What an outer cargo, clippy, make or rustup sets for its children.
const DROPPED_PREFIXES: &[&str] = &["CARGO", "RUSTC", "RUSTDOC", "__CARGO", "DEP_"];
const DROPPED: &[&str] = &["CLIPPY_ARGS", "MAKEFLAGS", "MFLAGS", "OUT_DIR", "RUST_RECURSION_COUNT"];
/// Lists of folders to which cargo adds its own.
const LIBRARY_PATHS: &[&str] = &["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"];

/// Variables that name a folder and may be relative.
const TARGET_FOLDERS: &[&str] = &["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];

/// Variables that choose the tools, the place or the flags of a build.
const MATTERING: &[&str] = &["CARGO_HOME", "CARGO_TARGET_DIR", "RUSTFLAGS", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
const MATTERING_PREFIXES: &[&str] = &["CARGO_BUILD_", "CARGO_TARGET_WASM32_WASIP2_"];

/// The variables of a process.
#[derive(Clone)]
pub(super) struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

/// Says nothing of the variables, for there are secrets among them.
impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Environment").finish_non_exhaustive()
    }
}

impl Environment {
    /// Those of this process, now.
    pub(super) fn of_process() -> Self {
        // The toolchain runs in another folder: what is relative to this one would not hold there.
        let absolute = |(name, value): (OsString, OsString)| {
            if !TARGET_FOLDERS.iter().any(|folder| name == *folder) {
                return (name, value);
            }
            let value = std::path::absolute(&value).map_or(value, PathBuf::into_os_string);
            (name, value)
        };
        Self::of(std::env::vars_os().map(absolute))
    }

    /// These variables.
    pub(super) fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self { variables: variables.into_iter().collect() }
    }

    /// Sets a variable, or takes it away.
    #[cfg(test)]
    pub(super) fn set(&mut self, name: &str, value: Option<OsString>) {
        match value {
            Some(value) => self.variables.insert(name.into(), value),
            None => self.variables.remove(OsStr::new(name)),
        };
    }

    /// What the programs of the toolchain get to see.
    pub(super) fn for_toolchain(&self) -> impl Iterator<Item = (&OsStr, OsString)> {
        self.variables.iter().filter_map(|(name, value)| {
            let text = name.to_string_lossy();
            if LIBRARY_PATHS.contains(&&*text) {
                return without_folders_of_cargo(value).map(|value| (name.as_os_str(), value));
            }
            passes(&text).then(|| (name.as_os_str(), value.clone()))
        })
    }

    /// A digest of the variables that can change a component: those that choose tools and flags, and `named`, which the crates or their build scripts read.
    pub(super) fn digest(&self, named: &[String]) -> String {
        let mattering = self.variables.iter().filter(|(name, _)| {
            let name = name.to_string_lossy();
            passes(&name) && matters(&name) && !named.iter().any(|other| *other == name)
        });
        let named =
            named.iter().filter(|name| passes(name)).filter_map(|name| self.variables.get_key_value(OsStr::new(name)));
        let mut hash = Sha256::new();
        for (name, value) in mattering.chain(named) {
            for part in [name, value] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part.as_encoded_bytes());
            }
        }
        super::hexadecimal(&hash.finalize())
    }

    /// The cargo that runs us, if one does and its file exists: a way to a cargo that is not on PATH.
    pub(super) fn outer_cargo(&self) -> Option<&Path> {
        let cargo = Path::new(self.variables.get(OsStr::new("CARGO"))?);
        cargo.is_file().then_some(cargo)
    }

    /// Cargo's home, where a configuration may lie.
    pub(super) fn cargo_home(&self) -> Option<PathBuf> {
        self.folder("CARGO_HOME", ".cargo")
    }

    /// Rustup's home, where its settings lie.
    pub(super) fn rustup_home(&self) -> Option<PathBuf> {
        self.folder("RUSTUP_HOME", ".rustup")
    }

    fn folder(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        let get = |name: &str| self.variables.get(OsStr::new(name)).map(PathBuf::from);
        get(name).or_else(|| Some(get("HOME")?.join(below_home)))
    }
}

fn passes(name: &str) -> bool {
    let kept = KEPT.contains(&name) || begins_with_one_of(name, KEPT_PREFIXES);
    let dropped = DROPPED.contains(&name) || begins_with_one_of(name, DROPPED_PREFIXES);
    kept || !dropped
}

fn matters(name: &str) -> bool {
    // The number of jobs is a matter of speed.
    let listed = MATTERING.contains(&name) || begins_with_one_of(name, MATTERING_PREFIXES);
    listed && name != "CARGO_BUILD_JOBS"
}

fn begins_with_one_of(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// The list without folders of a target directory (cargo marks those with a CACHEDIR.TAG) or of a toolchain; nothing, if no folder is left.
fn without_folders_of_cargo(list: &OsStr) -> Option<OsString> {
    let of_target = |folder: &Path| folder.ancestors().any(|above| above.join("CACHEDIR.TAG").is_file());
    let of_toolchain = |folder: &Path| folder.join("rustlib").is_dir() || folder.iter().any(|name| name == "rustlib");
    let left: Vec<PathBuf> =
        std::env::split_paths(list).filter(|folder| !of_target(folder) && !of_toolchain(folder)).collect();
    let joined = std::env::join_paths(&left).ok()?;
    (!left.is_empty()).then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
        Environment::of(variables.iter().map(owned))
    }

    #[test]
    fn what_an_outer_cargo_sets_does_not_reach_the_inner_one() {
        let all = [
            "CARGO",
            "CARGO_BIN_EXE_wasmill",
            "CARGO_BUILD_JOBS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_HOME",
            "CARGO_HTTP_PROXY",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_REGISTRIES_MINE_INDEX",
            "HTTPS_PROXY",
            "OUT_DIR",
            "PATH",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "RUST_RECURSION_COUNT",
        ];
        let environment = environment(&all.map(|name| (name, "x")));
        let passed: Vec<&str> = environment.for_toolchain().filter_map(|(name, _)| name.to_str()).collect();
        assert_eq!(
            passed,
            [
                "CARGO_BUILD_JOBS",
                "CARGO_HOME",
                "CARGO_HTTP_PROXY",
                "CARGO_REGISTRIES_MINE_INDEX",
                "HTTPS_PROXY",
                "PATH",
                "RUSTFLAGS",
                "RUSTUP_TOOLCHAIN"
            ]
        );
    }

    #[test]
    fn the_digest_sees_flags_and_named_variables_and_nothing_else() {
        let base = environment(&[("RUSTFLAGS", "-C a"), ("PATH", "/bin")]).digest(&[]);
        let digest = |variables: &[(&str, &str)], named: &[&str]| {
            let named: Vec<String> = named.iter().map(ToString::to_string).collect();
            environment(variables).digest(&named)
        };
        assert_eq!(digest(&[("RUSTFLAGS", "-C a"), ("CARGO_PKG_NAME", "x")], &[]), base);
        assert_ne!(digest(&[("RUSTFLAGS", "-C b")], &[]), base);
        assert_ne!(digest(&[], &[]), base);
        let with = |value| digest(&[("RUSTFLAGS", "-C a"), ("GREETING", value)], &["GREETING"]);
        assert_ne!(with("hello"), with("bye"));
        assert_eq!(digest(&[("RUSTFLAGS", "-C a")], &["GREETING"]), base);
    }

    #[test]
    fn library_folders_of_an_outer_cargo_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        let mine = folder.path().join("mine");
        std::fs::create_dir_all(target.join("debug/deps")).unwrap();
        std::fs::write(target.join("CACHEDIR.TAG"), "").unwrap();
        let theirs = [target.join("debug/deps"), PathBuf::from("/t/lib/rustlib/x/lib")];
        let list = std::env::join_paths(theirs.iter().chain([&mine])).unwrap();
        assert_eq!(without_folders_of_cargo(&list).as_deref(), Some(mine.as_os_str()));
        let list = std::env::join_paths(&theirs).unwrap();
        assert_eq!(without_folders_of_cargo(&list), None);
    }
}
