//! What a dead-letter sink is given: one JSON document for each record that was given up.

use serde::Serialize;
use serde_json::value::RawValue;

use super::TaskInfo;
use crate::stream::{Batch, Fault, schema::Schema};

/// A record that was given up, and why.
#[derive(Serialize)]
pub struct DeadLetter<'a> {
    operator: &'a str,
    task: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    fault: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Box<RawValue>>,
    value: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace: Option<&'a str>,
}

impl<'a> DeadLetter<'a> {
    /// The letter for record `index` of a batch, which came by `input` where the operator has several.
    pub fn new(
        info: &'a TaskInfo,
        fault: &'a Fault,
        batch: &Batch,
        index: usize,
        (key, value): (Option<&Schema>, &Schema),
        input: Option<&'a str>,
    ) -> Self {
        Self {
            operator: &info.operator,
            task: info.task,
            input,
            fault: fault.kind.name(),
            message: &fault.message,
            key: batch.keys.as_ref().map(|keys| shown(key.unwrap_or(&Schema::opaque()), keys.column.get(index))),
            value: shown(value, batch.values.get(index)),
            event_time: batch.timestamps.get(index).copied().filter(|time| *time != i64::MIN),
            backtrace: fault.backtrace.as_deref(),
        }
    }

    /// The letter as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and valid JSON documents always serialise")
    }
}

/// Bytes by their schema, or as an opaque value where they do not follow it: the bytes may be the very fault.
fn shown(schema: &Schema, bytes: &[u8]) -> Box<RawValue> {
    let mut json = Vec::new();
    if schema.render_json(bytes, &mut json).is_err() {
        json.clear();
        if Schema::opaque().render_json(bytes, &mut json).is_err() {
            json = b"null".to_vec();
        }
    }
    let text = String::from_utf8(json).unwrap_or_else(|_| "null".into());
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A record in words, for messages: key and value by their schemas, shortened.
pub(super) fn describe_record(batch: &Batch, index: usize, (key, value): (Option<&Schema>, &Schema)) -> String {
    const CHARACTERS_MAX: usize = 200;
    let short = |json: &RawValue| match json.get().char_indices().nth(CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", &json.get()[..at]),
        None => json.get().to_owned(),
    };
    let value = short(&shown(value, batch.values.get(index)));
    match &batch.keys {
        Some(keys) => format!(
            "the record with key {} and value {value}",
            short(&shown(key.unwrap_or(&Schema::opaque()), keys.column.get(index)))
        ),
        None => format!("the record {value}"),
    }
}
