//! Real builds of tiny crates without dependencies, and toolchains that are scripts.

use super::stamp::Input;
use super::*;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

/// A crate in a temporary folder, its builder, and what the builder said last.
struct Fixture {
    folder: TempDir,
    builder: Builder,
    said: Vec<String>,
}

const MANIFEST: &str = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n";
const SOURCE: &str = "#[unsafe(no_mangle)]\npub extern \"C\" fn answer() -> u32 {\n    42\n}\n";

impl Fixture {
    fn new(manifest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut environment = Environment::of_process();
        environment.set("CARGO_TARGET_DIR", None);
        let builder = Builder { cache: folder.path().join("cache"), environment };
        let fixture = Self { folder, builder, said: Vec::new() };
        fs::create_dir_all(fixture.path("tiny/src")).unwrap();
        fixture.write("tiny/Cargo.toml", manifest);
        fixture.write("tiny/src/lib.rs", SOURCE);
        fixture
    }

    /// A crate whose toolchain is made of shell scripts.
    fn with_programs(programs: &[(&str, &str)]) -> Self {
        let mut fixture = Self::new(MANIFEST);
        fs::create_dir_all(fixture.path("bin")).unwrap();
        for (name, script) in programs {
            let file = format!("bin/{name}");
            fixture.write(&file, &format!("#!/bin/sh\n{script}\n"));
            fs::set_permissions(fixture.path(&file), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let bin = fixture.path("bin").into_os_string();
        fixture.builder.environment = Environment::of([(OsString::from("PATH"), bin)]);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn build(&mut self) -> Result<Built, BuildError> {
        self.said.clear();
        let crate_dir = self.path("tiny");
        self.builder.build(&crate_dir, &mut |line| self.said.push(line.to_owned()))
    }

    fn error(&mut self) -> String {
        let error = self.build().unwrap_err();
        error.to_string()
    }
}

#[test]
fn cargo_runs_when_something_changed_and_only_then() {
    let mut fixture = Fixture::new(MANIFEST);
    let first = fixture.build().unwrap();
    assert!(first.fresh);
    assert!(fixture.said[0].starts_with("building "), "{:?}", fixture.said);
    let bytes = fs::read(&first.component).unwrap();
    // The header of a component, not of a core module.
    assert_eq!(bytes[..8], *b"\0asm\x0d\0\x01\0");
    assert_eq!(first.bytes, bytes.len() as u64);
    assert_eq!(first.digest, hexadecimal(&Sha256::digest(&bytes)));

    let unchanged = Built { fresh: false, ..first.clone() };
    assert_eq!(fixture.build().unwrap(), unchanged);
    assert_eq!(fixture.said, [""; 0]);

    fixture.write("tiny/src/lib.rs", &SOURCE.replace("42", "43"));
    let changed = fixture.build().unwrap();
    assert!(changed.fresh);
    assert_ne!(changed.digest, first.digest);
    assert!(!fixture.build().unwrap().fresh);

    // A file that did not exist, and is found by its name alone. It says nothing of what it depends on, so that only cargo can know.
    fixture.write("tiny/build.rs", "fn main() {}\n");
    assert!(fixture.build().unwrap().fresh);
    assert!(fixture.build().unwrap().fresh);
    fixture.write("tiny/build.rs", "fn main() { println!(\"cargo:rerun-if-env-changed=GREETING\"); }\n");
    assert!(fixture.build().unwrap().fresh);
    assert!(!fixture.build().unwrap().fresh);
    fixture.builder.environment.set("GREETING", Some("hello".into()));
    assert!(fixture.build().unwrap().fresh);
    assert!(!fixture.build().unwrap().fresh);

    fs::remove_file(&changed.component).unwrap();
    assert!(fixture.build().unwrap().fresh);
    assert!(!fixture.build().unwrap().fresh);
}

#[test]
fn sources_of_path_dependencies_and_included_files_are_watched() {
    let manifest = format!("{MANIFEST}\n[dependencies]\nother = {{ path = \"../other\" }}\n");
    let mut fixture = Fixture::new(&manifest);
    fs::create_dir_all(fixture.path("other/src")).unwrap();
    let other = "[package]\nname = \"other\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n";
    fixture.write("other/Cargo.toml", other);
    fixture.write("other/text file.txt", "hello");
    let source = "pub fn length() -> u32 { include_str!(\"../text file.txt\").len() as u32 + option_env!(\"GREETING\").map_or(0, |_| 1) }\n";
    fixture.write("other/src/lib.rs", source);
    fixture.write("tiny/src/lib.rs", &SOURCE.replace("42", "other::length()"));
    assert!(fixture.build().unwrap().fresh);
    assert!(!fixture.build().unwrap().fresh);

    fixture.write("other/text file.txt", "hello, you");
    assert!(fixture.build().unwrap().fresh);
    fixture.write("other/Cargo.toml", &other.replace("[workspace]", "[features]\nx = []\n\n[workspace]"));
    assert!(fixture.build().unwrap().fresh);
    assert!(!fixture.build().unwrap().fresh);
    // Read by `option_env!`, which only rustc's dep-info tells.
    fixture.builder.environment.set("GREETING", Some("hello".into()));
    assert!(fixture.build().unwrap().fresh);
    assert!(!fixture.build().unwrap().fresh);
}

#[test]
fn a_compile_error_is_reported_as_one_until_it_is_gone() {
    let mut fixture = Fixture::new(MANIFEST);
    fixture.write("tiny/src/lib.rs", "this is not Rust\n");
    for _ in 0..2 {
        let error = fixture.build().unwrap_err();
        assert!(matches!(error, BuildError::Compile { .. }), "{error}");
    }
    fixture.write("tiny/src/lib.rs", SOURCE);
    assert!(fixture.build().unwrap().fresh);
}

#[test]
fn what_is_no_plugin_crate_is_refused_with_what_to_do() {
    let mut fixture = Fixture::new(&MANIFEST.replace("\"cdylib\", ", ""));
    let error = fixture.error();
    assert!(error.contains("crate-type = [\"cdylib\", \"rlib\"]"), "{error}");

    fixture.write("tiny/Cargo.toml", "[workspace]\nresolver = \"3\"\n");
    let error = fixture.error();
    assert!(error.contains("has no [package]"), "{error}");

    fixture.write("tiny/Cargo.toml", "[package\n");
    let error = fixture.error();
    assert!(error.contains("`cargo metadata` failed") && error.contains("Cargo.toml"), "{error}");

    fs::remove_file(fixture.path("tiny/Cargo.toml")).unwrap();
    let error = fixture.error();
    assert!(error.contains("no Cargo.toml"), "{error}");

    fs::remove_dir_all(fixture.path("tiny")).unwrap();
    assert!(matches!(fixture.build().unwrap_err(), BuildError::NoFolder { .. }));
}

#[test]
fn two_builds_at_once_both_get_the_component() {
    let fixture = Fixture::new(MANIFEST);
    let crate_dir = fixture.path("tiny");
    let builds: Vec<Built> = std::thread::scope(|scope| {
        let build = || fixture.builder.build(&crate_dir, &mut |_| {}).unwrap();
        let running: Vec<_> = (0..2).map(|_| scope.spawn(build)).collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(builds[0].digest, builds[1].digest);
    // The second waited for the first, and found its stamp.
    assert_eq!(builds.iter().filter(|built| built.fresh).count(), 1);
}

#[test]
fn a_missing_cargo_is_named() {
    let mut fixture = Fixture::with_programs(&[]);
    let error = fixture.error();
    assert!(error.contains("`cargo` was not found on PATH"), "{error}");
}

#[test]
fn a_missing_target_is_installed_or_the_command_is_named() {
    let metadata = "echo '{\"packages\":[{\"id\":\"x\",\"name\":\"tiny\",\"manifest_path\":\"'$6'\",\"targets\":[{\"kind\":[\"cdylib\"],\"crate_types\":[\"cdylib\"]}]}],\"target_directory\":\"/t\",\"workspace_root\":\"/t\"}'\n[ $1 = metadata ]";
    let rustc = "echo \"$PWD/../libdir\"";
    let mut fixture = Fixture::with_programs(&[("cargo", metadata), ("rustc", rustc)]);
    let error = fixture.error();
    assert!(error.contains("rustup was not found"), "{error}");
    assert!(error.contains("rustup target add wasm32-wasip2"), "{error}");
    assert!(fixture.said[0].starts_with("installing the Rust target"));

    let linked = "echo \"error: toolchain 'mine' does not support components\" >&2; exit 1";
    let mut fixture = Fixture::with_programs(&[("cargo", metadata), ("rustc", rustc), ("rustup", linked)]);
    let error = fixture.error();
    assert!(error.contains("does not support components"), "{error}");

    let works = "[ \"$*\" = 'target add wasm32-wasip2' ] && /bin/mkdir ../libdir";
    let mut fixture = Fixture::with_programs(&[("cargo", metadata), ("rustc", rustc), ("rustup", works)]);
    let error = fixture.build().unwrap_err();
    // The scripted cargo refuses to compile: but it was asked to.
    assert!(matches!(error, BuildError::Compile { .. }), "{error}");
}

#[test]
fn a_file_that_was_changed_during_the_build_leaves_no_settled_state() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    fs::write(&file, "x").unwrap();
    let modified_ns = FileState::of(&file).unwrap().unwrap().modified_ns;
    assert_eq!(FileState::of_settled(&file, modified_ns).unwrap(), None);
    let settled = FileState::of_settled(&file, modified_ns + 1).unwrap();
    assert_eq!(settled, Some(FileState::of(&file).unwrap()));

    // Put there now with an old time, as `mv` and `cp -p` do.
    let old = std::time::SystemTime::UNIX_EPOCH;
    File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    assert_eq!(FileState::of_settled(&file, modified_ns).unwrap(), None);

    let missing = folder.path().join("x/y");
    assert_eq!(FileState::of_settled(&missing, 0).unwrap(), Some(None));
}

#[test]
fn a_stamp_of_another_format_or_half_a_stamp_is_none() {
    let state = FileState { size: 1, modified_ns: -1 };
    let inputs = vec![Input { path: "/x/Cargo.toml".into(), state: None }];
    let stamp = Stamp::new("/x.wasm".into(), state, "d".into(), "e".into(), vec!["V".into()], inputs);
    let json = stamp.to_json();
    assert_eq!(Stamp::parse(&json), Some(stamp));
    assert_eq!(Stamp::parse(&json[..json.len() / 2]), None);
    let text = String::from_utf8(json).unwrap();
    let other = text.replacen("\"format\": 1", "\"format\": 0", 1);
    assert_ne!(other, text);
    assert_eq!(Stamp::parse(other.as_bytes()), None);
}
