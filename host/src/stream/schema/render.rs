//! Bytes to JSON text, in one pass.
//!
//! The postcard wire format 1.0: integers of more than 8 bits are LEB128 varints, signed ones in zigzag; floats are little-endian; strings, bytes, lists and maps
//! have their length before them; an option has a byte 0 or 1; an enum has the number of its variant; structs and tuples have nothing but their parts.

use serde::de::IgnoredAny;
use thiserror::Error;

use super::{
    Encoding,
    document::Scalar,
    json,
    plan::{MapKeys, Plan, Sequence},
};
use crate::stream::column::append_short;

/// How long the JSON of a value may be: so many bytes, and so many for each byte of it. Without a bound a list of units, which takes no bytes, could say "a
/// billion" in five; what real types need is names of fields, some ten times the bytes.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
const OUTPUT_BYTES_PER_BYTE_MAX: usize = 1 << 10;

/// Why a value could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the value is not what its schema says: {problem} (at byte {at} of it)")]
pub struct RenderError {
    /// Offset in the value at which it was noticed.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// Bytes are missing.
    #[error("it ends too early")]
    Truncated,
    /// Bytes are left.
    #[error("bytes follow its end")]
    Trailing,
    /// A string is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A bool or an option begins with something other than 0 or 1.
    #[error("{0} is neither 0 nor 1")]
    NotBool(u8),
    /// A char is not one character.
    #[error("a char is not one character")]
    NotChar,
    /// A varint has more bits than its type.
    #[error("an integer is too large for its type")]
    Overflow,
    /// An enum has no such variant.
    #[error("there is no variant number {0}")]
    NoVariant(u64),
    /// A list or map goes on and on while its elements take few bytes or none.
    #[error("as JSON it is more than {OUTPUT_BYTES_PER_BYTE_MAX} times as long")]
    TooLong,
    /// A zero within a map key's text or bytes is neither part of it nor its end.
    #[error("a zero is followed by what can't follow it")]
    NotEscaped,
    /// Not a JSON document.
    #[error("it is not a JSON document: {0}")]
    NotJson(String),
}

type Rendered = Result<(), RenderError>;

/// Renders bytes of an encoding that has no type.
pub(super) fn plain(encoding: Encoding, bytes: &[u8], out: &mut Vec<u8>) -> Rendered {
    match encoding {
        Encoding::Text => json::string(bytes, out).map_err(|at| RenderError { at, problem: Problem::NotUtf8 }),
        Encoding::U64 => match bytes.try_into() {
            Ok(word) => {
                json::unsigned(u64::from_le_bytes(word), out);
                Ok(())
            }
            Err(_) => length(bytes, 8),
        },
        Encoding::Unit => {
            out.extend_from_slice(b"null");
            length(bytes, 0)
        }
        Encoding::Json => document(bytes, out),
        // Postcard without a type is made by nobody.
        Encoding::Bytes | Encoding::Opaque | Encoding::Postcard => {
            json::base64(bytes, out);
            Ok(())
        }
    }
}

fn length(bytes: &[u8], expected: usize) -> Rendered {
    match bytes.len() {
        len if len < expected => Err(RenderError { at: len, problem: Problem::Truncated }),
        len if len > expected => Err(RenderError { at: expected, problem: Problem::Trailing }),
        _ => Ok(()),
    }
}

fn document(bytes: &[u8], out: &mut Vec<u8>) -> Rendered {
    // The parser does not look at the encoding of strings that it skips.
    if let Err(error) = simdutf8::compat::from_utf8(bytes) {
        return Err(RenderError { at: error.valid_up_to(), problem: Problem::NotUtf8 });
    }
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(bytes) {
        return Err(RenderError { at: place(bytes, &error), problem: Problem::NotJson(error.to_string()) });
    }
    // Strings hold no raw line breaks, so they can only be white space.
    if memchr::memchr2(b'\n', b'\r', bytes).is_some() {
        json::compacted(bytes, out);
    } else {
        out.extend_from_slice(bytes);
    }
    Ok(())
}

/// The offset that the parser tells as line and column.
fn place(bytes: &[u8], error: &serde_json::Error) -> usize {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    (before + error.column().saturating_sub(1)).min(bytes.len())
}

impl Plan {
    /// Renders one value, which must be all of `bytes`.
    pub(super) fn render(&self, bytes: &[u8], out: &mut Vec<u8>) -> Rendered {
        let most = bytes.len().saturating_mul(OUTPUT_BYTES_PER_BYTE_MAX).saturating_add(OUTPUT_BYTES_MAX);
        let mut value = Reader { bytes, at: 0, out_max: out.len().saturating_add(most) };
        self.append(&mut value, out)?;
        length(bytes, value.at)
    }

    fn append(&self, value: &mut Reader<'_>, out: &mut Vec<u8>) -> Rendered {
        match self {
            Self::Scalar(kind) => scalar(*kind, value, out),
            Self::Sequence(sequence) => sequence.append(value, out),
            Self::Option(item) => {
                if value.bool()? {
                    return item.append(value, out);
                }
                out.extend_from_slice(b"null");
                Ok(())
            }
            Self::List(item) => {
                let len = value.varint(64)?;
                out.push(b'[');
                for index in 0..len {
                    separate(index, out);
                    value.check_output(out)?;
                    item.append(value, out)?;
                }
                out.push(b']');
                Ok(())
            }
            Self::Map { key, value: item, keys } => {
                let len = value.varint(64)?;
                map(len, *keys, out, |part, out| match part {
                    Part::Key => {
                        value.check_output(out)?;
                        key.append(value, out)
                    }
                    Part::Value => item.append(value, out),
                })
            }
            Self::Enum(variants) => {
                let at = value.at;
                let number = value.varint(32)?;
                match variants.get(number as usize) {
                    Some(variant) => variant.append(value, out),
                    None => Err(RenderError { at, problem: Problem::NoVariant(number) }),
                }
            }
        }
    }
}

impl Sequence {
    #[inline]
    fn append(&self, value: &mut Reader<'_>, out: &mut Vec<u8>) -> Rendered {
        for (text, part) in &self.parts {
            append_short(out, text);
            // Without a call for what most fields are.
            match part {
                Plan::Scalar(kind) => scalar(*kind, value, out)?,
                other => other.append(value, out)?,
            }
        }
        append_short(out, &self.tail);
        Ok(())
    }
}

enum Part {
    Key,
    Value,
}

fn map(len: u64, keys: MapKeys, out: &mut Vec<u8>, mut append: impl FnMut(Part, &mut Vec<u8>) -> Rendered) -> Rendered {
    // Text around the whole, before a key, between key and value, behind a value.
    let [open, before, between, behind, close]: [&[u8]; 5] = match keys {
        MapKeys::Strings => [b"{", b"", b":", b"", b"}"],
        MapKeys::Quoted => [b"{", b"\"", b"\":", b"", b"}"],
        MapKeys::Pairs => [b"[", b"[", b",", b"]", b"]"],
    };
    out.extend_from_slice(open);
    for index in 0..len {
        separate(index, out);
        out.extend_from_slice(before);
        append(Part::Key, out)?;
        out.extend_from_slice(between);
        append(Part::Value, out)?;
        out.extend_from_slice(behind);
    }
    out.extend_from_slice(close);
    Ok(())
}

#[inline]
fn separate(index: u64, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

#[inline]
fn scalar(kind: Scalar, value: &mut Reader<'_>, out: &mut Vec<u8>) -> Rendered {
    match kind {
        Scalar::String => string(value, out)?,
        Scalar::U64 => json::unsigned(value.varint(64)?, out),
        Scalar::U32 => json::unsigned(value.varint(32)?, out),
        Scalar::U16 => json::unsigned(value.varint(16)?, out),
        Scalar::U8 => json::unsigned(value.byte()?.into(), out),
        Scalar::I64 => json::signed(value.zigzag(64)?, out),
        Scalar::I32 => json::signed(value.zigzag(32)?, out),
        Scalar::I16 => json::signed(value.zigzag(16)?, out),
        Scalar::I8 => json::signed((value.byte()? as i8).into(), out),
        Scalar::F64 => json::float(f64::from_le_bytes(value.array()?), out),
        Scalar::F32 => json::float(f32::from_le_bytes(value.array()?), out),
        Scalar::Bool => {
            let text: &[u8] = if value.bool()? { b"true" } else { b"false" };
            out.extend_from_slice(text);
        }
        Scalar::Unit => out.extend_from_slice(b"null"),
        Scalar::Char => char(value, out)?,
        Scalar::Bytes => json::base64(value.counted()?, out),
        Scalar::U128 => json::displayed(value.varint_long()?, out),
        Scalar::I128 => {
            let bits = value.varint_long()?;
            json::displayed((bits >> 1) as i128 ^ -((bits & 1) as i128), out);
        }
    }
    Ok(())
}

#[inline]
fn string(value: &mut Reader<'_>, out: &mut Vec<u8>) -> Rendered {
    let text = value.counted()?;
    let start = value.at - text.len();
    json::string(text, out).map_err(|valid| RenderError { at: start + valid, problem: Problem::NotUtf8 })
}

fn char(value: &mut Reader<'_>, out: &mut Vec<u8>) -> Rendered {
    let text = value.counted()?;
    let at = value.at - text.len();
    let is_char = std::str::from_utf8(text).is_ok_and(|text| text.chars().count() == 1);
    if !is_char {
        return Err(RenderError { at, problem: Problem::NotChar });
    }
    json::string(text, out).map_err(|_| RenderError { at, problem: Problem::NotUtf8 })
}

/// The bytes of a value and how far they are read.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How long the output may become.
    out_max: usize,
}

impl<'a> Reader<'a> {
    fn error<T>(&self, problem: Problem) -> Result<T, RenderError> {
        Err(RenderError { at: self.at, problem })
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, RenderError> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => self.error(Problem::Truncated),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RenderError> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => self.error(Problem::Truncated),
        }
    }

    fn bool(&mut self) -> Result<bool, RenderError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => {
                self.at -= 1;
                self.error(Problem::NotBool(other))
            }
        }
    }

    /// An unsigned integer of at most `bits` (at most 64) bits.
    #[inline]
    fn varint(&mut self, bits: u32) -> Result<u64, RenderError> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.varint_of(bits).map(|value| value as u64),
        }
    }

    #[inline]
    fn zigzag(&mut self, bits: u32) -> Result<i64, RenderError> {
        let bits = self.varint(bits)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    fn varint_long(&mut self) -> Result<u128, RenderError> {
        self.varint_of(128)
    }

    fn varint_of(&mut self, bits: u32) -> Result<u128, RenderError> {
        let mut value = 0;
        for shift in (0..bits).step_by(7) {
            let byte = self.byte()?;
            let low = u128::from(byte & 0x7f);
            if shift + 7 > bits && low >> (bits - shift) != 0 {
                return self.error(Problem::Overflow);
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        self.error(Problem::Overflow)
    }

    /// Bytes with their length before them.
    #[inline]
    fn counted(&mut self) -> Result<&'a [u8], RenderError> {
        let len = self.varint(64)?;
        let rest = &self.bytes[self.at..];
        match usize::try_from(len).ok().and_then(|len| rest.get(..len)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => self.error(Problem::Truncated),
        }
    }

    fn check_output(&self, out: &[u8]) -> Rendered {
        if out.len() > self.out_max { self.error(Problem::TooLong) } else { Ok(()) }
    }
}
