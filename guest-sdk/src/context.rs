//! What an operator sees and can do while it works on one record.

use std::fmt;
use std::marker::PhantomData;

use crate::Result;
use crate::codec::Decode;
use crate::host::{Host, Level};
use crate::metrics::Metrics;
use crate::namespace::{NAMESPACE_MAX, Namespace};
use crate::operator::Operator;
use crate::output::Outputs;
use crate::time::{EventTime, NONE};
use crate::wire::TaskInfo;

/// No slot has this number.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// The record that is being processed (in `on_end`: the key), and what can be done about it.
///
/// `'b` is the life of the batch: what is borrowed from it ([`Context::key`]) lives on while results are emitted and state is written.
pub struct Context<'b, O: Operator> {
    pub(crate) key: &'b [u8],
    /// The slot of the key; `NO_SLOT` where there is none, and in a namespace.
    pub(crate) slot: u32,
    pub(crate) index: u32,
    /// Counts records over the life of the instance; state remembers by it what to undo.
    pub(crate) record: u64,
    pub(crate) times: &'b [i64],
    pub(crate) watermark: Option<i64>,
    pub(crate) now: i64,
    pub(crate) outputs: &'b mut Outputs,
    pub(crate) metrics: &'b mut Metrics,
    pub(crate) task: &'b TaskInfo,
    pub(crate) host: &'b dyn Host,
    pub(crate) namespace: &'b Namespace,
    /// The record is one of a broadcast input.
    pub(crate) is_broadcast: bool,
    pub(crate) operator: PhantomData<fn() -> O>,
}

impl<'b, O: Operator> Context<'b, O> {
    /// The record's key.
    ///
    /// # Panics
    /// When the records of this input have no key (where keys are text or bytes, it is empty then).
    #[inline(always)]
    #[must_use]
    pub fn key(&self) -> O::Key<'b> {
        // SAFETY: the key table hands out as known only keys that it has checked, which for text means UTF-8.
        match unsafe { O::Key::decode_checked(self.key) } {
            Ok(key) => key,
            Err(error) => undecodable(self.key, &error),
        }
    }

    /// Emits a result. It has the event time of the record.
    ///
    /// # Errors
    /// When the result can't be encoded, which with plain data does not happen.
    #[inline(always)]
    pub fn emit(&mut self, output: O::Output<'_>) -> Result<()> {
        let (times, index) = (self.times, self.index);
        self.outputs.push(&output, index, || times.get(index as usize).copied().unwrap_or(NONE))
    }

    /// Emits a result with an event time of its own.
    ///
    /// # Errors
    /// As [`Context::emit`].
    pub fn emit_at(&mut self, output: O::Output<'_>, time: EventTime) -> Result<()> {
        self.outputs.make_timed(self.times);
        self.outputs.push(&output, self.index, || time.as_millis())
    }

    /// Enters a namespace: until the end of the record, or until another one is entered, all keyed state is that of the key in this namespace. An empty one leads out again.
    /// States of single values must be declared [for namespaces](crate::Declaration::namespaced).
    ///
    /// # Errors
    /// When it has more than 1 KiB.
    pub fn set_namespace(&mut self, namespace: &[u8]) -> Result<()> {
        if namespace.len() > NAMESPACE_MAX {
            return Err(format!("a namespace has {} bytes; the limit is {NAMESPACE_MAX}", namespace.len()).into());
        }
        self.slot = self.namespace.enter(self.slot, namespace);
        Ok(())
    }

    /// The record's event time, if it has one.
    #[inline]
    #[must_use]
    pub fn event_time(&self) -> Option<EventTime> {
        self.times.get(self.index as usize).copied().and_then(EventTime::from_column)
    }

    /// Processing time: one value for the whole batch, the same when the batch is run again.
    #[must_use]
    pub fn now(&self) -> EventTime {
        EventTime::from_millis(self.now)
    }

    /// The operator's watermark, if it has one yet: no record before it is expected any more.
    #[must_use]
    pub fn watermark(&self) -> Option<EventTime> {
        self.watermark.map(EventTime::from_millis)
    }

    /// Which task of the job this is.
    #[must_use]
    pub fn task(&self) -> &TaskInfo {
        self.task
    }

    /// Adds to a counter of the operator. `name` consists of `a-z`, `0-9` and `-`. The counts stay when the record fails.
    #[inline]
    pub fn count(&mut self, name: &'static str, delta: u64) {
        self.metrics.count(name, delta);
    }

    /// Sets a gauge of the operator. `name` consists of `a-z`, `0-9` and `-`.
    #[inline]
    pub fn gauge(&mut self, name: &'static str, value: f64) {
        self.metrics.gauge(name, value);
    }

    /// Writes a line into the job's log; [`info!`](crate::info) and its siblings are shorter. A line costs a call of the host: not for every record.
    pub fn log(&mut self, level: Level, message: impl fmt::Display) {
        self.host.log(level, &message.to_string());
    }
}

#[cold]
#[inline(never)]
fn undecodable(key: &[u8], error: &crate::Error) -> ! {
    if key.is_empty() {
        panic!("the key of a record is asked for that has none: its input has no keys");
    }
    panic!("a key that was decoded when it came does not decode any more: {error}")
}

/// Logs a formatted line in great detail: `trace!(ctx, "{} lines", 3)`.
#[macro_export]
macro_rules! trace {
    ($ctx:expr, $($argument:tt)+) => {
        $ctx.log($crate::Level::Trace, ::core::format_args!($($argument)+))
    };
}

/// Logs a formatted line for the author: `debug!(ctx, "{} lines", 3)`.
#[macro_export]
macro_rules! debug {
    ($ctx:expr, $($argument:tt)+) => {
        $ctx.log($crate::Level::Debug, ::core::format_args!($($argument)+))
    };
}

/// Logs a formatted line for whoever runs the job: `info!(ctx, "{} lines", 3)`.
#[macro_export]
macro_rules! info {
    ($ctx:expr, $($argument:tt)+) => {
        $ctx.log($crate::Level::Info, ::core::format_args!($($argument)+))
    };
}

/// Logs a formatted line about something that is not as it should be: `warn!(ctx, "{} lines", 3)`.
#[macro_export]
macro_rules! warn {
    ($ctx:expr, $($argument:tt)+) => {
        $ctx.log($crate::Level::Warn, ::core::format_args!($($argument)+))
    };
}

/// Logs a formatted line about something that went wrong: `error!(ctx, "{} lines", 3)`.
#[macro_export]
macro_rules! error {
    ($ctx:expr, $($argument:tt)+) => {
        $ctx.log($crate::Level::Error, ::core::format_args!($($argument)+))
    };
}
