//! Results: what becomes of the key is said by the type that is emitted, and the columns in which results wait for the next flush.

use crate::Result;
use crate::bytes::end;
use crate::codec::Encode;
use crate::host::Host;
use crate::time::NONE;
use crate::wire::{BytesColumn, Error as Fault};

/// A result with a new key: what follows is partitioned by that key.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// # struct SplitWords;
/// # impl Operator for SplitWords {
/// #     type Key<'a> = ();
/// #     type Input<'a> = &'a str;
/// type Output<'a> = Keyed<&'a str, ()>;
/// #     fn declare(_: &mut Declaration) -> Self { Self }
/// #     fn process(&mut self, line: &str, ctx: &mut Context<Self>) -> Result<()> {
/// ctx.emit(Keyed(line, ()))
/// #     }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed<K, V>(
    /// The key.
    pub K,
    /// The value.
    pub V,
);

/// A result without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unkeyed<V>(
    /// The value.
    pub V,
);

/// What becomes of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keying {
    /// It is the input record's.
    Keep,
    /// Each result has a new one of this schema.
    Set(String),
    /// Results have none.
    Drop,
}

/// What an operator may emit: a value alone, which keeps the key of the input record; [`Keyed`]; [`Unkeyed`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be emitted",
    note = "emit a value that implements `Encode` (derive `Serialize` and `Schema`), `Keyed(key, value)` or `Unkeyed(value)`"
)]
pub trait Output {
    /// Which of the three it is.
    #[doc(hidden)]
    const KIND: Kind;

    /// For the descriptor: keying and schema of the value.
    #[doc(hidden)]
    fn describe() -> (Keying, String);

    /// Writes key and value, not their ends.
    #[doc(hidden)]
    fn write(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<()>;
}

/// [`Keying`] without the schema.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Keep,
    Set,
    Drop,
}

impl<T: Encode> Output for T {
    const KIND: Kind = Kind::Keep;

    fn describe() -> (Keying, String) {
        (Keying::Keep, T::document())
    }

    #[inline(always)]
    fn write(&self, _: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<()> {
        self.encode(values)
    }
}

impl<K: Encode, V: Encode> Output for Keyed<K, V> {
    const KIND: Kind = Kind::Set;

    fn describe() -> (Keying, String) {
        (Keying::Set(K::document()), V::document())
    }

    #[inline(always)]
    fn write(&self, keys: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<()> {
        self.0.encode(keys)?;
        self.1.encode(values)
    }
}

impl<V: Encode> Output for Unkeyed<V> {
    const KIND: Kind = Kind::Drop;

    fn describe() -> (Keying, String) {
        (Keying::Drop, V::document())
    }

    #[inline(always)]
    fn write(&self, _: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<()> {
        self.0.encode(values)
    }
}

/// Results that have not been handed over yet.
pub(crate) struct Outputs {
    keys: BytesColumn,
    values: BytesColumn,
    src: Vec<u32>,
    timestamps: Vec<i64>,
    /// Each result has an entry in `timestamps`; otherwise they are the input records'.
    timed: bool,
    /// For results without a key: `src` is needed for the event times.
    inherits: bool,
    records_max: usize,
    bytes_max: usize,
}

/// How much was there before a record, for undoing it.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    records: usize,
    keys: usize,
    values: usize,
}

impl Outputs {
    /// Bytes that a column has room for from the start.
    const ROOM: usize = 64 << 10;

    pub(crate) fn new(records_max: u32, bytes_max: u32) -> Self {
        let (records_max, bytes_max) = (records_max.max(1) as usize, bytes_max.max(1) as usize);
        let (records, bytes) = (records_max.min(4096) + 64, bytes_max.min(Self::ROOM) + 256);
        let column = || BytesColumn { data: Vec::with_capacity(bytes), ends: Vec::with_capacity(records) };
        Self {
            keys: column(),
            values: column(),
            src: Vec::with_capacity(records),
            timestamps: Vec::new(),
            timed: false,
            inherits: false,
            records_max,
            bytes_max,
        }
    }

    /// A call begins whose records have event times, or have none.
    pub(crate) fn begin(&mut self, kind: Kind, has_times: bool) {
        self.inherits = has_times;
        self.timed = has_times && kind == Kind::Set;
    }

    #[inline(always)]
    pub(crate) fn mark(&self) -> Mark {
        Mark { records: self.values.ends.len(), keys: self.keys.data.len(), values: self.values.data.len() }
    }

    /// Forgets what came after `mark`.
    pub(crate) fn truncate(&mut self, mark: Mark) {
        self.keys.data.truncate(mark.keys);
        self.keys.ends.truncate(mark.records);
        self.values.data.truncate(mark.values);
        self.values.ends.truncate(mark.records);
        self.src.truncate(mark.records);
        self.timestamps.truncate(mark.records);
    }

    /// Adds a result of record `index`, whose event time is `time`.
    #[inline(always)]
    pub(crate) fn push<T: Output>(&mut self, output: &T, index: u32, time: impl FnOnce() -> i64) -> Result<()> {
        let mark = self.mark();
        if let Err(error) = output.write(&mut self.keys.data, &mut self.values.data) {
            self.truncate(mark);
            return Err(error);
        }
        self.values.ends.push(end(&self.values.data));
        if T::KIND == Kind::Set {
            self.keys.ends.push(end(&self.keys.data));
        }
        if T::KIND == Kind::Keep || (T::KIND == Kind::Drop && self.inherits) {
            self.src.push(index);
        }
        if self.timed {
            self.timestamps.push(time());
        }
        Ok(())
    }

    /// From now on each result has a time of its own; those before get the time of their records.
    pub(crate) fn make_timed(&mut self, times: &[i64]) {
        if !self.timed {
            self.timed = true;
            self.timestamps.extend(self.src.iter().map(|&index| times.get(index as usize).copied().unwrap_or(NONE)));
            self.timestamps.resize(self.values.ends.len(), NONE);
        }
    }

    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.values.ends.len() >= self.records_max || self.keys.data.len() + self.values.data.len() >= self.bytes_max
    }

    /// Hands everything over.
    pub(crate) fn flush(&mut self, kind: Kind, host: &mut dyn Host) -> Result<(), Fault> {
        if self.values.ends.is_empty() {
            return Ok(());
        }
        match kind {
            Kind::Keep | Kind::Drop => host.emit(0, &self.src, &self.values, &self.timestamps)?,
            Kind::Set => host.emit_keyed(0, &self.keys, &self.values, &self.timestamps)?,
        }
        self.truncate(Mark { records: 0, keys: 0, values: 0 });
        // Results that had times of their own are gone; those to come inherit again unless they have a key.
        self.timed = self.inherits && kind == Kind::Set;
        Ok(())
    }
}
