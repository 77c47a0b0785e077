//! `wasmill savepoint`.

use std::io::Write;

use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    EXIT_DONE,
    args::SavepointArgs,
    running::{absolute, client},
    show,
};
use crate::control::{ClientError, SavepointOnWire};

/// What is shown of a savepoint.
#[derive(Deserialize)]
pub(super) struct Taken {
    place: String,
    id: u64,
    bytes: u64,
    duration_ms: u64,
}

impl Taken {
    /// A sentence's end: what was taken, and where it is.
    pub(super) fn text(&self) -> String {
        let took = show::milliseconds(self.duration_ms);
        format!("savepoint {} ({}, {took}): {}", self.id, show::size(self.bytes), self.place)
    }
}

pub(super) fn savepoint(args: SavepointArgs) -> anyhow::Result<u8> {
    let client = client(&args.job)?;
    let wanted = SavepointOnWire { place: args.place.as_deref().map(absolute).transpose()? };
    let answer: Json = answered(client.savepoint(&wanted), args.json)?;
    show::out(|out| match args.json {
        true => writeln!(out, "{answer}"),
        false => writeln!(out, "{}: {}", args.job, Taken::deserialize(&answer)?.text()),
    })?;
    Ok(EXIT_DONE)
}

/// What was answered. Where JSON is wanted, a refusal is written as such too.
pub(super) fn answered(answer: Result<Json, ClientError>, as_json: bool) -> anyhow::Result<Json> {
    if let (Err(ClientError::Refused(refused)), true) = (&answer, as_json) {
        show::out(|out| writeln!(out, "{}", refused.document))?;
    }
    Ok(answer?)
}
