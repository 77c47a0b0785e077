//! What keeps a control API from being served or found.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

/// Why there is no control API.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Another process runs a job of this name.
    #[error(
        "a job named {job} runs here already ({}); stop it with `wasmill stop {job}`, give this one another `name`, or run it with --no-control",
        process(*pid)
    )]
    Running {
        /// The job's name.
        job: String,
        /// The process, if it has said so.
        pid: Option<u32>,
    },
    /// The runtime folder is not one that only its user can write to.
    #[error("{} {problem}; set WASMILL_RUNTIME_DIR to a folder of yours", path.display())]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file or folder can't be made, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The address can't be listened at.
    #[error(
        "{address} can't be listened at: {source}; give another address by --listen, or port 0 for any that is free"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// There are no random bytes for a token.
    #[error("no token can be drawn: {0}")]
    Random(getrandom::Error),
    /// The thread or its runtime can't be started.
    #[error("the thread of the control API can't be started: {0}")]
    Thread(io::Error),
}

impl ControlError {
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.into(), source }
    }
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(|| "in another process".to_owned(), |pid| format!("process {pid}"))
}
