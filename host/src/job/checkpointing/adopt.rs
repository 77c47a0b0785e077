//! What the operators of a job run when it goes on from a checkpoint, and whether that fits.
//!
//! An operator that was exchanged runs on as it was, as long as the job file yields for it what it did then; one that the job file has another plugin for is upgraded. Of an exchange that was on probation
//! nothing is left.

use std::{collections::BTreeSet, sync::Arc};

use super::{Beginning, Checkpointing, Graph, Origin, graph::Part};
use crate::{
    checkpoint::StorageError,
    job::{
        PreparedJob, Start,
        compatibility::Comparison,
        live::DropState,
        plugins::{JobError, Located},
        stored_state::{CheckpointedPlugin, OpenSwap},
        version::{OperatorSettings, OperatorVersion},
    },
    operator::Plugin,
    stream::{CheckpointId, EventTime},
    wasm::WasmPlugin,
};

/// What comes of going on from a checkpoint.
#[derive(Debug, Default)]
pub(in crate::job) struct Adopted {
    /// What a person should know.
    pub(in crate::job) notes: Vec<String>,
    /// What differs.
    pub(in crate::job) comparison: Comparison,
    /// Why the job can't go on, beside what differs in the state of its operators.
    pub(in crate::job) misfits: Vec<String>,
}

impl Adopted {
    /// Everything for which the job can't go on.
    ///
    /// # Errors
    /// If there is any.
    pub(in crate::job) fn check(&self, id: CheckpointId) -> Result<(), JobError> {
        let refused = self.comparison.refusals().map(|difference| &difference.text);
        let list: String = self.misfits.iter().chain(refused).map(|misfit| format!("\n  - {misfit}")).collect();
        if list.is_empty() {
            return Ok(());
        }
        Err(JobError::Refused(format!(
            "the job can't go on from checkpoint {id}:{list}\nset back what was changed, or begin at the beginning with --from none"
        )))
    }
}

/// The operators of an exchange, for people.
pub(in crate::job) fn operators_of(swap: &OpenSwap) -> String {
    swap.former.iter().map(|former| former.id.as_str()).collect::<Vec<_>>().join(", ")
}

impl Checkpointing {
    /// Lets the operators of a job run what they have to when it goes on from there, and compares. Whether it fits is in the answer. `now` is processing time.
    ///
    /// # Errors
    /// When a plugin that has to run can't be had.
    pub(in crate::job) fn adopt(
        &mut self,
        job: &mut PreparedJob,
        beginning: &Beginning,
        start: &Start,
        now: EventTime,
    ) -> Result<Adopted, JobError> {
        let (Beginning::From(origin) | Beginning::Ended(origin)) = beginning else {
            return Ok(Adopted::default());
        };
        let mut adopted = Adopted::default();
        if let Some(swap) = &origin.manifest().swap {
            adopted.notes.push(format!(
                "the exchange of {} at checkpoint {} was on probation: it is taken back, and what ran before goes on",
                operators_of(swap),
                swap.checkpoint
            ));
        }
        for vertex in &self.graph.vertices {
            let Part::Operator(facts) = &vertex.part else { continue };
            let (id, index) = (&vertex.id, facts.index);
            let (Some(ran), Some(register)) = (origin.plugin(id), origin.register(id)) else { continue };
            let declared = job.version(index);
            let (located, settings) = going_on(origin, job, (id, index), ran, &mut adopted.notes)?;
            let located = located.unwrap_or(declared.located);
            let settings = settings.unwrap_or(declared.settings);
            job.set_version(index, OperatorVersion::after(located, settings, register, now));
        }
        self.graph = Graph::new(job, self.settings.mode);
        adopted.comparison = origin.compare(&self.graph, &start.dropped);
        adopted.misfits = origin.misfits(&self.graph);
        adopted.misfits.extend(unknown_drops(origin, &start.dropped));
        Ok(adopted)
    }
}

/// What an operator runs instead of what the job file says, as far as that is something else.
fn going_on(
    origin: &Origin,
    job: &PreparedJob,
    (id, index): (&str, usize),
    ran: &CheckpointedPlugin,
    notes: &mut Vec<String>,
) -> Result<(Option<Located>, Option<OperatorSettings>), JobError> {
    let declared = &job.declared[index];
    if ran.declared != declared.digest {
        if ran.running != declared.digest {
            let descriptor = job.plugins[index].plugin.descriptor();
            notes.push(format!(
                "operator {id} is upgraded from {} {} to {} {}",
                ran.name, ran.version, descriptor.name, descriptor.version
            ));
        }
        return Ok((None, None));
    }
    let exchanged = ran.settings.as_ref().filter(|settings| settings.declared == declared.settings.to_json());
    let settings = exchanged.and_then(|settings| OperatorSettings::from_json(&settings.running));
    if settings.is_some() {
        notes.push(format!("operator {id} goes on with the settings that it was exchanged for"));
    }
    if ran.running == declared.digest {
        return Ok((None, settings));
    }
    let located = load(origin, job, id, ran)?;
    notes.push(format!(
        "operator {id} goes on with {} {} ({}), for which it was exchanged: what the job file names has not changed since",
        ran.name,
        ran.version,
        &ran.running[..12.min(ran.running.len())]
    ));
    Ok((Some(located), settings))
}

/// The plugin that the checkpoint keeps.
fn load(origin: &Origin, job: &PreparedJob, id: &str, ran: &CheckpointedPlugin) -> Result<Located, JobError> {
    let storage = origin.checkpoint.storage();
    let name = ran.file.clone().unwrap_or_default();
    let path = storage.location(&name).into();
    let component = storage.get(&name).map_err(|error: StorageError| {
        JobError::Refused(format!("operator {id} was exchanged, and the plugin that it ran can't be read: {error}"))
    })?;
    let plugin = WasmPlugin::load(&job.engine, &component).map_err(|source| JobError::Load {
        operator: id.to_owned(),
        path: storage.location(&name).into(),
        source,
    })?;
    if plugin.digest() != ran.running {
        return Err(JobError::Digest {
            operator: id.to_owned(),
            path,
            found: plugin.digest().to_owned(),
            wanted: ran.running.clone(),
        });
    }
    Ok(Located { plugin: Arc::new(plugin), path, component })
}

fn unknown_drops(origin: &Origin, dropped: &BTreeSet<DropState>) -> Vec<String> {
    let there = |drop: &&DropState| {
        let operator = origin.manifest().operators.iter().find(|operator| operator.id == drop.operator);
        operator.is_some_and(|operator| operator.states.iter().any(|state| state.name == drop.state))
    };
    let unknown = dropped.iter().filter(|drop| !there(drop));
    unknown
        .map(|DropState { operator, state }| format!("--drop-state {operator}/{state}: there is no such state"))
        .collect()
}
