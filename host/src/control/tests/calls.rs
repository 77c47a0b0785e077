//! What reaches the job, and what it answers.

use std::{
    net::TcpStream,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::fixture::{Served, oblige};
use crate::{
    control::{Client, ClientError, OperatorOnWire, OperatorsOnWire, SavepointOnWire, StopOnWire, SwapOnWire},
    job::{Answer, AnswerAt, Asked, Drain, Refusal, RefusalKind, Rehearsal, Request, live_testing as pretended},
    spec::{Limits, OnError},
};

fn digest(component: &[u8]) -> String {
    Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A job that obliges, and hands over what it was asked.
fn told() -> (Served, mpsc::Receiver<Request>) {
    let (tell, told) = mpsc::channel();
    let served = Served::answering(move |request| {
        let answer = oblige(&request);
        tell.send(request).expect("the test waits");
        answer
    });
    (served, told)
}

#[test]
fn a_swap_reaches_the_job_with_all_that_was_said() {
    let (served, told) = told();
    let component = b"\0asm and so on";
    let path = format!("/v1/components/{}", digest(component));
    assert_eq!(served.call("PUT", &path, component).status, 204);
    let body = json!({
        "operators": {
            "count": {
                "component": digest(component),
                "config": { "min-length": 2 },
                "limits": { "memory-bytes": 1, "call-time-us": 2000, "output-bytes": 3, "faults-per-minute": 4 },
                "on-error": { "dead-letter": "poison" },
            },
            "split": { "on-error": "skip" },
        },
        "wait": true,
        "drop-state": ["count/last"],
    });
    let reply = served.call("POST", "/v1/swap", body.to_string().as_bytes());
    assert_eq!((reply.status, &reply.json()["outcome"]), (200, &json!("committed")));
    let Ok(Request::Swap(swap)) = told.recv() else { panic!("a swap") };
    assert_eq!((swap.rehearsal, swap.answer_at), (Rehearsal::No, AnswerAt::ProbationEnd));
    assert_eq!((swap.dropped[0].operator.as_str(), swap.dropped[0].state.as_str()), ("count", "last"));
    let [count, split] = &swap.operators[..] else { panic!("two operators") };
    assert_eq!((count.id.as_str(), split.id.as_str()), ("count", "split"));
    let changes = &count.changes;
    assert_eq!(changes.component.as_deref(), Some(component.as_slice()));
    assert_eq!(changes.config, Some(json!({ "min-length": 2 })));
    let limits = Limits { memory: 1, call_time: Duration::from_millis(2), output: 3, faults_per_minute: 4 };
    assert_eq!(changes.limits, Some(limits));
    assert_eq!(changes.on_error, Some(OnError::DeadLetter { sink: "poison".into() }));
    assert!(split.changes.component.is_none() && split.changes.config.is_none());
    assert_eq!(split.changes.on_error, Some(OnError::Skip));
    // The job has it; the next swap uploads its own.
    let detail = served.call("POST", "/v1/swap", body.to_string().as_bytes()).problem(400);
    assert!(detail.contains("upload it first"), "{detail}");
}

#[test]
fn a_rehearsal_keeps_the_component_for_the_swap() {
    let (served, told) = told();
    let component = b"\0asm";
    served.client().upload(&digest(component), component).expect("it is taken");
    let operator = OperatorOnWire { component: Some(digest(component)), ..Default::default() };
    let mut wanted = SwapOnWire {
        operators: OperatorsOnWire(vec![("count".into(), operator)]),
        dry_run: true,
        ..Default::default()
    };
    for rehearsal in [Rehearsal::Yes, Rehearsal::No] {
        let _: Json = served.client().swap(&wanted).expect("an answer");
        let Ok(Request::Swap(swap)) = told.recv() else { panic!("a swap") };
        assert_eq!((swap.rehearsal, swap.answer_at), (rehearsal, AnswerAt::Commit));
        wanted.dry_run = false;
    }
}

#[test]
fn savepoint_stop_and_checkpoint_reach_the_job() {
    let (served, told) = told();
    let client = served.client();
    let place = || SavepointOnWire { place: Some("s3://bucket/x".into()) };
    let answer: Json = client.savepoint(&place()).expect("an answer");
    assert_eq!(answer["id"], 18);
    assert!(matches!(told.recv(), Ok(Request::Savepoint(wanted)) if wanted.place.as_deref() == Some("s3://bucket/x")));
    let answer: Json = client.stop(&StopOnWire { drain: true, savepoint: place() }).expect("an answer");
    assert_eq!(answer["savepoint"]["id"], 18);
    assert!(matches!(told.recv(), Ok(Request::Stop(wanted)) if wanted.drain == Drain::Yes));
    assert_eq!(client.checkpoint().expect("an answer"), "/jobs/word-count/checkpoints/9");
    assert!(matches!(told.recv(), Ok(Request::Checkpoint)));
    // No body is nothing said.
    assert_eq!(served.call("POST", "/v1/stop", b"").status, 200);
    assert!(
        matches!(told.recv(), Ok(Request::Stop(wanted)) if wanted.drain == Drain::No && wanted.savepoint.place.is_none())
    );
}

#[test]
fn a_place_is_absolute_or_a_url() {
    let served = Served::obliging();
    for (path, body) in [("/v1/savepoint", r#"{"place":"x"}"#), ("/v1/stop", r#"{"savepoint":{"place":"../x"}}"#)] {
        let detail = served.call("POST", path, body.as_bytes()).problem(400);
        assert!(detail.contains("neither an absolute path nor a URL"), "{detail}");
    }
    assert_eq!(served.asked(), 0);
}

#[test]
fn every_refusal_has_its_status_and_lists_all_differences() {
    let kinds = [
        (RefusalKind::Usage, 400, "usage"),
        (RefusalKind::Plugin, 422, "plugin"),
        (RefusalKind::Incompatible, 409, "incompatible"),
        (RefusalKind::Busy, 503, "busy"),
        (RefusalKind::Failed, 500, "failed"),
    ];
    let next = Mutex::new(kinds.into_iter());
    let served = Served::answering(move |_| {
        let (kind, ..) = next.lock().expect("nobody panics").next()?;
        // A swap that is busy has nothing to compare.
        let differences = if kind == RefusalKind::Busy { vec![] } else { vec![pretended::difference()] };
        Some(Answer::Refused(Refusal { kind, message: "no".into(), differences }))
    });
    for (kind, status, name) in kinds {
        let reply = served.call("POST", "/v1/checkpoint", b"");
        assert_eq!(reply.problem(status), "no");
        assert_eq!(reply.json()["kind"], name);
        assert_eq!(reply.has("retry-after: "), kind == RefusalKind::Busy, "{reply:?}");
        if kind != RefusalKind::Busy {
            assert_eq!(reply.json()["differences"][0]["kind"], "incompatible");
        }
    }
    // Whoever drops a request can't answer it.
    assert_eq!(served.call("POST", "/v1/checkpoint", b"").problem(503), "the job has ended or is restarting");
}

#[test]
fn a_refusal_comes_to_the_client_with_its_differences() {
    let served = Served::answering(|_| {
        let (message, differences) = ("it does not fit".to_owned(), vec![pretended::difference(); 2]);
        Some(Answer::Refused(Refusal { kind: RefusalKind::Incompatible, message, differences }))
    });
    let Err(ClientError::Refused(refused)) = served.client().checkpoint() else { panic!("a refusal") };
    assert_eq!(refused.kind(), Some("incompatible"));
    let text =
        "it does not fit\n  state count: its values are no u64 any more\n  state count: its values are no u64 any more";
    assert_eq!(refused.to_string(), text);
    assert_eq!(refused.document["status"], 409);
}

#[test]
fn others_are_served_while_an_answer_is_awaited() {
    let (release, released) = mpsc::channel::<()>();
    let served = Served::answering(move |request| {
        released.recv().expect("the test goes on");
        oblige(&request)
    });
    thread::scope(|scope| {
        let waits = scope.spawn(|| served.call("POST", "/v1/checkpoint", b"").status);
        while served.asked() == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..5 {
            assert_eq!(served.call("GET", "/v1/status", b"").status, 200);
        }
        release.send(()).expect("the job waits");
        assert_eq!(waits.join().expect("no panic"), 200);
    });
}

#[test]
fn a_job_that_has_ended_is_asked_nothing() {
    let served = Served::obliging();
    served.live.pretend_end();
    assert_eq!(served.call("POST", "/v1/checkpoint", b"").problem(503), "the job has ended or is restarting");
    assert_eq!(served.asked(), 0);
}

#[test]
fn whoever_waits_when_the_job_ends_is_told() {
    let mut served = Served::unattended();
    let client = served.client();
    let waits = thread::spawn(move || client.checkpoint());
    let never_answered = served.take();
    let entry = served.entry.clone();
    served.stop_serving();
    let Err(ClientError::Refused(refused)) = waits.join().expect("no panic") else { panic!("a refusal") };
    assert_eq!(refused.document["status"], 503);
    drop(never_answered);
    assert!(TcpStream::connect(entry.address).is_err());
    assert!(matches!(Client::of(&entry).checkpoint(), Err(ClientError::Unreachable { .. })));
}

#[test]
fn an_answer_on_its_way_is_delivered_before_the_server_ends() {
    let mut served = Served::unattended();
    let client = served.client();
    let waits = thread::spawn(move || client.stop::<Json>(&StopOnWire::default()));
    let Asked { request, answering } = served.take();
    answering.answer(oblige(&request).expect("it obliges"));
    served.stop_serving();
    assert_eq!(waits.join().expect("no panic").expect("the answer")["savepoint"]["id"], 18);
}
