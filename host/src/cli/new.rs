//! `wasmill new`: an operator crate that builds, passes its test and runs in a job as it stands.

mod name;
mod surroundings;
mod template;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{EXIT_DONE, args::NewArgs, show};

pub(super) use template::Template;

pub(super) fn new(args: NewArgs) -> anyhow::Result<u8> {
    let name = name::of_folder(&args.folder)?;
    create(&args.folder)?;
    let folder = fs::canonicalize(&args.folder).with_context(|| args.folder.display().to_string())?;
    let tree = surroundings::source_tree();
    if let Err(error) = fill(&folder, name, args.template, tree.as_deref()) {
        // Half a crate helps nobody; that it can't be removed either is not the news.
        let _ = fs::remove_dir_all(&folder);
        return Err(error);
    }
    if tree.is_none() {
        show::say(&format!(
            "The SDK's sources are not where this wasmill was built: Cargo.toml names the published version {}",
            env!("CARGO_PKG_VERSION")
        ));
    }
    let shown = args.folder.display();
    show::say(&format!(
        "made the operator crate {name} in {shown}\n\n  cd {shown}\n  cargo test\n  {} run job.toml",
        own_command().display()
    ));
    Ok(EXIT_DONE)
}

/// Makes a folder that must not be there yet.
fn create(folder: &Path) -> anyhow::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{}: it exists already; choose another name, or remove it first", folder.display())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{}: the folder that it should be made in is not there", folder.display())
        }
        created => created.with_context(|| format!("{}: it can't be made", folder.display())),
    }
}

fn fill(folder: &Path, name: &str, template: Template, source_tree: Option<&Path>) -> anyhow::Result<()> {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::write(&path, text).with_context(|| format!("{}: it can't be written", path.display()))
    };
    for inner in ["src", "tests"] {
        create(&folder.join(inner))?;
    }
    let texts = template.texts(name);
    write("Cargo.toml", &manifest(folder, name, source_tree))?;
    write("src/lib.rs", &texts.lib)?;
    write("tests/harness.rs", &texts.test)?;
    write("job.toml", &texts.job)?;
    write(".gitignore", template::GITIGNORE)?;
    if !surroundings::has_toolchain(folder) {
        write("rust-toolchain.toml", &surroundings::toolchain())?;
    }
    Ok(())
}

fn manifest(folder: &Path, name: &str, source_tree: Option<&Path>) -> String {
    let mut text = format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"
rust-version = "{rust}"
publish = false

[lib]
crate-type = ["cdylib", "rlib"] # the component; the library that tests use

[dependencies]
serde = {{ version = "1", features = ["derive"] }}
wasmill-sdk = {sdk}

[dev-dependencies]
serde_json = "1"
"#,
        rust = env!("CARGO_PKG_RUST_VERSION"),
        sdk = surroundings::sdk(folder, source_tree),
    );
    if !surroundings::is_member(folder) {
        text.push_str("\n# A workspace of its own, whatever it lies in.\n[workspace]\n");
    }
    text
}

/// How a person here calls this program: by its name if the shell finds it, else by its path.
fn own_command() -> PathBuf {
    let name = PathBuf::from("wasmill");
    let Ok(own) = env::current_exe().and_then(fs::canonicalize) else { return name };
    let folders = env::var_os("PATH").unwrap_or_default();
    let first = env::split_paths(&folders).map(|folder| folder.join(&name)).find(|path| path.is_file());
    let is_own = first.and_then(|path| fs::canonicalize(path).ok()).is_some_and(|path| path == own);
    if is_own { name } else { own }
}
