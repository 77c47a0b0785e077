//! What a person is told when a checkpoint can't be restored: which file is wrong, and which older checkpoint there is. None is ever taken by itself.

use std::path::Path;

use super::{super::stored_state::verify, Checkpointing, Origin};
use crate::checkpoint::{Condition, Names, Resolution, Wanted, resolve};

impl Checkpointing {
    /// What is wrong with the files of a checkpoint that could not be restored, and what to do. None: nothing is, or it can't be found out.
    pub(in crate::job) fn damage(&self, origin: &Origin) -> Option<String> {
        let (_, damaged) = verify(std::slice::from_ref(&origin.checkpoint), &mut |_| {}).ok()?;
        let what = damaged.first()?.error.to_string();
        if !origin.is_own {
            return Some(what);
        }
        let contents = self.checkpoints.contents().ok()?;
        let mut folders = contents.folders();
        for (folder, found) in folders.iter_mut().zip(&contents.checkpoints) {
            // Others may refer to the same file.
            let is_damaged =
                |name: &str| damaged.iter().any(|file| file.error.path == Path::new(&self.storage().location(name)));
            let manifest = found.manifest.as_ref();
            if manifest.is_some_and(|manifest| manifest.segments().any(|segment| is_damaged(&segment.name))) {
                folder.condition = Condition::Damaged { what: what.clone() };
            }
        }
        match resolve(Wanted::Checkpoint(origin.manifest().id), &folders) {
            Resolution::Refused { reason, next_older_restorable } => {
                let older = next_older_restorable.map(|id| self.storage().location(&Names::manifest(id)));
                Some(refusal(&reason, older.as_deref()))
            }
            Resolution::Fresh | Resolution::Restore(_) | Resolution::AlreadyEnded(_) => Some(what),
        }
    }
}

/// Why no run begins, and what to do.
pub(super) fn refusal(reason: &str, older: Option<&str>) -> String {
    match older.map(|older| older.strip_suffix("/manifest.json").unwrap_or(older)) {
        Some(older) => format!(
            "{reason}; the next older checkpoint that can be restored is {older}: to go on from there, which reads and writes again what came after it, add --from {older}"
        ),
        None => {
            format!("{reason}; there is no older one that can be restored: to begin at the beginning, add --from none")
        }
    }
}
