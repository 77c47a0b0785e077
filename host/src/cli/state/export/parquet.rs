//! Entries as a Parquet file, for those who look at state with a database.
//!
//! ```text
//! task       INT32             the task that had the entry
//! key        UTF8, or null     as JSON; null for state of a task
//! namespace  UTF8, or null     as JSON; null where there is none
//! map_key    UTF8, or null     as JSON; null where the state is no map
//! value      UTF8              as JSON
//! value_…    as the field      a column for each field of a record that is a truth value, a number of up to 64 bits or a text, or an option of one
//! ```
//!
//! A field's column is null where the value has another schema version than the state, or nothing there. Rows are in the order in which entries come.

use std::{fs::File, io::BufWriter, sync::Arc};

use parquet::{
    basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical, ZstdLevel},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};
use serde_json::Value;

use crate::{
    cli::state::show::Shower,
    job::{DescribedState, Entries, StoredEntry},
};

/// A group of rows is written when it has so many, or so many bytes of texts: that is what is held in memory.
const ROWS_MAX: usize = 64 << 10;
const TEXT_BYTES_MAX: usize = 64 << 20;

/// What a column of the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Int32,
    Int64,
    Unsigned64,
    Float,
    Double,
    Text,
}

/// The cells of a column, as far as they are not null, and which of them are not.
enum Cells {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Text(Vec<ByteArray>),
}

struct Column {
    name: String,
    kind: Kind,
    cells: Cells,
    /// 1 where there is a cell, 0 where it is null.
    present: Vec<i16>,
}

pub(super) fn write_parquet(state: &DescribedState, mut entries: Entries<'_>, file: &mut File) -> anyhow::Result<()> {
    let mut table = Table::new(state, file)?;
    while let Some(entry) = entries.next()? {
        table.push(&entry)?;
        if table.rows >= ROWS_MAX || table.text_bytes >= TEXT_BYTES_MAX {
            table.write_group()?;
        }
    }
    table.write_group()?;
    table.writer.finish()?;
    Ok(())
}

/// The rows of a group, and where they go.
struct Table<'s, 'f> {
    state: &'s DescribedState,
    shower: Shower<'s>,
    /// Task, key, namespace, map key and value, then the fields.
    columns: Vec<Column>,
    fields: Vec<String>,
    rows: usize,
    text_bytes: usize,
    writer: SerializedFileWriter<BufWriter<&'f mut File>>,
}

impl<'s, 'f> Table<'s, 'f> {
    fn new(state: &'s DescribedState, file: &'f mut File) -> anyhow::Result<Self> {
        let fields = fields_of(state);
        let texts = ["key", "namespace", "map_key", "value"].map(|name| Column::new(name.to_owned(), Kind::Text));
        let of_fields = fields.iter().map(|(name, kind)| Column::new(format!("value_{name}"), *kind));
        let columns: Vec<_> =
            [Column::new("task".to_owned(), Kind::Int32)].into_iter().chain(texts).chain(of_fields).collect();
        let types = columns.iter().map(|column| Ok(Arc::new(column.schema()?)));
        let types = types.collect::<Result<_, ParquetError>>()?;
        let schema = Type::group_type_builder("entries").with_fields(types).build()?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        Ok(Self {
            state,
            shower: Shower::new(state),
            columns,
            fields: fields.into_iter().map(|(name, _)| name).collect(),
            rows: 0,
            text_bytes: 0,
            writer: SerializedFileWriter::new(BufWriter::new(file), Arc::new(schema), Arc::new(properties))?,
        })
    }

    fn push(&mut self, entry: &StoredEntry<'_>) -> anyhow::Result<()> {
        let state = self.state;
        let shown = |there: bool, show: &dyn Fn(&mut Vec<u8>) -> anyhow::Result<()>| {
            let mut text = Vec::new();
            if there {
                show(&mut text)?;
            }
            anyhow::Ok(there.then_some(text))
        };
        let shower = &self.shower;
        let texts = [
            shown(state.kind.is_keyed(), &|out| Ok(shower.key(entry.key, out)?))?,
            shown(!entry.namespace.is_empty(), &|out| Ok(shower.namespace(entry.namespace, out)?))?,
            shown(state.kind.is_map(), &|out| Ok(shower.map_key(entry.entry, out)?))?,
            shown(true, &|out| Ok(shower.value(entry, out)?))?,
        ];
        let current = !self.fields.is_empty() && entry.version == state.version;
        let record: Value = match &texts[3] {
            Some(text) if current => serde_json::from_slice(text)?,
            _ => Value::Null,
        };
        let (fixed, of_fields) = self.columns.split_at_mut(5);
        fixed[0].push_number(i64::from(entry.task));
        for (column, text) in fixed[1..].iter_mut().zip(texts) {
            self.text_bytes += text.as_ref().map_or(0, Vec::len);
            column.push_text(text);
        }
        for (column, name) in of_fields.iter_mut().zip(&self.fields) {
            self.text_bytes += record[name].as_str().map_or(0, str::len);
            column.push_json(&record[name]);
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes the rows that are there.
    fn write_group(&mut self) -> anyhow::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        let mut columns = self.columns.iter_mut();
        while let Some(mut writer) = group.next_column()? {
            if let Some(column) = columns.next() {
                column.write(writer.untyped())?;
            }
            writer.close()?;
        }
        group.close()?;
        (self.rows, self.text_bytes) = (0, 0);
        Ok(())
    }
}

/// The fields of values that become columns.
fn fields_of(state: &DescribedState) -> Vec<(String, Kind)> {
    let document: Value = serde_json::from_str(&state.value.document()).unwrap_or_default();
    let fields = document["type"]["struct"]["fields"].as_array().into_iter().flatten();
    let plain = fields.filter_map(|field| {
        let shape = field[1].get("option").unwrap_or(&field[1]);
        Some((field[0].as_str()?.to_owned(), Kind::of(shape.as_str()?)?))
    });
    plain.collect()
}

impl Kind {
    /// The kind of column for a type of a schema. None: it is shown in the value only.
    fn of(shape: &str) -> Option<Self> {
        Some(match shape {
            "bool" => Self::Bool,
            "u8" | "u16" | "i8" | "i16" | "i32" => Self::Int32,
            "u32" | "i64" => Self::Int64,
            "u64" => Self::Unsigned64,
            "f32" => Self::Float,
            "f64" => Self::Double,
            "char" | "string" => Self::Text,
            _ => return None,
        })
    }
}

impl Column {
    fn new(name: String, kind: Kind) -> Self {
        let cells = match kind {
            Kind::Bool => Cells::Bool(Vec::new()),
            Kind::Int32 => Cells::Int32(Vec::new()),
            Kind::Int64 | Kind::Unsigned64 => Cells::Int64(Vec::new()),
            Kind::Float => Cells::Float(Vec::new()),
            Kind::Double => Cells::Double(Vec::new()),
            Kind::Text => Cells::Text(Vec::new()),
        };
        Self { name, kind, cells, present: Vec::new() }
    }

    fn schema(&self) -> Result<Type, ParquetError> {
        let (physical, logical) = match self.kind {
            Kind::Bool => (Physical::BOOLEAN, None),
            Kind::Int32 => (Physical::INT32, None),
            Kind::Int64 => (Physical::INT64, None),
            Kind::Unsigned64 => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Kind::Float => (Physical::FLOAT, None),
            Kind::Double => (Physical::DOUBLE, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let builder = Type::primitive_type_builder(&self.name, physical).with_logical_type(logical);
        builder.with_repetition(Repetition::OPTIONAL).with_converted_type(ConvertedType::NONE).build()
    }

    fn push_text(&mut self, text: Option<Vec<u8>>) {
        self.present.push(text.is_some().into());
        if let (Cells::Text(cells), Some(text)) = (&mut self.cells, text) {
            cells.push(text.into());
        }
    }

    fn push_number(&mut self, number: i64) {
        self.push_json(&number.into());
    }

    /// What is no cell of this column is null.
    fn push_json(&mut self, json: &Value) {
        fn put<T>(cells: &mut Vec<T>, cell: Option<T>) -> bool {
            let there = cell.is_some();
            cells.extend(cell);
            there
        }
        let present = match &mut self.cells {
            Cells::Bool(cells) => put(cells, json.as_bool()),
            Cells::Int32(cells) => put(cells, json.as_i64().and_then(|number| number.try_into().ok())),
            Cells::Int64(cells) if self.kind == Kind::Unsigned64 => put(cells, json.as_u64().map(u64::cast_signed)),
            Cells::Int64(cells) => put(cells, json.as_i64()),
            Cells::Float(cells) => put(cells, json.as_f64().map(|number| number as f32)),
            Cells::Double(cells) => put(cells, json.as_f64()),
            Cells::Text(cells) => put(cells, json.as_str().map(ByteArray::from)),
        };
        self.present.push(present.into());
    }

    /// Writes the cells and forgets them.
    fn write(&mut self, writer: &mut ColumnWriter<'_>) -> anyhow::Result<()> {
        let present = Some(&self.present[..]);
        match (&mut self.cells, writer) {
            (Cells::Bool(cells), ColumnWriter::BoolColumnWriter(writer)) => {
                writer.write_batch(cells, present, None)?;
                cells.clear();
            }
            (Cells::Int32(cells), ColumnWriter::Int32ColumnWriter(writer)) => {
                writer.write_batch(cells, present, None)?;
                cells.clear();
            }
            (Cells::Int64(cells), ColumnWriter::Int64ColumnWriter(writer)) => {
                writer.write_batch(cells, present, None)?;
                cells.clear();
            }
            (Cells::Float(cells), ColumnWriter::FloatColumnWriter(writer)) => {
                writer.write_batch(cells, present, None)?;
                cells.clear();
            }
            (Cells::Double(cells), ColumnWriter::DoubleColumnWriter(writer)) => {
                writer.write_batch(cells, present, None)?;
                cells.clear();
            }
            (Cells::Text(cells), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                writer.write_batch(cells, present, None)?;
                cells.clear();
            }
            _ => anyhow::bail!("column {} is not what its schema says: this is a fault of wasmill", self.name),
        }
        self.present.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
