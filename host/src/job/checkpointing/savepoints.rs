//! Savepoints, and checkpoints that somebody wants now.
//!
//! A savepoint is a checkpoint of the job that is copied to a place of its own, with everything that it refers to and names below its own folder: so it may be moved, and nothing of the job may delete it.
//! It is begun when the results of that checkpoint are visible, and has nothing set aside: so it can be gone on from where the results are, and elsewhere.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Instant};

use super::{
    driver::{Driver, Outcome, Told},
    keeper::Writing,
};
use crate::{
    checkpoint::{Below, Names, Storage, StorageError, StorageErrorKind, StorageLocation, put_same},
    job::{
        live::{
            Answer, Answering, Drain, Refusal, RefusalKind, SavepointAnswer, SavepointRequest, StopAnswer, StopRequest,
        },
        stored_state::{CheckpointManifest, Root, StoredCheckpoint, open_storage},
    },
    stream::{CheckpointId, Fault},
};

/// How often a checkpoint is tried before whoever asked is told that it failed.
const TRIES: u32 = 3;

/// The manifest of a savepoint in its folder.
const MANIFEST: &str = "manifest.json";

/// What somebody waits for.
pub(super) struct Wanted {
    what: What,
    answering: Answering,
    began: Instant,
    tries: u32,
    /// The checkpoint, when it has been triggered.
    id: Option<CheckpointId>,
    /// Its manifest, when it is being written.
    manifest: Option<CheckpointManifest>,
    stage: Stage,
}

enum What {
    Checkpoint,
    Savepoint(Target),
    /// The job ends behind it.
    Stop(Target),
}

/// Where a savepoint goes; the one of a job's own is named by its checkpoint.
#[derive(Clone)]
enum Target {
    Own,
    Place(Arc<dyn Storage>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The checkpoint is not complete.
    Waiting,
    /// Its results are being made visible.
    Complete,
    /// It is being copied.
    Copying,
    /// There is an answer.
    Done,
}

/// What became of a copy.
pub(super) struct Copied {
    id: CheckpointId,
    /// Its place and bytes.
    result: Result<(String, u64), StorageError>,
}

/// What a savepoint is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Savepoint,
    Stop(Drain),
}

/// The place of a savepoint, looked at.
pub(super) struct Opened {
    purpose: Purpose,
    answering: Answering,
    target: Result<Target, String>,
}

/// A new or empty place.
fn open(place: &str) -> Result<Target, String> {
    let location = match place.contains("://") {
        true => StorageLocation::parse(place, Path::new("/")).map_err(|error| error.to_string())?,
        false if Path::new(place).is_absolute() => StorageLocation::Folder(place.into()),
        false => return Err(format!("the place of a savepoint is a URL or an absolute path, not {place}")),
    };
    let storage = open_storage(&location).map_err(|error| error.to_string())?;
    match storage.list("") {
        Ok(files) if files.is_empty() => Ok(Target::Place(storage)),
        Ok(_) => Err(format!("{place} is not empty: give a new or an empty place")),
        Err(error) => Err(error.to_string()),
    }
}

fn refusal(kind: RefusalKind, message: String) -> Answer {
    Answer::Refused(Refusal::new(kind, message))
}

impl Driver {
    pub(super) fn asked_for_checkpoint(&mut self, answering: Answering) {
        self.want(What::Checkpoint, answering);
    }

    pub(super) fn asked_for_savepoint(&mut self, request: SavepointRequest, answering: Answering) {
        self.open(Purpose::Savepoint, request, answering);
    }

    pub(super) fn asked_to_stop(&mut self, request: StopRequest, answering: Answering) {
        self.open(Purpose::Stop(request.drain), request.savepoint, answering);
    }

    /// Looks at the place of a savepoint, where that may take its time.
    fn open(&mut self, purpose: Purpose, request: SavepointRequest, answering: Answering) {
        let Some(place) = request.place else {
            return self.opened(Opened { purpose, answering, target: Ok(Target::Own) });
        };
        if let Some(why) = self.why_not() {
            return answering.answer(refusal(RefusalKind::Busy, why));
        }
        let lost = Err("the thread that writes savepoints is gone".into());
        let lost = Outcome::Opened(Opened { purpose, answering: answering.clone(), target: lost });
        let told = Told { outcomes: self.outcomes.0.clone(), lost: Some(lost) };
        // Where no thread can be had, what is lost says so.
        drop(self.setup.savepoints.spawn(Box::new(move || {
            told.tell(Outcome::Opened(Opened { purpose, answering, target: open(&place) }));
        })));
    }

    pub(super) fn opened(&mut self, opened: Opened) {
        let Opened { purpose, answering, target } = opened;
        let target = match target {
            Ok(target) => target,
            Err(why) => return answering.answer(refusal(RefusalKind::Usage, why)),
        };
        match purpose {
            Purpose::Savepoint => drop(self.want(What::Savepoint(target), answering)),
            Purpose::Stop(drain) => {
                if !self.want(What::Stop(target), answering) {
                    return;
                }
                if drain == Drain::Yes {
                    self.setup.control.drain();
                }
                self.setup.control.stop();
                self.wake();
                self.setup.swaps.live.stopping();
            }
        }
    }

    /// Why no checkpoint can be taken for anybody now.
    fn why_not(&self) -> Option<String> {
        match &self.swap {
            _ if self.is_ending() => Some("the job is coming to its end".to_owned()),
            Some(swap) => {
                Some(format!("{} is being exchanged; when that is confirmed, ask again", swap.operators().join(", ")))
            }
            None => None,
        }
    }

    /// Returns whether it will be tried.
    fn want(&mut self, what: What, answering: Answering) -> bool {
        if let Some(why) = self.why_not() {
            answering.answer(refusal(RefusalKind::Busy, why));
            return false;
        }
        let (id, manifest, stage) = (None, None, Stage::Waiting);
        self.wanted.push(Wanted { what, answering, began: Instant::now(), tries: 0, id, manifest, stage });
        true
    }

    /// A checkpoint is about to be asked for: it is what is waited for.
    pub(super) fn wanted_triggered(&mut self, id: CheckpointId) {
        let is_last = self.setup.coordinator.is_last_in_flight();
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.stage == Stage::Waiting && wanted.id.is_none()) {
            // The job is as it will be left only when all tasks are at rest.
            if is_last || !matches!(wanted.what, What::Stop(_)) {
                wanted.id = Some(id);
            }
        }
    }

    pub(super) fn wanted_gathered(&mut self, manifest: &CheckpointManifest) {
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.id == Some(manifest.id)) {
            wanted.manifest = Some(manifest.clone());
        }
    }

    pub(super) fn wanted_aborted(&mut self, id: CheckpointId, reason: &str) {
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.id == Some(id)) {
            wanted.id = None;
            wanted.tries += 1;
            // The last checkpoint of a job that is being stopped is tried until it is complete.
            if wanted.tries >= TRIES && !matches!(wanted.what, What::Stop(_)) {
                wanted.answering.answer(refusal(RefusalKind::Failed, format!("checkpoint {id} failed: {reason}")));
                wanted.stage = Stage::Done;
            }
        }
        self.wanted.retain(|wanted| wanted.stage != Stage::Done);
    }

    pub(super) fn wanted_completed(&mut self, id: CheckpointId) {
        let place = Names::checkpoint(&self.setup.location, id);
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.id == Some(id)) {
            wanted.stage = Stage::Complete;
            if let What::Checkpoint = wanted.what {
                wanted.answering.answer(Answer::Checkpoint(place.clone()));
                wanted.stage = Stage::Done;
            }
        }
        self.wanted.retain(|wanted| wanted.stage != Stage::Done);
    }

    /// Checkpoints that may not be deleted yet.
    pub(super) fn wanted_ids(&self) -> BTreeSet<CheckpointId> {
        self.wanted.iter().filter_map(|wanted| wanted.id).collect()
    }

    /// Somebody waits for what the last checkpoint brings.
    pub(super) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Goes on with what is wanted. Returns whether it did anything.
    ///
    /// # Errors
    /// When the attempt can't go on.
    pub(super) fn poll_wanted(&mut self, now: std::time::Duration) -> Result<bool, Fault> {
        if self.wanted.is_empty() {
            return Ok(false);
        }
        if self.is_over() {
            // What waits for another checkpoint gets none.
            for wanted in self.wanted.extract_if(.., |wanted| wanted.id.is_none()) {
                wanted.answering.answer(refusal(RefusalKind::Busy, "the job has come to its end".into()));
            }
        }
        let mut did = false;
        if self.is_all_shown() {
            for index in 0..self.wanted.len() {
                if self.wanted[index].stage == Stage::Complete {
                    self.wanted[index].stage = Stage::Copying;
                    self.copy(index);
                    did = true;
                }
            }
        }
        let waits = |wanted: &Wanted| wanted.id.is_none() && !matches!(wanted.what, What::Stop(_));
        if self.wanted.iter().any(waits) {
            did |= self.ask_for_checkpoint(now)?;
        }
        Ok(did)
    }

    fn copy(&self, index: usize) {
        let wanted = &self.wanted[index];
        let (Some(id), Some(manifest)) = (wanted.id, wanted.manifest.clone()) else { return };
        let writing = Arc::clone(&self.setup.writing);
        let given = match &wanted.what {
            What::Savepoint(Target::Place(storage)) | What::Stop(Target::Place(storage)) => Some(Arc::clone(storage)),
            _ => None,
        };
        let gone = "the thread that writes savepoints is gone".into();
        let gone = writing.storage.error(MANIFEST, StorageErrorKind::Unavailable, gone);
        let lost = Outcome::Copied(Copied { id, result: Err(gone) });
        let told = Told { outcomes: self.outcomes.0.clone(), lost: Some(lost) };
        // Where no thread can be had, what is lost says so.
        drop(self.setup.savepoints.spawn(Box::new(move || {
            let to = given.map_or_else(|| own_place(&writing.storage, id), Ok);
            let result = to.and_then(|to| {
                let place = to.location("").trim_end_matches('/').to_owned();
                copy_all(&writing, &*to, manifest).map(|bytes| (place, bytes))
            });
            told.tell(Outcome::Copied(Copied { id, result }));
        })));
    }

    pub(super) fn copied(&mut self, copied: Copied) {
        let Copied { id, result } = copied;
        let of_copy = |wanted: &mut Wanted| wanted.id == Some(id) && wanted.stage == Stage::Copying;
        let Some(wanted) = self.wanted.extract_if(.., of_copy).next() else { return };
        let answer = match result {
            Err(error) => {
                let kept = Names::checkpoint(&self.setup.location, id);
                refusal(
                    RefusalKind::Failed,
                    format!("the savepoint was not written: {error}; checkpoint {kept} has the same"),
                )
            }
            Ok((place, bytes)) => {
                let duration_ms = wanted.began.elapsed().as_millis() as u64;
                let savepoint = SavepointAnswer { place, id: id.0, bytes, duration_ms };
                match wanted.what {
                    What::Stop(_) => Answer::Stop(StopAnswer { savepoint }),
                    What::Savepoint(_) | What::Checkpoint => Answer::Savepoint(savepoint),
                }
            }
        };
        wanted.answering.answer(answer);
    }
}

impl Driver {
    /// A checkpoint of its own is complete: the savepoint that the job has begun from, if that is its own, is needed no more.
    pub(super) fn delete_claimed(&mut self) {
        let Some(claimed) = self.setup.claimed.take() else { return };
        // What can't be deleted stays: it is in nobody's way.
        drop(self.setup.savepoints.spawn(Box::new(move || match delete_all(&claimed) {
            Ok(()) => tracing::info!("the savepoint that the job was begun from is deleted: it was claimed"),
            Err(error) => tracing::warn!("the savepoint that was claimed can't be deleted: {error}"),
        })));
    }
}

/// Deletes a savepoint: first what makes it one.
fn delete_all(savepoint: &StoredCheckpoint) -> Result<(), StorageError> {
    let (storage, manifest) = (savepoint.storage(), savepoint.manifest());
    storage.delete(MANIFEST)?;
    let names: BTreeSet<&str> =
        manifest.segments().map(|segment| segment.name.as_str()).chain(manifest.plugins()).collect();
    names.into_iter().try_for_each(|name| storage.delete(name))
}

/// A folder beside the job's checkpoints in which nothing is. The savepoint of a run that began anew may have the number of an earlier one.
fn own_place(storage: &Arc<dyn Storage>, id: CheckpointId) -> Result<Arc<dyn Storage>, StorageError> {
    let mut name = format!("savepoints/{id}");
    let mut nth = 2;
    loop {
        let place = Below::new(Arc::clone(storage), name);
        if place.list("")?.is_empty() {
            return Ok(Arc::new(place));
        }
        name = format!("savepoints/{id}-{nth}");
        nth += 1;
    }
}

/// Copies a checkpoint with everything that it refers to. Its manifest comes last. Returns its bytes. An attempt that ends is not held up by it for longer than a file takes.
fn copy_all(writing: &Writing, to: &dyn Storage, manifest: CheckpointManifest) -> Result<u64, StorageError> {
    let names: BTreeSet<&str> =
        manifest.segments().map(|segment| segment.name.as_str()).chain(manifest.plugins()).collect();
    let mut bytes = 0;
    for name in names {
        if writing.is_cancelled() {
            let why = "the job failed or ended meanwhile";
            return Err(to.error(name, StorageErrorKind::Unavailable, why.into()));
        }
        let file = writing.storage.get(name)?;
        bytes += file.len() as u64;
        put_same(to, name, file)?;
    }
    let mut savepoint = CheckpointManifest { root: Root::SELF_CONTAINED, ..manifest };
    for sink in &mut savepoint.sinks {
        // It is visible by now.
        sink.transactions = serde_json::Value::Array(Vec::new());
    }
    let text = savepoint.to_json();
    bytes += text.len() as u64;
    put_same(to, MANIFEST, text.into())?;
    Ok(bytes)
}
