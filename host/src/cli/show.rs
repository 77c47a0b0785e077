//! What a person is shown on standard error, and the way of documents to standard output.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use crate::{
    job::{CheckpointManifest, CheckpointReport, Ended, Outcome, Report, VertexReport},
    stream::{Fault, schema::Schema},
};

/// An error, as a person should read it.
pub(super) fn error(error: &anyhow::Error) {
    let word = if io::stderr().is_terminal() { "\x1b[1;31merror\x1b[0m" } else { "error" };
    let mut text = error.to_string();
    // Many errors name their cause themselves.
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    let _ = writeln!(io::stderr(), "{word}: {text}");
}

/// Why a job failed, with the guest's backtrace if there is one.
pub(super) fn fault(job: &str, fault: &Fault) {
    let mut text = format!("job {job} failed: {fault}");
    if let Some(backtrace) = &fault.backtrace {
        text.push_str("\nwasm backtrace, innermost first:");
        backtrace.lines().for_each(|frame| text.push_str(&format!("\n  {frame}")));
    }
    error(&anyhow::anyhow!(text));
}

/// Writes to standard output, all at once. A reader that has gone is no error.
pub(super) fn out(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> anyhow::Result<()> {
    let mut text = Vec::new();
    write(&mut text)?;
    let mut out = io::stdout().lock();
    written(out.write_all(&text).and_then(|()| out.flush())).map(drop)
}

/// Whether there is somebody who reads on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Or at least was, so far.
    There,
    /// It has gone (`| head`), and has seen what it wanted.
    Gone,
}

/// What came of writing to standard output.
pub(super) fn written(result: io::Result<()>) -> anyhow::Result<Reader> {
    match result {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(anyhow::Error::from(error).context("standard output can't be written to")),
    }
}

/// A schema document as JSON, not as a string that holds it.
pub(super) fn schema(schema: &Schema) -> serde_json::Value {
    serde_json::from_str(&schema.document()).unwrap_or_default()
}

/// A line about what is being done.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A number with separators: 1,234,567.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number; when it is not exact, there are at most so many.
pub(super) fn count(value: u64, exact: bool) -> String {
    let number = number(value);
    if exact { number } else { format!("up to {number}") }
}

/// A duration: 480 ms, 12.3 s.
pub(super) fn milliseconds(ms: u64) -> String {
    if ms < 10_000 { format!("{} ms", number(ms)) } else { format!("{:.1} s", ms as f64 / 1e3) }
}

/// How long ago something was: 12 s, 5 min, 3 h, 40 days.
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A rate: 12.3 M/s.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1e6 => format!("{:.2} M/s", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.1} k/s", rate / 1e3),
        rate => format!("{rate:.1} /s"),
    }
}

/// Which checkpoint it is: checkpoint 17 of 2026-11-02T10:00:00Z.
pub(super) fn checkpoint(checkpoint: &CheckpointManifest) -> String {
    format!("checkpoint {} of {}", checkpoint.id, humantime::format_rfc3339_seconds(checkpoint.completed))
}

/// How a job ended.
pub(super) fn ended(ended: Ended) -> &'static str {
    match ended {
        Ended::Done => "at the end of its input",
        Ended::Stopped => "when it was stopped",
    }
}

/// The summary of a run.
pub(super) fn summary(report: &Report) {
    let _ = write_summary(&mut io::stderr().lock(), report);
}

fn write_summary(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let ended = match report.outcome {
        Outcome::Done => "done",
        Outcome::Stopped => "stopped",
        Outcome::Failed => "failed",
        Outcome::AlreadyDone => "was done before",
    };
    let memory = report.peak_memory_bytes as f64 / (1 << 20) as f64;
    writeln!(
        out,
        "{} {ended} in {:.2} s ({:.2} s CPU, {memory:.0} MiB)",
        report.job, report.seconds, report.cpu_seconds
    )?;
    let all = || report.sources.iter().chain(&report.operators).chain(&report.sinks);
    let width = all().map(|(id, _)| id.len()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "  {:width$}  {:>5} {:>15} {:>15} {:>11} {:>6} {:>6} {:>6}  ",
        "", "tasks", "records in", "records out", "steady", "busy", "idle", "full"
    )?;
    for (id, vertex) in all() {
        let times = share_of_time(vertex);
        let steady = vertex.steady_records_per_second.map_or_else(|| "-".into(), rate);
        write!(
            out,
            "  {id:width$}  {:>5} {:>15} {:>15} {steady:>11} {times}",
            vertex.parallelism,
            number(vertex.records_in),
            number(vertex.records_out)
        )?;
        if vertex.faults > 0 {
            let count = |count: u64, one: &str, many: &str| {
                format!("{} {}", number(count), if count == 1 { one } else { many })
            };
            let faults = count(vertex.faults, "fault", "faults");
            write!(out, "  {faults}, {} given up", count(vertex.poisoned, "record", "records"))?;
        }
        let shown = |name: &str| matches!(name, "invalid-utf8" | "invalid-json" | "log-lines-dropped");
        for (name, value) in vertex.metrics.iter().filter(|(name, _)| shown(name)) {
            write!(out, "  {name}: {}", number(*value))?;
        }
        writeln!(out)?;
    }
    match &report.checkpoints {
        Some(checkpoints) => write_checkpoints(out, checkpoints, report.restarts),
        None => Ok(()),
    }
}

fn write_checkpoints(out: &mut impl Write, report: &CheckpointReport, restarts: u32) -> io::Result<()> {
    write!(out, "  checkpoints: {} complete", number(report.completed))?;
    if report.failed > 0 {
        write!(out, ", {} failed", number(report.failed))?;
    }
    if let Some(last) = &report.last {
        let (new, all) = (size(last.new_bytes), size(last.bytes));
        write!(out, "; the last is {} ({:.0} ms, {new} written of {all})", last.id, last.duration_ms)?;
        write!(out, "; longest pause {:.1} ms", report.pause_ms_max)?;
    }
    if restarts > 0 {
        write!(out, "; started again {}", if restarts == 1 { "once".into() } else { format!("{restarts} times") })?;
    }
    writeln!(out)
}

/// A size: 480 bytes, 12.3 KiB, 4.5 MiB.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        bytes @ ..1_024 => format!("{bytes} bytes"),
        bytes @ 1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        bytes @ 1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        bytes => format!("{:.2} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// Busy, idle and back-pressured time as shares of each other.
fn share_of_time(vertex: &VertexReport) -> String {
    let all = vertex.busy_seconds + vertex.idle_seconds + vertex.back_pressured_seconds;
    let share = |seconds: f64| if all > 0.0 { format!("{:.0} %", seconds / all * 100.0) } else { "-".into() };
    format!(
        "{:>6} {:>6} {:>6}",
        share(vertex.busy_seconds),
        share(vertex.idle_seconds),
        share(vertex.back_pressured_seconds)
    )
}

/// A line that is written over while the job runs, on terminals only; elsewhere a line now and then.
pub(super) struct ProgressLine {
    terminal: bool,
    shown_at: f64,
    records_in: u64,
    on_screen: bool,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), shown_at: 0.0, records_in: 0, on_screen: false }
    }

    pub(super) fn show(&mut self, progress: crate::job::Progress) {
        let per_second = (progress.records_in - self.records_in) as f64 / (progress.seconds - self.shown_at);
        let checkpoint = match progress.checkpoint {
            Some((id, ago)) => format!(", checkpoint {id} {} ago", age(Duration::from_secs_f64(ago))),
            None => String::new(),
        };
        let shown = self.say(progress.seconds, || {
            format!(
                "{:.0} s: {} records in, {} out, {}{checkpoint}",
                progress.seconds,
                number(progress.records_in),
                number(progress.records_out),
                rate(per_second)
            )
        });
        if shown {
            self.records_in = progress.records_in;
        }
    }

    /// Shows a line if it is time for one, `seconds` after the start. Gives whether it was.
    pub(super) fn say(&mut self, seconds: f64, line: impl FnOnce() -> String) -> bool {
        let interval = if self.terminal { 0.5 } else { 10.0 };
        if seconds < self.shown_at + interval {
            return false;
        }
        self.shown_at = seconds;
        let line = line();
        let mut out = io::stderr().lock();
        let _ = if self.terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
        self.on_screen = true;
        true
    }

    pub(super) fn clear(&self) {
        if self.terminal && self.on_screen {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
