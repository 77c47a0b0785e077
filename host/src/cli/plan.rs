//! `wasmill plan`.

use std::io::{self, Write};

use serde_json::json;

use super::{
    EXIT_DONE,
    args::PlanArgs,
    place::cache_folder,
    run::{begins_at_the_beginning, read_job},
    show,
};
use crate::{
    job::{
        Carries, Loader, Outlook, PlannedBeginning, PlannedEdge, PlannedOrigin, PlannedState, PreparedJob, Role, Start,
        StateFate, prepare,
    },
    operator::{InputDescriptor, Plugin},
};

pub(super) fn plan(args: PlanArgs) -> anyhow::Result<u8> {
    let job = read_job(&args.job)?;
    let mut loader = Loader::new(cache_folder().as_deref())?;
    let mut prepared = prepare(job, &mut loader, &mut show::say)?;
    let start = Start { from: args.from, dropped: args.drop_state.into_iter().collect(), ..Start::default() };
    if prepared.spec.checkpoint.is_none() {
        begins_at_the_beginning(&start)?;
    }
    let outlook = prepared.outlook(&start);
    show::out(|out| match args.json {
        true => writeln!(out, "{}", to_json(&prepared, outlook.as_ref())),
        false => print(&prepared, out).and_then(|()| print_outlook(outlook.as_ref(), out)),
    })?;
    match outlook.map(|outlook| outlook.beginning) {
        Some(Err(error)) => Err(error.into()),
        Some(Ok(_)) | None => Ok(EXIT_DONE),
    }
}

fn print_outlook(outlook: Option<&Outlook>, out: &mut impl Write) -> io::Result<()> {
    let Some(Outlook { storage, beginning, notes, states }) = outlook else { return Ok(()) };
    writeln!(out, "checkpoints in {storage}")?;
    let of = |origin: &PlannedOrigin| {
        format!("{} ({}, of {})", origin.id, origin.location, humantime::format_rfc3339_seconds(origin.completed))
    };
    match beginning {
        Ok(PlannedBeginning::Fresh) => writeln!(out, "  a run begins at the beginning"),
        Ok(PlannedBeginning::From(origin)) => writeln!(out, "  a run goes on from checkpoint {}", of(origin)),
        Ok(PlannedBeginning::Ended(origin)) => {
            writeln!(
                out,
                "  the job has come to the end of its input with checkpoint {}: a run has nothing to do",
                of(origin)
            )
        }
        // It is the error of the command.
        Err(_) => writeln!(out, "  a run can't begin"),
    }?;
    notes.iter().try_for_each(|note| writeln!(out, "  {note}"))?;
    for PlannedState { operator, state, fate, text } in states {
        let what = match fate {
            StateFate::Kept => "kept",
            StateFate::Changed => "kept, changed",
            StateFate::Migrated => "migrated",
            StateFate::Dropped => "dropped",
            StateFate::New => "new",
            StateFate::Refused => "refused",
        };
        let place = format!("operator {operator}, state {state}");
        let text = text.as_deref().unwrap_or_default();
        let more = text.strip_prefix(&place).map_or(text, |rest| rest.trim_start_matches([':', ' ']));
        let more = if more.is_empty() { String::new() } else { format!(": {more}") };
        writeln!(out, "  {what:<13} {operator}/{state}{more}")?;
    }
    Ok(())
}

fn outlook_to_json(outlook: &Outlook) -> serde_json::Value {
    let of = |name: &str, origin: &PlannedOrigin| {
        json!({
            "begins": name,
            "checkpoint": origin.id.0,
            "location": origin.location,
            "completed": humantime::format_rfc3339_millis(origin.completed).to_string(),
        })
    };
    let mut document = match &outlook.beginning {
        Ok(PlannedBeginning::Fresh) => json!({ "begins": "fresh" }),
        Ok(PlannedBeginning::From(origin)) => of("from-checkpoint", origin),
        Ok(PlannedBeginning::Ended(origin)) => of("already-done", origin),
        Err(error) => json!({ "begins": "refused", "reason": error.to_string() }),
    };
    document["storage"] = json!(outlook.storage);
    document["notes"] = json!(outlook.notes);
    document["states"] = json!(outlook.states);
    document
}

fn plugin_of(job: &PreparedJob, role: Role) -> Option<&dyn Plugin> {
    match role {
        Role::Operator(index) => Some(&*job.plugins[index].plugin),
        Role::Source(_) | Role::Sink(_) => None,
    }
}

/// The operator's input that an edge leads to.
fn input_of<'j>(job: &'j PreparedJob, edge: &PlannedEdge) -> Option<&'j InputDescriptor> {
    let plugin = plugin_of(job, job.plan.vertices[edge.to].role)?;
    plugin.descriptor().inputs.get(edge.input as usize)
}

fn kind(role: Role) -> &'static str {
    match role {
        Role::Source(_) => "source",
        Role::Operator(_) => "operator",
        Role::Sink(_) => "sink",
    }
}

fn to_json(job: &PreparedJob, outlook: Option<&Outlook>) -> serde_json::Value {
    let vertices = job.plan.vertices.iter().map(|vertex| {
        let plugin = plugin_of(job, vertex.role);
        json!({
            "id": vertex.id,
            "kind": kind(vertex.role),
            "parallelism": vertex.parallelism,
            "key": vertex.key.as_ref().map(show::schema),
            "value": (!matches!(vertex.role, Role::Sink(_))).then(|| show::schema(&vertex.value)),
            "plugin": plugin.map(|plugin| json!({
                "name": plugin.descriptor().name,
                "version": plugin.descriptor().version,
                "digest": plugin.digest(),
                "states": plugin.descriptor().states.iter().map(|state| state.name.clone()).collect::<Vec<_>>(),
            })),
        })
    });
    let edges = job.plan.edges.iter().map(|edge| {
        json!({
            "from": job.plan.vertices[edge.from].id,
            "to": job.plan.vertices[edge.to].id,
            "input": input_of(job, edge).map(|input| &input.name),
            "partitioning": edge.partitioning.name(),
            "carries": if edge.carries == Carries::Records { "records" } else { "dead-letters" },
            "chained": edge.chained,
        })
    });
    json!({ "job": job.spec.name, "max_parallelism": job.spec.max_parallelism, "checkpoints": outlook.map(outlook_to_json), "vertices": vertices.collect::<Vec<_>>(), "edges": edges.collect::<Vec<_>>() })
}

fn print(job: &PreparedJob, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "job {}", job.spec.name)?;
    for (index, vertex) in job.plan.vertices.iter().enumerate() {
        let tasks = if vertex.parallelism == 1 { "1 task".to_owned() } else { format!("{} tasks", vertex.parallelism) };
        write!(out, "  {} {}: {tasks}", kind(vertex.role), vertex.id)?;
        if let Some(plugin) = plugin_of(job, vertex.role) {
            let descriptor = plugin.descriptor();
            write!(out, ", plugin {} {} ({})", descriptor.name, descriptor.version, &plugin.digest()[..12])?;
            for state in &descriptor.states {
                write!(out, ", {} state {}: {}", state.kind, state.name, state.schema)?;
            }
        }
        writeln!(out)?;
        for edge in job.plan.edges.iter().filter(|edge| edge.to == index) {
            let from = &job.plan.vertices[edge.from];
            let how = if edge.chained { "in the same task".to_owned() } else { format!("by {}", edge.partitioning) };
            let several = plugin_of(job, vertex.role).is_some_and(|plugin| plugin.descriptor().inputs.len() > 1);
            let to = input_of(job, edge).filter(|_| several).map_or(String::new(), |to| format!(" to {}", to.name));
            match edge.carries {
                Carries::DeadLetters => writeln!(out, "    from {} ({how}): dead letters", from.id)?,
                // Keys stay behind where an operator asks for them at another input.
                Carries::Records => match from.key.as_ref().filter(|_| edge.with_keys || !several) {
                    Some(key) => writeln!(out, "    from {}{to} ({how}): {}, keyed by {key}", from.id, from.value)?,
                    None => writeln!(out, "    from {}{to} ({how}): {}", from.id, from.value)?,
                },
            }
        }
    }
    Ok(())
}
