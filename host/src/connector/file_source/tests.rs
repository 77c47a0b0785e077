//! Every line of every file is read once, whatever the splits and the parallelism.

mod restore;

use std::{collections::BTreeSet, fs};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    connector::{
        lines::tests::{lines_of, text},
        testing::{drain, readers, values},
    },
    metrics::CounterSet,
};

/// A folder with files of these names and contents.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

/// A source of all files of a folder.
fn source(folder: &TempDir) -> FileSource {
    FileSource::new(vec![folder.path().into()], Compression::Auto, LineFormat::default())
}

/// All lines of the patterns, by one task.
fn lines(folder: &TempDir, patterns: &[&str]) -> Result<Vec<String>, ConnectorError> {
    let patterns = patterns.iter().map(|pattern| folder.path().join(pattern)).collect();
    let source = FileSource::new(patterns, Compression::Auto, LineFormat::default());
    let readers = readers(&source, 1, &CounterSet::default())?;
    let batches = drain(readers, BatchLimits::default())?.remove(0);
    Ok(values(&batches).into_iter().map(|line| String::from_utf8(line).unwrap()).collect())
}

const FILES: [(&str, &[u8]); 7] = [
    ("b.txt", b"b1\nb2"),
    ("a.txt", b"a\n"),
    ("c.csv", b"c"),
    ("more/d.txt", b"d"),
    ("more/deep/e.txt", b"e"),
    (".hidden", b"h"),
    ("more/.git/f.txt", b"f"),
];

#[test]
fn patterns_stand_for_files_folders_and_globs_and_each_file_is_read_once() {
    let folder = folder(&FILES);
    fs::write(folder.path().join("[x].txt"), "brackets").unwrap();
    std::os::unix::fs::symlink("a.txt", folder.path().join("link")).unwrap();
    let cases: [(&[&str], &[&str]); 9] = [
        (&["b.txt"], &["b1", "b2"]),
        (&["c.csv", "a.txt", "a.txt"], &["a", "c"]),
        (&["more"], &["d", "e"]),
        (&["more/"], &["d", "e"]),
        (&["?.txt"], &["a", "b1", "b2"]),
        (&["**/*.txt"], &["brackets", "a", "b1", "b2", "d", "e"]),
        (&["[x].txt"], &["brackets"]),
        (&["link", "more/../a.txt", ".hidden"], &["h", "a"]),
        (&["m*", "c*"], &["c", "d", "e"]),
    ];
    for (patterns, expected) in cases {
        assert_eq!(lines(&folder, patterns).unwrap(), expected, "{patterns:?}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_before_the_job_starts() {
    let folder = folder(&FILES);
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::create_dir(folder.path().join("loop")).unwrap();
    std::os::unix::fs::symlink(".", folder.path().join("loop/back")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("empty/.dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("more/socket")).unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["a.txt", "absent"], "absent: looking for it: No such file"),
        (&["*.json"], "*.json: no file matches (names that begin"),
        (&["empty"], "empty: the folder holds no files (names"),
        (&["more"], "more/socket: this is not a regular file"),
        (&["loop"], "loop/back: this folder lies within itself, by a symbolic link"),
        (&["a[.txt"], "this is not a glob"),
    ];
    for (patterns, expected) in cases {
        let error = match lines(&folder, patterns) {
            Ok(lines) => panic!("{patterns:?} gave {lines:?}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
    }
}

#[test]
fn bytes_appended_after_the_listing_are_not_read() {
    let folder = folder(&[("a", b"one\ntw")]);
    let path = folder.path().join("a");
    let source = source(&folder);
    let readers = readers(&source, 1, &CounterSet::default()).unwrap();
    fs::write(&path, "one\ntwo\nthree\n").unwrap();
    let batches = drain(readers, BatchLimits::default()).unwrap().remove(0);
    assert_eq!(values(&batches), [b"one".to_vec(), b"tw".to_vec()]);
}

#[test]
fn a_file_that_shrinks_or_vanishes_is_an_error_that_says_so() {
    let change = |change: fn(&Path)| {
        let folder = folder(&[("a", b"one\ntwo\n")]);
        let path = folder.path().join("a");
        let source = source(&folder);
        let readers = readers(&source, 1, &CounterSet::default()).unwrap();
        change(&path);
        drain(readers, BatchLimits::default()).unwrap_err().to_string()
    };
    let shrunk = change(|path| fs::write(path, "one\nt").unwrap());
    assert!(shrunk.contains("a: the file became shorter while it was read: it had 8 bytes"), "{shrunk}");
    let gone = change(|path| fs::remove_file(path).unwrap());
    assert!(gone.contains("a: opening it again (it was there when the job began): No such"), "{gone}");
}

#[test]
fn a_line_longer_than_many_splits_belongs_to_the_one_that_it_begins_in() {
    let mut content = b"a\n".to_vec();
    content.resize(READ_BYTES * 3, b'x');
    content.extend(b"\nend");
    let folder = folder(&[("a", &content)]);
    let source = source(&folder).with_splits(READ_BYTES as u64 / 4);
    let counters = CounterSet::default();
    let batches = drain(readers(&source, 2, &counters).unwrap(), BatchLimits::default()).unwrap();
    let mut lengths: Vec<_> = values(&batches.concat()).iter().map(Vec::len).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1, 3, READ_BYTES * 3 - 2]);
    assert_eq!(counters.values()["bytes-read"], content.len() as u64);
}

#[test]
fn a_source_is_prepared_before_it_is_read() {
    let source = FileSource::new(vec![], Compression::Auto, LineFormat::default());
    assert!(source.reader(crate::connector::testing::context(0, 1)).is_err());
    assert_eq!((source.key_schema(), source.value_schema()), (None, Schema::text()));
}

proptest! {
    #[test]
    fn splits_give_exactly_the_lines_of_the_files(
        contents in proptest::collection::vec(text(40), 1..4),
        split_bytes in 1_u64..100,
        parallelism in 1_u32..5,
        records in 1_usize..9,
        bytes in 1_usize..200,
    ) {
        let folder = TempDir::new().unwrap();
        for (index, content) in contents.iter().enumerate() {
            fs::write(folder.path().join(format!("{index}.txt")), content).unwrap();
        }
        let source = source(&folder).with_splits(split_bytes);
        let counters = CounterSet::default();
        let batches = drain(readers(&source, parallelism, &counters).unwrap(), BatchLimits { records, bytes }).unwrap();
        let lossy = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned().into_bytes();
        let mut expected: Vec<_> = contents.iter().flat_map(|content| lines_of(content)).map(lossy).collect();
        let mut actual = values(&batches.concat());
        if parallelism > 1 {
            expected.sort_unstable();
            actual.sort_unstable();
        }
        prop_assert_eq!(actual, expected);
        let sizes = contents.iter().map(|content| content.len() as u64).sum::<u64>();
        // All tasks share the counter here, and are called by one thread.
        prop_assert_eq!(counters.values()["bytes-read"], sizes);
    }

    #[test]
    fn splits_cover_each_byte_once(sizes in proptest::collection::vec(0_u64..1000, 0..5), split_bytes in 1_u64..300) {
        let listed = |size: &u64| Listed { path: Arc::from(Path::new("a")), size: *size, modified_ms: 0, codec: Codec::Plain };
        let queue = SplitQueue::new(sizes.iter().map(listed).collect(), split_bytes);
        let mut bytes = BTreeSet::new();
        while let Some((split, _)) = queue.take() {
            for byte in split.start..split.end {
                prop_assert!(bytes.insert((split.file, byte)));
            }
        }
        prop_assert_eq!(bytes.len() as u64, sizes.iter().sum::<u64>());
    }
}
