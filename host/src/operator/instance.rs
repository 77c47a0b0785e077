//! A live instance of an operator, and the plugin that makes instances.

use super::{Descriptor, Exchange};
use crate::{
    state::Delivery,
    stream::{Batch, BatchLimits, EventTime, Fault, KeyGroupRange},
};

/// Which task an instance serves.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    /// The job's name.
    pub job: String,
    /// The operator's id.
    pub operator: String,
    /// This task's index, from 0.
    pub task: u32,
    /// How many tasks the operator has.
    pub parallelism: u32,
    /// How many key groups there are.
    pub max_parallelism: u32,
    /// The key groups of this task.
    pub key_groups: KeyGroupRange,
    /// How large output batches should be.
    pub batch: BatchLimits,
}

/// The times of a call.
#[derive(Clone, Copy, Debug)]
pub struct CallTime {
    /// Processing time.
    pub now: EventTime,
    /// The operator's watermark, if it has one yet.
    pub watermark: Option<EventTime>,
}

/// A record (or key) of a call that failed alone; its effects were undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which one.
    pub index: u32,
    /// Why.
    pub message: String,
}

/// What an instance may use up.
#[derive(Clone, Copy, Debug)]
pub struct InstanceLimits {
    /// Bytes of linear memory.
    pub memory_bytes_max: usize,
    /// Time of one call, without what the host spends in it.
    pub call_time: std::time::Duration,
}

/// A live instance. After a fault it is only good for being dropped.
pub trait Instance: Send {
    /// Prepares it.
    ///
    /// # Errors
    /// A guest fault; the job fails.
    fn open(
        &mut self,
        config: &str,
        task: &TaskInfo,
        time: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<(), Fault>;

    /// Processes a batch of the input of this number; `delivery` has the slots of its records, and is empty where they have no keys. What it changes is staged in `exchange`.
    ///
    /// # Errors
    /// A guest fault; what is staged has to be dropped.
    fn process(
        &mut self,
        input: u32,
        delivery: &Delivery,
        batch: &Batch,
        time: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault>;

    /// Visits keys at the end of the input.
    ///
    /// # Errors
    /// As for `process`.
    fn on_end(
        &mut self,
        delivery: &Delivery,
        time: CallTime,
        exchange: &mut Box<Exchange>,
    ) -> Result<Vec<Failure>, Fault>;

    /// Writes out operator state at a barrier. Called only where the descriptor asks for it.
    ///
    /// # Errors
    /// A guest fault; the job fails.
    fn snapshot(&mut self, time: CallTime, exchange: &mut Box<Exchange>) -> Result<(), Fault>;

    /// The last call.
    ///
    /// # Errors
    /// A guest fault; the job fails.
    fn close(&mut self, time: CallTime, exchange: &mut Box<Exchange>) -> Result<(), Fault>;

    /// Bytes of linear memory in use.
    fn memory_bytes(&self) -> usize;
}

/// A loaded plugin.
pub trait Plugin: Send + Sync {
    /// What it says about its operator.
    fn descriptor(&self) -> &Descriptor;

    /// SHA-256 of the component, in hexadecimal.
    fn digest(&self) -> &str;

    /// Makes an instance for a task.
    ///
    /// # Errors
    /// A fault when the system gives no memory for it.
    fn instantiate(&self, limits: InstanceLimits, task: &TaskInfo) -> Result<Box<dyn Instance>, Fault>;
}
