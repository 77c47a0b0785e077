//! The control API: HTTP on this machine, by which people and tools see what a running job does and ask something of it.
//!
//! A [`Server`] belongs to one run. It looks at the job through [`Live`](crate::job::Live) and nothing else: it reads the status, puts requests, waits for their answers, and decides nothing about the
//! job. It has one thread with a tokio runtime of its own; the record path never waits for it.
//!
//! What it promises:
//! - Nothing is shown or done without the job's token, which is drawn anew for every run and lies in a file that only its user can read ([`RuntimeFolder`]). Who has none is told nothing about the job,
//!   not even which paths there are. A second token reads metrics and does nothing else.
//! - A request must be meant for the address that is served (`Host`), and come from no page of another place (`Origin`): a browser that was led here by a name someone else owns is refused.
//! - Everything is bounded: connections, requests a second, the time for a head and a body, the size of a body, components that are kept, and the time for which an answer is awaited. What a limit refuses is
//!   said by its status.
//! - No file is read by a name that came in a request. Components come in the body, and are known by their digest.
//! - Every error is a problem document (RFC 9457), with the `kind` of a refusal and all `differences`, where there are.
//!
//! `openapi.json` describes all of it; a test holds the description against what is served.
//!
//! The other end is here as well: [`RuntimeFolder`] finds the jobs that run, and a [`Client`] talks to one.

mod address;
mod answers;
mod body;
mod client;
mod components;
mod entry;
mod error;
mod folder;
mod gate;
mod places;
mod problem;
mod prometheus;
mod rate;
mod requests;
mod routes;
mod server;
mod token;

#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, RefusedByJob};
pub use entry::Entry;
pub use error::ControlError;
pub use folder::{Claim, RuntimeFolder};
pub use requests::{
    COMPONENT_BYTES_MAX, LimitsOnWire, OnErrorOnWire, OperatorOnWire, OperatorsOnWire, SavepointOnWire, StopOnWire,
    SwapOnWire,
};
pub use server::{MetricsAccess, Server, ServerOptions};
pub use token::Token;
