//! The bytes of map keys are frozen, as the SDK freezes them, and go both ways.

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;

fn schema(shape: serde_json::Value) -> Schema {
    Schema::parse(&json!({ "encoding": "postcard", "type": shape }).to_string()).expect("a schema")
}

fn render(schema: &Schema, bytes: &[u8]) -> Result<String, RenderError> {
    let mut out = b"before".to_vec();
    let rendered = schema.render_map_key(bytes, &mut out);
    assert_eq!(&out[..6], b"before");
    assert!(rendered.is_ok() || out.len() == 6, "an error appends nothing");
    rendered.map(|()| String::from_utf8(out[6..].to_vec()).expect("text"))
}

#[test]
fn map_keys_are_shown_and_typed() {
    let tuple = |parts: &[&str]| schema(json!({ "tuple": parts }));
    let cases: [(Schema, &[u8], &str); 22] = [
        (Schema::text(), b"a\0b", r#""a\u0000b""#),
        (Schema::bytes(), &[0, 1], r#""AAE=""#),
        (Schema::opaque(), &[0xff], r#""/w==""#),
        (Schema::u64(), &[0, 0, 0, 0, 0, 0, 1, 2], "258"),
        (Schema::unit(), b"", "null"),
        (Schema::json(), br#"{"a":1}"#, r#"{"a":1}"#),
        (schema(json!("u8")), &[7], "7"),
        (schema(json!("u16")), &[1, 2], "258"),
        (schema(json!("u32")), &[0, 0, 0, 1], "1"),
        (schema(json!("u128")), &[0xff; 16], "340282366920938463463374607431768211455"),
        (schema(json!("i8")), &[0x7f], "-1"),
        (schema(json!("i16")), &[0, 0], "-32768"),
        (schema(json!("i32")), &[0x80, 0, 0, 5], "5"),
        (schema(json!("i64")), &[0x80, 0, 0, 0, 0, 0, 0, 1], "1"),
        (schema(json!("i128")), &[0; 16], "-170141183460469231731687303715884105728"),
        (schema(json!("bool")), &[1], "true"),
        (schema(json!("char")), &[0, 0, 0, b'a'], r#""a""#),
        (tuple(&["string", "u8"]), b"a\0\xFFb\0\x01\x01", r#"["a\u0000b",1]"#),
        (tuple(&["bytes", "string"]), b"\0\xFF\0\x01x", r#"["AA==","x"]"#),
        (tuple(&[]), b"", "[]"),
        (schema(json!({ "tuple": [{ "tuple": ["string"] }, "bool"] })), b"a\0\x01\x01", r#"[["a"],true]"#),
        // No order was agreed on for these: they are bytes.
        (schema(json!({ "list": "u8" })), &[1, 2, 3], r#""AQID""#),
    ];
    for (schema, bytes, expected) in cases {
        assert_eq!(render(&schema, bytes).as_deref(), Ok(expected), "{schema:?}");
        assert_eq!(schema.map_key_of_typed(expected).as_deref(), Ok(bytes), "{schema:?}");
        if schema.map_keys_are_names() {
            assert!(!expected.starts_with(['[', '{']) && expected != "null", "{schema:?}");
        }
    }
    assert_eq!(Schema::text().map_key_of_typed("plain").expect("it fits the schema"), b"plain");
    assert!(Schema::text().map_keys_are_names() && Schema::u64().map_keys_are_names());
    assert!(!tuple(&["u8"]).map_keys_are_names() && !Schema::json().map_keys_are_names());
}

#[test]
fn wrong_map_keys_are_errors_with_the_place() {
    let pair = schema(json!({ "tuple": ["string", "u8"] }));
    for (schema, bytes, at, problem) in [
        (schema(json!("bool")), &[2][..], 0, Problem::NotBool(2)),
        (schema(json!("char")), &[0xff; 4], 0, Problem::NotChar),
        (schema(json!("u16")), &[1, 2, 3], 2, Problem::Trailing),
        (schema(json!("u16")), &[1], 0, Problem::Truncated),
        (Schema::text(), b"ab\xff", 2, Problem::NotUtf8),
        (Schema::unit(), &[0], 0, Problem::Trailing),
        (pair.clone(), b"a\0\x02\x01", 2, Problem::NotEscaped),
        (pair.clone(), b"a", 1, Problem::Truncated),
    ] {
        assert_eq!(render(&schema, bytes), Err(RenderError { at, problem }), "{schema:?}");
    }
    for (typed, expected) in [
        ("[\"a\"]", "[\"a\"] is not a tuple (string, u8)"),
        ("[\"a\",256]", "256 is not a u8"),
        ("[1,1]", "1 is not a string"),
        ("a", "`a` is not a tuple (string, u8)"),
    ] {
        assert_eq!(pair.map_key_of_typed(typed).unwrap_err().to_string(), expected);
    }
    for typed in ["128", "-129", "1.5", "\"x\"", ""] {
        assert!(schema(json!("i8")).map_key_of_typed(typed).is_err(), "{typed}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_shown_or_refused_and_what_is_shown_can_be_typed(bytes in vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..24)) {
        let tuple = json!({ "tuple": ["bytes", "i32", { "tuple": ["string", "bool"] }, "u16"] });
        for schema in [schema(tuple), Schema::text(), Schema::bytes(), Schema::u64(), schema(json!("i64")), schema(json!("char"))] {
            if let Ok(shown) = render(&schema, &bytes) {
                prop_assert_eq!(schema.map_key_of_typed(&shown).expect("it fits the schema"), &bytes[..]);
            }
        }
    }

    #[test]
    fn strings_and_numbers_go_both_ways(text in "[a\\x00\\x01\u{FF}]{0,6}", number: i32, raw in vec(any::<u8>(), 0..6)) {
        let schema = schema(json!({ "tuple": ["string", "i32", "bytes"] }));
        let mut base64 = Vec::new();
        json::base64(&raw, &mut base64);
        let typed = format!("[{},{number},{}]", json!(text), String::from_utf8(base64).expect("text"));
        prop_assert_eq!(render(&schema, &schema.map_key_of_typed(&typed).expect("it fits the schema")).expect("it fits the schema"), typed);
    }
}
