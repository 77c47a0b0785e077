//! Making ready what an exchange needs, beside the job: plugins are compiled and compared, and an instance is made for each task.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    job::{
        checkpointing::Seat,
        compatibility::{Comparison, Occasion, StateThere, compare_ends, compare_states},
        live::{Changes, Difference, DifferenceKind, DropState, PluginRef, Refusal, RefusalKind},
        plugins::Located,
        version::{OperatorSettings, OperatorVersion},
    },
    operator::{CallTime, Plugin, Successor},
    spec::OnError,
    stream::{EventTime, Fault},
    wasm::{Engine, WasmPlugin},
};

/// An operator that is to be exchanged, and what there is of it.
pub(in crate::job) struct Target {
    /// Its id.
    pub(in crate::job) id: String,
    /// Its vertex.
    pub(in crate::job) vertex: usize,
    /// Its place in the job file.
    pub(in crate::job) index: usize,
    /// What runs.
    pub(in crate::job) running: OperatorVersion,
    /// What is to be changed.
    pub(in crate::job) changes: Changes,
    /// By id, the schema versions of which there may be values.
    pub(in crate::job) versions: BTreeMap<u16, BTreeSet<u16>>,
    /// The sinks to which an edge for its dead letters leads.
    pub(in crate::job) dead_letter_sinks: Vec<String>,
}

/// What has to be made ready.
pub(in crate::job) struct Preparation {
    pub(in crate::job) engine: Arc<Engine>,
    pub(in crate::job) targets: Vec<Target>,
    pub(in crate::job) dropped: BTreeSet<DropState>,
    /// By vertex and task.
    pub(in crate::job) seats: Arc<BTreeMap<(usize, u32), Seat>>,
    pub(in crate::job) time: CallTime,
}

/// An operator with its next version.
pub(in crate::job) struct Change {
    pub(in crate::job) id: String,
    pub(in crate::job) vertex: usize,
    pub(in crate::job) index: usize,
    pub(in crate::job) from: OperatorVersion,
    pub(in crate::job) to: OperatorVersion,
}

impl Change {
    /// It begins at this processing time.
    pub(in crate::job) fn begin(&mut self, now: EventTime) {
        let OperatorVersion { located, settings, .. } = self.to.clone();
        self.to = OperatorVersion::after(located, settings, self.from.register.clone(), now);
    }
}

/// All that an exchange needs.
pub(in crate::job) struct Prepared {
    pub(in crate::job) changes: Vec<Change>,
    /// By vertex and task.
    pub(in crate::job) successors: BTreeMap<(usize, u32), Successor>,
    pub(in crate::job) comparison: Comparison,
}

impl Preparation {
    /// Does it. Takes as long as compiling takes.
    ///
    /// # Errors
    /// Why it can't be exchanged, with everything that does not fit. The job is not touched.
    pub(in crate::job) fn run(self) -> Result<Prepared, Refusal> {
        let mut comparison = Comparison::default();
        let mut changes = Vec::new();
        let (mut unfit_plugins, mut loaded) = (Vec::new(), BTreeMap::new());
        for target in self.targets {
            let plugin = match &target.changes.component {
                None => Ok(target.running.located.clone()),
                Some(component) => load(&self.engine, component, &mut loaded),
            };
            match plugin {
                Ok(located) => changes.push(change(target, located, &self.dropped, self.time.now, &mut comparison)),
                Err(why) => unfit_plugins.push(format!("operator {}: the plugin was refused: {why}", target.id)),
            }
        }
        if !unfit_plugins.is_empty() {
            return Err(refusal(RefusalKind::Plugin, unfit_plugins.join("; "), comparison.differences));
        }
        if comparison.is_refused() {
            let why = "what is to run does not fit what runs, and nothing was touched".to_owned();
            return Err(refusal(RefusalKind::Incompatible, why, comparison.differences));
        }
        let mut successors = BTreeMap::new();
        for change in &changes {
            let seats = self.seats.iter().filter(|((vertex, _), _)| *vertex == change.vertex);
            for (place, seat) in seats {
                let version = change.to.for_tasks();
                let log = (seat.log)();
                let made = Successor::prepare(version, &seat.info, &seat.counters, self.time, log);
                let made = made.map_err(|fault: Fault| {
                    let why = format!("an instance of the new version could not be made ready: {fault}");
                    refusal(RefusalKind::Plugin, why, comparison.differences.clone())
                })?;
                successors.insert(*place, made);
            }
        }
        Ok(Prepared { changes, successors, comparison })
    }
}

fn refusal(kind: RefusalKind, message: String, differences: Vec<Difference>) -> Refusal {
    Refusal { kind, message, differences }
}

/// Loads a component, once for all operators.
fn load(engine: &Arc<Engine>, component: &Bytes, loaded: &mut BTreeMap<Bytes, Located>) -> Result<Located, String> {
    if let Some(located) = loaded.get(component) {
        return Ok(located.clone());
    }
    let plugin = WasmPlugin::load(engine, component).map_err(|error| error.to_string())?;
    let path = PathBuf::from(format!("{}.wasm", plugin.digest()));
    let located = Located { plugin: Arc::new(plugin), path, component: component.clone() };
    loaded.insert(component.clone(), located.clone());
    Ok(located)
}

fn change(
    target: Target,
    located: Located,
    dropped: &BTreeSet<DropState>,
    now: EventTime,
    comparison: &mut Comparison,
) -> Change {
    let Target { id, vertex, index, running, changes, versions, dead_letter_sinks } = target;
    let (before, after) = (running.located.plugin.descriptor(), located.plugin.descriptor());
    comparison.append(compare_ends(&id, before, after));
    let states = running.states();
    let there = StateThere { states: &states, versions: &versions };
    comparison.append(compare_states(&id, &there, after, dropped, Occasion::Exchange));
    let was = &running.settings;
    let settings = OperatorSettings {
        config: changes.config.unwrap_or_else(|| was.config.clone()),
        limits: changes.limits.unwrap_or(was.limits),
        on_error: changes.on_error.unwrap_or_else(|| was.on_error.clone()),
    };
    compare_settings(&id, was, &settings, &dead_letter_sinks, comparison);
    if running.located.plugin.digest() != located.plugin.digest() {
        let [is, was] = [&located, &running.located].map(|located| PluginRef::of(&*located.plugin));
        let text = format!("operator {id}: the plugin is {is} and was {was}");
        comparison.differs(&id, DifferenceKind::Changed, text);
    }
    let register = running.register.clone();
    let to = OperatorVersion::after(located, settings, register, now);
    Change { id, vertex, index, from: running, to }
}

fn compare_settings(
    id: &str,
    was: &OperatorSettings,
    is: &OperatorSettings,
    dead_letter_sinks: &[String],
    comparison: &mut Comparison,
) {
    let mut changed = |what: &str| {
        comparison.differs(id, DifferenceKind::Changed, format!("operator {id}: {what} changed"));
    };
    if was.config != is.config {
        changed("the config");
    }
    if was.limits != is.limits {
        changed("the limits");
    }
    if was.on_error == is.on_error {
        return;
    }
    match &is.on_error {
        OnError::DeadLetter { sink } if !dead_letter_sinks.contains(sink) => comparison.differs(
            id,
            DifferenceKind::Incompatible,
            format!(
                "operator {id}: on-error sends dead letters to {sink}, to which no edge leads in the job that runs"
            ),
        ),
        _ => changed("on-error"),
    }
}
