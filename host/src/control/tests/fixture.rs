//! A server with a job behind it that is only said to run.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::{
    control::{Client, Entry, MetricsAccess, RuntimeFolder, Server, ServerOptions},
    job::{Answer, Asked, Live, Request, StopAnswer, SwapOutcome, live_testing as pretended},
};

/// Longer than anything may take: a test that waits so long has found something that hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A job that is served, and whoever answers for it.
pub(super) struct Served {
    pub(super) live: Arc<Live>,
    pub(super) entry: Entry,
    pub(super) folder: TempDir,
    server: Option<Server>,
    asked: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
    job: Option<JoinHandle<()>>,
}

impl Served {
    /// A job that does all that it is asked.
    pub(super) fn obliging() -> Self {
        Self::answering(|request| oblige(&request))
    }

    /// A job of which the test takes the requests itself.
    pub(super) fn unattended() -> Self {
        let served = Self::answering(|_| None);
        served.end.store(true, Ordering::Relaxed);
        while !served.job.as_ref().is_some_and(JoinHandle::is_finished) {
            thread::yield_now();
        }
        served
    }

    /// The next request, which the test answers.
    pub(super) fn take(&self) -> Asked {
        loop {
            match self.live.take() {
                Some(asked) => return asked,
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// A job that answers so; none: it drops the request.
    pub(super) fn answering(answer: impl FnMut(Request) -> Option<Answer> + Send + 'static) -> Self {
        Self::with(MetricsAccess::WithToken, answer)
    }

    pub(super) fn with(
        metrics: MetricsAccess,
        mut answer: impl FnMut(Request) -> Option<Answer> + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = RuntimeFolder::make(folder.path()).expect("it is ours");
        let live = Live::new("job");
        live.pretend();
        let options = ServerOptions { listen: ([127, 0, 0, 1], 0).into(), metrics };
        let claim = runtime.claim("job").expect("nobody has it");
        let server = Server::start(claim, Arc::clone(&live), options).expect("it starts");
        let entry = runtime.find("job").expect("it can be found");
        assert_eq!(entry.address, server.address());
        let (asked, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let job = thread::spawn({
            let (live, asked, end) = (Arc::clone(&live), Arc::clone(&asked), Arc::clone(&end));
            move || {
                while !end.load(Ordering::Relaxed) {
                    while let Some(request) = live.take() {
                        asked.fetch_add(1, Ordering::Relaxed);
                        let Asked { request, answering } = request;
                        if let Some(answer) = answer(request) {
                            answering.answer(answer);
                        }
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        Self { live, entry, folder, server: Some(server), asked, end, job: Some(job) }
    }

    /// How much the job was asked.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn client(&self) -> Client {
        Client::of(&self.entry)
    }

    /// The server ends, and with it the job's entry.
    pub(super) fn stop_serving(&mut self) {
        self.server = None;
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.entry.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }

    /// A request of someone who has the token.
    pub(super) fn call(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let (host, bearer) = (self.entry.address.to_string(), self.entry.token.bearer());
        self.raw(method, path, &[("Host", &host), ("Authorization", &bearer)], body)
    }

    /// A request with these headers and no others but the length.
    pub(super) fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len()).into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.send(&bytes).expect("an answer")
    }

    /// Sends bytes and reads to the end; none: the connection was closed without an answer.
    pub(super) fn send(&self, bytes: &[u8]) -> Option<Reply> {
        let mut stream = self.connect();
        // It may have been refused before all of it was sent.
        let _ = stream.write_all(bytes);
        Reply::read(stream)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = self.job.take().map(JoinHandle::join);
    }
}

/// Does all that it is asked.
pub(super) fn oblige(request: &Request) -> Option<Answer> {
    Some(match request {
        Request::Swap(_) => Answer::Swap(pretended::swap_answer(SwapOutcome::Committed)),
        Request::Savepoint(_) => Answer::Savepoint(pretended::savepoint_answer()),
        Request::Stop(_) => Answer::Stop(StopAnswer { savepoint: pretended::savepoint_answer() }),
        Request::Checkpoint => pretended::checkpoint_answer(),
    })
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn read(mut stream: TcpStream) -> Option<Self> {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it hangs"),
                // Closed while we still sent.
                Err(_) => break,
            }
        }
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().expect("a status");
        Some(Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }

    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Whether there is such a line in the head.
    pub(super) fn has(&self, header: &str) -> bool {
        self.head.lines().any(|line| line.starts_with(header))
    }

    /// Checks that it is a problem of that status; gives its detail.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.has("content-type: application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], status, "{self:?}");
        document["detail"].as_str().expect("a detail").to_owned()
    }
}
