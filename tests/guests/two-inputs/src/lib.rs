//! An operator with two inputs and operator state, without the SDK: numbers with keys, and rules that every task gets.
//!
//! It counts numbers by key in keyed state, and all numbers of its task in an operator list, which it reads when it is opened. Rules are numbers as well: each becomes an
//! entry of a broadcast map, beside an entry for the last one, and is shown with its predecessor by every task. When the input ends, each key is shown with its count and
//! with what all rules are together, and each task with how many numbers it had.
//!
//! By its configuration it traps on one number or one rule, after it has written all state of the batch (`poison-number`, `poison-rule`), or asks for what is refused
//! (`mode`).

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use exports::wasmill::operator::operator::{
    Descriptor, Guest, Hooks, InputDescriptor, Keying, OutputDescriptor, StateDescriptor, StateKind,
};
use std::cell::{Cell, RefCell};
use wasmill::operator::keyed_state::{self, ValueState};
use wasmill::operator::types::{
    Batch, BytesColumn, Error, EventTime, Failure, Keys, StoredColumn, TaskInfo, TimerBatch,
};
use wasmill::operator::{operator_state, output};

const NUMBERS: u32 = 0;
const RULES: u32 = 1;

const COUNT: u32 = 0;
const TOTAL: u32 = 1;
const ALL: u32 = 2;

/// Where the last rule is kept. The others have keys of 8 bytes.
const LAST: &[u8] = b"last";

/// So small that a few rules need several pages.
const PAGE_BYTES: u32 = 50;

thread_local! {
    static CONFIG: RefCell<String> = const { RefCell::new(String::new()) };
    static TASK: Cell<u32> = const { Cell::new(0) };
    /// How many numbers this task had: what the list held at the beginning, and what came since.
    static HAD: Cell<u64> = const { Cell::new(0) };
}

struct TwoInputs;

fn number(bytes: &[u8]) -> Result<u64, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::InvalidInput("not 8 bytes".to_owned()))?;
    Ok(u64::from_le_bytes(bytes))
}

fn column<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> BytesColumn {
    let mut column = BytesColumn { data: Vec::new(), ends: Vec::new() };
    for string in strings {
        column.data.extend_from_slice(string.as_ref());
        column.ends.push(column.data.len() as u32);
    }
    column
}

fn string<'c>(data: &'c [u8], ends: &[u32], index: usize) -> &'c [u8] {
    let start = if index == 0 { 0 } else { ends[index - 1] as usize };
    &data[start..ends[index] as usize]
}

fn values(batch: &Batch) -> Result<Vec<u64>, Error> {
    let values = &batch.values;
    (0..values.ends.len()).map(|index| number(string(&values.data, &values.ends, index))).collect()
}

fn emit(index: u32, document: &str) -> Result<(), Error> {
    output::emit(0, &[index], &column([document]), &[])
}

/// The number behind a word of the configuration.
fn setting(name: &str) -> Option<u64> {
    CONFIG.with_borrow(|config| {
        let (_, rest) = config.split_once(&format!("\"{name}\":"))?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

fn mode(name: &str) -> bool {
    CONFIG.with_borrow(|config| config.contains(&format!("\"{name}\"")))
}

fn put(entries: &[(&[u8], u64)]) -> Result<(), Error> {
    let values = column(entries.iter().map(|(_, value)| value.to_le_bytes()));
    let values = StoredColumn { data: values.data, ends: values.ends, versions: Vec::new() };
    operator_state::put_broadcast(ALL, &column(entries.iter().map(|(key, _)| key)), &values)
}

fn last_rule() -> Result<Option<u64>, Error> {
    let found = operator_state::get_broadcast(ALL, &column([LAST]))?;
    if found.versions.first() == Some(&0) { Ok(None) } else { number(&found.data).map(Some) }
}

fn process_rules(batch: &Batch) -> Result<(), Error> {
    if mode("keyed-state") {
        ValueState::new(COUNT).get(0)?;
    }
    if mode("slot-of") {
        keyed_state::slot_of(&[0; 8])?;
    }
    if !batch.slots.is_empty() || !batch.keys.fresh.is_empty() || !batch.keys.released.is_empty() {
        return Err(Error::Other("records without keys came with slots".to_owned()));
    }
    let rules = values(batch)?;
    for (index, rule) in rules.iter().enumerate() {
        let last = last_rule()?.map_or("null".to_owned(), |last| last.to_string());
        put(&[(&rule.to_be_bytes(), *rule), (LAST, *rule)])?;
        if last_rule()? != Some(*rule) {
            return Err(Error::Other("what was put is not there".to_owned()));
        }
        emit(index as u32, &format!(r#"{{"task":{},"rule":{rule},"after":{last}}}"#, TASK.get()))?;
    }
    assert!(!rules.iter().any(|rule| Some(*rule) == setting("poison-rule")), "a rule is poison");
    Ok(())
}

fn process_numbers(batch: &Batch) -> Result<(), Error> {
    if mode("put-for-numbers") {
        put(&[(LAST, 0)])?;
    }
    if mode("list-in-process") {
        operator_state::get_list(TOTAL)?;
    }
    let count = ValueState::new(COUNT);
    let numbers = values(batch)?;
    for slot in &batch.slots {
        let counted = count.get(*slot)?.map_or(Ok(0), |bytes| number(&bytes))? + 1;
        count.set(*slot, &counted.to_le_bytes())?;
    }
    HAD.set(HAD.get() + numbers.len() as u64);
    operator_state::set_list(TOTAL, &column([HAD.get().to_le_bytes()]))?;
    assert!(!numbers.iter().any(|number| Some(*number) == setting("poison-number")), "a number is poison");
    Ok(())
}

/// How many rules there are, and their sum.
fn all_rules() -> Result<(u64, u64), Error> {
    let (mut rules, mut sum, mut from) = (0, 0, None::<Vec<u8>>);
    let mut keys = Vec::new();
    loop {
        let page = operator_state::read_broadcast(ALL, from.as_deref(), PAGE_BYTES)?;
        for index in 0..page.map_keys.ends.len() {
            let key = string(&page.map_keys.data, &page.map_keys.ends, index);
            keys.push(key.to_vec());
            if key != LAST {
                rules += 1;
                sum += number(string(&page.values.data, &page.values.ends, index))?;
            }
        }
        match page.next {
            Some(next) => from = Some(next),
            None if keys.is_sorted() => return Ok((rules, sum)),
            None => return Err(Error::Other("the map is not in order".to_owned())),
        }
    }
}

impl Guest for TwoInputs {
    fn describe() -> Descriptor {
        let u64_document = || r#"{"encoding":"u64"}"#.to_owned();
        let state = |name: &str, kind, map_key| StateDescriptor {
            name: name.to_owned(),
            kind,
            version: 1,
            schema: u64_document(),
            map_key,
            migrates_from: Vec::new(),
            ttl: None,
            prefetch: false,
            on_end: kind == StateKind::Value,
        };
        let input = |name: &str, key, broadcast| InputDescriptor {
            name: name.to_owned(),
            key,
            value: u64_document(),
            broadcast,
        };
        Descriptor {
            name: "two-inputs".to_owned(),
            version: "0.0.1".to_owned(),
            inputs: vec![input("numbers", Some(u64_document()), false), input("rules", None, true)],
            outputs: vec![OutputDescriptor {
                name: "out".to_owned(),
                keying: Keying::Keep,
                value: r#"{"encoding":"json"}"#.to_owned(),
            }],
            states: vec![
                state("count", StateKind::Value, None),
                state("total", StateKind::OperatorList, None),
                state("rules", StateKind::Broadcast, Some(r#"{"encoding":"bytes"}"#.to_owned())),
            ],
            hooks: Hooks::empty(),
        }
    }

    fn open(config: String, task: TaskInfo) -> Result<(), Error> {
        CONFIG.set(config);
        TASK.set(task.task);
        if mode("set-in-open") {
            operator_state::set_list(TOTAL, &column([[0; 8]]))?;
        }
        let list = operator_state::get_list(TOTAL)?;
        // After a change of the parallelism, a task may have the lists of several.
        HAD.set((0..list.ends.len()).map(|index| number(string(&list.data, &list.ends, index))).sum::<Result<u64, _>>()?);
        // An instance that replaces another finds the rules as well.
        all_rules().map(|_| ())
    }

    fn process(batch: Batch) -> Result<Vec<Failure>, Error> {
        match batch.input {
            NUMBERS => process_numbers(&batch)?,
            RULES => process_rules(&batch)?,
            other => return Err(Error::InvalidInput(format!("there is no input {other}"))),
        }
        Ok(Vec::new())
    }

    fn on_timers(_: TimerBatch) -> Result<Vec<Failure>, Error> {
        Err(Error::Unsupported("timers".to_owned()))
    }

    fn on_watermark(_: EventTime) -> Result<(), Error> {
        Err(Error::Unsupported("on-watermark".to_owned()))
    }

    fn on_end(_: Keys, slots: Vec<u32>) -> Result<Vec<Failure>, Error> {
        let (rules, sum) = all_rules()?;
        for (index, slot) in slots.into_iter().enumerate() {
            let key = number(&keyed_state::key_of(slot)?)?;
            let counted = ValueState::new(COUNT).get(slot)?.map_or(Ok(0), |bytes| number(&bytes))?;
            emit(index as u32, &format!(r#"{{"key":{key},"count":{counted},"rules":{rules},"sum":{sum}}}"#))?;
        }
        emit(0, &format!(r#"{{"task":{},"had":{}}}"#, TASK.get(), HAD.get()))?;
        Ok(Vec::new())
    }

    fn snapshot() -> Result<(), Error> {
        Err(Error::Unsupported("snapshot".to_owned()))
    }

    fn migrate(_: u32, _: u16, _: BytesColumn) -> Result<BytesColumn, Error> {
        Err(Error::Unsupported("migrate".to_owned()))
    }

    fn close() -> Result<(), Error> {
        // Broadcast state may still be read.
        all_rules().map(|_| ())
    }
}

export!(TwoInputs);
