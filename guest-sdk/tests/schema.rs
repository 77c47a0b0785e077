//! Schema documents and encoded bytes are stored and compared: these are frozen.

use std::collections::{BTreeMap, HashMap};

use wasmill_sdk::prelude::*;
use wasmill_sdk::{Decode, Encode, Schema};

fn bytes<T: Encode>(value: T) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes).expect("plain data");
    bytes
}

/// Checks document and bytes, and that the bytes decode to the same value.
#[track_caller]
fn frozen<T: Encode + for<'a> Decode<'a> + PartialEq + std::fmt::Debug>(value: T, shape: &str, expected: &[u8]) {
    assert_eq!(T::document(), format!(r#"{{"encoding":"postcard","type":{shape}}}"#));
    let mut encoded = Vec::new();
    value.encode(&mut encoded).expect("plain data");
    assert_eq!(encoded, expected);
    assert_eq!(T::decode(&encoded).expect("its own bytes"), value);
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Plain {
    flag: bool,
    small: u8,
    signed: i64,
    ratio: f64,
    letter: char,
    text: String,
    bytes: Vec<u8>,
    list: Vec<u64>,
    maybe: Option<u32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
#[serde(rename = "renamed", rename_all = "camelCase")]
struct Renamed {
    first_field: u16,
    #[serde(rename = "2nd \"field\"")]
    second_field: (),
    #[serde(skip)]
    left_out: u32,
    r#type: Box<i8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Newtype(u64);

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Pair<A, B>(A, B);

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Nothing;

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "UPPERCASE")]
enum Event {
    LoggedIn,
    Bought(u64),
    Moved(i32, i32),
    #[serde(rename = "talk")]
    Said {
        what: String,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Borrowed<'a> {
    word: &'a str,
    raw: &'a [u8],
}

#[test]
fn plain_edges_have_encodings_of_their_own() {
    for (document, expected) in [
        (<&str>::document(), "text"),
        (String::document(), "text"),
        (<std::borrow::Cow<'_, str>>::document(), "text"),
        (<&[u8]>::document(), "bytes"),
        (Vec::<u8>::document(), "bytes"),
        (u64::document(), "u64"),
        (<()>::document(), "unit"),
        (Json::<Vec<u8>>::document(), "json"),
    ] {
        assert_eq!(document, format!(r#"{{"encoding":"{expected}"}}"#));
    }
    assert_eq!(bytes("größe"), "größe".as_bytes());
    assert_eq!(bytes("größe".to_owned()), "größe".as_bytes());
    assert_eq!(bytes(&[1_u8, 2][..]), [1, 2]);
    assert_eq!(bytes(vec![1_u8, 2]), [1, 2]);
    assert_eq!(bytes(0x0102_u64), [2, 1, 0, 0, 0, 0, 0, 0]);
    assert!(bytes(()).is_empty());
    assert_eq!(bytes(Json(vec![1_u8, 2])), b"[1,2]");
}

#[test]
fn everything_else_is_postcard() {
    frozen(7_u8, r#""u8""#, &[7]);
    frozen(300_u16, r#""u16""#, &[0xAC, 2]);
    frozen(300_u32, r#""u32""#, &[0xAC, 2]);
    frozen(300_u128, r#""u128""#, &[0xAC, 2]);
    frozen(300_usize, r#""u64""#, &[0xAC, 2]);
    frozen(-1_i8, r#""i8""#, &[0xFF]);
    frozen(-2_i16, r#""i16""#, &[3]);
    frozen(-2_i32, r#""i32""#, &[3]);
    frozen(-2_i64, r#""i64""#, &[3]);
    frozen(-2_i128, r#""i128""#, &[3]);
    frozen(-2_isize, r#""i64""#, &[3]);
    frozen(true, r#""bool""#, &[1]);
    frozen('ß', r#""char""#, &[2, 0xC3, 0x9F]);
    frozen(1.5_f32, r#""f32""#, &[0, 0, 0xC0, 0x3F]);
    frozen(1.5_f64, r#""f64""#, &[0, 0, 0, 0, 0, 0, 0xF8, 0x3F]);
    frozen(Some(5_u64), r#"{"option":"u64"}"#, &[1, 5]);
    frozen(None::<String>, r#"{"option":"string"}"#, &[0]);
    frozen((1_u64, "a".to_owned()), r#"{"tuple":["u64","string"]}"#, &[1, 1, b'a']);
    frozen([1_u16, 2], r#"{"tuple":["u16","u16"]}"#, &[1, 2]);
    frozen(vec![1_u64, 300], r#"{"list":"u64"}"#, &[2, 1, 0xAC, 2]);
    frozen(vec!["a".to_owned()], r#"{"list":"string"}"#, &[1, 1, b'a']);
    frozen(vec![vec![1_u8, 2]], r#"{"list":"bytes"}"#, &[1, 2, 1, 2]);
    frozen(BTreeMap::from([("a".to_owned(), 1_u64)]), r#"{"map":["string","u64"]}"#, &[1, 1, b'a', 1]);
    frozen(HashMap::from([(1_u16, ())]), r#"{"map":["u16","unit"]}"#, &[1, 1]);
    frozen(Box::new(5_u64), r#""u64""#, &[5]);
}

#[test]
fn derived_types_are_postcard() {
    let plain = Plain {
        flag: true,
        small: 1,
        signed: -1,
        ratio: 0.0,
        letter: 'a',
        text: "bc".to_owned(),
        bytes: vec![9],
        list: vec![8],
        maybe: Some(7),
    };
    let fields = r#"[["flag","bool"],["small","u8"],["signed","i64"],["ratio","f64"],["letter","char"],["text","string"],["bytes","bytes"],["list",{"list":"u64"}],["maybe",{"option":"u32"}]]"#;
    let expected = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'a', 2, b'b', b'c', 1, 9, 1, 8, 1, 7];
    frozen(plain, &format!(r#"{{"struct":{{"name":"Plain","fields":{fields}}}}}"#), &expected);
    frozen(
        Renamed { first_field: 1, second_field: (), left_out: 0, r#type: Box::new(-1) },
        r#"{"struct":{"name":"renamed","fields":[["firstField","u16"],["2nd \"field\"","unit"],["type","i8"]]}}"#,
        &[1, 0xFF],
    );
    frozen(Newtype(1), r#""u64""#, &[1]);
    frozen(Pair(1_u16, Newtype(2)), r#"{"tuple":["u16","u64"]}"#, &[1, 2]);
    frozen(Nothing, r#""unit""#, &[]);
    let event = r#"{"enum":{"name":"Event","variants":[["logged-in","unit"],["bought",{"newtype":"u64"}],["moved",{"tuple":["i32","i32"]}],["talk",{"struct":[["WHAT","string"]]}]]}}"#;
    frozen(Event::LoggedIn, event, &[0]);
    frozen(Event::Bought(5), event, &[1, 5]);
    frozen(Event::Moved(-1, 1), event, &[2, 1, 2]);
    frozen(Event::Said { what: "x".to_owned() }, event, &[3, 1, b'x']);
    frozen(vec![Event::LoggedIn], &format!(r#"{{"list":{event}}}"#), &[1, 0]);
}

#[test]
fn values_borrow_from_their_bytes() {
    assert_eq!(
        Borrowed::document(),
        r#"{"encoding":"postcard","type":{"struct":{"name":"Borrowed","fields":[["word","string"],["raw","bytes"]]}}}"#
    );
    let encoded = bytes(Borrowed { word: "ab", raw: &[1, 2] });
    assert_eq!(encoded, [2, b'a', b'b', 2, 1, 2]);
    let decoded = Borrowed::decode(&encoded).expect("its own bytes");
    assert_eq!(decoded, Borrowed { word: "ab", raw: &[1, 2] });
    assert!(std::ptr::eq(decoded.raw, &raw const encoded[4..6]));
}

#[test]
fn bytes_that_are_too_many_or_too_few_do_not_decode() {
    fn text<'a, T: Decode<'a>>(bytes: &'a [u8]) -> String {
        T::decode(bytes).err().map(|error| error.to_string()).unwrap_or_default()
    }
    assert_eq!(text::<u64>(&[1; 7]), "7 bytes don't decode as u64: it has 8");
    assert_eq!(text::<()>(&[1]), "1 bytes are 1 more than a () takes");
    assert_eq!(text::<u32>(&[1, 2]), "2 bytes are 1 more than a u32 takes");
    assert!(text::<Newtype>(&[]).starts_with("0 bytes don't decode as Newtype: "));
    assert!(text::<&str>(&[0xFF]).starts_with("1 bytes don't decode as &str: invalid utf-8"));
    assert!(text::<Json<u64>>(b"x").starts_with("1 bytes don't decode as u64: expected value"));
}
