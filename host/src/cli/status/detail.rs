//! One job, for people.

use std::{io, io::Write, time::Duration};

use serde::Deserialize;

use crate::{
    cli::{show, swap::answer::SwapShown},
    control::Entry,
};

/// What is shown of a job.
#[derive(Deserialize)]
pub(super) struct Detail {
    state: String,
    seconds: f64,
    restarts: u32,
    checkpoints: Option<Checkpoints>,
    vertices: Vec<Vertex>,
    swap: Option<Swap>,
    last_swap: Option<SwapShown>,
}

#[derive(Deserialize)]
struct Checkpoints {
    completed: u64,
    failed: u64,
    last: Option<u64>,
    last_location: Option<String>,
    last_age_seconds: Option<f64>,
    last_duration_ms: Option<f64>,
    last_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Vertex {
    id: String,
    parallelism: u32,
    records_in: u64,
    records_out: u64,
    busy_seconds: f64,
    idle_seconds: f64,
    back_pressured_seconds: f64,
    faults: u64,
    poisoned: u64,
    operator: Option<Operator>,
}

#[derive(Deserialize)]
struct Operator {
    plugin: Plugin,
    declared: String,
    states: Vec<String>,
}

#[derive(Deserialize)]
struct Plugin {
    name: String,
    version: String,
    digest: String,
}

#[derive(Deserialize)]
struct Swap {
    phase: String,
    operators: Vec<String>,
    checkpoint: Option<u64>,
    probation: Option<Probation>,
}

#[derive(Deserialize)]
struct Probation {
    remaining_seconds: f64,
    remaining_batches: u64,
}

/// How long ago something was.
pub(super) fn age(seconds: f64) -> String {
    show::age(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

pub(super) fn write(out: &mut impl Write, entry: &Entry, detail: &Detail) -> io::Result<()> {
    let (job, pid, address) = (&entry.job, entry.pid, entry.address);
    write!(out, "{job} is {} for {}", detail.state, age(detail.seconds))?;
    if detail.restarts > 0 {
        write!(out, ", started again {}", times(detail.restarts))?;
    }
    writeln!(out, "; process {pid}, control API at {address}")?;
    write_vertices(out, &detail.vertices)?;
    if let Some(checkpoints) = &detail.checkpoints {
        write_checkpoints(out, checkpoints)?;
    }
    for vertex in &detail.vertices {
        let Some(Operator { plugin, declared, states }) = &vertex.operator else { continue };
        write!(out, "  operator {}: {} {} ({})", vertex.id, plugin.name, plugin.version, short(&plugin.digest))?;
        if *declared != plugin.digest {
            write!(out, ", swapped in for {}", short(declared))?;
        }
        match states.as_slice() {
            [] => writeln!(out, "; no state")?,
            states => writeln!(out, "; state {}", states.join(", "))?,
        }
    }
    if let Some(swap) = &detail.swap {
        write_swap(out, swap)?;
    }
    match &detail.last_swap {
        Some(swap) => writeln!(out, "  last swap: {}", swap.line(None)),
        None => Ok(()),
    }
}

fn write_vertices(out: &mut impl Write, vertices: &[Vertex]) -> io::Result<()> {
    if vertices.is_empty() {
        return Ok(());
    }
    let width = vertices.iter().map(|vertex| vertex.id.len()).max().unwrap_or(0);
    writeln!(
        out,
        "  {:width$}  {:>5} {:>15} {:>15} {:>6} {:>6} {:>6}",
        "", "tasks", "records in", "records out", "busy", "idle", "full"
    )?;
    for vertex in vertices {
        let times = [vertex.busy_seconds, vertex.idle_seconds, vertex.back_pressured_seconds];
        let all: f64 = times.iter().sum();
        let [busy, idle, full] =
            times.map(|time| if all > 0.0 { format!("{:.0} %", time / all * 100.0) } else { "-".into() });
        write!(
            out,
            "  {:width$}  {:>5} {:>15} {:>15} {busy:>6} {idle:>6} {full:>6}",
            vertex.id,
            vertex.parallelism,
            show::number(vertex.records_in),
            show::number(vertex.records_out)
        )?;
        if vertex.faults > 0 {
            let (faults, poisoned) = (show::number(vertex.faults), show::number(vertex.poisoned));
            write!(out, "  faults: {faults}, records given up: {poisoned}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_checkpoints(out: &mut impl Write, checkpoints: &Checkpoints) -> io::Result<()> {
    write!(out, "  checkpoints: {} complete", show::number(checkpoints.completed))?;
    if checkpoints.failed > 0 {
        write!(out, ", {} failed", show::number(checkpoints.failed))?;
    }
    let Some(last) = checkpoints.last else { return writeln!(out) };
    let facts = [
        checkpoints.last_age_seconds.map(|seconds| format!("{} ago", age(seconds))),
        checkpoints.last_duration_ms.map(|ms| format!("{ms:.0} ms")),
        checkpoints.last_bytes.map(show::size),
    ];
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    write!(out, "; the last is {last} ({})", facts.join(", "))?;
    match &checkpoints.last_location {
        Some(location) => writeln!(out, ": {location}"),
        None => writeln!(out),
    }
}

fn write_swap(out: &mut impl Write, swap: &Swap) -> io::Result<()> {
    write!(out, "  swap of {}: {}", swap.operators.join(", "), swap.phase)?;
    if let Some(checkpoint) = swap.checkpoint {
        write!(out, ", checkpoint {checkpoint}")?;
    }
    if let Some(Probation { remaining_seconds, remaining_batches }) = &swap.probation {
        write!(out, ", over in {remaining_seconds:.1} s or {} batches", show::number(*remaining_batches))?;
    }
    writeln!(out)
}

fn times(number: u32) -> String {
    if number == 1 { "once".into() } else { format!("{number} times") }
}

/// The beginning of a digest, which is enough to tell plugins apart.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_shown_whole() {
        let token = || serde_json::from_value(json!("x")).expect("a token");
        let entry = Entry {
            job: "word-count".into(),
            pid: 77,
            address: ([127, 0, 0, 1], 4000).into(),
            token: token(),
            metrics_token: token(),
            started: String::new(),
        };
        let counted = |id: &str, operator: serde_json::Value| {
            json!({
                "id": id, "parallelism": 2, "records_in": 1000, "records_out": 900, "busy_seconds": 1.0,
                "idle_seconds": 3.0, "back_pressured_seconds": 0.0, "faults": 1, "poisoned": 0, "operator": operator,
            })
        };
        let plugin =
            |digest: char| json!({ "name": "word-count", "version": "0.2.0", "digest": digest.to_string().repeat(64) });
        let operator = json!({ "plugin": plugin('a'), "declared": "b".repeat(64), "states": ["count"] });
        let status = json!({
            "state": "running", "seconds": 83.2, "restarts": 1,
            "checkpoints": {
                "completed": 8, "failed": 1, "last": 9, "last_location": "/jobs/word-count/checkpoints/9",
                "last_age_seconds": 3.4, "last_duration_ms": 12.3, "last_bytes": 2048,
            },
            "vertices": [counted("count", operator)],
            "swap": {
                "phase": "probation", "operators": ["count"], "checkpoint": 9,
                "probation": { "remaining_seconds": 7.25, "remaining_batches": 1200 },
            },
            "last_swap": null,
        });
        let mut out = Vec::new();
        write(&mut out, &entry, &Detail::deserialize(&status).expect("it is whole")).expect("into memory");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "word-count is running for 83 s, started again once; process 77, control API at 127.0.0.1:4000\n\
             \x20        tasks      records in     records out   busy   idle   full\n\
             \x20 count      2           1,000             900   25 %   75 %    0 %  faults: 1, records given up: 0\n\
             \x20 checkpoints: 8 complete, 1 failed; the last is 9 (3 s ago, 12 ms, 2.0 KiB): /jobs/word-count/checkpoints/9\n\
             \x20 operator count: word-count 0.2.0 (aaaaaaaaaaaa), swapped in for bbbbbbbbbbbb; state count\n\
             \x20 swap of count: probation, checkpoint 9, over in 7.2 s or 1,200 batches\n"
        );
    }
}
