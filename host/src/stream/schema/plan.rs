//! A postcard type compiled for rendering: what is the same for every value is written out beforehand.
//!
//! A struct, a tuple and each variant of an enum become a [`Sequence`]: pieces of fixed text, each before a part, and a tail. So the names of fields are
//! escaped once, and rendering knows no difference between them.

use super::{
    document::{Fields, Scalar, Type, Variant},
    json,
};

/// How a type is rendered.
pub(super) enum Plan {
    Scalar(Scalar),
    Option(Box<Plan>),
    List(Box<Plan>),
    Map { key: Box<Plan>, value: Box<Plan>, keys: MapKeys },
    Sequence(Sequence),
    Enum(Box<[Sequence]>),
}

/// Fixed text with values in between.
pub(super) struct Sequence {
    /// Text and the value that follows it.
    pub(super) parts: Box<[(Box<[u8]>, Plan)]>,
    /// Text behind the last value.
    pub(super) tail: Box<[u8]>,
}

/// What the keys of a map become.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MapKeys {
    /// They are JSON strings already: names of members.
    Strings,
    /// Put in quotes they are names of members.
    Quoted,
    /// They can't be names: the map is a list of pairs.
    Pairs,
}

impl Plan {
    /// Compiles a type.
    pub(super) fn compile(shape: &Type) -> Self {
        match shape {
            Type::Scalar(scalar) => Self::Scalar(*scalar),
            Type::Option(item) => Self::Option(Box::new(Self::compile(item))),
            Type::List(item) => Self::List(Box::new(Self::compile(item))),
            Type::Map(key, value) => Self::Map {
                key: Box::new(Self::compile(key)),
                value: Box::new(Self::compile(value)),
                keys: map_keys(key),
            },
            Type::Tuple(items) => Self::Sequence(Sequence::tuple(items)),
            Type::Struct { fields, .. } => Self::Sequence(Sequence::object(fields)),
            Type::Enum { variants, .. } => {
                Self::Enum(variants.iter().map(|(name, body)| variant(name, body)).collect())
            }
        }
    }
}

impl Sequence {
    fn tuple(items: &[Type]) -> Self {
        let parts = items.iter().map(|item| (Vec::new(), item));
        Self::listed(b"[", parts, b"]")
    }

    fn object(fields: &Fields) -> Self {
        let parts = fields.iter().map(|(name, shape)| (member_name(name), shape));
        Self::listed(b"{", parts, b"}")
    }

    fn listed<'a>(open: &[u8], parts: impl Iterator<Item = (Vec<u8>, &'a Type)>, close: &[u8]) -> Self {
        let part = |(index, (text, shape)): (usize, (Vec<u8>, &Type))| {
            let before = if index == 0 { open } else { b"," };
            ([before, &text].concat().into_boxed_slice(), Plan::compile(shape))
        };
        let parts: Box<[_]> = parts.enumerate().map(part).collect();
        let tail = if parts.is_empty() { [open, close].concat() } else { close.to_vec() };
        Self { parts, tail: tail.into() }
    }

    /// The same between two more texts.
    fn wrapped(mut self, before: &[u8], behind: &[u8]) -> Self {
        let first = self.parts.first_mut().map_or(&mut self.tail, |(text, _)| text);
        *first = [before, first].concat().into();
        self.tail = [&self.tail, behind].concat().into();
        self
    }
}

/// A variant as serde tags it: its name alone, or an object with its name as the only member.
fn variant(name: &str, body: &Variant) -> Sequence {
    let tagged = |sequence: Sequence| {
        let mut before = vec![b'{'];
        before.extend(member_name(name));
        sequence.wrapped(&before, b"}")
    };
    match body {
        Variant::Unit => Sequence { parts: Box::default(), tail: quoted(name).into() },
        Variant::Newtype(item) => tagged(Sequence::listed(b"", [(Vec::new(), item)].into_iter(), b"")),
        Variant::Tuple(items) => tagged(Sequence::tuple(items)),
        Variant::Struct(fields) => tagged(Sequence::object(fields)),
    }
}

fn member_name(name: &str) -> Vec<u8> {
    let mut text = quoted(name);
    text.push(b':');
    text
}

fn quoted(name: &str) -> Vec<u8> {
    let mut text = Vec::new();
    json::string(name.as_bytes(), &mut text).expect("a name is a str, so it is UTF-8");
    text
}

fn map_keys(key: &Type) -> MapKeys {
    use Scalar::{Bytes, Char, F32, F64, String, Unit};
    match key {
        Type::Scalar(String | Char | Bytes) => MapKeys::Strings,
        Type::Scalar(F32 | F64 | Unit) => MapKeys::Pairs,
        Type::Scalar(_) => MapKeys::Quoted,
        Type::Enum { variants, .. } if variants.iter().all(|(_, body)| *body == Variant::Unit) => MapKeys::Strings,
        _ => MapKeys::Pairs,
    }
}
