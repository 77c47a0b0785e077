//! Lines of an input that blocks, and what becomes of one that fails.

use std::{io::Write, sync::mpsc, time::Instant};

use proptest::prelude::*;

use super::*;
use crate::{
    connector::{
        lines::tests::{lines_of, text},
        testing::context,
    },
    metrics::CounterSet,
};

/// Hands out a script of reads, a chunk each.
struct Script(std::vec::IntoIter<io::Result<Vec<u8>>>);

impl Script {
    fn input(reads: Vec<io::Result<Vec<u8>>>) -> Input {
        Box::new(Self(reads.into_iter()))
    }
}

impl io::Read for Script {
    fn read(&mut self, mut buffer: &mut [u8]) -> io::Result<usize> {
        self.0.next().unwrap_or(Ok(Vec::new())).and_then(|bytes| buffer.write(&bytes))
    }
}

/// Reads until the end, waiting to be woken when told so.
fn read_all(input: Input, counters: &CounterSet) -> Result<Vec<Vec<u8>>, ConnectorError> {
    let source = StdinSource::of(input, LineFormat::default());
    let (wake, woken) = mpsc::channel();
    let wake = Box::new(move || wake.send(()).unwrap_or(()));
    let context = TaskContext { wake, counters: counters.clone(), ..context(0, 1) };
    let mut reader = source.reader(context)?;
    let mut values = Vec::new();
    loop {
        let mut batch = Batch::default();
        let read = reader.read(Duration::ZERO, &mut batch, BatchLimits { records: 3, bytes: 1000 })?;
        assert!(batch.len() <= 3);
        values.extend(batch.values.iter().map(<[u8]>::to_vec));
        match read {
            Read::More => {}
            Read::Waiting(_) => woken.recv_timeout(Duration::from_secs(10)).unwrap(),
            Read::End => return Ok(values),
        }
    }
}

#[test]
fn lines_come_as_soon_as_they_are_whole() {
    let (mut pipe, input) = {
        let (read, write) = io::pipe().unwrap();
        (write, Box::new(read))
    };
    let source = StdinSource::of(input, LineFormat::default());
    let mut reader = source.reader(context(0, 1)).unwrap();
    let mut read = |expected: &[&str]| {
        let began = Instant::now();
        let mut batch = Batch::default();
        while batch.len() < expected.len() && began.elapsed() < Duration::from_secs(10) {
            let read = reader.read(Duration::ZERO, &mut batch, BatchLimits::default()).unwrap();
            assert!(matches!(read, Read::Waiting(_)), "nothing blocks while the pipe is open");
            std::thread::yield_now();
        }
        let expected: Vec<&[u8]> = expected.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(batch.values.iter().collect::<Vec<_>>(), expected);
    };
    read(&[]);
    pipe.write_all(b"a\nb\nhal").unwrap();
    read(&["a", "b"]);
    pipe.write_all(b"f\n").unwrap();
    read(&["half"]);
}

#[test]
fn a_read_error_comes_after_the_lines_before_it_and_names_standard_input() {
    let reads = || vec![Ok(b"a\n".to_vec()), Err(io::ErrorKind::Interrupted.into()), Err(io::Error::other("broken"))];
    let error = read_all(Script::input(reads()), &CounterSet::default()).unwrap_err();
    assert_eq!(error.to_string(), "standard input: reading it: broken");
}

#[test]
fn a_reader_that_panics_is_an_error_and_not_the_end() {
    struct Panics;
    impl io::Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("a test of a panic")
        }
    }
    let source = StdinSource::of(Box::new(Panics), LineFormat::default());
    let mut reader = source.reader(context(0, 1)).unwrap();
    loop {
        match reader.read(Duration::ZERO, &mut Batch::default(), BatchLimits::default()) {
            Ok(Read::Waiting(_)) => std::thread::yield_now(),
            Ok(read) => panic!("{read:?}"),
            Err(error) => break assert!(error.to_string().contains("has ended unexpectedly")),
        }
    }
}

/// Reads until that many lines are there.
fn take(reader: &mut dyn SourceReader, count: usize) -> Vec<String> {
    let (began, mut lines) = (Instant::now(), Vec::new());
    while lines.len() < count && began.elapsed() < Duration::from_secs(10) {
        let mut batch = Batch::default();
        reader.read(Duration::ZERO, &mut batch, BatchLimits { records: 1, bytes: 1 << 20 }).expect("the input is fine");
        lines.extend(batch.values.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
        std::thread::yield_now();
    }
    lines
}

#[test]
fn one_task_reads_at_a_time() {
    let source = StdinSource::of(Box::new(io::empty()), LineFormat::default());
    let first = source.reader(context(0, 1)).expect("nobody reads it");
    let error = source.reader(context(0, 1)).err().expect("it is being read").to_string();
    assert_eq!(error, "standard input is being read already and can't be read twice");
    drop(first);
    assert!(source.reader(context(0, 1)).is_ok());
    assert_eq!(source.parallelism_max(), 1);
}

#[test]
fn a_restart_goes_on_with_the_next_line() {
    let (input, mut pipe) = io::pipe().expect("a pipe");
    let source = StdinSource::of(Box::new(input), LineFormat::default());
    let mut reader = source.reader(context(0, 1)).expect("nobody reads it");
    pipe.write_all(b"a\nb\nc\nhal").expect("it is open");
    assert_eq!(take(&mut *reader, 1), ["a"]);
    assert!(reader.position().is_empty());
    drop(reader);
    pipe.write_all(b"f\nd\nla").expect("it is open");

    let (wake, woken) = mpsc::channel();
    let wake = Box::new(move || wake.send(()).unwrap_or(()));
    source.prepare(Some(&source.position(SplitsRead::default()))).expect("it has no position");
    let mut reader = source.reader(TaskContext { wake, ..context(0, 1) }).expect("nobody reads it");
    assert_eq!(take(&mut *reader, 4), ["b", "c", "half", "d"]);
    pipe.write_all(b"st").expect("it is open");
    drop(pipe);
    woken.recv_timeout(Duration::from_secs(10)).expect("the thread wakes the new task");
    assert_eq!(take(&mut *reader, 1), ["last"]);
    drop(reader);

    let mut reader = source.reader(context(0, 1)).expect("nobody reads it");
    let mut batch = Batch::default();
    assert_eq!(reader.read(Duration::ZERO, &mut batch, BatchLimits::default()).expect("it has ended"), Read::End);
    assert!(batch.is_empty());
}

#[test]
fn a_last_line_without_its_end_is_not_lost_or_doubled_by_a_restart() {
    let source = StdinSource::of(Script::input(vec![Ok(b"a\nb".to_vec())]), LineFormat::default());
    let mut reader = source.reader(context(0, 1)).expect("nobody reads it");
    assert_eq!(take(&mut *reader, 1), ["a"]);
    // Until the end is known: then the last line is ready, and not yet cut.
    let mut full = Batch { values: [b"x"].into_iter().collect(), ..Batch::default() };
    for _ in 0..100 {
        let limits = BatchLimits { records: 1, bytes: 1 << 20 };
        reader.read(Duration::ZERO, &mut full, limits).expect("the input is fine");
        std::thread::yield_now();
    }
    drop(reader);
    let mut reader = source.reader(context(0, 1)).expect("nobody reads it");
    assert_eq!(take(&mut *reader, 1), ["b"]);
    drop(reader);
    let mut reader = source.reader(context(0, 1)).expect("nobody reads it");
    assert_eq!(reader.read(Duration::ZERO, &mut full, BatchLimits::default()).expect("it has ended"), Read::End);
}

#[test]
fn an_input_that_failed_is_tried_again() {
    let reads = vec![Ok(b"a\nb".to_vec()), Err(io::Error::other("broken")), Ok(b"c\n".to_vec())];
    let source = StdinSource::of(Script::input(reads), LineFormat::default());
    let mut reader = source.reader(context(0, 1)).expect("nobody reads it");
    assert_eq!(take(&mut *reader, 1), ["a"]);
    let error = loop {
        match reader.read(Duration::ZERO, &mut Batch::default(), BatchLimits::default()) {
            Ok(_) => std::thread::yield_now(),
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(error, "standard input: reading it: broken");
    drop(reader);
    let mut reader = source.reader(context(0, 1)).expect("nobody reads it");
    assert_eq!(take(&mut *reader, 1), ["bc"]);
}

#[test]
fn a_position_of_another_source_is_refused() {
    let source = StdinSource::of(Box::new(io::empty()), LineFormat::default());
    assert!(!source.replays());
    let position = SourcePosition { split_bytes: 1, ..SourcePosition::default() };
    let error = source.prepare(Some(&position)).expect_err("it is another source's").to_string();
    assert!(error.starts_with("standard input: the checkpoint has a position of another type of source"), "{error}");
}

proptest! {
    #[test]
    fn all_lines_come_whatever_the_reads(bytes in text(60), chunk in 1_usize..100) {
        let reads = bytes.chunks(chunk).map(|chunk| Ok(chunk.to_vec())).collect();
        let counters = CounterSet::default();
        let lossy = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned().into_bytes();
        let expected: Vec<_> = lines_of(&bytes).into_iter().map(lossy).collect();
        prop_assert_eq!(read_all(Script::input(reads), &counters).unwrap(), expected);
        prop_assert_eq!(counters.values()["bytes-read"], bytes.len() as u64);
    }
}
