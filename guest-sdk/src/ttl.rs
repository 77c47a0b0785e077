//! How long entries of a state live.

/// When the time to live of an entry begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// When it is written.
    OnWrite,
    /// When it is written or read.
    OnReadAndWrite,
}

/// How long an entry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// Its time to live, in processing time.
    pub millis: u64,
    /// What begins it anew.
    pub refresh: Refresh,
}
