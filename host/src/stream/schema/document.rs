//! The schema document: read from JSON and written to it.
//!
//! The form is frozen; it is described where operators meet it, at `type schema` in `wit/types.wit`. A member, type or encoding that is not known is an
//! error and never skipped: it would change what the bytes mean.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{DEPTH_MAX, DOCUMENT_BYTES_MAX, Encoding, SchemaError};

/// What postcard bytes hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Scalar(Scalar),
    Option(Box<Type>),
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Tuple(Vec<Type>),
    Struct { name: String, fields: Fields },
    Enum { name: String, variants: Vec<(String, Variant)> },
}

/// The fields of a struct, in the order of their bytes.
pub(super) type Fields = Vec<(String, Type)>;

/// What a variant of an enum holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    Unit,
    Newtype(Type),
    Tuple(Vec<Type>),
    Struct(Fields),
}

/// A type without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Unit,
    Bool,
    U8,
    U16,
    U32,
    U64,
    U128,
    I8,
    I16,
    I32,
    I64,
    I128,
    F32,
    F64,
    Char,
    String,
    Bytes,
}

const SCALARS: [(&str, Scalar); 17] = [
    ("unit", Scalar::Unit),
    ("bool", Scalar::Bool),
    ("u8", Scalar::U8),
    ("u16", Scalar::U16),
    ("u32", Scalar::U32),
    ("u64", Scalar::U64),
    ("u128", Scalar::U128),
    ("i8", Scalar::I8),
    ("i16", Scalar::I16),
    ("i32", Scalar::I32),
    ("i64", Scalar::I64),
    ("i128", Scalar::I128),
    ("f32", Scalar::F32),
    ("f64", Scalar::F64),
    ("char", Scalar::Char),
    ("string", Scalar::String),
    ("bytes", Scalar::Bytes),
];

impl Scalar {
    /// The name in documents.
    pub(super) fn name(self) -> &'static str {
        SCALARS.iter().find(|(_, scalar)| *scalar == self).map_or("", |(name, _)| name)
    }

    fn named(name: &str) -> Option<Self> {
        SCALARS.iter().find(|(known, _)| *known == name).map(|(_, scalar)| *scalar)
    }
}

type Parsed<T> = Result<T, SchemaError>;

/// Reads a document. The type is there if and only if the encoding is postcard.
pub(super) fn parse(document: &str) -> Parsed<(Encoding, Option<Type>)> {
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(SchemaError::TooLong(document.len()));
    }
    let document: Value = serde_json::from_str(document)?;
    let members = object(&document, &["encoding", "type"]).map_err(|e| e.within("schema"))?;
    let Some(Value::String(name)) = members.get("encoding") else {
        return Err(malformed("\"encoding\" must be there and be a string").within("schema"));
    };
    let encoding = Encoding::ALL.into_iter().find(|encoding| encoding.name() == name);
    let encoding = encoding.ok_or_else(|| SchemaError::UnknownEncoding(name.clone()))?;
    match (encoding, members.get("type")) {
        (Encoding::Postcard, Some(value)) => Ok((encoding, Some(parse_type(value, 1).map_err(|e| e.within("type"))?))),
        (Encoding::Postcard, None) => {
            Err(malformed("postcard needs a \"type\", because its bytes do not describe themselves").within("schema"))
        }
        (_, Some(_)) => Err(malformed(format!("\"type\" is for postcard only, not for {name}")).within("schema")),
        (_, None) => Ok((encoding, None)),
    }
}

/// Writes the canonical document.
pub(super) fn write(encoding: Encoding, shape: Option<&Type>) -> String {
    let name = encoding.name();
    match shape {
        None => json!({ "encoding": name }).to_string(),
        Some(shape) => json!({ "encoding": name, "type": write_type(shape) }).to_string(),
    }
}

fn parse_type(value: &Value, depth: usize) -> Parsed<Type> {
    if depth > DEPTH_MAX {
        return Err(malformed(format!("types nest deeper than {DEPTH_MAX}")));
    }
    if let Value::String(name) = value {
        return Scalar::named(name).map(Type::Scalar).ok_or_else(|| unknown_type(name));
    }
    let (kind, body) = one_member(value)?;
    let inner = |value: &Value| parse_type(value, depth + 1);
    let parsed = match kind {
        "option" => inner(body).map(|item| Type::Option(Box::new(item))),
        "list" => inner(body).map(|item| Type::List(Box::new(item))),
        "map" => parse_types(body, depth).and_then(|types| {
            let [key, value] = <[Type; 2]>::try_from(types)
                .map_err(|_| malformed("a map has the types of its keys and values: [T, T]"))?;
            Ok(Type::Map(Box::new(key), Box::new(value)))
        }),
        "tuple" => parse_types(body, depth).map(Type::Tuple),
        "struct" => object(body, &["name", "fields"]).and_then(|members| {
            let fields = member(members, "fields", |list| parse_fields(list, depth))?;
            Ok(Type::Struct { name: member(members, "name", string)?, fields })
        }),
        "enum" => object(body, &["name", "variants"]).and_then(|members| {
            let variant = |value: &Value| parse_variant(value, depth);
            let variants = member(members, "variants", |list| named_list(list, variant))?;
            Ok(Type::Enum { name: member(members, "name", string)?, variants })
        }),
        other => return Err(unknown_type(other)),
    };
    parsed.map_err(|e| e.within(kind))
}

fn parse_variant(value: &Value, depth: usize) -> Parsed<Variant> {
    if value == "unit" {
        return Ok(Variant::Unit);
    }
    let (kind, body) = one_member(value)?;
    let parsed = match kind {
        "newtype" => parse_type(body, depth + 1).map(Variant::Newtype),
        "tuple" => parse_types(body, depth).map(Variant::Tuple),
        "struct" => parse_fields(body, depth).map(Variant::Struct),
        other => {
            return Err(malformed(format!(
                "a variant is \"unit\", \"newtype\", \"tuple\" or \"struct\", not \"{other}\""
            )));
        }
    };
    parsed.map_err(|e| e.within(kind))
}

fn parse_types(value: &Value, depth: usize) -> Parsed<Vec<Type>> {
    let types = list(value)?.iter().enumerate();
    types.map(|(i, value)| parse_type(value, depth + 1).map_err(|e| e.within(&format!("[{i}]")))).collect()
}

fn parse_fields(value: &Value, depth: usize) -> Parsed<Fields> {
    named_list(value, |value| parse_type(value, depth + 1))
}

/// `[[name, item], …]`, each name once.
fn named_list<T>(value: &Value, item: impl Fn(&Value) -> Parsed<T>) -> Parsed<Vec<(String, T)>> {
    let mut seen = BTreeSet::new();
    let pair = |value| match list(value)?.as_slice() {
        [Value::String(name), value] if seen.insert(name) => Ok((name.clone(), item(value)?)),
        [Value::String(name), _] => Err(malformed(format!("the name \"{name}\" is there twice"))),
        _ => Err(malformed("must be a pair of a name and what it stands for")),
    };
    let mut pair = pair;
    let pairs = list(value)?.iter().enumerate();
    pairs.map(|(i, value)| pair(value).map_err(|e| e.within(&format!("[{i}]")))).collect()
}

fn object<'a>(value: &'a Value, known: &[&str]) -> Parsed<&'a Map<String, Value>> {
    let members = value.as_object().ok_or_else(|| malformed("must be an object"))?;
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(members),
        Some(name) => Err(malformed(format!("the member \"{name}\" is not known (known: {})", known.join(", ")))),
    }
}

fn one_member(value: &Value) -> Parsed<(&str, &Value)> {
    let mut members = value.as_object().into_iter().flatten();
    match (members.next(), members.next()) {
        (Some((name, body)), None) => Ok((name, body)),
        _ => Err(malformed("must be a name or an object with one member")),
    }
}

fn member<T>(members: &Map<String, Value>, name: &str, parse: impl FnOnce(&Value) -> Parsed<T>) -> Parsed<T> {
    let value = members.get(name).ok_or_else(|| malformed(format!("\"{name}\" is missing")))?;
    parse(value).map_err(|e| e.within(name))
}

fn list(value: &Value) -> Parsed<&Vec<Value>> {
    value.as_array().ok_or_else(|| malformed("must be a list"))
}

fn string(value: &Value) -> Parsed<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| malformed("must be a string"))
}

fn unknown_type(name: &str) -> SchemaError {
    let scalars = SCALARS.map(|(name, _)| name).join(", ");
    malformed(format!("\"{name}\" is not a type (known: {scalars}, option, list, map, tuple, struct, enum)"))
}

fn malformed(problem: impl Into<String>) -> SchemaError {
    SchemaError::Malformed { at: String::new(), problem: problem.into() }
}

impl SchemaError {
    /// The same error, seen from one level further out.
    fn within(self, place: &str) -> Self {
        match self {
            Self::Malformed { at, problem } => {
                let dot = if at.is_empty() || at.starts_with('[') { "" } else { "." };
                Self::Malformed { at: format!("{place}{dot}{at}"), problem }
            }
            other => other,
        }
    }
}

fn write_type(shape: &Type) -> Value {
    match shape {
        Type::Scalar(scalar) => json!(scalar.name()),
        Type::Option(item) => json!({ "option": write_type(item) }),
        Type::List(item) => json!({ "list": write_type(item) }),
        Type::Map(key, value) => json!({ "map": [write_type(key), write_type(value)] }),
        Type::Tuple(items) => json!({ "tuple": write_types(items) }),
        Type::Struct { name, fields } => {
            json!({ "struct": { "name": name, "fields": write_fields(fields) } })
        }
        Type::Enum { name, variants } => {
            let variants = variants.iter().map(|(name, body)| json!([name, write_variant(body)]));
            json!({ "enum": { "name": name, "variants": variants.collect::<Value>() } })
        }
    }
}

fn write_variant(variant: &Variant) -> Value {
    match variant {
        Variant::Unit => json!("unit"),
        Variant::Newtype(item) => json!({ "newtype": write_type(item) }),
        Variant::Tuple(items) => json!({ "tuple": write_types(items) }),
        Variant::Struct(fields) => json!({ "struct": write_fields(fields) }),
    }
}

fn write_types(types: &[Type]) -> Value {
    types.iter().map(write_type).collect()
}

fn write_fields(fields: &Fields) -> Value {
    fields.iter().map(|(name, shape)| json!([name, write_type(shape)])).collect()
}
