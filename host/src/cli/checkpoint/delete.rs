//! `wasmill checkpoint delete`.

use std::{collections::BTreeSet, io::Write, path::Path};

use anyhow::bail;
use serde_json::json;

use super::no_checkpoint;
use crate::{
    cli::{EXIT_DONE, EXIT_USAGE, args::CheckpointDeleteArgs, show},
    job::{Checkpoints, Deletion, StatePlace, Unwanted},
};

pub(super) fn delete(args: CheckpointDeleteArgs) -> anyhow::Result<u8> {
    let checkpoints = job_folder(&args.place)?;
    // Before anything is looked at, and held to the end: a job that began meanwhile would restore from what goes.
    let lock = checkpoints.lock()?;
    if !lock.is_held() {
        show::say("an object store can't be locked: see that the job does not run");
    }
    let unwanted =
        if args.all { Unwanted::All } else { Unwanted::These(args.ids.iter().copied().collect::<BTreeSet<_>>()) };
    let deletion = checkpoints.contents()?.deletion(&unwanted)?;
    if !deletion.unread.is_empty() {
        let unread: Vec<_> = deletion.unread.iter().map(ToString::to_string).collect();
        show::say(&format!(
            "no segments and plugins go: it can't be read what checkpoint {} refers to",
            unread.join(", ")
        ));
    }
    if !args.yes {
        show::out(|out| deletion.names.iter().try_for_each(|name| writeln!(out, "{name}")))?;
        show::say(&format!("{} would go; to remove them give --yes", summary(&deletion)));
        return Ok(EXIT_USAGE);
    }
    let mut line = show::ProgressLine::new();
    let begin = std::time::Instant::now();
    checkpoints.delete(&deletion, &mut |gone| {
        line.say(begin.elapsed().as_secs_f64(), || format!("{gone} of {} files", deletion.names.len()));
    })?;
    line.clear();
    if args.json {
        let ids: Vec<_> = deletion.checkpoints.iter().map(|id| id.0).collect();
        let document = json!({ "checkpoints": ids, "files": deletion.names, "bytes": deletion.bytes });
        show::out(|out| writeln!(out, "{document}"))?;
    }
    show::say(&format!("removed {}", summary(&deletion)));
    Ok(EXIT_DONE)
}

fn job_folder(path: &Path) -> anyhow::Result<Checkpoints> {
    match StatePlace::open(path)? {
        StatePlace::Job(checkpoints) => Ok(checkpoints),
        StatePlace::Checkpoint(checkpoint) => bail!(
            "{} is the folder of one checkpoint, which shares files with others; give that of the job, and {} as ID",
            path.display(),
            checkpoint.manifest().id
        ),
        StatePlace::Dump(..) => Err(no_checkpoint(path).into()),
    }
}

fn summary(deletion: &Deletion) -> String {
    let count = |number: usize, one: &str, many: &str| {
        format!("{} {}", show::number(number as u64), if number == 1 { one } else { many })
    };
    format!(
        "{}, {}, {} bytes",
        count(deletion.checkpoints.len(), "checkpoint", "checkpoints"),
        count(deletion.names.len(), "file", "files"),
        show::number(deletion.bytes)
    )
}
