//! What is told about a panic: a trap carries no text, so the text and the current record are reported before.

use std::cell::Cell;

/// No record is being processed.
pub(crate) const NO_RECORD: u32 = u32::MAX;

thread_local! {
    static RECORD: Cell<u32> = const { Cell::new(NO_RECORD) };
}

/// The record that is being processed.
#[inline(always)]
pub(crate) fn at(record: u32) {
    RECORD.with(|current| current.set(record));
}

/// The record that is being processed, if one is.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
pub(crate) fn current() -> Option<u32> {
    let record = RECORD.with(Cell::get);
    (record != NO_RECORD).then_some(record)
}
