//! Crates find the SDK and their workspace wherever they are made.

use tempfile::TempDir;

use super::*;

#[test]
fn the_source_tree_is_the_one_of_these_tests() {
    let tree = source_tree().unwrap();
    assert!(tree.join("wit/world.wit").is_file());
}

#[test]
fn the_sdk_is_found_from_within_the_tree_and_from_outside() {
    let tree = Path::new("/src/wasmill");
    let sdk = |folder: &str, tree| super::sdk(Path::new(folder), tree);
    assert_eq!(sdk("/src/wasmill/plugins/mine", Some(tree)), r#"{ path = "../../guest-sdk" }"#);
    assert_eq!(sdk("/src/wasmill/mine", Some(tree)), r#"{ path = "../guest-sdk" }"#);
    assert_eq!(sdk("/src/mine", Some(tree)), r#"{ path = "/src/wasmill/guest-sdk" }"#);
    let odd: Table = format!("sdk = {}", sdk("/mine", Some(Path::new("/a \"b\" \\c 'd'")))).parse().unwrap();
    assert_eq!(odd["sdk"]["path"].as_str(), Some("/a \"b\" \\c 'd'/guest-sdk"));
    assert_eq!(sdk("/src/mine", None), "\"0.1.0\"");
}

#[test]
fn the_toolchain_is_that_of_the_source_tree() {
    let pinned: Table =
        fs::read_to_string(source_tree().unwrap().join("rust-toolchain.toml")).unwrap().parse().unwrap();
    let written: Table = toolchain().parse().unwrap();
    for key in ["channel", "targets"] {
        assert_eq!(written["toolchain"][key], pinned["toolchain"][key]);
    }
    let folder = TempDir::new().unwrap();
    assert!(has_toolchain(&source_tree().unwrap().join("plugins/mine")));
    assert!(!has_toolchain(&folder.path().join("mine")));
    fs::write(folder.path().join("rust-toolchain"), "stable").unwrap();
    assert!(has_toolchain(&folder.path().join("deep/mine")));
}

#[test]
fn a_crate_is_a_member_where_the_workspace_says_so() {
    let tree = source_tree().unwrap();
    assert!(is_member(&tree.join("plugins/mine")));
    for folder in ["mine", "plugins/deep/mine", "target/debug/mine", "host/mine"] {
        assert!(!is_member(&tree.join(folder)), "{folder}");
    }
    let root = TempDir::new().unwrap();
    let is_member = |manifest: &str, folder: &str| {
        fs::write(root.path().join("Cargo.toml"), manifest).unwrap();
        super::is_member(&root.path().join(folder))
    };
    assert!(!is_member("[package]\nname = \"x\"", "a"));
    assert!(!is_member("[workspace]", "a"));
    assert!(!is_member("not toml", "a"));
    assert!(is_member("[workspace]\nmembers = [\"a/\"]", "a"));
    assert!(is_member("[workspace]\nmembers = [\"*\"]", "a"));
    assert!(!is_member("[workspace]\nmembers = [\"*\"]", "a/b"));
    assert!(is_member("[workspace]\nmembers = [\"**\"]", "a/b"));
    assert!(!is_member("[workspace]\nmembers = [\"*\"]\nexclude = [\"a\"]", "a"));
    assert!(is_member("[workspace]\nmembers = [\"a\"]\nexclude = [\"a\"]", "a"));
    // The nearest workspace decides.
    fs::create_dir(root.path().join("inner")).unwrap();
    fs::write(root.path().join("inner/Cargo.toml"), "[workspace]").unwrap();
    assert!(!is_member("[workspace]\nmembers = [\"**\"]", "inner/a"));
}
