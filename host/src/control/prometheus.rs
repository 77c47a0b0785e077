//! Metrics in Prometheus' text format (version 0.0.4).
//!
//! Counters are those of the job's attempt, so they begin at 0 again after a restart, as Prometheus expects of a process. What connectors and operators count themselves may be anything, and is of one family,
//! by `name`.

use std::fmt::{Display, Write};

use crate::job::{JobState, JobStatus, SwapPhase, VertexKind, VertexReport, VertexStatus};

type OfVertex = (&'static str, &'static str, fn(&VertexReport) -> Number);

/// Families with a sample for each source, operator and sink.
const OF_VERTICES: [OfVertex; 8] = [
    ("wasmill_records_in_total", "Records taken; for a source, records read.", |counted| Whole(counted.records_in)),
    ("wasmill_records_out_total", "Records given; for a sink, records written.", |counted| Whole(counted.records_out)),
    ("wasmill_batches_in_total", "Batches taken.", |counted| Whole(counted.batches_in)),
    ("wasmill_busy_seconds_total", "Seconds at work, added over the tasks.", |counted| Real(counted.busy_seconds)),
    ("wasmill_idle_seconds_total", "Seconds without input, added over the tasks.", |counted| {
        Real(counted.idle_seconds)
    }),
    ("wasmill_back_pressured_seconds_total", "Seconds with a full output, added over the tasks.", |counted| {
        Real(counted.back_pressured_seconds)
    }),
    ("wasmill_faults_total", "Guest faults and failed records.", |counted| Whole(counted.faults)),
    ("wasmill_poisoned_total", "Records that were given up.", |counted| Whole(counted.poisoned)),
];

const STATES: [(JobState, &str); 5] = [
    (JobState::Starting, "starting"),
    (JobState::Running, "running"),
    (JobState::Restarting, "restarting"),
    (JobState::Stopping, "stopping"),
    (JobState::Ended, "ended"),
];

const PHASES: [(Option<SwapPhase>, &str); 5] = [
    (None, "none"),
    (Some(SwapPhase::Preparing), "preparing"),
    (Some(SwapPhase::Exchanging), "exchanging"),
    (Some(SwapPhase::Probation), "probation"),
    (Some(SwapPhase::Confirming), "confirming"),
];

/// The value of a sample.
enum Number {
    Whole(u64),
    Real(f64),
}

use Number::{Real, Whole};

impl Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Whole(value) => value.fmt(f),
            Real(value) => value.fmt(f),
        }
    }
}

/// All metrics of a job.
pub(super) fn text(status: &JobStatus) -> String {
    let mut text = Text { text: String::new(), job: &status.job };
    text.of_job(status);
    for (name, help, value) in OF_VERTICES {
        text.family(name, "counter", help);
        for vertex in &status.vertices {
            text.sample(name, &of(vertex), value(&vertex.counted));
        }
    }
    let tasks = "wasmill_tasks";
    text.family(tasks, "gauge", "Tasks.");
    for vertex in &status.vertices {
        text.sample(tasks, &of(vertex), Whole(u64::from(vertex.counted.parallelism)));
    }
    let named = "wasmill_named";
    text.family(named, "untyped", "What connectors and operators count themselves.");
    for vertex in &status.vertices {
        for (name, value) in &vertex.counted.metrics {
            let [id, kind] = of(vertex);
            text.sample(named, &[id, kind, ("name", name)], Whole(*value));
        }
    }
    text.text
}

fn of(vertex: &VertexStatus) -> [(&str, &str); 2] {
    let kind = match vertex.kind {
        VertexKind::Source => "source",
        VertexKind::Operator => "operator",
        VertexKind::Sink => "sink",
    };
    [("vertex", &vertex.id), ("kind", kind)]
}

struct Text<'s> {
    text: String,
    job: &'s str,
}

impl Text<'_> {
    fn of_job(&mut self, status: &JobStatus) {
        self.one("wasmill_job_seconds", "gauge", "Seconds since the start.", Real(status.seconds));
        self.one("wasmill_restarts_total", "counter", "Starts after a failure.", Whole(status.restarts.into()));
        let state = "wasmill_job_state";
        self.family(state, "gauge", "1 for what the job does now.");
        for (known, name) in STATES {
            self.sample(state, &[("state", name)], Whole((known == status.state).into()));
        }
        let phase = "wasmill_swap_phase";
        self.family(phase, "gauge", "1 for how far the swap is that is under way.");
        let now = status.swap.as_ref().map(|swap| swap.phase);
        for (known, name) in PHASES {
            self.sample(phase, &[("phase", name)], Whole((known == now).into()));
        }
        let Some(checkpoints) = &status.checkpoints else { return };
        let (completed, failed) = (Whole(checkpoints.completed), Whole(checkpoints.failed));
        self.one("wasmill_checkpoints_completed_total", "counter", "Checkpoints that were completed.", completed);
        self.one("wasmill_checkpoints_failed_total", "counter", "Checkpoints that failed.", failed);
        if let Some(seconds) = checkpoints.last_age_seconds {
            let help = "Seconds since the last checkpoint was complete.";
            self.one("wasmill_checkpoint_last_age_seconds", "gauge", help, Real(seconds));
        }
        if let Some(ms) = checkpoints.last_duration_ms {
            let help = "Seconds from the trigger of the last checkpoint to its manifest.";
            self.one("wasmill_checkpoint_last_duration_seconds", "gauge", help, Real(ms / 1e3));
        }
        if let Some(bytes) = checkpoints.last_bytes {
            let help = "Bytes of all that the last checkpoint refers to.";
            self.one("wasmill_checkpoint_last_bytes", "gauge", help, Whole(bytes));
        }
    }

    /// A family of one sample.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: Number) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: Number) {
        let _ = write!(self.text, "{name}{{job=\"{}\"", escaped(self.job));
        for (label, value) in labels {
            let _ = write!(self.text, ",{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

/// The value of a label between its quotation marks.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
