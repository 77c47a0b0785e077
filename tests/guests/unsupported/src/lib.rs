//! An operator that uses functions of the WIT which this version of the host does not have: it has to be refused when it is loaded, by their names.

wit_bindgen::generate!({ path: "../../../wit", world: "plugin" });

use exports::wasmill::operator::operator::{Descriptor, Guest, Hooks, InputDescriptor, Keying, OutputDescriptor};
use wasmill::operator::types::{
    Batch, BytesColumn, Error, EventTime, Failure, Keys, TaskInfo, TimerBatch, TimerKind,
};
use wasmill::operator::timers;

struct Unsupported;

fn nothing() -> BytesColumn {
    BytesColumn { data: Vec::new(), ends: Vec::new() }
}

impl Guest for Unsupported {
    fn describe() -> Descriptor {
        let bytes = || r#"{"encoding":"bytes"}"#.to_owned();
        Descriptor {
            name: "unsupported".to_owned(),
            version: "0.1.0".to_owned(),
            inputs: vec![InputDescriptor { name: "in".to_owned(), key: Some(bytes()), value: bytes(), broadcast: false }],
            outputs: vec![OutputDescriptor { name: "out".to_owned(), keying: Keying::Keep, value: bytes() }],
            states: Vec::new(),
            hooks: Hooks::empty(),
        }
    }

    fn open(_: String, _: TaskInfo) -> Result<(), Error> {
        Ok(())
    }

    fn process(batch: Batch) -> Result<Vec<Failure>, Error> {
        timers::register(TimerKind::EventTime, &batch.slots, &nothing(), &batch.timestamps)?;
        Ok(Vec::new())
    }

    fn on_timers(_: TimerBatch) -> Result<Vec<Failure>, Error> {
        Ok(Vec::new())
    }

    fn on_watermark(_: EventTime) -> Result<(), Error> {
        Ok(())
    }

    fn on_end(_: Keys, _: Vec<u32>) -> Result<Vec<Failure>, Error> {
        Ok(Vec::new())
    }

    fn snapshot() -> Result<(), Error> {
        Ok(())
    }

    fn migrate(_: u32, _: u16, values: BytesColumn) -> Result<BytesColumn, Error> {
        Ok(values)
    }

    fn close() -> Result<(), Error> {
        Ok(())
    }
}

export!(Unsupported);
