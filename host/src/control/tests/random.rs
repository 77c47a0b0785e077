//! Random bytes for the endpoints that read JSON: whatever comes, there is an answer, and it is one of those that are described. `WASMILL_API_CASES` says how many, 400 unless it does.

use std::{thread, time::Duration};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};

use super::fixture::Served;

const PATHS: [&str; 4] = ["/v1/swap", "/v1/savepoint", "/v1/stop", "/v1/checkpoint"];

/// Bytes, texts that look like JSON, and requests of which something was changed.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let good = r#"{"operators":{"a":{"component":"00","config":{"x":[1,null,"y"]},"limits":{"memory-bytes":1,"call-time-us":1000,"output-bytes":1,"faults-per-minute":1},"on-error":{"dead-letter":"s"}}},"dry-run":false,"wait":true,"drop-state":["a/b"],"drain":true,"place":"/x"}"#;
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(prop::sample::select(b"{}[]\",:0e-.\\u truefalsnl".to_vec()), 0..100),
        (0..good.len(), 0..good.len(), any::<u8>()).prop_map(move |(cut, at, byte)| {
            let mut bytes = good.as_bytes().to_vec();
            bytes[at] = byte;
            bytes.truncate(if cut % 3 == 0 { bytes.len() } else { cut });
            bytes
        }),
    ]
}

#[test]
fn whatever_comes_there_is_an_answer() {
    let served = Served::obliging();
    let mut runner = TestRunner::new(Config { cases: 1, ..Config::default() });
    let rounds = std::env::var("WASMILL_API_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    for round in 0..rounds {
        let body = bodies().new_tree(&mut runner).expect("a body").current();
        let path = PATHS[round % PATHS.len()];
        let reply = served.call("POST", path, &body);
        match reply.status {
            200 => drop(reply.json()),
            400 => drop(reply.problem(400)),
            // There was too much of it.
            429 => thread::sleep(Duration::from_millis(100)),
            _ => panic!("{path} with {body:?}: {reply:?}"),
        }
    }
    assert_eq!(served.call("GET", "/v1/status", b"").status, 200);
}
