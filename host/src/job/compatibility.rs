//! Whether another version of an operator can take over: what differs between what ran and what is to run, all of it at once, and what each difference means.
//!
//! The same rules hold for an exchange while the job runs, for a run that begins from a checkpoint or savepoint, and for the plan that shows either before. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    live::{Difference, DifferenceKind, DropState, MigratedState},
    stored_state::DescribedState,
};
use crate::{
    operator::{Descriptor, Keying, StateDescriptor},
    stream::schema::Schema,
};

/// When another version takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::job) enum Occasion {
    /// While the job runs: what is in memory stays as it is.
    Exchange,
    /// At the start of a run, which reads all state.
    Restore,
}

/// What comes of a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::job) struct Comparison {
    pub(in crate::job) differences: Vec<Difference>,
    pub(in crate::job) migrations: Vec<MigratedState>,
}

impl Comparison {
    /// Whether the other version can't take over.
    pub(in crate::job) fn is_refused(&self) -> bool {
        self.refusals().next().is_some()
    }

    pub(in crate::job) fn refusals(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|difference| difference.kind == DifferenceKind::Incompatible)
    }

    pub(in crate::job) fn append(&mut self, mut other: Self) {
        self.differences.append(&mut other.differences);
        self.migrations.append(&mut other.migrations);
    }

    /// Notes a difference that belongs to no state.
    pub(in crate::job) fn differs(&mut self, operator: &str, kind: DifferenceKind, text: String) {
        self.differences.push(Difference { operator: operator.to_owned(), state: None, kind, text });
    }
}

/// The state that there is of an operator.
pub(in crate::job) struct StateThere<'a> {
    /// As its last version described it.
    pub(in crate::job) states: &'a [DescribedState],
    /// By id, the schema versions of which there may be values beside the one that the last version wrote.
    pub(in crate::job) versions: &'a BTreeMap<u16, BTreeSet<u16>>,
}

/// Compares inputs and outputs: what is around an operator that is exchanged stays as it is.
pub(in crate::job) fn compare_ends(operator: &str, before: &Descriptor, now: &Descriptor) -> Comparison {
    let mut comparison = Comparison::default();
    let mut refuse = |text: String| comparison.differs(operator, DifferenceKind::Incompatible, text);
    let names = |names: &mut dyn Iterator<Item = &String>| names.map(String::as_str).collect::<Vec<_>>().join(", ");
    let inputs = |of: &Descriptor| names(&mut of.inputs.iter().map(|input| &input.name));
    if inputs(before) != inputs(now) {
        refuse(format!("operator {operator}: its inputs are {} and were {}", inputs(now), inputs(before)));
    } else {
        for (was, is) in before.inputs.iter().zip(&now.inputs) {
            let name = &is.name;
            if was.key != is.key {
                refuse(changed(operator, &format!("the key of the input {name}"), shown(&was.key), shown(&is.key)));
            }
            if was.value != is.value {
                refuse(changed(operator, &format!("the input {name}"), was.value.to_string(), is.value.to_string()));
            }
            if was.broadcast != is.broadcast {
                let how = |broadcast| if broadcast { "given to all tasks" } else { "given to one task" }.to_owned();
                refuse(changed(
                    operator,
                    &format!("what comes by the input {name}"),
                    how(was.broadcast),
                    how(is.broadcast),
                ));
            }
        }
    }
    let outputs = |of: &Descriptor| names(&mut of.outputs.iter().map(|output| &output.name));
    if outputs(before) != outputs(now) {
        refuse(format!("operator {operator}: its outputs are {} and were {}", outputs(now), outputs(before)));
    } else {
        for (was, is) in before.outputs.iter().zip(&now.outputs) {
            let name = &is.name;
            if was.keying != is.keying {
                refuse(changed(
                    operator,
                    &format!("the key of the output {name}"),
                    keying(&was.keying),
                    keying(&is.keying),
                ));
            }
            if was.value != is.value {
                refuse(changed(operator, &format!("the output {name}"), was.value.to_string(), is.value.to_string()));
            }
        }
    }
    comparison
}

fn changed(operator: &str, what: &str, was: String, is: String) -> String {
    format!("operator {operator}: {what} is {is} and was {was}")
}

fn shown(key: &Option<Schema>) -> String {
    key.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn keying(keying: &Keying) -> String {
    match keying {
        Keying::Keep => "that of the record".to_owned(),
        Keying::Set(key) => format!("a new one, {key}"),
        Keying::Drop => "none".to_owned(),
    }
}

/// Compares the state that there is with what another version of the operator keeps. `dropped` may be given up.
pub(in crate::job) fn compare_states(
    operator: &str,
    there: &StateThere<'_>,
    now: &Descriptor,
    dropped: &BTreeSet<DropState>,
    occasion: Occasion,
) -> Comparison {
    let mut comparison = Comparison::default();
    let key = now.inputs.iter().find_map(|input| input.key.clone());
    let mut note = |state: &str, kind, text: String| {
        comparison.differences.push(Difference {
            operator: operator.to_owned(),
            state: Some(state.to_owned()),
            kind,
            text,
        });
    };
    let mut migrations = Vec::new();
    for state in there.states {
        let name = &state.name;
        let place = format!("operator {operator}, state {name}");
        let Some(is) = now.states.iter().find(|is| is.name == *name) else {
            let may_go = dropped.contains(&DropState { operator: operator.to_owned(), state: name.clone() });
            if may_go {
                note(name, DifferenceKind::Dropped, format!("{place}: is given up, with all that is in it"));
            } else {
                note(
                    name,
                    DifferenceKind::Incompatible,
                    format!("{place}: nobody takes what is in it (--drop-state {operator}/{name} gives it up)"),
                );
            }
            continue;
        };
        let mut refuse = |what: &str, was: String, is: String| {
            note(name, DifferenceKind::Incompatible, format!("{place}: {what} is {is} and was {was}"));
        };
        if is.kind != state.kind {
            refuse("the kind", state.kind.to_string(), is.kind.to_string());
        }
        let is_key = key.clone().filter(|_| is.kind.is_keyed());
        if is_key != state.key && is.kind.is_keyed() == state.kind.is_keyed() {
            refuse("the key", shown(&state.key), shown(&is_key));
        }
        if is.map_key != state.map_key && is.kind.is_map() == state.kind.is_map() {
            refuse("the map key", shown(&state.map_key), shown(&is.map_key));
        }
        compare_versions(&place, (state, is), there, occasion, &mut |kind, text| note(name, kind, text), &mut |from| {
            migrations.push(MigratedState { operator: operator.to_owned(), state: name.clone(), from, to: is.version });
        });
        let (was, is_now) = (state.ttl_ms, is.ttl.map(|ttl| ttl.ms));
        if was != is_now {
            let ms = |ms: Option<u64>| ms.map_or("none".to_owned(), |ms| format!("{ms} ms"));
            let from_now = if was.is_none() { "; for what is there it counts from now on" } else { "" };
            let text = format!("{place}: the time to live is {} and was {}{from_now}", ms(is_now), ms(was));
            note(name, DifferenceKind::Changed, text);
        }
    }
    for is in now.states.iter().filter(|is| !there.states.iter().any(|state| state.name == is.name)) {
        note(&is.name, DifferenceKind::New, format!("operator {operator}, state {}: is new and begins empty", is.name));
    }
    comparison.migrations = migrations;
    comparison
}

/// The states of an operator that is not in the job any more. `dropped` may be given up.
pub(in crate::job) fn without_operator(
    operator: &str,
    states: &[DescribedState],
    dropped: &BTreeSet<DropState>,
) -> Comparison {
    let differences = states.iter().map(|state| {
        let name = &state.name;
        let may_go = dropped.contains(&DropState { operator: operator.to_owned(), state: name.clone() });
        let (kind, text) = if may_go {
            (DifferenceKind::Dropped, format!("operator {operator}, state {name}: is given up, with all that is in it"))
        } else {
            let text = format!(
                "operator {operator} is not in the job, so nobody takes its state {name} (--drop-state {operator}/{name} gives it up)"
            );
            (DifferenceKind::Incompatible, text)
        };
        Difference { operator: operator.to_owned(), state: Some(name.clone()), kind, text }
    });
    Comparison { differences: differences.collect(), migrations: Vec::new() }
}

/// Compares schemas and their versions.
fn compare_versions(
    place: &str,
    (state, is): (&DescribedState, &StateDescriptor),
    there: &StateThere<'_>,
    occasion: Occasion,
    note: &mut dyn FnMut(DifferenceKind, String),
    migrates: &mut dyn FnMut(Vec<u16>),
) {
    if is.version == state.version && is.schema != state.value {
        note(
            DifferenceKind::Incompatible,
            format!(
                "{place}: the schema of the values is {} and was {}, under the same schema version {}: another schema needs another version",
                is.schema, state.value, is.version
            ),
        );
    }
    let mut versions = there.versions.get(&state.number).cloned().unwrap_or_default();
    if occasion == Occasion::Exchange {
        // What was declared last may be written at any time before.
        versions.insert(state.version);
    }
    versions.remove(&is.version);
    let unknown: Vec<u16> = versions.iter().copied().filter(|version| !is.migrates_from.contains(version)).collect();
    let list = |versions: &[u16]| versions.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    if !unknown.is_empty() {
        let known = if is.migrates_from.is_empty() {
            "migrates from none".to_owned()
        } else {
            format!("migrates from {} only", list(&is.migrates_from))
        };
        note(
            DifferenceKind::Incompatible,
            format!(
                "{place}: there may be values of schema version {}, but the operator has version {} and {known}",
                list(&unknown),
                is.version
            ),
        );
    } else if !versions.is_empty() {
        let from: Vec<u16> = versions.into_iter().collect();
        note(
            DifferenceKind::Migrated,
            format!(
                "{place}: values of schema version {} are migrated to {} when they are looked at",
                list(&from),
                is.version
            ),
        );
        migrates(from);
    }
}

#[cfg(test)]
mod tests;
