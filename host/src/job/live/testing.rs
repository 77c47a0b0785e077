//! The other end of a [`Live`], for tests of those who ask: a job that is only said to run.

use std::sync::Arc;

use super::{
    Answer, Asked, CheckpointStatus, Difference, DifferenceKind, JobState, Live, MigratedState, OperatorStatus,
    PluginRef, ProbationStatus, SavepointAnswer, SwapAnswer, SwapOutcome, SwapPhase, SwapStatus, VertexFacts,
    VertexKind,
};
use crate::metrics::OperatorCounters;

/// A version of a plugin.
pub(crate) fn plugin(version: &str) -> PluginRef {
    PluginRef { name: "word-count".into(), version: version.into(), digest: "ab".repeat(32) }
}

/// An answer to a swap in which every member has something.
pub(crate) fn swap_answer(outcome: SwapOutcome) -> SwapAnswer {
    let migration = MigratedState { operator: "count".into(), state: "count".into(), from: vec![1, 2], to: 3 };
    SwapAnswer {
        outcome,
        from: [("count".to_owned(), plugin("0.1.0"))].into(),
        to: [("count".to_owned(), plugin("0.2.0"))].into(),
        pause_ms: Some(0.81),
        prepare_ms: 41.2,
        checkpoint: Some(17),
        migrations: vec![migration],
        differences: vec![difference()],
        reason: Some("the operator panicked".into()),
    }
}

/// A difference.
pub(crate) fn difference() -> Difference {
    let text = "state count: its values are no u64 any more".to_owned();
    Difference { operator: "count".into(), state: Some("count".into()), kind: DifferenceKind::Incompatible, text }
}

/// An answer to a savepoint.
pub(crate) fn savepoint_answer() -> SavepointAnswer {
    SavepointAnswer { place: "/jobs/word-count/savepoints/1".into(), id: 18, bytes: 4_096, duration_ms: 12 }
}

impl Live {
    /// The next request.
    pub(crate) fn take(&self) -> Option<Asked> {
        self.take_request()
    }

    /// From now on the status has something of everything. The job's name and the names of counters are as hard to write down as can be.
    pub(crate) fn pretend(&self) {
        let vertex = |id: &str, kind, operator| {
            let counters = OperatorCounters::default();
            counters.records_in.add(1_000);
            counters.records_out.add(900);
            counters.busy_ns.add(1_500_000_000);
            counters.faults.add(2);
            counters.poisoned.add(1);
            counters.named.counter("odd \"name\"\\\n").add(7);
            VertexFacts { id: id.to_owned(), kind, parallelism: 2, operator, counters: vec![Arc::new(counters)] }
        };
        let operator =
            OperatorStatus { plugin: plugin("0.2.0"), declared: "cd".repeat(32), states: vec!["count".into()] };
        let mut facts = self.facts();
        facts.state = JobState::Running;
        facts.restarts = 1;
        facts.checkpoints = Some(CheckpointStatus {
            completed: 8,
            failed: 1,
            last: Some(9),
            last_location: Some("/jobs/word-count/checkpoints/9".into()),
            last_age_seconds: Some(3.5),
            last_duration_ms: Some(12.5),
            last_bytes: Some(2_048),
        });
        facts.vertices = vec![
            vertex("lines", VertexKind::Source, None),
            vertex("count", VertexKind::Operator, Some(operator)),
            vertex("counts", VertexKind::Sink, None),
        ];
        facts.swap = Some(SwapStatus {
            phase: SwapPhase::Probation,
            operators: vec!["count".into()],
            checkpoint: Some(9),
            probation: Some(ProbationStatus { remaining_seconds: 7.25, remaining_batches: 1_200 }),
        });
        facts.last_swap = Some(swap_answer(SwapOutcome::RolledBack));
    }

    /// From now on it has ended.
    pub(crate) fn pretend_end(&self) {
        self.facts().state = JobState::Ended;
    }
}

/// An answer that is none of a swap.
pub(crate) fn checkpoint_answer() -> Answer {
    Answer::Checkpoint("/jobs/word-count/checkpoints/9".into())
}
