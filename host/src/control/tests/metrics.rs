//! The exposition, read as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

use super::fixture::Served;
use crate::control::MetricsAccess;

/// Reads `name{label="value",…} number`.
fn read_sample(line: &str) -> (&str, BTreeMap<&str, String>, f64) {
    let (name, rest) = line.split_once('{').expect("labels");
    let (mut labels, mut rest) = (BTreeMap::new(), rest);
    loop {
        let (label, after) = rest.split_once("=\"").expect("a label");
        let (mut value, mut characters) = (String::new(), after.char_indices());
        let end = loop {
            match characters.next().expect("the value ends") {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next().expect("an escape").1 {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    other => panic!("no escape: {other}"),
                }),
                (_, character) => value.push(character),
            }
        };
        assert!(labels.insert(label, value).is_none(), "a label comes twice: {line}");
        match after[end + 1..].split_at(1) {
            (",", more) => rest = more,
            ("}", number) => return (name, labels, number.trim_start().parse().expect("a number")),
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn metrics_are_in_prometheus_text_format() {
    let served = Served::obliging();
    let reply = served.call("GET", "/metrics", b"");
    assert!(reply.has("content-type: text/plain; version=0.0.4"), "{reply:?}");
    assert!(reply.body.ends_with('\n'));
    let (mut family, mut types, mut samples) = (None, BTreeMap::new(), BTreeSet::new());
    let mut values = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in reply.body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a text");
            assert!(helped.insert(name) && !text.is_empty(), "{line}");
            family = Some(name);
            continue;
        }
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, kind) = of.split_once(' ').expect("a type");
            assert_eq!(Some(name), family, "HELP and TYPE are of one family");
            assert!(matches!(kind, "counter" | "gauge" | "untyped"));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(types.insert(name, kind).is_none());
            continue;
        }
        let (name, labels, value) = read_sample(line);
        assert_eq!(Some(name), family, "samples follow their family: {line}");
        assert!(name.starts_with("wasmill_") && labels["job"] == "job", "{line}");
        assert!(samples.insert((name, format!("{labels:?}"))), "a sample comes twice: {line}");
        let of = labels.get("vertex").or(labels.get("phase")).or(labels.get("state")).cloned().unwrap_or_default();
        values.insert((name, of), (value, labels));
    }
    let value = |name: &str, of: &str| values[&(name, of.to_owned())].0;
    assert_eq!(value("wasmill_records_in_total", "lines"), 1_000.0);
    assert_eq!(value("wasmill_records_out_total", "counts"), 900.0);
    assert_eq!(value("wasmill_busy_seconds_total", "count"), 1.5);
    assert_eq!(value("wasmill_faults_total", "count"), 2.0);
    assert_eq!(value("wasmill_poisoned_total", "count"), 1.0);
    assert_eq!(value("wasmill_tasks", "count"), 2.0);
    assert_eq!(value("wasmill_checkpoint_last_duration_seconds", ""), 0.0125);
    assert_eq!(value("wasmill_checkpoint_last_bytes", ""), 2_048.0);
    assert_eq!(value("wasmill_checkpoints_completed_total", ""), 8.0);
    assert_eq!((value("wasmill_swap_phase", "probation"), value("wasmill_swap_phase", "none")), (1.0, 0.0));
    assert_eq!((value("wasmill_job_state", "running"), value("wasmill_job_state", "ended")), (1.0, 0.0));
    let (named, labels) = &values[&("wasmill_named", "count".to_owned())];
    assert_eq!((*named, labels["name"].as_str(), labels["kind"].as_str()), (7.0, "odd \"name\"\\\n", "operator"));
}

#[test]
fn who_may_read_metrics() {
    let served = Served::obliging();
    let host = served.entry.address.to_string();
    let reader = served.entry.metrics_token.bearer();
    assert_eq!(served.raw("GET", "/metrics", &[("Host", &host), ("Authorization", &reader)], b"").status, 200);
    served.raw("GET", "/metrics", &[("Host", &host)], b"").problem(401);

    let open = Served::with(MetricsAccess::Open, |_| None);
    let host = open.entry.address.to_string();
    assert_eq!(open.raw("GET", "/metrics", &[("Host", &host)], b"").status, 200);
    open.raw("GET", "/metrics", &[("Host", "evil.example")], b"").problem(421);
    open.raw("GET", "/metrics", &[("Host", &host), ("Origin", "http://evil.example")], b"").problem(403);
    open.raw("GET", "/v1/status", &[("Host", &host)], b"").problem(401);
    open.raw("POST", "/metrics", &[("Host", &host)], b"").problem(401);
}
