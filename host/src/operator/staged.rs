//! What a call has handed over and what is not true yet.

use crate::stream::BytesColumn;

/// Records of one `emit`.
#[derive(Debug)]
pub(super) struct StagedOutput {
    /// Input record of each; empty where nobody wants to know.
    pub(super) src: Vec<u32>,
    /// The records keep the keys of their input records, and somebody wants them.
    pub(super) keeps_key: bool,
    /// New keys, where the output sets them and somebody wants them.
    pub(super) keys: Option<BytesColumn>,
    pub(super) values: BytesColumn,
    pub(super) timestamps: Vec<i64>,
}

/// Writes of one `put-many`.
#[derive(Debug, Default)]
pub(super) struct StagedWrites {
    pub(super) state: u32,
    pub(super) slots: Vec<u32>,
    pub(super) data: Vec<u8>,
    pub(super) ends: Vec<u32>,
    pub(super) versions: Vec<u16>,
}

impl StagedWrites {
    #[inline]
    pub(super) fn value(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.data[start..self.ends[index] as usize]
    }

    pub(super) fn version(&self, index: usize, current: u16) -> u16 {
        self.versions.get(index).copied().unwrap_or(current)
    }
}
