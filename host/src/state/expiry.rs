//! When an entry of a state with a time to live has expired. Pure: the time is an argument, or was set by whoever owns the state.
//!
//! Expiry is computed from the last access, never stored, so a changed time to live applies at once. What has expired is absent from then on, whether it is still stored or
//! not: readers ask a [`Lifespan`]; background work asks an [`Expiry`] to drop what nobody reads.
//!
//! A state may get its time to live when there are entries already, of which some have no time of their last access. None of them was accessed before that moment, as far as their time to live goes.

use std::{
    collections::BTreeMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

use super::stored::{StoredBytes, StoredKey};
use crate::stream::EventTime;

/// The time of a last access that was not noted.
pub(super) const UNNOTED: i64 = i64::MAX;

/// How long the entries of a state live after their last access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifespan {
    /// Milliseconds.
    pub ttl_ms: u64,
    /// When the state got a time to live, where there were entries before. None: what has no time of its last access is young for ever.
    pub since: Option<EventTime>,
}

impl Lifespan {
    /// Whether an entry that was accessed last at that time, in milliseconds, has expired.
    #[inline]
    pub(crate) fn has_ended(self, accessed: i64, now: EventTime) -> bool {
        let accessed = match self.since {
            Some(since) if accessed == UNNOTED => since.0,
            Some(since) => accessed.max(since.0),
            None => accessed,
        };
        // Time may have gone back, in a restored job on a machine with another clock: such an entry is young.
        i128::from(now.0) - i128::from(accessed) >= i128::from(self.ttl_ms)
    }
}

/// The times to live of a task's states, and the time, shared with background work. What owns the state sets both.
#[derive(Debug)]
pub struct Expiry {
    now_ms: AtomicI64,
    /// By state id; a state without a time to live is not in it.
    lifespans: RwLock<BTreeMap<u16, Lifespan>>,
}

impl Expiry {
    /// For states with these times to live. Before the first [`Self::set_now`] nothing expires.
    pub fn new(lifespans: impl IntoIterator<Item = (u16, Lifespan)>) -> Self {
        Self { now_ms: AtomicI64::new(i64::MIN), lifespans: RwLock::new(lifespans.into_iter().collect()) }
    }

    /// Sets the processing time. Meant to be called once per batch; a plain store.
    pub fn set_now(&self, now: EventTime) {
        self.now_ms.store(now.0, Ordering::Relaxed);
    }

    /// Changes the time to live of a state; none: it lives for ever.
    pub fn set_lifespan(&self, state: u16, lifespan: Option<Lifespan>) {
        let mut lifespans = self.lifespans.write().unwrap_or_else(PoisonError::into_inner);
        match lifespan {
            Some(lifespan) => lifespans.insert(state, lifespan),
            None => lifespans.remove(&state),
        };
    }

    /// The times to live at this moment, with the time at this moment.
    pub fn rules(&self) -> ExpiryRules {
        let lifespans = self.lifespans.read().unwrap_or_else(PoisonError::into_inner).clone();
        ExpiryRules { now: EventTime(self.now_ms.load(Ordering::Relaxed)), lifespans }
    }
}

/// Times to live as they were at one moment: decides about stored entries without a lock.
#[derive(Clone, Debug)]
pub struct ExpiryRules {
    now: EventTime,
    lifespans: BTreeMap<u16, Lifespan>,
}

impl ExpiryRules {
    /// Whether nothing expires.
    pub fn is_empty(&self) -> bool {
        self.lifespans.is_empty()
    }

    /// Whether a stored entry has expired. What can't be decoded has not.
    pub fn is_expired(&self, stored_key: &[u8], stored_value: &[u8]) -> bool {
        let lifespan = || self.lifespans.get(&StoredKey::decode(stored_key).ok()?.state);
        match (lifespan(), StoredBytes::decode(stored_value)) {
            (Some(lifespan), Ok(stored)) => lifespan.has_ended(stored.accessed_ms(), self.now),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_expires_when_its_time_to_live_has_passed() {
        let expired =
            |last_access, now, ttl_ms| Lifespan { ttl_ms, since: None }.has_ended(last_access, EventTime(now));
        assert!(!expired(1_000, 1_099, 100));
        assert!(expired(1_000, 1_100, 100));
        assert!(!expired(1_000, 500, 100), "time may go back");
        assert!(expired(i64::MIN, i64::MAX, u64::MAX));
        assert!(!expired(i64::MAX, i64::MIN, 0));
        assert!(!expired(UNNOTED, i64::MAX - 1, 1), "young for ever");
    }

    #[test]
    fn what_was_there_before_its_time_to_live_counts_from_when_that_began() {
        let lifespan = Lifespan { ttl_ms: 100, since: Some(EventTime(1_000)) };
        for accessed in [UNNOTED, 0, 999, 1_000] {
            assert!(!lifespan.has_ended(accessed, EventTime(1_099)), "{accessed}");
            assert!(lifespan.has_ended(accessed, EventTime(1_100)), "{accessed}");
        }
        assert!(!lifespan.has_ended(1_050, EventTime(1_149)));
        assert!(lifespan.has_ended(1_050, EventTime(1_150)));
    }

    #[test]
    fn rules_go_by_the_state_and_the_last_access() {
        let of = |ttl_ms| Lifespan { ttl_ms, since: None };
        let expiry = Expiry::new([(1, of(100))]);
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
        expiry.set_lifespan(2, Some(of(100)));
        expiry.set_lifespan(1, Some(of(101)));
        assert!(expired(2, Some(0)));
        assert!(!expired(1, Some(0)), "a changed time to live applies at once");
        expiry.set_lifespan(1, None);
        assert!(!expired(1, Some(0)));
        expiry.set_lifespan(1, Some(Lifespan { ttl_ms: 50, since: Some(EventTime(50)) }));
        assert!(expired(1, None), "it began long enough ago");

        let (key, value) = stored(2, Some(0));
        let rules = expiry.rules();
        assert!(!rules.is_expired(b"no stored key", &value));
        assert!(!rules.is_expired(&key, b""));
        assert!(rules.is_expired(&key, &value));
    }
}
