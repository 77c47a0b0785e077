//! One suite holds every storage to the contract; the rest is what is each one's own.

mod conformance;
mod faulty;
mod local;
mod s3;

use std::sync::Arc;

use super::*;

#[test]
fn memory_conforms() {
    conformance::check(&MemoryStorage::new());
}

#[test]
fn a_folder_of_a_storage_conforms() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    storage.put_new("job-1/mine", Bytes::from_static(b"not below job")).expect("it is new");
    let below = Below::new(Arc::clone(&storage), "job");
    conformance::check(&below);
    assert_eq!(below.location("a/b"), "memory:///job/a/b");
    below.put_new("a/b", Bytes::from_static(b"1")).expect("it is new");
    assert_eq!(storage.get("job/a/b").expect("it is there"), "1");
    let error = below.get("c").expect_err("it is not there");
    assert_eq!((error.name.as_str(), error.location.as_str()), ("c", "memory:///job/c"));
}

#[test]
fn the_memory_of_object_store_conforms() {
    conformance::check(&ObjectStorage::open(&StorageLocation::Memory, []).expect("it needs nothing"));
}

#[test]
fn a_storage_without_faults_conforms() {
    let faulty = Faulty::new(Arc::new(MemoryStorage::new()), 1, Faults::default(), Box::new(|| ()));
    conformance::check(&faulty);
}

#[test]
fn names_that_could_lead_elsewhere_are_refused() {
    for name in ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a b", "ä", "a\\b", "a%2e", "a#1", &"a".repeat(769)]
    {
        assert!(check_name(name).is_err(), "{name}");
    }
    for name in ["a", "a/b", ".hidden", "attempts/00000001", "segments/split-words/1-0-7-0.seg", "a=b_c"] {
        assert_eq!(check_name(name), Ok(()));
    }
}

#[test]
fn locations_are_understood_and_shown() {
    let folder = std::path::Path::new("/jobs");
    for (text, shown) in [
        (".wasmill", "/jobs/.wasmill"),
        ("/var/lib/x", "/var/lib/x"),
        ("file:///var/lib/x", "/var/lib/x"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("az://container/a", "az://container/a"),
        ("memory://", "memory://"),
    ] {
        assert_eq!(StorageLocation::parse(text, folder).expect(text).to_string(), shown);
    }
    for text in ["", "ftp://x", "s3://", "s3:///a", "s3://user@bucket/a", "s3://bucket/a?b", "file://x", "memory://a"] {
        let error = StorageLocation::parse(text, folder).expect_err(text);
        assert_eq!(error.kind, StorageErrorKind::Invalid, "{text}");
        assert!(error.to_string().contains("correct the storage in the job file"), "{error}");
    }
}

#[test]
fn who_tries_again_finds_what_was_done() {
    let storage = MemoryStorage::new();
    put_same(&storage, "a", Bytes::from_static(b"1")).expect("it is new");
    put_same(&storage, "a", Bytes::from_static(b"1")).expect("it is the same");
    let error = put_same(&storage, "a", Bytes::from_static(b"2")).expect_err("it is another");
    assert_eq!(error.kind, StorageErrorKind::AlreadyThere);
    assert_eq!(storage.get("a").expect("it is there"), "1");
}

#[test]
fn a_folder_may_be_named_by_way_of_others() {
    let folder = tempfile::tempdir().expect("there is room");
    std::fs::create_dir_all(folder.path().join("one/two")).expect("it can be made");
    std::os::unix::fs::symlink(folder.path().join("one/two"), folder.path().join("link")).expect("it can be made");
    for (path, expected) in
        [("one/two/../there", "one/there"), ("link/../linked", "one/linked"), ("none/../new", "new")]
    {
        let location = StorageLocation::Folder(folder.path().join(path));
        let storage = ObjectStorage::open(&location, []).expect("it can be opened");
        storage.put_new("file", Bytes::from_static(b"x")).expect("it is put");
        assert!(folder.path().join(expected).join("file").is_file(), "{path}");
    }
}
