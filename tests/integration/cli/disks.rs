//! Disks that are full, away or damaged while a job with checkpoints runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use super::sums::{Sums, names};

/// A disk of a few bytes, in memory. Dropped, it is taken away.
struct Disk(PathBuf);

impl Disk {
    /// None, with a message, where this user may not mount.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(folder).expect("a folder can be made");
        let options = format!("size={size}");
        match Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output() {
            Ok(output) if output.status.success() => Some(Self(folder.to_owned())),
            _ => {
                println!("skipped: no file system can be mounted here");
                None
            }
        }
    }

    fn grow(&self, size: &str) {
        let grown = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(grown.expect("mount is there").success(), "a disk that is mounted can be made larger");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed says so itself.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn count(text: &str, part: &str) -> usize {
    text.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn a_job_goes_on_while_its_checkpoints_have_no_room() {
    let job = Sums::new();
    let Some(disk) = Disk::mount(&job.path("storage"), "24k") else { return };
    let running = job.start(&[]);
    job.wait_for("a segment", |folder| !names(&folder.join("storage/sums/segments/sum")).is_empty());
    thread::sleep(Duration::from_millis(500));
    disk.grow("50m");
    let said = running.end();
    said.expect(0);
    assert!(said.err.contains("the storage has no room left"), "{}", said.err);
    assert!(said.err.contains("make room, retain fewer checkpoints, or name another storage"), "{}", said.err);
    assert!((1..=4).contains(&count(&said.err, "no room left")), "{}", said.err);
    assert!(!said.err.contains("starting again"), "{}", said.err);
    job.check();
}

#[test]
fn a_storage_that_is_away_for_a_while_is_waited_for() {
    let job = Sums::new();
    let running = job.start(&[]);
    job.wait_for_results_of(2);
    fs::rename(job.path("storage"), job.path("gone")).expect("it can be renamed");
    thread::sleep(Duration::from_millis(800));
    if job.path("storage").exists() {
        // A write that was under way at that very moment has made the folder anew. Whoever brings the storage back removes that, and nothing is in it that counts.
        assert!(names(&job.path("storage/sums/checkpoints")).is_empty(), "no checkpoint is made in its place");
        fs::remove_dir_all(job.path("storage")).expect("it can be removed");
    }
    fs::rename(job.path("gone"), job.path("storage")).expect("it can be renamed");
    let said = running.end();
    said.expect(0);
    assert!(said.err.contains("the mark of this run is gone"), "{}", said.err);
    assert!((1..=12).contains(&count(&said.err, "WARN")), "a few lines and no flood: {}", said.err);
    assert!(!said.err.contains("starting again"), "{}", said.err);
    job.check();
    let storage = job.path("storage/sums").display().to_string();
    super::say(&["checkpoint", "verify", &storage]).expect(0);
}

#[test]
fn a_job_begins_again_until_its_results_have_room() {
    let job = Sums::new();
    let Some(disk) = Disk::mount(&job.path("results"), "300k") else { return };
    let running = job.start(&[]);
    job.wait_for("a second attempt", |folder| {
        names(&folder.join("storage/sums/attempts")).iter().any(|name| !name.ends_with('1'))
    });
    disk.grow("50m");
    let said = running.end();
    said.expect(0);
    assert!(said.err.contains("No space left on device"), "{}", said.err);
    assert!(said.err.contains("starting again from checkpoint "), "{}", said.err);
    job.check();
}

#[test]
fn a_storage_that_cannot_be_written_is_refused_at_the_start() {
    let job = Sums::new();
    fs::write(job.path("storage"), "a file where a folder should be").expect("it can be written");
    job.run(&[]).refused(2, &["storage"]);
    fs::remove_file(job.path("storage")).expect("it is there");
    let Some(_disk) = Disk::mount(&job.path("storage"), "1m") else { return };
    let read_only = Command::new("mount").args(["-o", "remount,ro"]).arg(job.path("storage")).status();
    assert!(read_only.expect("mount is there").success(), "nobody writes to it");
    job.run(&[]).refused(2, &["Read-only file system"]);
}
