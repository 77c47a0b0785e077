//! What the bytes of keys, values and state hold, and how they look as JSON.
//!
//! A schema is a small JSON document, `{"encoding": E, "type": T}`, that operators hand over when they describe themselves (`type schema` in `wit/types.wit`).
//! It is stored in manifests, so its form is frozen: golden tests hold it fast. Two operators fit on an edge when their schemas are equal, names of structs and
//! fields included; white space and the order of a document's members say nothing.
//!
//! Rendering is on the record path of sinks: the type is compiled once, and a value becomes JSON in one pass over its bytes, without a tree in between. Bytes
//! come from guests, so any bytes are answered with a document or an error, never with a panic, a deep recursion or output without bound.
//!
//! | encoding | as JSON |
//! |---|---|
//! | text | a string; bytes that are not UTF-8 are an error |
//! | bytes, opaque | a string in base64 (RFC 4648, standard alphabet, padded) |
//! | u64 | a number |
//! | unit | `null` |
//! | json | the document itself; white space is removed if it holds line breaks |
//! | postcard | as `serde_json` would write the value, except: `bytes` are base64; floats that are not finite are `null`; maps whose keys can't be the names of an object's members are lists of pairs |
//!
//! The keys of map state have an encoding of their own, in which bytes are ordered as keys are: see [`Schema::render_map_key`]. The way back, from JSON to bytes, is there for what a person
//! types: [`Schema::bytes_of_typed`].

mod describe;
mod document;
mod json;
mod map_key;
mod plan;
mod render;
#[cfg(test)]
mod tests;
mod typed;

use std::{fmt, sync::Arc};

use document::Type;
use plan::Plan;
use thiserror::Error;

pub use render::{Problem, RenderError};
pub use typed::TypedError;

/// The longest schema document that is read, in bytes. The largest that a derive makes of real types is a few KiB.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// How deep types may nest. It bounds the recursion of everything that walks a type, rendering included. (Types nested deeper than about 18 enums or 31 structs
/// are refused earlier, by the JSON parser's own bound.)
pub const DEPTH_MAX: usize = 32;

/// How bytes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8.
    Text,
    /// Bytes as they are.
    Bytes,
    /// An integer in 8 bytes, little-endian.
    U64,
    /// No bytes at all.
    Unit,
    /// The postcard wire format 1.0; the schema has a type.
    Postcard,
    /// A JSON document.
    Json,
    /// Nobody but the operator reads them.
    Opaque,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Text, Self::Bytes, Self::U64, Self::Unit, Self::Postcard, Self::Json, Self::Opaque];

    /// The name in schema documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::U64 => "u64",
            Self::Unit => "unit",
            Self::Postcard => "postcard",
            Self::Json => "json",
            Self::Opaque => "opaque",
        }
    }
}

/// Why a document is not a schema.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// It is not JSON, or nested too deeply for the JSON parser.
    #[error("the schema is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is longer than [`DOCUMENT_BYTES_MAX`].
    #[error("the schema is {0} bytes long; at most {DOCUMENT_BYTES_MAX} are read")]
    TooLong(usize),
    /// It has an encoding that this version does not know.
    #[error("the schema has the encoding \"{0}\", which is none of {known}", known = Encoding::ALL.map(Encoding::name).join(", "))]
    UnknownEncoding(String),
    /// Something in it is not as it should be.
    #[error("the schema is wrong at `{at}`: {problem}")]
    Malformed {
        /// Where, as in `type.struct.fields[1]`.
        at: String,
        /// What is wrong there.
        problem: String,
    },
}

/// What the bytes of a key, a value or a piece of state hold. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    encoding: Encoding,
    /// There if and only if the encoding is postcard.
    compiled: Option<Arc<Compiled>>,
}

struct Compiled {
    shape: Type,
    plan: Plan,
}

impl Schema {
    /// UTF-8 text.
    pub fn text() -> Self {
        Self::plain(Encoding::Text)
    }

    /// Bytes as they are.
    pub fn bytes() -> Self {
        Self::plain(Encoding::Bytes)
    }

    /// An integer in 8 bytes, little-endian.
    pub fn u64() -> Self {
        Self::plain(Encoding::U64)
    }

    /// No bytes at all.
    pub fn unit() -> Self {
        Self::plain(Encoding::Unit)
    }

    /// A JSON document.
    pub fn json() -> Self {
        Self::plain(Encoding::Json)
    }

    /// Bytes that nobody but the operator reads.
    pub fn opaque() -> Self {
        Self::plain(Encoding::Opaque)
    }

    /// Reads a schema document.
    ///
    /// # Errors
    /// [`SchemaError`] when the document is malformed, or has an encoding, a type or a member that this version does not know.
    pub fn parse(document: &str) -> Result<Self, SchemaError> {
        let (encoding, shape) = document::parse(document)?;
        let compiled = shape.map(|shape| Arc::new(Compiled { plan: Plan::compile(&shape), shape }));
        Ok(Self { encoding, compiled })
    }

    /// The schema's document in its one canonical form, compact JSON.
    pub fn document(&self) -> String {
        document::write(self.encoding, self.shape())
    }

    /// How the bytes are made.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Appends `bytes` to `out` as one compact JSON document without line breaks. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`RenderError`] when the bytes are not what the schema says.
    pub fn render_json(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RenderError> {
        let before = out.len();
        let result = match &self.compiled {
            Some(compiled) => compiled.plan.render(bytes, out),
            None => render::plain(self.encoding, bytes, out),
        };
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    fn plain(encoding: Encoding) -> Self {
        Self { encoding, compiled: None }
    }

    fn shape(&self) -> Option<&Type> {
        self.compiled.as_ref().map(|compiled| &compiled.shape)
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.encoding == other.encoding && self.shape() == other.shape()
    }
}

impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.document())
    }
}

/// A short description for error messages, as in "a struct Count { word: string, count: u64 } in postcard".
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe::schema(self.encoding, self.shape(), f)
    }
}
