//! Everything in `wit/` is documented and says since when it is there: who binds another language has nothing else to read.

use std::fs;

use crate::harness::root;

/// What a block holds, by the word that opens it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Interface,
    World,
    Resource,
    /// Record, variant, enum or flags: a member a line.
    Members,
}

/// What is missing in a WIT text, as `line number: what`. Reads it line by line, as it is written here: an item begins its line, and a block ends with a line `}`.
fn missing(text: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    let (mut documented, mut since) = (false, false);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            documented |= !text.trim().is_empty();
            continue;
        }
        if line.starts_with('@') {
            since |= line == "@since(version = 0.1.0)";
            continue;
        }
        let (documented, since) = (std::mem::take(&mut documented), std::mem::take(&mut since));
        if line == "}" {
            blocks.pop();
            continue;
        }
        if line.is_empty() || line.starts_with("//") || line.starts_with("package ") {
            continue;
        }
        let inside = blocks.last().copied();
        let word = line.split([' ', ':', '(', ',', ';']).next().unwrap_or_default();
        // They only name what is documented elsewhere.
        let names_only =
            matches!(inside, Some(Block::Interface | Block::World)) && matches!(word, "use" | "import" | "export");
        if !documented && !names_only {
            missing.push(format!("{}: no `///` above {line}", number + 1));
        }
        if !since && inside != Some(Block::Members) {
            missing.push(format!("{}: no `@since(version = 0.1.0)` above {line}", number + 1));
        }
        if line.ends_with('{') {
            blocks.push(match (inside, word) {
                (None, "interface") => Block::Interface,
                (None, "world") => Block::World,
                (Some(Block::Interface), "resource") => Block::Resource,
                (Some(Block::Interface), "record" | "variant" | "enum" | "flags") => Block::Members,
                _ => panic!("line {}: this reader does not know the block: {line}", number + 1),
            });
        }
    }
    assert!(blocks.is_empty(), "a block does not end");
    missing
}

#[test]
fn the_reader_of_wit_finds_what_is_missing() {
    let text = "package a:b@0.1.0;

/// Something.
@since(version = 0.1.0)
interface i {
  @since(version = 0.1.0)
  use types.{t, u};

  @since(version = 0.1.0)
  record r {
    /// A field.
    a: u32,
    b: list<u8>,
  }

  /// A variant.
  variant v {
    /// A case.
    one(string),
    two,
  }

  /// A resource.
  @since(version = 0.1.0)
  resource s {
    ///
    @since(version = 0.1.0)
    constructor(a: u32);
    /// A method.
    get: func() -> u32;
  }
}

@since(version = 0.1.0)
world w {
  import i;
}
";
    let expected = [
        "10: no `///` above record r {",
        "13: no `///` above b: list<u8>,",
        "17: no `@since(version = 0.1.0)` above variant v {",
        "20: no `///` above two,",
        "28: no `///` above constructor(a: u32);",
        "30: no `@since(version = 0.1.0)` above get: func() -> u32;",
        "35: no `///` above world w {",
        "36: no `@since(version = 0.1.0)` above import i;",
    ];
    assert_eq!(missing(text), expected);
}

#[test]
fn everything_in_the_wit_is_documented_and_says_since_when_it_is_there() {
    let mut files: Vec<_> =
        fs::read_dir(root().join("wit")).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "wit"));
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("WIT is UTF-8");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        wrong.extend(missing(&text).into_iter().map(|what| format!("wit/{name}:{what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
