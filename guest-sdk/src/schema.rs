//! Schema documents: what the bytes of a type hold, as JSON that the host compares and renders with.
//!
//! The form is the contract's (`wit/types.wit`, `type schema`). The documents of stored state outlive the program that wrote them: tests freeze them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// How the bytes of a top-level value are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, as it is.
    Text,
    /// Bytes, as they are.
    Bytes,
    /// 8 bytes, little-endian.
    U64,
    /// No bytes at all.
    Unit,
    /// The postcard wire format.
    Postcard,
    /// JSON.
    Json,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::U64 => "u64",
            Self::Unit => "unit",
            Self::Postcard => "postcard",
            Self::Json => "json",
        }
    }
}

/// A type that can say what its bytes hold. Derive it beside `Serialize` or `Deserialize`; most types of the standard library have it.
///
/// ```
/// use wasmill_sdk::prelude::*;
///
/// #[derive(Serialize, Schema)]
/// struct Count<'a> {
///     word: &'a str,
///     count: u64,
/// }
/// assert_eq!(
///     Count::document(),
///     r#"{"encoding":"postcard","type":{"struct":{"name":"Count","fields":[["word","string"],["count","u64"]]}}}"#
/// );
/// assert_eq!(<&str>::document(), r#"{"encoding":"text"}"#);
/// ```
///
/// The derive understands `#[serde(rename)]`, `rename_all`, `rename_all_fields`, `skip` and `transparent`, and refuses what postcard can't do, such as `flatten`, `untagged`,
/// `tag` and `skip_serializing_if`:
///
/// ```compile_fail
/// # use wasmill_sdk::prelude::*;
/// #[derive(Serialize, Schema)]
/// struct Outer {
///     #[serde(flatten)]
///     inner: std::collections::BTreeMap<String, u64>,
/// }
/// ```
///
/// ```compile_fail
/// # use wasmill_sdk::prelude::*;
/// #[derive(Serialize, Schema)]
/// #[serde(tag = "type")]
/// enum Event {
///     Bought { amount: u64 },
/// }
/// ```
///
/// ```compile_fail
/// # use wasmill_sdk::prelude::*;
/// #[derive(Serialize, Schema)]
/// struct Sparse {
///     #[serde(skip_serializing_if = "Option::is_none")]
///     maybe: Option<u64>,
/// }
/// ```
pub trait Schema {
    /// How a value is encoded where it is not part of another one.
    const ENCODING: Encoding = Encoding::Postcard;

    /// Describes the type where it is part of another one, or postcard by itself.
    fn shape(shape: &mut Shape);

    /// How a top-level list of this type is encoded.
    #[doc(hidden)]
    const LIST_ENCODING: Encoding = Encoding::Postcard;

    /// Describes a list of this type. Only `u8` has a shape of its own for that.
    #[doc(hidden)]
    fn list_shape(shape: &mut Shape) {
        shape.wrapped("{\"list\":", Self::shape, "}");
    }

    /// The whole schema document.
    fn document() -> String {
        let mut shape = Shape { text: format!("{{\"encoding\":\"{}\"", Self::ENCODING.name()), depth: 0 };
        if Self::ENCODING == Encoding::Postcard {
            shape.wrapped(",\"type\":", Self::shape, "");
        }
        shape.text.push('}');
        shape.text
    }
}

/// Something that describes a type: [`Schema::shape`] of it.
pub type Describe = fn(&mut Shape);

/// A schema document that is being written.
pub struct Shape {
    text: String,
    depth: u32,
}

/// What a variant of an enum holds.
pub enum Variant<'a> {
    /// Nothing.
    Unit,
    /// One unnamed field.
    Newtype(Describe),
    /// Unnamed fields.
    Tuple(&'a [Describe]),
    /// Named fields.
    Struct(&'a [(&'a str, Describe)]),
}

impl Shape {
    /// Types nested deeper than this are taken for recursive ones, which have no finite document.
    const DEPTH_MAX: u32 = 64;

    /// A type without parts, such as `u64`.
    pub fn plain(&mut self, name: &str) {
        self.string(name);
    }

    /// A tuple.
    pub fn tuple(&mut self, parts: &[Describe]) {
        self.text.push_str("{\"tuple\":");
        self.parts(parts);
        self.text.push('}');
    }

    /// A map.
    pub fn map(&mut self, key: Describe, value: Describe) {
        self.text.push_str("{\"map\":");
        self.parts(&[key, value]);
        self.text.push('}');
    }

    /// A struct with named fields.
    pub fn structure(&mut self, name: &str, fields: &[(&str, Describe)]) {
        self.text.push_str("{\"struct\":{\"name\":");
        self.string(name);
        self.text.push_str(",\"fields\":");
        self.fields(fields);
        self.text.push_str("}}");
    }

    /// An enum.
    pub fn enumeration(&mut self, name: &str, variants: &[(&str, Variant<'_>)]) {
        self.text.push_str("{\"enum\":{\"name\":");
        self.string(name);
        self.text.push_str(",\"variants\":");
        self.listed(variants, |shape, (name, variant)| {
            shape.text.push('[');
            shape.string(name);
            shape.text.push(',');
            match variant {
                Variant::Unit => shape.string("unit"),
                Variant::Newtype(part) => shape.wrapped("{\"newtype\":", *part, "}"),
                Variant::Tuple(parts) => shape.tuple(parts),
                Variant::Struct(fields) => {
                    shape.text.push_str("{\"struct\":");
                    shape.fields(fields);
                    shape.text.push('}');
                }
            }
            shape.text.push(']');
        });
        self.text.push_str("}}");
    }

    fn fields(&mut self, fields: &[(&str, Describe)]) {
        self.listed(fields, |shape, (name, part)| {
            shape.text.push('[');
            shape.string(name);
            shape.wrapped(",", *part, "]");
        });
    }

    fn parts(&mut self, parts: &[Describe]) {
        self.listed(parts, |shape, part| shape.wrapped("", *part, ""));
    }

    fn listed<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.text.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            write(self, item);
        }
        self.text.push(']');
    }

    fn wrapped(&mut self, before: &str, part: Describe, after: &str) {
        self.text.push_str(before);
        self.depth += 1;
        assert!(
            self.depth <= Self::DEPTH_MAX,
            "a type that contains itself has no schema document: use Json<T> for it"
        );
        part(self);
        self.depth -= 1;
        self.text.push_str(after);
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' | '\\' => self.text.extend(['\\', character]),
                ' '.. => self.text.push(character),
                _ => self.text.push_str(&format!("\\u{:04x}", u32::from(character))),
            }
        }
        self.text.push('"');
    }
}

macro_rules! plain {
    ($($type:ty => $name:literal),* $(,)?) => {$(
        impl Schema for $type {
            fn shape(shape: &mut Shape) {
                shape.plain($name);
            }
        }
    )*};
}

plain! {
    bool => "bool", char => "char", f32 => "f32", f64 => "f64",
    u16 => "u16", u32 => "u32", u128 => "u128", usize => "u64",
    i8 => "i8", i16 => "i16", i32 => "i32", i64 => "i64", i128 => "i128", isize => "i64",
}

macro_rules! encoded {
    ($($type:ty => $encoding:ident, $name:literal),* $(,)?) => {$(
        impl Schema for $type {
            const ENCODING: Encoding = Encoding::$encoding;
            fn shape(shape: &mut Shape) {
                shape.plain($name);
            }
        }
    )*};
}

encoded! { str => Text, "string", String => Text, "string", u64 => U64, "u64", () => Unit, "unit" }

impl Schema for u8 {
    const LIST_ENCODING: Encoding = Encoding::Bytes;
    fn shape(shape: &mut Shape) {
        shape.plain("u8");
    }
    fn list_shape(shape: &mut Shape) {
        shape.plain("bytes");
    }
}

impl<T: Schema + ?Sized> Schema for &T {
    const ENCODING: Encoding = T::ENCODING;
    fn shape(shape: &mut Shape) {
        T::shape(shape);
    }
    fn list_shape(shape: &mut Shape) {
        T::list_shape(shape);
    }
}

macro_rules! list {
    ($([$($bound:tt)*] $type:ty),* $(,)?) => {$(
        impl<T: Schema $($bound)*> Schema for $type {
            const ENCODING: Encoding = T::LIST_ENCODING;
            fn shape(shape: &mut Shape) {
                T::list_shape(shape);
            }
        }
    )*};
}

list! { [] [T], [] Vec<T> }

macro_rules! sequence {
    ($($type:ident<T $(, $hasher:ident)?>),* $(,)?) => {$(
        impl<T: Schema $(, $hasher)?> Schema for $type<T $(, $hasher)?> {
            fn shape(shape: &mut Shape) {
                shape.wrapped("{\"list\":", T::shape, "}");
            }
        }
    )*};
}

sequence! { BTreeSet<T>, HashSet<T, S>, VecDeque<T> }

macro_rules! map {
    ($($type:ident<K, V $(, $hasher:ident)?>),* $(,)?) => {$(
        impl<K: Schema, V: Schema $(, $hasher)?> Schema for $type<K, V $(, $hasher)?> {
            fn shape(shape: &mut Shape) {
                shape.map(K::shape, V::shape);
            }
        }
    )*};
}

map! { BTreeMap<K, V>, HashMap<K, V, S> }

impl<T: Schema> Schema for Option<T> {
    fn shape(shape: &mut Shape) {
        shape.wrapped("{\"option\":", T::shape, "}");
    }
}

impl<T: Schema> Schema for Box<T> {
    fn shape(shape: &mut Shape) {
        T::shape(shape);
    }
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    fn shape(shape: &mut Shape) {
        shape.tuple(&[T::shape as Describe; N]);
    }
}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<$($name: Schema),+> Schema for ($($name,)+) {
            fn shape(shape: &mut Shape) {
                shape.tuple(&[$($name::shape),+]);
            }
        }
    };
}

tuple! { A }
tuple! { A B }
tuple! { A B C }
tuple! { A B C D }
tuple! { A B C D E }
tuple! { A B C D E F }
tuple! { A B C D E F G }
tuple! { A B C D E F G H }
