//! Every line is given out once over any number of restores, and what can't be read on is refused.

use std::{io::Write, time::SystemTime};

use super::*;
use crate::connector::{Content, InvalidJson, InvalidUtf8, SourceFile, testing::context};

/// How lines come that are not UTF-8 or not JSON.
fn formats() -> [LineFormat; 3] {
    let json = Content::Json { invalid: InvalidJson::Skip, key: None };
    [
        LineFormat::default(),
        LineFormat { invalid_utf8: InvalidUtf8::Skip, content: Content::Text },
        LineFormat { invalid_utf8: InvalidUtf8::Skip, content: json },
    ]
}

/// What a source of that format gives for a file's bytes, said as plainly as possible.
fn expected(format: &LineFormat, bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = lines_of(bytes).into_iter();
    let text = lines.filter_map(|line| match format.invalid_utf8 {
        InvalidUtf8::Skip => String::from_utf8(line).ok(),
        InvalidUtf8::Replace | InvalidUtf8::Fail => Some(String::from_utf8_lossy(&line).into_owned()),
    });
    let wanted = |line: &String| match format.content {
        Content::Text => true,
        Content::Json { .. } => serde_json::from_str::<serde_json::Value>(line).is_ok(),
    };
    text.filter(wanted).map(String::into_bytes).collect()
}

/// Opens the source and lets each of some tasks read a number of batches, in turn; what was read, and where the source is then.
fn read_some(
    source: &FileSource,
    position: Option<&SourcePosition>,
    batches: &[usize],
    limits: BatchLimits,
) -> (Vec<Vec<u8>>, SourcePosition) {
    source.prepare(position).expect("the files are there");
    let parallelism = batches.len() as u32;
    let mut readers: Vec<_> =
        (0..parallelism).map(|task| source.reader(context(task, parallelism)).expect("it opens")).collect();
    let mut lines = Vec::new();
    let rounds = batches.iter().copied().max().unwrap_or_default();
    for round in 0..rounds {
        let mut ended = 0;
        for (reader, _) in readers.iter_mut().zip(batches).filter(|(_, batches)| round < **batches) {
            let mut batch = Batch::default();
            let read = reader.read(Duration::ZERO, &mut batch, limits).expect("the files are fine");
            lines.extend(values(&[batch]));
            ended += usize::from(read == Read::End);
            // That a position was asked for changes nothing.
            if round % 2 == 0 {
                reader.position();
            }
        }
        if ended == readers.len() {
            break;
        }
    }
    let mut read = SplitsRead::default();
    readers.iter_mut().for_each(|reader| read.merge(reader.position()));
    (lines, source.position(read))
}

fn write(folder: &TempDir, files: &[(String, Vec<u8>)]) {
    files.iter().for_each(|(name, content)| fs::write(folder.path().join(name), content).expect("a file is written"));
}

fn compress(kind: usize, name: usize, content: &[u8]) -> (String, Vec<u8>) {
    match kind {
        0 => (format!("{name}.txt"), content.to_vec()),
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).expect("memory takes it");
            (format!("{name}.gz"), encoder.finish().expect("memory takes it"))
        }
        _ => (format!("{name}.zst"), zstd::stream::encode_all(content, 1).expect("memory takes it")),
    }
}

/// Text with lines that are JSON among the others.
fn mixed() -> impl Strategy<Value = Vec<u8>> {
    let json = prop_oneof![Just(b"{\"a\":1}\n".to_vec()), Just(b"7\n".to_vec()), Just(b"[]\r\n".to_vec())];
    let piece = prop_oneof![2 => json, 1 => text(6)];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A source that has read the first of the lines "one", "two", "three" in splits of four bytes; with its position.
fn begun(folder: &TempDir) -> (FileSource, SourcePosition) {
    let source = source(folder).with_splits(4);
    let limits = BatchLimits { records: 1, bytes: 1 << 20 };
    let (lines, position) = read_some(&source, None, &[1], limits);
    assert_eq!(lines, [b"one"]);
    (source, position)
}

const TEXT: (&str, &[u8]) = ("a", b"one\ntwo\nthree\n");

#[test]
fn a_position_says_what_was_read() {
    let folder = folder(&[("a", b"one\ntwo\nthree\n"), ("b", b"x")]);
    let source = source(&folder).with_splits(6);
    let limits = BatchLimits { records: 1, bytes: 1 << 20 };
    let read = |batches| read_some(&source, None, &[batches], limits);
    let splits = |batches| read(batches).1.splits;
    let reading = |split, offset| vec![SplitOffset { split, offset }];
    let done = |until: u64| if until == 0 { Vec::new() } else { std::iter::once(0..until).collect::<Vec<_>>() };
    assert_eq!(splits(0), SplitsRead::default());
    assert_eq!(splits(1), SplitsRead { done: done(0), reading: reading(0, 4) });
    assert_eq!(splits(2), SplitsRead { done: done(1), reading: Vec::new() });
    assert_eq!(splits(3), SplitsRead { done: done(2), reading: Vec::new() }, "a line belongs to its first byte");
    assert_eq!(splits(4), SplitsRead { done: done(4), reading: Vec::new() }, "in the third split no line begins");
    let SourcePosition { files, split_bytes, .. } = read(1).1;
    assert_eq!(split_bytes, 6);
    let found: Vec<_> = files.iter().map(|file| (file.path.clone(), file.bytes, file.compression)).collect();
    assert_eq!(found, [(folder.path().join("a"), 14, Codec::Plain), (folder.path().join("b"), 1, Codec::Plain)]);
    let modified = fs::metadata(folder.path().join("a")).and_then(|file| file.modified()).expect("it is there");
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    assert_eq!(files[0].modified_ms, since.as_millis() as i64);
}

#[test]
fn splits_that_were_begun_come_first() {
    let folder = folder(&[("a", b"a\nb\nc\nd\ne\nf\ng\nh\n")]);
    let source = source(&folder).with_splits(4);
    let (_, mut position) = read_some(&source, None, &[0], BatchLimits::default());
    position.splits.merge(SplitsRead {
        done: std::iter::once(1..2).collect(),
        reading: vec![SplitOffset { split: 2, offset: 10 }],
    });
    let (lines, _) = read_some(&source, Some(&position), &[100], BatchLimits { records: 1, bytes: 1 << 20 });
    assert_eq!(lines, [b"f", b"a", b"b", b"g", b"h"]);
}

#[test]
fn files_that_are_done_may_be_gone_and_new_ones_are_not_read() {
    let folder = folder(&[("a", b"a1\na2\n"), ("b", b"b1\nb2\n")]);
    let source = source(&folder);
    let (_, position) = read_some(&source, None, &[3], BatchLimits { records: 1, bytes: 1 << 20 });
    fs::remove_file(folder.path().join("a")).expect("it is there");
    fs::write(folder.path().join("c"), "c").expect("a file is written");
    let mut more = fs::OpenOptions::new().append(true).open(folder.path().join("b")).expect("it is there");
    more.write_all(b"b3\n").expect("it is written");
    let (rest, end) = read_some(&source, Some(&position), &[100], BatchLimits::default());
    assert_eq!(rest, [b"b2"]);
    assert_eq!(end.files, position.files);
    assert!((0..2).all(|split| end.splits.is_done(split)) && end.splits.reading.is_empty());
    fs::remove_file(folder.path().join("b")).expect("it is there");
    let (nothing, again) = read_some(&source, Some(&end), &[100; 3], BatchLimits::default());
    assert!(nothing.is_empty() && again == end);
}

#[test]
fn files_that_are_needed_and_missing_or_shorter_are_refused() {
    let refused = |change: &dyn Fn(&Path)| {
        let folder = folder(&[TEXT]);
        let (source, position) = begun(&folder);
        change(&folder.path().join("a"));
        source.prepare(Some(&position)).expect_err("it is not there").to_string()
    };
    let gone = refused(&|path| fs::remove_file(path).expect("it is there"));
    assert!(gone.contains("a: opening it again (the checkpoint says that a part of it is still to be read"), "{gone}");
    let shorter = refused(&|path| fs::write(path, "one\ntwo\n").expect("it is written"));
    assert!(
        shorter.contains("a: the file became shorter: it had 14 bytes when it was listed, now it has 8"),
        "{shorter}"
    );
    let other = refused(&|path| {
        fs::remove_file(path).expect("it is there");
        fs::create_dir(path).expect("nothing is there");
    });
    assert!(other.contains("a: it was a file when it was listed, and is none now"), "{other}");
}

#[test]
fn a_file_that_was_touched_is_read_on() {
    let folder = folder(&[TEXT]);
    let (source, position) = begun(&folder);
    let file = File::options().write(true).open(folder.path().join("a")).expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH).expect("it is ours");
    let (rest, _) = read_some(&source, Some(&position), &[100], BatchLimits::default());
    assert_eq!(rest, [b"two".to_vec(), b"three".to_vec()]);
}

#[test]
fn a_compressed_file_that_became_another_one_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("0.gz");
    let content = "a line\n".repeat(1000);
    write(&folder, &[compress(1, 0, content.as_bytes())]);
    let source = source(&folder);
    let (_, mut position) = read_some(&source, None, &[1], BatchLimits { records: 900, bytes: 1 << 20 });
    assert_eq!(position.splits.reading, [SplitOffset { split: 0, offset: 900 * 7 }]);
    let (_, other) = compress(1, 0, b"short\n");
    fs::write(&path, &other).expect("it is written");
    position.files[0].bytes = other.len() as u64;
    source.prepare(Some(&position)).expect("its size is what it was");
    let mut reader = source.reader(context(0, 1)).expect("it opens");
    let error = loop {
        match reader.read(Duration::ZERO, &mut Batch::default(), BatchLimits::default()) {
            Ok(read) => assert_eq!(read, Read::More),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("0.gz: the file is another one than before: it ends at byte 6 (uncompressed)"), "{error}");
    assert!(error.contains("read up to byte 6300"), "{error}");
}

#[test]
fn positions_that_do_not_fit_are_refused() {
    let folder = folder(&[TEXT]);
    let (source, position) = begun(&folder);
    let refused = |change: &dyn Fn(&mut SourcePosition)| {
        let mut position = position.clone();
        change(&mut position);
        source.prepare(Some(&position)).expect_err("it does not fit").to_string()
    };
    let other: [&dyn Fn(&mut SourcePosition); 2] =
        [&|position| position.files.clear(), &|position| position.split_bytes = 0];
    for change in other {
        assert!(refused(change).contains("a position of another type of source"));
    }
    let read = |split, offset| vec![SplitOffset { split, offset }];
    let wrong: [&dyn Fn(&mut SplitsRead); 4] = [
        &|splits| splits.done = std::iter::once(0..5).collect(),
        &|splits| splits.reading = read(4, 16),
        &|splits| splits.reading = read(2, 7),
        &|splits| splits.reading = read(3, 14),
    ];
    for change in wrong {
        let error = refused(&|position| change(&mut position.splits));
        assert!(error.contains("does not fit the files that it names"), "{error}");
    }
    let file = SourceFile { path: "/nowhere".into(), bytes: 0, modified_ms: 0, compression: Codec::Zstd };
    let empty = SourcePosition { files: vec![file], split_bytes: 1, splits: SplitsRead::default() };
    source.prepare(Some(&empty)).expect("nothing is to be read");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn lines_are_given_out_once_over_restores_at_any_point_and_parallelism(
        contents in proptest::collection::vec((mixed(), 0_usize..3), 1..4),
        format in 0_usize..3,
        split_bytes in 1_u64..60,
        runs in proptest::collection::vec(proptest::collection::vec(0_usize..6, 1..4), 0..6),
        records in 1_usize..5,
    ) {
        let format = formats()[format].clone();
        let folder = TempDir::new().expect("a folder");
        let compressed = |(index, (content, kind)): (usize, &(Vec<u8>, usize))| compress(*kind, index, content);
        write(&folder, &contents.iter().enumerate().map(compressed).collect::<Vec<_>>());
        let limits = BatchLimits { records, bytes: 1 << 20 };
        let (mut position, mut lines) = (None, Vec::new());
        for batches in runs.into_iter().chain([vec![usize::MAX; 2]]) {
            // A new source, as in a new process; its settings no longer matter.
            let source = FileSource::new(vec![folder.path().into()], Compression::Auto, format.clone());
            let source = if position.is_none() { source.with_splits(split_bytes) } else { source };
            let (read, next) = read_some(&source, position.as_ref(), &batches, limits);
            lines.extend(read);
            position = Some(SourcePosition::from_json(&next.to_json()).expect("it is read back"));
        }
        let mut expected: Vec<_> = contents.iter().flat_map(|(content, _)| expected(&format, content)).collect();
        expected.sort_unstable();
        lines.sort_unstable();
        prop_assert_eq!(lines, expected);
        let end = position.expect("there was a run");
        prop_assert!(end.splits.reading.is_empty());
    }
}
