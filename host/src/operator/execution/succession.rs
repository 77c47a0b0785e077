//! Another version of the operator takes over a task at a barrier.
//!
//! It is made ready while the task runs: instantiated, and opened where `open` can see all that it may ask for. At the barrier, behind the snapshot and before the next call, it takes the place of the
//! old one. State stays where it is: numbers of states are renamed, slots are given up, nothing is copied. So the exchange takes as long at ten million keys as at ten.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Execution, FaultPolicy, isolation::FaultRate, open, state_specs};
use crate::{
    metrics::OperatorCounters,
    operator::{CallTime, Descriptor, Exchange, ExchangeLimits, Instance, InstanceLimits, LogLevel, Plugin, TaskInfo},
    state::{Delivery, KeyedState, StateIds, StateSetup},
    stream::{CheckpointId, Fault},
};

/// What another version of an operator is, for any of its tasks.
#[derive(Clone)]
pub struct Version {
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
    /// By what its states are stored.
    pub state_ids: StateIds,
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
}

/// Another version of an operator, ready to take over one task.
pub struct Successor {
    version: Version,
    instance: Box<dyn Instance>,
    opened: Opened,
}

/// Whether an instance was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    Yes,
    /// `open` reads state of the task, which is what it is at the barrier.
    AtTheBarrier,
}

impl Successor {
    /// Makes an instance for a task and opens it. One that reads operator state in `open` is opened here too, with none, and thrown away: so that what fails in any case fails before the job is touched.
    ///
    /// # Errors
    /// A fault of the guest, or no memory for an instance. The task is not touched.
    pub fn prepare(
        version: Version,
        info: &TaskInfo,
        counters: &OperatorCounters,
        time: CallTime,
        log: Box<dyn FnMut(LogLevel, &str, &str) + Send>,
    ) -> Result<Self, Fault> {
        let descriptor = version.plugin.descriptor();
        let mut exchange = Exchange::new(
            KeyedState::new(StateSetup {
                states: Vec::new(),
                ids: StateIds::default(),
                slots_max: 1,
                batch_records: 1,
                max_parallelism: info.max_parallelism,
                spill: None,
                snapshots: None,
            }),
            Vec::new(),
            version.exchange_limits,
            counters.named.clone(),
            log,
        );
        exchange.keep_operator_state(descriptor, &version.state_ids);
        let mut instance = open(&*version.plugin, version.limits, info, &version.config, time, &mut exchange)?;
        let reads_state = descriptor.states.iter().any(|state| !state.kind.is_keyed());
        let opened = if reads_state {
            instance = version.plugin.instantiate(version.limits, info)?;
            Opened::AtTheBarrier
        } else {
            Opened::Yes
        };
        Ok(Self { version, instance, opened })
    }

    /// What its states are stored by, with the times to live that begin only now.
    pub fn begin(&mut self, state_ids: StateIds) {
        self.version.state_ids = state_ids;
    }
}

/// Where a successor waits for the barrier at which it takes over, and its predecessor for its end: giving its memory back takes time, which the task has not.
#[derive(Default)]
pub struct Succession {
    waiting: Mutex<Option<(CheckpointId, Successor)>>,
    retired: Mutex<Option<Box<dyn Instance>>>,
}

impl Succession {
    /// It takes over at the barrier of this checkpoint. To be called before anybody is asked for that.
    pub fn put(&self, at: CheckpointId, successor: Successor) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, successor));
    }

    /// Gives back what the predecessor has used.
    pub fn clear(&self) {
        drop(self.retired.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn retire(&self, predecessor: Box<dyn Instance>) {
        *self.retired.lock().unwrap_or_else(PoisonError::into_inner) = Some(predecessor);
    }

    fn take(&self, at: CheckpointId) -> Option<Successor> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.take_if(|(checkpoint, _)| *checkpoint == at).map(|(_, successor)| successor)
    }
}

/// Whether another version has taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchanged {
    /// From the next call on.
    Yes,
    /// All is as it was.
    No,
}

impl Execution {
    /// Lets the version take over that waits for this barrier, if one does. To be called behind the snapshot.
    ///
    /// # Errors
    /// A fault in `open`, where that had to wait until now: the attempt fails.
    pub(super) fn succeed(&mut self, at: CheckpointId, time: CallTime) -> Result<Exchanged, Fault> {
        let Some(Successor { version, instance, opened }) = self.succession.take(at) else { return Ok(Exchanged::No) };
        let Version { plugin, state_ids, config, limits, exchange_limits, policy, faults_per_minute } = version;
        if self.closed {
            // It was called for the last time: there is nothing left to be done by another.
            return Ok(Exchanged::Yes);
        }
        let descriptor: &Descriptor = plugin.descriptor();
        self.exchange.adopt(descriptor, &state_specs(descriptor), &state_ids, exchange_limits);
        self.visits_left = descriptor.visits_at_end();
        self.succession.retire(std::mem::replace(&mut self.instance, instance));
        self.plugin = plugin;
        (self.config, self.limits, self.policy) = (config, limits, policy);
        self.rate = FaultRate::new(faults_per_minute);
        self.records_max = self.info.batch.records;
        (self.good_calls, self.memory_relieved_at) = (0, 0);
        self.delivery = Delivery::default();
        if opened == Opened::AtTheBarrier {
            self.exchange.begin(crate::operator::Phase::Open, false);
            let opened = self.instance.open(&self.config, &self.info, time, &mut self.exchange);
            opened.map_err(|fault| self.located(fault, "in open"))?;
        }
        Ok(Exchanged::Yes)
    }
}
