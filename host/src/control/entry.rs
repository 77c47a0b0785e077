//! What lies in the runtime folder about a job that runs: `JOB.json`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::Token;

/// Where a job that runs can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The job's name.
    pub job: String,
    /// The process that runs it.
    pub pid: u32,
    /// Where its control API listens.
    pub address: SocketAddr,
    /// What every call needs.
    pub token: Token,
    /// What reads metrics, and nothing else.
    pub metrics_token: Token,
    /// When it was started (RFC 3339).
    pub started: String,
}

impl Entry {
    /// The address by which it is reached from this machine: one that listens everywhere is reached on the loopback.
    pub fn reached_at(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }
}
