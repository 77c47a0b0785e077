//! The key of a record, found in its JSON document.
//!
//! One pass over the document checks it and finds the key; nothing is built but the key. Where a member is there twice, the last one counts, as most parsers have
//! it.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

use super::records::Invalid;
use crate::stream::{KEY_BYTES_MAX, schema::Schema};

/// Where in a JSON document the key of its record is, and what it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonKey {
    /// As it was written.
    text: String,
    steps: Vec<Step>,
    kind: KeyType,
}

/// What a key is: in the document, and as the key of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyType {
    /// A string; the key is its text.
    #[default]
    Text,
    /// An integer from 0 to 2^64 - 1; the key is its 8 bytes, little-endian.
    U64,
}

/// Why a text says no place in a document.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyPathError {
    /// It is empty: that would be the document itself.
    #[error("must not be empty; write the name of a member, or a JSON pointer such as \"/user/id\"")]
    Empty,
    /// A `~` in a JSON pointer is followed by something else than 0 and 1.
    #[error("is not a JSON pointer (RFC 6901): a `~` is written `~0`, and a `/` within a name `~1`")]
    Escape,
}

/// A way down into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    /// Of a member of an object.
    name: String,
    /// Of an element of an array, if it can be one.
    index: Option<usize>,
}

impl JsonKey {
    /// The key at `path`: the name of a member of the document, or, if it begins with `/`, a JSON pointer (RFC 6901).
    ///
    /// # Errors
    /// When the path is neither.
    pub fn new(path: &str, kind: KeyType) -> Result<Self, KeyPathError> {
        let steps = match path.strip_prefix('/') {
            None if path.is_empty() => return Err(KeyPathError::Empty),
            None => vec![Step { name: path.to_owned(), index: None }],
            Some(pointer) => pointer.split('/').map(Step::parse).collect::<Result<_, _>>()?,
        };
        Ok(Self { text: path.to_owned(), steps, kind })
    }

    /// Schema of the keys.
    pub(super) fn schema(&self) -> Schema {
        self.kind.schema()
    }
}

impl KeyType {
    /// Schema of such keys.
    pub(super) fn schema(self) -> Schema {
        match self {
            Self::Text => Schema::text(),
            Self::U64 => Schema::u64(),
        }
    }
}

impl Step {
    /// A reference token of a JSON pointer.
    fn parse(token: &str) -> Result<Self, KeyPathError> {
        let mut parts = token.split('~');
        let mut name = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (escaped, rest) = match (part.strip_prefix('0'), part.strip_prefix('1')) {
                (Some(rest), _) => ('~', rest),
                (_, Some(rest)) => ('/', rest),
                (None, None) => return Err(KeyPathError::Escape),
            };
            name.push(escaped);
            name.push_str(rest);
        }
        // RFC 6901: no leading zeros, no sign.
        let is_index = name == "0" || (!name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit()));
        let index = if is_index { name.parse().ok() } else { None };
        Ok(Self { name, index })
    }
}

/// Finds the keys of documents, one after the other.
pub(super) struct KeyFinder {
    key: JsonKey,
    found: Found,
}

/// What is at the place of the key.
struct Found {
    kind: KeyType,
    at_place: AtPlace,
    /// The key's bytes, if it is one.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AtPlace {
    Nothing,
    Key,
    /// Something that is not of the key's type.
    Other(&'static str),
}

impl KeyFinder {
    pub(super) fn new(key: JsonKey) -> Self {
        let found = Found { kind: key.kind, at_place: AtPlace::Nothing, bytes: Vec::new() };
        Self { key, found }
    }

    /// Checks that `document`, which is UTF-8, is one JSON document, and finds its key.
    ///
    /// # Errors
    /// When it is none, or its key is missing, of another type or too long.
    pub(super) fn find(&mut self, document: &[u8]) -> Result<&[u8], Invalid> {
        self.found.at_place = AtPlace::Nothing;
        let mut parser = serde_json::Deserializer::from_slice(document);
        let walk = Walk { steps: &self.key.steps, found: &mut self.found };
        let walked = walk.deserialize(&mut parser).and_then(|()| parser.end());
        walked.map_err(|error| Invalid::document(&error))?;
        match self.found.at_place {
            AtPlace::Key if self.found.bytes.len() <= KEY_BYTES_MAX => Ok(&self.found.bytes),
            _ => Err(self.invalid()),
        }
    }

    #[cold]
    fn invalid(&self) -> Invalid {
        let path = &self.key.text;
        Invalid::key(match (self.found.at_place, self.key.kind) {
            (AtPlace::Nothing, _) => format!("the record has no `{path}` to take its key from"),
            (AtPlace::Other("a number"), KeyType::Text) => {
                format!("the record's key `{path}` is a number, not a string (key-type = \"u64\" takes whole numbers)")
            }
            (AtPlace::Other(what), KeyType::Text) => format!("the record's key `{path}` is {what}, not a string"),
            (AtPlace::Other("a number"), KeyType::U64) => {
                format!("the record's key `{path}` is not a whole number from 0 to 2^64 - 1")
            }
            (AtPlace::Other("a string"), KeyType::U64) => {
                format!("the record's key `{path}` is a string, not a number (key-type = \"text\" takes strings)")
            }
            (AtPlace::Other(what), KeyType::U64) => format!("the record's key `{path}` is {what}, not a number"),
            (AtPlace::Key, _) => {
                format!(
                    "the record's key `{path}` has {} bytes; at most {KEY_BYTES_MAX} are taken",
                    self.found.bytes.len()
                )
            }
        })
    }
}

impl Found {
    fn set(&mut self, kind: KeyType, bytes: &[u8], what: &'static str) {
        self.at_place = if kind == self.kind { AtPlace::Key } else { AtPlace::Other(what) };
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
    }
}

/// Goes down into a document, and past everything that is not on the way.
struct Walk<'a> {
    steps: &'a [Step],
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<(), D::Error> {
        document.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON document")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<(), M::Error> {
        let Some((step, deeper)) = self.steps.split_first() else {
            self.found.at_place = AtPlace::Other("an object");
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        while let Some(is_step) = members.next_key_seed(IsName(&step.name))? {
            if is_step {
                // What an earlier member of the name held does not count.
                self.found.at_place = AtPlace::Nothing;
                members.next_value_seed(Walk { steps: deeper, found: &mut *self.found })?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut elements: S) -> Result<(), S::Error> {
        let Some((step, deeper)) = self.steps.split_first() else {
            self.found.at_place = AtPlace::Other("an array");
            while elements.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        for index in 0.. {
            let more = if Some(index) == step.index {
                elements.next_element_seed(Walk { steps: deeper, found: &mut *self.found })?.is_some()
            } else {
                elements.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if self.steps.is_empty() {
            self.found.set(KeyType::Text, text.as_bytes(), "a string");
        }
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        if self.steps.is_empty() {
            self.found.set(KeyType::U64, &number.to_le_bytes(), "a number");
        }
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.other("a number")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.other("a boolean")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.other("null")
    }
}

impl Walk<'_> {
    fn other<E>(self, what: &'static str) -> Result<(), E> {
        if self.steps.is_empty() {
            self.found.at_place = AtPlace::Other(what);
        }
        Ok(())
    }
}

/// Whether the name of a member is this one.
struct IsName<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<bool, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}
