//! Map keys: bytes in the order of what they stand for, to JSON and back.
//!
//! The encoding is frozen in the SDK's module of the same name: unsigned numbers are big-endian; so are signed ones, with the sign bit flipped; a bool is one byte, a char its number in
//! four; text and bytes are as they are. The parts of a tuple follow one another; text or bytes that are not its last part have a zero written as `00 FF` and end with `00 01`.
//!
//! A schema tells what the parts are: `text`, `bytes`, `u64`, `unit`, or `postcard` with a type of these. Map keys of other types have no such form: nobody but the operator knows
//! theirs, and they are shown as bytes.

use super::{
    Encoding, Problem, RenderError, Schema,
    document::{Scalar, Type},
    json,
    typed::{self, TypedError},
};

/// After a zero: the zero is part of the string.
const ESCAPED: u8 = 0xFF;
/// After a zero: the string ends.
const ENDED: u8 = 0x01;

/// Which part of a key it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Something follows.
    Inner,
    /// The last or the only one.
    Last,
}

/// How a schema's map keys are made.
enum Form<'s> {
    /// By the encoding alone.
    Plain(Scalar),
    Typed(&'s Type),
    /// Documents, and what has no order.
    Other(Encoding),
}

impl Schema {
    fn map_key_form(&self) -> Form<'_> {
        match (self.encoding, self.shape()) {
            (Encoding::Text, _) => Form::Plain(Scalar::String),
            (Encoding::U64, _) => Form::Plain(Scalar::U64),
            (Encoding::Unit, _) => Form::Plain(Scalar::Unit),
            (Encoding::Postcard, Some(shape)) if is_ordered(shape) => Form::Typed(shape),
            (Encoding::Json, _) => Form::Other(Encoding::Json),
            (Encoding::Bytes | Encoding::Opaque | Encoding::Postcard, _) => Form::Other(Encoding::Bytes),
        }
    }

    /// Appends a map key to `out` as [`Schema::render_json`] does a value. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`RenderError`] when the bytes are not what the schema says.
    pub fn render_map_key(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RenderError> {
        let before = out.len();
        let mut key = Reader { bytes, at: 0 };
        let rendered = match self.map_key_form() {
            Form::Plain(kind) => key.scalar(kind, Part::Last, out),
            Form::Typed(shape) => key.part(shape, Part::Last, out),
            Form::Other(encoding) => {
                key.at = bytes.len();
                super::render::plain(encoding, bytes, out)
            }
        };
        let rendered =
            rendered.and_then(|()| if key.at == bytes.len() { Ok(()) } else { key.error(Problem::Trailing) });
        if rendered.is_err() {
            out.truncate(before);
        }
        rendered
    }

    /// Whether map keys, in quotes where they are not strings, can be the names of an object's members.
    pub fn map_keys_are_names(&self) -> bool {
        match self.map_key_form() {
            Form::Plain(Scalar::Unit) | Form::Typed(Type::Tuple(_) | Type::Scalar(Scalar::Unit)) => false,
            Form::Plain(_) | Form::Typed(_) => true,
            Form::Other(encoding) => encoding == Encoding::Bytes,
        }
    }

    /// The bytes of a map key that a person has typed, as for [`Schema::bytes_of_typed`].
    ///
    /// # Errors
    /// [`TypedError`] when the text is none of this schema.
    pub fn map_key_of_typed(&self, text: &str) -> Result<Vec<u8>, TypedError> {
        let scalar;
        let shape = match self.map_key_form() {
            Form::Plain(kind) => {
                scalar = Type::Scalar(kind);
                &scalar
            }
            Form::Typed(shape) => shape,
            Form::Other(encoding) => return Self::plain(encoding).bytes_of_typed(text),
        };
        let mut out = Vec::new();
        write(shape, &typed::value(shape, text)?, Part::Last, &mut out)?;
        Ok(out)
    }
}

/// Whether keys of this type have the order-preserving form.
fn is_ordered(shape: &Type) -> bool {
    match shape {
        Type::Scalar(kind) => !matches!(kind, Scalar::F32 | Scalar::F64),
        Type::Tuple(parts) => parts.iter().all(is_ordered),
        Type::Option(_) | Type::List(_) | Type::Map(..) | Type::Struct { .. } | Type::Enum { .. } => false,
    }
}

/// Which of a tuple's parts is the last is the tuple's own affair only where nothing follows the tuple.
fn part_of(index: usize, parts: usize, whole: Part) -> Part {
    if index + 1 == parts { whole } else { Part::Inner }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn error<T>(&self, problem: Problem) -> Result<T, RenderError> {
        Err(RenderError { at: self.at, problem })
    }

    fn part(&mut self, shape: &Type, part: Part, out: &mut Vec<u8>) -> Result<(), RenderError> {
        match shape {
            Type::Scalar(kind) => self.scalar(*kind, part, out),
            Type::Tuple(parts) => {
                out.push(b'[');
                for (index, shape) in parts.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.part(shape, part_of(index, parts.len(), part), out)?;
                }
                out.push(b']');
                Ok(())
            }
            // Not ordered: never asked for.
            Type::Option(_) | Type::List(_) | Type::Map(..) | Type::Struct { .. } | Type::Enum { .. } => Ok(()),
        }
    }

    fn scalar(&mut self, kind: Scalar, part: Part, out: &mut Vec<u8>) -> Result<(), RenderError> {
        match kind {
            Scalar::Unit | Scalar::F32 | Scalar::F64 => out.extend_from_slice(b"null"),
            Scalar::Bool => match self.array()? {
                [0] => out.extend_from_slice(b"false"),
                [1] => out.extend_from_slice(b"true"),
                [other] => {
                    self.at -= 1;
                    return self.error(Problem::NotBool(other));
                }
            },
            Scalar::U8 => json::displayed(u8::from_be_bytes(self.array()?), out),
            Scalar::U16 => json::displayed(u16::from_be_bytes(self.array()?), out),
            Scalar::U32 => json::displayed(u32::from_be_bytes(self.array()?), out),
            Scalar::U64 => json::displayed(u64::from_be_bytes(self.array()?), out),
            Scalar::U128 => json::displayed(u128::from_be_bytes(self.array()?), out),
            Scalar::I8 => json::displayed(i8::from_be_bytes(self.array()?) ^ i8::MIN, out),
            Scalar::I16 => json::displayed(i16::from_be_bytes(self.array()?) ^ i16::MIN, out),
            Scalar::I32 => json::displayed(i32::from_be_bytes(self.array()?) ^ i32::MIN, out),
            Scalar::I64 => json::displayed(i64::from_be_bytes(self.array()?) ^ i64::MIN, out),
            Scalar::I128 => json::displayed(i128::from_be_bytes(self.array()?) ^ i128::MIN, out),
            Scalar::Char => {
                let at = self.at;
                let Some(character) = char::from_u32(u32::from_be_bytes(self.array()?)) else {
                    return Err(RenderError { at, problem: Problem::NotChar });
                };
                json::string(character.encode_utf8(&mut [0; 4]).as_bytes(), out).expect("a char is UTF-8");
            }
            Scalar::String => {
                let at = self.at;
                let text = self.string(part)?;
                json::string(&text, out).map_err(|valid| RenderError { at: at + valid, problem: Problem::NotUtf8 })?;
            }
            Scalar::Bytes => json::base64(&self.string(part)?, out),
        }
        Ok(())
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

    fn string(&mut self, part: Part) -> Result<std::borrow::Cow<'a, [u8]>, RenderError> {
        let rest = &self.bytes[self.at..];
        if part == Part::Last {
            self.at = self.bytes.len();
            return Ok(rest.into());
        }
        let mut out = Vec::new();
        loop {
            let [byte] = self.array()?;
            if byte != 0 {
                out.push(byte);
                continue;
            }
            match self.array()? {
                [ESCAPED] => out.push(0),
                [ENDED] => return Ok(out.into()),
                _ => {
                    self.at -= 1;
                    return self.error(Problem::NotEscaped);
                }
            }
        }
    }
}

/// Appends the bytes of a JSON value.
fn write(shape: &Type, value: &serde_json::Value, part: Part, out: &mut Vec<u8>) -> Result<(), TypedError> {
    let number = |bits| typed::integer(shape, value, bits);
    match shape {
        Type::Scalar(Scalar::Bool) => out.push(u8::from(typed::bool(shape, value)?)),
        Type::Scalar(Scalar::U8 | Scalar::I8) => out.extend((number(8)? as u8 ^ sign(shape, 8) as u8).to_be_bytes()),
        Type::Scalar(Scalar::U16 | Scalar::I16) => {
            out.extend((number(16)? as u16 ^ sign(shape, 16) as u16).to_be_bytes());
        }
        Type::Scalar(Scalar::U32 | Scalar::I32) => {
            out.extend((number(32)? as u32 ^ sign(shape, 32) as u32).to_be_bytes());
        }
        Type::Scalar(Scalar::U64 | Scalar::I64) => {
            out.extend((number(64)? as u64 ^ sign(shape, 64) as u64).to_be_bytes());
        }
        Type::Scalar(Scalar::U128 | Scalar::I128) => out.extend((number(128)? ^ sign(shape, 128)).to_be_bytes()),
        Type::Scalar(Scalar::Char) => out.extend(u32::from(typed::char(shape, value)?).to_be_bytes()),
        Type::Scalar(Scalar::String) => string(typed::text(shape, value)?.as_bytes(), part, out),
        Type::Scalar(Scalar::Bytes) => string(&typed::base64(shape, value)?, part, out),
        Type::Scalar(Scalar::Unit) => typed::unit(shape, value)?,
        Type::Tuple(parts) => {
            for (index, (shape, value)) in parts.iter().zip(typed::items(shape, value, parts.len())?).enumerate() {
                write(shape, value, part_of(index, parts.len(), part), out)?;
            }
        }
        _ => return Err(TypedError::expected(shape, value)),
    }
    Ok(())
}

/// The sign bit of a signed type, 0 for others.
fn sign(shape: &Type, bits: u32) -> u128 {
    use Scalar::{I8, I16, I32, I64, I128};
    if matches!(shape, Type::Scalar(I8 | I16 | I32 | I64 | I128)) { 1 << (bits - 1) } else { 0 }
}

fn string(bytes: &[u8], part: Part, out: &mut Vec<u8>) {
    if part == Part::Last {
        out.extend_from_slice(bytes);
        return;
    }
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(ESCAPED);
        }
    }
    out.extend([0, ENDED]);
}

#[cfg(test)]
mod tests;
