//! Short descriptions of schemas, for error messages.
//!
//! Long structs and deep types are cut: a message is read by a person. Whoever needs every detail prints the document.

use std::fmt::{Formatter, Result, Write};

use super::{
    Encoding,
    document::{Fields, Scalar, Type, Variant},
};

/// How many fields or variants are named.
const PARTS_MAX: usize = 12;
/// How many structs and enums inside one another are opened.
const OPENED_MAX: usize = 2;

pub(super) fn schema(encoding: Encoding, shape: Option<&Type>, f: &mut Formatter<'_>) -> Result {
    let Some(shape) = shape else {
        return f.write_str(match encoding {
            Encoding::Text => "text",
            Encoding::Bytes => "bytes",
            Encoding::U64 => "a u64 in 8 bytes",
            Encoding::Unit => "a unit (no bytes)",
            Encoding::Postcard => "postcard",
            Encoding::Json => "a JSON document",
            Encoding::Opaque => "opaque bytes",
        });
    };
    of_type(shape, f)?;
    f.write_str(" in postcard")
}

/// A type alone, with its article.
pub(super) fn of_type(shape: &Type, f: &mut Formatter<'_>) -> Result {
    f.write_str(article(shape))?;
    describe(shape, OPENED_MAX, f)
}

fn article(shape: &Type) -> &'static str {
    use Scalar::{F32, F64, I8, I16, I32, I64, I128};
    match shape {
        Type::Scalar(I8 | I16 | I32 | I64 | I128 | F32 | F64) => "an ",
        Type::Option(_) | Type::Enum { .. } => "an ",
        Type::Scalar(Scalar::Bytes) => "",
        _ => "a ",
    }
}

fn describe(shape: &Type, open: usize, f: &mut Formatter<'_>) -> Result {
    match shape {
        Type::Scalar(scalar) => f.write_str(scalar.name()),
        Type::Option(item) => one("option", item, open, f),
        Type::List(item) => one("list", item, open, f),
        Type::Map(key, value) => {
            f.write_str("map<")?;
            describe(key, open, f)?;
            f.write_str(", ")?;
            describe(value, open, f)?;
            f.write_char('>')
        }
        Type::Tuple(items) => {
            f.write_str("tuple ")?;
            tuple(items, open, f)
        }
        Type::Struct { name, fields } => {
            write!(f, "struct {name} ")?;
            braces(fields, open, f)
        }
        Type::Enum { name, variants } => {
            write!(f, "enum {name} ")?;
            if open == 0 {
                return f.write_str("{ … }");
            }
            listed('{', variants, '}', f, |(name, variant), f| {
                f.write_str(name)?;
                match variant {
                    Variant::Unit => Ok(()),
                    Variant::Newtype(item) => tuple(std::slice::from_ref(item), open - 1, f),
                    Variant::Tuple(items) => tuple(items, open - 1, f),
                    Variant::Struct(fields) => {
                        f.write_char(' ')?;
                        braces(fields, open - 1, f)
                    }
                }
            })
        }
    }
}

fn one(kind: &str, item: &Type, open: usize, f: &mut Formatter<'_>) -> Result {
    write!(f, "{kind}<")?;
    describe(item, open, f)?;
    f.write_char('>')
}

fn tuple(items: &[Type], open: usize, f: &mut Formatter<'_>) -> Result {
    listed('(', items, ')', f, |item, f| describe(item, open, f))
}

fn braces(fields: &Fields, open: usize, f: &mut Formatter<'_>) -> Result {
    if open == 0 {
        return f.write_str("{ … }");
    }
    listed('{', fields, '}', f, |(name, shape), f| {
        write!(f, "{name}: ")?;
        describe(shape, open - 1, f)
    })
}

fn listed<T>(
    left: char,
    parts: &[T],
    right: char,
    f: &mut Formatter<'_>,
    each: impl Fn(&T, &mut Formatter<'_>) -> Result,
) -> Result {
    let pad = if left == '{' { " " } else { "" };
    write!(f, "{left}{pad}")?;
    for (index, part) in parts.iter().take(PARTS_MAX).enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        each(part, f)?;
    }
    if parts.len() > PARTS_MAX {
        write!(f, ", … {} more", parts.len() - PARTS_MAX)?;
    }
    write!(f, "{pad}{right}")
}
