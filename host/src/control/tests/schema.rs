//! As much of JSON Schema as the description uses. A keyword that is not known here fails the test: it would hold nothing.

use serde_json::Value as Json;

/// Keywords that say nothing about a document.
const SILENT: [&str; 3] = ["description", "default", "format"];

/// What is wrong with a document, each with its place.
pub(super) fn mismatches(root: &Json, schema: &Json, document: &Json) -> Vec<String> {
    let mut found = Vec::new();
    Check { root, found: &mut found }.check(schema, document, "$");
    found
}

/// What `$ref` leads to.
pub(super) fn resolve<'d>(root: &'d Json, schema: &'d Json) -> &'d Json {
    match schema.get("$ref").and_then(Json::as_str) {
        None => schema,
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("a reference within the document");
            root.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
    }
}

struct Check<'d> {
    root: &'d Json,
    found: &'d mut Vec<String>,
}

impl Check<'_> {
    fn check(&mut self, schema: &Json, document: &Json, place: &str) {
        let schema = resolve(self.root, schema).as_object().expect("a schema is an object");
        for (keyword, value) in schema {
            let fits = match keyword.as_str() {
                "type" => is_of(value, document),
                "enum" => value.as_array().expect("a list").contains(document),
                "pattern" => {
                    assert_eq!(value, "^[0-9a-f]{64}$", "the one pattern that is known here");
                    document.as_str().is_some_and(|text| {
                        text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                    })
                }
                "minimum" => document.as_f64().is_none_or(|number| number >= value.as_f64().expect("a number")),
                "maximum" => document.as_f64().is_none_or(|number| number <= value.as_f64().expect("a number")),
                "oneOf" => self.one_of(value.as_array().expect("a list"), document),
                "required" => self.required(value, document, place),
                "properties" | "additionalProperties" | "items" => true,
                silent => {
                    assert!(SILENT.contains(&silent), "{place}: the keyword {silent} is not known here");
                    true
                }
            };
            if !fits {
                self.found.push(format!("{place}: {document} is not of {keyword} {value}"));
            }
        }
        for (index, element) in document.as_array().into_iter().flatten().enumerate() {
            self.check(schema.get("items").expect("lists say of what"), element, &format!("{place}[{index}]"));
        }
        for (name, member) in document.as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            let known = schema.get("properties").and_then(|properties| properties.get(name));
            match known.or(schema.get("additionalProperties")) {
                None | Some(Json::Bool(true)) => {}
                Some(Json::Bool(false)) => self.found.push(format!("{place} is not described")),
                Some(schema) => self.check(schema, member, &place),
            }
        }
    }

    fn one_of(&self, schemas: &[Json], document: &Json) -> bool {
        schemas.iter().filter(|schema| mismatches(self.root, schema, document).is_empty()).count() == 1
    }

    fn required(&mut self, names: &Json, document: &Json, place: &str) -> bool {
        let names = names.as_array().expect("a list").iter().filter_map(Json::as_str);
        let missing: Vec<_> = names.filter(|name| document.get(name).is_none()).collect();
        self.found.extend(missing.iter().map(|name| format!("{place}.{name} is missing")));
        true
    }
}

fn is_of(types: &Json, document: &Json) -> bool {
    let is = |name: &Json| match name.as_str().expect("the name of a type") {
        "object" => document.is_object(),
        "array" => document.is_array(),
        "string" => document.is_string(),
        "integer" => document.is_u64() || document.is_i64(),
        "number" => document.is_number(),
        "boolean" => document.is_boolean(),
        "null" => document.is_null(),
        other => panic!("the type {other} is not known here"),
    };
    types.as_array().map_or_else(|| is(types), |types| types.iter().any(is))
}

#[test]
fn the_checker_finds_what_it_must() {
    let root = serde_json::json!({ "s": { "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "type": "integer", "minimum": 0, "maximum": 9 }, "b": { "oneOf": [{ "type": "string" }, { "type": "null" }] },
            "c": { "type": "array", "items": { "enum": ["x"] } } } } });
    let found = |text: &str| {
        let document = serde_json::from_str(text).expect("JSON");
        mismatches(&root, &serde_json::json!({ "$ref": "#/s" }), &document).len()
    };
    assert_eq!(found(r#"{"a":1,"b":null,"c":["x"]}"#), 0);
    for wrong in [
        r#"{"a":"1"}"#,
        "{}",
        r#"{"a":-1}"#,
        r#"{"a":10}"#,
        r#"{"a":1.5}"#,
        r#"{"a":1,"b":1}"#,
        r#"{"a":1,"c":["x","y"]}"#,
        r#"{"a":1,"d":1}"#,
    ] {
        assert!(found(wrong) > 0, "{wrong}");
    }
}
