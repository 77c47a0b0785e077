//! Merges the runs of chains while the job runs, so that restoring stays quick and what is void is let go.
//!
//! One merge at a time, of one task, on a helper of its own: manifests don't wait for it. What it has made takes the place of what it was made of in the next manifest. A merge that
//! fails has changed nothing; it is tried again after the next checkpoint.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::{
    super::stored_state::SegmentOfTask,
    chains::Chains,
    failures::Failures,
    graph::Graph,
    keeper::{TaskKeeper, Writing},
};
use crate::{
    background::Background,
    checkpoint::{ChainLimits, Choice, MergeError, Run, SEGMENT_BYTES_MAX, StoredSegment, choose, merge_runs},
    stream::key_groups_of_task,
};

/// Vertex and index of a task.
type TaskOfVertex = (usize, u32);

/// What became of a merge.
struct Merged {
    task: TaskOfVertex,
    /// The names of what was merged, in the order of the chain.
    former: Vec<String>,
    result: Result<Vec<SegmentOfTask>, MergeError>,
}

/// Tells what became of a merge when it is dropped, also when the work was lost.
struct Told((Sender<Merged>, Merged));

impl Told {
    fn tell(mut self, merged: Merged) {
        self.0.1 = merged;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let (outcomes, merged) = &mut self.0;
        let nothing = Merged { task: merged.task, former: Vec::new(), result: Err(MergeError::Cancelled) };
        // The driver may be gone.
        let _ = outcomes.send(std::mem::replace(merged, nothing));
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Merges runs of chains.
pub(super) struct Merging {
    background: Arc<dyn Background>,
    writing: Arc<Writing>,
    outcomes: (Sender<Merged>, Receiver<Merged>),
    is_running: bool,
    failures: Failures,
    /// Nobody wants what is being merged.
    cancelled: Arc<AtomicBool>,
}

impl Merging {
    pub(super) fn new(background: Arc<dyn Background>, writing: Arc<Writing>) -> Self {
        Self {
            background,
            writing,
            outcomes: unbounded(),
            is_running: false,
            failures: Failures::default(),
            cancelled: Arc::default(),
        }
    }

    /// Ends a merge that is running, as soon as it can be.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether a merge is running.
    pub(super) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Begins a merge, if a chain is worth one and none is running.
    pub(super) fn consider(
        &mut self,
        chains: &Chains,
        graph: &Graph,
        keepers: &BTreeMap<TaskOfVertex, Arc<TaskKeeper>>,
    ) {
        if self.is_running {
            return;
        }
        for (task, keeper) in keepers {
            let chain = chains.of(*task);
            let runs: Vec<&[SegmentOfTask]> = chain.chunk_by(|one, other| one.run == other.run).collect();
            let vertex = &graph.vertices[task.0];
            let key_groups = key_groups_of_task(task.1, vertex.parallelism, graph.max_parallelism);
            let stored: Vec<Run> = runs.iter().map(|segments| run_of(segments)).collect();
            let bytes: Vec<u64> = stored.iter().map(|run| run.bytes(&key_groups)).collect();
            let Some(Choice { runs: chosen, marks }) = choose(&bytes, None, ChainLimits::default()) else { continue };
            let former: Vec<String> =
                runs[chosen.clone()].iter().flat_map(|run| run.iter()).map(|segment| segment.name.clone()).collect();
            // The newest one's number is in nobody else's way.
            let number = runs[chosen.clone()].iter().flat_map(|run| run.iter()).map(|segment| segment.run).max();
            let (task, keeper, number) = (*task, Arc::clone(keeper), number.unwrap_or(0));
            let writing = Arc::clone(&self.writing);
            // Until it is known better: that nothing came of it.
            let nothing = Merged { task, former: Vec::new(), result: Err(MergeError::Cancelled) };
            let told = Told((self.outcomes.0.clone(), nothing));
            let cancelled = Arc::clone(&self.cancelled);
            let work = move || {
                // A storage that went away is not made anew by what is written.
                let marked = writing.look_for_mark().map_err(MergeError::from);
                let result = marked.and_then(|()| {
                    merge_runs(
                        &writing.storage,
                        &stored[chosen],
                        key_groups,
                        marks,
                        SEGMENT_BYTES_MAX,
                        &mut || keeper.name_segment(),
                        &cancelled,
                    )
                });
                // Nor is what was written into another one's place ever referred to.
                let result = result.and_then(|run| {
                    writing.look_for_mark()?;
                    Ok(run)
                });
                let segments = |run: Run| {
                    let segments = run.segments.into_iter();
                    segments.map(|StoredSegment { name, facts }| SegmentOfTask { name, run: number, facts }).collect()
                };
                told.tell(Merged { task, former, result: result.map(segments) });
            };
            // Without a thread chains only grow longer.
            self.is_running = self.background.spawn(Box::new(work)).is_ok();
            return;
        }
    }

    /// Puts what was merged into its chain. Returns the names of what the chain consists of no more, if anything ended.
    pub(super) fn poll(&mut self, chains: &mut Chains) -> Option<Vec<String>> {
        let Merged { task, former, result } = self.outcomes.1.try_recv().ok()?;
        self.is_running = false;
        match result {
            Ok(segments) => {
                self.failures.over();
                chains.replace(task, &former, segments);
                Some(former)
            }
            Err(MergeError::Cancelled) => Some(Vec::new()),
            Err(error) => {
                if self.failures.one_more() {
                    tracing::warn!("segments can't be merged, so a restore takes longer than it could: {error}");
                }
                Some(Vec::new())
            }
        }
    }
}

fn run_of(segments: &[SegmentOfTask]) -> Run {
    let stored = |segment: &SegmentOfTask| StoredSegment { name: segment.name.clone(), facts: segment.facts.clone() };
    Run { segments: segments.iter().map(stored).collect() }
}
