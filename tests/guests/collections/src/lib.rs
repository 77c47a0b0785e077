//! An operator without the SDK whose keys have a list, a map and values in namespaces, written in bulk and never read: for looking at what is kept of it.
//!
//! For each number of a key: it is appended to the list `seen`; the map `by-kind` has it at `("even" or "odd", last digit - 5)`; and `tens` has it in the namespace of its tens, two
//! bytes. All numbers of the task are in the operator list `all`, which nobody reads either.

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use exports::wasmill::operator::operator::{
    Descriptor, Guest, Hooks, InputDescriptor, Keying, OutputDescriptor, StateDescriptor, StateKind,
};
use std::cell::RefCell;
use wasmill::operator::types::{
    Batch, BytesColumn, Cells, Error, EventTime, Failure, Keys, StoredColumn, TaskInfo, TimerBatch,
};
use wasmill::operator::{keyed_state, operator_state};

const SEEN: u32 = 0;
const BY_KIND: u32 = 1;
const TENS: u32 = 2;
const ALL: u32 = 3;

thread_local! {
    static HAD: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Collections;

fn column<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> BytesColumn {
    let mut column = BytesColumn { data: Vec::new(), ends: Vec::new() };
    for string in strings {
        column.data.extend_from_slice(string.as_ref());
        column.ends.push(column.data.len() as u32);
    }
    column
}

fn numbers(values: &BytesColumn) -> Result<Vec<u64>, Error> {
    let (words, rest) = values.data.as_chunks::<8>();
    if !rest.is_empty() || words.len() != values.ends.len() {
        return Err(Error::InvalidInput("not 8 bytes each".to_owned()));
    }
    Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

/// The order-preserving encoding of `(kind, digit - 5)`.
fn map_key(number: u64) -> Vec<u8> {
    let kind = if number % 2 == 0 { "even" } else { "odd" };
    let digit = (number % 10) as i16 - 5;
    [kind.as_bytes(), &[0, 1], &(digit ^ i16::MIN).to_be_bytes()].concat()
}

impl Guest for Collections {
    fn describe() -> Descriptor {
        let u64_document = || r#"{"encoding":"u64"}"#.to_owned();
        let state = |name: &str, kind, map_key: Option<&str>| StateDescriptor {
            name: name.to_owned(),
            kind,
            version: 1,
            schema: u64_document(),
            map_key: map_key.map(str::to_owned),
            migrates_from: Vec::new(),
            ttl: None,
            prefetch: false,
            on_end: false,
        };
        let pair = r#"{"encoding":"postcard","type":{"tuple":["string","i16"]}}"#;
        Descriptor {
            name: "collections".to_owned(),
            version: "0.0.1".to_owned(),
            inputs: vec![InputDescriptor {
                name: "in".to_owned(),
                key: Some(u64_document()),
                value: u64_document(),
                broadcast: false,
            }],
            outputs: vec![OutputDescriptor { name: "out".to_owned(), keying: Keying::Drop, value: u64_document() }],
            states: vec![
                state("seen", StateKind::KeyedList, None),
                state("by-kind", StateKind::KeyedMap, Some(pair)),
                state("tens", StateKind::Value, None),
                state("all", StateKind::OperatorList, None),
            ],
            hooks: Hooks::empty(),
        }
    }

    fn open(_: String, _: TaskInfo) -> Result<(), Error> {
        Ok(())
    }

    fn process(batch: Batch) -> Result<Vec<Failure>, Error> {
        let numbers = numbers(&batch.values)?;
        let none = || BytesColumn { data: Vec::new(), ends: Vec::new() };
        let cells = |namespaces, map_keys| Cells { slots: batch.slots.clone(), namespaces, map_keys };
        let values = || column(numbers.iter().map(|number| number.to_le_bytes()));
        let stored = || {
            let BytesColumn { data, ends } = values();
            StoredColumn { data, ends, versions: Vec::new() }
        };
        keyed_state::append_many(SEEN, &cells(none(), none()), &values())?;
        let map_keys = column(numbers.iter().map(|number| map_key(*number)));
        keyed_state::put_many(BY_KIND, &cells(none(), map_keys), &stored())?;
        let tens = column(numbers.iter().map(|number| ((number / 10) as u16).to_be_bytes()));
        keyed_state::put_many(TENS, &cells(tens, none()), &stored())?;
        HAD.with_borrow_mut(|had| {
            had.extend(&numbers);
            operator_state::set_list(ALL, &column(had.iter().map(|number| number.to_le_bytes())))
        })?;
        Ok(Vec::new())
    }

    fn on_timers(_: TimerBatch) -> Result<Vec<Failure>, Error> {
        Err(Error::Unsupported("timers".to_owned()))
    }

    fn on_watermark(_: EventTime) -> Result<(), Error> {
        Err(Error::Unsupported("on-watermark".to_owned()))
    }

    fn on_end(_: Keys, _: Vec<u32>) -> Result<Vec<Failure>, Error> {
        Ok(Vec::new())
    }

    fn snapshot() -> Result<(), Error> {
        Err(Error::Unsupported("snapshot".to_owned()))
    }

    fn migrate(_: u32, _: u16, _: BytesColumn) -> Result<BytesColumn, Error> {
        Err(Error::Unsupported("migrate".to_owned()))
    }

    fn close() -> Result<(), Error> {
        Ok(())
    }
}

export!(Collections);
