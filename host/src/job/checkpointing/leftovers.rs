//! What a process that was killed in the middle of a write has left in a job's folder on a local disk.
//!
//! A file is written under a name of its own, `<name>#<number>`, and gets its name when it is whole; that is how the library for object stores does it. Such files are in no listing, so
//! retention does not see them.

use std::{fs, path::Path};

/// Folders lie no deeper below the job's.
const DEPTH_MAX: u32 = 3;

/// Removes them. To be called while no other run can write there. What can't be removed is in nobody's way.
pub(super) fn remove_half_written(folder: &Path) {
    remove_below(folder, DEPTH_MAX);
}

fn remove_below(folder: &Path, depth: u32) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth > 0 {
            remove_below(&entry.path(), depth - 1);
        } else if !is_folder && entry.file_name().to_str().is_some_and(is_half_written) {
            // The next run tries it again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_half_written(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_written_files_go_and_all_others_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let segments = folder.path().join("segments/sum");
        fs::create_dir_all(&segments).expect("a folder can be made");
        let names = ["1-0-1-0.seg", "1-0-1-1.seg#1", "1-0-1-2.seg#17", "notes#", "notes#two"];
        for name in names {
            fs::write(segments.join(name), "bytes").expect("a file can be written");
        }
        remove_half_written(folder.path());
        let left = names.map(|name| segments.join(name).exists());
        assert_eq!(left, [true, false, false, true, true]);
    }
}
