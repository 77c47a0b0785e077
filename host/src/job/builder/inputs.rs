//! Which files and variables went into a build, gathered from what cargo and rustc leave behind.
//!
//! - Sources: cargo's dep-info beside the component lists those of the crate and of all its path dependencies, with what macros included.
//! - Manifests: the Cargo.toml of each local package and of every folder above it (a workspace may be there, or come to be), Cargo.lock, and a build.rs that
//!   may come to be.
//! - Configuration: `.cargo/config.toml` and `rust-toolchain.toml` of the crate's folder and every folder above it, cargo's and rustup's own settings.
//! - The toolchain: the folder of its standard library, which an update replaces.
//! - Variables: those that rustc's dep-info (`env!`) and the build scripts' output (`rerun-if-env-changed`) name.
//!
//! Packages from registries and git never change under a given Cargo.lock, so only local ones are looked at.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cargo::{BuildScript, Compiled, Package};
use super::environment::Environment;
use super::stamp::{FileState, Input};

/// Where to look.
pub(super) struct Places<'a> {
    /// The crate's folder, canonical.
    pub(super) crate_dir: &'a Path,
    /// Its package.
    pub(super) package: &'a Package,
    /// Folder of the standard library for the target of plugins.
    pub(super) target_libdir: &'a Path,
    /// The variables.
    pub(super) environment: &'a Environment,
}

/// What a component was made from.
pub(super) struct Inputs {
    /// Files, also such as don't exist but would matter.
    pub(super) files: Vec<Input>,
    /// Names of variables that were read, sorted.
    pub(super) variables: Vec<String>,
}

/// The inputs of a build that began at `began_ns`; nothing, if one of them was changed since or can't be watched from outside.
pub(super) fn of_build(compiled: &Compiled, places: &Places<'_>, began_ns: i64) -> Option<Inputs> {
    let sources = sources(compiled, places)?;
    let variables = variables(compiled)?;

    let mut files = Vec::new();
    let settled = |path: &PathBuf| {
        let state = FileState::of_settled(path, began_ns).ok()??;
        Some(Input { path: path.clone(), state })
    };
    for path in &sources {
        // A source that is gone was removed during the build.
        files.push(settled(path).filter(|input| input.state.is_some())?);
    }
    for path in settings(compiled, places).difference(&sources) {
        files.push(settled(path)?);
    }
    // Cargo itself writes the lock file, in this very build if it has to.
    let path = places.package.workspace_root.join("Cargo.lock");
    let state = FileState::of(&path).ok()?;
    files.push(Input { path, state });
    Some(Inputs { files, variables })
}

/// The sources that cargo's dep-info names, without what build scripts generated. Nothing, where one of them can't be watched.
fn sources(compiled: &Compiled, places: &Places<'_>) -> Option<BTreeSet<PathBuf>> {
    let text = fs::read_to_string(compiled.component.with_extension("d")).ok()?;
    let generated = &places.package.guest_target_dir;
    let sources: BTreeSet<PathBuf> =
        parse_dep_info(&text).into_iter().filter(|path| !path.starts_with(generated)).collect();
    // Relative paths are relative to a folder that only cargo's configuration knows. A folder's own state says nothing of what lies deeper in it.
    let watchable = sources.iter().all(|path| path.is_absolute() && !path.is_dir());
    (watchable && !sources.is_empty()).then_some(sources)
}

/// Files that decide how a crate is built, most of which don't exist.
fn settings(compiled: &Compiled, places: &Places<'_>) -> BTreeSet<PathBuf> {
    let mut settings = BTreeSet::new();
    for package_dir in compiled.local_package_dirs() {
        settings.extend(package_dir.ancestors().map(|above| above.join("Cargo.toml")));
        settings.insert(package_dir.join("build.rs"));
    }
    const ABOVE_THE_CRATE: [&str; 4] = [".cargo/config", ".cargo/config.toml", "rust-toolchain", "rust-toolchain.toml"];
    for above in places.crate_dir.ancestors() {
        settings.extend(ABOVE_THE_CRATE.map(|name| above.join(name)));
    }
    if let Some(home) = places.environment.cargo_home() {
        settings.extend(["config", "config.toml"].map(|name| home.join(name)));
    }
    if let Some(home) = places.environment.rustup_home() {
        settings.insert(home.join("settings.toml"));
    }
    settings.insert(places.target_libdir.to_owned());
    settings
}

/// The names of the variables that were read. Nothing, where a local build script does not say what it depends on: cargo then runs it again whenever any file
/// of its package changes, and which files those are is not ours to know.
fn variables(compiled: &Compiled) -> Option<Vec<String>> {
    let mut names = BTreeSet::new();
    for path in &compiled.rustc_dep_infos {
        // Cargo may lay out its folders otherwise one day; then only `env!` of something else than cargo's own variables goes unnoticed.
        let text = fs::read_to_string(path).unwrap_or_default();
        names.extend(parse_env_deps(&text));
    }
    for script in &compiled.build_scripts {
        names.extend(variables_of_script(script)?);
    }
    Some(names.into_iter().collect())
}

fn variables_of_script(script: &BuildScript) -> Option<Vec<String>> {
    let output = match fs::read_to_string(&script.output) {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !script.local => String::new(),
        Err(_) => return None,
    };
    let directives = parse_rerun_directives(&output);
    let (mut names, mut watched_files) = (Vec::new(), 0);
    for directive in &directives {
        match directive {
            Rerun::Variable(name) => names.push((*name).to_owned()),
            Rerun::File(path) => {
                watched_files += 1;
                // What is below a folder decides too, and the dep-info lists only what was there.
                if script.local && script.package_dir.join(path).is_dir() {
                    return None;
                }
            }
        }
    }
    let silent = script.local && names.is_empty() && watched_files == 0;
    (!silent).then_some(names)
}

/// What a build script tells cargo to watch.
#[derive(Debug, PartialEq, Eq)]
enum Rerun<'a> {
    File(&'a str),
    Variable(&'a str),
}

fn parse_rerun_directives(output: &str) -> Vec<Rerun<'_>> {
    let parse = |line| {
        let line: &str = line;
        let directive = line.strip_prefix("cargo::").or_else(|| line.strip_prefix("cargo:"))?;
        match directive.split_once('=')? {
            ("rerun-if-changed", path) => Some(Rerun::File(path)),
            ("rerun-if-env-changed", name) => Some(Rerun::Variable(name)),
            _ => None,
        }
    };
    output.lines().filter_map(parse).collect()
}

/// The sources in cargo's dep-info: one line `ARTIFACT: SOURCE SOURCE…`, in which a blank in a path is written `\ `.
fn parse_dep_info(text: &str) -> Vec<PathBuf> {
    let Some((_, sources)) = text.lines().next().and_then(|line| line.split_once(": ")) else {
        return Vec::new();
    };
    let mut paths = vec![String::new()];
    for piece in sources.split(' ') {
        // `split` took the blank away: an escaped one leaves its backslash behind.
        let (piece, goes_on) = match piece.strip_suffix('\\') {
            Some(piece) => (piece, true),
            None => (piece, false),
        };
        if let Some(path) = paths.last_mut() {
            path.push_str(piece);
            if goes_on {
                path.push(' ');
            } else {
                paths.push(String::new());
            }
        }
    }
    paths.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

/// The variables that a crate read at compile time, from rustc's dep-info, without those that cargo sets itself.
fn parse_env_deps(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# env-dep:"))
        .map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name))
        .filter(|name| !name.starts_with("CARGO") && *name != "OUT_DIR")
        .map(ToOwned::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_lists_sources_and_keeps_blanks() {
        let paths = parse_dep_info("/t/a b:c.wasm: /p/src/lib.rs /my\\ files/x.wit /p/b.rs\n");
        assert_eq!(paths, ["/p/src/lib.rs", "/my files/x.wit", "/p/b.rs"].map(PathBuf::from));
        assert!(parse_dep_info("/t/a.wasm:\n").is_empty());
        assert!(parse_dep_info("").is_empty());
    }

    #[test]
    fn env_deps_leave_out_what_cargo_sets() {
        let text = "a.d: src/lib.rs\n\n# env-dep:GREETING=hello=you\n# env-dep:UNSET\n# env-dep:CARGO_PKG_NAME=x\n# env-dep:OUT_DIR=/o\n";
        assert_eq!(parse_env_deps(text), ["GREETING", "UNSET"]);
    }

    #[test]
    fn both_spellings_of_a_build_scripts_directives_are_read() {
        let output = "cargo:rerun-if-changed=a.c\ncargo::rerun-if-env-changed=CC\ncargo:rustc-cfg=x\nhello\n";
        assert_eq!(parse_rerun_directives(output), [Rerun::File("a.c"), Rerun::Variable("CC")]);
    }

    #[test]
    fn a_build_script_that_names_no_file_and_no_variable_can_not_be_watched() {
        let folder = tempfile::tempdir().unwrap();
        let check = |text: &str, local| {
            let script =
                BuildScript { local, package_dir: folder.path().to_owned(), output: folder.path().join("output") };
            fs::write(&script.output, text).unwrap();
            variables_of_script(&script)
        };
        assert_eq!(check("cargo:rustc-cfg=x\n", true), None);
        assert_eq!(check("cargo:rustc-cfg=x\n", false), Some(vec![]));
        assert_eq!(check("cargo:rerun-if-changed=a.c\n", true), Some(vec![]));
        assert_eq!(check("cargo:rerun-if-changed=.\n", true), None);
        assert_eq!(check("cargo:rerun-if-env-changed=CC\n", true), Some(vec!["CC".to_owned()]));
    }
}
