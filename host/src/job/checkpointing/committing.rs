//! Results become visible: what sinks have set aside is committed when its checkpoint is complete, and behind an exchange, when the probation is over. A commit that fails is tried again.

use std::{sync::Arc, time::Duration};

use super::driver::{Driver, Outcome, Told};
use crate::{
    connector::Transaction,
    runtime::TaskSnapshot,
    stream::{CheckpointId, Fault, FaultKind},
};

/// The wait before a commit that failed is tried again when nothing else asks for it.
const COMMIT_RETRY: Duration = Duration::from_secs(1);

/// Where the commit of sinks stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    Idle,
    Running,
    /// It failed and is tried again then.
    Again(Duration),
}

fn up_to(id: CheckpointId, all: &[(CheckpointId, Transaction)]) -> Vec<Transaction> {
    all.iter().filter(|(of, _)| *of <= id).map(|(_, transaction)| transaction.clone()).collect()
}

impl Driver {
    /// Notes what sinks have set aside with a checkpoint.
    pub(super) fn set_aside(&mut self, checkpoint: CheckpointId, snapshot: &TaskSnapshot) {
        for (sink, transactions) in &snapshot.transactions {
            let waiting = self.uncommitted.entry(sink.clone()).or_default();
            waiting.extend(transactions.iter().map(|transaction| (checkpoint, transaction.clone())));
        }
    }

    /// What is set aside by each sink, up to a checkpoint.
    pub(super) fn waiting_up_to(&self, id: CheckpointId) -> Vec<(String, Vec<Transaction>)> {
        let waiting = |sink: &String| self.uncommitted.get(sink).map_or_else(Vec::new, |all| up_to(id, all));
        self.setup.graph.sinks().map(|(sink, _)| (sink.clone(), waiting(sink))).collect()
    }

    /// Everything is visible that may be.
    pub(super) fn is_all_shown(&self) -> bool {
        self.commit == Commit::Idle && self.is_committed()
    }

    /// The newest checkpoint up to which results may be shown: behind the one of an exchange on probation, none may.
    fn newest_shown(&self) -> Option<CheckpointId> {
        let exchanged = self.swap.as_ref().and_then(|swap| swap.course.checkpoint());
        self.newest_complete.map(|complete| exchanged.map_or(complete, |exchanged| complete.min(exchanged)))
    }

    fn is_committed(&self) -> bool {
        let complete = self.newest_shown();
        self.uncommitted.values().flatten().all(|(id, _)| Some(*id) > complete)
    }

    /// Makes visible what belongs to complete checkpoints.
    pub(super) fn commit_sinks(&mut self) -> Result<(), Fault> {
        let Some(complete) = self.newest_shown().filter(|_| self.commit != Commit::Running) else { return Ok(()) };
        if self.is_committed() {
            self.commit = Commit::Idle;
            return Ok(());
        }
        self.commit = Commit::Running;
        let due: Vec<_> = self.uncommitted.iter().map(|(sink, all)| (sink.clone(), up_to(complete, all))).collect();
        let graph = Arc::clone(&self.setup.graph);
        let gone = Fault::new(FaultKind::External, "the thread that makes results visible is gone");
        let lost = Some(Outcome::Committed(complete, Err(gone)));
        let told = Told { outcomes: self.outcomes.0.clone(), lost };
        self.spawn(move || told.tell(Outcome::Committed(complete, graph.commit(&due))))
    }

    /// Tries a commit again for which it is time. Returns whether there was one.
    pub(super) fn poll_commit(&mut self, now: Duration) -> Result<bool, Fault> {
        let is_due = self.commit_again_at().is_some_and(|at| at <= now);
        if is_due {
            self.commit_sinks()?;
        }
        Ok(is_due)
    }

    /// When a commit that failed is tried again.
    pub(super) fn commit_again_at(&self) -> Option<Duration> {
        match self.commit {
            Commit::Again(at) => Some(at),
            Commit::Idle | Commit::Running => None,
        }
    }

    pub(super) fn committed(
        &mut self,
        now: Duration,
        checkpoint: CheckpointId,
        result: Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.commit = Commit::Idle;
        match result {
            Ok(()) => {
                self.uncommitted.values_mut().for_each(|all| all.retain(|(id, _)| *id > checkpoint));
                if let Some(tries) = self.failed_commits.over() {
                    tracing::warn!("results up to checkpoint {checkpoint} are visible, after {tries} tries");
                }
            }
            Err(fault) if fault.kind == FaultKind::Unfit => return Err(fault),
            Err(fault) => {
                if self.failed_commits.one_more() {
                    tracing::warn!(
                        "results of checkpoint {checkpoint} can't be made visible yet, which is tried again every {} s: {fault}",
                        COMMIT_RETRY.as_secs()
                    );
                }
                self.commit = Commit::Again(now + COMMIT_RETRY);
            }
        }
        Ok(())
    }
}
