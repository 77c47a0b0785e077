//! Runs cargo, rustc and rustup for one crate, and reads what they say.
//!
//! All of them run in the crate's folder, so that its `rust-toolchain.toml` and `.cargo/config.toml` hold. The component is built by
//! `cargo rustc --crate-type cdylib` and not by `cargo build`: plugins are `["cdylib", "rlib"]` for the sake of their native tests, and where a library has
//! both types cargo silently leaves out link-time optimisation.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use super::environment::Environment;
use super::{BuildError, GUEST_TARGET};

/// Name of the profile and its settings; host/docs/decisions/0006-building-plugins.md says what each brings. Panics abort: there is nothing to unwind to. Names of functions stay (`strip`), so
/// that a trap's backtrace can be read; other debug information would be stripped, so none is made.
const PROFILE: &str = "wasmill-guest";
const PROFILE_SETTINGS: [&str; 7] = [
    "inherits=\"release\"",
    "opt-level=3",
    "lto=true",
    "codegen-units=1",
    "panic=\"abort\"",
    "debug=false",
    "strip=\"debuginfo\"",
];

/// The folder below the crate's target folder in which plugins are built.
const TARGET_SUBFOLDER: &str = "wasmill-guests";

/// The toolchain, as it acts in one crate's folder.
pub(super) struct Cargo<'a> {
    environment: &'a Environment,
    crate_dir: &'a Path,
}

/// The package of a plugin crate.
#[derive(Debug)]
pub(super) struct Package {
    id: String,
    manifest: PathBuf,
    /// The folder whose Cargo.lock holds.
    pub(super) workspace_root: PathBuf,
    /// The target folder for plugins.
    pub(super) guest_target_dir: PathBuf,
}

/// What a build made and read.
#[derive(Debug)]
pub(super) struct Compiled {
    /// The component.
    pub(super) component: PathBuf,
    /// Where rustc may have left dep-info on local crates.
    pub(super) rustc_dep_infos: Vec<PathBuf>,
    /// The build scripts that cargo ran, now or earlier.
    pub(super) build_scripts: Vec<BuildScript>,
    local_manifests: BTreeSet<PathBuf>,
}

/// A build script that ran for this component.
#[derive(Debug)]
pub(super) struct BuildScript {
    /// Whether its package is a folder of this machine, and may change.
    pub(super) local: bool,
    /// Folder of its package; empty if that is not local.
    pub(super) package_dir: PathBuf,
    /// The file with what it wrote to stdout.
    pub(super) output: PathBuf,
}

impl<'a> Cargo<'a> {
    /// The toolchain for the crate in `crate_dir`, a canonical path.
    pub(super) fn new(environment: &'a Environment, crate_dir: &'a Path) -> Self {
        Self { environment, crate_dir }
    }

    /// The crate's package, if it can become a component.
    pub(super) fn package(&self) -> Result<Package, BuildError> {
        let manifest = self.crate_dir.join("Cargo.toml");
        let output = self.run("cargo", |command| {
            command.args(["metadata", "--no-deps", "--format-version", "1"]);
            command.arg("--manifest-path").arg(&manifest);
        })?;
        if !output.status.success() {
            return Err(self.toolchain_error("cargo metadata", &output));
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(|error| self.unexpected(&error))?;
        let is_ours = |package: &PackageMetadata| {
            package.manifest_path == manifest || package.manifest_path.canonicalize().is_ok_and(|path| path == manifest)
        };
        let Some(package) = metadata.packages.into_iter().find(is_ours) else {
            return Err(BuildError::NoPackage { manifest });
        };
        if !package.targets.iter().any(Target::is_cdylib) {
            return Err(BuildError::NotACdylib { package: package.name, manifest });
        }
        Ok(Package {
            id: package.id,
            manifest,
            workspace_root: metadata.workspace_root,
            guest_target_dir: metadata.target_directory.join(TARGET_SUBFOLDER),
        })
    }

    /// Makes sure that the toolchain can build for the target of plugins. Gives the folder of the target's standard library.
    pub(super) fn ensure_target(&self, say: &mut dyn FnMut(&str)) -> Result<PathBuf, BuildError> {
        let libdir = self.target_libdir()?;
        if libdir.is_dir() {
            return Ok(libdir);
        }
        say(&format!("installing the Rust target {GUEST_TARGET} (rustup target add {GUEST_TARGET})"));
        let failed = |reason: String| BuildError::NoTarget {
            crate_dir: self.crate_dir.to_owned(),
            libdir: libdir.clone(),
            reason,
        };
        let mut rustup = self.command("rustup");
        let output = match rustup.args(["target", "add", GUEST_TARGET]).output() {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(failed("rustup was not found on PATH".to_owned()));
            }
            Err(error) => return Err(failed(format!("rustup could not be started: {error}"))),
        };
        if !output.status.success() {
            return Err(failed(stderr_of(&output)));
        }
        if !libdir.is_dir() {
            return Err(failed(
                "rustup reported success for a toolchain other than the one whose rustc is on PATH".to_owned(),
            ));
        }
        Ok(libdir)
    }

    /// Builds the component. Cargo's messages go to stderr.
    pub(super) fn compile(&self, package: &Package) -> Result<Compiled, BuildError> {
        let output = self.run("cargo", |command| {
            command.args(["rustc", "--lib", "--crate-type", "cdylib"]);
            command.arg("--manifest-path").arg(&package.manifest);
            command.args(["--target", GUEST_TARGET]);
            command.arg("--target-dir").arg(&package.guest_target_dir);
            command.args(["--profile", PROFILE]);
            for setting in PROFILE_SETTINGS {
                command.args(["--config", &format!("profile.{PROFILE}.{setting}")]);
            }
            command.arg("--message-format=json-render-diagnostics");
            command.stderr(Stdio::inherit());
        })?;
        if !output.status.success() {
            return Err(BuildError::Compile { crate_dir: self.crate_dir.to_owned(), status: output.status });
        }
        // Build scripts and macros may write to stdout too: what is no message of cargo's is passed over.
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        Compiled::from_messages(messages, &package.id).ok_or_else(|| self.unexpected(&"no message names the component"))
    }

    fn target_libdir(&self) -> Result<PathBuf, BuildError> {
        let output = self.run("rustc", |command| {
            command.args(["--print", "target-libdir", "--target", GUEST_TARGET]);
        })?;
        if !output.status.success() {
            return Err(self.toolchain_error("rustc --print target-libdir", &output));
        }
        Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    }

    /// Runs a program of the toolchain: the one on PATH, which rustup may direct, or else the one beside the cargo that runs us.
    fn run(&self, program: &'static str, arguments: impl Fn(&mut Command)) -> Result<Output, BuildError> {
        let output = |program: PathBuf| {
            let mut command = self.command(program);
            arguments(&mut command);
            command.output()
        };
        let beside_outer = || {
            let cargo = self.environment.outer_cargo()?;
            Some(cargo.with_file_name(program))
        };
        let result = match (output(PathBuf::from(program)), beside_outer()) {
            (Err(error), Some(path)) if error.kind() == io::ErrorKind::NotFound => output(path),
            (result, _) => result,
        };
        result.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BuildError::NoProgram { program },
            _ => BuildError::Toolchain {
                command: program.to_owned(),
                crate_dir: self.crate_dir.to_owned(),
                message: error.to_string(),
            },
        })
    }

    fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.env_clear().envs(self.environment.for_toolchain()).current_dir(self.crate_dir).stdin(Stdio::null());
        command
    }

    fn toolchain_error(&self, command: &str, output: &Output) -> BuildError {
        BuildError::Toolchain {
            command: command.to_owned(),
            crate_dir: self.crate_dir.to_owned(),
            message: stderr_of(output),
        }
    }

    fn unexpected(&self, what: &dyn std::fmt::Display) -> BuildError {
        BuildError::Unexpected { crate_dir: self.crate_dir.to_owned(), what: what.to_string() }
    }
}

impl Compiled {
    /// The folders of all packages that went into the component and may change.
    pub(super) fn local_package_dirs(&self) -> impl Iterator<Item = &Path> {
        self.local_manifests.iter().filter_map(|path| path.parent())
    }

    /// What cargo's messages tell; nothing, if they name no component of that package.
    fn from_messages(messages: impl Iterator<Item = Message>, package: &str) -> Option<Self> {
        let mut component = None;
        let mut rustc_dep_infos = Vec::new();
        let mut scripts = Vec::new();
        let mut local_manifests = BTreeSet::new();
        let mut local_dirs = std::collections::BTreeMap::new();
        for message in messages {
            match message {
                Message::CompilerArtifact(artifact) if is_local(&artifact.package_id) => {
                    rustc_dep_infos.extend(artifact.filenames.iter().flat_map(|file| dep_infos_of(file)));
                    if artifact.package_id == package && artifact.target.is_cdylib() {
                        let mut files = artifact.filenames.into_iter();
                        component = files.find(|file| file.extension().is_some_and(|extension| extension == "wasm"));
                    }
                    if let Some(dir) = artifact.manifest_path.parent() {
                        local_dirs.insert(artifact.package_id, dir.to_owned());
                    }
                    local_manifests.insert(artifact.manifest_path);
                }
                Message::BuildScriptExecuted(script) => scripts.push(script),
                Message::CompilerArtifact(_) | Message::Other => {}
            }
        }
        let located = |script: ScriptMessage| BuildScript {
            local: is_local(&script.package_id),
            package_dir: local_dirs.get(&script.package_id).cloned().unwrap_or_default(),
            output: script.out_dir.with_file_name("output"),
        };
        Some(Self {
            component: component?,
            rustc_dep_infos,
            build_scripts: scripts.into_iter().map(located).collect(),
            local_manifests,
        })
    }
}

/// Whether a package lies in a folder of this machine, by cargo's package id.
fn is_local(package_id: &str) -> bool {
    package_id.starts_with("path+")
}

/// Where rustc puts the dep-info of an artifact: beside it, without `lib`; or in `deps`, if cargo linked the artifact one folder up.
fn dep_infos_of(artifact: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(stem)) = (artifact.parent(), artifact.file_stem()) else {
        return Vec::new();
    };
    let stem = stem.to_string_lossy();
    let name = format!("{}.d", stem.strip_prefix("lib").unwrap_or(&stem));
    vec![dir.join(&name), dir.join("deps").join(&name)]
}

fn stderr_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if text.is_empty() { output.status.to_string() } else { text }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<PackageMetadata>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct PackageMetadata {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
    kind: Vec<String>,
}

impl Target {
    /// Examples may be of that crate type too, but are of another kind.
    fn is_cdylib(&self) -> bool {
        let has = |list: &[String]| list.iter().any(|name| name == "cdylib");
        has(&self.crate_types) && has(&self.kind)
    }
}

/// A line of cargo's stdout.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact(ArtifactMessage),
    BuildScriptExecuted(ScriptMessage),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct ArtifactMessage {
    package_id: String,
    manifest_path: PathBuf,
    target: Target,
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct ScriptMessage {
    package_id: String,
    out_dir: PathBuf,
}
