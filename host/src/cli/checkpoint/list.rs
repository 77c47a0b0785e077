//! `wasmill checkpoint list`.

use std::{
    io::{self, Write},
    time::SystemTime,
};

use serde_json::{Value, json};

use super::no_checkpoint;
use crate::{
    cli::{EXIT_DONE, args::CheckpointListArgs, show},
    job::{CheckpointManifest, FoundCheckpoint, StatePlace},
};

pub(super) fn list(args: CheckpointListArgs) -> anyhow::Result<u8> {
    let found = match StatePlace::open(&args.place)? {
        StatePlace::Job(checkpoints) => checkpoints.contents()?.checkpoints,
        StatePlace::Checkpoint(checkpoint) => {
            let damage = checkpoint.damage()?;
            let manifest = checkpoint.manifest().clone();
            vec![FoundCheckpoint { id: manifest.id, manifest: Some(manifest), damage }]
        }
        StatePlace::Dump(..) => return Err(no_checkpoint(&args.place).into()),
    };
    if found.is_empty() {
        show::say("there is no complete checkpoint");
    }
    let now = SystemTime::now();
    show::out(|out| {
        if args.json {
            let document = json!({ "checkpoints": found.iter().map(to_json).collect::<Vec<_>>() });
            return writeln!(out, "{document}");
        }
        print(&found, now, out)
    })?;
    Ok(EXIT_DONE)
}

fn to_json(found: &FoundCheckpoint) -> Value {
    let damage: Vec<_> = found.damage.iter().map(ToString::to_string).collect();
    let Some(manifest) = &found.manifest else {
        return json!({ "id": found.id.0, "damage": damage });
    };
    let counted = manifest.counted();
    json!({
        "id": found.id.0,
        "job": manifest.job,
        "attempt": manifest.attempt,
        "completed": humantime::format_rfc3339_millis(manifest.completed).to_string(),
        "duration_ms": manifest.duration_ms,
        "operators": manifest.operators.len(),
        "entries": counted.entries,
        "exact": counted.exact,
        "bytes": manifest.bytes(),
        "new_bytes": manifest.new_bytes,
        "ended": manifest.ended,
        "damage": damage,
    })
}

const HEAD: [&str; 9] = ["id", "completed", "age", "attempt", "operators", "entries", "bytes", "new bytes", "took"];

/// A line for each checkpoint, in columns.
fn print(found: &[FoundCheckpoint], now: SystemTime, out: &mut impl Write) -> io::Result<()> {
    let rows: Vec<_> = found.iter().map(|found| found.manifest.as_ref().map(|manifest| row(manifest, now))).collect();
    let widths: [usize; HEAD.len()] = std::array::from_fn(|column| {
        rows.iter().flatten().map(|row| row[column].len()).chain([HEAD[column].len()]).max().unwrap_or(0)
    });
    if rows.iter().any(Option::is_some) {
        print_row(&HEAD.map(str::to_owned), widths, out)?;
        writeln!(out, "  job")?;
    }
    for (found, row) in found.iter().zip(&rows) {
        let (Some(row), Some(manifest)) = (row, &found.manifest) else {
            writeln!(out, "{:>width$}  damaged: {}", found.id, first_damage(found), width = widths[0])?;
            continue;
        };
        print_row(row, widths, out)?;
        write!(out, "  {}", manifest.ended.map_or("ran on", show::ended))?;
        if !found.damage.is_empty() {
            write!(out, "; damaged: {}", first_damage(found))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn first_damage(found: &FoundCheckpoint) -> String {
    let first = found.damage.first().map(ToString::to_string).unwrap_or_default();
    match found.damage.len() {
        0 | 1 => first,
        more => format!("{first} (and {} more files)", more - 1),
    }
}

fn row(manifest: &CheckpointManifest, now: SystemTime) -> [String; HEAD.len()] {
    let age = now.duration_since(manifest.completed).map_or_else(|_| "-".to_owned(), show::age);
    let counted = manifest.counted();
    [
        manifest.id.to_string(),
        humantime::format_rfc3339_seconds(manifest.completed).to_string(),
        age,
        manifest.attempt.to_string(),
        manifest.operators.len().to_string(),
        show::count(counted.entries, counted.exact),
        show::number(manifest.bytes()),
        show::number(manifest.new_bytes),
        show::milliseconds(manifest.duration_ms),
    ]
}

fn print_row(row: &[String; HEAD.len()], widths: [usize; HEAD.len()], out: &mut impl Write) -> io::Result<()> {
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        let gap = if index == 0 { "" } else { "  " };
        write!(out, "{gap}{cell:>width$}")?;
    }
    Ok(())
}
