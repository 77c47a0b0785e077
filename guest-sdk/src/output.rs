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

    /// The value has no bytes.
    #[doc(hidden)]
    const EMPTY: bool;

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
    const EMPTY: bool = T::EMPTY;

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
    const EMPTY: bool = V::EMPTY;

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
    const EMPTY: bool = V::EMPTY;

    fn describe() -> (Keying, String) {
        (Keying::Drop, V::document())
    }

    #[inline(always)]
    fn write(&self, _: &mut Vec<u8>, values: &mut Vec<u8>) -> Result<()> {
        self.0.encode(values)
    }
}

/// Results that have not been handed over yet.
///
/// The first `room` entries of the ends of both columns and of `src` are initialised, whatever the vectors' lengths are; those are set when the vectors are handed over.
/// Until then `records` counts for all, so that a result costs one check for room and not three. Ends of values without bytes are never written and stay zero.
pub(crate) struct Outputs {
    keys: BytesColumn,
    values: BytesColumn,
    src: Vec<u32>,
    timestamps: Vec<i64>,
    records: usize,
    room: usize,
    kind: Kind,
    /// Each result has an entry in `timestamps`; otherwise they are the input records'.
    timed: bool,
    /// For results without a key: `src` is needed for the event times.
    inherits: bool,
    records_max: usize,
    bytes_max: usize,
}

impl Outputs {
    /// Bytes that a column has room for from the start.
    const ROOM: usize = 64 << 10;

    pub(crate) fn new(kind: Kind, records_max: u32, bytes_max: u32) -> Self {
        let (records_max, bytes_max) = (records_max.max(1) as usize, bytes_max.max(1) as usize);
        let (room, bytes) = (records_max.min(4096) + 64, bytes_max.min(Self::ROOM) + 256);
        let column = || BytesColumn { data: Vec::with_capacity(bytes), ends: vec![0; room] };
        Self {
            keys: column(),
            values: column(),
            src: vec![0; room],
            timestamps: Vec::new(),
            records: 0,
            room,
            kind,
            timed: false,
            inherits: false,
            records_max,
            bytes_max,
        }
    }

    /// A call begins whose records have event times, or have none.
    pub(crate) fn begin(&mut self, has_times: bool) {
        self.inherits = has_times;
        self.timed = has_times && self.kind == Kind::Set;
    }

    /// How many results wait.
    #[inline(always)]
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Forgets all results but the first `records`, and what was written of one that is not complete.
    #[inline(never)]
    pub(crate) fn truncate(&mut self, records: usize) {
        self.records = records;
        self.set_lengths();
        for column in [&mut self.keys, &mut self.values] {
            column.data.truncate(column.ends.last().map_or(0, |end| *end as usize));
        }
        self.timestamps.truncate(records);
    }

    /// Adds a result of record `index`, whose event time is `time`.
    #[inline(always)]
    pub(crate) fn push<T: Output>(&mut self, output: &T, index: u32, time: impl FnOnce() -> i64) -> Result<()> {
        if let Err(error) = output.write(&mut self.keys.data, &mut self.values.data) {
            self.truncate(self.records);
            return Err(error);
        }
        let at = self.records;
        if at == self.room {
            self.grow();
        }
        // SAFETY: `at` is below `room`, and the vectors have so much capacity.
        unsafe {
            if !T::EMPTY {
                self.values.ends.as_mut_ptr().add(at).write(end(&self.values.data));
            }
            if T::KIND == Kind::Set {
                self.keys.ends.as_mut_ptr().add(at).write(end(&self.keys.data));
            } else {
                self.src.as_mut_ptr().add(at).write(index);
            }
        }
        self.records = at + 1;
        if self.timed {
            self.timestamps.push(time());
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let room = self.room * 2;
        for vec in [&mut self.keys.ends, &mut self.values.ends, &mut self.src] {
            // SAFETY: so many entries are initialised.
            unsafe { vec.set_len(self.room) };
            vec.resize(room, 0);
        }
        self.room = room;
    }

    /// Sets the lengths of the vectors to what they hold.
    fn set_lengths(&mut self) {
        let with_key = if self.kind == Kind::Set { self.records } else { 0 };
        let with_source =
            if self.kind == Kind::Keep || (self.kind == Kind::Drop && self.inherits) { self.records } else { 0 };
        assert!(self.records <= self.room, "there is room for all results");
        // SAFETY: `room` entries are initialised.
        unsafe {
            self.values.ends.set_len(self.records);
            self.keys.ends.set_len(with_key);
            self.src.set_len(with_source);
        }
    }

    /// From now on each result has a time of its own; those before get the time of their records.
    pub(crate) fn make_timed(&mut self, times: &[i64]) {
        if !self.timed {
            self.timed = true;
            self.set_lengths();
            self.timestamps.extend(self.src.iter().map(|&index| times.get(index as usize).copied().unwrap_or(NONE)));
            self.timestamps.resize(self.records, NONE);
        }
    }

    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.records >= self.records_max || self.keys.data.len() + self.values.data.len() >= self.bytes_max
    }

    /// Hands everything over.
    pub(crate) fn flush(&mut self, host: &dyn Host) -> Result<(), Fault> {
        if self.records == 0 {
            return Ok(());
        }
        self.set_lengths();
        match self.kind {
            Kind::Keep | Kind::Drop => host.emit(0, &self.src, &self.values, &self.timestamps)?,
            Kind::Set => host.emit_keyed(0, &self.keys, &self.values, &self.timestamps)?,
        }
        self.truncate(0);
        // Results that had times of their own are gone; those to come inherit again unless they have a key.
        self.timed = self.inherits && self.kind == Kind::Set;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_outgrow_their_room_and_are_forgotten_again() {
        let mut outputs = Outputs::new(Kind::Keep, 1, 1);
        outputs.begin(true);
        (0..500).for_each(|index| outputs.push(&u64::from(index), index, || 0).expect("plain data"));
        outputs.truncate(300);
        outputs.push(&7_u64, 9, || 0).expect("plain data");
        outputs.set_lengths();
        assert_eq!(outputs.values.ends, (1..=301).map(|count| count * 8).collect::<Vec<u32>>());
        assert_eq!((outputs.src.len(), outputs.src[299], outputs.src[300]), (301, 299, 9));
        assert_eq!((outputs.values.data.len(), &outputs.values.data[2400..]), (2408, &7_u64.to_le_bytes()[..]));
        assert!(outputs.keys.ends.is_empty() && outputs.timestamps.is_empty());
    }

    #[test]
    fn keys_without_values_have_ends_for_both() {
        let mut outputs = Outputs::new(Kind::Set, 1, 1);
        outputs.begin(true);
        (0..200).for_each(|index| outputs.push(&Keyed("key", ()), index, || 5).expect("plain data"));
        outputs.truncate(150);
        outputs.set_lengths();
        assert_eq!(outputs.keys.ends, (1..=150).map(|count| count * 3).collect::<Vec<u32>>());
        assert_eq!((outputs.keys.data.len(), outputs.values.ends, outputs.values.data), (450, vec![0; 150], vec![]));
        assert_eq!((outputs.timestamps, outputs.src), (vec![5; 150], vec![]));
    }
}
