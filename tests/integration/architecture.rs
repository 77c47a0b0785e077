//! Rules of the house that a compiler does not hold: which room may import which, that every file says what it is, and that one file calls guests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::harness::root;

/// The rooms of the host, as in the floors in host/src/lib.rs. Imports point down, to a lower floor; everything may import the first one.
const FLOORS: [(&str, u32); 14] = [
    ("background", 1),
    ("stream", 1),
    ("metrics", 1),
    ("state", 2),
    ("checkpoint", 2),
    ("dataflow", 2),
    ("connector", 2),
    ("operator", 3),
    ("spec", 3),
    ("wasm", 4),
    ("runtime", 4),
    ("job", 5),
    ("control", 6),
    ("cli", 7),
];

/// The files of the source tree, with their paths from the repository's root.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        let mut entries: Vec<_> = fs::read_dir(folder)
            .expect("a folder can be listed")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                collect(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                found.push((path.strip_prefix(root()).expect("below the root").to_owned(), text));
            }
        }
    }
    let mut found = Vec::new();
    folders.iter().for_each(|folder| collect(&root().join(folder), &mut found));
    assert!(!found.is_empty());
    found
}

fn floor(room: &str) -> Option<u32> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// The text without comments. Good enough for our own sources: no string of theirs that names a room holds `//`.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every room that a text names by `crate::room` or within `crate::{…}`.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        // `$crate::` and `wasmill_crate::` are something else.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$') {
            continue;
        }
        let rest = code[at + path.len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(heads_of_group(group)),
            None => rooms.extend([identifier(rest)]),
        }
    }
    rooms.remove("");
    rooms
}

/// The first word of each path in `a::{b, c}, d}`.
fn heads_of_group(group: &str) -> Vec<String> {
    let (mut heads, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                heads.push(identifier(group[start..at].trim_start()));
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn the_reader_of_imports_finds_what_it_must() {
    let code = "use crate::{\n    a::{x, y::{z}},\n    b,\n    self::c as d,\n};\nuse crate::e::F; pub(crate) fn g() -> crate::h::I { $crate::j }";
    let found: Vec<_> = rooms_named(code).into_iter().collect();
    assert_eq!(found, ["a", "b", "e", "h", "self"]);
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&["host/src"]) {
        let inner = path.strip_prefix("host/src").expect("below host/src");
        let room =
            inner.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
        if matches!(room.as_str(), "lib.rs" | "main.rs") {
            continue;
        }
        let room = room.trim_end_matches(".rs").to_owned();
        let Some(own) = floor(&room) else {
            wrong.push(format!("{}: the room {room} is on none of the floors in host/src/lib.rs", path.display()));
            continue;
        };
        for other in rooms_named(&code(&text)) {
            let allowed = other == room || floor(&other).is_some_and(|other| other < own);
            if !allowed {
                wrong.push(format!(
                    "{}: {room} (floor {own}) names {other} (floor {:?})",
                    path.display(),
                    floor(&other)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "imports point down only (the floors in host/src/lib.rs):\n{}", wrong.join("\n"));
}

#[test]
fn the_library_holds_rooms_only_and_main_starts_the_command_line() {
    let words_after = |file: &str, start: &str| -> BTreeSet<String> {
        let text = code(&fs::read_to_string(root().join(file)).expect("a source"));
        text.match_indices(start).map(|(at, start)| identifier(&text[at + start.len()..])).collect()
    };
    for module in words_after("host/src/lib.rs", "mod ") {
        assert!(floor(&module).is_some(), "lib.rs: the room {module} is on no floor");
    }
    assert_eq!(words_after("host/src/main.rs", "wasmill::").into_iter().collect::<Vec<_>>(), ["cli"]);
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = sources(&["host", "guest-sdk", "plugins", "tests"])
        .into_iter()
        .filter(|(_, text)| {
            let first = text.lines().next().and_then(|line| line.strip_prefix("//!"));
            first.is_none_or(|sentence| sentence.trim().len() <= 5)
        })
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "these files do not open with `//!` and a sentence: {silent:?}");
}

#[test]
fn one_file_calls_guests() {
    for (path, text) in sources(&["host/src"]) {
        let code = code(&text);
        let calls = code.contains("TypedFunc") || code.contains("get_func(") || code.contains(".call_async(");
        assert!(
            !calls || path.ends_with("wasm/instance.rs"),
            "{} calls a guest; only wasm/instance.rs may",
            path.display()
        );
        let knows = code.contains("wasmtime::") || code.contains("wasmtime_wasi::");
        assert!(
            !knows || path.starts_with("host/src/wasm"),
            "{} names wasmtime; only the room wasm may",
            path.display()
        );
    }
}

#[test]
fn sources_name_no_path_of_this_machine() {
    let places = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat()];
    for (path, text) in sources(&["host", "guest-sdk", "plugins", "tests"]) {
        for (number, line) in text.lines().enumerate() {
            let found =
                places.iter().find(|place| line.contains(place.as_str()) && !line.contains(&format!("example{place}")));
            assert!(found.is_none(), "{}:{}: names a path of this machine: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn the_clock_is_read_where_time_comes_from_only() {
    // The data plane is given the time. What measures how long something took is no part of its results.
    let strangers = [
        "host/src/state",
        "host/src/dataflow",
        "host/src/connector",
        "host/src/operator",
        "host/src/stream",
        "host/src/spec",
    ];
    for (path, text) in sources(&strangers) {
        let code = code(&text);
        if path.to_string_lossy().contains("test") {
            continue;
        }
        assert!(
            !code.contains("SystemTime::now") && !code.contains("Instant::now"),
            "{} reads a clock; it has to be given the time",
            path.display()
        );
    }
}
