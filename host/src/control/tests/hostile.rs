//! Callers that mean harm, or are broken: nothing is shown or done, and nothing hangs.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::fixture::{PATIENCE, Reply, Served};
use crate::control::{
    places::PLACES, rate::REQUESTS_PER_SECOND, requests::COMPONENT_BYTES_MAX, routes::UPLOADS_MAX, server::HEAD_TIME,
};

/// Words that only those may read who have the token.
const TELLING: [&str; 5] = ["word-count", "checkpoint", "operator", "records", "running"];

#[track_caller]
fn says_nothing(reply: &Reply) {
    for word in TELLING {
        assert!(!reply.body.contains(word) && !reply.head.contains(word), "{word}: {reply:?}");
    }
}

const CALLS: [(&str, &str); 10] = [
    ("GET", "/v1/status"),
    ("POST", "/v1/checkpoint"),
    ("POST", "/v1/savepoint"),
    ("POST", "/v1/stop"),
    ("POST", "/v1/swap"),
    ("PUT", "/v1/components/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/no/such/path"),
    ("DELETE", "/v1/status"),
    ("OPTIONS", "*"),
];

/// Waits until the bucket of strangers has what the calls of a path took.
fn rest() {
    thread::sleep(Duration::from_millis(300));
}

#[test]
fn without_the_token_nothing_is_shown_or_done() {
    let served = Served::obliging();
    let host = served.entry.address.to_string();
    let bearer = served.entry.token.bearer();
    let token = bearer.strip_prefix("Bearer ").expect("a bearer").to_owned();
    let wrong = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Bearer {}", "0".repeat(64)),
        format!("Bearer {}", &token[..63]),
        format!("Bearer {token}0"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Basic {token}"),
        token.clone(),
        format!("Bearer {token}, Bearer {token}"),
    ];
    for (method, path) in CALLS {
        let body = json!({ "operators": { "count": {} } }).to_string();
        for value in &wrong {
            let reply = served.raw(method, path, &[("Host", &host), ("Authorization", value)], body.as_bytes());
            reply.problem(401);
            assert!(reply.has("www-authenticate: bearer"), "{reply:?}");
            says_nothing(&reply);
        }
        served.raw(method, path, &[("Host", &host)], b"").problem(401);
        let twice = [("Host", host.as_str()), ("Authorization", &bearer), ("Authorization", &bearer)];
        served.raw(method, path, &twice, b"").problem(401);
        rest();
    }
    assert_eq!(served.asked(), 0);
}

#[test]
fn the_token_in_another_place_counts_for_nothing() {
    let served = Served::obliging();
    let host = served.entry.address.to_string();
    let bearer = served.entry.token.bearer();
    let token = bearer.strip_prefix("Bearer ").expect("a bearer");
    served.raw("GET", &format!("/v1/status?token={token}&access_token={token}"), &[("Host", &host)], b"").problem(401);
    served.raw("GET", "/v1/status", &[("Host", &host), ("Cookie", &format!("token={token}"))], b"").problem(401);
}

#[test]
fn the_metrics_token_reads_metrics_only() {
    let served = Served::obliging();
    let (host, reader) = (served.entry.address.to_string(), served.entry.metrics_token.bearer());
    for (method, path) in CALLS {
        let reply = served.raw(method, path, &[("Host", &host), ("Authorization", &reader)], b"");
        reply.problem(403);
        says_nothing(&reply);
    }
    for path in ["/metrics/", "/metrics/../v1/status", "//metrics", "/metrics%2f..%2fv1/status"] {
        served.raw("GET", path, &[("Host", &host), ("Authorization", &reader)], b"").problem(403);
    }
    served.raw("POST", "/metrics", &[("Host", &host), ("Authorization", &reader)], b"").problem(403);
    assert_eq!(served.asked(), 0);
}

#[test]
fn another_host_is_misdirected() {
    let served = Served::obliging();
    let (own, bearer) = (served.entry.address.to_string(), served.entry.token.bearer());
    let port = served.entry.address.port();
    for host in
        ["evil.example", "", "127.0.0.1", &format!("evil.example:{port}"), &format!("127.0.0.1.evil.example:{port}")]
    {
        let reply = served.raw("GET", "/v1/status", &[("Host", host), ("Authorization", &bearer)], b"");
        reply.problem(421);
        says_nothing(&reply);
    }
    served.raw("GET", "/v1/status", &[("Authorization", &bearer)], b"").problem(421);
    let two = [("Host", own.as_str()), ("Host", "evil.example"), ("Authorization", &bearer)];
    assert!(matches!(served.raw("GET", "/v1/status", &two, b"").status, 400 | 421));
    let target = format!("http://evil.example:{port}/v1/status");
    served.raw("GET", &target, &[("Host", &own), ("Authorization", &bearer)], b"").problem(421);
    for host in [own.clone(), format!("localhost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(served.raw("GET", "/v1/status", &[("Host", &host), ("Authorization", &bearer)], b"").status, 200);
    }
}

#[test]
fn pages_of_another_origin_are_refused() {
    let served = Served::obliging();
    let (host, bearer) = (served.entry.address.to_string(), served.entry.token.bearer());
    let from = |origin: &str| {
        served.raw("POST", "/v1/stop", &[("Host", &host), ("Authorization", &bearer), ("Origin", origin)], b"")
    };
    for origin in ["http://evil.example", "null", "", "https://localhost", "file://", &format!("https://{host}")] {
        let reply = from(origin);
        reply.problem(403);
        assert!(!reply.has("access-control"), "{reply:?}");
    }
    assert_eq!(served.asked(), 0);
    assert_eq!(from(&format!("http://{host}")).status, 200);
}

#[test]
fn bodies_are_bounded() {
    let served = Served::obliging();
    for path in ["/v1/swap", "/v1/stop", "/v1/savepoint", "/v1/checkpoint"] {
        served.call("POST", path, &vec![b' '; (1 << 20) + 1]).problem(413);
    }
    let (host, bearer) = (served.entry.address.to_string(), served.entry.token.bearer());
    // What only announces itself is not awaited.
    let announced = |path: &str, bytes: usize| {
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nContent-Length: {bytes}\r\n\r\n"
        );
        served.send(head.as_bytes()).expect("an answer")
    };
    announced(CALLS[5].1, COMPONENT_BYTES_MAX + 1).problem(413);
    // What does not is cut when it is too much.
    let mut chunked = format!(
        "POST /v1/swap HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..40 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(vec![b' '; 1 << 16]);
        chunked.extend_from_slice(b"\r\n");
    }
    if let Some(reply) = served.send(&chunked) {
        reply.problem(413);
    }
    assert_eq!(served.asked(), 0);
}

#[test]
fn a_component_is_what_its_digest_says() {
    let served = Served::obliging();
    let detail = served.call("PUT", CALLS[5].1, b"something").problem(400);
    assert!(detail.contains("has the SHA-256"), "{detail}");
    let upper = CALLS[5].1.replace("e3b0", "E3B0");
    for path in ["/v1/components/abc", "/v1/components/%2e%2e%2fetc%2fpasswd", &upper] {
        let detail = served.call("PUT", path, b"").problem(400);
        assert!(detail.contains("64 hexadecimal digits"), "{detail}");
    }
}

#[test]
fn no_path_leads_out() {
    let served = Served::obliging();
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/status/",
        "/v1/../v1/status",
        "/v1/components/../../etc/passwd",
        "/v1/components/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/etc/passwd",
        "/v1/status%00",
        "/V1/STATUS",
    ] {
        let reply = served.call("GET", path, b"");
        reply.problem(404);
        assert!(!reply.body.contains("root:"), "{reply:?}");
    }
    let reply = served.call("DELETE", "/v1/swap", b"");
    assert_eq!(reply.problem(405), "this path takes POST");
    assert!(reply.has("allow: post"), "{reply:?}");
}

#[test]
fn what_can_not_be_understood_says_why() {
    let served = Served::obliging();
    let swap = |body: &str| served.call("POST", "/v1/swap", body.as_bytes()).problem(400);
    for (body, part) in [
        ("", "missing field `operators`"),
        ("{", "EOF"),
        ("[]", "invalid"),
        ("\u{1}", "expected value"),
        (r#"{"operators":{}}"#, "names none"),
        (r#"{"operators":[]}"#, "an object with the ids of operators"),
        (r#"{"operators":{"a":{}},"dryrun":true}"#, "unknown field `dryrun`"),
        (r#"{"operators":{"a":{}},"dry-run":1}"#, "expected a boolean"),
        (r#"{"operators":{"a":{},"a":{}}}"#, "operator a comes twice"),
        (r#"{"operators":{"a":{"plugin":"x"}}}"#, "unknown field `plugin`"),
        (r#"{"operators":{"a":{"config":[]}}}"#, "`config` is not an object"),
        (r#"{"operators":{"a":{"limits":{"memory-bytes":1}}}}"#, "missing field"),
        (r#"{"operators":{"a":{"limits":{"memory-bytes":-1}}}}"#, "invalid value"),
        (r#"{"operators":{"a":{"on-error":"ignore"}}}"#, "unknown variant `ignore`"),
        (r#"{"operators":{"a":{"component":"../../etc/passwd"}}}"#, "is not here"),
        (r#"{"operators":{"a":{}},"drop-state":["a"]}"#, "OPERATOR/STATE"),
        (r#"{"operators":{"a":{}}}x"#, "trailing"),
    ] {
        let detail = swap(body);
        assert!(detail.contains(part), "{body}: {detail}");
    }
    let deep = format!(r#"{{"operators":{{"a":{{"config":{{"x":{}1{}}}}}}}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    assert!(swap(&deep).contains("recursion limit"));
    served.call("POST", "/v1/checkpoint", br#"{"now":true}"#).problem(400);
    served.call("POST", "/v1/stop", b"\xff\xfe").problem(400);
    assert_eq!(served.asked(), 0);
}

#[test]
fn what_is_no_http_is_cut_off() {
    let served = Served::obliging();
    let head = "GET / HTTP/1.1\r\n";
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        format!("{head}{}\r\n", format!("X: {}\r\n", "y".repeat(1_000)).repeat(100)).into_bytes(),
        format!("{head}{}\r\n", "X: y\r\n".repeat(500)).into_bytes(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000)).into_bytes(),
        b"POST /v1/stop HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_vec(),
        b"POST /v1/stop HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(),
    ] {
        if let Some(reply) = served.send(&bytes) {
            assert!(reply.status >= 400, "{reply:?}");
            says_nothing(&reply);
        }
    }
    assert_eq!((served.asked(), served.call("GET", "/v1/status", b"").status), (0, 200));
}

#[test]
fn a_second_request_on_a_connection_is_not_read() {
    let served = Served::obliging();
    let (host, bearer) = (served.entry.address.to_string(), served.entry.token.bearer());
    let request =
        format!("POST /v1/checkpoint HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nContent-Length: 0\r\n\r\n");
    let reply = served.send(request.repeat(3).as_bytes()).expect("an answer");
    assert_eq!((reply.status, served.asked()), (200, 1));
}

#[test]
fn slow_callers_are_cut_off() {
    let served = Served::obliging();
    let (host, bearer) = (served.entry.address.to_string(), served.entry.token.bearer());
    let head = |length: usize| {
        format!("POST /v1/stop HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nContent-Length: {length}\r\n\r\n")
    };
    let began = Instant::now();
    thread::scope(|scope| {
        // Says nothing, says half a head, says a byte now and then.
        let silent = scope.spawn(|| served.send(b""));
        let half = scope.spawn(|| served.send(b"GET /v1/status HTTP/1.1\r\nHost:"));
        let drips = scope.spawn(|| {
            let mut stream = served.connect();
            while began.elapsed() < PATIENCE && stream.write_all(b"G").is_ok() {
                thread::sleep(Duration::from_millis(300));
            }
            drop(stream);
        });
        // A body that never comes.
        let bodiless = scope.spawn(|| served.send(head(10).as_bytes()));
        for ended in [silent, half] {
            assert!(ended.join().expect("no panic").is_none_or(|reply| reply.status >= 400));
        }
        drips.join().expect("no panic");
        bodiless.join().expect("no panic").expect("an answer").problem(408);
    });
    let took = began.elapsed();
    assert!(took >= HEAD_TIME && took < PATIENCE / 2, "{took:?}");
    assert_eq!(served.asked(), 0);
}

#[test]
fn those_who_show_no_token_hold_nobody_up() {
    let served = Served::obliging();
    // More than there are places for.
    let held: Vec<_> = (0..PLACES * 4).map(|_| served.connect()).collect();
    let began = Instant::now();
    while !served.client().status::<serde_json::Value>().is_ok_and(|status| status["job"] == "job") {
        assert!(began.elapsed() < HEAD_TIME, "they keep their places as long as they like");
        thread::sleep(Duration::from_millis(10));
    }
    drop(held);
}

#[test]
fn those_who_show_a_token_keep_their_places() {
    let served = Served::obliging();
    let (host, bearer) = (served.entry.address.to_string(), served.entry.token.bearer());
    let head =
        format!("POST /v1/checkpoint HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nContent-Length: 2\r\n\r\n");
    let mut held: Vec<_> = (0..PLACES).map(|_| served.connect()).collect();
    held.iter_mut().for_each(|stream| stream.write_all(head.as_bytes()).expect("it is taken"));
    // Those without a token would have to go by then.
    thread::sleep(Duration::from_millis(300));
    let mut told = String::new();
    served.connect().read_to_string(&mut told).expect("it is closed");
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    let answers = held.into_iter().map(|mut stream| {
        stream.write_all(b"{}").expect("it is taken");
        Reply::read(stream).expect("an answer").status
    });
    assert!(answers.collect::<Vec<_>>().iter().all(|status| *status == 200));
}

#[test]
fn too_many_requests_are_told_to_come_again_and_strangers_take_nobody_elses() {
    let served = Served::obliging();
    let host = served.entry.address.to_string();
    let as_stranger = || served.raw("GET", "/v1/status", &[("Host", &host)], b"");
    let limited = |call: &dyn Fn() -> Reply| {
        let replies: Vec<_> = (0..(REQUESTS_PER_SECOND * 20.0) as usize).map(|_| call()).collect();
        let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
        assert!(!refused.is_empty(), "a thousand requests in a row");
        assert!(refused.iter().all(|reply| reply.has("retry-after: ")));
        refused.iter().for_each(|reply| says_nothing(reply));
    };
    limited(&as_stranger);
    assert_eq!(served.call("GET", "/v1/status", b"").status, 200, "who has the token is served");
    limited(&|| served.call("GET", "/no/such/path", b""));
}

#[test]
fn uploads_at_the_same_time_are_bounded() {
    let served = Served::obliging();
    let (host, bearer) = (served.entry.address.to_string(), served.entry.token.bearer());
    let begun: Vec<_> = (0..UPLOADS_MAX)
        .map(|_| {
            let mut stream = served.connect();
            let head = format!(
                "PUT {} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nContent-Length: 10\r\n\r\nx",
                CALLS[5].1
            );
            stream.write_all(head.as_bytes()).expect("it is read");
            stream
        })
        .collect();
    // They are read when one more is not.
    let began = Instant::now();
    let refused = loop {
        let reply = served.call("PUT", CALLS[5].1, b"");
        if reply.status != 204 {
            break reply;
        }
        assert!(began.elapsed() < HEAD_TIME, "as many as want to can upload at once");
        thread::sleep(Duration::from_millis(50));
    };
    assert!(refused.has("retry-after: "), "{refused:?}");
    refused.problem(503);
    drop(begun);
    let began = Instant::now();
    while served.call("PUT", CALLS[5].1, b"").status != 204 {
        assert!(began.elapsed() < PATIENCE, "a caller that has gone holds its place");
        thread::sleep(Duration::from_millis(50));
    }
}
