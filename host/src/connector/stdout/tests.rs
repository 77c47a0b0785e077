//! Lines of several tasks never mix, and a reader that goes away is told apart from a failure.

use std::thread;

use super::*;
use crate::connector::testing::{batch, context, write_all};

/// A place that remembers each write.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

impl Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().push(b"flush".to_vec());
        Ok(())
    }
}

/// A place that fails.
struct Fails(ErrorKind);

impl Write for Fails {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_batch_is_one_write() {
    let writes = Writes::default();
    let sink = StdoutSink::of(Box::new(writes.clone()), Format::Json);
    sink.prepare(Commits::AtEnd).unwrap();
    let mut writer = sink.writer(context(0, 1), &Schema::text()).unwrap();
    writer.write(&batch(["a", "b"])).unwrap();
    writer.flush().unwrap();
    write_all(writer, ["c"]).unwrap();
    let expected = ["\"a\"\n\"b\"\n", "flush", "\"c\"\n", "flush"];
    assert_eq!(*writes.0.lock().unwrap(), expected.map(|text| text.as_bytes().to_vec()));
    assert!(!sink.reads_keys());
}

#[test]
fn lines_of_several_tasks_do_not_mix() {
    let writes = Writes::default();
    let sink = StdoutSink::of(Box::new(writes.clone()), Format::Raw);
    thread::scope(|scope| {
        for task in 0..4 {
            let mut writer = sink.writer(context(task, 4), &Schema::text()).unwrap();
            scope.spawn(move || {
                for number in 0..100 {
                    writer.write(&batch([format!("{task} {number} a"), format!("{task} {number} b")])).unwrap();
                }
            });
        }
    });
    let writes = writes.0.lock().unwrap();
    let text = String::from_utf8(writes.concat()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 800);
    for pair in lines.chunks(2) {
        assert_eq!(pair[0].strip_suffix('a'), pair[1].strip_suffix('b'));
    }
}

#[test]
fn a_closed_pipe_is_no_error_of_the_disk() {
    let error = |kind| {
        let sink = StdoutSink::of(Box::new(Fails(kind)), Format::Raw);
        write_all(sink.writer(context(0, 1), &Schema::text()).unwrap(), ["a"]).unwrap_err()
    };
    assert!(matches!(error(ErrorKind::BrokenPipe), ConnectorError::Closed));
    let full = error(ErrorKind::StorageFull).to_string();
    assert!(full.starts_with("standard output: writing to it: "), "{full}");
}
