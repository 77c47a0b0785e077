//! The server: its thread, its connections, its end.
//!
//! Each connection has one request. It has so long for its head, so long for its body (`body`), the job has so long to answer (`answers`), and then the caller has so long to take the answer: nobody holds a
//! place for ever. Where there are more connections than places (`places`), those that showed no token go first, and a new one is told to come later and closed.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, body::Body, response::IntoResponse};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Claim, ControlError, Entry, Token,
    address::Authorities,
    gate::Gate,
    places::{Place, Places},
    problem::Problem,
    routes::{Shared, router},
};
use crate::job::Live;

/// For the head of a request.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);
/// The most bytes of a head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// For taking an answer, once there is one.
const TAKING_TIME: Duration = Duration::from_secs(10);
/// For answers that are on their way when the job has ended.
const CLOSING_TIME: Duration = Duration::from_millis(500);
/// After an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Who may read metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Whoever has one of the tokens.
    WithToken,
    /// Everybody who reaches the address.
    Open,
}

/// How the API is served.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may read metrics.
    pub metrics: MetricsAccess,
}

/// A server. It ends when it is dropped, and with it the job's entry in the runtime folder.
pub struct Server {
    address: SocketAddr,
    entry: PathBuf,
    shared: Arc<Shared>,
    closing: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    // Given up last: until then no other run of this name begins.
    claim: Claim,
}

impl Server {
    /// Listens, and lets others find the job.
    ///
    /// # Errors
    /// When the address can't be listened at, or the entry not be written.
    pub fn start(claim: Claim, live: Arc<Live>, options: ServerOptions) -> Result<Self, ControlError> {
        let bind = |source| ControlError::Bind { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let (token, metrics_token) = (Token::random()?, Token::random()?);
        let entry = Entry {
            job: claim.job().to_owned(),
            pid: std::process::id(),
            address,
            token: token.clone(),
            metrics_token: metrics_token.clone(),
            started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        };
        let gate = Gate::new(Authorities::of(address), (token, metrics_token), options.metrics, Instant::now());
        let shared = Arc::new(Shared::new(live, gate));
        let (closing, closes) = watch::channel(false);
        let thread = start_thread(listener, Arc::clone(&shared), closes).map_err(ControlError::Thread)?;
        let mut server = Self { address, entry: PathBuf::new(), shared, closing, thread: Some(thread), claim };
        // Only now can whoever finds it be answered.
        server.entry = server.claim.publish(&entry)?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with its tokens.
    pub fn entry(&self) -> &Path {
        &self.entry
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.close();
        let _ = self.closing.send(true);
        if let Some(thread) = self.thread.take() {
            // A panic of its was said by the thread itself.
            let _ = thread.join();
        }
    }
}

fn start_thread(
    listener: TcpListener,
    shared: Arc<Shared>,
    closes: watch::Receiver<bool>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    thread::Builder::new().name("control".into()).spawn(move || runtime.block_on(serve(listener, shared, closes)))
}

async fn serve(listener: tokio::net::TcpListener, shared: Arc<Shared>, mut closes: watch::Receiver<bool>) {
    let places = Arc::new(Places::default());
    let router = router(Arc::clone(&shared));
    let mut connections = JoinSet::new();
    let end = closes.clone();
    loop {
        tokio::select! {
            _ = closes.wait_for(|closes| *closes) => break,
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match places.take(Instant::now()) {
                    Some(place) => {
                        connections.spawn(connection(stream, place, router.clone(), Arc::clone(&shared), end.clone()));
                    }
                    None => drop(stream.try_write(TURNED_AWAY)),
                },
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    let _ = timeout(CLOSING_TIME, async { while connections.join_next().await.is_some() {} }).await;
}

/// Serves the one request of a connection.
async fn connection(
    stream: TcpStream,
    place: Place,
    router: Router,
    shared: Arc<Shared>,
    mut closes: watch::Receiver<bool>,
) {
    let (place, answered) = (Arc::new(place), Arc::new(Notify::new()));
    let service = {
        let (place, answered) = (Arc::clone(&place), Arc::clone(&answered));
        service_fn(move |request: Request<Incoming>| {
            let (place, answered) = (Arc::clone(&place), Arc::clone(&answered));
            let (router, shared) = (router.clone(), Arc::clone(&shared));
            async move {
                let response = respond(request, &place, router, &shared).await;
                answered.notify_one();
                Ok::<_, Infallible>(response)
            }
        })
    };
    let mut builder = http1::Builder::new();
    builder.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_BYTES_MAX);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let taken_too_late = async {
        answered.notified().await;
        sleep(TAKING_TIME).await;
    };
    tokio::select! {
        _ = served.as_mut() => return,
        () = taken_too_late => return,
        () = place.lost() => return,
        _ = closes.wait_for(|closes| *closes) => {}
    }
    // Whoever has not asked yet gets no answer; whoever has, does.
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}

async fn respond(request: Request<Incoming>, place: &Place, router: Router, shared: &Shared) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = match shared.gate.admit(&head, Instant::now()) {
        Err(problem) => problem.into_response(),
        // Nobody would hear the answer.
        Ok(()) if !place.keep() => Problem::busy("there were too many connections").into_response(),
        Ok(()) => {
            let routed = TowerToHyperService::new(router).call(Request::from_parts(head, body)).await;
            routed.unwrap_or_else(|never: Infallible| match never {})
        }
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
