//! What is shown can be typed, and gives the same bytes.

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;

fn postcard(shape: Value) -> Schema {
    Schema::parse(&json!({ "encoding": "postcard", "type": shape }).to_string()).expect("a schema")
}

fn everything() -> Schema {
    let shape = json!({"enum": {"name": "Shape", "variants": [["Point", "unit"], ["Circle", {"newtype": "i64"}],
        ["Line", {"tuple": ["i8", "i16"]}], ["Box", {"struct": [["w", "u16"], ["c", "char"]]}]]}});
    postcard(
        json!({"struct": {"name": "All", "fields": [["b", "bool"], ["s", "string"], ["raw", "bytes"], ["u", "unit"],
        ["o", {"option": "u32"}], ["l", {"list": shape}], ["m", {"map": ["string", "u64"]}], ["n", {"map": ["i32", "bool"]}],
        ["p", {"map": [{"tuple": ["u8"]}, "u8"]}]]}}),
    )
}

#[test]
fn plain_text_needs_no_quotes() {
    for (schema, typed, bytes) in [
        (Schema::text(), "to be", &b"to be"[..]),
        (Schema::text(), "\"to be\"", b"to be"),
        (Schema::text(), "\"to", b"\"to"),
        (Schema::text(), "7", b"7"),
        (Schema::text(), "", b""),
        (Schema::bytes(), "Zm8=", b"fo"),
        (Schema::bytes(), "\"Zm8\"", b"fo"),
        (Schema::u64(), "258", &[2, 1, 0, 0, 0, 0, 0, 0]),
        (Schema::unit(), "", b""),
        (Schema::unit(), "null", b""),
        (Schema::json(), "{\"a\": 1}", b"{\"a\":1}"),
        (Schema::json(), "text", b"\"text\""),
        (postcard(json!("string")), "be", b"\x02be"),
        (postcard(json!("i64")), "-65", &[0x81, 0x01]),
        (postcard(json!("i128")), "-2", &[3]),
        (postcard(json!({"tuple": ["u8", "string"]})), "[1,\"a\"]", b"\x01\x01a"),
        (postcard(json!({"enum": {"name": "E", "variants": [["A", "unit"], ["B", "unit"]]}})), "B", &[1]),
        // The name of a member is in quotes already.
        (postcard(json!({"map": ["string", "u8"]})), r#"{"\"\"":1}"#, b"\x01\x02\"\"\x01"),
    ] {
        assert_eq!(schema.bytes_of_typed(typed).as_deref(), Ok(bytes), "{schema:?}: {typed}");
    }
}

#[test]
fn what_does_not_fit_the_schema_is_named() {
    let point = postcard(json!({"struct": {"name": "Point", "fields": [["x", "i8"], ["y", "i8"]]}}));
    for (schema, typed, expected) in [
        (Schema::u64(), "seven", "`seven` is not a u64"),
        (Schema::u64(), "-1", "-1 is not a u64"),
        (Schema::u64(), "18446744073709551616", "is not a u64"),
        (Schema::bytes(), "?", "\"?\" is not bytes in base64"),
        (Schema::bytes(), "AAAAA", "is not bytes in base64"),
        (point.clone(), "{\"x\":1}", "{\"x\":1} is not a struct Point { x: i8, y: i8 }"),
        (point.clone(), "{\"x\":1,\"z\":1}", "is not a struct Point"),
        (point, "{\"x\":1,\"y\":128}", "128 is not an i8"),
        (postcard(json!("char")), "ab", "\"ab\" is not a char"),
        (
            postcard(json!({"enum": {"name": "E", "variants": [["A", "unit"]]}})),
            "\"B\"",
            "\"B\" is not an enum E { A }",
        ),
    ] {
        let error = schema.bytes_of_typed(typed).expect_err(typed).to_string();
        assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
    }
}

proptest! {
    #[test]
    fn what_is_shown_can_be_typed(b: bool, s in ".{0,5}", raw in vec(any::<u8>(), 0..5), o: Option<u32>, list in vec((0..4, any::<i64>(), any::<char>()), 0..4),
        m in proptest::collection::btree_map(".{0,3}", any::<u64>(), 0..4), n in proptest::collection::btree_map(any::<i32>(), any::<bool>(), 0..4)) {
        let schema = everything();
        let mut base64 = Vec::new();
        crate::stream::schema::json::base64(&raw, &mut base64);
        let raw: Value = serde_json::from_slice(&base64).expect("JSON");
        let shapes: Vec<Value> = list.into_iter().map(|(kind, number, character)| match kind {
            0 => json!("Point"),
            1 => json!({ "Circle": number }),
            2 => json!({ "Line": [number as i8, number as i16] }),
            _ => json!({ "Box": { "w": number as u16, "c": character } }),
        }).collect();
        let n: serde_json::Map<String, Value> = n.into_iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
        let typed = json!({ "b": b, "s": s, "raw": raw, "u": null, "o": o, "l": shapes, "m": m, "n": n, "p": [[[1], 2]] }).to_string();
        let bytes = schema.bytes_of_typed(&typed).expect("it fits the schema");
        let mut shown = Vec::new();
        schema.render_json(&bytes, &mut shown).expect("it fits the schema");
        prop_assert_eq!(String::from_utf8(shown).expect("text"), typed);
    }
}
