//! A job that runs, as others see it: what it does, and what may be asked of it.
//!
//! One [`Live`] belongs to one run, through all its attempts. Whoever serves people holds one end: it reads the [`JobStatus`] at any time and puts [`Request`]s. Whoever looks after the run holds the
//! other: it takes requests between two steps and answers each exactly once. A request that nobody can answer any more is answered by its being dropped.

mod answer;
mod graph;
mod request;
mod status;
#[cfg(test)]
pub(crate) mod testing;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crossbeam::channel::{Receiver, Sender, bounded};

use self::status::Facts;
pub(in crate::job) use self::status::VertexFacts;
pub use self::{
    answer::{
        Answer, Difference, DifferenceKind, MigratedState, PluginRef, Refusal, RefusalKind, SavepointAnswer,
        StopAnswer, SwapAnswer, SwapOutcome,
    },
    graph::{GraphEdge, GraphVertex, JobGraph},
    request::{
        AnswerAt, Changes, Drain, DropState, OperatorChange, Rehearsal, Request, SavepointRequest, StopRequest,
        SwapRequest,
    },
    status::{
        CheckpointStatus, JobState, JobStatus, OperatorStatus, ProbationStatus, SwapPhase, SwapStatus, VertexKind,
        VertexStatus,
    },
};

/// Requests that wait to be taken at most; a further one is refused.
const REQUESTS_MAX: usize = 16;

/// A request with the place where its answer goes.
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Who waits for the answer.
    pub answering: Answering,
}

/// Where the answer of a request goes.
#[derive(Clone)]
pub struct Answering(Sender<Answer>);

impl Answering {
    /// Answers. Only the first answer counts.
    pub fn answer(&self, answer: Answer) {
        // Whoever asked may have gone, or have an answer.
        let _ = self.0.try_send(answer);
    }
}

/// A job that runs, as others see it.
pub struct Live {
    began: Instant,
    facts: Mutex<Facts>,
    requests: (Sender<Asked>, Receiver<Asked>),
}

impl Live {
    /// A job that is about to run.
    pub fn new(job: &str) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), facts: Mutex::new(Facts::new(job)), requests: bounded(REQUESTS_MAX) })
    }

    /// What the job does now.
    pub fn status(&self) -> JobStatus {
        self.facts().status(self.began.elapsed())
    }

    /// Asks something of the job. The answer comes out of the receiver, once; it hangs up when the job has ended or can't answer.
    ///
    /// # Errors
    /// When too many requests wait.
    pub fn ask(&self, request: Request) -> Result<Receiver<Answer>, Refusal> {
        let (answer, answers) = bounded(1);
        let asked = Asked { request, answering: Answering(answer) };
        let busy = || Refusal::new(RefusalKind::Busy, format!("{REQUESTS_MAX} requests wait to be answered already"));
        self.requests.0.try_send(asked).map_err(|_| busy())?;
        Ok(answers)
    }

    /// It was asked to end.
    pub(in crate::job) fn stopping(&self) {
        self.facts().state = JobState::Stopping;
    }

    /// The run is over: whoever waits for an answer gets none.
    pub(in crate::job) fn end(&self) {
        let mut facts = self.facts();
        (facts.state, facts.swap) = (JobState::Ended, None);
        drop(facts);
        while self.take_request().is_some() {}
    }

    /// The next request, for whoever looks after the run.
    pub(in crate::job) fn take_request(&self) -> Option<Asked> {
        self.requests.1.try_recv().ok()
    }

    pub(in crate::job) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
