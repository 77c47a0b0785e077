//! With checkpoints: what is visible when, what is refused, what is removed.

use super::*;
use crate::{connector::Prepared, stream::CheckpointId};

/// A writer of lines.
fn writer(sink: &FileSink, task: u32) -> Box<dyn SinkWriter> {
    sink.writer(context(task, 4), &Schema::text()).expect("a writer opens")
}

/// Sets aside what was written, and does the work that belongs to it.
fn prepare_commit(writer: &mut dyn SinkWriter, checkpoint: u64) -> Vec<Transaction> {
    let Prepared { transactions, work } = writer.prepare_commit(CheckpointId(checkpoint)).expect("it is set aside");
    assert_eq!(work.is_some(), !transactions.is_empty());
    work.map_or(Ok(()), |work| work()).expect("it is synced");
    transactions
}

fn transaction(hidden: &str, visible: &str, bytes: u64) -> Transaction {
    Transaction { hidden: hidden.into(), visible: visible.into(), bytes }
}

fn restored(checkpoint: u64, transactions: &[Transaction]) -> Commits<'_> {
    Commits::Restored { checkpoint: CheckpointId(checkpoint), transactions, discard_after: None }
}

/// Writes files into the sink's folder.
fn put(sink: &FileSink, names: &[(&str, &str)]) {
    fs::create_dir_all(&sink.folder).expect("the folder is made");
    names.iter().for_each(|(name, content)| fs::write(sink.folder.join(name), content).expect("a file is written"));
}

/// What is in the folder but for the lock.
fn found(sink: &FileSink) -> Vec<(String, String)> {
    contents(sink).into_iter().filter(|(name, _)| name != ".part-lock.inprogress").collect()
}

#[test]
fn parts_become_visible_when_they_are_committed_and_not_before() {
    let folder = TempDir::new().expect("a folder");
    let sink = sink(&folder, Format::Raw, 6);
    sink.prepare(Commits::Fresh).expect("it is fresh");
    let (mut one, mut input, mut other) = (writer(&sink, 0), writer(&sink, 0), writer(&sink, 12));
    one.write(&batch(["one", "two", "three", "x"])).expect("it is written");
    input.write(&batch(["input"])).expect("it is written");
    let mut transactions = prepare_commit(&mut *one, 7);
    transactions.extend(prepare_commit(&mut *input, 7));
    assert_eq!(prepare_commit(&mut *other, 7), []);
    assert_eq!(
        transactions,
        [
            transaction(".part-0000-0.inprogress", "part-00000007-0000-0000.txt", 8),
            transaction(".part-0000-1.inprogress", "part-00000007-0000-0001.txt", 6),
            transaction(".part-0000-2.inprogress", "part-00000007-0000-0002.txt", 2),
            transaction(".part-0000-1-3.inprogress", "part-00000007-0000-1-0000.txt", 6),
        ]
    );
    one.write(&batch(["next"])).expect("it is written");
    assert!(found(&sink).iter().all(|(name, _)| name.starts_with('.')), "nothing is visible");

    std::thread::scope(|scope| scope.spawn(|| sink.commit(&transactions)).join()).expect("no panic").expect("commits");
    sink.commit(&transactions).expect("it can be committed again");
    let visible = [
        ("part-00000007-0000-0000.txt", "one\ntwo\n"),
        ("part-00000007-0000-0001.txt", "three\n"),
        ("part-00000007-0000-0002.txt", "x\n"),
        ("part-00000007-0000-1-0000.txt", "input\n"),
    ];
    assert_eq!(found(&sink)[1..], files(&visible));

    let last = prepare_commit(&mut *one, 8);
    [one, input, other].into_iter().for_each(|writer| writer.finish().expect("nothing is left"));
    assert_eq!(found(&sink)[1..], files(&visible), "the end shows nothing");
    sink.commit(&last).expect("commits");
    let all = [&visible[..], &[("part-00000008-0000-0000.txt", "next\n")]].concat();
    assert_eq!(found(&sink), files(&all));
    drop(sink.run.lock().expect("not poisoned").lock.take());
    assert_eq!(contents(&sink), files(&all), "the lock goes with the run");
}

#[test]
fn a_writer_that_is_dropped_leaves_what_was_set_aside() {
    let folder = TempDir::new().expect("a folder");
    let sink = sink(&folder, Format::Raw, 4);
    sink.prepare(Commits::Fresh).expect("it is fresh");
    let mut writer = writer(&sink, 0);
    writer.write(&batch(["a", "set aside"])).expect("it is written");
    let transactions = prepare_commit(&mut *writer, 1);
    writer.write(&batch(["closed", "x"])).expect("it is written");
    drop(writer);
    assert_eq!(found(&sink), files(&[(".part-0000-0.inprogress", "a\nset aside\n")]));
    sink.commit(&transactions).expect("commits");
}

#[test]
fn records_after_the_last_checkpoint_are_an_error_at_the_end() {
    let folder = TempDir::new().expect("a folder");
    let sink = sink(&folder, Format::Raw, 100);
    sink.prepare(Commits::Fresh).expect("it is fresh");
    let error = write_all(writer(&sink, 0), ["x"]).expect_err("it would be lost").to_string();
    assert!(error.contains("records came after the last checkpoint"), "{error}");
    assert_eq!(found(&sink), []);
    sink.prepare(Commits::AtEnd).expect("nothing is there");
    let error = writer(&sink, 0).prepare_commit(CheckpointId(1)).err().expect("it is not prepared").to_string();
    assert!(error.contains("checkpoint 1 came to a sink that was prepared for a job without checkpoints"), "{error}");
}

#[test]
fn many_small_parts_are_set_aside_like_few_large_ones() {
    let folder = TempDir::new().expect("a folder");
    let sink = sink(&folder, Format::Raw, 1);
    sink.prepare(Commits::Fresh).expect("it is fresh");
    let mut writer = writer(&sink, 0);
    let lines: Vec<String> = (0..100).map(|line| format!("{line}")).collect();
    writer.write(&batch(&lines)).expect("it is written");
    let transactions = prepare_commit(&mut *writer, 1);
    sink.commit(&transactions).expect("commits");
    assert_eq!(found(&sink).into_iter().map(|(_, content)| content).collect::<String>(), lines.join("\n") + "\n");
}

#[test]
fn a_restore_commits_what_the_checkpoint_has_and_removes_what_is_left() {
    let folder = TempDir::new().expect("a folder");
    let sink = sink(&folder, Format::Raw, 4);
    put(
        &sink,
        &[
            ("part-00000001-0000-0000.txt", "before\n"),
            ("part-00000002-0000-0000.txt", "done\n"),
            // What an attempt has left that began anew with the numbers of its hidden names.
            (".part-0000-1.inprogress", "wrong\n"),
            (".part-0001-1.inprogress", "hidden\n"),
            (".part-0001-2.inprogress", "later"),
            (".part-lock.inprogress", ""),
            ("notes.txt", ""),
        ],
    );
    let transactions = [
        transaction(".part-0000-1.inprogress", "part-00000002-0000-0000.txt", 5),
        transaction(".part-0001-1.inprogress", "part-00000002-0001-0000.txt", 7),
    ];
    for _ in 0..2 {
        sink.prepare(restored(2, &transactions)).expect("all is there");
        assert_eq!(
            found(&sink),
            files(&[
                ("notes.txt", ""),
                ("part-00000001-0000-0000.txt", "before\n"),
                ("part-00000002-0000-0000.txt", "done\n"),
                ("part-00000002-0001-0000.txt", "hidden\n"),
            ])
        );
    }
}

#[test]
fn hidden_names_are_not_used_again() {
    let folder = TempDir::new().expect("a folder");
    let open = || sink(&folder, Format::Raw, 100);
    let first = open();
    first.prepare(Commits::Fresh).expect("it is fresh");
    let mut attempt = writer(&first, 0);
    attempt.write(&batch(["a"])).expect("it is written");
    let one = prepare_commit(&mut *attempt, 1);
    first.commit(&one).expect("commits");
    attempt.write(&batch(["b"])).expect("it is written");
    let two = prepare_commit(&mut *attempt, 2);
    drop((attempt, first));

    // Checkpoint 2 was complete and not committed; the job goes back to the one before all the same, and writes as much as before.
    let second = open();
    second.prepare(restored(1, &one)).expect("all is there");
    let mut attempt = writer(&second, 0);
    attempt.write(&batch(["c"])).expect("it is written");
    assert_eq!(prepare_commit(&mut *attempt, 3)[0].hidden, ".part-0000-2.inprogress");
    drop((attempt, second));
    let error = open().prepare(restored(2, &two)).expect_err("its results are gone").to_string();
    assert!(error.contains(".part-0000-1.inprogress: these results are lost"), "{error}");

    let third = open();
    third
        .prepare(restored(1, &[transaction(".part-0000-1-41.inprogress", "part-00000001-0000-0000.txt", 2)]))
        .expect("it is there");
    let mut attempt = writer(&third, 0);
    attempt.write(&batch(["d"])).expect("it is written");
    assert_eq!(prepare_commit(&mut *attempt, 4)[0].hidden, ".part-0000-42.inprogress");
}

#[test]
fn results_that_are_lost_or_damaged_are_named() {
    let folder = TempDir::new().expect("a folder");
    let sink = sink(&folder, Format::Raw, 4);
    let transactions = [transaction(".part-0000-1.inprogress", "part-00000002-0000-0000.txt", 5)];
    let refused = |files: &[(&str, &str)]| {
        let _ = fs::remove_dir_all(&sink.folder);
        put(&sink, files);
        let error = sink.prepare(restored(2, &transactions)).expect_err("it is refused").to_string();
        assert_eq!(sink.commit(&transactions).expect_err("it is refused").to_string(), error);
        error
    };
    let lost = refused(&[]);
    assert!(lost.contains("results/.part-0000-1.inprogress: these results are lost: by the checkpoint"), "{lost}");
    assert!(lost.contains("results/part-00000002-0000-0000.txt, and neither file is there"), "{lost}");
    let damaged = refused(&[(".part-0000-1.inprogress", "half")]);
    assert!(damaged.contains("results/.part-0000-1.inprogress: these results are damaged"), "{damaged}");
    assert!(damaged.contains("there are 5 bytes, but the file has 4"), "{damaged}");
    let changed = refused(&[("part-00000002-0000-0000.txt", "changed")]);
    assert!(changed.contains("results/part-00000002-0000-0000.txt: these results are damaged"), "{changed}");

    for (hidden, visible) in
        [("../x", "part-1"), (".part-/../x.inprogress", "part-1"), (".part-1.inprogress", "../part-1")]
    {
        let error = sink.commit(&[transaction(hidden, visible, 1)]).expect_err("it is not ours").to_string();
        assert!(error.contains("not those of a file sink"), "{error}");
    }
}

#[test]
fn results_of_later_checkpoints_are_refused_or_discarded() {
    let folder = TempDir::new().expect("a folder");
    let sink = sink(&folder, Format::Raw, 4);
    let kept = [("part-00000009-0000-0000.txt", ""), ("part-00000010-0000-0000.txt", "")];
    put(&sink, &kept);
    put(&sink, &[("part-00000011-0000-1-0000.txt", ""), ("part-123456789-0000-0000.txt", "")]);
    for discard_after in [None, Some(CheckpointId(9)), Some(CheckpointId(11))] {
        let commits = Commits::Restored { checkpoint: CheckpointId(10), transactions: &[], discard_after };
        let error = sink.prepare(commits).expect_err("it is refused").to_string();
        assert!(
            error.contains("after 10, from which the job would go on (part-00000011-0000-1-0000.txt and 1 more)"),
            "{error}"
        );
        assert!(error.ends_with("--discard-results-after 10"), "{error}");
    }
    let discard_after = Some(CheckpointId(10));
    let commits = Commits::Restored { checkpoint: CheckpointId(10), transactions: &[], discard_after };
    sink.prepare(commits).expect("they are discarded");
    assert_eq!(found(&sink), files(&kept));
}

#[test]
fn results_of_another_run_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let sink = sink(&folder, Format::Raw, 4);
    put(&sink, &[("part-00000009-0000-0000.txt", "")]);
    let error = sink.prepare(Commits::Fresh).expect_err("it is refused").to_string();
    assert!(error.contains("results of an earlier run (part-00000009-0000-0000.txt); remove them (rm "), "{error}");
    for name in ["part-0000-0000.txt", "part-00012-1-0000.txt"] {
        put(&sink, &[(name, "")]);
        let error = sink.prepare(restored(9, &[])).expect_err("it is refused").to_string();
        assert!(error.contains(&format!("results of a run without checkpoints ({name}); move them away")), "{error}");
        fs::remove_file(sink.folder.join(name)).expect("it is there");
    }
    sink.prepare(restored(9, &[])).expect("these are its own");
}

#[test]
fn a_second_run_is_refused_all_the_time_and_a_restart_never() {
    let folder = TempDir::new().expect("a folder");
    let open = || sink(&folder, Format::Raw, 100);
    let first = open();
    first.prepare(Commits::Fresh).expect("it is fresh");
    let mut old = writer(&first, 0);
    old.write(&batch(["a"])).expect("it is written");
    let set_aside = old.prepare_commit(CheckpointId(1)).expect("it is set aside");
    let mut late = old.prepare_commit(CheckpointId(2)).expect("nothing came");
    assert!(late.transactions.is_empty() && late.work.take().is_none());
    for commits in [Commits::AtEnd, Commits::Fresh, restored(1, &[])] {
        let error = open().prepare(commits).expect_err("the first one has the folder").to_string();
        assert!(error.contains(".part-lock.inprogress: another run is writing into this folder"), "{error}");
    }
    assert_eq!(found(&first), files(&[(".part-0000-0.inprogress", "a\n")]));

    // The job is started anew while a part of the last attempt is still being synced.
    old.write(&batch(["b"])).expect("it is written");
    first.prepare(Commits::Fresh).expect("no checkpoint was complete");
    assert_eq!(found(&first), []);
    let mut new = writer(&first, 0);
    new.write(&batch(["c"])).expect("it is written");
    drop((old, set_aside));
    let transactions = prepare_commit(&mut *new, 3);
    first.prepare(restored(3, &transactions)).expect("the checkpoint was complete");
    assert_eq!(found(&first), files(&[("part-00000003-0000-0000.txt", "c\n")]));

    drop((first, new));
    open().prepare(restored(3, &transactions)).expect("the first one is gone");
}

#[test]
fn a_disk_that_fails_at_a_barrier_is_an_error_of_the_file() {
    let folder = TempDir::new().expect("a folder");
    let sink = sink(&folder, Format::Raw, 100);
    sink.prepare(Commits::Fresh).expect("it is fresh");
    let writer = writer(&sink, 0);
    fs::remove_dir_all(&sink.folder).expect("it is there");
    let mut writer = writer;
    let error = writer.write(&batch(["x"])).expect_err("the folder is gone").to_string();
    assert!(error.contains("results/.part-0000-0.inprogress: creating the file: No such"), "{error}");

    sink.prepare(Commits::Fresh).expect("it is made again");
    writer.write(&batch(["x"])).expect("it is written");
    let Prepared { transactions, work } = writer.prepare_commit(CheckpointId(1)).expect("it is set aside");
    fs::remove_dir_all(&sink.folder).expect("it is there");
    let error = work.map_or(Ok(()), |work| work()).expect_err("the folder is gone").to_string();
    assert!(error.contains("results: syncing the folder to the disk: No such"), "{error}");
    assert!(sink.commit(&transactions).expect_err("it is lost").to_string().contains("these results are lost"));
}
