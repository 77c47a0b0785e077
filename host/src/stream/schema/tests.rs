//! Schema documents are frozen, and any bytes are rendered or refused.

use std::collections::BTreeMap;

use proptest::{collection, prelude::*};
use serde::Serialize;
use serde_json::{Value, json};

use super::*;

fn postcard(shape: Value) -> Schema {
    Schema::parse(&json!({ "encoding": "postcard", "type": shape }).to_string()).unwrap()
}

fn render(schema: &Schema, bytes: &[u8]) -> Result<String, RenderError> {
    let mut out = b"before ".to_vec();
    let result = schema.render_json(bytes, &mut out);
    assert_eq!(&out[..7], b"before ", "what was there stays");
    if result.is_err() {
        assert_eq!(out.len(), 7, "an error appends nothing");
    }
    result.map(|()| String::from_utf8(out[7..].to_vec()).unwrap())
}

/// Documents in canonical form, and what error messages call them.
const FROZEN: [(&str, &str); 15] = [
    (r#"{"encoding":"text"}"#, "text"),
    (r#"{"encoding":"bytes"}"#, "bytes"),
    (r#"{"encoding":"u64"}"#, "a u64 in 8 bytes"),
    (r#"{"encoding":"unit"}"#, "a unit (no bytes)"),
    (r#"{"encoding":"json"}"#, "a JSON document"),
    (r#"{"encoding":"opaque"}"#, "opaque bytes"),
    (r#"{"encoding":"postcard","type":"i64"}"#, "an i64 in postcard"),
    (
        r#"{"encoding":"postcard","type":{"struct":{"name":"Count","fields":[["word","string"],["count","u64"]]}}}"#,
        "a struct Count { word: string, count: u64 } in postcard",
    ),
    (r#"{"encoding":"postcard","type":{"option":"bytes"}}"#, "an option<bytes> in postcard"),
    (r#"{"encoding":"postcard","type":{"map":["string",{"list":"f64"}]}}"#, "a map<string, list<f64>> in postcard"),
    (r#"{"encoding":"postcard","type":{"tuple":["char","unit"]}}"#, "a tuple (char, unit) in postcard"),
    (r#"{"encoding":"postcard","type":{"tuple":[]}}"#, "a tuple () in postcard"),
    (
        r#"{"encoding":"postcard","type":{"enum":{"name":"Shape","variants":[["Point","unit"],["Circle",{"newtype":"f32"}],["Line",{"tuple":["i8","i8"]}],["Box",{"struct":[["w","u16"]]}]]}}}"#,
        "an enum Shape { Point, Circle(f32), Line(i8, i8), Box { w: u16 } } in postcard",
    ),
    (
        r#"{"encoding":"postcard","type":{"struct":{"name":"A","fields":[["b",{"struct":{"name":"B","fields":[["c",{"struct":{"name":"C","fields":[["d","u8"]]}}]]}}]]}}}"#,
        "a struct A { b: struct B { c: struct C { … } } } in postcard",
    ),
    (
        r#"{"encoding":"postcard","type":{"tuple":["u8","u8","u8","u8","u8","u8","u8","u8","u8","u8","u8","u8","u8","u8"]}}"#,
        "a tuple (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, … 2 more) in postcard",
    ),
];

#[test]
fn documents_are_frozen() {
    for (document, description) in FROZEN {
        let schema = Schema::parse(document).unwrap();
        assert_eq!(schema.document(), document);
        assert_eq!(schema.to_string(), description);
    }
    let plain = [Schema::text(), Schema::bytes(), Schema::u64(), Schema::unit(), Schema::json(), Schema::opaque()];
    for (schema, (document, _)) in plain.iter().zip(FROZEN) {
        assert_eq!(schema.document(), document);
    }
}

#[test]
fn schemas_are_equal_when_their_documents_are_but_for_their_form() {
    for (i, (one, _)) in FROZEN.iter().enumerate() {
        for (j, (other, _)) in FROZEN.iter().enumerate() {
            assert_eq!(Schema::parse(one).unwrap() == Schema::parse(other).unwrap(), i == j);
        }
    }
    let other_form = Schema::parse("{ \"type\": \"i64\",\n\"encoding\": \"postcard\" }").unwrap();
    assert_eq!(other_form, postcard(json!("i64")));
    let field = |name| postcard(json!({"struct": {"name": "S", "fields": [[name, "u8"]]}}));
    assert_ne!(field("a"), field("b"));
}

#[test]
fn wrong_documents_are_refused_with_the_place() {
    let nested = |depth: usize| {
        let shape = (0..depth).fold(json!("u8"), |shape, _| json!({ "option": shape }));
        json!({ "encoding": "postcard", "type": shape }).to_string()
    };
    let cases = [
        ("{", "the schema is not JSON: EOF"),
        ("7", "at `schema`: must be an object"),
        ("{}", "at `schema`: \"encoding\" must be there"),
        (r#"{"encoding":"avro"}"#, "\"avro\", which is none of text, bytes, u64, unit, postcard"),
        (r#"{"encoding":"text","type":"u8"}"#, "\"type\" is for postcard only, not for text"),
        (r#"{"encoding":"text","version":2}"#, "the member \"version\" is not known"),
        (r#"{"encoding":"postcard"}"#, "postcard needs a \"type\""),
        (r#"{"encoding":"postcard","type":"u65"}"#, "at `type`: \"u65\" is not a type (known: unit"),
        (
            r#"{"encoding":"postcard","type":{"struct":{"name":"S","fields":[["a","u8"],["b",{"list":"x"}]]}}}"#,
            "at `type.struct.fields[1].list`: \"x\" is not a type",
        ),
        (
            r#"{"encoding":"postcard","type":{"struct":{"name":"S","fields":[["a","u8"],["a","u8"]]}}}"#,
            "at `type.struct.fields[1]`: the name \"a\" is there twice",
        ),
        (r#"{"encoding":"postcard","type":{"struct":{"fields":[]}}}"#, "at `type.struct`: \"name\" is"),
        (r#"{"encoding":"postcard","type":{"map":["u8"]}}"#, "at `type.map`: a map has the types"),
        (r#"{"encoding":"postcard","type":{"list":"u8","map":1}}"#, "at `type`: must be a name or an"),
        (r#"{"encoding":"postcard","type":{"set":"u8"}}"#, "\"set\" is not a type"),
        (
            r#"{"encoding":"postcard","type":{"enum":{"name":"E","variants":[["A",{"list":"u8"}]]}}}"#,
            "at `type.enum.variants[0]`: a variant is \"unit\"",
        ),
        (&nested(DEPTH_MAX), "types nest deeper than 32"),
        (&"[".repeat(10_000), "recursion limit exceeded"),
        (&" ".repeat(DOCUMENT_BYTES_MAX + 1), "1048577 bytes long"),
    ];
    for (document, expected) in cases {
        let error = Schema::parse(document).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\ndoes not say\n{expected}");
    }
    Schema::parse(&nested(DEPTH_MAX - 1)).unwrap();
}

#[test]
fn values_become_json() {
    let count = json!({"struct": {"name": "Count", "fields": [["word", "string"], ["count", "u64"]]}});
    let shape = json!({"enum": {"name": "Shape", "variants": [["Point", "unit"], ["Circle", {"newtype": "u8"}],
        ["Line", {"tuple": ["i8", "i8"]}], ["Box", {"struct": [["w", "u16"]]}], ["None", {"tuple": []}], ["\"", {"struct": []}]]}});
    let units = json!({"enum": {"name": "Colour", "variants": [["Red", "unit"], ["Blue", "unit"]]}});
    let cases: [(Schema, &[u8], &str); 42] = [
        (Schema::text(), b"", r#""""#),
        (Schema::text(), b"short", r#""short""#),
        (
            Schema::text(),
            "a \"b\" \\ c\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f} é".as_bytes(),
            "\"a \\\"b\\\" \\\\ c\\n\\r\\t\\b\\f\\u0001\\u001f\u{7f} é\"",
        ),
        (Schema::bytes(), b"", r#""""#),
        (Schema::bytes(), b"f", r#""Zg==""#),
        (Schema::bytes(), b"fo", r#""Zm8=""#),
        (Schema::opaque(), b"foobar\xff\xfe", r#""Zm9vYmFy//4=""#),
        (Schema::u64(), &[0; 8], "0"),
        (Schema::u64(), &[0xff; 8], "18446744073709551615"),
        (Schema::u64(), &[100, 0, 0, 0, 0, 0, 0, 0], "100"),
        (Schema::unit(), b"", "null"),
        (Schema::json(), br#"{"a": [1, "x y"]}"#, r#"{"a": [1, "x y"]}"#),
        (Schema::json(), b"{\n  \"a b\": [1.50,\r\n 2e0, \"x \\\" \\\\\"\t]\n}\n", r#"{"a b":[1.50,2e0,"x \" \\"]}"#),
        (postcard(json!("unit")), b"", "null"),
        (postcard(json!("bool")), &[1], "true"),
        (postcard(json!("u8")), &[0xff], "255"),
        (postcard(json!("u16")), &[0xff, 0xff, 0x03], "65535"),
        (postcard(json!("u32")), &[0xff, 0xff, 0xff, 0xff, 0x0f], "4294967295"),
        (postcard(json!("u64")), &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "18446744073709551615"),
        (postcard(json!("u128")), &[0xff; 18], ""),
        (postcard(json!("i8")), &[0x80], "-128"),
        (postcard(json!("i16")), &[0xff, 0xff, 0x03], "-32768"),
        (postcard(json!("i32")), &[0x01], "-1"),
        (postcard(json!("i64")), &[0x80, 0x01], "64"),
        (postcard(json!("i64")), &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "-9223372036854775808"),
        (postcard(json!("i128")), &[0x03], "-2"),
        (postcard(json!("f32")), &0.1_f32.to_le_bytes(), "0.1"),
        (postcard(json!("f64")), &1e300_f64.to_le_bytes(), "1e+300"),
        (postcard(json!("f64")), &f64::NAN.to_le_bytes(), "null"),
        (postcard(json!("f32")), &f32::NEG_INFINITY.to_le_bytes(), "null"),
        (postcard(json!("char")), "\u{2}ß".as_bytes(), r#""ß""#),
        (postcard(json!("bytes")), &[3, 1, 2, 3], r#""AQID""#),
        (postcard(json!({"option": "u8"})), &[0], "null"),
        (postcard(json!({"list": "bool"})), &[3, 0, 1, 0], "[false,true,false]"),
        (postcard(json!({"map": ["string", "u8"]})), &[2, 1, b'a', 7, 1, b'b', 8], r#"{"a":7,"b":8}"#),
        (postcard(json!({"map": ["i8", "unit"]})), &[2, 0xff, 1], r#"{"-1":null,"1":null}"#),
        (postcard(json!({"map": [units, "u8"]})), &[1, 1, 5], r#"{"Blue":5}"#),
        (postcard(json!({"map": [{"tuple": ["u8", "u8"]}, "u8"]})), &[2, 1, 2, 3, 4, 5, 6], "[[[1,2],3],[[4,5],6]]"),
        (postcard(json!({"tuple": ["u8", {"tuple": []}]})), &[9], "[9,[]]"),
        (postcard(count), b"\x03the\xac\x02", r#"{"word":"the","count":300}"#),
        (postcard(json!({"struct": {"name": "Empty", "fields": []}})), b"", "{}"),
        (
            postcard(json!({"list": shape})),
            &[6, 0, 1, 5, 2, 1, 0xfe, 3, 0x80, 1, 4, 5],
            r#"["Point",{"Circle":5},{"Line":[1,-2]},{"Box":{"w":128}},{"None":[]},{"\"":{}}]"#,
        ),
    ];
    for (schema, bytes, expected) in cases {
        let long = [&[0xff; 18][..], &[0x03]].concat();
        let (bytes, expected) = match expected {
            "" => (&long[..], "340282366920938463463374607431768211455"),
            _ => (bytes, expected),
        };
        assert_eq!(render(&schema, bytes).as_deref(), Ok(expected), "{schema:?}");
    }
}

#[test]
fn wrong_values_are_errors_with_the_place() {
    use Problem::*;
    let number = json!({"enum": {"name": "E", "variants": [["A", "unit"]]}});
    let cases: [(Schema, &[u8], usize, Problem); 21] = [
        (Schema::text(), b"ab\xff", 2, NotUtf8),
        (Schema::u64(), &[0; 7], 7, Truncated),
        (Schema::u64(), &[0; 9], 8, Trailing),
        (Schema::unit(), &[0], 0, Trailing),
        (Schema::json(), b"\"\xff\"", 1, NotUtf8),
        (Schema::json(), b"{\"a\":\n 1,}", 9, NotJson("key must be a string at line 2 column 4".into())),
        (Schema::json(), b"1 2", 2, NotJson("trailing characters at line 1 column 3".into())),
        (Schema::json(), b"", 0, NotJson("EOF while parsing a value at line 1 column 0".into())),
        (postcard(json!("bool")), &[2], 0, NotBool(2)),
        (postcard(json!({"option": "u8"})), &[7, 7], 0, NotBool(7)),
        (postcard(json!("u16")), &[0xff, 0xff, 0x04], 3, Overflow),
        (postcard(json!("u64")), &[0x80; 10], 10, Overflow),
        (postcard(json!("u8")), &[], 0, Truncated),
        (postcard(json!("f64")), &[0; 7], 0, Truncated),
        (postcard(json!("string")), &[2, b'a'], 1, Truncated),
        (postcard(json!("string")), &[2, b'a', 0xc3], 2, NotUtf8),
        (postcard(json!("char")), b"\x02ab", 1, NotChar),
        (postcard(json!("u8")), &[1, 2], 1, Trailing),
        (postcard(number), &[1], 0, NoVariant(1)),
        (postcard(json!({"list": "u8"})), &[0xff, 0xff, 0xff, 0xff, 0x0f, 1], 6, Truncated),
        (postcard(json!({"list": "unit"})), &[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], 6, TooLong),
    ];
    for (schema, bytes, at, problem) in cases {
        assert_eq!(render(&schema, bytes), Err(RenderError { at, problem }), "{schema:?}");
    }
    let error = render(&Schema::text(), b"\xff").unwrap_err().to_string();
    assert_eq!(error, "the value is not what its schema says: text is not UTF-8 (at byte 0 of it)");
}

/// A type with its schema and its postcard bytes.
trait Encoded: Serialize {
    fn shape() -> Value;
    fn encode(&self, out: &mut Vec<u8>);
}

fn varint(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

macro_rules! encoded {
    ($($type:ty, $name:literal, |$value:ident, $out:ident| $encode:expr;)*) => {$(
        impl Encoded for $type {
            fn shape() -> Value { json!($name) }
            fn encode(&self, $out: &mut Vec<u8>) { let $value = self; $encode }
        }
    )*};
}

encoded! {
    bool, "bool", |value, out| out.push(u8::from(*value));
    u8, "u8", |value, out| out.push(*value);
    u16, "u16", |value, out| varint(u128::from(*value), out);
    u32, "u32", |value, out| varint(u128::from(*value), out);
    u64, "u64", |value, out| varint(u128::from(*value), out);
    u128, "u128", |value, out| varint(*value, out);
    i8, "i8", |value, out| out.push(*value as u8);
    i16, "i16", |value, out| varint(((value << 1) ^ (value >> 15)) as u16 as u128, out);
    i32, "i32", |value, out| varint(((value << 1) ^ (value >> 31)) as u32 as u128, out);
    i64, "i64", |value, out| varint(((value << 1) ^ (value >> 63)) as u64 as u128, out);
    i128, "i128", |value, out| varint(((value << 1) ^ (value >> 127)) as u128, out);
    f32, "f32", |value, out| out.extend(value.to_le_bytes());
    f64, "f64", |value, out| out.extend(value.to_le_bytes());
    char, "char", |value, out| value.to_string().encode(out);
    String, "string", |value, out| { varint(value.len() as u128, out); out.extend(value.as_bytes()) };
}

impl<T: Encoded> Encoded for Option<T> {
    fn shape() -> Value {
        json!({ "option": T::shape() })
    }
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        self.iter().for_each(|value| value.encode(out));
    }
}

impl<T: Encoded> Encoded for Vec<T> {
    fn shape() -> Value {
        json!({ "list": T::shape() })
    }
    fn encode(&self, out: &mut Vec<u8>) {
        varint(self.len() as u128, out);
        self.iter().for_each(|value| value.encode(out));
    }
}

impl<K: Encoded + Ord, V: Encoded> Encoded for BTreeMap<K, V> {
    fn shape() -> Value {
        json!({ "map": [K::shape(), V::shape()] })
    }
    fn encode(&self, out: &mut Vec<u8>) {
        varint(self.len() as u128, out);
        self.iter().for_each(|(key, value)| {
            key.encode(out);
            value.encode(out);
        });
    }
}

impl<A: Encoded, B: Encoded, C: Encoded> Encoded for (A, B, C) {
    fn shape() -> Value {
        json!({ "tuple": [A::shape(), B::shape(), C::shape()] })
    }
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
        self.2.encode(out);
    }
}

#[derive(Clone, Debug, Serialize)]
struct Order {
    id: u64,
    #[serde(rename = "the \"buyer\"")]
    buyer: String,
    price: Option<f64>,
    lines: Vec<(i32, String, bool)>,
}

impl Encoded for Order {
    fn shape() -> Value {
        json!({"struct": {"name": "Order", "fields": [["id", "u64"], ["the \"buyer\"", "string"],
            ["price", {"option": "f64"}], ["lines", Vec::<(i32, String, bool)>::shape()]]}})
    }
    fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        self.buyer.encode(out);
        self.price.encode(out);
        self.lines.encode(out);
    }
}

#[derive(Clone, Debug, Serialize)]
enum Event {
    Nothing,
    Said(String),
    Moved(i64, i8),
    Ordered { order: Order },
}

impl Encoded for Event {
    fn shape() -> Value {
        json!({"enum": {"name": "Event", "variants": [["Nothing", "unit"], ["Said", {"newtype": "string"}],
            ["Moved", {"tuple": ["i64", "i8"]}], ["Ordered", {"struct": [["order", Order::shape()]]}]]}})
    }
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nothing => out.push(0),
            Self::Said(text) => {
                out.push(1);
                text.encode(out);
            }
            Self::Moved(x, y) => {
                out.push(2);
                x.encode(out);
                y.encode(out);
            }
            Self::Ordered { order } => {
                out.push(3);
                order.encode(out);
            }
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let line = any::<(i32, String, bool)>();
    let order = (any::<u64>(), any::<String>(), any::<Option<f64>>(), collection::vec(line, 0..4));
    prop_oneof![
        Just(Event::Nothing),
        any::<String>().prop_map(Event::Said),
        any::<(i64, i8)>().prop_map(|(x, y)| Event::Moved(x, y)),
        order.prop_map(|(id, buyer, price, lines)| Event::Ordered { order: Order { id, buyer, price, lines } }),
    ]
}

/// Renders as serde_json does; and no shorter or longer run of the bytes is taken for the value.
fn check<T: Encoded>(value: &T) {
    let schema = postcard(T::shape());
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    assert_eq!(render(&schema, &bytes), Ok(serde_json::to_string(value).unwrap()));
    for len in 0..bytes.len().min(50) {
        render(&schema, &bytes[..len]).unwrap_err();
    }
    bytes.push(0);
    render(&schema, &bytes).unwrap_err();
}

/// Any type, without regard to how it was made.
fn shape() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 13] =
        ["unit", "bool", "u8", "u32", "u128", "i8", "i64", "i128", "f32", "f64", "char", "string", "bytes"];
    let leaf = proptest::sample::select(&NAMES[..]).prop_map(|name| json!(name)).boxed();
    leaf.prop_recursive(3, 12, 4, |inner| {
        let many = collection::vec(inner.clone(), 0..4);
        let named = |types: Vec<Value>| -> Value {
            types.into_iter().enumerate().map(|(i, shape)| json!([format!("f{i}"), shape])).collect()
        };
        prop_oneof![
            inner.clone().prop_map(|item| json!({ "option": item })),
            inner.clone().prop_map(|item| json!({ "list": item })),
            (inner.clone(), inner).prop_map(|(key, value)| json!({ "map": [key, value] })),
            many.clone().prop_map(|items| json!({ "tuple": items })),
            many.clone().prop_map(move |types| json!({"struct": {"name": "S", "fields": named(types)}})),
            many.prop_map(move |types| json!({"enum": {"name": "E", "variants": [["A", "unit"],
                ["B", {"tuple": types.clone()}], ["C", {"struct": named(types)}]]}})),
        ]
    })
}

proptest! {
    #[test]
    fn postcard_renders_as_serde_json_does(
        unsigned: (u8, u16, u32), more: (u64, u128, bool), signed: (i8, i16, i32),
        longer: (i64, i128, char), floats: (f32, f64, String), events in collection::vec(event(), 0..3),
        names in collection::btree_map(any::<String>(), any::<i16>(), 0..6),
        numbers in collection::btree_map(any::<i64>(), any::<Option<char>>(), 0..6),
    ) {
        check(&unsigned);
        check(&more);
        check(&signed);
        check(&longer);
        check(&floats);
        check(&events);
        check(&names);
        check(&numbers);
    }

    #[test]
    fn any_bytes_of_any_type_become_json_or_an_error(shape in shape(), bytes in collection::vec(0_u8.., 0..40), small in collection::vec(0_u8..4, 0..40)) {
        let schema = postcard(shape);
        for bytes in [bytes, small] {
            if let Ok(document) = render(&schema, &bytes) {
                prop_assert!(!document.contains('\n'));
                serde_json::from_str::<serde::de::IgnoredAny>(&document).unwrap();
            }
        }
    }

    #[test]
    fn any_bytes_without_a_type_become_json_or_an_error(bytes: Vec<u8>, text: String) {
        for schema in [Schema::text(), Schema::bytes(), Schema::u64(), Schema::unit(), Schema::json(), Schema::opaque()] {
            if let Ok(document) = render(&schema, &bytes) {
                serde_json::from_str::<Value>(&document).unwrap();
            }
        }
        prop_assert_eq!(render(&Schema::text(), text.as_bytes()), Ok(serde_json::to_string(&text).unwrap()));
    }

    #[test]
    fn pretty_json_is_made_compact_and_stays_the_same(shape in shape()) {
        let pretty = serde_json::to_string_pretty(&json!({"a \n\\": shape, "b": []})).unwrap();
        let value: Value = serde_json::from_str(&pretty).unwrap();
        prop_assert_eq!(render(&Schema::json(), pretty.as_bytes()), Ok(value.to_string()));
    }

    #[test]
    fn documents_are_read_as_they_are_written(shape in shape()) {
        let schema = postcard(shape.clone());
        let document = json!({ "encoding": "postcard", "type": shape }).to_string();
        prop_assert_eq!(schema.document(), document.clone());
        prop_assert_eq!(Schema::parse(&document).unwrap(), schema);
    }

    #[test]
    fn any_document_is_read_or_refused(document: String, shape in "[\\[\\]{}:,\"a-z0-9]{0,60}") {
        let _ = Schema::parse(&document);
        let _ = Schema::parse(&format!("{{\"encoding\":\"postcard\",\"type\":{shape}}}"));
    }
}
