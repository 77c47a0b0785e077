//! The command line as a user types it: the binary, its exit codes, its two output streams.

mod checkpoint;
mod control;
mod disks;
mod going_back;
mod inspect;
mod new;
mod recovery;
mod refusals;
mod run;
mod s3;
mod signals;
mod state;
mod streams;
mod sums;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::SystemTime,
};

use tempfile::TempDir;

use crate::harness::{cache, folder, root};

/// The binary. It is an example of this package, made of the host's own `main.rs`, because cargo builds examples along with tests; where only the test binary
/// was asked for (`cargo test --test integration`), it may be missing or older than its sources, and is built here.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let own = std::env::current_exe().expect("the path of the test binary");
        let profile = own.parent().and_then(Path::parent).expect("test binaries lie in target/PROFILE/deps");
        let path = profile.join("examples/wasmill");
        if !is_fresh(&path) {
            assert!(
                profile.ends_with("debug"),
                "{} is out of date: cargo build -p integration-tests --examples, with your profile",
                path.display()
            );
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "-p", "integration-tests", "--example", "wasmill"]).current_dir(root());
            assert!(cargo.status().expect("cargo can be started").success(), "the binary does not compile");
        }
        path
    })
}

/// Whether no source that the compiler lists beside the binary is newer.
fn is_fresh(binary: &Path) -> bool {
    let modified =
        |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let Ok(list) = fs::read_to_string(binary.with_extension("d")) else { return false };
    let built = modified(binary);
    let sources = list.lines().next().unwrap_or_default();
    sources
        .split(' ')
        .skip(1)
        .filter(|name| !name.is_empty())
        .all(|name| Path::new(name).exists() && modified(Path::new(name)) <= built)
}

thread_local! {
    /// Where the jobs of a test are found. Each test has a thread: so jobs of one name, which many tests have, do not meet.
    static RUNTIME: TempDir = folder();
}

/// `wasmill ARGS`, typed in the repository's root.
fn wasmill<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command
        .args(args)
        .current_dir(root())
        .env("WASMILL_CACHE_DIR", cache())
        .env("WASMILL_RUNTIME_DIR", RUNTIME.with(|folder| folder.path().to_owned()))
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null());
    command
}

/// What a command said and how it ended.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs `wasmill ARGS` to its end.
fn say(args: &[&str]) -> Said {
    wasmill(args).output().expect("the binary can be started").into()
}

impl Said {
    /// Checks the exit code; gives standard output.
    #[track_caller]
    fn expect(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "standard error:\n{}", self.err);
        assert!(!self.err.contains("panicked at"), "the host panicked:\n{}", self.err);
        &self.out
    }

    /// Checks the exit code and that standard error says something and standard output nothing.
    #[track_caller]
    fn refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.expect(code), "", "standard output");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in:\n{}", self.err);
        }
    }
}

/// A job file in a folder of its own, whose operator is a plugin's crate.
fn write_job(folder: &Path, text: &str) -> String {
    let path = folder.join("job.toml");
    fs::write(&path, text.replace("PLUGINS", &root().join("plugins").display().to_string()))
        .expect("a job file can be written");
    path.display().to_string()
}

/// Sums numbers without end, one result for each.
const ENDLESS: &str = r#"
name = "endless"

[[source]]
id   = "numbers"
type = "datagen"
keys = 10
rate = 5000

[[operator]]
id     = "sum"
plugin = { crate = "PLUGINS/keyed-sum" }
inputs = ["numbers"]
config = { emit-every = 1 }

[[sink]]
id     = "sums"
type   = "stdout"
inputs = ["sum"]
"#;
