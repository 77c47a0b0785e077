//! Why a guest's call of the exchange was refused, and the texts for it.

use crate::stream::{BytesColumn, FaultKind};

/// Why something was not staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageError {
    /// Columns contradict themselves or name what is not there.
    Malformed(String),
    /// Not in this phase, or not for this state.
    State(String),
    /// Above a limit.
    Limit(String),
}

impl StageError {
    pub(super) fn kind(&self) -> FaultKind {
        match self {
            Self::Malformed(_) | Self::State(_) => FaultKind::MalformedColumns,
            Self::Limit(_) => FaultKind::OutputLimit,
        }
    }

    /// The text.
    pub fn message(&self) -> &str {
        match self {
            Self::Malformed(text) | Self::State(text) | Self::Limit(text) => text,
        }
    }
}

pub(super) fn quiet(function: &str) -> StageError {
    StageError::State(format!("{function} may be called within process and on-end only"))
}

pub(super) fn no_keys(function: &str) -> StageError {
    StageError::State(format!("{function} was called for a batch of an input whose records have no keys"))
}

pub(super) fn no_state(state: u32) -> StageError {
    StageError::Malformed(format!("there is no state {state}"))
}

pub(super) fn unknown_slot(slot: u32) -> StageError {
    StageError::Malformed(format!("slot {slot} stands for no key"))
}

pub(super) fn too_large(what: &str, bytes: usize, most: usize) -> StageError {
    StageError::Limit(format!("{what} has {bytes} bytes, more than {most}"))
}

/// Refuses a column with a string of more than `most` bytes.
pub(super) fn check_sizes(column: &BytesColumn, most: usize, what: &str) -> Result<(), StageError> {
    if column.bytes() <= most {
        return Ok(());
    }
    match column.iter().map(<[u8]>::len).max() {
        Some(largest) if largest > most => Err(too_large(what, largest, most)),
        _ => Ok(()),
    }
}

/// The beginning of a text from a guest, which may be as long as its memory.
pub fn shortened(text: &str) -> &str {
    const BYTES_MAX: usize = 4096;
    &text[..text.floor_char_boundary(BYTES_MAX)]
}
