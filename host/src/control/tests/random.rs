//! Random bytes for the endpoints that read JSON: whatever comes, there is an answer, and it is one of those that are described. `WASMILL_API_CASES` says how many, 400 unless it does.

use std::{thread, time::Duration};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use sha2::{Digest as _, Sha256};

use super::fixture::{Reply, Served};

/// The component that the requests name, of which only the digest counts here.
const COMPONENT: &[u8] = b"";
const SWAP: &str = r#"{"operators":{"a":{"component":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","config":{"x":[1,null,"y"]},"limits":{"memory-bytes":1,"call-time-us":1000,"output-bytes":1,"faults-per-minute":1},"on-error":{"dead-letter":"s"}}},"dry-run":false,"wait":true,"drop-state":["a/b"]}"#;

/// Endpoints, each with a request that it takes.
const REQUESTS: [(&str, &str); 4] = [
    ("/v1/swap", SWAP),
    ("/v1/savepoint", r#"{"place":"/x"}"#),
    ("/v1/stop", r#"{"drain":true,"savepoint":{"place":"/x"}}"#),
    ("/v1/checkpoint", "{}"),
];

/// Bytes, texts that look like JSON, and that request as it is, with a byte changed, or cut off.
fn bodies(good: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(prop::sample::select(b"{}[]\",:0e-.\\u truefalsnl".to_vec()), 0..100),
        Just(good.to_vec()),
        (0..good.len(), any::<u8>()).prop_map(|(at, byte)| {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            bytes
        }),
        (0..good.len()).prop_map(|cut| good[..cut].to_vec()),
    ]
}

/// Asks until there was not too much of it.
fn call(served: &Served, method: &str, path: &str, body: &[u8]) -> Reply {
    loop {
        let reply = served.call(method, path, body);
        if reply.status != 429 {
            return reply;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn whatever_comes_there_is_an_answer() {
    let served = Served::obliging();
    let digest: String = Sha256::digest(COMPONENT).iter().map(|byte| format!("{byte:02x}")).collect();
    let component = format!("/v1/components/{digest}");
    let mut runner = TestRunner::new(Config { cases: 1, ..Config::default() });
    let rounds = std::env::var("WASMILL_API_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    for round in 0..rounds {
        let (path, good) = REQUESTS[round % REQUESTS.len()];
        let body = bodies(good.as_bytes()).new_tree(&mut runner).expect("a body").current();
        if path == "/v1/swap" {
            // A swap uses it up.
            assert_eq!(call(&served, "PUT", &component, COMPONENT).status, 204);
        }
        let reply = call(&served, "POST", path, &body);
        match reply.status {
            200 => drop(reply.json()),
            400 => drop(reply.problem(400)),
            _ => panic!("{path} with {:?}: {reply:?}", String::from_utf8_lossy(&body)),
        }
        assert!(body != good.as_bytes() || reply.status == 200, "{path}: {reply:?}");
    }
    assert_eq!(call(&served, "GET", "/v1/status", b"").status, 200);
}
