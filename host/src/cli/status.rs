//! `wasmill status`: the jobs that run here.

mod detail;

use std::{io::Write, thread};

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{EXIT_DONE, args::StatusArgs, running, show};
use crate::control::{Client, ClientError, Entry};

/// What the table of all jobs shows of one.
#[derive(Deserialize)]
struct Outline {
    state: String,
    records_in: u64,
    records_out: u64,
    checkpoints: Option<OutlineOfCheckpoints>,
}

#[derive(Deserialize)]
struct OutlineOfCheckpoints {
    last: Option<u64>,
    last_age_seconds: Option<f64>,
}

pub(super) fn status(args: StatusArgs) -> anyhow::Result<u8> {
    match &args.job {
        Some(job) => one(job, args.json),
        None => all(args.json),
    }
}

fn one(job: &str, as_json: bool) -> anyhow::Result<u8> {
    let entry = running::find(job)?;
    let status: Json = Client::of(&entry).status()?;
    show::out(|out| match as_json {
        true => writeln!(out, "{status}"),
        false => detail::write(out, &entry, &detail::Detail::deserialize(&status)?),
    })?;
    Ok(EXIT_DONE)
}

fn all(as_json: bool) -> anyhow::Result<u8> {
    let entries = running::all()?;
    // All at once: one that hangs keeps nobody waiting for the others.
    let asked: Vec<_> =
        entries.iter().map(Client::of).map(|client| thread::spawn(move || client.status::<Json>())).collect();
    let statuses: Vec<_> = asked.into_iter().map(|asked| asked.join().ok()).collect();
    let jobs: Vec<(Entry, Option<Result<Json, ClientError>>)> = entries.into_iter().zip(statuses).collect();
    if as_json {
        let documents: Vec<_> = jobs.iter().map(|(entry, status)| document(entry, status.as_ref())).collect();
        show::out(|out| writeln!(out, "{}", Json::from(documents)))?;
        return Ok(EXIT_DONE);
    }
    if jobs.is_empty() {
        show::say("no job runs here");
        return Ok(EXIT_DONE);
    }
    let rows: Vec<_> = jobs.iter().map(|(entry, status)| row(entry, status.as_ref())).collect();
    show::out(|out| write_table(out, &rows))?;
    Ok(EXIT_DONE)
}

fn document(entry: &Entry, status: Option<&Result<Json, ClientError>>) -> Json {
    let status = status.and_then(|status| status.as_ref().ok());
    json!({ "job": entry.job, "pid": entry.pid, "address": entry.address, "started": entry.started, "status": status })
}

const HEAD: [&str; 7] = ["job", "pid", "state", "records in", "records out", "last checkpoint", "address"];

fn row(entry: &Entry, status: Option<&Result<Json, ClientError>>) -> [String; 7] {
    let outline = status.and_then(|status| Outline::deserialize(status.as_ref().ok()?).ok());
    let (pid, address) = (entry.pid.to_string(), entry.address.to_string());
    let Some(outline) = outline else {
        let none = || "-".to_owned();
        return [entry.job.clone(), pid, "does not answer".into(), none(), none(), none(), address];
    };
    let checkpoint = match outline.checkpoints {
        None => "takes none".to_owned(),
        Some(OutlineOfCheckpoints { last: Some(id), last_age_seconds }) => {
            let ago = last_age_seconds.map(|seconds| format!(", {} ago", detail::age(seconds)));
            format!("{id}{}", ago.unwrap_or_default())
        }
        Some(OutlineOfCheckpoints { last: None, .. }) => "none yet".to_owned(),
    };
    let (records_in, records_out) = (show::number(outline.records_in), show::number(outline.records_out));
    [entry.job.clone(), pid, outline.state, records_in, records_out, checkpoint, address]
}

fn write_table(out: &mut Vec<u8>, rows: &[[String; 7]]) -> std::io::Result<()> {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([HEAD[column].len()]).max().unwrap_or_default()
    };
    let head = HEAD.map(str::to_owned);
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            // Numbers end in one column, words begin in one.
            let cell = if matches!(column, 1 | 3 | 4) { format!("{cell:>width$}") } else { format!("{cell:width$}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_in_one_column_and_words_begin_in_one() {
        let row =
            |name: &str, pid: &str| [name, pid, "running", "5", "1,000", "none yet", "127.0.0.1:1"].map(String::from);
        let mut out = Vec::new();
        write_table(&mut out, &[row("a", "77"), row("word-count", "12345")]).expect("into memory");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            "job           pid  state    records in  records out  last checkpoint  address\n\
             a              77  running           5        1,000  none yet         127.0.0.1:1\n\
             word-count  12345  running           5        1,000  none yet         127.0.0.1:1\n"
        );
    }
}
