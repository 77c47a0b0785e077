//! `wasmill checkpoint show`.

use std::io::{self, Write};

use super::one;
use crate::{
    cli::{EXIT_DONE, args::CheckpointShowArgs, show},
    job::{CheckpointManifest, CheckpointedOperator, CheckpointedTask},
    stream::EventTime,
};

/// Of a digest, so many digits tell it from others.
const DIGEST_SHOWN: usize = 12;

pub(super) fn show(args: CheckpointShowArgs) -> anyhow::Result<u8> {
    let checkpoint = one(&args.place, args.id)?;
    let manifest = checkpoint.manifest();
    for damage in checkpoint.damage()? {
        show::say(&format!("damaged: {damage}"));
    }
    show::out(|out| match args.json {
        true => out.write_all(manifest.to_json().as_bytes()),
        false => print(manifest, out),
    })?;
    Ok(EXIT_DONE)
}

fn print(manifest: &CheckpointManifest, out: &mut impl Write) -> io::Result<()> {
    let ended = manifest.ended.map_or("and ran on", show::ended);
    writeln!(out, "job {}, {}, {ended}", manifest.job, show::checkpoint(manifest))?;
    writeln!(
        out,
        "attempt {}, {}, took {}; {} bytes, of which {} new; {} key groups",
        manifest.attempt,
        manifest.mode_name(),
        show::milliseconds(manifest.duration_ms),
        show::number(manifest.bytes()),
        show::number(manifest.new_bytes),
        manifest.max_parallelism
    )?;
    for source in &manifest.sources {
        writeln!(out, "source {}: {}", source.id, source.position)?;
    }
    manifest.operators.iter().try_for_each(|operator| print_operator(operator, out))?;
    for sink in &manifest.sinks {
        writeln!(out, "sink {}: {}", sink.id, sink.transactions)?;
    }
    Ok(())
}

fn print_operator(operator: &CheckpointedOperator, out: &mut impl Write) -> io::Result<()> {
    let plugin = &operator.plugin;
    let digest = |digest: &str| digest.get(..DIGEST_SHOWN).unwrap_or(digest).to_owned();
    write!(out, "operator {}: {} {}, {}", operator.id, plugin.name, plugin.version, digest(&plugin.running))?;
    if plugin.running != plugin.declared {
        write!(out, " in the place of {}", digest(&plugin.declared))?;
    }
    if plugin.file.is_none() {
        write!(out, ", not kept")?;
    }
    writeln!(out)?;
    for state in &operator.states {
        let counted = operator.counted(state);
        write!(
            out,
            "  state {}: {}, {} entries",
            state.name,
            state.kind_name(),
            show::count(counted.entries, counted.exact)
        )?;
        writeln!(
            out,
            ", {} bytes, version {}: {}",
            show::count(counted.bytes, counted.exact),
            state.version,
            state.value
        )?;
    }
    operator.tasks.iter().try_for_each(|task| print_task(task, out))
}

fn print_task(task: &CheckpointedTask, out: &mut impl Write) -> io::Result<()> {
    let CheckpointedTask { task, key_groups, watermark, ended, segments, operator_state, list_elements: _ } = task;
    write!(out, "  task {task}: key groups {} to {}", key_groups.start, key_groups.end.saturating_sub(1))?;
    match watermark.map(EventTime) {
        None => write!(out, ", no watermark")?,
        Some(EventTime::MAX) => write!(out, ", the last watermark")?,
        Some(EventTime(ms)) => write!(out, ", watermark {ms}")?,
    }
    if *ended {
        write!(out, ", at the end of its input")?;
    }
    let all = || segments.iter().chain(operator_state);
    let bytes = all().map(|segment| segment.facts.bytes).sum();
    let runs = segments.chunk_by(|one, next| one.run == next.run).count();
    writeln!(out, "; {} segments in {runs} runs, {} bytes", all().count(), show::number(bytes))
}
