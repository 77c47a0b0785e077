//! What is written is read, and whatever is cut, flipped or put elsewhere is found.

use std::fs;

use proptest::{collection::btree_map, prelude::*};
use tempfile::TempDir;

use super::*;

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn write(folder: &TempDir, name: &str, entries: &Entries) -> (PathBuf, FileFacts) {
    let path = folder.path().join(name);
    let mut writer = DataFileWriter::create(&path).expect("a new file");
    for (key, value) in entries {
        writer.push(key, value).expect("there is room");
    }
    let facts = writer.finish().expect("there is room");
    assert_eq!((facts.bytes, facts.entries), (fs::metadata(&path).expect("a file").len(), entries.len() as u64));
    (path, facts)
}

fn read(path: &Path, facts: FileFacts) -> Result<Entries, StoredStateError> {
    let mut reader = DataFileReader::open(path, facts)?;
    let mut entries = Vec::new();
    while reader.advance()? {
        let (key, value) = reader.last();
        entries.push((key.to_vec(), value.to_vec()));
    }
    assert!(!reader.advance()?, "the end stays the end");
    Ok(entries)
}

/// Three blocks.
fn some() -> Entries {
    (0_u16..200).map(|number| (number.to_be_bytes().to_vec(), vec![number as u8; 900])).collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn the_bytes_are_frozen() {
    let folder = folder();
    let (path, facts) = write(&folder, "one", &vec![(b"key".to_vec(), b"value".to_vec()), (b"kez".to_vec(), vec![])]);
    let expected = [
        &b"wasmillS\0\0\0\x01"[..],
        b"\0\0\0\x1b\0\0\0\x02",
        b"\0\0\0\x03\0\0\0\x05keyvalue\0\0\0\x03\0\0\0\0kez",
        &0x4f58_8488_d709_250e_u64.to_be_bytes(),
        b"\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\x02",
        &0x06ab_199a_d8e6_1415_u64.to_be_bytes(),
    ];
    assert_eq!(fs::read(&path).expect("a file"), expected.concat());
    assert_eq!(facts.checksum, 0x06ab_199a_d8e6_1415);
}

#[test]
fn large_entries_and_none_at_all_are_read_back() {
    let folder = folder();
    let large: Entries = vec![
        (b"a".to_vec(), vec![1; VALUE_BYTES_MAX]),
        (vec![0x62; STORED_KEY_BYTES_MAX], Vec::new()),
        (b"c".to_vec(), vec![2; BLOCK_BYTES - 9]),
    ];
    for (name, entries) in [("large", large), ("none", Vec::new()), ("some", some())] {
        let (path, facts) = write(&folder, name, &entries);
        assert!(read(&path, facts).expect("it is whole") == entries, "{name}");
    }
    let mut writer = DataFileWriter::create(&folder.path().join("refused")).expect("a new file");
    assert!(writer.push(b"a", &vec![0; VALUE_BYTES_MAX + 1]).is_err());
    assert!(DataFileWriter::create(&folder.path().join("some")).is_err(), "never writes over a file");
}

#[test]
fn every_flipped_bit_is_found() {
    let folder = folder();
    let (path, facts) = write(&folder, "file", &some());
    let whole = fs::read(&path).expect("a file");
    // Every byte of heads and ends, and some in between.
    let places = (0..whole.len()).filter(|at| *at < 300 || at % 997 == 0 || whole.len() - at < 100);
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).expect("it can be written");
        let error = read(&path, facts).expect_err("a bit is wrong").to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_cut_file_is_found_wherever_it_was_cut() {
    let folder = folder();
    let (path, facts) = write(&folder, "file", &some());
    let whole = fs::read(&path).expect("a file");
    for length in [0, 5, 12, 20, 65_000, whole.len() - 24, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("it can be written");
        let error = read(&path, facts).expect_err("it is cut").to_string();
        assert!(error.contains(&format!("it has {length} bytes where {} were written", facts.bytes)), "{error}");
        // Even where nobody knows how long it was.
        let shorter = FileFacts { bytes: length as u64, ..facts };
        assert!(read(&path, shorter).is_err(), "{length}");
    }
    fs::remove_file(&path).expect("it is there");
    let error = read(&path, facts).expect_err("it is gone").to_string();
    assert!(error.contains("the manifest names this file, but it is not there"), "{error}");
}

#[test]
fn blocks_and_files_that_were_exchanged_are_found() {
    let folder = folder();
    // Two blocks of the same length.
    let entries = |from: u16| -> Entries {
        (from..from + 146).map(|number| (number.to_be_bytes().to_vec(), vec![7; 890])).collect()
    };
    let (path, facts) = write(&folder, "one", &entries(0));
    let (other_path, other) = write(&folder, "other", &entries(1));
    assert_eq!((facts.bytes, facts.entries), (other.bytes, other.entries));
    let error = read(&other_path, facts).expect_err("another file").to_string();
    assert!(error.contains("it is not the file that the manifest was written for"), "{error}");

    let whole = fs::read(&path).expect("a file");
    let length = HEAD + 73 * (8 + 2 + 890) + 8;
    let (first, second) = (12..12 + length, 12 + length..12 + 2 * length);
    let exchanged = [&whole[..12], &whole[second.clone()], &whole[first.clone()], &whole[second.end..]].concat();
    let twice = [&whole[..12], &whole[first.clone()], &whole[first], &whole[second.end..]].concat();
    for bytes in [exchanged, twice] {
        fs::write(&path, bytes).expect("it can be written");
        let error = read(&path, facts).expect_err("blocks are elsewhere").to_string();
        assert!(error.contains("a block does not have its checksum"), "{error}");
    }
}

#[test]
fn a_later_version_is_refused_by_its_number() {
    let folder = folder();
    let (path, facts) = write(&folder, "file", &some());
    let mut bytes = fs::read(&path).expect("a file");
    bytes[11] = 2;
    fs::write(&path, bytes).expect("it can be written");
    let error = read(&path, facts).expect_err("a later version").to_string();
    assert!(error.ends_with("it has format version 2, and this wasmill reads up to 1; use a later wasmill"), "{error}");
}

proptest! {
    #[test]
    fn any_entries_are_read_back(entries in btree_map(proptest::collection::vec(any::<u8>(), 1..40), 0_usize..3_000, 0..150)) {
        let folder = folder();
        let entries: Entries = entries.into_iter().map(|(key, length)| (key, vec![length as u8; length])).collect();
        let (path, facts) = write(&folder, "file", &entries);
        prop_assert_eq!(read(&path, facts).expect("it is whole"), entries);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), entries: u64, checksum: u64) {
        let folder = folder();
        let path = folder.path().join("file");
        let bytes = [&b"wasmillS\0\0\0\x01"[..], &bytes].concat();
        fs::write(&path, &bytes).expect("it can be written");
        let facts = FileFacts { bytes: bytes.len() as u64, entries, checksum };
        prop_assert!(read(&path, facts).is_err());
    }
}
