//! What is exported is read back by a reader of Parquet.

use std::{fs, path::Path};

use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};

use super::*;
use crate::{job::StoredState, stream::schema::Schema};

fn fixture() -> StoredState {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/checkpoint-format-2/job");
    StoredState::open(&path).expect("it is whole")
}

fn written(state: &DescribedState, entries: Entries<'_>) -> SerializedFileReader<File> {
    let mut file = tempfile::tempfile().expect("a file");
    write_parquet(state, entries, &mut file).expect("there is room");
    SerializedFileReader::new(file).expect("it is a Parquet file")
}

#[test]
fn entries_are_rows_with_their_texts() {
    let stored = fixture();
    let operator = stored.operators()[0];
    let mut lines = Vec::new();
    for state in operator.states {
        let reader = written(state, stored.entries(operator, state));
        let names: Vec<_> = reader
            .metadata()
            .file_metadata()
            .schema()
            .get_fields()
            .iter()
            .map(|field| field.name().to_owned())
            .collect();
        assert_eq!(names, ["task", "key", "namespace", "map_key", "value"]);
        for row in reader.get_row_iter(None).expect("rows") {
            let row = row.expect("a row");
            let text = |column| row.get_string(column).ok().cloned();
            let mut members = Vec::new();
            members.extend(text(1).map(|key| format!("\"key\":{key}")));
            if !state.kind.is_keyed() {
                members.push(format!("\"task\":{}", row.get_int(0).expect("a task")));
            }
            members.extend(text(2).map(|namespace| format!("\"namespace\":{namespace}")));
            members.extend(text(3).map(|map_key| format!("\"map_key\":{map_key}")));
            members.extend(text(4).map(|value| format!("\"value\":{value}")));
            lines.push(format!("{{{}}}\n", members.join(",")));
        }
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/state-format-1.jsonl");
    assert_eq!(lines.concat(), fs::read_to_string(golden).expect("it is there"));
}

#[test]
fn plain_fields_of_records_are_columns() {
    let stored = fixture();
    let operator = stored.operators()[0];
    let fields = r#"[["big", "u64"], ["small", {"option": "i16"}], ["name", "string"], ["on", "bool"], ["ratio", "f64"], ["more", {"list": "u8"}], ["wide", "u128"]]"#;
    let document = format!(r#"{{"encoding": "postcard", "type": {{"struct": {{"name": "S", "fields": {fields}}}}}}}"#);
    let state = DescribedState { value: Schema::parse(&document).expect("a schema"), ..operator.states[0].clone() };
    let mut file = tempfile::tempfile().expect("a file");
    let mut table = Table::new(&state, &mut file).expect("a table");
    // As postcard writes it: varints (zigzag where signed), lengths before what they count.
    let mut value = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1, 5, 2, b'o', b'k', 1];
    value.extend_from_slice(&0.5_f64.to_le_bytes());
    value.extend_from_slice(&[1, 9, 7]);
    let entry = |version| StoredEntry { task: 3, key: &[0; 8], namespace: &[], entry: &[], version, value: &value };
    table.push(&entry(state.version)).expect("it can be shown");
    table.write_group().expect("there is room");
    table.push(&entry(state.version + 1)).expect("it can be shown");
    table.write_group().expect("there is room");
    table.writer.finish().expect("there is room");
    drop(table);
    let reader = SerializedFileReader::new(file).expect("it is a Parquet file");
    let rows: Vec<_> = reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row")).collect();
    let columns: Vec<_> = rows[0].get_column_iter().map(|(name, _)| name.as_str()).skip(5).collect();
    assert_eq!(columns, ["value_big", "value_small", "value_name", "value_on", "value_ratio"]);
    assert_eq!((rows[0].get_int(0).expect("a task"), rows[0].get_ulong(5).expect("a number")), (3, u64::MAX));
    assert_eq!((rows[0].get_int(6).expect("a number"), rows[0].get_string(7).expect("a text").as_str()), (-3, "ok"));
    assert_eq!((rows[0].get_bool(8).expect("a truth value"), rows[0].get_double(9).expect("a number")), (true, 0.5));
    assert!(rows[1].get_ulong(5).is_err() && rows[1].get_string(4).expect("a text").contains("schema_version"));
}
