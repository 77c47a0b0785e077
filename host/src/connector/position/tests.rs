//! Positions add up as sets do, and are read back as they were written.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;

/// How far each split was read, said as plainly as possible: None is "to its end".
type Plain = BTreeMap<u64, Option<u64>>;

fn plain(read: &SplitsRead) -> Plain {
    let done = read.done.iter().cloned().flatten().map(|split| (split, None));
    done.chain(read.reading.iter().map(|read| (read.split, Some(read.offset)))).collect()
}

fn splits_read() -> impl Strategy<Value = SplitsRead> {
    let offset = (0_u64..20, 0_u64..100).prop_map(|(split, offset)| SplitOffset { split, offset });
    (vec((0_u64..20, 0_u64..6), 0..6), vec(offset, 0..6)).prop_map(|(done, reading)| {
        let mut read = SplitsRead::default();
        read.merge(SplitsRead { done: done.into_iter().map(|(from, len)| from..from + len).collect(), reading });
        read
    })
}

fn position() -> impl Strategy<Value = SourcePosition> {
    let codec = prop_oneof![Just(Codec::Plain), Just(Codec::Gzip), Just(Codec::Zstd)];
    let file =
        (vec(1_u8.., 0..9), any::<u64>(), any::<i64>(), codec).prop_map(|(path, bytes, modified_ms, compression)| {
            SourceFile { path: OsString::from_vec(path).into(), bytes, modified_ms, compression }
        });
    (vec(file, 0..4), any::<u64>(), splits_read()).prop_map(|(files, split_bytes, splits)| SourcePosition {
        files,
        split_bytes,
        splits,
    })
}

/// A position of which every part is there.
fn example() -> SourcePosition {
    let file = |path: &[u8], compression| SourceFile {
        path: OsString::from_vec(path.to_vec()).into(),
        bytes: 50_000_000,
        modified_ms: 1_763_654_400_000,
        compression,
    };
    SourcePosition {
        files: vec![file(b"/data/a.txt", Codec::Plain), file(b"/data/b.gz", Codec::Gzip), file(b"/\xff", Codec::Zstd)],
        split_bytes: 16 << 20,
        splits: SplitsRead { done: vec![0..2, 3..4], reading: vec![SplitOffset { split: 2, offset: 33_554_500 }] },
    }
}

#[test]
fn the_json_is_frozen() {
    let expected = json!({
        "files": [
            { "path": "/data/a.txt", "bytes": 50_000_000, "modified-ms": 1_763_654_400_000_i64, "compression": "none" },
            { "path": "/data/b.gz", "bytes": 50_000_000, "modified-ms": 1_763_654_400_000_i64, "compression": "gzip" },
            { "path-hex": "2fff", "bytes": 50_000_000, "modified-ms": 1_763_654_400_000_i64, "compression": "zstd" },
        ],
        "split-bytes": 16_777_216,
        "splits": { "done": [{ "from": 0, "until": 2 }, { "from": 3, "until": 4 }], "reading": [{ "split": 2, "offset": 33_554_500 }] },
    });
    assert_eq!(example().to_json(), expected);
    assert_eq!(SourcePosition::from_json(&expected).unwrap(), example());
}

#[test]
fn what_is_no_position_is_refused() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut value = example().to_json();
        change(&mut value);
        SourcePosition::from_json(&value).expect_err("it is no position").to_string()
    };
    let cases: [(&dyn Fn(&mut Value), &str); 9] = [
        (&|value| value["more"] = json!(1), "unknown field `more`"),
        (&|value| value["files"][0]["color"] = json!("red"), "unknown field `color`"),
        (&|value| *value = json!([]), "this is not the position of a source: "),
        (
            &|value| value["splits"]["done"] = json!([{ "from": 3, "until": 4 }, { "from": 0, "until": 2 }]),
            "not in order",
        ),
        (
            &|value| value["splits"]["done"] = json!([{ "from": 0, "until": 1 }, { "from": 1, "until": 2 }]),
            "not in order",
        ),
        (&|value| value["splits"]["reading"] = json!([{ "split": 1, "offset": 7 }]), "not in order"),
        (&|value| value["splits"]["reading"] = json!([{ "split": 2, "offset": -7 }]), "-7"),
        (&|value| value["files"][2]["path-hex"] = json!("2ff"), "`path-hex` is \"2ff\""),
        (&|value| value["files"][2]["path"] = json!("/a"), "either `path` or `path-hex`"),
    ];
    for (change, expected) in cases {
        let error = refused(change);
        assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
    }
}

proptest! {
    #[test]
    fn merging_keeps_what_got_further(one in splits_read(), other in splits_read()) {
        let mut merged = one.clone();
        merged.merge(other.clone());
        let mut expected = plain(&one);
        for (split, offset) in plain(&other) {
            let further = |known: Option<u64>| known.zip(offset).map(|(known, offset)| known.max(offset));
            expected.entry(split).and_modify(|known| *known = further(*known)).or_insert(offset);
        }
        prop_assert_eq!(plain(&merged), expected.clone());
        prop_assert!(merged.done.windows(2).all(|pair| pair[0].end < pair[1].start));
        for split in 0..30 {
            prop_assert_eq!(merged.is_done(split), expected.get(&split) == Some(&None));
            prop_assert_eq!(merged.offset_of(split), expected.get(&split).copied().flatten());
        }
        prop_assert_eq!(merged.is_empty(), expected.is_empty());
        let mut turned = other;
        turned.merge(one);
        prop_assert_eq!(turned, merged);
    }

    #[test]
    fn positions_are_read_back_as_they_were(position in position()) {
        let text = position.to_json().to_string();
        prop_assert_eq!(SourcePosition::from_json(&serde_json::from_str(&text).unwrap()).unwrap(), position);
    }
}
