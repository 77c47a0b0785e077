//! From values to bytes and back. At the edges bytes are plain: text is UTF-8, bytes are bytes, `u64` is 8 bytes; everything else is postcard, or [`Json`].
//!
//! `Encode` and `Decode` have one blanket implementation each, for what serde knows and [`Postcard`] marks, and explicit ones for the plain edges, which are not
//! marked. What is written here is stored: tests freeze the bytes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bytes::{append, append_word};
use crate::postcard;
use crate::schema::{Encoding, Schema, Shape};
use crate::{Error, Result};

/// A value that can be turned into bytes.
///
/// ```
/// use wasmill_sdk::{Encode, Json};
///
/// fn bytes(value: impl Encode) -> Vec<u8> {
///     let mut bytes = Vec::new();
///     value.encode(&mut bytes).unwrap();
///     bytes
/// }
/// assert_eq!(bytes("word"), b"word");
/// assert_eq!(bytes(258_u64), [2, 1, 0, 0, 0, 0, 0, 0]);
/// assert!(bytes(()).is_empty());
/// assert_eq!(bytes(("word", 258_u64)), b"\x04word\x82\x02"); // postcard
/// assert_eq!(bytes(Json(("word", 258))), br#"["word",258]"#);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be turned into bytes",
    note = "derive `Serialize` and `Schema` for it, or wrap it in `Json<T>`"
)]
pub trait Encode: Schema {
    /// Appends the bytes. After an error, what was appended is to be dropped.
    fn encode(&self, into: &mut Vec<u8>) -> Result<()>;

    /// Values of this type have no bytes.
    #[doc(hidden)]
    const EMPTY: bool = false;
}

/// A value that can be made from bytes, which it may borrow from.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be made from bytes",
    note = "derive `Deserialize` and `Schema` for it, or wrap it in `Json<T>`"
)]
pub trait Decode<'a>: Schema + Sized {
    /// Makes the value. All bytes must be used up.
    fn decode(bytes: &'a [u8]) -> Result<Self>;

    /// As `decode` of the first `length` of `bytes`; what lies behind them may be looked at, to read several at once.
    ///
    /// # Panics
    /// When there are not so many.
    #[doc(hidden)]
    #[inline(always)]
    fn decode_first(bytes: &'a [u8], length: usize) -> Result<Self> {
        Self::decode(&bytes[..length])
    }

    /// The bytes of this type are UTF-8: the SDK then checks a whole column at once.
    #[doc(hidden)]
    const TEXT: bool = false;

    /// Values of this type have no bytes: where a whole column has none, the SDK does not look at each.
    #[doc(hidden)]
    const EMPTY: bool = false;

    /// As `decode`, for bytes that are known to be UTF-8 where `TEXT` is true.
    ///
    /// # Safety
    /// Where `TEXT` is true, the bytes are valid UTF-8.
    #[doc(hidden)]
    #[inline(always)]
    unsafe fn decode_checked(bytes: &'a [u8]) -> Result<Self> {
        Self::decode(bytes)
    }
}

/// A value that can be kept in state.
pub trait Value: Encode + for<'a> Decode<'a> + 'static {}

impl<T: Encode + for<'a> Decode<'a> + 'static> Value for T {}

/// Marks a type whose bytes are postcard's. `#[derive(Schema)]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no encoding",
    note = "derive `Schema` for it, and `Serialize` or `Deserialize`; or wrap it in `Json<T>`"
)]
pub trait Postcard: Schema {}

/// Marks what a list may hold that is postcard's: everything but `u8`, a list of which is plain bytes.
#[doc(hidden)]
pub trait Item {}

impl<T: Postcard + ?Sized> Item for T {}

macro_rules! items {
    ($($type:ty),*) => { $(impl Item for $type {})* };
}

items! { String, u64, (), &str, &[u8], Vec<u8> }

macro_rules! marked {
    ($([$($generics:tt)*] $type:ty),* $(,)?) => { $(impl<$($generics)*> Postcard for $type {})* };
}

marked! {
    [] bool, [] char, [] f32, [] f64, [] u16, [] u32, [] u128, [] usize, [] i8, [] i16, [] i32, [] i64, [] i128, [] isize,
    ['a, T: Postcard + ?Sized] &'a T, [T: Schema + Item] [T], [T: Schema + Item] Vec<T>, [T: Schema] VecDeque<T>, [T: Schema] BTreeSet<T>,
    [T: Schema, S] HashSet<T, S>, [K: Schema, V: Schema] BTreeMap<K, V>, [K: Schema, V: Schema, S] HashMap<K, V, S>, [T: Schema] Option<T>,
    [T: Schema] Box<T>, [T: Schema, const N: usize] [T; N], [A: Schema] (A,), [A: Schema, B: Schema] (A, B), [A: Schema, B: Schema, C: Schema] (A, B, C),
    [A: Schema, B: Schema, C: Schema, D: Schema] (A, B, C, D), [A: Schema, B: Schema, C: Schema, D: Schema, E: Schema] (A, B, C, D, E),
    [A: Schema, B: Schema, C: Schema, D: Schema, E: Schema, F: Schema] (A, B, C, D, E, F),
    [A: Schema, B: Schema, C: Schema, D: Schema, E: Schema, F: Schema, G: Schema] (A, B, C, D, E, F, G),
    [A: Schema, B: Schema, C: Schema, D: Schema, E: Schema, F: Schema, G: Schema, H: Schema] (A, B, C, D, E, F, G, H),
}

#[inline(always)]
fn from_postcard<'a, T: Deserialize<'a>>(bytes: &'a [u8], length: usize) -> Result<T> {
    match postcard::read(bytes, length) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(surplus::<T>(length, rest.len())),
        Err(error) => Err(undecodable::<T>(length, &error)),
    }
}

#[cold]
#[inline(never)]
fn surplus<T>(bytes: usize, rest: usize) -> Error {
    Error::from(format!("{bytes} bytes are {rest} more than a {} takes", short_name::<T>()))
}

#[cold]
#[inline(never)]
fn undecodable<T>(bytes: usize, error: &dyn std::fmt::Display) -> Error {
    Error::from(format!("{bytes} bytes don't decode as {}: {error}", short_name::<T>()))
}

/// The name of a type without its path, for messages.
pub(crate) fn short_name<T: ?Sized>() -> &'static str {
    let name = std::any::type_name::<T>();
    let head = name.find('<').unwrap_or(name.len());
    name[..head].rfind("::").map_or(name, |at| &name[at + 2..])
}

impl<T: Serialize + Postcard + ?Sized> Encode for T {
    #[inline(always)]
    fn encode(&self, into: &mut Vec<u8>) -> Result<()> {
        postcard::write(self, into)
    }
}

impl<'a, T: Deserialize<'a> + Postcard> Decode<'a> for T {
    #[inline(always)]
    fn decode(bytes: &'a [u8]) -> Result<Self> {
        from_postcard(bytes, bytes.len())
    }

    #[inline(always)]
    fn decode_first(bytes: &'a [u8], length: usize) -> Result<Self> {
        from_postcard(bytes, length)
    }
}

// A list of `u8` is plain bytes, so `u8` itself does not bear the marker. Its one byte is postcard's all the same.
impl Encode for u8 {
    #[inline(always)]
    fn encode(&self, into: &mut Vec<u8>) -> Result<()> {
        into.push(*self);
        Ok(())
    }
}

impl Decode<'_> for u8 {
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Self> {
        from_postcard(bytes, bytes.len())
    }
}

impl Encode for u64 {
    #[inline(always)]
    fn encode(&self, into: &mut Vec<u8>) -> Result<()> {
        append_word(into, self.to_le_bytes());
        Ok(())
    }
}

impl Decode<'_> for u64 {
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Self> {
        match bytes.try_into() {
            Ok(bytes) => Ok(Self::from_le_bytes(bytes)),
            Err(_) => Err(undecodable::<Self>(bytes.len(), &"it has 8")),
        }
    }
}

impl Encode for () {
    const EMPTY: bool = true;

    #[inline(always)]
    fn encode(&self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

impl Decode<'_> for () {
    const EMPTY: bool = true;

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() { Ok(()) } else { Err(surplus::<Self>(bytes.len(), bytes.len())) }
    }
}

macro_rules! plain_bytes {
    ($($type:ty => $bytes:ident),* $(,)?) => {$(
        impl Encode for $type {
            #[inline(always)]
            fn encode(&self, into: &mut Vec<u8>) -> Result<()> {
                append(into, self.$bytes());
                Ok(())
            }
        }
    )*};
}

plain_bytes! { &str => as_bytes, String => as_bytes, Cow<'_, str> => as_bytes, &[u8] => as_ref, Vec<u8> => as_slice }

macro_rules! text {
    ($($type:ty),* $(,)?) => {$(
        impl<'a> Decode<'a> for $type {
            const TEXT: bool = true;

            #[inline(always)]
            fn decode(bytes: &'a [u8]) -> Result<Self> {
                match std::str::from_utf8(bytes) {
                    Ok(text) => Ok(text.into()),
                    Err(error) => Err(undecodable::<Self>(bytes.len(), &error)),
                }
            }

            #[inline(always)]
            unsafe fn decode_checked(bytes: &'a [u8]) -> Result<Self> {
                // SAFETY: the caller knows that the bytes are UTF-8.
                Ok(unsafe { std::str::from_utf8_unchecked(bytes) }.into())
            }
        }
    )*};
}

text! { &'a str, String, Cow<'a, str> }

impl<'a> Decode<'a> for &'a [u8] {
    #[inline(always)]
    fn decode(bytes: &'a [u8]) -> Result<Self> {
        Ok(bytes)
    }
}

impl Decode<'_> for Vec<u8> {
    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self> {
        Ok(bytes.to_vec())
    }
}

impl Schema for Cow<'_, str> {
    const ENCODING: Encoding = Encoding::Text;
    fn shape(shape: &mut Shape) {
        shape.plain("string");
    }
}

/// A value whose bytes are JSON: for results that people or other programs read, and for types that postcard can't do.
///
/// ```
/// use wasmill_sdk::{Decode, Json, Schema};
///
/// let Json((word, count)) = Json::<(String, u64)>::decode(br#"["word", 3]"#).unwrap();
/// assert_eq!((word.as_str(), count), ("word", 3));
/// assert_eq!(Json::<u64>::document(), r#"{"encoding":"json"}"#);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

impl<T> Schema for Json<T> {
    const ENCODING: Encoding = Encoding::Json;
    fn shape(shape: &mut Shape) {
        shape.plain("string");
    }
}

impl<T: Serialize> Encode for Json<T> {
    #[inline]
    fn encode(&self, into: &mut Vec<u8>) -> Result<()> {
        Ok(serde_json::to_writer(into, &self.0)?)
    }
}

impl<'a, T: DeserializeOwned> Decode<'a> for Json<T> {
    #[inline]
    fn decode(bytes: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map(Self).map_err(|error| undecodable::<T>(bytes.len(), &error))
    }
}
