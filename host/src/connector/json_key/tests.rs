//! Keys are found where they are, and what is none is told from what is no JSON.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn find(path: &str, kind: KeyType, document: &str) -> Result<Vec<u8>, String> {
    let mut finder = KeyFinder::new(JsonKey::new(path, kind).unwrap());
    finder.find(document.as_bytes()).map(<[u8]>::to_vec).map_err(|invalid| invalid.why)
}

#[test]
fn a_name_is_that_of_a_member() {
    let text = |path: &str, document: &str| String::from_utf8(find(path, KeyType::Text, document).unwrap()).unwrap();
    assert_eq!(text("user", r#" {"user": "ann", "more": [1, {"user": "bob"}]} "#), "ann");
    assert_eq!(text("user", r#"{"more":{"user":"bob"},"\u0075ser":"a\"\u00e9\n"}"#), "a\"é\n");
    assert_eq!(text("user", r#"{"user":"first","user":"last"}"#), "last");
    assert_eq!(text("user", r#"{"user":""}"#), "");
    assert_eq!(text("0", r#"{"0":"zero"}"#), "zero");
    assert_eq!(text("a/b~1", r#"{"a/b~1":"as it is"}"#), "as it is");
    let number = |document: &str| find("id", KeyType::U64, document).unwrap();
    assert_eq!(number(r#"{"id":258}"#), 258_u64.to_le_bytes());
    assert_eq!(number(r#"{"id":18446744073709551615}"#), u64::MAX.to_le_bytes());
}

#[test]
fn a_pointer_goes_down() {
    let document = r#"{"a":[{"b/c":"x"},["y",{"~":"z"}]],"":{"":"empty"},"01":{"k":"no index"}}"#;
    for (path, expected) in
        [("/a/0/b~1c", "x"), ("/a/1/0", "y"), ("/a/1/1/~0", "z"), ("//", "empty"), ("/01/k", "no index")]
    {
        assert_eq!(find(path, KeyType::Text, document).unwrap(), expected.as_bytes(), "{path}");
    }
    for path in ["/a/2", "/a/00/b~1c", "/a/-", "/a/+1/0", "/a/0/b~1c/d", "/b", "a/0"] {
        let why = find(path, KeyType::Text, document).unwrap_err();
        assert_eq!(why, format!("the record has no `{path}` to take its key from"));
    }
    assert_eq!(
        find("/k", KeyType::Text, r#"{"k":"x","k":{"k":1}}"#).unwrap_err(),
        "the record's key `/k` is an object, not a string"
    );
    assert_eq!(
        find("/k/l", KeyType::Text, r#"{"k":{"l":"x"},"k":1}"#).unwrap_err(),
        "the record has no `/k/l` to take its key from"
    );
}

#[test]
fn paths_that_say_no_place_are_refused() {
    let refused = |path| JsonKey::new(path, KeyType::Text).unwrap_err();
    assert_eq!(refused(""), KeyPathError::Empty);
    assert_eq!(
        [refused("/a~"), refused("/~2"), refused("/x/~~")],
        [KeyPathError::Escape, KeyPathError::Escape, KeyPathError::Escape]
    );
    assert!(JsonKey::new("a~", KeyType::Text).is_ok(), "a plain name has no escapes");
}

#[test]
fn a_key_of_another_type_is_named() {
    let cases = [
        ("1", "a number, not a string (key-type = \"u64\" takes whole numbers)"),
        ("-1.5", "a number, not a string (key-type = \"u64\" takes whole numbers)"),
        ("true", "a boolean, not a string"),
        ("null", "null, not a string"),
        ("{\"x\":\"y\"}", "an object, not a string"),
        ("[\"x\"]", "an array, not a string"),
    ];
    for (value, expected) in cases {
        let why = find("k", KeyType::Text, &format!("{{\"k\":{value}}}")).unwrap_err();
        assert_eq!(why, format!("the record's key `k` is {expected}"));
    }
    let cases = [
        ("\"1\"", "a string, not a number (key-type = \"text\" takes strings)"),
        ("-1", "not a whole number from 0 to 2^64 - 1"),
        ("1.0", "not a whole number from 0 to 2^64 - 1"),
        ("18446744073709551616", "not a whole number from 0 to 2^64 - 1"),
        ("null", "null, not a number"),
    ];
    for (value, expected) in cases {
        let why = find("k", KeyType::U64, &format!("{{\"k\":{value}}}")).unwrap_err();
        assert_eq!(why, format!("the record's key `k` is {expected}"));
    }
    let long = |len| find("k", KeyType::Text, &format!("{{\"k\":\"{}\"}}", "x".repeat(len)));
    assert_eq!(long(KEY_BYTES_MAX).unwrap().len(), KEY_BYTES_MAX);
    assert_eq!(long(KEY_BYTES_MAX + 1).unwrap_err(), "the record's key `k` has 4097 bytes; at most 4096 are taken");
}

#[test]
fn what_is_no_json_is_said_before_what_is_no_key() {
    for document in ["{\"k\":1", "{\"k\":\"x\"}}", "{\"k\":\"x\",}", "{\"k\":\"\u{1}\"}", "{\"k\":01}", "k", ""] {
        let why = find("k", KeyType::Text, document).unwrap_err();
        assert!(why.starts_with("this is not JSON: "), "{document}: {why}");
    }
    assert_eq!(find("k", KeyType::Text, "\"k\"").unwrap_err(), "the record has no `k` to take its key from");
}

#[test]
fn a_finder_forgets_the_last_record() {
    let mut finder = KeyFinder::new(JsonKey::new("k", KeyType::Text).unwrap());
    assert_eq!(finder.find(b"{\"k\":\"long\"}").ok(), Some(&b"long"[..]));
    assert!(finder.find(b"{}").is_err());
    assert_eq!(finder.find(b"{\"k\":\"s\"}").ok(), Some(&b"s"[..]));
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c\"\\\\\n/~é😀]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("[a-c~/\"]{0,2}|0|1", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn keys_are_found_as_by_a_parser(document in document(), steps in proptest::collection::vec("[a-c~/\"]{0,2}|0|1", 1..4), pretty: bool) {
        let pointer: String = steps.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        let place = document.pointer(&pointer);
        let expected = place.and_then(Value::as_str).map(|text| text.as_bytes().to_vec());
        prop_assert_eq!(find(&pointer, KeyType::Text, &text).ok(), expected);
        let expected = place.and_then(Value::as_u64).map(|number| number.to_le_bytes().to_vec());
        prop_assert_eq!(find(&pointer, KeyType::U64, &text).ok(), expected);
    }

    /// Damaged documents are answered as the parser of the library answers them.
    #[test]
    fn what_is_json_is_as_by_a_parser(document in document(), at: usize, byte in proptest::sample::select(b"{}[]\",:\\ 0a-.".to_vec())) {
        let mut text = json!({ "k": document }).to_string().into_bytes();
        let at = at % text.len();
        text[at] = byte;
        let Ok(text) = String::from_utf8(text) else { return Ok(()) };
        if serde_json::from_str::<Value>(&text).is_ok() {
            let not_json = find("nowhere", KeyType::Text, &text).unwrap_err();
            prop_assert!(not_json.starts_with("the record has no"), "{}: {}", text, not_json);
        } else {
            let found = find("nowhere", KeyType::Text, &text).unwrap_err();
            // The library refuses numbers that are too large and lone surrogates, which the grammar allows.
            prop_assert!(found.starts_with("this is not JSON") || text.contains('e') || text.contains("\\u"), "{}: {}", text, found);
        }
    }
}
