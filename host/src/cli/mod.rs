//! Words typed by a person: arguments, what is shown, exit codes.
//!
//! Standard output carries records or `--json` and nothing else; progress, logs and the summary go to standard error.

mod args;
mod build;
mod checkpoint;
mod completions;
mod inspect;
mod logs;
mod new;
mod place;
mod plan;
mod run;
mod running;
mod savepoint;
mod serve;
mod show;
mod state;
mod status;
mod stop;
mod swap;

use std::{process::ExitCode, time::Instant};

use clap::Parser;

use crate::{
    checkpoint::StorageErrorKind,
    control::ClientError,
    job::{DeletionError, JobError, StoredStateError, StoredStateProblem},
};

/// Done, or stopped on request.
pub const EXIT_DONE: u8 = 0;
/// The job failed.
pub const EXIT_FAILED: u8 = 1;
/// Usage or job file; also a source or sink that does not fit what is there.
pub const EXIT_USAGE: u8 = 2;
/// A plugin could not be built or was refused.
pub const EXIT_PLUGIN: u8 = 3;
/// Stored state was refused: it is missing something, damaged, or of a later version.
pub const EXIT_STATE: u8 = 4;

/// Runs the command line. `process_start` is when the process started.
pub fn main(process_start: Instant) -> ExitCode {
    let args = args::Args::parse();
    logs::start(args.verbose);
    let result = match args.command {
        args::Command::Run(run) => run::run(run, process_start),
        args::Command::Status(status) => status::status(status),
        args::Command::Swap(swap) => swap::swap(swap),
        args::Command::Savepoint(savepoint) => savepoint::savepoint(savepoint),
        args::Command::Stop(stop) => stop::stop(stop),
        args::Command::Plan(plan) => plan::plan(plan),
        args::Command::Build(build) => build::build(build),
        args::Command::New(new) => new::new(new),
        args::Command::State { command } => state::state(command),
        args::Command::Checkpoint { command } => checkpoint::checkpoint(command),
        args::Command::Completions(completions) => completions::completions(completions),
        args::Command::Plugin { command: args::PluginCommand::Inspect(inspect) } => inspect::inspect(inspect),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            show::error(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<StoredStateError>() {
        return stored_state_exit_code(error);
    }
    if let Some(error) = error.downcast_ref::<DeletionError>() {
        return match error {
            DeletionError::Absent(_) | DeletionError::Lock { .. } => EXIT_USAGE,
            DeletionError::Needed { .. } | DeletionError::LastRestorable(_) | DeletionError::Running(_) => EXIT_STATE,
            DeletionError::Storage(error) => stored_state_exit_code(error),
        };
    }
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return running_job_exit_code(error);
    }
    if error.is::<state::UndecodableState>() {
        return EXIT_STATE;
    }
    match error.downcast_ref::<JobError>() {
        Some(JobError::Build { .. } | JobError::Read { .. } | JobError::Digest { .. } | JobError::Load { .. }) => {
            EXIT_PLUGIN
        }
        Some(JobError::Fault(_) | JobError::Engine(_)) => EXIT_FAILED,
        Some(JobError::State(_) | JobError::Refused(_)) => EXIT_STATE,
        Some(
            JobError::Spec(_)
            | JobError::Connector { .. }
            | JobError::Storage(_)
            | JobError::Folder { .. }
            | JobError::Running(_),
        ) => EXIT_USAGE,
        None if error.is::<crate::wasm::LoadError>() || error.is::<crate::job::builder::BuildError>() => EXIT_PLUGIN,
        None if error.is::<crate::wasm::EngineError>() => EXIT_FAILED,
        None => EXIT_USAGE,
    }
}

fn stored_state_exit_code(error: &StoredStateError) -> u8 {
    match &error.problem {
        // As every path that is not there.
        StoredStateProblem::Absent => EXIT_USAGE,
        StoredStateProblem::Storage(error) if error.kind == StorageErrorKind::Invalid => EXIT_USAGE,
        _ => EXIT_STATE,
    }
}

/// What a running job would not do.
fn running_job_exit_code(error: &ClientError) -> u8 {
    match error {
        ClientError::Refused(refused) => match refused.kind() {
            Some("usage") => EXIT_USAGE,
            Some("plugin") => EXIT_PLUGIN,
            Some("incompatible") => EXIT_STATE,
            _ => EXIT_FAILED,
        },
        ClientError::TooLarge { .. } => EXIT_PLUGIN,
        ClientError::Unreachable { .. } | ClientError::Answer { .. } => EXIT_FAILED,
    }
}
