//! Bytes as JSON, by their schema document: so that a test sees what a person sees, and that documents and bytes are held against each other.

use serde_json::{Map, Number, Value};

/// Renders a top-level value.
pub(super) fn render(schema: &str, bytes: &[u8]) -> Value {
    let document: Value =
        serde_json::from_str(schema).unwrap_or_else(|error| panic!("not a schema document: {schema}: {error}"));
    match document["encoding"].as_str() {
        Some("text") => String::from_utf8_lossy(bytes).into(),
        Some("bytes") => bytes.to_vec().into(),
        Some("u64") => {
            u64::from_le_bytes(bytes.try_into().unwrap_or_else(|_| panic!("{} bytes are no u64", bytes.len()))).into()
        }
        Some("unit") => Value::Null,
        Some("json") => serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("not JSON: {error}")),
        Some("postcard") => {
            let mut reader = Reader { bytes };
            let value = reader.value(&document["type"]);
            assert!(reader.bytes.is_empty(), "{} bytes more than {schema} says", reader.bytes.len());
            value
        }
        other => panic!("unknown encoding {other:?}"),
    }
}

/// Reads postcard's wire format.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .unwrap_or_else(|| panic!("{count} bytes wanted, {} there", self.bytes.len()));
        self.bytes = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn varint(&mut self) -> u128 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte();
            value |= u128::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn signed(&mut self) -> i128 {
        let zigzag = self.varint();
        (zigzag >> 1) as i128 ^ -((zigzag & 1) as i128)
    }

    fn length(&mut self) -> usize {
        usize::try_from(self.varint()).unwrap_or_else(|_| panic!("not a length"))
    }

    fn text(&mut self) -> Value {
        let length = self.length();
        String::from_utf8_lossy(self.take(length)).into()
    }

    fn value(&mut self, shape: &Value) -> Value {
        match shape {
            Value::String(name) => self.plain(name),
            Value::Object(object) => match object.iter().next() {
                Some((kind, inner)) => self.compound(kind, inner),
                None => panic!("an empty type"),
            },
            other => panic!("not a type: {other}"),
        }
    }

    fn plain(&mut self, name: &str) -> Value {
        let big = |text: String| {
            text.parse::<u64>()
                .map(Value::from)
                .or_else(|_| text.parse::<i64>().map(Value::from))
                .unwrap_or_else(|_| text.into())
        };
        match name {
            "unit" => Value::Null,
            "bool" => (self.byte() != 0).into(),
            "u8" => self.byte().into(),
            "i8" => (self.byte() as i8).into(),
            "u16" | "u32" | "u64" | "u128" => big(self.varint().to_string()),
            "i16" | "i32" | "i64" | "i128" => big(self.signed().to_string()),
            "f32" => float(f64::from(f32::from_le_bytes(self.take(4).try_into().unwrap_or_default()))),
            "f64" => float(f64::from_le_bytes(self.take(8).try_into().unwrap_or_default())),
            "char" | "string" => self.text(),
            "bytes" => {
                let length = self.length();
                self.take(length).to_vec().into()
            }
            other => panic!("unknown type {other}"),
        }
    }

    fn compound(&mut self, kind: &str, inner: &Value) -> Value {
        match kind {
            "option" => match self.byte() {
                0 => Value::Null,
                _ => self.value(inner),
            },
            "list" => (0..self.length()).map(|_| self.value(inner)).collect(),
            "map" => {
                let mut map = Map::new();
                for _ in 0..self.length() {
                    let key = self.value(&inner[0]);
                    let key = key.as_str().map_or_else(|| key.to_string(), ToOwned::to_owned);
                    let value = self.value(&inner[1]);
                    map.insert(key, value);
                }
                map.into()
            }
            "tuple" => list(inner).iter().map(|part| self.value(part)).collect(),
            "struct" => self.fields(&inner["fields"]),
            "enum" => {
                let index = self.length();
                let variant = &inner["variants"][index];
                let name = variant[0].as_str().unwrap_or_else(|| panic!("no variant {index}"));
                let (kind, parts) = match variant[1].as_object().and_then(|object| object.iter().next()) {
                    Some((kind, parts)) => (kind.as_str(), parts),
                    None => return name.into(),
                };
                let value = match kind {
                    "newtype" => self.value(parts),
                    "struct" => self.fields(parts),
                    _ => self.compound(kind, parts),
                };
                Value::Object(Map::from_iter([(name.to_owned(), value)]))
            }
            other => panic!("unknown type {other}"),
        }
    }

    fn fields(&mut self, fields: &Value) -> Value {
        let fields =
            list(fields).iter().map(|field| (field[0].as_str().unwrap_or_default().to_owned(), self.value(&field[1])));
        Value::Object(fields.collect())
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}
