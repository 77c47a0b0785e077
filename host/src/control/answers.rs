//! Waits for what the job answers, without keeping the thread from others.

use std::time::Duration;

use crossbeam::channel::TryRecvError;
use hyper::StatusCode;
use tokio::time::{Instant, sleep};

use super::{problem::Problem, routes::Shared};
use crate::job::{Answer, JobState, Request};

/// How long an answer is awaited. A savepoint of much state takes minutes, a probation what its settings say.
pub(super) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(3_600);

/// How often it is looked for, at first and later: a job answers from its own thread, which knows of no runtime.
const LOOK_FIRST: Duration = Duration::from_millis(1);
const LOOK_LAST: Duration = Duration::from_millis(20);

/// Asks the job and waits.
pub(super) async fn ask(shared: &Shared, request: Request) -> Result<Answer, Problem> {
    if shared.is_closing() || shared.live.status().state == JobState::Ended {
        return Err(Problem::job_gone());
    }
    let answers = shared.live.ask(request)?;
    let end = Instant::now() + ANSWER_WAIT_MAX;
    let mut look = LOOK_FIRST;
    loop {
        // What was answered before the end counts, so the end is looked at first.
        let is_closing = shared.is_closing();
        match answers.try_recv() {
            Ok(Answer::Refused(refusal)) => return Err(refusal.into()),
            Ok(answer) => return Ok(answer),
            Err(TryRecvError::Disconnected) => return Err(Problem::job_gone()),
            Err(TryRecvError::Empty) if is_closing => return Err(Problem::job_gone()),
            Err(TryRecvError::Empty) if Instant::now() >= end => {
                let detail = "the job has not answered for an hour; it may still do what it was asked";
                return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail));
            }
            Err(TryRecvError::Empty) => sleep(look).await,
        }
        look = (look * 2).min(LOOK_LAST);
    }
}
