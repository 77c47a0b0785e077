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
mod imports;
mod inspect;
mod render;
mod setup;
mod snapshot;
mod table;

use std::cell::RefCell;

use serde_json::Value as JsonValue;

use crate::codec::{Decode, Encode};
use crate::descriptor::Descriptor;
use crate::host::Level;
use crate::input::{Inputs, OtherInput};
use crate::operator::Operator;
use crate::output::Keying;
use crate::runner::Runner;
use crate::schema::Schema;
use crate::time::{EventTime, NONE};
use crate::wire::{Batch, BytesColumn};

use self::host::{Phase, TestHost};
pub use self::setup::Setup;
pub use self::snapshot::Snapshot;
use self::table::Table;

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

/// Runs the operator `O`, whose [inputs besides the first](OtherInput) are `I`. Records are gathered into batches of one input; a batch runs when it is full, when a
/// record of another input comes, or when something is asked for.
///
/// It is one task. Several tasks are several harnesses ([`Setup::task`]): what is broadcast is sent to all of them.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// # use wasmill_sdk::testing::{Harness, Setup};
/// # struct Greeter { words: BroadcastState<u32, String> }
/// # impl Operator for Greeter {
/// #     type Key<'a> = &'a str;
/// #     type Input<'a> = ();
/// #     type Output<'a> = String;
/// #     fn declare(states: &mut Declaration) -> Self { Self { words: states.broadcast("words") } }
/// #     fn process(&mut self, _: (), ctx: &mut Context<Self>) -> Result<()> {
/// #         let words = self.words.entries(ctx)?;
/// #         for (_, word) in &words { ctx.emit(format!("{word} {}", ctx.key()))?; }
/// #         Ok(())
/// #     }
/// # }
/// # struct Words;
/// # impl OtherInput for Words {
/// #     type Operator = Greeter;
/// #     type Value<'a> = (u32, String);
/// #     const KIND: InputKind = InputKind::Broadcast;
/// #     fn process(greeter: &mut Greeter, (at, word): (u32, String), ctx: &mut Context<Greeter>) -> Result<()> {
/// #         greeter.words.insert(ctx, at, word)
/// #     }
/// # }
/// let mut tasks = [0, 1].map(|task| Harness::<Greeter, (Words,)>::with(Setup::default().task(task, 2)));
/// for task in &mut tasks {
///     task.send_to::<Words>((), (1_u32, "hello"));
/// }
/// tasks[0].send("Ada", ());
/// tasks[1].send("Bob", ());
/// assert_eq!(tasks[0].take_outputs::<String>(), ["hello Ada"]);
/// assert_eq!(tasks[1].take_outputs::<String>(), ["hello Bob"]);
/// assert_eq!(tasks[0].broadcast::<u32, String>("words"), tasks[1].broadcast::<u32, String>("words"));
/// ```
pub struct Harness<O: Operator, I: Inputs<O> = ()> {
    descriptor: Descriptor,
    runner: Runner<O, I>,
    host: RefCell<TestHost>,
    setup: Setup,
    pending: Vec<Record>,
    /// Records that have been processed.
    done: u64,
    failures: Vec<Failed>,
}

struct Record {
    /// Number of the input.
    input: usize,
    key: Vec<u8>,
    value: Vec<u8>,
    time: i64,
}

impl<O: Operator, I: Inputs<O>> Default for Harness<O, I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O: Operator, I: Inputs<O>> Harness<O, I> {
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
    /// When the operator's `open` returns an error, or it can't go on with what is [restored](Setup::restore).
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
    /// The text of the error that the operator's `open` returned; or all reasons why it can't go on with what is [restored](Setup::restore).
    pub fn open(mut setup: Setup) -> Result<Self, String> {
        let descriptor = Descriptor::of::<O, I>("0.0.0");
        let tables = match setup.snapshot.take() {
            Some(snapshot) => snapshot.into_tables(&descriptor)?,
            None => descriptor.states.iter().cloned().map(Table::new).collect(),
        };
        let host = RefCell::new(TestHost::new(tables, descriptor.keying.clone(), setup.now.as_millis()));
        let task = setup.task_info(&descriptor.name);
        let runner = Runner::open(&setup.config.to_string(), task, &host).map_err(|error| error.to_string())?;
        Ok(Self { descriptor, runner, host, setup, pending: Vec::new(), done: 0, failures: Vec::new() })
    }

    /// Throws the instance away and opens another one, as the host does after a fault or in a swap; state stays.
    ///
    /// # Panics
    /// When the operator's `open` returns an error.
    pub fn reopen(&mut self) {
        self.run();
        self.host.get_mut().phase = Phase::Open;
        let task = self.setup.task_info(&self.descriptor.name);
        self.runner = Runner::open(&self.setup.config.to_string(), task, &self.host)
            .unwrap_or_else(|error| panic!("open failed: {error}"));
        self.host.get_mut().forget_slots();
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
        self.send_typed(0, &key, &value, None);
    }

    /// Sends a record with an event time.
    ///
    /// # Panics
    /// As [`Harness::send`].
    pub fn send_at<K: Encode, V: Encode>(&mut self, key: K, value: V, time: EventTime) {
        self.send_typed(0, &key, &value, Some(time));
    }

    /// Sends a record without event time to another input. An input without keys gets `()` for one.
    ///
    /// # Panics
    /// When key or value are not of the input's types, when the operator has no such input, or the batch fails.
    pub fn send_to<A: OtherInput<Operator = O>>(&mut self, key: impl Encode, value: impl Encode) {
        let input = self.input::<A>();
        self.send_typed(input, &key, &value, None);
    }

    /// Sends a record with an event time to another input.
    ///
    /// # Panics
    /// As [`Harness::send_to`].
    pub fn send_to_at<A: OtherInput<Operator = O>>(&mut self, key: impl Encode, value: impl Encode, time: EventTime) {
        let input = self.input::<A>();
        self.send_typed(input, &key, &value, Some(time));
    }

    fn input<A: OtherInput<Operator = O>>(&self) -> usize {
        let name = A::name();
        match self.descriptor.inputs.iter().skip(1).position(|input| input.name == name) {
            Some(index) => index + 1,
            None => panic!("the harness knows no input \"{name}\": name its type in Harness::<…, (…,)>"),
        }
    }

    fn send_typed<K: Encode, V: Encode>(&mut self, input: usize, key: &K, value: &V, time: Option<EventTime>) {
        let expected = &self.descriptor.inputs[input];
        let key_document = expected.key.clone().unwrap_or_else(<()>::document);
        assert_eq!(K::document(), key_document, "the type of the key is not the input's");
        assert_eq!(V::document(), expected.value, "the type of the value is not the input's");
        self.enqueue(input, encoded(key), encoded(value), time);
    }

    /// Sends a record as bytes, which may be wrong on purpose.
    ///
    /// # Panics
    /// When the batch fails.
    pub fn send_bytes(&mut self, key: &[u8], value: &[u8], time: Option<EventTime>) {
        self.enqueue(0, key.to_vec(), value.to_vec(), time);
    }

    fn enqueue(&mut self, input: usize, key: Vec<u8>, value: Vec<u8>, time: Option<EventTime>) {
        if self.pending.first().is_some_and(|first| first.input != input) {
            self.run();
        }
        self.pending.push(Record { input, key, value, time: time.map_or(NONE, EventTime::as_millis) });
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
            let count = self.host.get_mut().fitting(keys, self.setup.slots_max);
            let rest = records.split_off(count);
            self.run_batch(&records);
            records = rest;
        }
    }

    fn run_batch(&mut self, records: &[Record]) {
        let input = records.first().map_or(0, |record| record.input);
        let host = self.host.get_mut();
        host.now = self.setup.now.as_millis();
        let (slots, keys) = match self.descriptor.inputs[input].key.is_some() {
            true => host.slots(records.iter().map(|record| record.key.as_slice()), self.setup.slots_max),
            false => Default::default(),
        };
        let timed = records.iter().any(|record| record.time != NONE);
        let batch = Batch {
            input: input as u32,
            keys,
            slots,
            values: column(records.iter().map(|record| record.value.as_slice())),
            timestamps: if timed { records.iter().map(|record| record.time).collect() } else { Vec::new() },
            watermark: self.setup.watermark.map(EventTime::as_millis),
            now: host.now,
        };
        let phase = if self.descriptor.inputs[input].broadcast { Phase::Broadcast } else { Phase::Call };
        host.begin(phase, batch.slots.clone(), batch.timestamps.clone());
        match self.runner.process(&batch, &self.host) {
            Ok(failures) => self.failures.extend(
                failures
                    .into_iter()
                    .map(|one| Failed { index: self.done + u64::from(one.index), message: one.message }),
            ),
            Err(error) => panic!("the batch failed: {error}"),
        }
        self.host.get_mut().phase = Phase::Idle;
        self.done += records.len() as u64;
    }

    /// Sets processing time for what is sent from now on.
    pub fn set_now(&mut self, now: EventTime) {
        self.run();
        self.setup.now = now;
        self.host.get_mut().now = now.as_millis();
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
        self.host.get_mut().now = self.setup.now.as_millis();
        let keys = self.host.get_mut().keys_to_visit();
        let batch_keys = self.setup.batch_records.min(self.setup.slots_max);
        for (batch, keys) in keys.chunks(batch_keys).enumerate() {
            let host = self.host.get_mut();
            let (slots, told) = host.slots(keys.iter().map(Vec::as_slice), self.setup.slots_max);
            host.begin(Phase::Call, slots.clone(), Vec::new());
            match self.runner.on_end(&told, &slots, self.setup.now.as_millis(), &self.host) {
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
            self.host.get_mut().phase = Phase::Idle;
        }
    }

    /// Takes the results that have come since the last time, as bytes.
    pub fn take_emitted(&mut self) -> Vec<Emitted> {
        self.run();
        std::mem::take(&mut self.host.get_mut().emitted)
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
            Keying::Keep => self.descriptor.inputs[0].key.as_ref(),
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

    /// Takes the failures of records that have come since the last time.
    pub fn take_failures(&mut self) -> Vec<Failed> {
        self.run();
        std::mem::take(&mut self.failures)
    }

    /// Takes the log lines that have come since the last time.
    pub fn take_logs(&mut self) -> Vec<LogLine> {
        self.run();
        std::mem::take(&mut self.host.get_mut().logs)
    }

    /// What a counter of the operator says.
    pub fn counter(&mut self, name: &str) -> u64 {
        self.run();
        self.host.get_mut().counters.get(name).copied().unwrap_or(0)
    }

    /// What a gauge of the operator says, if it was set.
    pub fn gauge(&mut self, name: &str) -> Option<f64> {
        self.run();
        self.host.get_mut().gauges.get(name).copied()
    }

    /// How many calls of the host (state and outputs) there have been: they cost something in wasm.
    pub fn host_calls(&mut self) -> u64 {
        self.run();
        self.host.get_mut().calls
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
