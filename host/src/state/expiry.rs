//! When an entry of a state with a time to live has expired. Pure: the time is an argument, or was set by whoever owns the state.
//!
//! Expiry is computed from the last access, never stored, so a changed time to live applies at once. What has expired is absent from then on, whether it is still stored or
//! not: readers ask [`is_expired`]; background work asks an [`Expiry`] to drop what nobody reads.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

use super::stored::{StoredBytes, StoredKey};
use crate::stream::EventTime;

/// Whether an entry that was accessed at `last_access` has expired at `now`, given its time to live in milliseconds.
#[inline]
pub(super) fn is_expired(last_access: EventTime, now: EventTime, ttl_ms: u64) -> bool {
    // Time may have gone back, in a restored job on a machine with another clock: such an entry is young.
    i128::from(now.0) - i128::from(last_access.0) >= i128::from(ttl_ms)
}

/// The times to live of a task's states, and the time, shared with background work. What owns the state sets both.
#[derive(Debug)]
pub struct Expiry {
    now_ms: AtomicI64,
    /// Milliseconds by state id; a state without a time to live is not in it.
    ttls: RwLock<BTreeMap<u16, u64>>,
}

impl Expiry {
    /// For states with these times to live in milliseconds. Before the first [`Self::set_now`] nothing expires.
    pub fn new(ttls: impl IntoIterator<Item = (u16, u64)>) -> Self {
        Self { now_ms: AtomicI64::new(i64::MIN), ttls: RwLock::new(ttls.into_iter().collect()) }
    }

    /// Sets the processing time. Meant to be called once per batch; a plain store.
    pub fn set_now(&self, now: EventTime) {
        self.now_ms.store(now.0, Ordering::Relaxed);
    }

    /// Changes the time to live of a state, in milliseconds; none: it lives for ever.
    pub fn set_ttl(&self, state: u16, ttl_ms: Option<u64>) {
        let mut ttls = self.ttls.write().unwrap_or_else(PoisonError::into_inner);
        match ttl_ms {
            Some(ttl_ms) => ttls.insert(state, ttl_ms),
            None => ttls.remove(&state),
        };
    }

    /// The times to live at this moment, with the time at this moment.
    pub fn rules(&self) -> ExpiryRules {
        let ttls = self.ttls.read().unwrap_or_else(PoisonError::into_inner).clone();
        ExpiryRules { now: EventTime(self.now_ms.load(Ordering::Relaxed)), ttls }
    }
}

/// Times to live as they were at one moment: decides about stored entries without a lock.
#[derive(Clone, Debug)]
pub struct ExpiryRules {
    now: EventTime,
    ttls: BTreeMap<u16, u64>,
}

impl ExpiryRules {
    /// Whether nothing expires.
    pub fn is_empty(&self) -> bool {
        self.ttls.is_empty()
    }

    /// Whether a stored entry has expired. What can't be decoded, and what has no last access (it was written before its state had a time to live), has not.
    pub fn is_expired(&self, stored_key: &[u8], stored_value: &[u8]) -> bool {
        let ttl_of = || Some(*self.ttls.get(&StoredKey::decode(stored_key).ok()?.state)?);
        let last_access = || StoredBytes::decode(stored_value).ok()?.last_access;
        match (ttl_of(), last_access()) {
            (Some(ttl_ms), Some(last_access)) => is_expired(last_access, self.now, ttl_ms),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_expires_when_its_time_to_live_has_passed() {
        let expired = |last_access, now, ttl_ms| is_expired(EventTime(last_access), EventTime(now), ttl_ms);
        assert!(!expired(1_000, 1_099, 100));
        assert!(expired(1_000, 1_100, 100));
        assert!(!expired(1_000, 500, 100), "time may go back");
        assert!(expired(i64::MIN, i64::MAX, u64::MAX));
        assert!(!expired(i64::MAX, i64::MIN, 0));
    }

    #[test]
    fn rules_go_by_the_state_and_the_last_access() {
        let expiry = Expiry::new([(1, 100)]);
        let stored = |state, last_access: Option<i64>| {
            let (mut key, mut value) = (Vec::new(), Vec::new());
            StoredKey { key_group: 5, state, key: b"key", namespace: b"", entry: b"" }.encode(&mut key).expect("short");
            let last_access = last_access.map(EventTime);
            StoredBytes { version: 1, last_access, value: b"value" }.encode(&mut value).expect("has a version");
            (key, value)
        };
        let expired = |state, last_access| {
            let (key, value) = stored(state, last_access);
            expiry.rules().is_expired(&key, &value)
        };
        assert!(!expired(1, Some(0)), "no time was told yet");
        expiry.set_now(EventTime(100));
        assert!(expired(1, Some(0)));
        assert!(!expired(1, Some(1)));
        assert!(!expired(1, None), "written before there was a time to live");
        assert!(!expired(2, Some(0)), "another state");
        expiry.set_ttl(2, Some(100));
        expiry.set_ttl(1, Some(101));
        assert!(expired(2, Some(0)));
        assert!(!expired(1, Some(0)), "a changed time to live applies at once");
        expiry.set_ttl(1, None);
        assert!(!expired(1, Some(0)));

        let (key, value) = stored(2, Some(0));
        let rules = expiry.rules();
        assert!(!rules.is_expired(b"no stored key", &value));
        assert!(!rules.is_expired(&key, b""));
        assert!(rules.is_expired(&key, &value));
    }
}
