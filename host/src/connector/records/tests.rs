//! Which lines become records, with which keys, and what is said of the others.

use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::connector::{KeyType, lines::Start};

const ALL: BatchLimits = BatchLimits { records: usize::MAX, bytes: usize::MAX };

fn json(invalid: InvalidJson, key: Option<(&str, KeyType)>) -> LineFormat {
    let key = key.map(|(path, kind)| JsonKey::new(path, kind).unwrap());
    LineFormat { invalid_utf8: InvalidUtf8::Replace, content: Content::Json { invalid, key } }
}

/// Gives the bytes in chunks; the batches that come of them.
fn batches(
    format: &LineFormat,
    bytes: &[u8],
    chunk: usize,
    limits: BatchLimits,
    counters: &CounterSet,
) -> Result<Vec<Batch>, ConnectorError> {
    let mut records = Records::new(format, counters);
    records.lines.begin(Arc::from(Path::new("test")), Start::Line, 0, u64::MAX);
    let mut batches = Vec::new();
    let mut drain = |records: &mut Records| -> Result<(), ConnectorError> {
        while records.lines.has_lines() {
            let mut batch = Batch::new(format.key_schema().is_some());
            records.cut(&mut batch, limits)?;
            batch.assert_consistent();
            batches.push(batch);
        }
        Ok(())
    };
    for chunk in bytes.chunks(chunk) {
        records.lines.room(chunk.len()).copy_from_slice(chunk);
        records.lines.took(chunk.len())?;
        drain(&mut records)?;
    }
    records.lines.end();
    drain(&mut records)?;
    Ok(batches)
}

fn values(batches: &[Batch]) -> Vec<String> {
    batches
        .iter()
        .flat_map(|batch| batch.values.iter().map(|value| String::from_utf8(value.to_vec()).unwrap()))
        .collect()
}

fn keys(batches: &[Batch]) -> Vec<Vec<u8>> {
    batches.iter().flat_map(|batch| batch.keys.as_ref().unwrap().column.iter().map(<[u8]>::to_vec)).collect()
}

#[test]
fn formats_have_their_schemas() {
    let schemas = |format: &LineFormat| (format.key_schema(), format.value_schema());
    assert_eq!(schemas(&LineFormat::default()), (None, Schema::text()));
    assert_eq!(schemas(&json(InvalidJson::Fail, None)), (None, Schema::json()));
    assert_eq!(schemas(&json(InvalidJson::Fail, Some(("k", KeyType::Text)))), (Some(Schema::text()), Schema::json()));
    assert_eq!(schemas(&json(InvalidJson::Fail, Some(("k", KeyType::U64)))), (Some(Schema::u64()), Schema::json()));
}

#[test]
fn each_line_is_a_document_and_blank_ones_are_none() {
    let text = b"{\"a\": 1}\n\n  \t\r\n[1, 2]\r\n\"text\"\n null \n-1e5";
    let counters = CounterSet::default();
    let batches = batches(&json(InvalidJson::Fail, None), text, 5, ALL, &counters).unwrap();
    assert_eq!(values(&batches), ["{\"a\": 1}", "[1, 2]", "\"text\"", " null ", "-1e5"]);
    assert_eq!(counters.values()["invalid-json"], 0);
    assert!(batches.iter().all(|batch| batch.keys.is_none()));
}

#[test]
fn invalid_documents_fail_or_are_counted_and_left_out() {
    let text = b"{\"a\":1}\n{\"a\":1,}\n1 2\n{\"a\":\"\xff\"}\nnul\n[]";
    let counters = CounterSet::default();
    let skipped = batches(&json(InvalidJson::Skip, None), text, 100, ALL, &counters).unwrap();
    assert_eq!(values(&skipped), ["{\"a\":1}", "{\"a\":\"\u{fffd}\"}", "[]"]);
    assert_eq!((counters.values()["invalid-json"], counters.values()["invalid-utf8"]), (3, 1));
    let counters = CounterSet::default();
    let error = batches(&json(InvalidJson::Fail, None), text, 100, ALL, &counters).unwrap_err().to_string();
    assert_eq!(
        error,
        "test: byte 15, in the line that begins at byte 8: this is not JSON: key must be a string; repair it, or set invalid-json to \"skip\""
    );
    assert_eq!(counters.values()["invalid-json"], 1);
}

#[test]
fn records_get_their_keys_and_those_without_one_are_invalid() {
    let text = b"{\"id\":7}\n{}\n{\"id\":\"7\"}\n\n{\"id\":8}\n";
    let counters = CounterSet::default();
    let batches_of = |policy, kind| batches(&json(policy, Some(("id", kind))), text, 100, ALL, &counters);
    let numbers = batches_of(InvalidJson::Skip, KeyType::U64).unwrap();
    assert_eq!(values(&numbers), ["{\"id\":7}", "{\"id\":8}"]);
    assert_eq!(keys(&numbers), [7_u64, 8].map(|key| key.to_le_bytes().to_vec()));
    assert_eq!(counters.values()["invalid-json"], 2);
    let texts = batches_of(InvalidJson::Skip, KeyType::Text).unwrap();
    assert_eq!((values(&texts), keys(&texts)), (vec!["{\"id\":\"7\"}".to_owned()], vec![b"7".to_vec()]));
    let error = batches_of(InvalidJson::Fail, KeyType::U64).unwrap_err().to_string();
    assert_eq!(
        error,
        "test: byte 9, in the line that begins at byte 9: the record has no `id` to take its key from; repair it, or set invalid-json to \"skip\""
    );
}

proptest! {
    #[test]
    fn records_do_not_depend_on_chunks_and_batches(
        lines in proptest::collection::vec("\\{\"k\":\"[a-zé]{0,9}\"\\}|\\{\"k\":[0-9]{1,3}\\}|[ \t]{0,3}|[a-z{}\\[\\]\":,0-9]{0,9}", 0..20),
        chunk in 1_usize..60,
        limits in (1_usize..5, 1_usize..60),
    ) {
        let text = lines.join("\n");
        let limits = BatchLimits { records: limits.0, bytes: limits.1 };
        let counters = CounterSet::default();
        let parsed = |line: &&String| serde_json::from_str::<Value>(line).ok();
        let filled = |line: &&String| !line.trim().is_empty();
        let all = batches(&json(InvalidJson::Skip, None), text.as_bytes(), chunk, limits, &counters).unwrap();
        let expected: Vec<_> = lines.iter().filter(|line| parsed(line).is_some()).cloned().collect();
        prop_assert_eq!(values(&all), expected);
        let invalid = lines.iter().filter(filled).filter(|line| parsed(line).is_none()).count();
        prop_assert_eq!(counters.values()["invalid-json"], invalid as u64);
        let keyed = batches(&json(InvalidJson::Skip, Some(("k", KeyType::Text))), text.as_bytes(), chunk, limits, &counters).unwrap();
        let key = |line: &String| Some(serde_json::from_str::<Value>(line).ok()?.get("k")?.as_str()?.as_bytes().to_vec());
        prop_assert_eq!(keys(&keyed), lines.iter().filter_map(key).collect::<Vec<_>>());
        prop_assert!(keyed.iter().all(|batch| batch.len() <= limits.records));
    }
}
