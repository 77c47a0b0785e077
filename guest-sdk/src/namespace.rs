//! The namespace of the current record: where, under its key, keyed state is read and written.
//!
//! Most operators have none, and their record path does not ask: while a namespace is set, the context's slot is [`NO_SLOT`], so that all state that lies in an array by
//! slot is not found there, and only who does not find it looks here.

use std::cell::{Cell, RefCell};

use crate::context::NO_SLOT;

/// A namespace has at most so many bytes.
pub(crate) const NAMESPACE_MAX: usize = 1 << 10;

pub(crate) struct Namespace {
    bytes: RefCell<Vec<u8>>,
    /// The slot of the key whose record set the namespace.
    slot: Cell<u32>,
}

impl Default for Namespace {
    fn default() -> Self {
        Self { bytes: RefCell::default(), slot: Cell::new(NO_SLOT) }
    }
}

impl Namespace {
    /// A call begins: there is no namespace.
    pub(crate) fn begin(&self) {
        self.slot.set(NO_SLOT);
    }

    /// Enters a namespace, or leaves it by an empty one. Takes the context's slot and returns the new one.
    pub(crate) fn enter(&self, slot: u32, namespace: &[u8]) -> u32 {
        let slot = self.slot(slot);
        if namespace.is_empty() {
            return slot;
        }
        self.slot.set(slot);
        let mut bytes = self.bytes.borrow_mut();
        bytes.clear();
        bytes.extend_from_slice(namespace);
        NO_SLOT
    }

    /// The slot of the key, when the context's is `slot`; `NO_SLOT` where the record has no key.
    pub(crate) fn slot(&self, slot: u32) -> u32 {
        if slot == NO_SLOT { self.slot.get() } else { slot }
    }

    /// Calls `work` with the slot of the key and the namespace, when the context's slot is `slot`.
    pub(crate) fn with<R>(&self, slot: u32, work: impl FnOnce(u32, &[u8]) -> R) -> R {
        if slot == NO_SLOT { work(self.slot.get(), &self.bytes.borrow()) } else { work(slot, &[]) }
    }

    /// A record that has a key is in a namespace, when the context's slot is `slot`.
    pub(crate) fn is_entered(&self, slot: u32) -> bool {
        slot == NO_SLOT && self.slot.get() != NO_SLOT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_hides_the_slot_and_gives_it_back() {
        let namespace = Namespace::default();
        assert_eq!(namespace.with(7, |slot, bytes| (slot, bytes.to_vec())), (7, vec![]));
        assert_eq!(namespace.enter(7, b"w"), NO_SLOT);
        assert!(namespace.is_entered(NO_SLOT));
        assert_eq!(namespace.enter(NO_SLOT, b"v"), NO_SLOT);
        assert_eq!(namespace.with(NO_SLOT, |slot, bytes| (slot, bytes.to_vec())), (7, b"v".to_vec()));
        assert_eq!(namespace.enter(NO_SLOT, b""), 7);
        // The next record has its own slot.
        assert_eq!(namespace.with(8, |slot, bytes| (slot, bytes.to_vec())), (8, vec![]));
        namespace.begin();
        assert_eq!((namespace.enter(NO_SLOT, b"w"), namespace.slot(NO_SLOT)), (NO_SLOT, NO_SLOT));
        assert!(!namespace.is_entered(NO_SLOT));
    }
}
