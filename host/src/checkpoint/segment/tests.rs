//! What is written is read, the format is frozen, and whatever is cut, flipped or put elsewhere is found.

use std::{fs, path::Path};

use bytes::Bytes;
use proptest::{collection::btree_map, prelude::*};

use super::*;

type Owned = (Vec<u8>, Option<Vec<u8>>, bool, Label);

fn owned(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Owned {
    (key.into(), Some(value.into()), false, Label { state: 1, version: 1 })
}

fn entry((_, value, cleared, _): &Owned) -> Entry<'_> {
    match value {
        Some(value) => Entry::Value(value),
        None if *cleared => Entry::Cleared,
        None => Entry::Tombstone,
    }
}

fn write(entries: &[Owned]) -> (InMemory, SegmentFacts) {
    let mut writer = SegmentWriter::new();
    for each in entries {
        writer.push(&each.0, entry(each), each.3).expect("it ascends");
    }
    assert_eq!(writer.entries(), entries.len() as u64);
    let raw = writer.raw_bytes();
    let (bytes, facts) = writer.finish();
    assert_eq!((facts.bytes, facts.raw_bytes), (bytes.len() as u64, raw));
    (InMemory { name: "a.seg".to_owned(), bytes: bytes.into() }, facts)
}

fn read(source: &InMemory, facts: &SegmentFacts, key_groups: Range<u32>) -> Result<Vec<Owned>, SegmentError> {
    let mut cursor = SegmentReader::open(source.clone(), facts)?.range(key_groups);
    let mut entries = Vec::new();
    while cursor.advance()? {
        let (value, cleared) = match cursor.entry() {
            Entry::Value(value) => (Some(value.to_vec()), false),
            Entry::Tombstone => (None, false),
            Entry::Cleared => (None, true),
        };
        entries.push((cursor.key().to_vec(), value, cleared, cursor.label()));
    }
    assert!(!cursor.advance()?, "the end stays the end");
    Ok(entries)
}

const ALL: Range<u32> = 0..1 << 16;

/// A few blocks, some of which do not compress, in four key groups.
fn some() -> Vec<Owned> {
    let mut random = crate::stream::SplitMix64::new(7);
    (0_u32..4_000)
        .map(|number| {
            let group = (number / 1_000 * 3) as u16;
            let key = [&group.to_be_bytes()[..], b"\0\x01\0\x04", &number.to_be_bytes()].concat();
            let value = (0..number % 90)
                .map(|_| if number < 1_500 { random.draw() as u8 } else { number as u8 })
                .collect::<Vec<_>>();
            match number % 17 {
                3 => (key, None, false, Label { state: 1, version: 0 }),
                5 => (key, None, true, Label { state: 1, version: 0 }),
                _ => (key, Some(value), false, Label { state: 1, version: 1 + (number / 1_500) as u16 }),
            }
        })
        .collect()
}

/// Few bytes: a value, a tombstone and a cleared mark.
fn few() -> Vec<Owned> {
    vec![
        owned(b"\0\x02aa", b"value"),
        (b"\0\x02ab".to_vec(), None, false, Label { state: 1, version: 0 }),
        (b"\0\x03".to_vec(), None, true, Label { state: 1, version: 0 }),
    ]
}

#[test]
fn the_bytes_are_frozen() {
    let (source, facts) = write(&few());
    let expected = [
        &b"\0\x04\x0f\0\x01\0\x01\0\x02aavalue"[..],
        b"\x03\x01\x01\0\x01\0\0b",
        b"\x01\x01\x02\x03",
        b"\0\0\0\x01\0\0\0\x02\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x1c",
        b"\0\0\0\x1c\0\0\0\x1c",
        &0xfdb3_2aa3_9f83_7b60_u64.to_be_bytes(),
        b"\0\x02\0\0\0\0\0\x03\0\0\0\0",
        b"\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x06",
        b"\0\x01\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x09",
        b"\0\0\0\x60\0\0\0\x01",
        &0x1077_7add_bd0e_2f84_u64.to_be_bytes(),
        b"wasmillG",
    ];
    assert_eq!(source.bytes, expected.concat());
    assert_eq!(facts.checksum, 0x1077_7add_bd0e_2f84);
    assert_eq!(facts.key_groups, 2..4);
    assert_eq!(read(&source, &facts, ALL).expect("it is whole"), few());
}

/// Whatever libraries do later, this file is read as it was written.
#[test]
fn a_segment_that_was_recorded_is_still_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/segment-format-1/some.seg");
    let bytes: Bytes = fs::read(&path).expect("it was recorded").into();
    let (_, written) = write(&some());
    // What does not depend on how well the library compresses.
    let facts = SegmentFacts { bytes: bytes.len() as u64, checksum: 0xad1b_5aa6_2218_908e, ..written };
    let source = InMemory { name: "some.seg".to_owned(), bytes };
    assert!(read(&source, &facts, ALL).expect("it is whole") == some());
}

#[test]
fn a_range_of_key_groups_is_all_that_is_read_of_it() {
    let (source, facts) = write(&some());
    assert_eq!(facts.key_groups, 0..10);
    let counts: Vec<_> = facts.labels.iter().map(|count| (count.label.version, count.entries)).collect();
    assert_eq!(counts.iter().map(|(_, entries)| entries).sum::<u64>(), 4_000);
    assert_eq!(counts.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let all = some();
    for key_groups in [0..1, 0..4, 1..3, 3..4, 3..7, 9..10, 9..200, 5..20, 10..11, 0..10, 4..4, 70..80, 0..0] {
        let group = |each: &Owned| u32::from(u16::from_be_bytes([each.0[0], each.0[1]]));
        let expected: Vec<_> = all.iter().filter(|each| key_groups.contains(&group(each))).cloned().collect();
        assert!(read(&source, &facts, key_groups.clone()).expect("it is whole") == expected, "{key_groups:?}");
    }
}

#[test]
fn large_entries_and_none_at_all_are_read_back() {
    let large = vec![
        owned(b"\0\0a", vec![1; VALUE_BYTES_MAX]),
        owned(
            vec![0; KEY_BYTES_MAX].into_iter().enumerate().map(|(at, _)| u8::from(at > 1) * 0x62).collect::<Vec<_>>(),
            b"",
        ),
        owned(b"\0\0c", vec![2; BLOCK_BYTES - 9]),
        owned(b"\xff\xff", b"no key group"),
    ];
    for entries in [large, Vec::new()] {
        let (source, facts) = write(&entries);
        assert!(read(&source, &facts, ALL).expect("it is whole") == entries);
    }
    let (_, facts) = write(&[]);
    assert_eq!((facts.entries, facts.key_groups, facts.bytes), (0, 0..0, (FOOTER_HEAD + TRAILER) as u64));
}

#[test]
fn entries_that_can_t_be_stored_are_refused_and_nothing_is_appended() {
    let mut writer = SegmentWriter::new();
    let mut push = |key: &[u8], value: &[u8]| writer.push(key, Entry::Value(value), Label::default());
    push(b"\0\x01b", b"1").expect("it is the first");
    for lower in [&b"\0\x01b"[..], b"\0\x01a", b"\0\x01", b"\0\0zzzzzzzzzzzzzz"] {
        assert_eq!(push(lower, b""), Err(RefusedEntry::Order), "{lower:?}");
    }
    assert_eq!(push(b"\x09", b""), Err(RefusedEntry::Key(1)));
    assert_eq!(push(&vec![9; KEY_BYTES_MAX + 1], b""), Err(RefusedEntry::Key(KEY_BYTES_MAX + 1)));
    assert_eq!(push(b"\x09\0", &vec![0; VALUE_BYTES_MAX + 1]), Err(RefusedEntry::Value(VALUE_BYTES_MAX + 1)));
    push(b"\0\x01ba", b"2").expect("it is above");
    let (bytes, facts) = writer.finish();
    let source = InMemory { name: "a.seg".to_owned(), bytes: bytes.into() };
    let keys: Vec<_> = read(&source, &facts, ALL).expect("it is whole").into_iter().map(|each| each.0).collect();
    assert_eq!(keys, [&b"\0\x01b"[..], b"\0\x01ba"]);
}

#[test]
fn a_value_may_follow_where_its_key_is_cleared() {
    let (state, marks) = (Label { state: 1, version: 1 }, Label { state: 1, version: 0 });
    let mut entries = Vec::new();
    for number in 0..30_u8 {
        let key = vec![0, 0, number];
        entries.push((key.clone(), None, true, marks));
        // Some of the pairs lie in two blocks.
        entries.push((key.clone(), Some(vec![number; 3_000 + 40 * usize::from(number)]), false, state));
        entries.push(([key, vec![7; 8_000]].concat(), None, true, marks));
    }
    let (source, facts) = write(&entries);
    assert!(read(&source, &facts, ALL).expect("it is whole") == entries);
    assert!(read(&source, &facts, 0..1).expect("it is whole") == entries);
    let mut writer = SegmentWriter::new();
    writer.push(b"\0\0a", Entry::Cleared, marks).expect("it is the first");
    for other in [Entry::Cleared, Entry::Tombstone] {
        assert_eq!(writer.push(b"\0\0a", other, marks), Err(RefusedEntry::Order));
    }
    writer.push(b"\0\0a", Entry::Value(b"1"), state).expect("a value may follow");
    assert_eq!(writer.push(b"\0\0a", Entry::Value(b"2"), state), Err(RefusedEntry::Order));
}

#[test]
fn every_flipped_bit_is_found() {
    let (source, facts) = write(&some());
    let length = source.bytes.len();
    // All of the footer and of the first block's head, and some in between.
    for at in (0..length).filter(|at| *at < 40 || at % 499 == 0 || length - at < 200) {
        let mut bytes = source.bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let changed = InMemory { bytes: bytes.into(), ..source.clone() };
        let error = read(&changed, &facts, ALL).expect_err("a bit is wrong").to_string();
        assert!(error.starts_with("a.seg: ") && error.contains("(at byte "), "{error}");
    }
}

#[test]
fn a_cut_segment_is_found_wherever_it_was_cut() {
    let (source, facts) = write(&some());
    let length = source.bytes.len();
    for cut in [0, 1, 23, 24, 60_000, length - 24, length - 1] {
        let shorter = InMemory { bytes: source.bytes.slice(..cut), ..source.clone() };
        let error = read(&shorter, &facts, ALL).expect_err("it is cut").to_string();
        assert!(error.contains(&format!("it has {cut} bytes where {length} were written")), "{error}");
        // Even where nobody knows how long it was.
        let told = SegmentFacts { bytes: cut as u64, ..facts.clone() };
        assert!(read(&shorter, &told, ALL).is_err(), "{cut}");
    }
    // What follows behind the end is never looked at.
    let longer = InMemory { bytes: [&source.bytes[..], b"more"].concat().into(), ..source };
    assert!(read(&longer, &facts, ALL).is_ok());
}

#[test]
fn blocks_of_another_segment_are_found_even_where_only_they_are_read() {
    // Blocks of the same lengths, in files that differ in nothing else.
    let entries = |fill: u8| -> Vec<Owned> {
        let mut random = crate::stream::SplitMix64::new(u64::from(fill));
        (0_u16..300)
            .map(|group| owned(group.to_be_bytes(), (0..900).map(|_| random.draw() as u8).collect::<Vec<_>>()))
            .collect()
    };
    let ((source, facts), (other, other_facts)) = (write(&entries(1)), write(&entries(2)));
    assert_eq!((facts.bytes, &facts.labels), (other_facts.bytes, &other_facts.labels));
    assert!(read(&other, &facts, ALL).is_err(), "another file");
    let mut spliced = source.bytes.to_vec();
    spliced[..1_000].copy_from_slice(&other.bytes[..1_000]);
    let spliced = InMemory { bytes: spliced.into(), ..source.clone() };
    assert!(read(&spliced, &facts, 0..1).is_err(), "the block was taken from the other file");
    assert!(read(&spliced, &facts, 200..300).is_ok(), "what is not touched is not read");
}

#[test]
fn a_later_version_is_told_from_damage() {
    let (source, facts) = write(&few());
    let mut bytes = source.bytes.to_vec();
    let length = bytes.len();
    let footer = length - TRAILER - 0x60;
    bytes[length - 17] = 2;
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[footer..length - 16]);
    bytes[length - 16..length - 8].copy_from_slice(&checksum.to_be_bytes());
    let newer = InMemory { bytes: bytes.into(), ..source };
    let error = read(&newer, &SegmentFacts { checksum, ..facts }, ALL).expect_err("it is newer");
    assert_eq!(error.problem, SegmentProblem::Newer(2));
}

#[test]
fn facts_that_are_not_the_file_s_are_found() {
    let (source, facts) = write(&some());
    let with = |change: &dyn Fn(&mut SegmentFacts)| {
        let mut told = facts.clone();
        change(&mut told);
        read(&source, &told, ALL)
    };
    assert!(with(&|_| {}).is_ok());
    assert!(with(&|told| told.entries += 1).is_err());
    assert!(with(&|told| told.raw_bytes -= 1).is_err());
    assert!(with(&|told| told.key_groups.end += 1).is_err());
    assert!(with(&|told| told.checksum ^= 1).is_err());
    assert!(with(&|told| told.bytes = u64::MAX).is_err());
    assert!(with(&|told| told.labels[0].bytes += 1).is_err());
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        entries in btree_map(prop::collection::vec(0_u8..4, 2..12), (prop::option::of(prop::collection::vec(any::<u8>(), 0..3_000)), any::<bool>(), 0_u16..3, 0_u16..3), 0..200),
        from in 0_u32..0x400, length in 0_u32..0x400,
    ) {
        let entries: Vec<Owned> = entries
            .into_iter()
            .map(|(key, (value, cleared, state, version))| {
                let cleared = cleared && value.is_none();
                (key, value, cleared, Label { state, version })
            })
            .collect();
        let (source, facts) = write(&entries);
        prop_assert!(read(&source, &facts, ALL).expect("it is whole") == entries);
        let part: Vec<_> = entries.iter().filter(|each| (from..from + length).contains(&u32::from(u16::from_be_bytes([each.0[0], each.0[1]])))).cloned().collect();
        prop_assert!(read(&source, &facts, from..from + length).expect("it is whole") == part);
        for label in &facts.labels {
            let of_label = entries.iter().filter(|each| each.3 == label.label);
            let bytes: usize = of_label.clone().map(|each| each.0.len() + each.1.as_ref().map_or(0, Vec::len)).sum();
            prop_assert_eq!((label.entries, label.bytes), (of_label.count() as u64, bytes as u64));
        }
    }

    /// Flipped, cut, moved about or replaced by another segment's: whatever is read is what was written, or an error.
    #[test]
    fn damage_is_an_error_or_was_not_looked_at(
        how in 0_u8..4, at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), length in 1_usize..70_000, group in 0_u32..11,
    ) {
        static PAIR: std::sync::LazyLock<[(InMemory, SegmentFacts); 2]> = std::sync::LazyLock::new(|| {
            let others: Vec<_> = some().into_iter().map(|each| if each.1.is_some() { owned(each.0, b"other") } else { each }).collect();
            [write(&some()), write(&others)]
        });
        let [(source, facts), (other, _)] = &*PAIR;
        let mut bytes = source.bytes.to_vec();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] ^= 1 << (length % 8),
            1 => drop(bytes.drain(at..(at + length).min(bytes.len() - 1).max(at))),
            2 => bytes.rotate_left(at.max(1)),
            _ => {
                let from = to.index(other.bytes.len());
                let length = length.min(other.bytes.len() - from).min(bytes.len() - at);
                bytes[at..at + length].copy_from_slice(&other.bytes[from..from + length]);
            }
        }
        let whole = source.bytes == bytes;
        let damaged = InMemory { bytes: bytes.into(), ..source.clone() };
        prop_assert_eq!(read(&damaged, facts, ALL).is_ok(), whole);
        if let Ok(entries) = read(&damaged, facts, group..group + 2) {
            let of_groups = |each: &Owned| (group..group + 2).contains(&u32::from(each.0[1]));
            prop_assert!(entries == some().into_iter().filter(of_groups).collect::<Vec<_>>());
        }
    }

    /// Bytes that nobody wrote, though their checksums are right: an error or some entries in order, and no panic.
    #[test]
    fn blocks_with_right_checksums_and_wrong_bytes_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (source, mut facts) = write(&few());
        let mut bytes = source.bytes.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len() - TRAILER);
            bytes[at] = byte;
        }
        let length = bytes.len();
        let footer = length - TRAILER - 0x60;
        let block = xxhash_rust::xxh3::xxh3_64(&bytes[..0x1c]);
        bytes[footer + 36..footer + 44].copy_from_slice(&block.to_be_bytes());
        facts.checksum = xxhash_rust::xxh3::xxh3_64(&bytes[footer..length - 16]);
        bytes[length - 16..length - 8].copy_from_slice(&facts.checksum.to_be_bytes());
        let changed = InMemory { bytes: bytes.into(), ..source };
        if let Ok(entries) = read(&changed, &facts, ALL) {
            prop_assert!(entries.is_sorted_by(|one, next| one.0 < next.0 || one.0 == next.0 && one.2 && next.1.is_some()));
        }
    }
}
