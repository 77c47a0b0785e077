//! Where a run of a job would begin, found out without touching anything: nothing is locked, made or written.
//!
//! It decides as a run does, with the same code. What it can't know is whether sources and sinks still are as the checkpoint says: the run looks at those when it begins.

use std::time::SystemTime;

use super::{
    checkpointing::{Beginning, Checkpointing, Origin},
    plugins::JobError,
    prepare::PreparedJob,
    start::Start,
};
use crate::{spec::StorageSpec, stream::CheckpointId};

/// Where a run would begin, and where its checkpoints lie.
#[derive(Debug)]
pub struct Outlook {
    /// The folder of the job in the storage of checkpoints: a path or URL.
    pub storage: String,
    /// Where it would begin, or why it would not.
    pub beginning: Result<PlannedBeginning, JobError>,
}

/// Where a run would begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlannedBeginning {
    /// At the beginning.
    Fresh,
    /// From this checkpoint.
    From(PlannedOrigin),
    /// Nowhere: the job came to the end of its input with this checkpoint.
    Ended(PlannedOrigin),
}

/// A checkpoint that a run would begin from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOrigin {
    /// Its number.
    pub id: CheckpointId,
    /// Its path or URL.
    pub location: String,
    /// When it was completed.
    pub completed: SystemTime,
}

impl PlannedOrigin {
    fn of(origin: &Origin) -> Self {
        let manifest = origin.manifest();
        Self { id: manifest.id, location: origin.location(), completed: manifest.completed }
    }
}

impl PreparedJob {
    /// Where a run would begin; none: the job takes no checkpoints.
    pub fn outlook(&self, start: &Start) -> Option<Outlook> {
        let settings = self.spec.checkpoint.as_ref()?;
        let storage = match &settings.storage.value {
            StorageSpec::Folder(folder) => folder.join(&self.spec.name).display().to_string(),
            StorageSpec::Url(url) => format!("{}/{}", url.trim_end_matches('/'), self.spec.name),
        };
        let beginning =
            Checkpointing::peek(self, settings).and_then(|mut checkpointing| checkpointing.beginning(start));
        let beginning = beginning.map(|beginning| match &beginning {
            Beginning::Fresh => PlannedBeginning::Fresh,
            Beginning::From(origin) => PlannedBeginning::From(PlannedOrigin::of(origin)),
            Beginning::Ended(origin) => PlannedBeginning::Ended(PlannedOrigin::of(origin)),
        });
        Some(Outlook { storage, beginning })
    }
}
