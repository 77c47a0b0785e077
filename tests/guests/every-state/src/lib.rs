//! An operator without the SDK that has every kind of state, and keeps its lists to itself until it is asked for a snapshot: for checkpoints.
//!
//! Input `numbers` has keys; input `rules` goes to every task, and each of its numbers becomes an entry of the broadcast map `rules`. Of the numbers of a key, in their order:
//! - `sum` is their sum since the last one that 11 divides, which clears it;
//! - `folded` is the sum of all, and `gathered` their number and the highest one;
//! - `seen` is a list of those since the last one that 13 divides, which clears it;
//! - `by-digit` is a map from the last digit to the last such number, from which a number that 7 divides removes its digit.
//!
//! Each number is shown when it comes; each key with all its state when the input ends. Operator state is written in `snapshot` only: `marked`, a list of the numbers of this task that
//! 50 divides, and `parts`, a union list with one element per task, of how many numbers it had. At the end they are shown too: what a task was given of `parts` belongs to task 0.
//!
//! By its configuration it fails in `snapshot` once it has had so many numbers (`trap-after`, `error-after`, `emit-after`, `state-after`).

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use exports::wasmill::operator::operator::{
    Descriptor, Guest, Hooks, InputDescriptor, Keying, OutputDescriptor, StateDescriptor, StateKind,
};
use std::cell::{Cell, RefCell};
use wasmill::operator::keyed_state::{self, AggregatingState, ListState, MapState, ReducingState, ValueState};
use wasmill::operator::types::{
    Batch, BytesColumn, Error, EventTime, Failure, Keys, StoredColumn, TaskInfo, TimerBatch,
};
use wasmill::operator::{operator_state, output};

const NUMBERS: u32 = 0;
const RULES_INPUT: u32 = 1;

const SUM: u32 = 0;
const FOLDED: u32 = 1;
const GATHERED: u32 = 2;
const SEEN: u32 = 3;
const BY_DIGIT: u32 = 4;
const MARKED: u32 = 5;
const PARTS: u32 = 6;
const RULES: u32 = 7;

const PAGE_BYTES: u32 = 200;

thread_local! {
    static CONFIG: RefCell<String> = const { RefCell::new(String::new()) };
    /// The elements of `marked`.
    static OWN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    /// The element of `parts`.
    static HAD: Cell<u64> = const { Cell::new(0) };
    static HAS_SHOWN: Cell<bool> = const { Cell::new(false) };
}

struct EveryState;

fn number(bytes: &[u8]) -> Result<u64, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::InvalidInput("not 8 bytes".to_owned()))?;
    Ok(u64::from_le_bytes(bytes))
}

fn numbers<B: AsRef<[u8]>>(values: impl IntoIterator<Item = B>) -> Result<Vec<u64>, Error> {
    values.into_iter().map(|value| number(value.as_ref())).collect()
}

fn column<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> BytesColumn {
    let mut column = BytesColumn { data: Vec::new(), ends: Vec::new() };
    for string in strings {
        column.data.extend_from_slice(string.as_ref());
        column.ends.push(column.data.len() as u32);
    }
    column
}

fn of_numbers(numbers: &[u64]) -> BytesColumn {
    column(numbers.iter().map(|number| number.to_le_bytes()))
}

fn strings(data: &[u8], ends: &[u32]) -> Vec<Vec<u8>> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| data[start as usize..*end as usize].to_vec()).collect()
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

fn process_number(slot: u32, number: u64) -> Result<(), Error> {
    let of = |bytes: Option<Vec<u8>>| bytes.map_or(Ok(0), |bytes| self::number(&bytes));
    let sum = ValueState::new(SUM);
    if number % 11 == 0 {
        sum.clear(slot)?;
    } else {
        sum.set(slot, &(of(sum.get(slot)?)? + number).to_le_bytes())?;
    }
    let folded = ReducingState::new(FOLDED);
    folded.set(slot, &(of(folded.get(slot)?)? + number).to_le_bytes())?;
    let gathered = AggregatingState::new(GATHERED);
    let before = gathered.get(slot)?.unwrap_or_else(|| vec![0; 16]);
    let (count, highest) = (self::number(&before[..8])?, self::number(&before[8..])?);
    gathered.set(slot, &[(count + 1).to_le_bytes(), highest.max(number).to_le_bytes()].concat())?;
    let seen = ListState::new(SEEN);
    if number % 13 == 0 {
        seen.clear(slot)?;
    }
    seen.add(slot, &number.to_le_bytes())?;
    let by_digit = MapState::new(BY_DIGIT);
    let digit = [(number % 10) as u8];
    if number % 7 == 0 { by_digit.remove(slot, &digit) } else { by_digit.set(slot, &digit, &number.to_le_bytes()) }
}

fn show_key(index: u32, slot: u32) -> Result<(), Error> {
    let key = number(&keyed_state::key_of(slot)?)?;
    let shown = |bytes: Option<Vec<u8>>| -> Result<String, Error> {
        bytes.map_or(Ok("null".to_owned()), |bytes| Ok(number(&bytes)?.to_string()))
    };
    let sum = shown(ValueState::new(SUM).get(slot)?)?;
    let folded = shown(ReducingState::new(FOLDED).get(slot)?)?;
    let gathered = AggregatingState::new(GATHERED).get(slot)?.unwrap_or_default();
    let gathered = numbers(gathered.chunks(8))?;
    let seen = numbers(ListState::new(SEEN).get(slot)?)?;
    let mut digits = Vec::new();
    for (digit, value) in MapState::new(BY_DIGIT).entries(slot)? {
        digits.push((digit[0], number(&value)?));
    }
    let (rules, rule_sum) = all_rules()?;
    emit(
        index,
        &format!(
            r#"{{"key":{key},"sum":{sum},"folded":{folded},"gathered":{gathered:?},"seen":{seen:?},"digits":"{digits:?}","rules":[{rules},{rule_sum}]}}"#
        ),
    )
}

fn show_task() -> Result<(), Error> {
    if HAS_SHOWN.replace(true) {
        return Ok(());
    }
    OWN.with_borrow(|own| own.iter().try_for_each(|number| emit(0, &format!(r#"{{"marked":{number}}}"#))))?;
    emit(0, &format!(r#"{{"part":{}}}"#, HAD.get()))
}

/// How many rules there are, and their sum.
fn all_rules() -> Result<(usize, u64), Error> {
    let (mut rules, mut from) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let page = operator_state::read_broadcast(RULES, from.as_deref(), PAGE_BYTES)?;
        rules.extend(numbers(strings(&page.values.data, &page.values.ends))?);
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok((rules.len(), rules.iter().sum())),
        }
    }
}

impl Guest for EveryState {
    fn describe() -> Descriptor {
        let u64_document = || r#"{"encoding":"u64"}"#.to_owned();
        let state = |name: &str, kind, schema: &str, map_key: Option<&str>| StateDescriptor {
            name: name.to_owned(),
            kind,
            version: 1,
            schema: schema.to_owned(),
            map_key: map_key.map(str::to_owned),
            migrates_from: Vec::new(),
            ttl: None,
            prefetch: false,
            on_end: kind == StateKind::Reducing,
        };
        let (u64, bytes) = (r#"{"encoding":"u64"}"#, r#"{"encoding":"bytes"}"#);
        let input = |name: &str, key, broadcast| InputDescriptor {
            name: name.to_owned(),
            key,
            value: u64_document(),
            broadcast,
        };
        Descriptor {
            name: "every-state".to_owned(),
            version: "0.0.1".to_owned(),
            inputs: vec![input("numbers", Some(u64_document()), false), input("rules", None, true)],
            outputs: vec![OutputDescriptor {
                name: "out".to_owned(),
                keying: Keying::Keep,
                value: r#"{"encoding":"json"}"#.to_owned(),
            }],
            states: vec![
                state("sum", StateKind::Value, u64, None),
                state("folded", StateKind::Reducing, u64, None),
                state("gathered", StateKind::Aggregating, r#"{"encoding":"opaque"}"#, None),
                state("seen", StateKind::KeyedList, u64, None),
                state("by-digit", StateKind::KeyedMap, u64, Some(bytes)),
                state("marked", StateKind::OperatorList, u64, None),
                state("parts", StateKind::OperatorUnion, u64, None),
                state("rules", StateKind::Broadcast, u64, Some(bytes)),
            ],
            hooks: Hooks::SNAPSHOT,
        }
    }

    fn open(config: String, task: TaskInfo) -> Result<(), Error> {
        CONFIG.set(config);
        let list = |state| {
            let list = operator_state::get_list(state)?;
            numbers(strings(&list.data, &list.ends))
        };
        OWN.set(list(MARKED)?);
        let parts = list(PARTS)?;
        HAD.set(if task.task == 0 { parts.iter().sum() } else { 0 });
        Ok(())
    }

    fn process(batch: Batch) -> Result<Vec<Failure>, Error> {
        let values = numbers(strings(&batch.values.data, &batch.values.ends))?;
        match batch.input {
            NUMBERS => {
                for (index, number) in values.iter().enumerate() {
                    process_number(batch.slots[index], *number)?;
                    emit(index as u32, &format!(r#"{{"number":{number}}}"#))?;
                }
                HAD.set(HAD.get() + values.len() as u64);
                OWN.with_borrow_mut(|own| own.extend(values.iter().filter(|number| *number % 50 == 0)));
            }
            RULES_INPUT => {
                let keys = column(values.iter().map(|rule| rule.to_be_bytes()));
                let BytesColumn { data, ends } = of_numbers(&values);
                operator_state::put_broadcast(RULES, &keys, &StoredColumn { data, ends, versions: Vec::new() })?;
            }
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
        show_task()?;
        for (index, slot) in slots.into_iter().enumerate() {
            show_key(index as u32, slot)?;
        }
        Ok(Vec::new())
    }

    fn snapshot() -> Result<(), Error> {
        let is_due = |name: &str| setting(name).is_some_and(|after| HAD.get() >= after);
        if is_due("error-after") {
            return Err(Error::Other("no snapshot today".to_owned()));
        }
        assert!(!is_due("trap-after"), "a snapshot is too much");
        if is_due("emit-after") {
            emit(0, "{}")?;
        }
        if is_due("state-after") {
            ValueState::new(SUM).get(0)?;
        }
        OWN.with_borrow(|own| operator_state::set_list(MARKED, &of_numbers(own)))?;
        operator_state::set_list(PARTS, &of_numbers(&[HAD.get()]))
    }

    fn migrate(_: u32, _: u16, _: BytesColumn) -> Result<BytesColumn, Error> {
        Err(Error::Unsupported("migrate".to_owned()))
    }

    fn close() -> Result<(), Error> {
        Ok(())
    }
}

export!(EveryState);
