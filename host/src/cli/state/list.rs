//! `wasmill state list`.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::operator_of;
use crate::{
    cli::{EXIT_DONE, args::StateListArgs, show},
    job::{DescribedState, Ended, StoredOperator, StoredState},
};

pub(super) fn list(args: StateListArgs) -> anyhow::Result<u8> {
    let stored = StoredState::open(&args.folder)?;
    let manifest = stored.manifest();
    let operators = match &args.operator {
        Some(id) => vec![operator_of(&stored, id)?],
        None => manifest.operators.iter().collect(),
    };
    show::out(|out| {
        if args.json {
            let document = json!({
                "job": manifest.job,
                "ended": manifest.ended,
                "operators": operators.iter().map(|operator| operator_to_json(operator)).collect::<Vec<_>>(),
            });
            return writeln!(out, "{document}");
        }
        let ended = match manifest.ended {
            Ended::Done => "at the end of its input",
            Ended::Stopped => "when it was stopped",
        };
        writeln!(out, "job {}, {ended}", manifest.job)?;
        print(&operators, out)
    })?;
    Ok(EXIT_DONE)
}

fn operator_to_json(operator: &StoredOperator) -> Value {
    let state = |state: &DescribedState| {
        json!({
            "name": state.name,
            "kind": state.kind_name(),
            "schema_version": state.version,
            "key": state.key.as_ref().map(show::schema),
            "map_key": state.map_key.as_ref().map(show::schema),
            "value": show::schema(&state.value),
            "ttl_ms": state.ttl_ms,
            "entries": state.entries,
            "bytes": state.bytes,
        })
    };
    json!({
        "id": operator.id,
        "plugin": operator.plugin.name,
        "version": operator.plugin.version,
        "digest": operator.plugin.digest,
        "parallelism": operator.parallelism,
        "states": operator.states.iter().map(state).collect::<Vec<_>>(),
    })
}

/// A line for each state, in columns.
fn print(operators: &[&StoredOperator], out: &mut impl Write) -> io::Result<()> {
    let states = || operators.iter().flat_map(|operator| &operator.states);
    let width = |shown: fn(&DescribedState) -> usize, least| states().map(shown).max().unwrap_or(0).max(least);
    let name = width(|state| state.name.len(), 5);
    let kind = width(|state| state.kind_name().len(), 4);
    for operator in operators {
        let tasks = if operator.parallelism == 1 { "1 task".into() } else { format!("{} tasks", operator.parallelism) };
        if operator.states.is_empty() {
            writeln!(out, "operator {}, {tasks}: no state", operator.id)?;
            continue;
        }
        writeln!(out, "operator {}, {tasks}", operator.id)?;
        writeln!(out, "  {:name$}  {:kind$}  {:>13}  {:>15}  what", "state", "kind", "entries", "bytes")?;
        for state in &operator.states {
            let (entries, bytes) = (show::number(state.entries), show::number(state.bytes));
            let kind_name = state.kind_name();
            write!(out, "  {:name$}  {kind_name:kind$}  {entries:>13}  {bytes:>15}  {}", state.name, state.value)?;
            if let Some(key) = &state.key {
                write!(out, ", by {key}")?;
            }
            if let Some(map_key) = &state.map_key {
                write!(out, ", map keys {map_key}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
