//! `wasmill state`: a look into the state that a job has left, or has now.
//!
//! Reads by the module that reads all stored state, and shows by the schemas that were stored with it; it knows neither plugins nor who wrote. What is written to standard output are
//! entries, or the list that was asked for, and nothing else.

mod export;
mod get;
mod list;
mod show;

use std::path::Path;

use anyhow::anyhow;

use super::{
    args::{StateArgs, StateCommand},
    running,
};
use crate::{
    control::Client,
    job::{DescribedState, OperatorOfState, StoredState},
    spec::nearest,
};

pub(super) use show::UndecodableState;

pub(super) fn state(command: StateCommand) -> anyhow::Result<u8> {
    match command {
        StateCommand::List(list) => list::list(list),
        StateCommand::Get(get) => get::get(get),
        StateCommand::Export(export) => export::export(export),
    }
}

/// The state in a place. A job that runs takes a checkpoint for it, so that what is shown is what is there now.
fn open(place: &Path) -> anyhow::Result<StoredState> {
    let name = place.to_str().filter(|name| !name.contains("://") && !place.exists());
    let Some(entry) = name.and_then(running::look) else { return Ok(StoredState::open(place)?) };
    let location = Client::of(&entry).checkpoint()?;
    Ok(StoredState::open(Path::new(&location))?)
}

/// The state that was asked for, and its operator.
fn find<'s>(stored: &'s StoredState, args: &StateArgs) -> anyhow::Result<(OperatorOfState<'s>, &'s DescribedState)> {
    let operator = operator_of(stored, &args.operator)?;
    let found = operator.states.iter().find(|state| state.name == args.state);
    let names = || operator.states.iter().map(|state| state.name.as_str());
    found.map(|state| (operator, state)).ok_or_else(|| {
        let id = operator.id;
        if operator.states.is_empty() {
            return anyhow!("operator {id} has no state");
        }
        unknown(&format!("operator {id} has no state"), &args.state, names().collect())
    })
}

fn operator_of<'s>(stored: &'s StoredState, id: &str) -> anyhow::Result<OperatorOfState<'s>> {
    let operators = stored.operators();
    operators.iter().find(|operator| operator.id == id).copied().ok_or_else(|| {
        let ids = operators.iter().map(|operator| operator.id);
        unknown(&format!("job {} has no operator", stored.job()), id, ids.collect())
    })
}

/// That there is no such name, and which was probably meant.
fn unknown(what: &str, name: &str, known: Vec<&str>) -> anyhow::Error {
    let hint = match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "it has none at all".to_owned(),
        None => format!("it has {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    };
    anyhow!("{what} `{name}`; {hint}")
}
