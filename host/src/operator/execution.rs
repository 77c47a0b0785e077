//! Runs an operator's task: every call is a transaction, and records that make calls fail are isolated.
//!
//! Invariants: the table changes only when a call has returned well; after any fault the instance is replaced and the new one has seen no slot; the parts of a batch
//! that is run in pieces commit in the order of their records.

use std::sync::Arc;

mod culprit;
mod input;
mod isolation;
mod keeper;
mod snapshot;
mod succession;

use self::{
    input::{Arrival, TaskInput},
    isolation::FaultRate,
    snapshot::{Copying, restore_operator_state},
};
pub use self::{
    keeper::StateKeeper,
    snapshot::{KeepSnapshots, RestoreKeyed, Restored, TakenSnapshot},
    succession::{Exchanged, Succession, Successor, Version},
};
use super::{
    CallTime, Descriptor, Exchange, ExchangeLimits, Failure, Instance, InstanceLimits, Keying, LogLevel, OutputRule,
    Phase, Plugin, StateDescriptor, StateKind, TaskInfo, dead_letter::describe_record,
};
use crate::{
    background::Background,
    metrics::OperatorCounters,
    state::{
        Delivery, Form, KeyedState, SLOTS_DEFAULT, SnapshotSetup, SpillCounters, SpillError, SpillSetup, StateIds,
        StateSetup, StateSpec, WritePieces,
    },
    stream::{Batch, BytesColumn, Fault, FaultKind, Keys, schema::Schema},
};

/// How many writes ahead of the one that is applied an entry is prefetched: while the guest ran, others took its place in the nearest cache.
const PREFETCH_AHEAD: usize = 12;

/// What becomes of records that fail (the job file's `on-error`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPolicy {
    /// The job fails.
    Fail,
    /// They are counted and left out.
    Skip,
    /// They go to a dead-letter sink.
    DeadLetter,
}

/// What a task of an operator is made of.
pub struct ExecutionSetup {
    /// Which task.
    pub info: TaskInfo,
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
    /// The operator's configuration as JSON.
    pub config: String,
    /// What an instance may use up.
    pub limits: InstanceLimits,
    /// What a call may hand over.
    pub exchange_limits: ExchangeLimits,
    /// What becomes of records that fail.
    pub policy: FaultPolicy,
    /// Above so many faults in a minute of processing time, the job fails.
    pub faults_per_minute: u32,
    /// Somebody behind this operator looks at the keys of its records.
    pub keys_wanted: bool,
    /// Schema of the keys that arrive at each input, for showing them.
    pub key_schemas: Vec<Option<Schema>>,
    /// The task's counters.
    pub counters: Arc<OperatorCounters>,
    /// The time at which the first instance is opened.
    pub time: CallTime,
    /// Where log lines go.
    pub log: Box<dyn FnMut(LogLevel, &str, &str) + Send>,
    /// Where keyed state is evicted to; none: all of it stays in memory.
    pub spill: Option<SpillSetup>,
    /// Who keeps snapshots of its state, and where they are written; none: there are none.
    pub snapshots: Option<(Arc<dyn KeepSnapshots>, Arc<dyn Background>)>,
    /// What it begins with.
    pub restored: Restored,
    /// By what its states are stored.
    pub state_ids: StateIds,
    /// Where another version waits for its barrier.
    pub succession: Arc<Succession>,
}

/// One task of an operator.
pub struct Execution {
    info: TaskInfo,
    plugin: Arc<dyn Plugin>,
    config: String,
    limits: InstanceLimits,
    policy: FaultPolicy,
    /// In the order of their numbers.
    inputs: Vec<TaskInput>,
    counters: Arc<OperatorCounters>,
    instance: Box<dyn Instance>,
    exchange: Box<Exchange>,
    delivery: Delivery,
    rate: FaultRate,
    /// How many records a call is given at most; lowered by limit faults.
    records_max: usize,
    good_calls: u32,
    /// Memory at which slots were last released.
    memory_relieved_at: usize,
    /// The end of the input has keys to visit.
    visits_left: bool,
    /// Who gets the state when the task has come to its end.
    keeper: Option<Box<dyn StateKeeper>>,
    /// Who keeps its snapshots.
    snapshots: Option<Arc<dyn KeepSnapshots>>,
    /// The snapshot that is being copied.
    copying: Option<Copying>,
    restored: Restored,
    succession: Arc<Succession>,
    /// The last call was made.
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Export {
    /// With the number of the input.
    Process(u32),
    OnEnd,
}

impl Execution {
    /// Makes the first instance and opens it.
    ///
    /// # Errors
    /// A fault in `open`, or no memory for an instance: the job fails.
    pub fn new(setup: ExecutionSetup) -> Result<Self, Fault> {
        let ExecutionSetup {
            info,
            plugin,
            config,
            limits,
            exchange_limits,
            policy,
            faults_per_minute,
            keys_wanted,
            key_schemas,
            counters,
            time,
            log,
            spill,
            snapshots,
            restored,
            state_ids,
            succession,
        } = setup;
        let descriptor = plugin.descriptor();
        let visits_left = descriptor.visits_at_end();
        let state = KeyedState::new(StateSetup {
            states: state_specs(descriptor),
            ids: state_ids.clone(),
            slots_max: SLOTS_DEFAULT,
            batch_records: info.batch.records,
            max_parallelism: info.max_parallelism,
            spill,
            snapshots: snapshots.as_ref().map(|(keeper, background)| SnapshotSetup {
                background: Arc::clone(background),
                writer: Arc::clone(keeper) as Arc<dyn WritePieces>,
            }),
        });
        let rules = descriptor.outputs.iter().map(|output| OutputRule {
            sets_key: matches!(output.keying, Keying::Set(_)),
            keys_wanted: keys_wanted && output.keying != Keying::Drop,
            keeps_key_of_some: output.keying == Keying::Keep && descriptor.has_keyed_input(),
        });
        let mut exchange = Exchange::new(state, rules.collect(), exchange_limits, counters.named.clone(), log);
        exchange.keep_operator_state(descriptor, &state_ids);
        let inputs = descriptor.inputs.iter().zip(key_schemas.into_iter().chain(std::iter::repeat(None)));
        let inputs = inputs.map(|(input, arriving)| TaskInput::new(input, arriving)).collect();
        restore_operator_state(&mut exchange, &restored.operator_state).map_err(|why| {
            let text = format!("operator {}, task {}: {why} (restoring its state)", info.operator, info.task);
            Fault::new(FaultKind::Unfit, text)
        })?;
        let instance = open(&*plugin, limits, &info, &config, time, &mut exchange)?;
        Ok(Self {
            records_max: info.batch.records,
            inputs,
            info,
            plugin,
            config,
            limits,
            policy,
            counters,
            instance,
            exchange,
            delivery: Delivery::default(),
            rate: FaultRate::new(faults_per_minute),
            good_calls: 0,
            memory_relieved_at: 0,
            visits_left,
            keeper: None,
            snapshots: snapshots.map(|(keeper, _)| keeper),
            copying: None,
            restored,
            succession,
            closed: false,
        })
    }

    /// Processes a batch of the input of this number. Results are appended to `out`, in order; dead letters to `dead`.
    ///
    /// # Errors
    /// A fault that fails the job.
    pub fn process(
        &mut self,
        input: u32,
        batch: &Batch,
        time: CallTime,
        out: &mut Vec<Batch>,
        dead: &mut Batch,
    ) -> Result<(), Fault> {
        self.counters.records_in.add(batch.len() as u64);
        self.counters.batches_in.add(1);
        self.run_in_parts(Export::Process(input), batch, time, out, dead)
    }

    /// Visits some of the keys that are to be visited at the end of the input. Returns whether there are more.
    ///
    /// # Errors
    /// A fault that fails the job.
    pub fn on_end(&mut self, time: CallTime, out: &mut Vec<Batch>, dead: &mut Batch) -> Result<bool, Fault> {
        if !self.visits_left {
            return Ok(false);
        }
        let mut keys = Keys::default();
        self.exchange.state.begin(time.now);
        let walked = self.exchange.state.walk(self.info.batch.records, &mut keys);
        self.visits_left = walked.map_err(|error| {
            self.located(Fault::new(FaultKind::External, error.to_string()), "at the end of the input")
        })?;
        if !self.restored.visited.is_empty() {
            keys = self.not_visited(&keys);
        }
        if !keys.hashes.is_empty() {
            let batch = Batch {
                values: BytesColumn::empty_strings(keys.hashes.len()),
                keys: Some(keys),
                timestamps: Vec::new(),
            };
            self.run_in_parts(Export::OnEnd, &batch, time, out, dead)?;
        }
        Ok(self.visits_left)
    }

    fn not_visited(&self, keys: &Keys) -> Keys {
        let mut left = Keys::default();
        for (key, hash) in keys.column.iter().zip(&keys.hashes).filter(|(_, hash)| !self.was_visited(**hash)) {
            left.push(key, *hash);
        }
        left
    }

    /// The last call. Before it the operator writes out operator state, where checkpoints are taken: the last one comes when there is nobody to be asked any more.
    ///
    /// # Errors
    /// A fault that fails the job.
    pub fn close(&mut self, time: CallTime) -> Result<(), Fault> {
        if self.snapshots.is_some() {
            self.write_out(time)?;
        }
        self.exchange.begin(Phase::Closed, false);
        self.closed = true;
        self.instance.close(time, &mut self.exchange).map_err(|fault| self.located(fault, "in close"))
    }

    /// Keys of the keyed state, and bytes of all state.
    pub fn state_size(&self) -> (usize, usize) {
        let (keys, bytes) = self.exchange.state.size();
        (keys, bytes + self.exchange.operator_state_bytes())
    }

    /// What of the keyed state went to disk.
    pub fn spilled(&self) -> SpillCounters {
        self.exchange.state.spilled()
    }

    /// One transaction.
    fn run(
        &mut self,
        export: Export,
        batch: &Batch,
        time: CallTime,
        out: &mut Vec<Batch>,
    ) -> Result<Vec<Failure>, Fault> {
        let called = self.call(export, batch, time);
        match &called {
            Ok(failures) if failures.is_empty() || self.policy != FaultPolicy::Fail => self.apply(batch, out)?,
            Ok(_) | Err(_) => self.exchange.discard(),
        }
        called
    }

    /// Calls the operator. What it changes is staged and neither applied nor dropped yet.
    fn call(&mut self, export: Export, batch: &Batch, time: CallTime) -> Result<Vec<Failure>, Fault> {
        let phase = match export {
            Export::Process(input) => self.input(input)?.arrival.phase(batch.len()),
            Export::OnEnd => Phase::End(batch.len()),
        };
        // First: what is delivered must not have expired by now.
        self.exchange.state.begin(time.now);
        match (phase, &batch.keys) {
            // What the guest has still to be told of slots waits for the next batch with keys.
            (Phase::Unkeyed(_) | Phase::Broadcast(_), _) => self.delivery.clear(),
            (_, Some(keys)) => {
                self.exchange.state.resolve(keys, &mut self.delivery).map_err(|error| self.spill_failed(&error))?
            }
            (_, None) => {
                return Err(Fault::new(
                    FaultKind::HostBug,
                    format!("operator {} got records without keys", self.info.operator),
                ));
            }
        }
        let called = match export {
            Export::Process(input) => {
                self.exchange.begin(phase, !batch.timestamps.is_empty());
                self.instance.process(input, &self.delivery, batch, time, &mut self.exchange)
            }
            Export::OnEnd => {
                self.exchange.begin(phase, false);
                self.instance.on_end(&self.delivery, time, &mut self.exchange)
            }
        };
        match (called, self.exchange.verdict()) {
            // Not the guest's fault, whatever it made of it: no record is to blame.
            (_, Some(fault)) if !fault.kind.is_guest() => Err(self.located(fault, "state")),
            (Ok(_), Some(fault)) => Err(fault),
            (Ok(failures), None) => check_failures(failures, batch.len()),
            // What the guest handed over before it failed says more than how it failed.
            (Err(fault), verdict) => Err(match verdict {
                Some(verdict) if fault.kind == FaultKind::GuestError => {
                    Fault { message: verdict.message, kind: verdict.kind, ..fault }
                }
                _ => fault,
            }),
        }
    }

    /// Makes true what the call staged.
    fn apply(&mut self, batch: &Batch, out: &mut Vec<Batch>) -> Result<(), Fault> {
        let (state, writes, refreshed) = self.exchange.writes();
        for write in writes {
            let gone = |slot| Fault::new(FaultKind::HostBug, format!("slot {slot} was checked and is gone"));
            let (Some(column), Some(spec)) = (state.column_of(write.state), state.spec(write.state)) else {
                return Err(Fault::new(FaultKind::HostBug, format!("state {} was checked and is gone", write.state)));
            };
            let current = spec.version;
            if state.is_noted(column) {
                for (index, slot) in write.slots.iter().enumerate() {
                    let version = write.version(index, current);
                    state.write_noted(*slot, column, version, write.value(index)).map_err(|error| gone(error.0))?;
                }
                continue;
            }
            let (table, behind) = state.table_mut();
            let prefetches = table.is_large();
            for (index, slot) in write.slots.iter().enumerate() {
                if prefetches && let Some(ahead) = write.slots.get(index + PREFETCH_AHEAD) {
                    table.prefetch_slot(*ahead);
                }
                let version = if write.versions.is_empty() { current } else { write.versions[index] };
                table.set_value(*slot, column, version, write.value(index), behind).map_err(|error| gone(error.0))?;
            }
        }
        for (column, slot) in refreshed {
            state.refresh(*slot, *column);
        }
        state.commit();
        self.exchange.apply_operator_state();
        let limits = self.info.batch;
        for staged in self.exchange.outputs.drain(..) {
            let keys = match (staged.keys, &batch.keys) {
                (Some(column), _) => Some(Keys::hashed(column)),
                (None, Some(keys)) if staged.keeps_key && !staged.src.is_empty() => Some(gather(keys, &staged.src)),
                _ => None,
            };
            let timestamps = if staged.timestamps.is_empty() && !batch.timestamps.is_empty() && !staged.src.is_empty() {
                staged.src.iter().map(|src| batch.timestamps[*src as usize]).collect()
            } else {
                staged.timestamps
            };
            let result = Batch { keys, values: staged.values, timestamps };
            self.counters.records_out.add(result.len() as u64);
            if result.len() <= limits.records && result.bytes() <= 2 * limits.bytes {
                out.push(result);
                continue;
            }
            let mut from = 0;
            while from < result.len() {
                let to = from + result.prefix_within(from, limits);
                out.push(result.slice(from, to));
                from = to;
            }
        }
        self.relieve_memory();
        self.exchange.state.tidy().map_err(|error| self.spill_failed(&error))?;
        self.finish_copied_now()
    }

    fn spill_failed(&self, error: &SpillError) -> Fault {
        self.located(Fault::new(error.fault_kind(), error.to_string()), "state")
    }

    /// At half of the memory cap the guest is made to forget half of what it keeps.
    fn relieve_memory(&mut self) {
        let bytes = self.instance.memory_bytes();
        if bytes > self.limits.memory_bytes_max / 2 && bytes > self.memory_relieved_at {
            self.memory_relieved_at = bytes;
            self.exchange.state.halve_slots();
        }
    }

    fn replace_instance(&mut self, time: CallTime) -> Result<(), Fault> {
        self.exchange.discard();
        self.exchange.state.forget_slots();
        self.memory_relieved_at = 0;
        // A call that failed has loaded state, too.
        self.exchange.state.tidy().map_err(|error| self.spill_failed(&error))?;
        self.instance = open(&*self.plugin, self.limits, &self.info, &self.config, time, &mut self.exchange)?;
        Ok(())
    }

    fn place(&self, export: Export, batch: &Batch, index: usize) -> String {
        let record = describe_record(batch, index, self.input_shown(export).schemas());
        match self.name_shown(export) {
            Some(input) => format!("{record} of the input {input}"),
            None => record,
        }
    }

    fn input(&self, input: u32) -> Result<&TaskInput, Fault> {
        let text = || format!("operator {} got records of an input {input}", self.info.operator);
        self.inputs.get(input as usize).ok_or_else(|| Fault::new(FaultKind::HostBug, text()))
    }

    /// The input by whose schemas the records of a call are shown; at the end those are keys.
    fn input_shown(&self, export: Export) -> &TaskInput {
        let number = match export {
            Export::Process(input) => input as usize,
            Export::OnEnd => self.inputs.iter().position(|input| input.arrival == Arrival::Keyed).unwrap_or(0),
        };
        &self.inputs[number]
    }

    /// The name of the input that a record came by, where there are several.
    fn name_shown(&self, export: Export) -> Option<&str> {
        match export {
            Export::Process(_) if self.inputs.len() > 1 => Some(&self.input_shown(export).name),
            _ => None,
        }
    }

    fn located(&self, fault: Fault, place: &str) -> Fault {
        Fault {
            message: format!("operator {}, task {}: {} ({place})", self.info.operator, self.info.task, fault.message),
            ..fault
        }
    }
}

fn open(
    plugin: &dyn Plugin,
    limits: InstanceLimits,
    info: &TaskInfo,
    config: &str,
    time: CallTime,
    exchange: &mut Box<Exchange>,
) -> Result<Box<dyn Instance>, Fault> {
    exchange.begin(Phase::Open, false);
    let located = |fault: Fault, place| {
        let message = format!("operator {}, task {}: {}{place}", info.operator, info.task, fault.message);
        Fault { message, ..fault }
    };
    let mut instance = plugin.instantiate(limits, info).map_err(|fault| located(fault, ""))?;
    instance.open(config, info, time, exchange).map_err(|fault| located(fault, " (in open)"))?;
    Ok(instance)
}

fn state_specs(descriptor: &Descriptor) -> Vec<Option<StateSpec>> {
    let spec = |state: &StateDescriptor| {
        let form = match state.kind {
            StateKind::Value | StateKind::Reducing | StateKind::Aggregating => Form::Point,
            StateKind::KeyedList => Form::List,
            StateKind::KeyedMap => Form::Map,
            StateKind::OperatorList | StateKind::OperatorUnion | StateKind::Broadcast => return None,
        };
        let StateDescriptor { version, prefetch, on_end, ttl, .. } = *state;
        Some(StateSpec { form, version, prefetch, on_end, ttl, ttl_since: None })
    };
    descriptor.states.iter().map(spec).collect()
}

fn check_failures(failures: Vec<Failure>, records: usize) -> Result<Vec<Failure>, Fault> {
    let ascending = failures.windows(2).all(|pair| pair[0].index < pair[1].index);
    if ascending && failures.last().is_none_or(|last| (last.index as usize) < records) {
        return Ok(failures);
    }
    Err(Fault::new(
        FaultKind::MalformedColumns,
        "the failures it returned are not in ascending order or name records that were not there",
    ))
}

#[inline]
fn gather(keys: &Keys, src: &[u32]) -> Keys {
    if src.len() == keys.hashes.len()
        && src.iter().enumerate().fold(true, |same, (index, src)| same & (index as u32 == *src))
    {
        return keys.clone();
    }
    let mut gathered =
        Keys { column: BytesColumn::with_capacity(src.len(), src.len() * 8), hashes: Vec::with_capacity(src.len()) };
    for src in src {
        gathered.push(keys.column.get(*src as usize), keys.hashes[*src as usize]);
    }
    gathered
}

#[cfg(test)]
mod tests;
