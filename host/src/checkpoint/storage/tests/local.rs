//! Files on a disk: what only they can do, and how they refuse.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;

fn open(path: &Path) -> ObjectStorage {
    ObjectStorage::open(&StorageLocation::Folder(path.to_owned()), []).expect("a path is enough")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn local_files_conform_wherever_they_lie() {
    let folder = folder();
    for name in ["plain", "with space", "ümläut", "per%20cent", "a#1"] {
        let path = folder.path().join(name);
        let storage = open(&path);
        assert!(!path.exists(), "opening makes nothing");
        conformance::check(&storage);
        storage.put_new("a/b.seg", Bytes::from_static(b"here")).expect("it is new");
        assert_eq!(fs::read(path.join("a/b.seg")).expect("it is a file"), b"here");
        assert_eq!(storage.location("a/b.seg"), path.join("a/b.seg").display().to_string());
    }
}

#[test]
fn what_a_crash_left_half_written_is_not_listed() {
    let folder = folder();
    let storage = open(folder.path());
    fs::write(folder.path().join("a.seg#1"), b"half").expect("it can be written");
    storage.put_new("a.seg", Bytes::from_static(b"whole")).expect("it is new");
    assert_eq!(storage.list("").expect("it can be listed"), [Listed { name: "a.seg".to_owned(), bytes: 5 }]);
}

#[test]
fn a_folder_goes_with_its_last_file() {
    let folder = folder();
    let storage = open(folder.path());
    for name in ["checkpoints/1/manifest.json", "checkpoints/2/manifest.json", "checkpoints/2/more"] {
        storage.put_new(name, Bytes::new()).expect("it is new");
    }
    storage.delete("checkpoints/1/manifest.json").expect("it is there");
    storage.delete("checkpoints/2/manifest.json").expect("it is there");
    assert!(!folder.path().join("checkpoints/1").exists(), "it is empty");
    assert!(folder.path().join("checkpoints/2/more").exists(), "its folder has another file");
}

#[test]
fn a_file_where_a_folder_should_be_is_said() {
    let folder = folder();
    fs::write(folder.path().join("file"), b"no folder").expect("it can be written");
    let error = open(&folder.path().join("file")).put_new("a", Bytes::new()).expect_err("it is a file");
    assert_eq!(error.kind, StorageErrorKind::Invalid, "{error}");
    assert!(error.location.ends_with("/file/a"), "{error}");
}

#[test]
fn a_full_disk_is_told_from_one_that_does_not_answer() {
    // Whatever is written there finds no room, on every Linux.
    let source = fs::write("/dev/full", b"x").expect_err("it is always full");
    let generic = object_store::Error::Generic { store: "test", source: Box::new(source) };
    assert_eq!(object::kind_of(&generic), StorageErrorKind::Full);
    let kinds = [
        (std::io::ErrorKind::ReadOnlyFilesystem, StorageErrorKind::Refused),
        (std::io::ErrorKind::PermissionDenied, StorageErrorKind::Refused),
        (std::io::ErrorKind::ConnectionReset, StorageErrorKind::Unavailable),
        (std::io::ErrorKind::TimedOut, StorageErrorKind::Unavailable),
    ];
    for (cause, kind) in kinds {
        let source = Box::new(std::io::Error::from(cause));
        assert_eq!(object::kind_of(&object_store::Error::Generic { store: "test", source }), kind);
    }
}

#[test]
fn several_threads_use_one_storage_at_once() {
    let folder = folder();
    let storage = open(folder.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let storage = &storage;
            scope.spawn(move || {
                for number in 0..20 {
                    let name = format!("{thread}/{number}");
                    storage.put_new(&name, Bytes::from(name.clone())).expect("it is new");
                    assert_eq!(storage.get(&name).expect("it is there"), name);
                }
            });
        }
    });
    assert_eq!(storage.list("").expect("it can be listed").len(), 80);
}
