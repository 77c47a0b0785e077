//! The folders of a case's sinks, as a crash leaves them and as who reads them sees them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::random::Random;
use crate::harness::files;

/// The hidden file by which a run claims a folder.
const LOCK: &str = ".part-lock.inprogress";

/// What a crash leaves: files by sink and name.
pub(crate) type Left = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// The folders of sinks below one folder.
pub(crate) struct Folders {
    pub(crate) root: PathBuf,
    sinks: Vec<String>,
}

impl Folders {
    pub(crate) fn new(root: &Path, sinks: &[&str]) -> Self {
        Self { root: root.to_owned(), sinks: sinks.iter().map(|sink| (*sink).to_owned()).collect() }
    }

    /// All that is there now.
    pub(crate) fn look(&self) -> Left {
        self.sinks.iter().map(|sink| (sink.clone(), files(&self.root.join(sink)))).collect()
    }

    /// Makes the folders what the crash left. Hidden files that no manifest knows were promised to nobody: they lose some of their bytes or are not there at all.
    pub(crate) fn put_back(&self, left: &Left, manifests: &str, random: &mut Random) {
        for (sink, left) in left {
            let folder = self.root.join(sink);
            for name in files(&folder).keys() {
                fs::remove_file(folder.join(name)).expect("a result can be removed");
            }
            for (name, bytes) in left {
                let is_promised = !name.starts_with('.') || name == LOCK || manifests.contains(&format!("\"{name}\""));
                let kept = match random.within(0..3) {
                    _ if is_promised => Some(bytes.len()),
                    0 => None,
                    1 => Some(random.within(0..bytes.len() as u64 + 1) as usize),
                    _ => Some(bytes.len()),
                };
                let Some(kept) = kept else { continue };
                fs::write(folder.join(name), &bytes[..kept]).expect("a result can be put back");
            }
        }
    }

    /// What is hidden.
    pub(crate) fn hidden(&self) -> Vec<String> {
        let of_sink = |(sink, files): (String, BTreeMap<String, Vec<u8>>)| {
            let hidden = files.into_keys().filter(|name| name.starts_with('.'));
            hidden.map(|name| format!("{sink}/{name}")).collect::<Vec<_>>()
        };
        self.look().into_iter().flat_map(of_sink).collect()
    }

    /// The lines that a sink shows: by checkpoint, and of each in the order in which each task wrote them.
    pub(crate) fn lines(&self, sink: &str) -> Vec<String> {
        let visible = files(&self.root.join(sink)).into_iter().filter(|(name, _)| !name.starts_with('.'));
        let mut lines = Vec::new();
        // Names sort as checkpoint, task, number.
        for (name, bytes) in visible {
            let text = String::from_utf8(bytes).expect("results are UTF-8");
            assert!(text.is_empty() || text.ends_with('\n'), "{sink}/{name} ends in the middle of a line");
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }
}
