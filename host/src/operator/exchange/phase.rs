//! Which call is under way, and what that allows.

/// Which call is under way, and with that what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// None, or one that may change neither state nor outputs.
    Closed,
    /// The instance is being prepared: it may read operator lists.
    Open,
    /// A batch of so many records with keys.
    Records(usize),
    /// A batch of so many records without keys.
    Unkeyed(usize),
    /// A batch of so many records that every task gets.
    Broadcast(usize),
    /// So many keys at the end of the input.
    End(usize),
    /// A barrier: the instance writes out operator state that it had kept to itself.
    Snapshot,
}

impl Phase {
    /// The number of records (or keys) of the call; none where nothing may be changed.
    pub(super) fn records(self) -> Option<usize> {
        match self {
            Self::Closed | Self::Open => None,
            Self::Records(records) | Self::Unkeyed(records) | Self::Broadcast(records) | Self::End(records) => {
                Some(records)
            }
            Self::Snapshot => Some(0),
        }
    }

    /// What the call changes is staged.
    pub(super) fn is_transaction(self) -> bool {
        self.records().is_some()
    }

    pub(super) fn is_without_keys(self) -> bool {
        matches!(self, Self::Unkeyed(_) | Self::Broadcast(_) | Self::Snapshot)
    }
}
