//! `wasmill checkpoint verify`.

use std::{collections::BTreeMap, io::Write};

use serde_json::{Value, json};

use super::{no_checkpoint, other};
use crate::{
    cli::{EXIT_DONE, EXIT_STATE, args::CheckpointVerifyArgs, show},
    job::{DamagedFile, Held, StatePlace, StoredCheckpoint, StoredStateError, Use, Verified, verify as read_all},
    stream::CheckpointId,
};

pub(super) fn verify(args: CheckpointVerifyArgs) -> anyhow::Result<u8> {
    let (checkpoints, unread) = checkpoints(&args)?;
    let mut line = show::ProgressLine::new();
    let begin = std::time::Instant::now();
    let (verified, damaged) = read_all(&checkpoints, &mut |verified: Verified| {
        line.say(begin.elapsed().as_secs_f64(), || progress(verified));
    })?;
    line.clear();
    let ids: Vec<_> = checkpoints.iter().map(|checkpoint| checkpoint.manifest().id.0).collect();
    show::out(|out| {
        if args.json {
            let document = json!({
                "checkpoints": ids,
                "files": verified.files,
                "bytes": verified.bytes,
                "unread": unread.iter().map(|error| json!({ "file": error.path.display().to_string(), "error": error.to_string() })).collect::<Vec<_>>(),
                "damaged": damaged.iter().map(to_json).collect::<Vec<_>>(),
            });
            return writeln!(out, "{document}");
        }
        for error in &unread {
            writeln!(out, "damaged: {error}")?;
            writeln!(out, "  lost: the whole checkpoint, as long as its manifest is")?;
        }
        for file in &damaged {
            writeln!(out, "damaged: {}", file.error)?;
            lost(file).iter().try_for_each(|lost| writeln!(out, "  lost: {lost}"))?;
        }
        Ok(())
    })?;
    let found = damaged.len() + unread.len();
    let (files, bytes) = (show::number(verified.files as u64), show::number(verified.bytes));
    let whole = if found == 0 { "all whole".to_owned() } else { format!("{found} damaged") };
    show::say(&format!(
        "{} checkpoints, {files} files with {bytes} bytes of segments: {whole}",
        ids.len() + unread.len()
    ));
    Ok(if found == 0 { EXIT_DONE } else { EXIT_STATE })
}

/// Those that are meant, and the manifests of which they can't be read.
fn checkpoints(args: &CheckpointVerifyArgs) -> anyhow::Result<(Vec<StoredCheckpoint>, Vec<StoredStateError>)> {
    let checkpoints = match StatePlace::open(&args.place)? {
        StatePlace::Checkpoint(checkpoint) => {
            let there = checkpoint.manifest().id;
            return match args.ids.iter().find(|id| **id != there) {
                Some(wanted) => Err(other(&args.place, there, *wanted)),
                None => Ok((vec![checkpoint], vec![])),
            };
        }
        StatePlace::Dump(..) => return Err(no_checkpoint(&args.place).into()),
        StatePlace::Job(checkpoints) => checkpoints,
    };
    let ids: Vec<CheckpointId> = match args.ids.is_empty() {
        true => checkpoints.contents()?.checkpoints.iter().map(|found| found.id).collect(),
        false => args.ids.clone(),
    };
    let (mut readable, mut unread) = (Vec::new(), Vec::new());
    for id in ids {
        match checkpoints.checkpoint(id) {
            Ok(checkpoint) => readable.push(checkpoint),
            Err(error) if error.is_damage() => unread.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((readable, unread))
}

fn progress(verified: Verified) -> String {
    format!(
        "{} of {} files, {} of {} bytes",
        show::number(verified.files as u64),
        show::number(verified.files_all as u64),
        show::number(verified.bytes),
        show::number(verified.bytes_all)
    )
}

/// What is lost with a file, a line for each use but for its checkpoints, which are put together.
fn lost(file: &DamagedFile) -> Vec<String> {
    let mut by_use: BTreeMap<(String, Option<u32>, Held), Vec<CheckpointId>> = BTreeMap::new();
    for Use { checkpoint, operator, task, held } in &file.lost {
        by_use.entry((operator.clone(), *task, *held)).or_default().push(*checkpoint);
    }
    let lines = by_use.into_iter().map(|((operator, task, held), mut checkpoints)| {
        checkpoints.sort_unstable();
        let checkpoints: Vec<_> = checkpoints.iter().map(ToString::to_string).collect();
        let task = task.map_or_else(String::new, |task| format!(", task {task}"));
        let held = match held {
            Held::KeyedState { first, end } if first >= end => "nothing that is in use".to_owned(),
            Held::KeyedState { first, end } => format!("entries of key groups {first} to {}", end - 1),
            Held::OperatorState => "its lists and broadcast maps".to_owned(),
            Held::Plugin => "its plugin".to_owned(),
        };
        format!("operator {operator}{task}: {held}, in checkpoint {}", checkpoints.join(", "))
    });
    lines.collect()
}

fn to_json(file: &DamagedFile) -> Value {
    let lost = file.lost.iter().map(|Use { checkpoint, operator, task, held }| {
        json!({
            "checkpoint": checkpoint.0,
            "operator": operator,
            "task": task,
            "held": match held {
                Held::KeyedState { .. } => "keyed-state",
                Held::OperatorState => "operator-state",
                Held::Plugin => "plugin",
            },
            "key_groups": match held {
                Held::KeyedState { first, end } => json!([first, end]),
                Held::OperatorState | Held::Plugin => Value::Null,
            },
        })
    });
    json!({
        "file": file.error.path.display().to_string(),
        "error": file.error.to_string(),
        "lost": lost.collect::<Vec<_>>(),
    })
}
