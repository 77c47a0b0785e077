//! Compressed files give the lines of what was compressed, and say where they are broken.

use std::{fs, io::Write};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    connector::{
        FileSource, LineFormat,
        lines::tests::{lines_of, text},
        testing::{drain, readers, values},
    },
    metrics::CounterSet,
    stream::BatchLimits,
};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 0).unwrap()
}

/// A zstd frame that decoders leave out, as parallel compressors write it.
fn skippable() -> Vec<u8> {
    [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat()
}

/// Bytes that do not become few.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (state >> 60) == 0 { b'\n' } else { b' ' + (state >> 57) as u8 % 64 }
    };
    (0..len).map(|_| next()).collect()
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, content)| fs::write(folder.path().join(name), content).unwrap());
    folder
}

/// What all files of a folder hold, and what was counted as read.
fn read(folder: &TempDir, compression: Compression) -> Result<(Vec<Vec<u8>>, u64), ConnectorError> {
    let source = FileSource::new(vec![folder.path().into()], compression, LineFormat::default());
    let counters = CounterSet::default();
    let batches = drain(readers(&source, 2, &counters)?, BatchLimits::default())?;
    let mut values = values(&batches.concat());
    values.sort_unstable();
    Ok((values, counters.values()["bytes-read"]))
}

#[test]
fn files_are_read_as_their_names_say() {
    let two_members = [gzip(b"a1\na"), gzip(b"2\n")].concat();
    let two_frames = [skippable(), zstd(b"b1\nb"), skippable(), zstd(b"2\n")].concat();
    let folder = folder(&[
        ("a.gz", &two_members),
        ("b.txt.zst", &two_frames),
        ("c.txt", b"c"),
        ("D.GZ", &gzip(b"d")),
        ("empty.gz", &gzip(b"")),
        ("empty.zst", b""),
        ("f.gz.txt", b"f"),
    ]);
    let (lines, bytes) = read(&folder, Compression::Auto).unwrap();
    assert_eq!(lines, [&b"a1"[..], b"a2", b"b1", b"b2", b"c", b"d", b"f"]);
    assert_eq!(bytes, 6 + 6 + 1 + 1 + 1, "uncompressed bytes are counted");
}

#[test]
fn the_setting_is_stronger_than_names() {
    let lines =
        |name, content: &[u8], compression| read(&folder(&[(name, content)]), compression).map(|(lines, _)| lines);
    assert_eq!(lines("a", &gzip(b"a"), Compression::Gzip).unwrap(), [b"a"]);
    assert_eq!(lines("a.gz", &zstd(b"a"), Compression::Zstd).unwrap(), [b"a"]);
    assert_eq!(lines("a.gz", b"a", Compression::None).unwrap(), [b"a"]);
}

#[test]
fn a_file_that_begins_otherwise_is_refused_before_the_job_starts() {
    let refused = |name, content: &[u8], compression| {
        let folder = folder(&[(name, content)]);
        let source = FileSource::new(vec![folder.path().into()], compression, LineFormat::default());
        crate::connector::Source::prepare(&source, None).unwrap_err().to_string()
    };
    let cases = [
        (
            "a.gz",
            b"text".to_vec(),
            Compression::Auto,
            "a.gz: this is a gzip file, by its name, but it does not begin like one; rename it, or set compression = \"none\"",
        ),
        (
            "a.zst",
            gzip(b"a"),
            Compression::Auto,
            "a.zst: this is a zstd file, by its name, but it begins like a gzip file; rename it, or set compression = \"gzip\"",
        ),
        (
            "a.txt",
            zstd(b"a"),
            Compression::Auto,
            "a.txt: the file is not compressed, by its name, but it begins like a zstd file",
        ),
        (
            "a.txt",
            b"a".to_vec(),
            Compression::Gzip,
            "a.txt: this is a gzip file, by the setting `compression`, but it does not begin like one",
        ),
        ("a.gz", vec![0x1f], Compression::Auto, "does not begin like one"),
    ];
    for (name, content, compression, expected) in cases {
        let error = refused(name, &content, compression);
        assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
    }
}

#[test]
fn a_file_that_is_cut_short_or_damaged_says_where() {
    let content = noise(1 << 20);
    for (name, compressed) in [("a.gz", gzip(&content)), ("a.zst", zstd(&content))] {
        for cut in [compressed.len() - 1, compressed.len() / 2, 20, 4] {
            let error = read(&folder(&[(name, &compressed[..cut])]), Compression::Auto).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{name}: after byte ")) && error.contains("ends in the middle"),
                "{cut}: {error}"
            );
        }
        let mut damaged = compressed.clone();
        damaged[compressed.len() / 2..][..64].fill(0xa5);
        let error = read(&folder(&[(name, &damaged)]), Compression::Auto).unwrap_err().to_string();
        let at = error.split(' ').find_map(|word| word.parse::<usize>().ok()).unwrap();
        assert!(error.contains("data is corrupt: ") && error.contains(name), "{error}");
        assert!((1..=content.len()).contains(&at), "{error}");
    }
    let surplus = [gzip(b"a"), noise(100)].concat();
    let error = read(&folder(&[("a.gz", &surplus)]), Compression::Auto).unwrap_err().to_string();
    assert!(error.contains("a.gz: after byte 1 (uncompressed), the gzip data is corrupt"), "{error}");
}

#[test]
fn a_checksum_that_is_wrong_is_an_error() {
    let mut compressed = gzip(b"a line\n");
    let crc = compressed.len() - 8;
    compressed[crc] ^= 1;
    let error = read(&folder(&[("a.gz", &compressed)]), Compression::Auto).unwrap_err().to_string();
    assert!(error.contains("a.gz: after byte 7 (uncompressed), the gzip data is corrupt"), "{error}");
}

#[test]
fn what_happens_to_a_file_after_the_listing() {
    let compressed = gzip(&noise(1 << 20));
    let change = |change: &dyn Fn(&Path)| {
        let folder = folder(&[("a.gz", &compressed)]);
        let source = FileSource::new(vec![folder.path().into()], Compression::Auto, LineFormat::default());
        let readers = readers(&source, 1, &CounterSet::default()).unwrap();
        change(&folder.path().join("a.gz"));
        drain(readers, BatchLimits::default())
    };
    let more = change(&|path| fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap());
    assert_eq!(values(&more.unwrap().concat()), lines_of(&noise(1 << 20)));
    let less = change(&|path| fs::write(path, &compressed[..5000]).unwrap()).unwrap_err().to_string();
    let expected = format!(
        "the file became shorter while it was read: it had {} bytes when the job began, now it has 5000",
        compressed.len()
    );
    assert!(less.contains(&expected), "{less}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn compressed_files_give_the_lines_of_plain_ones(parts in proptest::collection::vec(text(200), 0..4)) {
        let whole = parts.concat();
        let lossy = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned().into_bytes();
        let mut expected: Vec<_> = lines_of(&whole).into_iter().map(lossy).collect();
        expected.sort_unstable();
        for (name, compress) in [("a.gz", gzip as fn(&[u8]) -> Vec<u8>), ("a.zst", zstd)] {
            let compressed: Vec<u8> = parts.iter().flat_map(|part| compress(part)).collect();
            let (lines, bytes) = read(&folder(&[(name, &compressed)]), Compression::Auto).unwrap();
            prop_assert_eq!(&lines, &expected);
            prop_assert_eq!(bytes, whole.len() as u64);
        }
    }

    /// Whatever the bytes, reading ends, with lines or an error.
    #[test]
    fn damaged_files_never_hang(cut in 4_usize.., at in 4_usize.., byte: u8) {
        let content = noise(20_000);
        for (name, mut compressed) in [("a.gz", gzip(&content)), ("a.zst", zstd(&content))] {
            let len = compressed.len();
            compressed[at % (len - 4) + 4] = byte;
            compressed.truncate(cut % (len - 3) + 4);
            _ = read(&folder(&[(name, &compressed)]), Compression::Auto);
        }
    }
}
