//! Bytes to values.
//!
//! A number is read as one word, and its end is found by counting zeros; that word may reach into what lies behind the value. The crate's reader takes numbers byte by byte,
//! in a function that is not inlined: that was a seventh of what a sum by a million keys cost in the guest.

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::bytes::HIGH;

type Error = ::postcard::Error;
type Result<T> = std::result::Result<T, Error>;

/// The value at the start of the first `length` of `bytes`, and what follows it there.
///
/// # Panics
/// When there are not so many.
#[inline(always)]
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8], length: usize) -> Result<(T, &'a [u8])> {
    assert!(length <= bytes.len());
    let mut reader = Reader { bytes, left: length };
    let value = T::deserialize(&mut reader)?;
    Ok((value, reader.rest()))
}

/// What has not been read yet.
struct Reader<'a> {
    /// It, and whatever lies behind it.
    bytes: &'a [u8],
    /// How much of that it is.
    left: usize,
}

impl<'a> Reader<'a> {
    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        &self.bytes[..self.left]
    }

    /// Goes on by so many bytes.
    #[inline(always)]
    fn take(&mut self, count: usize) -> Result<()> {
        match (self.left.checked_sub(count), self.bytes.get(count..)) {
            (Some(left), Some(bytes)) => {
                *self = Self { bytes, left };
                Ok(())
            }
            _ => Err(Error::DeserializeUnexpectedEnd),
        }
    }

    #[inline(always)]
    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some(array) = self.bytes.first_chunk() else { return Err(Error::DeserializeUnexpectedEnd) };
        self.take(N)?;
        Ok(*array)
    }

    /// A number, and how many bytes it takes.
    #[inline(always)]
    fn varint(&mut self) -> Result<(u64, usize)> {
        let word = self.bytes.first_chunk().map(|word| u64::from_le_bytes(*word));
        let stops = word.map_or(0, |word| !word & HIGH);
        let (Some(word), true) = (word, stops != 0) else {
            // Takes no reference to `self`, so that this need not lie in memory.
            let (number, length) = long_varint(self.rest())?;
            self.take(length)?;
            return Ok((number, length));
        };
        let length = (stops.trailing_zeros() as usize >> 3) + 1;
        self.take(length)?;
        // All bits up to the lowest stop; then the groups of seven bits move together.
        let groups = word & (stops ^ (stops - 1)) & !HIGH;
        let groups = groups & 0x007F_007F_007F_007F | (groups & 0x7F00_7F00_7F00_7F00) >> 1;
        let groups = groups & 0x0000_3FFF_0000_3FFF | (groups & 0x3FFF_0000_3FFF_0000) >> 2;
        Ok((groups & 0x0FFF_FFFF | (groups & 0x0FFF_FFFF_0000_0000) >> 4, length))
    }

    /// A number that is not above `max` and does not take more bytes than `max` does.
    #[inline(always)]
    fn number(&mut self, max: u64) -> Result<u64> {
        let bytes_max = (64 - max.leading_zeros()).div_ceil(7) as usize;
        match self.varint()? {
            (number, bytes) if number <= max && bytes <= bytes_max => Ok(number),
            _ => Err(Error::DeserializeBadVarint),
        }
    }

    #[inline(always)]
    fn signed(&mut self, max: u64) -> Result<i64> {
        let number = self.number(max)?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn huge(&mut self) -> Result<u128> {
        let mut number = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return if shift == 126 && byte > 3 { Err(Error::DeserializeBadVarint) } else { Ok(number) };
            }
        }
        Err(Error::DeserializeBadVarint)
    }

    #[inline(always)]
    fn length(&mut self) -> Result<usize> {
        Ok(self.number(usize::MAX as u64)? as usize)
    }

    #[inline(always)]
    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.length()?;
        let Some(bytes) = self.rest().get(..length) else { return Err(Error::DeserializeUnexpectedEnd) };
        self.take(length)?;
        Ok(bytes)
    }

    #[inline(always)]
    fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::DeserializeBadUtf8)
    }
}

/// As [`Reader::varint`], of nine or ten bytes, or where there are less than eight.
#[cold]
#[inline(never)]
fn long_varint(bytes: &[u8]) -> Result<(u64, usize)> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7F) << (7 * index);
        if *byte < 0x80 {
            return if index == 9 && *byte > 1 { Err(Error::DeserializeBadVarint) } else { Ok((number, index + 1)) };
        }
    }
    Err(if bytes.len() < 10 { Error::DeserializeUnexpectedEnd } else { Error::DeserializeBadVarint })
}

/// So many values, one after the other.
struct Parts<'r, 'a> {
    reader: &'r mut Reader<'a>,
    left: usize,
}

impl<'a> SeqAccess<'a> for Parts<'_, 'a> {
    type Error = Error;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    // The provided one is not always inlined.
    #[inline(always)]
    fn next_element<T: Deserialize<'a>>(&mut self) -> Result<Option<T>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        T::deserialize(&mut *self.reader).map(Some)
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        // Values may take no bytes, but who says so may also lie.
        (self.left <= self.reader.left).then_some(self.left)
    }
}

impl<'a> MapAccess<'a> for Parts<'_, 'a> {
    type Error = Error;

    #[inline(always)]
    fn next_key_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next_element_seed(seed)
    }

    #[inline(always)]
    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(&mut *self.reader)
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        SeqAccess::size_hint(self)
    }
}

impl<'a> EnumAccess<'a> for &mut Reader<'a> {
    type Error = Error;
    type Variant = Self;

    #[inline(always)]
    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Self)> {
        let index = self.number(u32::MAX.into())? as u32;
        Ok((seed.deserialize(index.into_deserializer())?, self))
    }
}

impl<'a> VariantAccess<'a> for &mut Reader<'a> {
    type Error = Error;

    #[inline(always)]
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    #[inline(always)]
    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value> {
        seed.deserialize(self)
    }

    #[inline(always)]
    fn tuple_variant<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline(always)]
    fn struct_variant<V: Visitor<'a>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

macro_rules! visit {
    ($($function:ident: |$reader:ident| $visit:ident($value:expr)),* $(,)?) => {$(
        #[inline(always)]
        fn $function<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
            let $reader = self;
            visitor.$visit($value)
        }
    )*};
}

impl<'a> Deserializer<'a> for &mut Reader<'a> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    visit! {
        deserialize_i8: |reader| visit_i8(reader.byte()? as i8),
        deserialize_i16: |reader| visit_i16(reader.signed(u16::MAX.into())? as i16),
        deserialize_i32: |reader| visit_i32(reader.signed(u32::MAX.into())? as i32),
        deserialize_i64: |reader| visit_i64(reader.signed(u64::MAX)?),
        deserialize_u8: |reader| visit_u8(reader.byte()?),
        deserialize_u16: |reader| visit_u16(reader.number(u16::MAX.into())? as u16),
        deserialize_u32: |reader| visit_u32(reader.number(u32::MAX.into())? as u32),
        deserialize_u64: |reader| visit_u64(reader.number(u64::MAX)?),
        deserialize_u128: |reader| visit_u128(reader.huge()?),
        deserialize_f32: |reader| visit_f32(f32::from_le_bytes(reader.array()?)),
        deserialize_f64: |reader| visit_f64(f64::from_le_bytes(reader.array()?)),
        deserialize_str: |reader| visit_borrowed_str(reader.text()?),
        deserialize_string: |reader| visit_str(reader.text()?),
        deserialize_bytes: |reader| visit_borrowed_bytes(reader.bytes()?),
        deserialize_byte_buf: |reader| visit_bytes(reader.bytes()?),
    }

    fn deserialize_i128<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        let number = self.huge()?;
        visitor.visit_i128((number >> 1) as i128 ^ -((number & 1) as i128))
    }

    #[inline(always)]
    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(Error::DeserializeBadBool),
        }
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        let text = match self.bytes()? {
            bytes if bytes.len() <= 4 => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        visitor.visit_char(text.and_then(|text| text.chars().next()).ok_or(Error::DeserializeBadChar)?)
    }

    #[inline(always)]
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(Error::DeserializeBadOption),
        }
    }

    #[inline(always)]
    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline(always)]
    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline(always)]
    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    #[inline(always)]
    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        let left = self.length()?;
        visitor.visit_seq(Parts { reader: self, left })
    }

    #[inline(always)]
    fn deserialize_tuple<V: Visitor<'a>>(self, length: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Parts { reader: self, left: length })
    }

    #[inline(always)]
    fn deserialize_tuple_struct<V: Visitor<'a>>(self, _: &'static str, length: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline(always)]
    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        let left = self.length()?;
        visitor.visit_map(Parts { reader: self, left })
    }

    #[inline(always)]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline(always)]
    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'a>>(self, _: V) -> Result<V::Value> {
        Err(Error::WontImplement)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, _: V) -> Result<V::Value> {
        Err(Error::WontImplement)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, _: V) -> Result<V::Value> {
        Err(Error::WontImplement)
    }
}
