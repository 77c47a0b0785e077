//! `wasmill checkpoint`, and `wasmill state` on checkpoints, as typed in a shell.

mod writer;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use wasmill::job::Ended;

use self::writer::{DIGEST, JobFolder};
use super::{Said, say};
use crate::harness::{assert_same, folder, root, sorted_lines};

/// What the three checkpoints of [`job`] say of words.
const FIRST: [(&str, Option<u64>); 6] =
    [("a", Some(1)), ("b", Some(2)), ("c", Some(3)), ("d", Some(4)), ("e", Some(5)), ("f", Some(6))];
const SECOND: [(&str, Option<u64>); 3] = [("a", Some(10)), ("b", None), ("g", Some(7))];
const THIRD: [(&str, Option<u64>); 2] = [("b", Some(20)), ("c", None)];

/// A job with checkpoints 1 and 2, then, begun anew by a second attempt, 5.
fn job() -> (TempDir, PathBuf, JobFolder) {
    let folder = folder();
    let path = folder.path().join("storage/word-count");
    let mut job = JobFolder::new(&path);
    job.checkpoint(1, &FIRST, None).checkpoint(2, &SECOND, None);
    job.forget().attempt = 2;
    job.checkpoint(5, &THIRD, Some(Ended::Stopped));
    (folder, path, job)
}

fn checkpoint(words: &[&str], place: &Path, more: &[&str]) -> Said {
    said("checkpoint", words, place, more)
}

fn state(words: &[&str], place: &Path, more: &[&str]) -> Said {
    said("state", words, place, more)
}

fn said(command: &str, words: &[&str], place: &Path, more: &[&str]) -> Said {
    let place = place.display().to_string();
    let all: Vec<&str> = [&[command], words, &[&place], more].concat();
    say(&all)
}

fn document(said: &Said) -> Value {
    serde_json::from_str(said.expect(0)).expect("a JSON document")
}

fn of(path: &Path, id: u64) -> PathBuf {
    path.join(format!("checkpoints/{id}"))
}

/// The one segment of an operator's task that an attempt wrote for a checkpoint.
fn segment(path: &Path, attempt: u64, task: u32, id: u64) -> PathBuf {
    path.join(format!("segments/count/{attempt}-{task}-{id}-0.seg"))
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it is there");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn checkpoints_are_listed_newest_first() {
    let (_folder, path, _) = job();
    let said = checkpoint(&["list"], &path, &[]);
    let lines: Vec<_> = said.expect(0).lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0].join(" "), "id completed age attempt operators entries bytes new bytes took job");
    let ids: Vec<_> = lines[1..].iter().map(|line| line[0]).collect();
    assert_eq!(ids, ["5", "2", "1"]);
    assert_eq!(lines[3][1], "2023-11-14T22:13:20Z");
    assert!(lines[1].join(" ").ends_with("480 ms when it was stopped"), "{:?}", lines[1]);
    assert!(lines[2].join(" ").contains(" 1 1 up to 8 "), "{:?}", lines[2]);
    assert!(lines[3].join(" ").ends_with("480 ms ran on"), "{:?}", lines[3]);

    let json = document(&checkpoint(&["list"], &path, &["--json"]));
    let column = |name: &str| {
        json["checkpoints"].as_array().expect("a list").iter().map(|one| one[name].clone()).collect::<Vec<_>>()
    };
    assert_eq!(column("id"), [5, 2, 1]);
    assert_eq!(column("attempt"), [2, 1, 1]);
    assert_eq!(column("ended"), [json!("stopped"), Value::Null, Value::Null]);
    assert_eq!(column("entries"), [1, 8, 6]);
    assert_eq!(column("exact"), [false, false, true]);
    assert_eq!(column("damage"), [json!([]), json!([]), json!([])]);
    let bytes: Vec<_> = column("bytes").iter().map(|bytes| bytes.as_u64().expect("a number")).collect();
    let new: Vec<_> = column("new_bytes").iter().map(|bytes| bytes.as_u64().expect("a number")).collect();
    assert_eq!((bytes[0], bytes[2], bytes[1]), (new[0], new[2], new[1] + new[2]));

    let one = checkpoint(&["list"], &of(&path, 2), &[]);
    assert_eq!(one.expect(0).lines().count(), 2);
}

#[test]
fn damaged_checkpoints_are_listed_with_what_is_wrong() {
    let (_folder, path, _) = job();
    fs::remove_file(segment(&path, 1, 0, 2)).expect("it is there");
    flip(&of(&path, 5).join("manifest.json"), 60);
    fs::create_dir_all(of(&path, 9)).expect("it can be made");
    let list = checkpoint(&["list"], &path, &[]);
    let lines: Vec<_> = list.expect(0).lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[1].trim_start().starts_with("5  damaged: ")
            && lines[1].contains("checkpoints/5/manifest.json: the manifest is damaged"),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].contains("; damaged: ")
            && lines[2].contains("1-0-2-0.seg: a checkpoint refers to this file, but it is not there"),
        "{}",
        lines[2]
    );
    assert!(lines[3].ends_with("ran on"), "{}", lines[3]);
    let json = document(&checkpoint(&["list"], &path, &["--json"]));
    assert_eq!(json["checkpoints"][0]["id"], 5);
    assert_eq!(json["checkpoints"][1]["damage"].as_array().map(Vec::len), Some(1));
    // The newest one is never passed over in silence.
    for said in [checkpoint(&["show"], &path, &[]), state(&["list"], &path, &[])] {
        said.refused(
            4,
            &[
                "checkpoints/5/manifest.json: the manifest is damaged",
                "`wasmill checkpoint list` shows which there are",
            ],
        );
    }
    state(&["export"], &of(&path, 2), &["count", "count"]).refused(4, &["1-0-2-0.seg", "bring it back from a copy"]);
    state(&["list"], &of(&path, 1), &[]).expect(0);
}

#[test]
fn everything_in_a_checkpoint_is_shown() {
    let (_folder, path, _) = job();
    let newest = checkpoint(&["show"], &path, &[]);
    let out = newest.expect(0);
    assert!(out.starts_with("job word-count, checkpoint 5 of 2023-11-14T22:53:20Z, when it was stopped\nattempt 2, exactly-once, took 480 ms; "), "{out}");
    for part in [
        "source lines: {\"offset\":50}\n",
        "operator count: word-count 0.1.0, e3b0c44298fc\n",
        "  state count: value, up to 1 entries, ",
        "version 1: a u64 in 8 bytes\n",
        "  task 0: key groups 0 to 63, watermark 1234; ",
        "  task 1: key groups 64 to 127, watermark 1234; ",
        "sink counts: []\n",
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert_eq!(newest.err, "");
    let second = checkpoint(&["show"], &path, &["2"]);
    assert!(second.expect(0).contains("checkpoint 2 of ") && second.out.contains(", and ran on\n"), "{}", second.out);
    assert_eq!(checkpoint(&["show"], &of(&path, 2), &[]).expect(0), second.out);
    assert_eq!(checkpoint(&["show"], &of(&path, 2), &["2"]).expect(0), second.out);
    let manifest = fs::read_to_string(of(&path, 2).join("manifest.json")).expect("it is there");
    assert_eq!(checkpoint(&["show"], &path, &["2", "--json"]).expect(0), manifest);
    checkpoint(&["show"], &of(&path, 2), &["5"])
        .refused(2, &["is the folder of checkpoint 2; give that of the job to see checkpoint 5"]);
    checkpoint(&["show"], &path, &["3"]).refused(4, &["checkpoints/3/manifest.json: a checkpoint refers to this file"]);
    checkpoint(&["show"], &path, &["0"]).refused(2, &["a checkpoint has a number from 1 on"]);
}

#[test]
fn checkpoints_that_are_whole_are_verified() {
    let (_folder, path, _) = job();
    let all = checkpoint(&["verify"], &path, &[]);
    assert_eq!(all.expect(0), "");
    assert!(all.err.contains("3 checkpoints, ") && all.err.ends_with(": all whole\n"), "{}", all.err);
    let json = document(&checkpoint(&["verify"], &path, &["--json"]));
    assert_eq!((&json["checkpoints"], &json["damaged"], &json["unread"]), (&json!([5, 2, 1]), &json!([]), &json!([])));
    assert!(checkpoint(&["verify"], &of(&path, 1), &[]).err.starts_with("1 checkpoints, 3 files"));
    assert!(checkpoint(&["verify"], &path, &["1", "5"]).err.starts_with("2 checkpoints, "));
}

#[test]
fn what_is_damaged_is_named_with_what_is_lost() {
    let (_folder, path, _) = job();
    let shared = segment(&path, 1, 1, 1);
    flip(&shared, 20);
    let said = checkpoint(&["verify"], &path, &[]);
    let out = said.expect(4);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(
        lines[0].starts_with("damaged: ") && lines[0].contains("1-1-1-0.seg: ") && lines[0].contains("(at byte "),
        "{out}"
    );
    assert!(
        lines[1].starts_with("  lost: operator count, task 1: entries of key groups ")
            && lines[1].ends_with(", in checkpoint 1, 2"),
        "{out}"
    );
    assert!(said.err.ends_with(": 1 damaged\n"), "{}", said.err);
    checkpoint(&["verify"], &path, &["5"]).expect(0);

    fs::write(path.join(format!("plugins/{DIGEST}.wasm")), "another").expect("it can be written");
    let of_fifth = checkpoint(&["verify"], &of(&path, 5), &[]);
    let out = of_fifth.expect(4);
    assert!(
        out.contains(&format!("and not {DIGEST}; it was changed"))
            && out.contains("operator count: its plugin, in checkpoint 5"),
        "{out}"
    );

    let manifest = of(&path, 2).join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("it is there");
    for cut in [0, 100, text.len() / 2] {
        fs::write(&manifest, &text[..cut]).expect("it can be written");
        let json: Value =
            serde_json::from_str(checkpoint(&["verify"], &path, &["--json"]).expect(4)).expect("a JSON document");
        assert_eq!(json["checkpoints"], json!([5, 1]), "{json}");
        assert_eq!(json["unread"][0]["file"], json!(manifest.display().to_string()));
        assert_eq!(json["damaged"].as_array().map(Vec::len), Some(2));
        let lost = &json["damaged"][1]["lost"][0];
        assert_eq!(
            (&lost["checkpoint"], &lost["operator"], &lost["task"], &lost["held"]),
            (&json!(1), &json!("count"), &json!(1), &json!("keyed-state"))
        );
    }
    fs::remove_file(&shared).expect("it is there");
    checkpoint(&["verify"], &of(&path, 1), &[]).expect(4);
}

#[test]
fn nothing_is_removed_without_a_yes() {
    let (_folder, path, job) = job();
    let before = job.names();
    let said = checkpoint(&["delete"], &path, &["1", "2"]);
    let gone: Vec<_> = said.expect(2).lines().map(str::to_owned).collect();
    assert!(
        said.err.contains("2 checkpoints, 5 files, ") && said.err.contains("would go; to remove them give --yes"),
        "{}",
        said.err
    );
    assert_eq!(gone[..2], ["checkpoints/1/manifest.json", "checkpoints/2/manifest.json"]);
    assert!(gone[2..].iter().all(|name| name.starts_with("segments/count/1-")), "{gone:?}");
    assert_eq!(job.names(), with_lock(before));
}

/// The lock is there from the first look on.
fn with_lock(mut names: Vec<String>) -> Vec<String> {
    names.push("lock".to_owned());
    names.sort();
    names
}

#[test]
fn what_others_refer_to_stays() {
    let (_folder, path, job) = job();
    let export = |id: u64| {
        sorted_lines([state(&["export"], &of(&path, id), &["count", "count"]).expect(0).as_bytes()].into_iter())
    };
    let (second, fifth) = (export(2), export(5));
    let said = checkpoint(&["delete"], &path, &["1", "--yes"]);
    assert_eq!(said.expect(0), "");
    assert!(said.err.contains("removed 1 checkpoint, 1 file, "), "{}", said.err);
    assert_same(&export(2), &second, "a checkpoint that refers to segments of the one that was removed");
    checkpoint(&["verify"], &path, &[]).expect(0);
    let json = document(&checkpoint(&["delete"], &path, &["2", "--yes", "--json"]));
    assert_eq!(json["checkpoints"], json!([2]));
    assert!(json["bytes"].as_u64() > Some(0), "{json}");
    assert_same(&export(5), &fifth, "the last one");
    assert!(job.names().iter().all(|name| !name.starts_with("segments/count/1-")), "{:?}", job.names());
    assert!(job.names().contains(&format!("plugins/{DIGEST}.wasm")));
}

#[test]
fn the_last_restorable_checkpoint_goes_with_all_only() {
    let (_folder, path, job) = job();
    fs::remove_file(segment(&path, 1, 1, 1)).expect("it is there");
    checkpoint(&["delete"], &path, &["5", "--yes"])
        .refused(4, &["checkpoint 5 is the last restorable one; keep it, or delete all with --all"]);
    checkpoint(&["delete"], &path, &["3", "--yes"])
        .refused(2, &["there is no checkpoint 3; `wasmill checkpoint list`"]);
    checkpoint(&["delete"], &path, &["--yes"]).refused(2, &["required"]);
    checkpoint(&["delete"], &path, &["5", "--all"]).refused(2, &["--all"]);
    checkpoint(&["delete"], &of(&path, 5), &["5"])
        .refused(2, &["is the folder of one checkpoint, which shares files with others"]);
    assert_eq!(job.names().iter().filter(|name| name.ends_with("manifest.json")).count(), 3);
    fs::write(path.join("thesis.txt"), "years of work").expect("it can be written");
    checkpoint(&["delete"], &path, &["--all", "--yes"]).expect(0);
    assert_eq!(job.names(), ["lock", "thesis.txt"], "what is somebody else's stays");
}

#[test]
fn a_checkpoint_that_another_goes_back_to_goes_with_that_one_only() {
    let (_folder, path, mut job) = job();
    job.exchanged_at = Some(6);
    job.checkpoint(6, &SECOND, None).checkpoint(7, &THIRD, None);
    let before = job.names();
    checkpoint(&["delete"], &path, &["6", "--yes"]).refused(
        4,
        &["checkpoint 7 was taken while an exchange was on probation", "back to checkpoint 6; name 7 as well"],
    );
    assert_eq!(job.names(), with_lock(before));
    checkpoint(&["delete"], &path, &["6", "7", "--yes"]).expect(0);
    checkpoint(&["verify"], &path, &[]).expect(0);
}

#[test]
fn segments_stay_while_a_manifest_can_not_be_read() {
    let (_folder, path, job) = job();
    flip(&of(&path, 2).join("manifest.json"), 60);
    let said = checkpoint(&["delete"], &path, &["1", "--yes"]);
    said.expect(0);
    assert!(
        said.err.contains("no segments and plugins go: it can't be read what checkpoint 2 refers to"),
        "{}",
        said.err
    );
    let names = job.names();
    assert_eq!(names.iter().filter(|name| name.ends_with(".seg")).count(), 4, "{names:?}");
}

#[test]
fn nothing_is_removed_while_the_job_runs() {
    let (_folder, path, job) = job();
    let lock = File::create(path.join("lock")).expect("it can be made");
    lock.lock().expect("nobody has it");
    let before = job.names();
    checkpoint(&["delete"], &path, &["1", "--yes"])
        .refused(4, &["the job is running", "lock is locked", "stop it first"]);
    assert_eq!(job.names(), before);
    checkpoint(&["list"], &path, &[]).expect(0);
    checkpoint(&["verify"], &path, &[]).expect(0);
    lock.unlock().expect("it is ours");
    checkpoint(&["delete"], &path, &["1", "--yes"]).expect(0);
}

#[test]
fn the_newest_of_all_segments_is_what_state_shows() {
    let (_folder, path, _) = job();
    for (place, expected) in [
        (of(&path, 1), &[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5), ("f", 6)][..]),
        (of(&path, 2), &[("a", 10), ("c", 3), ("d", 4), ("e", 5), ("f", 6), ("g", 7)]),
        (of(&path, 5), &[("b", 20)]),
        (path.clone(), &[("b", 20)]),
    ] {
        let said = state(&["export"], &place, &["count", "count"]);
        let expected: Vec<_> =
            expected.iter().map(|(word, count)| format!("{{\"key\":\"{word}\",\"value\":{count}}}")).collect();
        assert_same(&sorted_lines([said.expect(0).as_bytes()].into_iter()), &expected, "the export");
    }
    assert_eq!(state(&["get"], &of(&path, 2), &["count", "count", "a"]).expect(0), "10\n");
    state(&["get"], &of(&path, 2), &["count", "count", "b"])
        .refused(0, &["state count of operator count has nothing for b"]);
    let list = state(&["list"], &of(&path, 2), &[]);
    assert!(
        list.expect(0).starts_with("job word-count, checkpoint 2 of 2023-11-14T22:23:20Z\noperator count, 2 tasks\n"),
        "{}",
        list.out
    );
    assert!(list.out.contains("up to 8  "), "{}", list.out);
    let json = document(&state(&["list"], &of(&path, 1), &["--json"]));
    assert_eq!((&json["checkpoint"], &json["ended"]), (&json!(1), &Value::Null));
    let counts = &json["operators"][0]["states"][0];
    assert_eq!((&counts["entries"], &counts["exact"]), (&json!(6), &json!(true)));
    let newest = state(&["list"], &path, &[]);
    assert!(
        newest.expect(0).starts_with("job word-count, checkpoint 5 of 2023-11-14T22:53:20Z, when it was stopped\n"),
        "{}",
        newest.out
    );
}

#[test]
fn a_look_at_one_key_reads_its_key_group_only() {
    let (_folder, path, _) = job();
    // Words of one task, in blocks of one segment: `a` and others. Another task's segment is not touched.
    let words = ["a", "d", "e", "f"];
    let untouched = (0..2).map(|task| segment(&path, 1, task, 1));
    let sizes: Vec<_> = untouched.clone().map(|segment| fs::metadata(&segment).expect("it is there").len()).collect();
    for (segment, size) in untouched.zip(sizes) {
        let whole = fs::read(&segment).expect("it is there");
        fs::write(&segment, vec![0; size as usize]).expect("it can be written");
        let found = words
            .iter()
            .filter(|word| state(&["get"], &of(&path, 1), &["count", "count", word]).code == Some(0))
            .count();
        assert!(found > 0 && found < words.len(), "{found} of them lie in the other segment");
        fs::write(&segment, whole).expect("it can be written");
    }
}

#[test]
fn checkpoints_may_be_moved_and_named_in_many_ways() {
    let (folder, path, job) = job();
    let expected = state(&["export"], &path, &["count", "count"]).expect(0).to_owned();
    let moved = folder.path().join("an other place");
    fs::rename(&path, &moved).expect("it can be moved");
    let link = folder.path().join("newest");
    std::os::unix::fs::symlink(of(&moved, 5), &link).expect("a link can be made");
    let url = PathBuf::from(format!("file://{}", folder.path().join("by-url").display()));
    std::os::unix::fs::symlink(&moved, folder.path().join("by-url")).expect("a link can be made");
    for place in [&moved, &of(&moved, 5), &link, &moved.join("checkpoints/../segments/.."), &url] {
        assert_eq!(state(&["export"], place, &["count", "count"]).expect(0), expected, "{}", place.display());
    }
    fs::rename(&moved, &path).expect("it can be moved");
    let alone = folder.path().join("alone");
    job.write_self_contained(5, &alone);
    fs::remove_dir_all(&path).expect("it is there");
    assert_eq!(state(&["export"], &alone, &["count", "count"]).expect(0), expected);
    checkpoint(&["verify"], &alone, &[]).expect(0);
}

#[test]
fn what_is_no_checkpoint_is_refused_with_what_to_give() {
    let folder = folder();
    let dump = root().join("tests/fixtures/state-format-1");
    for command in ["list", "show", "verify"] {
        checkpoint(&[command], &dump, &[])
            .refused(4, &["this is a dump, which can be looked into by `wasmill state`, and no checkpoint"]);
        checkpoint(&[command], folder.path(), &[])
            .refused(4, &["this folder holds no state", "that of a job in the storage of its checkpoints"]);
        checkpoint(&[command], &folder.path().join("nowhere"), &[]).refused(2, &["nowhere: it is not there"]);
        checkpoint(&[command], Path::new("ftp://server/job"), &[]).refused(2, &["storages are a path, or s3://"]);
    }
    fs::create_dir_all(folder.path().join("checkpoints/1")).expect("it can be made");
    state(&["list"], folder.path(), &[]).refused(4, &["there is no complete checkpoint in it"]);
    checkpoint(&["list"], folder.path(), &[]).refused(0, &["there is no complete checkpoint"]);
    for command in ["list", "show", "verify", "delete"] {
        let said = say(&["checkpoint", command, "--help"]);
        assert!(said.expect(0).contains(&format!("wasmill checkpoint {command} ")), "{}", said.out);
    }
}

#[test]
fn the_state_of_a_dump_is_shown_by_a_checkpoint_in_the_same_way() {
    let folder = folder();
    let dump = root().join("tests/fixtures/state-format-1");
    let path = folder.path().join("job");
    JobFolder::new(&path).checkpoint_of_dump(3, &dump);
    for name in ["seen", "by-kind", "tens", "all"] {
        let export = |place: &Path| state(&["export"], place, &["keep", name]).expect(0).to_owned();
        assert_eq!(export(&path), export(&dump), "{name}");
    }
    for more in [&["seen", "1"][..], &["by-kind", "2"], &["tens", "0"], &["all"]] {
        let get = |place: &Path| state(&["get"], place, &[&["keep"], more].concat()).expect(0).to_owned();
        assert_eq!(get(&path), get(&dump), "{more:?}");
    }
    let states = |place: &Path| document(&state(&["list"], place, &["--json"]))["operators"].clone();
    assert_eq!(states(&path), states(&dump), "entries and bytes too, which were counted when segments were written");
}

#[test]
fn checkpoints_of_format_version_2_are_still_read() {
    // Written by the first version that could, of what is in the fixture of dumps.
    let job = root().join("tests/fixtures/checkpoint-format-2/job");
    let exports =
        ["seen", "by-kind", "tens", "all"].map(|name| state(&["export"], &job, &["keep", name]).expect(0).to_owned());
    let golden = fs::read_to_string(root().join("tests/golden/state-format-1.jsonl")).expect("it is there");
    assert_eq!(exports.concat(), golden);
    checkpoint(&["verify"], &job, &[]).expect(0);
}
