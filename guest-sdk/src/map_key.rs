//! Keys of maps, whose encoded bytes are ordered as the keys are.
//!
//! Unsigned numbers are big-endian; so are signed ones, with the sign bit flipped. `bool` is one byte, `char` its number in four, text and bytes are as they are. Of a tuple
//! the parts follow one another; text or bytes that are not the last part have a zero written as `00 FF` and end with `00 01`, so that a shorter one comes first whatever
//! follows it. These bytes are stored: tests freeze them.

use std::borrow::Cow;

use crate::codec::short_name;
use crate::schema::Schema;
use crate::{Error, Result};

/// What a map is asked by: `&str` where its keys are `String`, `&[u8]` where they are `Vec<u8>`, or the keys' own type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the key of a map",
    note = "numbers, `bool`, `char`, text, bytes and tuples of these can"
)]
pub trait KeyBytes {
    /// Appends the bytes.
    #[doc(hidden)]
    fn write(&self, into: &mut Vec<u8>, part: Part);
}

/// A key of a [`MapState`](crate::MapState) or [`BroadcastState`](crate::BroadcastState): a number, `bool`, `char`, `String`, `Vec<u8>`, or a tuple of these. Entries of a
/// map are in the order of their keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the key of a map",
    note = "numbers, `bool`, `char`, `String`, `Vec<u8>` and tuples of these can"
)]
pub trait MapKey: KeyBytes + Schema + Clone + 'static {
    /// Takes the key from the start of `bytes`.
    #[doc(hidden)]
    fn read(bytes: &mut &[u8], part: Part) -> Result<Self>;
}

/// Which part of a key it is.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Something follows.
    Inner,
    /// The last or the only one.
    Last,
}

/// An encoded key has at most so many bytes.
pub(crate) const LENGTH_MAX: usize = 4 << 10;

#[cold]
pub(crate) fn too_long(bytes: usize) -> Error {
    format!("a map key has {bytes} bytes; the limit is {LENGTH_MAX}").into()
}

/// The key of these bytes, all of which it takes.
pub(crate) fn decode<K: MapKey>(bytes: &[u8]) -> Result<K> {
    let mut rest = bytes;
    let key = K::read(&mut rest, Part::Last)?;
    if rest.is_empty() { Ok(key) } else { Err(undecodable::<K>(bytes)) }
}

#[cold]
fn undecodable<K>(bytes: &[u8]) -> Error {
    format!("a map key of {} bytes doesn't decode as {}", bytes.len(), short_name::<K>()).into()
}

fn take<'a, K, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N]> {
    let whole = *bytes;
    let (taken, rest) = whole.split_first_chunk().ok_or_else(|| undecodable::<K>(whole))?;
    *bytes = rest;
    Ok(taken)
}

macro_rules! numbers {
    ($($type:ident as $wire:ident ^ $flip:expr),* $(,)?) => {$(
        impl KeyBytes for $type {
            #[inline]
            fn write(&self, into: &mut Vec<u8>, _: Part) {
                into.extend_from_slice(&(*self as $wire ^ $flip).to_be_bytes());
            }
        }

        impl MapKey for $type {
            fn read(bytes: &mut &[u8], _: Part) -> Result<Self> {
                let whole = *bytes;
                let number = $wire::from_be_bytes(*take::<Self, _>(bytes)?) ^ $flip;
                // Only where a number of 64 bits is kept in 32 the two can differ.
                if number as $type as $wire == number { Ok(number as $type) } else { Err(undecodable::<Self>(whole)) }
            }
        }
    )*};
}

numbers! {
    u8 as u8 ^ 0, u16 as u16 ^ 0, u32 as u32 ^ 0, u64 as u64 ^ 0, u128 as u128 ^ 0, usize as u64 ^ 0,
    i8 as i8 ^ i8::MIN, i16 as i16 ^ i16::MIN, i32 as i32 ^ i32::MIN, i64 as i64 ^ i64::MIN, i128 as i128 ^ i128::MIN, isize as i64 ^ i64::MIN,
}

impl KeyBytes for bool {
    fn write(&self, into: &mut Vec<u8>, _: Part) {
        into.push(u8::from(*self));
    }
}

impl MapKey for bool {
    fn read(bytes: &mut &[u8], _: Part) -> Result<Self> {
        let whole = *bytes;
        match take::<Self, 1>(bytes)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(undecodable::<Self>(whole)),
        }
    }
}

impl KeyBytes for char {
    fn write(&self, into: &mut Vec<u8>, part: Part) {
        u32::from(*self).write(into, part);
    }
}

impl MapKey for char {
    fn read(bytes: &mut &[u8], part: Part) -> Result<Self> {
        let whole = *bytes;
        Self::from_u32(u32::read(bytes, part)?).ok_or_else(|| undecodable::<Self>(whole))
    }
}

/// After a zero: the zero is part of the string.
const ESCAPED: u8 = 0xFF;
/// After a zero: the string ends.
const ENDED: u8 = 0x01;

fn write_bytes(bytes: &[u8], into: &mut Vec<u8>, part: Part) {
    if part == Part::Last {
        into.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        into.push(byte);
        if byte == 0 {
            into.push(ESCAPED);
        }
    }
    into.extend([0, ENDED]);
}

fn read_bytes<'a, K>(bytes: &mut &'a [u8], part: Part) -> Result<Cow<'a, [u8]>> {
    let whole = *bytes;
    if part == Part::Last {
        *bytes = &[];
        return Ok(whole.into());
    }
    let mut out = Vec::new();
    let mut rest = whole;
    loop {
        let zero = rest.iter().position(|byte| *byte == 0).ok_or_else(|| undecodable::<K>(whole))?;
        out.extend_from_slice(&rest[..zero]);
        match rest.get(zero + 1) {
            Some(&ESCAPED) => out.push(0),
            Some(&ENDED) => {
                *bytes = &rest[zero + 2..];
                return Ok(out.into());
            }
            _ => return Err(undecodable::<K>(whole)),
        }
        rest = &rest[zero + 2..];
    }
}

macro_rules! strings {
    ($($type:ty),*) => {$(
        impl KeyBytes for $type {
            #[inline]
            fn write(&self, into: &mut Vec<u8>, part: Part) {
                write_bytes(self.as_ref(), into, part);
            }
        }
    )*};
}

strings! { str, String, [u8], Vec<u8> }

impl MapKey for String {
    fn read(bytes: &mut &[u8], part: Part) -> Result<Self> {
        let whole = *bytes;
        let text = read_bytes::<Self>(bytes, part)?.into_owned();
        Self::from_utf8(text).map_err(|_| undecodable::<Self>(whole))
    }
}

impl MapKey for Vec<u8> {
    fn read(bytes: &mut &[u8], part: Part) -> Result<Self> {
        Ok(read_bytes::<Self>(bytes, part)?.into_owned())
    }
}

impl<T: KeyBytes + ?Sized> KeyBytes for &T {
    #[inline]
    fn write(&self, into: &mut Vec<u8>, part: Part) {
        T::write(self, into, part);
    }
}

macro_rules! tuples {
    ($([$($inner:ident)*] $last:ident),* $(,)?) => {$(
        impl<$($inner: KeyBytes,)* $last: KeyBytes> KeyBytes for ($($inner,)* $last,) {
            #[allow(non_snake_case)]
            fn write(&self, into: &mut Vec<u8>, part: Part) {
                let ($($inner,)* $last,) = self;
                $($inner.write(into, Part::Inner);)*
                $last.write(into, part);
            }
        }

        impl<$($inner: MapKey,)* $last: MapKey> MapKey for ($($inner,)* $last,) {
            fn read(bytes: &mut &[u8], part: Part) -> Result<Self> {
                Ok(($($inner::read(bytes, Part::Inner)?,)* $last::read(bytes, part)?,))
            }
        }
    )*};
}

tuples! { [] A, [A] B, [A B] C, [A B C] D }

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(key: &(impl KeyBytes + ?Sized)) -> Vec<u8> {
        let mut bytes = Vec::new();
        key.write(&mut bytes, Part::Last);
        bytes
    }

    #[track_caller]
    fn frozen<K: MapKey + PartialEq + std::fmt::Debug>(key: K, expected: &[u8]) {
        assert_eq!(bytes(&key), expected);
        assert_eq!(decode::<K>(expected).expect("its own bytes"), key);
        assert!(decode::<(K, u8)>(expected).is_err(), "too short");
    }

    #[test]
    fn the_bytes_are_frozen() {
        frozen(7_u8, &[7]);
        frozen(0x0102_u16, &[1, 2]);
        frozen(1_u32, &[0, 0, 0, 1]);
        frozen(1_usize, &[0, 0, 0, 0, 0, 0, 0, 1]);
        frozen(-1_i8, &[0x7F]);
        frozen(1_i64, &[0x80, 0, 0, 0, 0, 0, 0, 1]);
        frozen(-1_isize, &[0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]);
        frozen(true, &[1]);
        frozen('a', &[0, 0, 0, b'a']);
        frozen("a\0b".to_owned(), b"a\0b");
        frozen(vec![0_u8, 1], &[0, 1]);
        frozen(("a\0b".to_owned(), 1_u8), b"a\0\xFFb\0\x01\x01");
        frozen((vec![0_u8], "x".to_owned()), b"\0\xFF\0\x01x");
        frozen((("a".to_owned(),), true), b"a\0\x01\x01");
        assert_eq!(bytes(&("a", 1_u8)), bytes(&("a".to_owned(), 1_u8)));
        for (what, refused) in [
            ("a bool", decode::<bool>(&[2]).is_err()),
            ("a char", decode::<char>(&[0xFF; 4]).is_err()),
            ("a number", decode::<u16>(&[1, 2, 3]).is_err()),
            ("text", decode::<String>(&[0xFF]).is_err()),
            ("an escape", decode::<(String, u8)>(b"a\0\x02\x01\0\x01").is_err()),
        ] {
            assert!(refused, "{what}");
        }
    }

    type Mixed = (String, i32, Vec<u8>, u64);

    proptest! {
        #[test]
        fn bytes_are_ordered_as_keys_are(
            one: Mixed, other: Mixed,
            names in proptest::array::uniform2("[a\\x00\\x01\u{FF}]{0,4}"),
            raws in proptest::array::uniform2(proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xFF)], 0..4)),
        ) {
            check(&one, &other)?;
            check(&one.1, &other.1)?;
            let [first, second] = names;
            check(&(first.clone(), one.1), &(second.clone(), other.1))?;
            let [left, right] = raws;
            check(&(left.clone(), first), &(right.clone(), second))?;
            check(&(left, 0xFF_u8), &(right, 0xFE_u8))?;
        }
    }

    fn check<K: MapKey + Ord + std::fmt::Debug>(one: &K, other: &K) -> Result<(), TestCaseError> {
        prop_assert_eq!(bytes(one).cmp(&bytes(other)), one.cmp(other));
        prop_assert_eq!(&decode::<K>(&bytes(one)).expect("its own bytes"), one);
        Ok(())
    }
}
