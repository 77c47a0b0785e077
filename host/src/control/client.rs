//! Talks to a running job.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use thiserror::Error;
use ureq::{Agent, Body, http::Response};

use super::{Entry, SavepointOnWire, StopOnWire, SwapOnWire, answers::ANSWER_WAIT_MAX, requests::COMPONENT_BYTES_MAX};

/// For what is answered at once.
const QUICK: Duration = Duration::from_secs(5);
/// For a component.
const UPLOAD: Duration = Duration::from_secs(120);
/// An answer is smaller than this.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A running job.
pub struct Client {
    job: String,
    base: String,
    bearer: String,
    agent: Agent,
}

/// Why there is no answer that was wanted.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The job said no.
    #[error(transparent)]
    Refused(Box<RefusedByJob>),
    /// It can't be reached, or has gone.
    #[error("job {job} does not answer: {source}")]
    Unreachable {
        /// The job's name.
        job: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// What came is no answer of this version.
    #[error("job {job} answers what is not understood here: {problem}; it may be of another version of wasmill")]
    Answer {
        /// The job's name.
        job: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The component is larger than what is taken.
    #[error("the component has {bytes} bytes, and no more than {COMPONENT_BYTES_MAX} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What a job said that did not do what was asked.
#[derive(Debug, Error)]
#[error("{}", self.text())]
pub struct RefusedByJob {
    /// The document, as it came.
    pub document: Json,
    problem: ProblemDocument,
}

#[derive(Debug, Deserialize)]
struct ProblemDocument {
    detail: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    differences: Vec<DifferenceText>,
}

#[derive(Debug, Deserialize)]
struct DifferenceText {
    text: String,
}

impl RefusedByJob {
    /// What kind of refusal it is, if it is one of the job's: `usage`, `plugin`, `incompatible`, `busy` or `failed`.
    pub fn kind(&self) -> Option<&str> {
        self.problem.kind.as_deref()
    }

    fn text(&self) -> String {
        let mut text = self.problem.detail.clone();
        for difference in &self.problem.differences {
            text.push_str("\n  ");
            text.push_str(&difference.text);
        }
        text
    }
}

impl Client {
    /// The job of an entry.
    pub fn of(entry: &Entry) -> Self {
        let config = Agent::config_builder()
            // It is on this machine, or where `--listen` said; a proxy would be told the token.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            // The server closes each connection.
            .max_idle_connections(0)
            .timeout_connect(Some(QUICK))
            .user_agent(concat!("wasmill/", env!("CARGO_PKG_VERSION")));
        Self {
            job: entry.job.clone(),
            base: format!("http://{}", entry.reached_at()),
            bearer: entry.token.bearer(),
            agent: config.build().new_agent(),
        }
    }

    /// What the job does.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        let request = self.agent.get(format!("{}/v1/status", self.base)).header("Authorization", &self.bearer);
        self.read(request.config().timeout_global(Some(QUICK)).build().call())
    }

    /// Takes a checkpoint now. Gives its path or URL.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn checkpoint(&self) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct Done {
            location: String,
        }
        self.post("checkpoint", &serde_json::json!({})).map(|done: Done| done.location)
    }

    /// Takes a savepoint.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn savepoint<T: DeserializeOwned>(&self, wanted: &SavepointOnWire) -> Result<T, ClientError> {
        self.post("savepoint", wanted)
    }

    /// Ends the job, with a savepoint.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stop<T: DeserializeOwned>(&self, wanted: &StopOnWire) -> Result<T, ClientError> {
        self.post("stop", wanted)
    }

    /// Replaces operators. Components have been uploaded.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn swap<T: DeserializeOwned>(&self, wanted: &SwapOnWire) -> Result<T, ClientError> {
        self.post("swap", wanted)
    }

    /// Uploads a component for a swap.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn upload(&self, digest: &str, component: &[u8]) -> Result<(), ClientError> {
        if component.len() > COMPONENT_BYTES_MAX {
            return Err(ClientError::TooLarge { bytes: component.len() });
        }
        let request = self.agent.put(format!("{}/v1/components/{digest}", self.base));
        let request = request.header("Authorization", &self.bearer).content_type("application/wasm");
        let answer = request.config().timeout_global(Some(UPLOAD)).build().send(component);
        self.body_of(answer).map(drop)
    }

    fn post<T: DeserializeOwned>(&self, what: &str, wanted: &impl Serialize) -> Result<T, ClientError> {
        let text = serde_json::to_vec(wanted).map_err(|error| self.not_understood(error))?;
        let request = self.agent.post(format!("{}/v1/{what}", self.base));
        let request = request.header("Authorization", &self.bearer).content_type("application/json");
        let patience = ANSWER_WAIT_MAX + QUICK;
        self.read(request.config().timeout_global(Some(patience)).build().send(&text[..]))
    }

    fn read<T: DeserializeOwned>(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body_of(answer)?).map_err(|error| self.not_understood(error))
    }

    /// The body of an answer that is no problem.
    fn body_of(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { job: self.job.clone(), source: Box::new(source) };
        let mut answer = answer.map_err(unreachable)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(unreachable)?;
        if answer.status().is_success() {
            return Ok(body);
        }
        let status = answer.status();
        // One that is turned away gets no document.
        if body.is_empty() {
            return Err(unreachable(io::Error::other(format!("it says {status}")).into()));
        }
        let document: Json = serde_json::from_slice(&body).map_err(|error| self.not_understood(error))?;
        let problem = ProblemDocument::deserialize(&document).map_err(|error| self.not_understood(error))?;
        Err(ClientError::Refused(Box::new(RefusedByJob { document, problem })))
    }

    fn not_understood(&self, error: serde_json::Error) -> ClientError {
        ClientError::Answer { job: self.job.clone(), problem: error.to_string() }
    }
}
