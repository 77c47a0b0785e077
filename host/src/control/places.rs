//! Places for connections: so many at the same time, and none that whoever shows no token can keep. Who comes while all are taken and nobody has been there for [`GRACE`] is told to come again.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Connections at the same time.
pub(super) const PLACES: usize = 32;
/// As long as this nobody has to go: a head that was sent at once has been read by then.
const GRACE: Duration = Duration::from_millis(50);

/// All of them.
#[derive(Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    /// By those who have shown no token, the oldest first.
    unproven: VecDeque<Unproven>,
    proven: BTreeSet<u64>,
    next: u64,
}

struct Unproven {
    number: u64,
    since: Instant,
    ends: Arc<Notify>,
}

/// A place, given back when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    ends: Arc<Notify>,
}

impl Places {
    /// Takes one. Where none is left, the oldest connection that has shown no token goes. None: nobody has to go.
    pub(super) fn take(self: &Arc<Self>, now: Instant) -> Option<Place> {
        let mut taken = self.lock();
        if taken.unproven.len() + taken.proven.len() >= PLACES {
            let oldest = taken.unproven.front()?;
            if now.saturating_duration_since(oldest.since) < GRACE {
                return None;
            }
            oldest.ends.notify_one();
            taken.unproven.pop_front();
        }
        let (number, ends) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        taken.unproven.push_back(Unproven { number, since: now, ends: Arc::clone(&ends) });
        Some(Place { places: Arc::clone(self), number, ends })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Whether it was there.
    fn remove_unproven(&mut self, number: u64) -> bool {
        let before = self.unproven.len();
        self.unproven.retain(|other| other.number != number);
        self.unproven.len() < before
    }
}

impl Place {
    /// Whoever sits here has shown a token, and does not have to go; unless it is too late.
    pub(super) fn keep(&self) -> bool {
        let mut taken = self.places.lock();
        let is_kept = taken.remove_unproven(self.number);
        if is_kept {
            taken.proven.insert(self.number);
        }
        is_kept
    }

    /// Waits until whoever sits here has to go.
    pub(super) async fn lost(&self) {
        self.ends.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.remove_unproven(self.number);
        taken.proven.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn is_lost(place: &Place) -> bool {
        pin!(place.lost()).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn the_oldest_without_a_token_goes_when_it_had_its_time() {
        let (places, begin) = (Arc::new(Places::default()), Instant::now());
        let mut held: Vec<_> = (0..PLACES).map(|_| places.take(begin).expect("a place")).collect();
        assert!(places.take(begin + GRACE / 2).is_none(), "they have only come");
        assert!(held[0].keep());
        let next = places.take(begin + GRACE).expect("that of the second");
        assert_eq!(held.iter().map(is_lost).filter(|lost| *lost).count(), 1);
        let lost = held.remove(1);
        assert!(!lost.keep(), "it is too late");
        drop(lost);
        assert!(!is_lost(&next) && places.take(begin + GRACE).is_some(), "that of the third");
    }

    #[test]
    fn who_has_shown_a_token_stays_and_places_come_back() {
        let (places, begin) = (Arc::new(Places::default()), Instant::now());
        let mut held: Vec<_> = (0..PLACES).map(|_| places.take(begin).expect("a place")).collect();
        assert!(held.iter().all(Place::keep));
        assert!(places.take(begin + GRACE * 100).is_none());
        held.truncate(PLACES - 1);
        let last = places.take(begin).expect("one came back");
        assert!(places.take(begin).is_none());
        drop(last);
        assert!(places.take(begin).is_some());
    }
}
