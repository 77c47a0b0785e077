//! Points in time of the data, in milliseconds since the Unix epoch.

use std::fmt;

/// Event time in milliseconds since 1970-01-01T00:00:00Z (Flink: "event time", "timestamp").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

impl EventTime {
    /// How "this record has no event time" is written in a column where other records have one. Never a watermark.
    pub const NONE: EventTime = EventTime(i64::MIN);
    /// The last watermark of a bounded input: nothing comes after it.
    pub const MAX: EventTime = EventTime(i64::MAX);
}

impl fmt::Debug for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("no event time"),
            Self::MAX => f.write_str("end of time"),
            Self(ms) => write!(f, "{ms} ms"),
        }
    }
}
