//! `openapi.json` against what is served.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::{
    fixture::{Reply, Served},
    schema::{mismatches, resolve},
};
use crate::{
    control::routes::routes,
    job::{Answer, Refusal, RefusalKind, live_testing as pretended},
};

const TEXT: &str = include_str!("../openapi.json");

fn description() -> Json {
    serde_json::from_str(TEXT).expect("it is JSON")
}

/// Method and path of all that is described.
fn described(document: &Json) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, operations): (&String, &Json)| {
        let methods: Vec<_> = operations.as_object().expect("operations").keys().cloned().collect();
        methods.into_iter().map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn every_route_is_described_and_the_other_way_round() {
    let served: BTreeSet<_> = routes().iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(served, described(&description()));
}

#[test]
fn the_description_is_served() {
    let served = Served::obliging();
    let reply = served.call("GET", "/v1/openapi.json", b"");
    assert_eq!((reply.status, reply.body.as_str()), (200, TEXT));
    assert_eq!(description()["openapi"], "3.1.0");
}

#[test]
fn all_references_lead_somewhere_and_all_schemas_are_used() {
    fn references<'d>(document: &'d Json, found: &mut Vec<&'d str>) {
        match document {
            Json::Object(members) => members.iter().for_each(|(name, member)| match member.as_str() {
                Some(reference) if name == "$ref" => found.push(reference),
                _ => references(member, found),
            }),
            Json::Array(elements) => elements.iter().for_each(|element| references(element, found)),
            _ => {}
        }
    }
    let document = description();
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in &found {
        resolve(&document, &json!({ "$ref": reference }));
    }
    for kind in ["schemas", "responses"] {
        for name in document["components"][kind].as_object().expect("components").keys() {
            assert!(found.contains(&format!("#/components/{kind}/{name}").as_str()), "{kind} {name} is used nowhere");
        }
    }
}

/// Checks that an answer is described: its status, its type, all of its body.
#[track_caller]
fn holds(document: &Json, method: &str, path: &str, reply: &Reply) {
    let operation = &document["paths"][path][method.to_lowercase()];
    let response = &operation["responses"][reply.status.to_string()];
    assert!(response.is_object(), "{method} {path}: the status {} is not described: {reply:?}", reply.status);
    let Some(content) = resolve(document, response).get("content") else {
        assert_eq!(reply.body, "", "{method} {path}");
        return;
    };
    let (media, schema) = content.as_object().and_then(|content| content.iter().next()).expect("a type");
    assert!(reply.has(&format!("content-type: {media}")), "{method} {path}: {reply:?}");
    let body = if media == "text/plain" { Json::String(reply.body.clone()) } else { reply.json() };
    let wrong = mismatches(document, &schema["schema"], &body);
    assert!(wrong.is_empty(), "{method} {path}: {wrong:#?}");
}

/// What is sent to each path when nothing is wrong.
fn good(path: &str) -> (String, Vec<u8>) {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let body = match path {
        "/v1/swap" => json!({ "operators": { "count": {} } }).to_string(),
        _ => String::new(),
    };
    (path.replace("{sha256}", empty), body.into_bytes())
}

#[test]
fn every_answer_is_as_described() {
    let document = description();
    let served = Served::obliging();
    for (method, path) in described(&document) {
        let (at, body) = good(&path);
        let reply = served.call(&method, &at, &body);
        assert!(matches!(reply.status, 200 | 204), "{method} {path}: {reply:?}");
        holds(&document, &method, &path, &reply);
        let host = served.entry.address.to_string();
        let (bearer, reader) = (served.entry.token.bearer(), served.entry.metrics_token.bearer());
        let with = |headers: &[(&str, &str)]| served.raw(&method, &at, headers, &body);
        holds(&document, &method, &path, &with(&[("Host", &host)]));
        holds(&document, &method, &path, &with(&[("Host", &host), ("Authorization", &reader)]));
        holds(&document, &method, &path, &with(&[("Host", "evil.example"), ("Authorization", &bearer)]));
        if method != "GET" {
            let reply = served.call(&method, &at, b"{");
            assert_eq!(reply.status, 400);
            holds(&document, &method, &path, &reply);
        }
    }
}

#[test]
fn every_refusal_is_as_described() {
    let document = description();
    for kind in
        [RefusalKind::Usage, RefusalKind::Plugin, RefusalKind::Incompatible, RefusalKind::Busy, RefusalKind::Failed]
    {
        let served = Served::answering(move |_| {
            let differences = vec![pretended::difference()];
            Some(Answer::Refused(Refusal { kind, message: "no".into(), differences }))
        });
        for path in ["/v1/checkpoint", "/v1/savepoint", "/v1/stop", "/v1/swap"] {
            let (at, body) = good(path);
            holds(&document, "POST", path, &served.call("POST", &at, &body));
        }
    }
}

#[test]
fn all_statuses_that_are_described_can_come() {
    // Those of the gate, of bodies and of the job's answers; what is not here is described for nothing.
    let can_come = ["200", "204", "400", "401", "403", "408", "409", "413", "421", "422", "429", "500", "503", "504"];
    for (path, operations) in description()["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let statuses: Vec<_> = operation["responses"].as_object().expect("responses").keys().collect();
            assert!(statuses.iter().all(|status| can_come.contains(&status.as_str())), "{method} {path}");
            for always in ["401", "403", "421", "429"] {
                assert!(statuses.iter().any(|status| *status == always), "{method} {path}: {always}");
            }
        }
    }
}

#[test]
fn what_clients_send_is_as_described() {
    use crate::control::{
        LimitsOnWire, OnErrorOnWire, OperatorOnWire, OperatorsOnWire, SavepointOnWire, StopOnWire, SwapOnWire,
    };
    let document = description();
    let checked = |name: &str, body: Json| {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        let wrong = mismatches(&document, &schema, &body);
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    };
    let operator = |on_error| OperatorOnWire {
        component: Some("ab".repeat(32)),
        config: Some(json!({})),
        limits: Some(LimitsOnWire::from(crate::spec::Limits::default())),
        on_error: Some(on_error),
    };
    let operators = OperatorsOnWire(vec![
        ("a".into(), operator(OnErrorOnWire::Skip)),
        ("b".into(), operator(OnErrorOnWire::DeadLetter("poison".into()))),
        ("c".into(), OperatorOnWire::default()),
    ]);
    let swap = SwapOnWire { operators, dry_run: true, wait: true, drop_state: vec!["a/b".into()] };
    checked("Swap", serde_json::to_value(swap).expect("JSON"));
    let savepoint = SavepointOnWire { place: Some("/x".into()) };
    checked("Savepoint", serde_json::to_value(&savepoint).expect("JSON"));
    checked("Stop", serde_json::to_value(StopOnWire { drain: true, savepoint }).expect("JSON"));
}
