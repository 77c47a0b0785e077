//! Lines are cut where they end, whatever the pieces in which the bytes come.

use proptest::{collection, prelude::*};

use super::*;

/// What the lines of some bytes are, said as plainly as possible.
pub(in crate::connector) fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    lines.pop_if(|last| last.is_empty());
    lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect()
}

/// Bytes that have many line ends and some that are not UTF-8.
pub(in crate::connector) fn text(len: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => Just(b"\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        3 => "[a-z]{0,12}".prop_map(String::into_bytes),
        1 => "[a-zé€😀]{0,90}".prop_map(String::into_bytes),
        1 => collection::vec(0_u8.., 0..4),
    ];
    collection::vec(piece, 0..len).prop_map(|pieces| pieces.concat())
}

const ALL: BatchLimits = BatchLimits { records: usize::MAX, bytes: usize::MAX };

/// Gives the bytes in chunks, and cuts a few lines at a time.
fn cut(
    bytes: &[u8],
    chunk: usize,
    records: usize,
    policy: InvalidUtf8,
    counters: &CounterSet,
) -> Result<Vec<Vec<u8>>, ConnectorError> {
    let mut lines = Lines::new(policy, counters);
    lines.begin(Arc::from(Path::new("test")), Start::Line, 0, u64::MAX);
    let mut all = Vec::new();
    let mut drain = |lines: &mut Lines| -> Result<(), ConnectorError> {
        while lines.has_lines() {
            let mut column = BytesColumn::default();
            lines.cut(&mut column, BatchLimits { records, ..ALL })?;
            assert!(column.len() <= records);
            all.extend(column.iter().map(<[u8]>::to_vec));
        }
        Ok(())
    };
    for chunk in bytes.chunks(chunk) {
        lines.room(chunk.len()).copy_from_slice(chunk);
        lines.took(chunk.len())?;
        drain(&mut lines)?;
    }
    lines.end();
    drain(&mut lines)?;
    Ok(all)
}

#[test]
fn lines_end_where_they_should() {
    let long = "x".repeat(1000);
    let cases: [(&[u8], &[&[u8]]); 9] = [
        (b"", &[]),
        (b"\n", &[b""]),
        (b"a", &[b"a"]),
        (b"a\n", &[b"a"]),
        (b"a\n\nb", &[b"a", b"", b"b"]),
        (b"a\r\nb\r", &[b"a", b"b"]),
        (b"\r\n\r\n", &[b"", b""]),
        (b"a\rb\r\r\n", &[b"a\rb\r"]),
        (long.as_bytes(), &[long.as_bytes()]),
    ];
    for (bytes, expected) in cases {
        let counters = CounterSet::default();
        let lines = cut(bytes, 1 << 16, 1000, InvalidUtf8::Fail, &counters).unwrap();
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_full_column_takes_no_more() {
    let mut lines = Lines::new(InvalidUtf8::Replace, &CounterSet::default());
    lines.begin(Arc::from(Path::new("test")), Start::Line, 0, u64::MAX);
    lines.room(8).copy_from_slice(b"a\nbb\ncc\n");
    lines.took(8).unwrap();
    let mut column = BytesColumn::default();
    lines.cut(&mut column, BatchLimits { records: 9, bytes: 0 }).unwrap();
    lines.cut(&mut column, BatchLimits { records: 0, bytes: 9 }).unwrap();
    assert!(column.is_empty());
    lines.cut(&mut column, BatchLimits { records: 9, bytes: 2 }).unwrap();
    assert_eq!(column.len(), 2, "a column is closed by the line that makes it full");
}

#[test]
fn lines_that_are_not_utf8_are_treated_as_set_and_counted() {
    let bytes = b"good\nb\xffd\r\n\xe2\x82\nfine";
    let cases: [(InvalidUtf8, &[&str]); 2] =
        [(InvalidUtf8::Replace, &["good", "b\u{fffd}d", "\u{fffd}", "fine"]), (InvalidUtf8::Skip, &["good", "fine"])];
    for (policy, expected) in cases {
        let counters = CounterSet::default();
        let lines = cut(bytes, 100, 100, policy, &counters).unwrap();
        assert_eq!(lines, expected.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>());
        assert_eq!(counters.values()["invalid-utf8"], 2);
    }
    let counters = CounterSet::default();
    let error = cut(bytes, 100, 100, InvalidUtf8::Fail, &counters).unwrap_err().to_string();
    assert!(error.starts_with("test: byte 6 is not UTF-8, in the line that begins at byte 5; repair"), "{error}");
    assert_eq!(counters.values()["invalid-utf8"], 1);
}

#[test]
fn the_longest_line_is_taken_and_a_longer_one_is_an_error_that_says_where() {
    for (len, end) in [(0, "\n"), (0, ""), (1, "\n"), (1, "")] {
        let mut bytes = b"first\n".to_vec();
        bytes.resize(6 + LINE_BYTES_MAX + len, b'x');
        bytes.extend(end.as_bytes());
        let result = cut(&bytes, READ_BYTES, 10, InvalidUtf8::Fail, &CounterSet::default());
        if len == 0 {
            assert_eq!(result.unwrap()[1].len(), LINE_BYTES_MAX);
        } else {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("test: the line that begins at byte 6 is longer than 16 MiB"));
        }
    }
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_chunks_and_columns(bytes in text(60), chunk in 1_usize..80, records in 1_usize..8) {
        let expected: Vec<_> = lines_of(&bytes);
        let counters = CounterSet::default();
        let lossy = |line: &Vec<u8>| String::from_utf8_lossy(line).into_owned().into_bytes();
        prop_assert_eq!(
            cut(&bytes, chunk, records, InvalidUtf8::Replace, &counters).unwrap(),
            expected.iter().map(lossy).collect::<Vec<_>>()
        );
        let bad = expected.iter().filter(|line| std::str::from_utf8(line).is_err()).count();
        prop_assert_eq!(counters.values()["invalid-utf8"], bad as u64);
        let good: Vec<_> = expected.into_iter().filter(|line| std::str::from_utf8(line).is_ok()).collect();
        prop_assert_eq!(cut(&bytes, chunk, records, InvalidUtf8::Skip, &counters).unwrap(), good);
    }

    #[test]
    fn line_feeds_are_found_exactly(bytes in collection::vec(prop_oneof![Just(b'\n'), 0_u8..], 64)) {
        let block: &[u8; 64] = bytes.first_chunk().unwrap();
        let bit = |i: usize| u64::from(block[i] == b'\n') << i;
        let expected = (0..64).map(bit).sum::<u64>();
        prop_assert_eq!(scan::line_feeds(block), expected);
        prop_assert_eq!(scan::line_feeds_by_words(block), expected);
    }
}
