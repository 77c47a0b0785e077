//! What a call may touch: the state of its task, and the place where everything it changes is staged.
//!
//! An exchange belongs to a task; it is handed into an instance for the time of a call and comes back with it. Functions here are called by the guest (through imports) with
//! columns that are only borrowed, so they check and copy. A guest that hands over what contradicts itself has its call rolled back even if it ignores the
//! error: `verdict` remembers it.

use std::collections::HashMap;

mod cells;
mod operator_state;
mod outputs;
mod phase;

use self::operator_state::OperatorStage;
pub use self::{
    cells::{CellColumns, Strings},
    operator_state::BroadcastPage,
    phase::Phase,
};
use super::{
    Descriptor,
    stage_error::{StageError, no_keys, shortened, too_large, unknown_slot},
    staged::{StagedOutput, StagedWrites},
};
use crate::{
    metrics::CounterSet,
    state::{KeyedState, StateIds, StateSetup, StateSpec, StoredColumn},
    stream::Fault,
};

/// Guest metrics of one task by name; further names are ignored.
const METRIC_NAMES_MAX: usize = 64;

/// What a call of an import costs the host beside its columns.
const STAGED_CALL_BYTES: usize = 128;
/// Buffers for writes are kept from call to call up to this size each.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// What a call may hand over at most.
#[derive(Clone, Copy, Debug)]
pub struct ExchangeLimits {
    /// Bytes of staged outputs and state of one call together.
    pub staged_bytes_max: usize,
    /// Bytes of a key.
    pub key_bytes_max: usize,
    /// Bytes of a record's value or of a state's value.
    pub value_bytes_max: usize,
}

impl Default for ExchangeLimits {
    fn default() -> Self {
        Self { staged_bytes_max: 64 << 20, key_bytes_max: crate::stream::KEY_BYTES_MAX, value_bytes_max: 16 << 20 }
    }
}

/// What the host does with the records of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputRule {
    /// The output's records get new keys.
    pub sets_key: bool,
    /// Somebody behind it looks at the keys.
    pub keys_wanted: bool,
    /// Its records keep keys that only some inputs have; there is none to keep for the records of the others.
    pub keeps_key_of_some: bool,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For the author.
    Debug,
    /// Good to know.
    Info,
    /// Should not be.
    Warn,
    /// Is broken.
    Error,
}

type LogSink = Box<dyn FnMut(LogLevel, &str, &str) + Send>;

/// What a call may touch.
pub struct Exchange {
    pub(super) state: KeyedState,
    pub(super) phase: Phase,
    /// The input's records have event times, which emitted records may inherit.
    pub(super) input_has_times: bool,
    pub(super) outputs: Vec<StagedOutput>,
    /// The first `writes_used` are staged; the others keep their memory for later.
    writes: Vec<StagedWrites>,
    writes_used: usize,
    /// (state, slot) → where its last staged write is; only made when the guest reads.
    written: Option<HashMap<(u32, u32), (usize, usize)>>,
    /// Column and slot of values that were read, of states where that begins their time to live anew.
    refreshed: Vec<(u32, u32)>,
    /// None: this is an exchange that may do nothing but log.
    operator_state: Option<OperatorStage>,
    staged_bytes: usize,
    limits: ExchangeLimits,
    rules: Vec<OutputRule>,
    verdict: Option<Fault>,
    panic: Option<(String, Option<u32>)>,
    metrics: CounterSet,
    metric_names: HashMap<String, std::sync::Arc<crate::metrics::Counter>>,
    /// A metric name was refused and that was said.
    metric_refused: bool,
    log: LogSink,
}

impl Exchange {
    /// An exchange with nothing staged.
    pub fn new(
        state: KeyedState,
        rules: Vec<OutputRule>,
        limits: ExchangeLimits,
        metrics: CounterSet,
        log: LogSink,
    ) -> Box<Self> {
        Box::new(Self {
            state,
            phase: Phase::Closed,
            input_has_times: false,
            outputs: Vec::new(),
            writes: Vec::new(),
            writes_used: 0,
            written: None,
            refreshed: Vec::new(),
            operator_state: None,
            staged_bytes: 0,
            limits,
            rules,
            verdict: None,
            panic: None,
            metrics,
            metric_names: HashMap::new(),
            metric_refused: false,
            log,
        })
    }

    /// An exchange for an instance that is being described: it may do nothing but log.
    pub fn idle() -> Box<Self> {
        Self::new(
            KeyedState::new(StateSetup {
                states: Vec::new(),
                ids: StateIds::default(),
                slots_max: 1,
                batch_records: 1,
                max_parallelism: 1,
                spill: None,
                snapshots: None,
            }),
            Vec::new(),
            ExchangeLimits::default(),
            CounterSet::default(),
            Box::new(|level, context, message| {
                if level >= LogLevel::Warn {
                    tracing::warn!("describe: {context}: {message}");
                }
            }),
        )
    }

    /// Another version of the operator takes over. To be called between calls.
    pub(super) fn adopt(
        &mut self,
        descriptor: &Descriptor,
        states: &[Option<StateSpec>],
        ids: &StateIds,
        limits: ExchangeLimits,
    ) {
        self.discard();
        self.state.adopt(states, ids);
        self.adopt_operator_state(descriptor, ids);
        self.limits = limits;
    }

    /// Begins a call.
    pub(super) fn begin(&mut self, phase: Phase, input_has_times: bool) {
        self.discard();
        self.phase = phase;
        self.input_has_times = input_has_times;
    }

    /// Drops everything staged.
    pub(super) fn discard(&mut self) {
        self.state.roll_back();
        self.phase = Phase::Closed;
        self.outputs.clear();
        for write in &mut self.writes[..self.writes_used] {
            if write.data.capacity() > KEPT_BYTES_MAX {
                write.data = Vec::new();
            }
        }
        self.writes_used = 0;
        self.written = None;
        self.refreshed.clear();
        if let Some(stage) = &mut self.operator_state {
            stage.discard();
        }
        self.staged_bytes = 0;
        self.verdict = None;
        self.panic = None;
    }

    /// What the call did wrong although it returned, if anything.
    pub(super) fn verdict(&mut self) -> Option<Fault> {
        self.verdict.take()
    }

    /// The state, the staged writes to its table, and column and slot of values whose time to live begins anew after these because they were read.
    pub(super) fn writes(&mut self) -> (&mut KeyedState, &[StagedWrites], &[(u32, u32)]) {
        (&mut self.state, &self.writes[..self.writes_used], &self.refreshed)
    }

    /// What the guest said about its panic, if it panicked.
    pub fn take_panic(&mut self) -> Option<(String, Option<u32>)> {
        self.panic.take()
    }

    /// Remembers why the guest is about to trap.
    pub fn report_panic(&mut self, message: &str, index: Option<u32>) {
        self.panic = Some((shortened(message).to_owned(), index));
    }

    /// Writes values of a state; version 0 clears. `versions` is empty when all have the current version.
    ///
    /// # Errors
    /// [`StageError`]; the call will be rolled back.
    pub fn put_many(
        &mut self,
        state: u32,
        slots: &[u32],
        data: &[u8],
        ends: &[u32],
        versions: &[u16],
    ) -> Result<(), StageError> {
        let checked = self.check_put(state, slots, data, ends, versions);
        if let Err(error) = &checked {
            self.condemn(error);
            return checked;
        }
        if slots.is_empty() {
            return Ok(());
        }
        if self.writes_used == self.writes.len() {
            self.writes.push(StagedWrites::default());
        }
        let at = self.writes_used;
        let writes = &mut self.writes[at];
        writes.state = state;
        refill(&mut writes.slots, slots);
        refill(&mut writes.data, data);
        refill(&mut writes.ends, ends);
        refill(&mut writes.versions, versions);
        self.writes_used += 1;
        if let Some(written) = &mut self.written {
            written.extend(slots.iter().enumerate().map(|(index, slot)| ((state, *slot), (at, index))));
        }
        Ok(())
    }

    /// Reads values of a state, with the call's own writes.
    ///
    /// # Errors
    /// [`StageError`] for a slot or state that is not there.
    pub fn get_many(&mut self, state: u32, slots: &[u32]) -> Result<StoredColumn, StageError> {
        let (column_of_state, current) = self.point_state("get-many", state)?;
        let on_read = self.state.spec(state).and_then(|spec| spec.ttl).is_some_and(|ttl| ttl.on_read);
        let (writes, used) = (&self.writes, self.writes_used);
        let written = self.written.get_or_insert_with(|| {
            let places = writes[..used].iter().enumerate();
            places
                .flat_map(|(at, write)| {
                    write.slots.iter().enumerate().map(move |(index, slot)| ((write.state, *slot), (at, index)))
                })
                .collect()
        });
        let mut column = StoredColumn::default();
        for slot in slots {
            if !self.state.table().may_address(*slot) {
                return Err(unknown_slot(*slot));
            }
            let (version, value) = match written.get(&(state, *slot)) {
                Some((at, index)) => (writes[*at].version(*index, current), writes[*at].value(*index)),
                None => self.state.value(*slot, column_of_state).map_err(|error| unknown_slot(error.0))?,
            };
            if column.values.bytes() + value.len() > self.limits.staged_bytes_max {
                let most = self.limits.staged_bytes_max;
                return Err(StageError::Limit(format!(
                    "get-many was asked for more than {most} bytes (limits.output)"
                )));
            }
            column.versions.push(version);
            column.values.push(value);
            if on_read && version != 0 {
                self.refreshed.push((column_of_state, *slot));
            }
        }
        Ok(column)
    }

    /// The key of a slot.
    ///
    /// # Errors
    /// [`StageError`] for a slot that is not there.
    pub fn key_of(&self, slot: u32) -> Result<Vec<u8>, StageError> {
        if !self.state.table().may_address(slot) {
            return Err(unknown_slot(slot));
        }
        self.state.table().key(slot).map(<[u8]>::to_vec).map_err(|error| unknown_slot(error.0))
    }

    /// The slot of another key. The caller has made sure that the key belongs to this task.
    ///
    /// # Errors
    /// [`StageError`] outside of a batch, or for a key that is too long.
    pub fn slot_of(&mut self, key: &[u8]) -> Result<u32, StageError> {
        if self.phase.is_without_keys() {
            return Err(no_keys("slot-of"));
        }
        if !matches!(self.phase, Phase::Records(_)) {
            return Err(StageError::State("slot-of may be called within process only".into()));
        }
        if key.len() > self.limits.key_bytes_max {
            return Err(too_large("a key", key.len(), self.limits.key_bytes_max));
        }
        self.state
            .slot_of(key)
            .map_err(|error| self.failed(error))?
            .ok_or_else(|| StageError::Limit("the call asked for more slots than a batch may have records".into()))
    }

    /// Writes a log line.
    pub fn log(&mut self, level: LogLevel, context: &str, message: &str) {
        (self.log)(level, shortened(context), shortened(message));
    }

    /// Adds to a counter of the operator.
    pub fn count(&mut self, name: &str, delta: u64) {
        if let Some(counter) = self.metric(name) {
            counter.add(delta);
        }
    }

    /// Sets a gauge of the operator. Kept as a whole number: the report shows counters and gauges alike.
    pub fn gauge(&mut self, name: &str, value: f64) {
        if let Some(counter) = self.metric(name) {
            counter.set(value.max(0.0) as u64);
        }
    }

    fn metric(&mut self, name: &str) -> Option<&crate::metrics::Counter> {
        if !self.metric_names.contains_key(name) {
            let valid = !name.is_empty()
                && name.len() <= 64
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !valid || self.metric_names.len() >= METRIC_NAMES_MAX {
                let shown: String = name.chars().take(64).collect();
                if !std::mem::replace(&mut self.metric_refused, true) {
                    (self.log)(
                        LogLevel::Warn,
                        "metrics",
                        &format!(
                            "the metric name {shown:?} is ignored: names match [a-z0-9-]+, and there are at most {METRIC_NAMES_MAX}"
                        ),
                    );
                }
                return None;
            }
            self.metric_names.insert(name.to_owned(), self.metrics.counter(name));
        }
        self.metric_names.get(name).map(|counter| &**counter)
    }

    fn check_put(
        &mut self,
        state: u32,
        slots: &[u32],
        data: &[u8],
        ends: &[u32],
        versions: &[u16],
    ) -> Result<(), StageError> {
        let (_, current) = self.point_state("put-many", state)?;
        if slots.len() != ends.len() || !(versions.is_empty() || versions.len() == ends.len()) {
            let text = format!(
                "put-many was given {} slots, {} values and {} versions",
                slots.len(),
                ends.len(),
                versions.len()
            );
            return Err(StageError::Malformed(text));
        }
        let falls = ends.windows(2).fold(false, |falls, pair| falls | (pair[1] < pair[0]));
        if falls || ends.last().map_or(0, |end| *end as usize) != data.len() {
            return Err(StageError::Malformed("put-many, values: the ends do not fit the data".into()));
        }
        let cleared_has_bytes = (0..versions.len())
            .any(|index| versions[index] == 0 && ends[index] != if index == 0 { 0 } else { ends[index - 1] });
        if cleared_has_bytes {
            return Err(StageError::Malformed("put-many was given bytes with schema version 0, which clears".into()));
        }
        if let Some(version) = versions.iter().find(|version| **version != 0 && **version != current) {
            return Err(StageError::Malformed(format!(
                "put-many was given schema version {version}, but the state has version {current}"
            )));
        }
        if data.len() > self.limits.value_bytes_max {
            let largest =
                ends.iter().scan(0, |start, end| Some(end - std::mem::replace(start, *end))).max().unwrap_or(0)
                    as usize;
            if largest > self.limits.value_bytes_max {
                return Err(too_large("a state's value", largest, self.limits.value_bytes_max));
            }
        }
        if let Some(slot) = slots.iter().find(|slot| !self.state.table().may_address(**slot)) {
            return Err(unknown_slot(*slot));
        }
        self.stage_bytes(STAGED_CALL_BYTES + data.len() + ends.len() * 8)
    }

    fn stage_bytes(&mut self, bytes: usize) -> Result<(), StageError> {
        self.staged_bytes += bytes;
        if self.staged_bytes > self.limits.staged_bytes_max {
            let most = self.limits.staged_bytes_max;
            return Err(StageError::Limit(format!(
                "the call emitted more than {most} bytes (limits.output), state included"
            )));
        }
        Ok(())
    }

    fn condemn(&mut self, error: &StageError) {
        if self.verdict.is_none() && self.phase.is_transaction() {
            self.verdict = Some(Fault::new(error.kind(), error.message()));
        }
    }
}

fn refill<T: Copy>(to: &mut Vec<T>, from: &[T]) {
    to.clear();
    to.extend_from_slice(from);
}
