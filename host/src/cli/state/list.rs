//! `wasmill state list`.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{open, operator_of};
use crate::{
    cli::{EXIT_DONE, args::StateListArgs, show},
    job::{Counted, DescribedState, OperatorOfState},
};

pub(super) fn list(args: StateListArgs) -> anyhow::Result<u8> {
    let stored = open(&args.place)?;
    let operators = match &args.operator {
        Some(id) => vec![operator_of(&stored, id)?],
        None => stored.operators(),
    };
    show::out(|out| {
        if args.json {
            let document = json!({
                "job": stored.job(),
                "ended": stored.ended(),
                "checkpoint": stored.checkpoint().map(|checkpoint| checkpoint.id.0),
                "operators": operators.iter().map(operator_to_json).collect::<Vec<_>>(),
            });
            return writeln!(out, "{document}");
        }
        let moment =
            [stored.checkpoint().map(show::checkpoint), stored.ended().map(|ended| show::ended(ended).to_owned())];
        writeln!(out, "job {}, {}", stored.job(), moment.into_iter().flatten().collect::<Vec<_>>().join(", "))?;
        print(&operators, out)
    })?;
    Ok(EXIT_DONE)
}

fn operator_to_json(operator: &OperatorOfState<'_>) -> Value {
    let state = |state: &DescribedState| {
        let Counted { entries, bytes, exact } = operator.counted(state);
        json!({
            "name": state.name,
            "kind": state.kind_name(),
            "schema_version": state.version,
            "key": state.key.as_ref().map(show::schema),
            "map_key": state.map_key.as_ref().map(show::schema),
            "value": show::schema(&state.value),
            "ttl_ms": state.ttl_ms,
            "entries": entries,
            "bytes": bytes,
            "exact": exact,
        })
    };
    json!({
        "id": operator.id,
        "plugin": operator.plugin,
        "version": operator.version,
        "digest": operator.digest,
        "parallelism": operator.parallelism,
        "states": operator.states.iter().map(state).collect::<Vec<_>>(),
    })
}

/// A line for each state, in columns.
fn print(operators: &[OperatorOfState<'_>], out: &mut impl Write) -> io::Result<()> {
    let states = || operators.iter().flat_map(|operator| operator.states);
    let counts = operators.iter().flat_map(|operator| operator.states.iter().map(|state| operator.counted(state)));
    let counts: Vec<_> = counts
        .map(|counted| [counted.entries, counted.bytes].map(|number| show::count(number, counted.exact)))
        .collect();
    let count_width =
        |column: usize, least| counts.iter().map(|count| count[column].len()).max().unwrap_or(0).max(least);
    let (entries_width, bytes_width) = (count_width(0, 13), count_width(1, 15));
    let mut counts = counts.iter();
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
        writeln!(
            out,
            "  {:name$}  {:kind$}  {:>entries_width$}  {:>bytes_width$}  what",
            "state", "kind", "entries", "bytes"
        )?;
        for (state, [entries, bytes]) in operator.states.iter().zip(counts.by_ref()) {
            let kind_name = state.kind_name();
            write!(
                out,
                "  {:name$}  {kind_name:kind$}  {entries:>entries_width$}  {bytes:>bytes_width$}  {}",
                state.name, state.value
            )?;
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
