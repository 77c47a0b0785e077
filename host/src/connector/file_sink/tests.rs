//! Parts become visible whole or not at all, and results of two runs never mix.

mod checkpoints;
mod exactly_once;

use std::fs::{self, File};

use tempfile::TempDir;

use super::{part::Part, *};
use crate::connector::testing::{batch, context, write_all};

fn sink(folder: &TempDir, format: Format, part_bytes: u64) -> FileSink {
    FileSink::new(folder.path().join("results"), format, part_bytes)
}

/// All files of the sink's folder with their contents, hidden ones too.
fn contents(sink: &FileSink) -> Vec<(String, String)> {
    let read = |name: String| {
        let content = fs::read_to_string(sink.folder.join(&name)).unwrap();
        (name, content)
    };
    folder::names(&sink.folder).unwrap().into_iter().map(read).collect()
}

fn files(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, content)| ((*name).into(), (*content).into())).collect()
}

#[test]
fn each_task_and_input_has_parts_of_its_own() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder, Format::Json, 1 << 20);
    sink.prepare(Commits::AtEnd).unwrap();
    let writer = |task, schema| sink.writer(context(task, 3), &schema).unwrap();
    write_all(writer(0, Schema::text()), ["a", "b\n"]).unwrap();
    write_all(writer(0, Schema::u64()), [7_u64.to_le_bytes()]).unwrap();
    write_all(writer(12, Schema::text()), ["c"]).unwrap();
    write_all(writer(2, Schema::text()), Vec::<&str>::new()).unwrap();
    assert_eq!(
        contents(&sink),
        files(&[
            ("part-0000-0000.jsonl", "\"a\"\n\"b\\n\"\n"),
            ("part-0000-1-0000.jsonl", "7\n"),
            ("part-0012-0000.jsonl", "\"c\"\n"),
        ])
    );
}

#[test]
fn a_part_is_closed_when_it_is_large_enough() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder, Format::Raw, 6);
    sink.prepare(Commits::AtEnd).unwrap();
    let mut writer = sink.writer(context(0, 1), &Schema::text()).unwrap();
    writer.write(&batch(["one", "two", "longer than a part"])).unwrap();
    writer.write(&batch(["x"])).unwrap();
    let closed = [("part-0000-0000.txt", "one\ntwo\n"), ("part-0000-0001.txt", "longer than a part\n")];
    assert_eq!(contents(&sink)[1..], files(&closed), "the last part is hidden");
    assert_eq!(contents(&sink)[0].0, ".part-0000-0002.txt.inprogress");
    writer.flush().unwrap();
    assert_eq!(contents(&sink)[0].1, "x\n");
    writer.finish().unwrap();
    assert_eq!(contents(&sink)[2..], files(&[("part-0000-0002.txt", "x\n")]));
}

#[test]
fn more_than_the_buffer_is_written_whole() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder, Format::Raw, u64::MAX);
    sink.prepare(Commits::AtEnd).unwrap();
    let lines: Vec<String> = (0..200_000).map(|i| format!("line {i}")).collect();
    write_all(sink.writer(context(0, 1), &Schema::text()).unwrap(), &lines).unwrap();
    let expected = lines.join("\n") + "\n";
    assert_eq!(contents(&sink), files(&[("part-0000-0000.txt", &expected)]));
}

#[test]
fn a_writer_that_is_dropped_takes_back_its_hidden_part() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder, Format::Raw, 4);
    sink.prepare(Commits::AtEnd).unwrap();
    let mut writer = sink.writer(context(0, 1), &Schema::text()).unwrap();
    writer.write(&batch(["kept", "lost"])).unwrap();
    writer.write(&batch(["a"])).unwrap();
    drop(writer);
    assert_eq!(contents(&sink), files(&[("part-0000-0000.txt", "kept\n"), ("part-0000-0001.txt", "lost\n")]));
}

#[test]
fn leftovers_of_earlier_runs_are_removed_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder, Format::Raw, 4);
    fs::create_dir_all(&sink.folder).unwrap();
    for name in [".part-0000-0000.txt.inprogress", ".part-0003-0001.jsonl.inprogress"] {
        fs::write(sink.folder.join(name), "half").unwrap();
    }
    let others = [(".gitignore", "*"), (".part-mine", ""), ("notes.md", "hello"), ("x.inprogress", "")];
    for (name, content) in others {
        fs::write(sink.folder.join(name), content).unwrap();
    }
    sink.prepare(Commits::AtEnd).unwrap();
    assert_eq!(contents(&sink), files(&others));
}

#[test]
fn folders_that_do_not_fit_are_refused_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder, Format::Json, 4);
    let error = || sink.prepare(Commits::AtEnd).unwrap_err().to_string();

    fs::write(&sink.folder, "a file").unwrap();
    assert!(error().contains("results: this is not a folder"), "{}", error());

    fs::remove_file(&sink.folder).unwrap();
    sink.prepare(Commits::AtEnd).unwrap();
    fs::write(sink.folder.join("part-0000-0000.jsonl"), "").unwrap();
    assert!(error().contains("earlier run (part-0000-0000.jsonl); remove them (rm "), "{}", error());
    fs::write(sink.folder.join("part-0001-0000.jsonl"), "").unwrap();
    assert!(error().contains("(part-0000-0000.jsonl and 1 more)"), "{}", error());
}

#[test]
fn a_second_run_in_the_same_folder_is_refused_while_the_first_one_writes() {
    let folder = TempDir::new().unwrap();
    let first = sink(&folder, Format::Raw, 100);
    first.prepare(Commits::AtEnd).unwrap();
    let mut writer = first.writer(context(0, 1), &Schema::text()).unwrap();
    writer.write(&batch(["a"])).unwrap();
    let error = sink(&folder, Format::Raw, 100).prepare(Commits::AtEnd).unwrap_err().to_string();
    assert!(error.contains("another run is writing into this folder"), "{error}");
    writer.finish().unwrap();
    assert_eq!(contents(&first), files(&[("part-0000-0000.txt", "a\n")]));
}

#[test]
fn errors_name_the_path_and_what_was_tried() {
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder, Format::Json, 100);
    sink.prepare(Commits::AtEnd).unwrap();
    let mut writer = sink.writer(context(0, 1), &Schema::u64()).unwrap();
    let error = writer.write(&batch(["7"])).unwrap_err().to_string();
    assert!(error.starts_with("a record of a u64 in 8 bytes can't be written as JSON: "), "{error}");

    fs::remove_dir_all(&sink.folder).unwrap();
    let mut writer = sink.writer(context(1, 2), &Schema::text()).unwrap();
    let error = writer.write(&batch(["7"])).unwrap_err().to_string();
    assert!(error.contains("results/.part-0001-0000.jsonl.inprogress: creating the file: No such"), "{error}");
}

#[test]
fn a_full_disk_is_an_error_of_the_file() {
    // A device that is always full, in place of the file.
    let folder = TempDir::new().unwrap();
    let sink = sink(&folder, Format::Raw, u64::MAX);
    sink.prepare(Commits::AtEnd).unwrap();
    let mut part = Part::create(sink.folder.join(".part-0000-0000.txt.inprogress")).unwrap();
    part.replace_file(File::options().write(true).open("/dev/full").unwrap());
    part.append(|buffer| {
        buffer.extend(b"x\n");
        Ok(())
    })
    .unwrap();
    let error = part.close().err().expect("the disk is full").to_string();
    assert!(error.contains(".part-0000-0000.txt.inprogress: writing to the file: No space"), "{error}");
    assert_eq!(contents(&sink), []);
}
