//! How many requests a second are taken.

use std::time::{Duration, Instant};

/// Requests a second, and how many may come at once.
pub(super) const REQUESTS_PER_SECOND: f64 = 50.0;

/// A bucket that is filled steadily and from which every request takes one.
pub(super) struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(now: Instant) -> Self {
        Self { left: REQUESTS_PER_SECOND, at: now }
    }

    /// Takes one, or says when there is one again.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * REQUESTS_PER_SECOND;
        self.left = (self.left + gained).min(REQUESTS_PER_SECOND);
        self.at = now;
        if self.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.left) / REQUESTS_PER_SECOND));
        }
        self.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_one_in_its_time() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(begin);
        assert!((0..50).all(|_| bucket.take(begin).is_ok()));
        assert_eq!(bucket.take(begin), Err(Duration::from_millis(20)));
        assert_eq!(bucket.take(begin + Duration::from_millis(21)), Ok(()));
        assert!(bucket.take(begin + Duration::from_millis(22)).is_err());
        let later = begin + Duration::from_secs(3_600);
        assert_eq!((0..100).filter(|_| bucket.take(later).is_ok()).count(), 50);
    }
}
