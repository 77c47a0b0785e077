//! Jobs that run here, as commands find them.

use std::path::{self, Path};

use anyhow::{Context, anyhow};

use super::place::runtime_folder;
use crate::{
    control::{Client, ControlError, Entry, RuntimeFolder},
    spec::nearest,
};

/// The jobs that run, by name.
pub(super) fn all() -> Result<Vec<Entry>, ControlError> {
    Ok(RuntimeFolder::existing(&runtime_folder())?.map_or_else(Vec::new, |folder| folder.jobs()))
}

/// A job that runs, if it does.
pub(super) fn look(job: &str) -> Option<Entry> {
    RuntimeFolder::existing(&runtime_folder()).ok().flatten()?.find(job)
}

/// A job that has to run.
pub(super) fn find(job: &str) -> anyhow::Result<Entry> {
    let jobs = all()?;
    if let Some(entry) = jobs.iter().find(|entry| entry.job == job) {
        return Ok(entry.clone());
    }
    let names: Vec<_> = jobs.iter().map(|entry| entry.job.as_str()).collect();
    Err(match (nearest(job, names.iter().copied()), names.is_empty()) {
        (_, true) => anyhow!("no job named {job} runs here, and no other one either"),
        (Some(meant), false) => {
            anyhow!("no job named {job} runs here; did you mean `{meant}`? Those that run: {}", names.join(", "))
        }
        (None, false) => anyhow!("no job named {job} runs here; those that run: {}", names.join(", ")),
    })
}

/// The way to a job that has to run.
pub(super) fn client(job: &str) -> anyhow::Result<Client> {
    find(job).map(|entry| Client::of(&entry))
}

/// A place as a process in another folder understands it.
pub(super) fn absolute(place: &Path) -> anyhow::Result<String> {
    let text = place.to_str().with_context(|| format!("{} is not UTF-8", place.display()))?;
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    let path = path::absolute(place).with_context(|| format!("{text:?} is no path"))?;
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
