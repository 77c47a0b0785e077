//! A dump touches nothing that is not its own, and an earlier one stays until the next is whole.

use std::collections::BTreeSet;

use super::*;

fn held(folder: &Path) -> BTreeSet<String> {
    names(folder).map(|names| names.into_iter().collect()).unwrap_or_default()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

/// A manifest of no operator.
fn manifest(version: u32) -> String {
    format!(
        r#"{{"format":"wasmill-state","format-version":{version},"job":"j","ended":"done","max-parallelism":1,"operators":{{}}}}"#
    )
}

fn refused(folder: &Path) -> String {
    let before = held(folder);
    let error = DumpFolder::claim(folder).expect_err("it is refused").to_string();
    assert_eq!(held(folder), before, "nothing was touched");
    assert!(error.starts_with(&format!("--dump-state {}: ", folder.display())), "{error}");
    error
}

#[test]
fn a_folder_that_was_made_goes_again_when_nothing_comes_of_it() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("inner");
    let claimed = DumpFolder::claim(&folder).expect("it can be made");
    assert_eq!(held(&folder), set([UNFINISHED]));
    drop(claimed);
    assert!(!folder.exists());
    fs::create_dir(&folder).expect("it can be made");
    drop(DumpFolder::claim(&folder).expect("it is empty"));
    assert_eq!(held(&folder), set([]), "one that was there stays");
}

#[test]
fn a_dump_takes_the_place_of_an_earlier_one() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("dump");
    for (round, data) in ["data-1", "data-2", "data-3"].into_iter().enumerate() {
        let claimed = DumpFolder::claim(&folder).expect("it is ours");
        fs::write(claimed.unfinished().join("count-0.state"), "state").expect("it can be written");
        assert_eq!(claimed.next_data(), data);
        claimed.publish(data, &manifest(1)).expect("it can be written");
        drop(claimed);
        let mut expected = set([MANIFEST, data]);
        if round > 0 {
            expected.insert("notes.txt".into());
        }
        assert_eq!(held(&folder), expected);
        // Whatever lies beside it stays.
        fs::write(folder.join("notes.txt"), "mine").expect("it can be written");
        // One that does not come to its end leaves everything as it was.
        let given_up = DumpFolder::claim(&folder).expect("it is ours");
        fs::write(given_up.unfinished().join("count-0.state"), "half").expect("it can be written");
        drop(given_up);
        expected.insert("notes.txt".into());
        assert_eq!(held(&folder), expected);
    }
}

#[test]
fn what_a_killed_process_left_is_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join(UNFINISHED)).expect("it can be made");
    fs::write(folder.path().join(UNFINISHED).join("count-0.state"), "half").expect("it can be written");
    fs::write(folder.path().join(UNFINISHED_MANIFEST), "half").expect("it can be written");
    let claimed = DumpFolder::claim(folder.path()).expect("it is ours");
    assert_eq!(held(folder.path()), set([UNFINISHED]));
    assert_eq!(held(&claimed.unfinished()), set([]));
}

#[test]
fn what_is_not_ours_is_refused_and_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    fs::write(path.join("thesis.txt"), "years of work").expect("it can be written");
    assert!(refused(path).contains("the folder holds `thesis.txt` and no earlier dump; a dump goes to a new or empty"));
    fs::remove_file(path.join("thesis.txt")).expect("it is there");
    fs::create_dir(path.join("data-1")).expect("it can be made");
    assert!(refused(path).contains("the folder holds `data-1` and no earlier dump"));
    fs::write(path.join(MANIFEST), r#"{"name":"web app"}"#).expect("it can be written");
    assert!(refused(path).contains("the folder holds `manifest.json` and no earlier dump"));
    fs::write(path.join(MANIFEST), manifest(2)).expect("it can be written");
    assert!(refused(path).contains("this is a checkpoint and no dump"));
    fs::write(path.join(MANIFEST), manifest(4)).expect("it can be written");
    assert!(refused(path).contains("it has format version 4, and this wasmill reads up to 3; use a later wasmill"));
    fs::write(path.join(MANIFEST), "{").expect("it can be written");
    assert!(refused(path).contains("can't be replaced"));
    let error = DumpFolder::claim(&path.join(MANIFEST)).expect_err("a file").to_string();
    assert!(error.ends_with("this is no folder; choose another name"), "{error}");
}

#[test]
fn two_jobs_do_not_share_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let claimed = DumpFolder::claim(folder.path()).expect("it is empty");
    assert!(refused(folder.path()).contains("another job is dumping its state there"));
    drop(claimed);
    DumpFolder::claim(folder.path()).expect("it is free again");
}
