//! An operator without the SDK, straight on the WIT: the proof that the package is enough for the bindings of another language.
//!
//! It counts records by key, one plain `get` and `set` for each record. For a record of key `k` it also counts up the key `k + 1000`, which no record has, where
//! that key belongs to this task: `mirror`, which is shown when the input ends. With the word `wrong-kind`, `wrong-state`, `cells` or `unknown-slot` in its
//! configuration it asks for something that the host has to refuse, with `look-around` it tries to get out of its sandbox, and with `print`, `random` and `exit` it does
//! what a program may do by WASI.

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use exports::wasmill::operator::operator::{
    Descriptor, Guest, Hooks, InputDescriptor, Keying, OutputDescriptor, StateDescriptor, StateKind,
};
use std::cell::RefCell;
use wasmill::operator::keyed_state::{self, ReducingState, ValueState};
use wasmill::operator::types::{Batch, BytesColumn, Cells, Error, EventTime, Failure, Keys, TaskInfo, TimerBatch};
use wasmill::operator::{output, runtime_context};

const COUNT: u32 = 0;
const MIRROR: u32 = 1;
const SUM: u32 = 2;

/// How far the key that no record has is from the one of the record.
const MIRRORED: u64 = 1000;

thread_local! {
    static CONFIG: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Raw;

fn number(bytes: &[u8]) -> Result<u64, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::InvalidInput("not 8 bytes".to_owned()))?;
    Ok(u64::from_le_bytes(bytes))
}

fn no_cells() -> BytesColumn {
    BytesColumn { data: Vec::new(), ends: Vec::new() }
}

fn cells(slots: Vec<u32>) -> Cells {
    Cells { slots, namespaces: no_cells(), map_keys: no_cells() }
}

/// Everything that a sandbox with nothing granted must not have.
fn look_around(now: EventTime) -> Result<(), Error> {
    let mut found = Vec::new();
    found.extend(std::env::vars().map(|(name, _)| format!("the variable {name}")));
    found.extend(std::env::args().map(|argument| format!("the argument {argument}")));
    for path in ["/", ".", "/etc/passwd", "/proc/self/environ", "Cargo.toml"] {
        let readable = std::fs::File::open(path).is_ok() || std::fs::read_dir(path).is_ok();
        found.extend(readable.then(|| format!("the path {path}")));
    }
    found.extend(std::fs::write("wasmill-raw-guest", "out").is_ok().then(|| "a place to write to".to_owned()));
    found.extend(std::net::TcpStream::connect("127.0.0.1:22").is_ok().then(|| "a connection".to_owned()));
    found.extend(std::net::TcpListener::bind("127.0.0.1:0").is_ok().then(|| "a port".to_owned()));
    found.extend(std::io::stdin().lines().next().map(|_| "standard input".to_owned()));
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(-1, |since| since.as_millis() as EventTime);
    if clock != now || runtime_context::now() != now {
        found.push(format!("a clock that shows {clock} when it is {now}"));
    }
    if found.is_empty() { Ok(()) } else { Err(Error::Other(format!("found {}", found.join(", ")))) }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Emits one document that keeps the key of record `index`.
fn emit(index: u32, document: &str) -> Result<(), Error> {
    let values = BytesColumn { data: document.as_bytes().to_vec(), ends: vec![document.len() as u32] };
    output::emit(0, &[index], &values, &[])
}

fn string(column: &BytesColumn, index: usize) -> &[u8] {
    let start = if index == 0 { 0 } else { column.ends[index - 1] as usize };
    &column.data[start..column.ends[index] as usize]
}

fn ask_for_what_is_wrong(config: &str, slot: u32) -> Result<(), Error> {
    if config.contains("wrong-kind") {
        ReducingState::new(COUNT).get(slot)?;
    }
    if config.contains("wrong-state") {
        ValueState::new(9).get(slot)?;
    }
    if config.contains("unknown-slot") {
        ValueState::new(COUNT).get(9_999_999)?;
    }
    if config.contains("cells") {
        let map_keys = BytesColumn { data: vec![1], ends: vec![1] };
        keyed_state::get_many(COUNT, &Cells { map_keys, ..cells(vec![slot]) })?;
    }
    Ok(())
}

impl Guest for Raw {
    fn describe() -> Descriptor {
        let u64_document = || r#"{"encoding":"u64"}"#.to_owned();
        let state = |name: &str, kind, on_end| StateDescriptor {
            name: name.to_owned(),
            kind,
            version: 1,
            schema: u64_document(),
            map_key: None,
            migrates_from: Vec::new(),
            ttl: None,
            prefetch: false,
            on_end,
        };
        Descriptor {
            name: "raw".to_owned(),
            version: "0.0.7".to_owned(),
            inputs: vec![InputDescriptor { name: "in".to_owned(), key: Some(u64_document()), value: u64_document(), broadcast: false }],
            outputs: vec![OutputDescriptor {
                name: "out".to_owned(),
                keying: Keying::Keep,
                value: r#"{"encoding":"json"}"#.to_owned(),
            }],
            states: vec![
                state("count", StateKind::Value, false),
                state("mirror", StateKind::Value, true),
                state("sum", StateKind::Reducing, false),
            ],
            hooks: Hooks::empty(),
        }
    }

    fn open(config: String, task: TaskInfo) -> Result<(), Error> {
        if config.contains("state-in-open") {
            ValueState::new(COUNT).get(0)?;
        }
        let same = runtime_context::task();
        if (same.task, &same.operator) != (task.task, &task.operator) {
            return Err(Error::Other("runtime-context tells of another task than open".to_owned()));
        }
        CONFIG.set(config);
        Ok(())
    }

    fn process(batch: Batch) -> Result<Vec<Failure>, Error> {
        let (count, mirror, sum) = (ValueState::new(COUNT), ValueState::new(MIRROR), ReducingState::new(SUM));
        let add = |old: Option<Vec<u8>>, more: u64| -> Result<u64, Error> {
            Ok(old.map_or(Ok(0), |bytes| number(&bytes))? + more)
        };
        let config = CONFIG.with_borrow(String::clone);
        if config.contains("look-around") {
            look_around(batch.now)?;
        }
        if config.contains("exit") {
            std::process::exit(3);
        }
        let mut last = Vec::new();
        for (index, slot) in batch.slots.iter().copied().enumerate() {
            let (key, value) = (keyed_state::key_of(slot)?, number(string(&batch.values, index))?);
            if keyed_state::slot_of(&key)? != slot {
                return Err(Error::Other("slot-of and key-of contradict each other".to_owned()));
            }
            let counted = add(count.get(slot)?, 1)?;
            count.set(slot, &counted.to_le_bytes())?;
            let summed = add(sum.get(slot)?, value)?;
            sum.set(slot, &summed.to_le_bytes())?;
            let key = number(&key)?;
            emit(index as u32, &format!(r#"{{"key":{key},"count":{counted},"sum":{summed}}}"#))?;
            match keyed_state::slot_of(&(key + MIRRORED).to_le_bytes()) {
                Ok(other) => mirror.set(other, &add(mirror.get(other)?, 1)?.to_le_bytes())?,
                Err(Error::NotOwned) => {}
                Err(error) => return Err(error),
            }
            last.retain(|(of, _)| *of != slot);
            last.push((slot, counted));
            if config.contains("print") {
                println!("record {index}");
                eprint!("and ");
            }
            if config.contains("random") {
                emit(index as u32, &format!(r#"{{"random":{}}}"#, random()))?;
            }
            ask_for_what_is_wrong(&config, slot)?;
        }
        // The bulk function sees the call's own writes too, in the order of its cells.
        let read = keyed_state::get_many(COUNT, &cells(last.iter().map(|(slot, _)| *slot).collect()))?;
        let column = BytesColumn { data: read.data, ends: read.ends };
        for (index, (_, counted)) in last.iter().enumerate() {
            if number(string(&column, index))? != *counted {
                return Err(Error::Other("get-many does not see what set wrote".to_owned()));
            }
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
        let mirror = ValueState::new(MIRROR);
        for (index, slot) in slots.into_iter().enumerate() {
            let key = number(&keyed_state::key_of(slot)?)?;
            let counted = mirror.get(slot)?.map_or(Ok(0), |bytes| number(&bytes))?;
            emit(index as u32, &format!(r#"{{"mirror":{key},"count":{counted}}}"#))?;
            mirror.clear(slot)?;
            if mirror.get(slot)?.is_some() {
                return Err(Error::Other("what was cleared is still there".to_owned()));
            }
        }
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

export!(Raw);
