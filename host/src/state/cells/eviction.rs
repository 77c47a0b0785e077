//! What the memtable does when memory ends, and with entries that have expired.

use std::ops::Bound;

use super::{Beyond, Cells, Place, Rest};
use crate::{
    state::{
        behind::Behind,
        expiry::Lifespan,
        spill::{Access, SpillError},
    },
    stream::EventTime,
};

/// Of a large place so many entries are evicted at a time.
const ENTRIES_AT_ONCE: usize = 256;

impl Cells {
    /// Evicts places that were not used since the hand passed them, until at least about `bytes` bytes are free; of a large place, a part. To be called between calls
    /// of the guest. `expires` says of a state whether it has a time to live.
    ///
    /// # Errors
    /// When what lies behind fails.
    pub(crate) fn evict(
        &mut self,
        bytes: usize,
        expires: impl Fn(u16) -> bool,
        behind: &mut Behind,
    ) -> Result<(), SpillError> {
        let goal = self.bytes.saturating_sub(bytes);
        // Twice round: the first time may only find that everything was used.
        let mut looks = 2 * self.places.len();
        while self.bytes > goal && looks > 0 {
            let unused = |place: &mut Place| !std::mem::replace(&mut place.used, false);
            if self.places[self.hand].as_mut().is_some_and(unused) {
                self.evict_place(self.hand as u32, ENTRIES_AT_ONCE, &expires, behind)?;
                if self.places[self.hand].is_some() {
                    // What is left of a large place is next.
                    continue;
                }
            }
            looks -= 1;
            self.hand = (self.hand + 1) % self.places.len();
        }
        Ok(())
    }

    /// Evicts everything.
    ///
    /// # Errors
    /// When what lies behind fails.
    pub(crate) fn evict_all(&mut self, expires: impl Fn(u16) -> bool, behind: &mut Behind) -> Result<(), SpillError> {
        for at in 0..self.places.len() {
            if self.places[at].is_some() {
                self.evict_place(at as u32, usize::MAX, &expires, behind)?;
            }
        }
        Ok(())
    }

    /// Evicts up to `most` entries of a place, and the place when none is left.
    fn evict_place(
        &mut self,
        at: u32,
        most: usize,
        expires: &impl Fn(u16) -> bool,
        behind: &mut Behind,
    ) -> Result<(), SpillError> {
        let Some(place) = &self.places[at as usize] else { return Ok(()) };
        let mut key = place.prefix.to_vec();
        let prefix_len = key.len();
        if place.beyond == Beyond::Void {
            self.make_void(at, behind)?;
        }
        let place = self.place_mut(at);
        place.beyond = Beyond::Something;
        let expires = state_of(&place.prefix).is_some_and(expires);
        // Before the entries leave memory.
        self.leave(at, most, expires, behind);
        let taken = self.change(at, |entries| entries.take_first(most));
        let mut value = Vec::new();
        for (rest, cell) in taken.into_iter().filter(|(_, cell)| cell.is_dirty()) {
            key.truncate(prefix_len);
            key.extend_from_slice(&rest);
            value.clear();
            let stored = cell.stored(expires).map(|stored| {
                stored.append(&mut value);
                &value[..]
            });
            behind.push(&key, stored, Access::Ordered);
        }
        self.drop_if_idle(at);
        behind.check()
    }

    /// Says of every entry that lies behind a cleared place, and is not here, that it is gone.
    fn make_void(&mut self, at: u32, behind: &mut Behind) -> Result<(), SpillError> {
        let prefix = self.place_mut(at).prefix.clone();
        let mut from = prefix.to_vec();
        loop {
            let mut gone = Vec::new();
            if let Some(spill) = behind.spill() {
                let mut there = spill.range(&prefix, Bound::Included(&from))?;
                while let Some((key, _)) = there.next()? {
                    gone.push(key.to_vec());
                    if gone.len() == ENTRIES_AT_ONCE {
                        break;
                    }
                }
            }
            let Some(last) = gone.last() else { return Ok(()) };
            from.clone_from(last);
            from.push(0);
            let place = self.place_mut(at);
            gone.retain(|key| place.entries.get(&key[prefix.len()..]).is_none());
            for key in &gone {
                behind.push(key, None, Access::Ordered);
            }
            behind.check()?;
        }
    }

    /// Looks at the next `entries` entries, about, and drops those that have expired at `now`; `lifespan` gives the time to live of a state. What of them lies behind expires by
    /// itself. A large place is looked at in parts.
    pub(crate) fn sweep(
        &mut self,
        entries: usize,
        now: EventTime,
        lifespan: impl Fn(u16) -> Option<Lifespan>,
        behind: &mut Behind,
    ) {
        let mut left = entries;
        let mut looks = self.places.len().min(entries);
        while left > 0 && looks > 0 {
            looks -= 1;
            let from = std::mem::take(&mut self.swept_to);
            let (ended, seen, next) = self.expired_entries(&from, left, now, &lifespan);
            left = left.saturating_sub(seen.max(1));
            let at = self.swept;
            for rest in ended {
                self.expire(at as u32, &rest, behind);
            }
            if let Some(next) = next {
                self.swept_to = next;
                return;
            }
            self.drop_if_idle(at as u32);
            self.swept = (at + 1) % self.places.len();
        }
    }

    /// Of the next `most` entries of the place that is swept, from `from` on: those that have expired, how many there were, and the one after them.
    fn expired_entries(
        &self,
        from: &[u8],
        most: usize,
        now: EventTime,
        lifespan: &impl Fn(u16) -> Option<Lifespan>,
    ) -> (Vec<Rest>, usize, Option<Rest>) {
        let Some(place) = &self.places[self.swept] else { return (Vec::new(), 0, None) };
        let Some(lifespan) = state_of(&place.prefix).and_then(lifespan) else { return (Vec::new(), 0, None) };
        let mut ended = Vec::new();
        for (seen, (rest, cell)) in place.entries.from(from).enumerate() {
            if seen == most {
                return (ended, seen, Some(rest.clone()));
            }
            if cell.version != 0 && lifespan.has_ended(cell.accessed, now) {
                ended.push(rest.clone());
            }
        }
        (ended, most.min(place.entries.len()), None)
    }

    /// Whether there is a place of a state for which `asks` says so.
    pub(crate) fn any_place(&self, asks: impl Fn(u16) -> bool) -> bool {
        self.places.iter().flatten().any(|place| state_of(&place.prefix).is_some_and(&asks))
    }

    /// Hands every place with an entry that has not expired to `visit`: its prefix.
    pub(crate) fn for_each_place(&self, has_ended: impl Fn(u16, i64) -> bool, mut visit: impl FnMut(&[u8])) {
        for place in self.places.iter().flatten() {
            let state = state_of(&place.prefix).unwrap_or(u16::MAX);
            if place.entries.from(&[]).any(|(_, cell)| cell.version != 0 && !has_ended(state, cell.accessed)) {
                visit(&place.prefix);
            }
        }
    }
}

/// The state id in a stored key.
pub(super) fn state_of(stored_key: &[u8]) -> Option<u16> {
    stored_key.get(2..4).and_then(|id| Some(u16::from_be_bytes(id.try_into().ok()?)))
}
