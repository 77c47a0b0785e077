//! From a checkpoint back to tasks: whether the job fits it, and what each task gets.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use super::{
    super::{
        compatibility::{Comparison, Occasion, StateThere, compare_states, without_operator},
        live::DropState,
        stored_state::{
            CheckpointManifest, CheckpointedOperator, CheckpointedPlugin, CheckpointedTask, FormerVersion,
            SegmentOfTask, StoredCheckpoint, StoredStateError,
        },
        version::StateRegister,
    },
    graph::{Graph, GraphVertex, OperatorFacts},
    operator_state,
};
use crate::{
    checkpoint::{Entry, Marks, Merge, Names, SegmentError, SegmentProblem, Storage, Stored},
    connector::{ConnectorError, SourcePosition, Transaction},
    operator::{Plugin, RestoreKeyed, Restored},
    stream::{CheckpointId, EventTime, Fault, FaultKind, key_groups_of_task},
};

/// What an attempt begins with.
pub(in crate::job) struct Origin {
    pub(super) checkpoint: StoredCheckpoint,
    /// Its segments lie in the job's own folder, so later checkpoints may refer to them.
    pub(super) is_own: bool,
}

impl Origin {
    pub(in crate::job) fn manifest(&self) -> &CheckpointManifest {
        self.checkpoint.manifest()
    }

    /// Where it is and when it was taken, for people.
    pub(in crate::job) fn describe(&self) -> String {
        format!("{}, of {}", self.location(), humantime::format_rfc3339_seconds(self.manifest().completed))
    }

    /// Its path or URL.
    pub(in crate::job) fn location(&self) -> String {
        let location = self.checkpoint.storage().location(&Names::manifest(self.manifest().id));
        location.strip_suffix("/manifest.json").unwrap_or(&location).to_owned()
    }

    fn operator(&self, id: &str) -> Option<&CheckpointedOperator> {
        self.manifest().operators.iter().find(|operator| operator.id == id)
    }

    /// Where a source was; none: it is new.
    pub(super) fn position(&self, source: &str) -> Result<Option<SourcePosition>, ConnectorError> {
        let found = self.manifest().sources.iter().find(|other| other.id == source);
        found.map(|found| SourcePosition::from_json(&found.position)).transpose()
    }

    /// What a sink has set aside.
    pub(super) fn transactions(&self, sink: &str) -> Result<Vec<Transaction>, ConnectorError> {
        let found = self.manifest().sinks.iter().find(|other| other.id == sink);
        let all = found.and_then(|found| found.transactions.as_array()).into_iter().flatten();
        all.map(Transaction::from_json).collect()
    }

    /// The watermark that a task of an operator goes on from: the lowest of those whose keys it takes over.
    pub(super) fn watermark(&self, operator: &str) -> Option<EventTime> {
        let tasks = &self.operator(operator)?.tasks;
        tasks.iter().map(|task| task.watermark).min().flatten().map(EventTime)
    }

    /// What former tasks had of `key_groups`, in their order.
    fn shares(&self, operator: &str, key_groups: &Range<u32>) -> Vec<Share> {
        shares_of(self.operator(operator).map_or(&[][..], |operator| &operator.tasks), key_groups)
    }

    /// The chain that a task of `key_groups` can go on building, oldest first. Empty: there is none, and it has to write all that it has anew.
    pub(super) fn chain(&self, operator: &str, key_groups: &Range<u32>) -> Vec<SegmentOfTask> {
        chain_of(self.shares(operator, key_groups), key_groups)
    }

    /// Whether the end of the input had visited all keys of these groups.
    pub(super) fn had_ended(&self, operator: &str, key_groups: &Range<u32>) -> bool {
        let tasks = self.operator(operator).map_or(&[][..], |operator| &operator.tasks);
        let mut former = tasks.iter().filter(|former| overlap(&former.key_groups, key_groups)).peekable();
        former.peek().is_some() && former.all(|former| former.ended)
    }

    /// What a task of an operator begins with.
    ///
    /// # Errors
    /// When its operator state can't be read.
    pub(super) fn restored(
        &self,
        vertex: &GraphVertex,
        facts: &OperatorFacts,
        task: u32,
        max_parallelism: u32,
    ) -> Result<Restored, StoredStateError> {
        let Some(operator) = self.operator(&vertex.id) else { return Ok(Restored::default()) };
        let key_groups = key_groups_of_task(task, vertex.parallelism, max_parallelism);
        let former: Vec<&CheckpointedTask> =
            operator.tasks.iter().filter(|former| overlap(&former.key_groups, &key_groups)).collect();
        let shares = self.shares(&vertex.id, &key_groups);
        let has_chain = shares.is_empty() || !chain_of(shares.clone(), &key_groups).is_empty();
        let dropped = self.given_up(operator, facts);
        let storage = self.checkpoint.storage();
        let keyed: Option<Box<dyn RestoreKeyed>> = match shares.is_empty() {
            true => None,
            false => Some(Box::new(MergedState { storage: Arc::clone(storage), shares })),
        };
        Ok(Restored {
            operator_state: operator_state::restored(storage, operator, &facts.version, task, vertex.parallelism)?,
            list_elements: former.iter().map(|former| former.list_elements).max().unwrap_or(0),
            visited: former.iter().filter(|former| former.ended).map(|former| former.key_groups.clone()).collect(),
            keyed,
            is_known: self.is_own && has_chain,
            dropped,
        })
    }

    /// The ids of states that the operator has no more, or never had because an exchange was taken back.
    fn given_up(&self, operator: &CheckpointedOperator, facts: &OperatorFacts) -> Vec<u16> {
        let kept: BTreeSet<u16> = facts.states.iter().map(|state| state.number).collect();
        let labels = operator.tasks.iter().flat_map(|task| &task.segments).flat_map(|segment| &segment.facts.labels);
        let values = labels.filter(|count| count.label.version > 0);
        let there: BTreeSet<u16> = values.map(|count| count.label.state).collect();
        there.difference(&kept).copied().collect()
    }

    /// Why the job can't go on from this checkpoint, beside what operators keep: all reasons at once; empty when it can.
    pub(super) fn misfits(&self, graph: &Graph) -> Vec<String> {
        let manifest = self.manifest();
        let mut misfits = Vec::new();
        if manifest.max_parallelism != graph.max_parallelism {
            misfits.push(format!(
                "max-parallelism is {} in the job and {} in the checkpoint, and can't change",
                graph.max_parallelism, manifest.max_parallelism
            ));
        }
        for source in &manifest.sources {
            if !graph.sources().any(|(_, id, _)| id == source.id) {
                misfits.push(format!("source {} is not in the job, so nobody goes on where it was", source.id));
            }
        }
        for sink in &manifest.sinks {
            let waits = sink.transactions.as_array().is_some_and(|all| !all.is_empty());
            if waits && !graph.sinks().any(|(id, _)| *id == sink.id) {
                misfits.push(format!("sink {} is not in the job, but has results that are not visible yet", sink.id));
            }
        }
        misfits
    }

    /// What differs between the state that is there and what the operators of the job keep.
    pub(super) fn compare(&self, graph: &Graph, dropped: &BTreeSet<DropState>) -> Comparison {
        let mut comparison = Comparison::default();
        for operator in &self.manifest().operators {
            let former = self.former(&operator.id);
            let states = former.map_or(&operator.states, |former| &former.states);
            let Some((_, vertex, facts)) = graph.operators().find(|(_, vertex, _)| vertex.id == operator.id) else {
                comparison.append(without_operator(&operator.id, states, dropped));
                continue;
            };
            let versions = states.iter().map(|state| (state.number, operator.versions_of(state.number))).collect();
            let there = StateThere { states, versions: &versions };
            let descriptor = facts.version.located.plugin.descriptor();
            comparison.append(compare_states(&vertex.id, &there, descriptor, dropped, Occasion::Restore));
        }
        comparison
    }

    /// The checkpoint at which an exchange began that is taken back, as one of the attempt that takes it back; none: there is none. It has the same state, with what ran before, and is the newest
    /// checkpoint, whatever lies behind the old one: that is of an earlier attempt, and may come to light again after it was deleted.
    pub(super) fn taken_back(&self, id: CheckpointId, attempt: u64) -> Option<CheckpointManifest> {
        let manifest = self.manifest();
        manifest.swap.as_ref()?;
        let operators = manifest.operators.iter().map(|operator| {
            let Some(former) = self.former(&operator.id) else { return operator.clone() };
            CheckpointedOperator {
                plugin: former.plugin.clone(),
                states: former.states.clone(),
                // Numbers that the exchange has given to new states are not used again.
                ..operator.clone()
            }
        });
        let operators = operators.collect();
        Some(CheckpointManifest { id, attempt, swap: None, operators, new_bytes: 0, ..manifest.clone() })
    }

    /// All states that there are, by operator and name.
    pub(in crate::job) fn states(&self) -> Vec<(String, String)> {
        let of_operator = |operator: &CheckpointedOperator| {
            let states = self.former(&operator.id).map_or(&operator.states, |former| &former.states);
            let id = operator.id.clone();
            states.iter().map(move |state| (id.clone(), state.name.clone())).collect::<Vec<_>>()
        };
        self.manifest().operators.iter().flat_map(of_operator).collect()
    }

    /// What ran before the exchange that was on probation.
    fn former(&self, operator: &str) -> Option<&FormerVersion> {
        self.manifest().swap.as_ref()?.former.iter().find(|former| former.id == operator)
    }

    /// The plugin of an operator that is to go on: that which ran, or where an exchange was on probation, that which ran before.
    pub(super) fn plugin(&self, operator: &str) -> Option<&CheckpointedPlugin> {
        let former = self.former(operator).map(|former| &former.plugin);
        former.or_else(|| Some(&self.operator(operator)?.plugin))
    }

    /// By what the states of an operator are stored.
    pub(super) fn register(&self, operator: &str) -> Option<StateRegister> {
        let of_former = self.former(operator).map(|former| StateRegister::of(&former.states, former.next_state));
        let found = self.operator(operator)?;
        // What an exchange brought that is taken back is gone, and its numbers are not used again.
        let next = found.next_state;
        Some(of_former.map_or_else(|| StateRegister::of(&found.states, next), |register| register.above(next)))
    }
}

fn overlap(one: &Range<u32>, other: &Range<u32>) -> bool {
    one.start < other.end && other.start < one.end
}

/// What a former task had of the key groups that another one takes over.
#[derive(Clone, Debug)]
struct Share {
    /// Oldest first.
    segments: Vec<SegmentOfTask>,
    /// Those for which the segments count. They may have others too, from before the job was rescaled; what they say of those is out of date.
    key_groups: Range<u32>,
}

/// What tasks had of `key_groups`, in their order: each one's segments, oldest first, and the key groups for which they count.
fn shares_of(tasks: &[CheckpointedTask], key_groups: &Range<u32>) -> Vec<Share> {
    let shares = tasks.iter().filter(|task| overlap(&task.key_groups, key_groups)).map(|task| {
        let own = task.key_groups.start.max(key_groups.start)..task.key_groups.end.min(key_groups.end);
        let segments = task.segments.iter().filter(|segment| overlap(&segment.facts.key_groups, &own));
        Share { segments: segments.cloned().collect(), key_groups: own }
    });
    shares.filter(|share| !share.segments.is_empty()).collect()
}

/// One chain of what former tasks had: their first runs become one, then their second ones. Empty where a segment of one says something of what belongs to another, because nothing in a
/// chain tells that it does not count.
fn chain_of(shares: Vec<Share>, key_groups: &Range<u32>) -> Vec<SegmentOfTask> {
    let reaches_beyond = |share: &Share| {
        let own = &share.key_groups;
        let within = |groups: &Range<u32>| groups.start.max(key_groups.start)..groups.end.min(key_groups.end);
        let mut parts = share.segments.iter().map(|segment| within(&segment.facts.key_groups));
        parts.any(|part| part.start < own.start || own.end < part.end)
    };
    if shares.iter().any(reaches_beyond) {
        return Vec::new();
    }
    let mut runs: Vec<Vec<SegmentOfTask>> = Vec::new();
    for share in shares {
        for (number, run) in share.segments.chunk_by(|one, next| one.run == next.run).enumerate() {
            if number == runs.len() {
                runs.push(Vec::new());
            }
            runs[number].extend(run.iter().map(|segment| SegmentOfTask { run: number as u64, ..segment.clone() }));
        }
    }
    runs.concat()
}

/// The keyed state of a task in the segments of a checkpoint.
struct MergedState {
    storage: Arc<dyn Storage>,
    shares: Vec<Share>,
}

/// Segments by their runs, oldest first, as those who merge want them.
pub(super) fn runs_of(
    storage: &Arc<dyn Storage>,
    chain: &[SegmentOfTask],
) -> Vec<Vec<(Stored, crate::checkpoint::SegmentFacts)>> {
    let of_run = chain.chunk_by(|one, other| one.run == other.run);
    let stored = |segment: &SegmentOfTask| (Stored::new(Arc::clone(storage), &segment.name), segment.facts.clone());
    of_run.map(|segments| segments.iter().map(stored).collect()).collect()
}

impl RestoreKeyed for MergedState {
    fn entries(&self) -> u64 {
        // What a run has, the others mostly have too.
        let of_share = |share: &Share| {
            let own = |segment: &SegmentOfTask| {
                let (all, own) = (&segment.facts.key_groups, &share.key_groups);
                let overlap = all.end.min(own.end).saturating_sub(all.start.max(own.start));
                segment.facts.entries * u64::from(overlap) / u64::from(all.end - all.start).max(1)
            };
            let runs = share.segments.chunk_by(|one, other| one.run == other.run);
            runs.map(|run| run.iter().map(own).sum::<u64>()).max().unwrap_or(0)
        };
        self.shares.iter().map(of_share).sum()
    }

    fn restore(self: Box<Self>, put: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        // They are in the order of their key groups, so stored keys ascend.
        for Share { segments, key_groups } in self.shares {
            let mut merge =
                Merge::open(runs_of(&self.storage, &segments), key_groups, Marks::Drop).map_err(unreadable)?;
            while merge.advance().map_err(unreadable)? {
                if let Entry::Value(value) = merge.entry() {
                    put(merge.key(), value)?;
                }
            }
        }
        Ok(())
    }
}

fn unreadable(error: SegmentError) -> Fault {
    // A file that is damaged does not become whole by another try.
    let kind = match &error.problem {
        SegmentProblem::Storage(_) => FaultKind::External,
        _ => FaultKind::Unfit,
    };
    Fault::new(kind, error.to_string())
}

#[cfg(test)]
mod tests;
