//! The columns that cross the boundary, as plain Rust types: what `wit/types.wit` says, without generated code.
//!
//! The generated bindings are told to use these very types, so nothing is converted or copied between them and the rest of the SDK, and the SDK's core and its
//! tests compile on any target. Authors of operators meet only [`TaskInfo`].

/// Byte strings end to end: string `i` is `data[ends[i - 1]..ends[i]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BytesColumn {
    /// All strings, one after the other.
    pub data: Vec<u8>,
    /// Where each string stops.
    pub ends: Vec<u32>,
}

/// Stored values with their schema versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredColumn {
    /// All values, one after the other.
    pub data: Vec<u8>,
    /// Where each value stops.
    pub ends: Vec<u32>,
    /// Empty: all are there in the current version. Otherwise one entry for each value; 0 says "absent".
    pub versions: Vec<u16>,
}

/// State that the host delivers with the keys of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefetched {
    /// Index of the state in the descriptor.
    pub state: u32,
    /// Whose values they are.
    pub slots: Vec<u32>,
    /// One value for each slot.
    pub values: StoredColumn,
}

/// What changed in the guest's picture of its key slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Slots that stand for nothing any more.
    pub released: Vec<u32>,
    /// Slots that stand for another key from now on.
    pub fresh: Vec<u32>,
    /// The keys of the fresh slots.
    pub fresh_keys: BytesColumn,
    /// The state of the fresh slots.
    pub prefetched: Vec<Prefetched>,
}

/// Records of one input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Index of the input in the descriptor.
    pub input: u32,
    /// What changed among the slots.
    pub keys: Keys,
    /// The slot of each record; empty when the input has no key.
    pub slots: Vec<u32>,
    /// The value of each record.
    pub values: BytesColumn,
    /// The event time of each record; empty when none has one.
    pub timestamps: Vec<EventTime>,
    /// The operator's watermark.
    pub watermark: Option<EventTime>,
    /// Processing time.
    pub now: EventTime,
}

/// Milliseconds since 1970-01-01T00:00:00Z, as they travel in columns.
pub type EventTime = i64;

/// A schema document.
pub type Schema = String;

/// Which clock a timer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// Event time.
    EventTime,
    /// Processing time.
    ProcessingTime,
}

impl TimerKind {
    /// For the generated bindings.
    ///
    /// # Safety
    /// None needed; the bindings call it as if it were unsafe.
    #[doc(hidden)]
    pub unsafe fn _lift(value: u8) -> Self {
        if value == 0 { Self::EventTime } else { Self::ProcessingTime }
    }
}

/// Timers that are due. This version of the SDK has no timers.
#[derive(Clone, Debug)]
pub struct TimerBatch {
    /// What changed among the slots.
    pub keys: Keys,
    /// The clock.
    pub kind: TimerKind,
    /// Whose timers they are.
    pub slots: Vec<u32>,
    /// Empty when no timer has one.
    pub namespaces: BytesColumn,
    /// When they were due.
    pub times: Vec<EventTime>,
    /// The operator's watermark.
    pub watermark: Option<EventTime>,
    /// Processing time.
    pub now: EventTime,
}

/// A record or key of the call that failed alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which one.
    pub index: u32,
    /// Why.
    pub message: String,
}

/// Where entries of keyed state live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// The key of each entry.
    pub slots: Vec<u32>,
    /// Empty: no namespaces.
    pub namespaces: BytesColumn,
    /// Empty: not in maps.
    pub map_keys: BytesColumn,
}

/// A part of a list or map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The map key of each entry; empty for lists.
    pub map_keys: BytesColumn,
    /// The elements of the list, or the values of the map.
    pub values: StoredColumn,
    /// Where the next page begins; none after the last one.
    pub next: Option<Vec<u8>>,
}

/// Why a whole call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Columns that contradict themselves, a number out of range, bytes that do not decode.
    InvalidInput(String),
    /// State could not be read or written.
    State(String),
    /// The key belongs to another task.
    NotOwned,
    /// A limit of the host was reached.
    Limit(String),
    /// Not in this version.
    Unsupported(String),
    /// Anything else.
    Other(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InvalidInput(text) => write!(f, "invalid input: {text}"),
            Self::State(text) => write!(f, "state: {text}"),
            Self::NotOwned => f.write_str("the key belongs to another task"),
            Self::Limit(text) => write!(f, "limit reached: {text}"),
            Self::Unsupported(text) => write!(f, "not supported: {text}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// Which task an instance serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// The job's name.
    pub job: String,
    /// The operator's id in the job.
    pub operator: String,
    /// This task's index, from 0.
    pub task: u32,
    /// How many tasks the operator has.
    pub parallelism: u32,
    /// How many key groups there are.
    pub max_parallelism: u32,
    /// The key groups of this task: from the first to the second, the second not included.
    pub key_groups: (u32, u32),
    /// How many records an output batch should hold.
    pub batch_records: u32,
    /// How many bytes an output batch should hold.
    pub batch_bytes: u32,
}
