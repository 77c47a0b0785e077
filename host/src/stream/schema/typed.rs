//! What a person types, to bytes: the way back from what [`Schema::render_json`] shows.
//!
//! Meant for keys at a prompt, so a string needs no quotes there: whatever is not a JSON string is taken as the text itself. Everything else is JSON, by the same rules
//! as when it is shown; integers of 128 bits may be strings of digits where they are parts of something, because JSON numbers are not that long.

use serde_json::Value;
use thiserror::Error;

use super::{
    Encoding, Schema,
    document::{Fields, Scalar, Type, Variant},
};

/// Text that is no value of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{found} is not {expected}")]
pub struct TypedError {
    found: String,
    expected: String,
}

type Typed<T> = Result<T, TypedError>;

impl TypedError {
    pub(super) fn expected(shape: &Type, found: &Value) -> Self {
        Self::said(&found.to_string(), described(shape))
    }

    fn said(found: &str, expected: impl Into<String>) -> Self {
        Self { found: found.to_owned(), expected: expected.into() }
    }
}

fn described(shape: &Type) -> String {
    struct Shown<'s>(&'s Type);
    impl std::fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            super::describe::of_type(self.0, f)
        }
    }
    Shown(shape).to_string()
}

impl Schema {
    /// The bytes that are shown as the JSON in `text`; a text alone may come without quotes.
    ///
    /// # Errors
    /// [`TypedError`] when the text is none of this schema.
    pub fn bytes_of_typed(&self, text: &str) -> Result<Vec<u8>, TypedError> {
        let scalar = |kind| value(&Type::Scalar(kind), text);
        match (self.encoding, self.shape()) {
            (Encoding::Text, _) => Ok(plain_text(text).into_bytes()),
            (Encoding::U64, _) => {
                let number = integer(&Type::Scalar(Scalar::U64), &scalar(Scalar::U64)?, 64)?;
                Ok((number as u64).to_le_bytes().to_vec())
            }
            (Encoding::Unit, _) => unit(&Type::Scalar(Scalar::Unit), &scalar(Scalar::Unit)?).map(|()| Vec::new()),
            (Encoding::Json, _) => {
                let document = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
                Ok(document.to_string().into_bytes())
            }
            (Encoding::Postcard, Some(shape)) => {
                let mut out = Vec::new();
                write(shape, &value(shape, text)?, &mut out)?;
                Ok(out)
            }
            (Encoding::Bytes | Encoding::Opaque | Encoding::Postcard, _) => {
                base64(&Type::Scalar(Scalar::Bytes), &scalar(Scalar::Bytes)?)
            }
        }
    }
}

fn plain_text(text: &str) -> String {
    serde_json::from_str(text).unwrap_or_else(|_| text.to_owned())
}

/// What was typed for a type, as JSON.
pub(super) fn value(shape: &Type, text: &str) -> Typed<Value> {
    use Scalar::{Bytes, Char, I128, String as Text, U128, Unit};
    match shape {
        Type::Scalar(Text | Char | Bytes) => Ok(Value::String(plain_text(text))),
        // A variant alone is a string.
        Type::Enum { variants, .. } if variants.iter().any(|(name, _)| name == text) => Ok(Value::String(text.into())),
        Type::Scalar(Unit) if text.is_empty() => Ok(Value::Null),
        Type::Scalar(I128 | U128) => Ok(Value::String(text.trim().to_owned())),
        _ => serde_json::from_str(text).map_err(|_| TypedError::said(&format!("`{text}`"), described(shape))),
    }
}

/// The key of a map that is the name of a member, so what is text in it has no quotes of its own.
fn member_name(shape: &Type, name: &str) -> Typed<Value> {
    match shape {
        Type::Scalar(Scalar::String | Scalar::Char | Scalar::Bytes) => Ok(Value::String(name.to_owned())),
        _ => value(shape, name),
    }
}

/// Appends a value in postcard.
fn write(shape: &Type, value: &Value, out: &mut Vec<u8>) -> Typed<()> {
    let wrong = || TypedError::expected(shape, value);
    match shape {
        Type::Scalar(kind) => return scalar(*kind, shape, value, out),
        Type::Option(_) if value.is_null() => out.push(0),
        Type::Option(item) => {
            out.push(1);
            write(item, value, out)?;
        }
        Type::List(item) => {
            let items = value.as_array().ok_or_else(wrong)?;
            varint(items.len() as u128, out);
            items.iter().try_for_each(|value| write(item, value, out))?;
        }
        Type::Map(key, item) => match value {
            Value::Object(members) => {
                varint(members.len() as u128, out);
                for (name, value) in members {
                    write(key, &member_name(key, name)?, out)?;
                    write(item, value, out)?;
                }
            }
            Value::Array(pairs) => {
                varint(pairs.len() as u128, out);
                for pair in pairs {
                    let pair = pair.as_array().filter(|pair| pair.len() == 2).ok_or_else(wrong)?;
                    write(key, &pair[0], out)?;
                    write(item, &pair[1], out)?;
                }
            }
            _ => return Err(wrong()),
        },
        Type::Tuple(shapes) => tuple(shape, shapes, value, out)?,
        Type::Struct { fields, .. } => members(shape, fields, value, out)?,
        Type::Enum { variants, .. } => {
            let (name, body) = match value {
                Value::String(name) => (name, &Value::Null),
                Value::Object(members) if members.len() == 1 => members.iter().next().ok_or_else(wrong)?,
                _ => return Err(wrong()),
            };
            let number = variants.iter().position(|(known, _)| known == name).ok_or_else(wrong)?;
            varint(number as u128, out);
            match &variants[number].1 {
                Variant::Unit if value.is_string() => {}
                Variant::Unit => return Err(wrong()),
                _ if value.is_string() => return Err(wrong()),
                Variant::Newtype(item) => write(item, body, out)?,
                Variant::Tuple(shapes) => tuple(shape, shapes, body, out)?,
                Variant::Struct(fields) => members(shape, fields, body, out)?,
            }
        }
    }
    Ok(())
}

fn tuple(shape: &Type, shapes: &[Type], value: &Value, out: &mut Vec<u8>) -> Typed<()> {
    shapes.iter().zip(items(shape, value, shapes.len())?).try_for_each(|(shape, value)| write(shape, value, out))
}

fn members(shape: &Type, fields: &Fields, value: &Value, out: &mut Vec<u8>) -> Typed<()> {
    let wrong = || TypedError::expected(shape, value);
    let members = value.as_object().filter(|members| members.len() == fields.len()).ok_or_else(wrong)?;
    fields.iter().try_for_each(|(name, shape)| write(shape, members.get(name).ok_or_else(wrong)?, out))
}

fn scalar(kind: Scalar, shape: &Type, value: &Value, out: &mut Vec<u8>) -> Typed<()> {
    let wrong = || TypedError::expected(shape, value);
    let mut counted = |bytes: &[u8]| {
        varint(bytes.len() as u128, out);
        out.extend_from_slice(bytes);
    };
    match kind {
        Scalar::Unit => unit(shape, value)?,
        Scalar::Bool => out.push(u8::from(bool(shape, value)?)),
        Scalar::U8 | Scalar::I8 => out.push(integer(shape, value, 8)? as u8),
        Scalar::U16 => varint(integer(shape, value, 16)?, out),
        Scalar::U32 => varint(integer(shape, value, 32)?, out),
        Scalar::U64 => varint(integer(shape, value, 64)?, out),
        Scalar::U128 => varint(integer(shape, value, 128)?, out),
        Scalar::I16 => zigzag(integer(shape, value, 16)?, out),
        Scalar::I32 => zigzag(integer(shape, value, 32)?, out),
        Scalar::I64 => zigzag(integer(shape, value, 64)?, out),
        Scalar::I128 => zigzag(integer(shape, value, 128)?, out),
        Scalar::F32 => out.extend((value.as_f64().ok_or_else(wrong)? as f32).to_le_bytes()),
        Scalar::F64 => out.extend(value.as_f64().ok_or_else(wrong)?.to_le_bytes()),
        Scalar::Char => counted(char(shape, value)?.encode_utf8(&mut [0; 4]).as_bytes()),
        Scalar::String => counted(text(shape, value)?.as_bytes()),
        Scalar::Bytes => counted(&base64(shape, value)?),
    }
    Ok(())
}

fn varint(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: u128, out: &mut Vec<u8>) {
    let sign = (value as i128 >> 127) as u128;
    varint(value << 1 ^ sign, out);
}

/// The two's complement of an integer that its type can hold, its sign extended to 128 bits; `shape` says whether it has one.
pub(super) fn integer(shape: &Type, value: &Value, bits: u32) -> Typed<u128> {
    use Scalar::{I8, I16, I32, I64, I128};
    let wrong = || TypedError::expected(shape, value);
    let digits = match value {
        Value::Number(number) => number.to_string(),
        Value::String(digits) => digits.clone(),
        _ => return Err(wrong()),
    };
    if matches!(shape, Type::Scalar(I8 | I16 | I32 | I64 | I128)) {
        let number: i128 = digits.parse().map_err(|_| wrong())?;
        let most = i128::MAX >> (128 - bits);
        return if (-most - 1..=most).contains(&number) { Ok(number as u128) } else { Err(wrong()) };
    }
    let number: u128 = digits.parse().map_err(|_| wrong())?;
    if number <= u128::MAX >> (128 - bits) { Ok(number) } else { Err(wrong()) }
}

pub(super) fn bool(shape: &Type, value: &Value) -> Typed<bool> {
    value.as_bool().ok_or_else(|| TypedError::expected(shape, value))
}

pub(super) fn unit(shape: &Type, value: &Value) -> Typed<()> {
    if value.is_null() { Ok(()) } else { Err(TypedError::expected(shape, value)) }
}

pub(super) fn text<'v>(shape: &Type, value: &'v Value) -> Typed<&'v str> {
    value.as_str().ok_or_else(|| TypedError::expected(shape, value))
}

pub(super) fn char(shape: &Type, value: &Value) -> Typed<char> {
    let mut characters = text(shape, value)?.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(TypedError::expected(shape, value)),
    }
}

/// The values of a tuple's parts.
pub(super) fn items<'v>(shape: &Type, value: &'v Value, count: usize) -> Typed<&'v [Value]> {
    let items = value.as_array().filter(|items| items.len() == count);
    items.map(Vec::as_slice).ok_or_else(|| TypedError::expected(shape, value))
}

/// Bytes that are shown in base64 with the standard alphabet; the padding may be missing.
pub(super) fn base64(shape: &Type, value: &Value) -> Typed<Vec<u8>> {
    let wrong = || TypedError::said(&value.to_string(), "bytes in base64");
    let digits = text(shape, value)?.trim_end_matches('=').as_bytes();
    if digits.len() % 4 == 1 {
        return Err(wrong());
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for quadruple in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in quadruple {
            let six = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return Err(wrong()),
            };
            bits = bits << 6 | u32::from(six);
        }
        let missing = 4 - quadruple.len();
        let bytes = (bits << (6 * missing)).to_be_bytes();
        out.extend_from_slice(&bytes[1..4 - missing]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
