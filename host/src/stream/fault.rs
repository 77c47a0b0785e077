//! Faults: what can go wrong in a task, classified by whose it is and what to do.

use std::fmt;

/// Whose a fault is, and with that, what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// The operator said that a record failed; its effects were undone alone.
    FailedRecord,
    /// The operator returned an error for a whole call.
    GuestError,
    /// The operator panicked.
    Panic,
    /// The operator trapped: an illegal instruction, memory out of bounds, a stack that overflowed.
    Trap,
    /// The call took longer than its time budget.
    TimeLimit,
    /// The instance wanted more memory than its cap.
    MemoryLimit,
    /// The call emitted more than the host stages.
    OutputLimit,
    /// The operator handed over columns that contradict themselves or name what does not exist.
    MalformedColumns,
    /// Something outside failed: a disk, a pipe.
    External,
    /// What was given can't be used, and no other try makes it better: input that the settings do not allow, stored state that is damaged or does not fit. A person has to mend it.
    Unfit,
    /// wasmill itself is wrong.
    HostBug,
}

impl FaultKind {
    /// The name that reports and dead letters use.
    pub fn name(self) -> &'static str {
        match self {
            Self::FailedRecord => "failed-record",
            Self::GuestError => "guest-error",
            Self::Panic => "panic",
            Self::Trap => "trap",
            Self::TimeLimit => "time-limit",
            Self::MemoryLimit => "memory-limit",
            Self::OutputLimit => "output-limit",
            Self::MalformedColumns => "malformed-columns",
            Self::External => "external",
            Self::Unfit => "unfit",
            Self::HostBug => "host-bug",
        }
    }

    /// Whether a batch with this fault is worth another try in halves: a slow or hungry operator is not poison.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::TimeLimit | Self::MemoryLimit)
    }

    /// Whether the guest is to blame, so that its batch can be isolated.
    pub fn is_guest(self) -> bool {
        !matches!(self, Self::External | Self::Unfit | Self::HostBug)
    }
}

/// A classified failure of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose it is.
    pub kind: FaultKind,
    /// What happened, for people; begins in lower case.
    pub message: String,
    /// The wasm backtrace, one frame a line, if there is one.
    pub backtrace: Option<String>,
    /// The record of the call that was being processed, when the guest could say so.
    pub index: Option<u32>,
}

impl Fault {
    /// A fault without a backtrace and without a record.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), backtrace: None, index: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
