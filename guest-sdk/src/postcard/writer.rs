//! Values to bytes.
//!
//! It writes numbers straight into the column; the crate's goes by way of a small array, and copying that was a fifth of a word count (6 of 31 ns in wasm).

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::bytes::Tail;

type Error = ::postcard::Error;
type Done = Result<(), Error>;

/// Appends the bytes of `value`, or nothing when there is an error.
#[inline(always)]
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> crate::Result<()> {
    let mut writer = Writer(Tail::of(into));
    value.serialize(&mut writer)?;
    writer.0.finish();
    Ok(())
}

struct Writer<'a>(Tail<'a>);

impl Writer<'_> {
    #[inline(always)]
    fn byte(&mut self, byte: u8) -> Done {
        self.0.byte(byte);
        Ok(())
    }

    #[inline(always)]
    fn varint(&mut self, value: u64) -> Done {
        self.0.varint(value);
        Ok(())
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) -> Done {
        self.0.prefixed(bytes);
        Ok(())
    }
}

impl<'a> Serializer for &mut Writer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline(always)]
    fn serialize_bool(self, value: bool) -> Done {
        self.byte(u8::from(value))
    }

    #[inline(always)]
    fn serialize_i8(self, value: i8) -> Done {
        self.byte(value as u8)
    }

    #[inline(always)]
    fn serialize_i16(self, value: i16) -> Done {
        self.serialize_i64(value.into())
    }

    #[inline(always)]
    fn serialize_i32(self, value: i32) -> Done {
        self.serialize_i64(value.into())
    }

    #[inline(always)]
    fn serialize_i64(self, value: i64) -> Done {
        self.varint((value << 1 ^ value >> 63) as u64)
    }

    fn serialize_i128(self, value: i128) -> Done {
        self.serialize_u128((value << 1 ^ value >> 127) as u128)
    }

    #[inline(always)]
    fn serialize_u8(self, value: u8) -> Done {
        self.byte(value)
    }

    #[inline(always)]
    fn serialize_u16(self, value: u16) -> Done {
        self.varint(value.into())
    }

    #[inline(always)]
    fn serialize_u32(self, value: u32) -> Done {
        self.varint(value.into())
    }

    #[inline(always)]
    fn serialize_u64(self, value: u64) -> Done {
        self.varint(value)
    }

    fn serialize_u128(self, mut value: u128) -> Done {
        while value >= 0x80 {
            self.0.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8)
    }

    #[inline(always)]
    fn serialize_f32(self, value: f32) -> Done {
        self.0.bytes(&value.to_le_bytes());
        Ok(())
    }

    #[inline(always)]
    fn serialize_f64(self, value: f64) -> Done {
        self.0.bytes(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Done {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline(always)]
    fn serialize_str(self, value: &str) -> Done {
        self.bytes(value.as_bytes())
    }

    #[inline(always)]
    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.bytes(value)
    }

    #[inline(always)]
    fn serialize_none(self) -> Done {
        self.byte(0)
    }

    #[inline(always)]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.byte(1)?;
        value.serialize(self)
    }

    #[inline(always)]
    fn serialize_unit(self) -> Done {
        Ok(())
    }

    #[inline(always)]
    fn serialize_unit_struct(self, _: &'static str) -> Done {
        Ok(())
    }

    #[inline(always)]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Done {
        self.varint(index.into())
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    #[inline(always)]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Done {
        self.varint(index.into())?;
        value.serialize(self)
    }

    #[inline(always)]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Error> {
        let Some(length) = length else { return Err(Error::SerializeSeqLengthUnknown) };
        self.varint(length as u64)?;
        Ok(self)
    }

    #[inline(always)]
    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    #[inline(always)]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    #[inline(always)]
    fn serialize_tuple_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, Error> {
        self.varint(index.into())?;
        Ok(self)
    }

    #[inline(always)]
    fn serialize_map(self, length: Option<usize>) -> Result<Self, Error> {
        self.serialize_seq(length)
    }

    #[inline(always)]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    #[inline(always)]
    fn serialize_struct_variant(self, _: &'static str, index: u32, _: &'static str, _: usize) -> Result<Self, Error> {
        self.varint(index.into())?;
        Ok(self)
    }

    /// Displayed values are strings.
    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Done {
        self.serialize_str(&value.to_string())
    }
}

macro_rules! parts {
    ($($trait:ident::$function:ident),*) => {$(
        impl $trait for &mut Writer<'_> {
            type Ok = ();
            type Error = Error;

            #[inline(always)]
            fn $function<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                value.serialize(&mut **self)
            }

            #[inline(always)]
            fn end(self) -> Done {
                Ok(())
            }
        }
    )*};
}

parts! { SerializeSeq::serialize_element, SerializeTuple::serialize_element, SerializeTupleStruct::serialize_field, SerializeTupleVariant::serialize_field }

macro_rules! fields {
    ($($trait:ident),*) => {$(
        impl $trait for &mut Writer<'_> {
            type Ok = ();
            type Error = Error;

            #[inline(always)]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Done {
                value.serialize(&mut **self)
            }

            fn skip_field(&mut self, name: &'static str) -> Done {
                Err(Error::custom(format_args!("field `{name}` is skipped, which postcard can't do")))
            }

            #[inline(always)]
            fn end(self) -> Done {
                Ok(())
            }
        }
    )*};
}

fields! { SerializeStruct, SerializeStructVariant }

impl SerializeMap for &mut Writer<'_> {
    type Ok = ();
    type Error = Error;

    #[inline(always)]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        key.serialize(&mut **self)
    }

    #[inline(always)]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        value.serialize(&mut **self)
    }

    #[inline(always)]
    fn end(self) -> Done {
        Ok(())
    }
}
