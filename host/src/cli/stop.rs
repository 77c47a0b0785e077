//! `wasmill stop`.

use std::io::Write;

use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    EXIT_DONE,
    args::StopArgs,
    running::{absolute, client},
    savepoint::{Taken, answered},
    show,
};
use crate::control::{SavepointOnWire, StopOnWire};

#[derive(Deserialize)]
struct Stopped {
    savepoint: Taken,
}

pub(super) fn stop(args: StopArgs) -> anyhow::Result<u8> {
    let client = client(&args.job)?;
    let place = args.savepoint.as_deref().map(absolute).transpose()?;
    let wanted = StopOnWire { drain: args.drain, savepoint: SavepointOnWire { place } };
    let answer: Json = answered(client.stop(&wanted), args.json)?;
    show::out(|out| match args.json {
        true => writeln!(out, "{answer}"),
        false => writeln!(out, "stopped {} with {}", args.job, Stopped::deserialize(&answer)?.savepoint.text()),
    })?;
    Ok(EXIT_DONE)
}
