//! Names of new crates: what cargo takes for a package, Rust for a crate and a job file for a name.

use std::path::Path;

use anyhow::{anyhow, bail};

/// A longer name is a nuisance everywhere it is shown.
const NAME_BYTES_MAX: usize = 64;

/// Keywords of Rust, in any edition, that consist of lower-case letters: no crate can be called so.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Crates that a new one depends on, or that are always there.
const TAKEN: [&str; 9] =
    ["alloc", "core", "proc-macro", "serde", "serde-json", "std", "test", "wasmill", "wasmill-sdk"];

/// The name of the crate in a folder that is not there yet.
///
/// # Errors
/// When the folder's last part can't be a crate's name; the text says which ones can.
pub(super) fn of_folder(folder: &Path) -> anyhow::Result<&str> {
    let name = folder.file_name().ok_or_else(|| anyhow!("{}: give the new crate a name", folder.display()))?;
    let shown = name.to_string_lossy();
    let Some(name) = name.to_str().filter(|name| is_well_formed(name)) else {
        bail!(
            "`{shown}` can't be the name of an operator crate: it must be of lower-case letters, digits and single hyphens, begin with a letter and have at most {NAME_BYTES_MAX} characters{}",
            suggestion(&shown).map(|name| format!("; for example `{name}`")).unwrap_or_default()
        );
    };
    if KEYWORDS.contains(&name) {
        bail!(
            "`{name}` can't be the name of an operator crate: it is a keyword of Rust; for example `{name}-operator`"
        );
    }
    if TAKEN.contains(&name) {
        bail!(
            "`{name}` can't be the name of an operator crate: it would hide the crate of this name; for example `my-{name}`"
        );
    }
    Ok(name)
}

fn is_well_formed(name: &str) -> bool {
    let parts = || name.split('-');
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && parts().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// What comes nearest to a name and is one.
fn suggestion(name: &str) -> Option<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = ' ';
    for character in name.chars() {
        // `WordCount` has two words.
        if !character.is_ascii_alphanumeric() || (character.is_ascii_uppercase() && before.is_ascii_lowercase()) {
            words.push(String::new());
        }
        if character.is_ascii_alphanumeric() {
            words.last_mut()?.push(character.to_ascii_lowercase());
        }
        before = character;
    }
    words.retain(|word| !word.is_empty());
    let joined = words.join("-");
    let name = joined.trim_start_matches(|first: char| !first.is_ascii_lowercase());
    is_well_formed(name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_everywhere() {
        for name in ["a", "word-count", "a1", "a-1-b", "x".repeat(64).as_str()] {
            assert_eq!(of_folder(&Path::new("some/Folder").join(name)).unwrap(), name);
        }
    }

    #[test]
    fn other_names_are_refused_with_a_suggestion() {
        for (name, expected) in [
            ("WordCount", "for example `word-count`"),
            ("word_count", "for example `word-count`"),
            ("word--count-", "for example `word-count`"),
            ("2nd", "for example `nd`"),
            ("größe", "for example `gr-e`"),
            ("a b.c", "for example `a-b-c`"),
            ("äöü", "at most 64 characters"),
            ("-", "lower-case letters, digits and single hyphens"),
            ("loop", "it is a keyword of Rust; for example `loop-operator`"),
            ("yield", "it is a keyword of Rust"),
            ("serde", "it would hide the crate of this name; for example `my-serde`"),
            ("..", "give the new crate a name"),
            ("", "give the new crate a name"),
        ] {
            let error = of_folder(Path::new(name)).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        assert!(of_folder(Path::new(&"x".repeat(65))).is_err());
    }
}
