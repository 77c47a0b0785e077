//! Runs an operator without wasm, for `cargo test`.
//!
//! The [`Harness`] is a small host: it keeps state as bytes, gives keys slots, releases them when there are too many, delivers state with fresh slots, and takes outputs as
//! columns. What runs in between is the very code that runs in a component.
//!
//! ```
//! use wasmill_sdk::prelude::*;
//! use wasmill_sdk::testing::Harness;
//!
//! struct Sum(ReducingState<u64>);
//!
//! impl Operator for Sum {
//!     type Key<'a> = &'a str;
//!     type Input<'a> = u64;
//!     type Output<'a> = u64;
//!     fn declare(states: &mut Declaration) -> Self {
//!         Self(states.reducing("sum", |a, b| a + b))
//!     }
//!     fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
//!         if input == 13 {
//!             bail!("unlucky");
//!         }
//!         let sum = self.0.add(ctx, input)?;
//!         ctx.emit(sum)
//!     }
//! }
//!
//! let mut harness = Harness::<Sum>::new();
//! harness.send("a", 3_u64);
//! harness.send("a", 13_u64);
//! harness.send("a", 4_u64);
//! assert_eq!(harness.take_outputs::<u64>(), [3, 7]);
//! assert_eq!(harness.state::<u64>("sum", "a"), Some(7));
//! assert_eq!(harness.take_failures()[0].message, "unlucky");
//! ```

mod host;
mod render;
mod setup;

use serde_json::Value as JsonValue;

use crate::codec::{Decode, Encode};
use crate::descriptor::Descriptor;
use crate::host::Level;
use crate::operator::Operator;
use crate::output::Keying;
use crate::runner::Runner;
use crate::schema::Schema;
use crate::time::{EventTime, NONE};
use crate::wire::{Batch, BytesColumn};

use self::host::TestHost;
pub use self::setup::Setup;

/// A result, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The key; none where the output has none.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Vec<u8>,
    /// The event time.
    pub time: Option<EventTime>,
}

/// A record, or in `on_end` a key, that failed alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Which record: counted from 0 over all that were sent. In [`Harness::end`]: which key of those visited.
    pub index: u64,
    /// The error's text.
    pub message: String,
}

/// A log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The text.
    pub message: String,
}

/// Runs the operator `O`. Records are gathered into batches; a batch runs when it is full, or when something is asked for.
pub struct Harness<O: Operator> {
    descriptor: Descriptor,
    runner: Runner<O>,
    host: TestHost,
    setup: Setup,
    pending: Vec<Record>,
    /// Records that have been processed.
    done: u64,
    failures: Vec<Failed>,
}

struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
    time: i64,
}

impl<O: Operator> Default for Harness<O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O: Operator> Harness<O> {
    /// Opens the operator with an empty configuration.
    ///
    /// # Panics
    /// When the operator's `open` returns an error.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    /// Opens the operator as `setup` says.
    ///
    /// # Panics
    /// When the operator's `open` returns an error.
    #[must_use]
    pub fn with(setup: Setup) -> Self {
        match Self::open(setup) {
            Ok(harness) => harness,
            Err(message) => panic!("open failed: {message}"),
        }
    }

    /// Opens the operator as `setup` says.
    ///
    /// # Errors
    /// The text of the error that the operator's `open` returned.
    pub fn open(setup: Setup) -> Result<Self, String> {
        let descriptor = Descriptor::of::<O>("0.0.0");
        let runner =
            Runner::open(&setup.config.to_string(), setup.task(&descriptor.name)).map_err(|error| error.to_string())?;
        let host = TestHost::new(&descriptor);
        Ok(Self { descriptor, runner, host, setup, pending: Vec::new(), done: 0, failures: Vec::new() })
    }

    /// Throws the instance away and opens another one, as the host does after a fault or in a swap; state stays.
    ///
    /// # Panics
    /// When the operator's `open` returns an error.
    pub fn reopen(&mut self) {
        self.run();
        let task = self.setup.task(&self.descriptor.name);
        self.runner =
            Runner::open(&self.setup.config.to_string(), task).unwrap_or_else(|error| panic!("open failed: {error}"));
        self.host.forget_slots();
    }

    /// What the operator says it is.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Sends a record without event time. An operator without keys gets `()` for one.
    ///
    /// # Panics
    /// When key or value are not of the operator's types, or the batch fails.
    pub fn send<K: Encode, V: Encode>(&mut self, key: K, value: V) {
        self.send_record(&key, &value, NONE);
    }

    /// Sends a record with an event time.
    ///
    /// # Panics
    /// As [`Harness::send`].
    pub fn send_at<K: Encode, V: Encode>(&mut self, key: K, value: V, time: EventTime) {
        self.send_record(&key, &value, time.as_millis());
    }

    fn send_record<K: Encode, V: Encode>(&mut self, key: &K, value: &V, time: i64) {
        assert_eq!(K::document(), <O::Key<'_>>::document(), "the type of the key is not the operator's");
        assert_eq!(V::document(), <O::Input<'_>>::document(), "the type of the value is not the operator's");
        self.send_bytes(&encoded(key), &encoded(value), (time != NONE).then_some(EventTime::from_millis(time)));
    }

    /// Sends a record as bytes, which may be wrong on purpose.
    ///
    /// # Panics
    /// When the batch fails.
    pub fn send_bytes(&mut self, key: &[u8], value: &[u8], time: Option<EventTime>) {
        self.pending.push(Record {
            key: key.to_vec(),
            value: value.to_vec(),
            time: time.map_or(NONE, EventTime::as_millis),
        });
        if self.pending.len() >= self.setup.batch_records {
            self.run();
        }
    }

    /// Runs the records that wait for their batch to fill up.
    ///
    /// # Panics
    /// When the batch fails.
    pub fn run(&mut self) {
        let mut records = std::mem::take(&mut self.pending);
        while !records.is_empty() {
            // A batch has as many distinct keys as there may be slots.
            let keys = records.iter().map(|record| record.key.as_slice());
            let count = self.host.fitting(keys, self.setup.slots_max);
            let rest = records.split_off(count);
            self.run_batch(&records);
            records = rest;
        }
    }

    fn run_batch(&mut self, records: &[Record]) {
        let keyed = self.descriptor.key.is_some();
        let (slots, keys) = match keyed {
            true => self.host.slots(records.iter().map(|record| record.key.as_slice()), self.setup.slots_max),
            false => Default::default(),
        };
        let timed = records.iter().any(|record| record.time != NONE);
        let batch = Batch {
            input: 0,
            keys,
            slots,
            values: column(records.iter().map(|record| record.value.as_slice())),
            timestamps: if timed { records.iter().map(|record| record.time).collect() } else { Vec::new() },
            watermark: self.setup.watermark.map(EventTime::as_millis),
            now: self.setup.now.as_millis(),
        };
        self.host.begin(batch.slots.clone(), batch.timestamps.clone());
        match self.runner.process(&batch, &mut self.host) {
            Ok(failures) => self.failures.extend(
                failures
                    .into_iter()
                    .map(|one| Failed { index: self.done + u64::from(one.index), message: one.message }),
            ),
            Err(error) => panic!("the batch failed: {error}"),
        }
        self.done += records.len() as u64;
    }

    /// Sets processing time for what is sent from now on.
    pub fn set_now(&mut self, now: EventTime) {
        self.run();
        self.setup.now = now;
    }

    /// Sets the watermark for what is sent from now on.
    pub fn set_watermark(&mut self, watermark: EventTime) {
        self.run();
        self.setup.watermark = Some(watermark);
    }

    /// Ends the input: visits each key that has an entry in a state of `visit_at_end`, in the order of their bytes.
    ///
    /// # Panics
    /// When a call fails.
    pub fn end(&mut self) {
        self.run();
        let keys = self.host.keys_to_visit();
        let batch_keys = self.setup.batch_records.min(self.setup.slots_max);
        for (batch, keys) in keys.chunks(batch_keys).enumerate() {
            let (slots, told) = self.host.slots(keys.iter().map(Vec::as_slice), self.setup.slots_max);
            self.host.begin(slots.clone(), Vec::new());
            match self.runner.on_end(&told, &slots, self.setup.now.as_millis(), &mut self.host) {
                Ok(failures) => {
                    let before = (batch * batch_keys) as u64;
                    self.failures.extend(
                        failures
                            .into_iter()
                            .map(|one| Failed { index: before + u64::from(one.index), message: one.message }),
                    );
                }
                Err(error) => panic!("on_end failed: {error}"),
            }
        }
    }

    /// Takes the results that have come since the last time, as bytes.
    pub fn take_emitted(&mut self) -> Vec<Emitted> {
        self.run();
        std::mem::take(&mut self.host.emitted)
    }

    /// Takes the values of the results that have come since the last time.
    ///
    /// # Panics
    /// When `T` is not what the operator emits.
    pub fn take_outputs<T: for<'a> Decode<'a>>(&mut self) -> Vec<T> {
        assert_eq!(T::document(), self.descriptor.output, "the type of the value is not what the operator emits");
        self.take_emitted().iter().map(|emitted| decoded(&emitted.value)).collect()
    }

    /// Takes the results that have come since the last time, with the keys that they were given.
    ///
    /// # Panics
    /// When `K` and `T` are not what the operator emits.
    pub fn take_keyed_outputs<K: for<'a> Decode<'a>, T: for<'a> Decode<'a>>(&mut self) -> Vec<(K, T)> {
        let key = match &self.descriptor.keying {
            Keying::Keep => self.descriptor.key.as_ref(),
            Keying::Set(schema) => Some(schema),
            Keying::Drop => None,
        };
        assert_eq!(Some(&K::document()), key, "the type of the key is not what the operator emits");
        assert_eq!(T::document(), self.descriptor.output, "the type of the value is not what the operator emits");
        self.take_emitted()
            .iter()
            .map(|emitted| (decoded(emitted.key.as_deref().unwrap_or_default()), decoded(&emitted.value)))
            .collect()
    }

    /// Takes the values of the results that have come since the last time, rendered as JSON by their schema: what a person sees of them.
    ///
    /// # Panics
    /// When the bytes are not what the schema says.
    pub fn take_outputs_json(&mut self) -> Vec<JsonValue> {
        let schema = self.descriptor.output.clone();
        self.take_emitted().iter().map(|emitted| render::render(&schema, &emitted.value)).collect()
    }

    /// The value that `key` has in a state.
    ///
    /// # Panics
    /// When there is no such state, or its values are not `T`.
    pub fn state<T: for<'a> Decode<'a>>(&mut self, name: &str, key: impl Encode) -> Option<T> {
        self.run();
        let index = self.state_index(name);
        assert_eq!(T::document(), self.descriptor.states[index].schema, "state \"{name}\" holds another type");
        self.host.stored(index, &encoded(&key)).map(|(_, bytes)| decoded(bytes))
    }

    /// Puts a stored value there as bytes, as a former version of the operator may have left it.
    ///
    /// # Panics
    /// When there is no such state.
    pub fn put_state_bytes(&mut self, name: &str, key: impl Encode, version: u16, bytes: &[u8]) {
        self.run();
        let index = self.state_index(name);
        self.host.put_stored(index, encoded(&key), version, bytes);
        self.reopen();
    }

    /// The number of keys that have an entry in a state.
    ///
    /// # Panics
    /// When there is no such state.
    pub fn state_len(&mut self, name: &str) -> usize {
        self.run();
        let index = self.state_index(name);
        self.host.state_len(index)
    }

    fn state_index(&self, name: &str) -> usize {
        match self.descriptor.states.iter().position(|state| state.name == name) {
            Some(index) => index,
            None => panic!("there is no state \"{name}\""),
        }
    }

    /// Takes the failures of records that have come since the last time.
    pub fn take_failures(&mut self) -> Vec<Failed> {
        self.run();
        std::mem::take(&mut self.failures)
    }

    /// Takes the log lines that have come since the last time.
    pub fn take_logs(&mut self) -> Vec<LogLine> {
        self.run();
        std::mem::take(&mut self.host.logs)
    }

    /// What a counter of the operator says.
    pub fn counter(&mut self, name: &str) -> u64 {
        self.run();
        self.host.counters.get(name).copied().unwrap_or(0)
    }

    /// What a gauge of the operator says, if it was set.
    pub fn gauge(&mut self, name: &str) -> Option<f64> {
        self.run();
        self.host.gauges.get(name).copied()
    }

    /// How many calls of the host (state and outputs) there have been: they cost something in wasm.
    pub fn host_calls(&mut self) -> u64 {
        self.run();
        self.host.calls
    }
}

fn encoded<T: Encode>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).unwrap_or_else(|error| panic!("can't be encoded: {error}"));
    bytes
}

fn decoded<T: for<'a> Decode<'a>>(bytes: &[u8]) -> T {
    T::decode(bytes).unwrap_or_else(|error| panic!("can't be decoded: {error}"))
}

fn column<'a>(strings: impl Iterator<Item = &'a [u8]>) -> BytesColumn {
    let mut column = BytesColumn::default();
    for string in strings {
        column.data.extend_from_slice(string);
        column.ends.push(crate::bytes::end(&column.data));
    }
    column
}
