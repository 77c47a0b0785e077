//! How many records every vertex had seen when: for rates that leave warm-up and the end aside.

use std::time::Duration;

/// Samples kept; when there are more, every second one is dropped.
const SAMPLES_MAX: usize = 4096;

/// The share of the source's records between which a rate is steady.
const STEADY: (f64, f64) = (0.25, 0.97);

/// A steady part that is shorter says nothing: samples lie milliseconds apart.
const STEADY_SECONDS_MIN: f64 = 0.01;

/// Samples of all vertices' record counts.
pub(super) struct Timeline {
    samples: Vec<(Duration, Vec<u64>)>,
    interval: Duration,
}

impl Timeline {
    pub(super) fn new(vertices: usize) -> Self {
        Self { samples: vec![(Duration::ZERO, vec![0; vertices])], interval: Duration::from_millis(5) }
    }

    /// Takes a sample unless the last one is recent.
    pub(super) fn sample(&mut self, now: Duration, counts: impl FnOnce() -> Vec<u64>) {
        if self.samples.last().is_some_and(|(last, _)| now < *last + self.interval) {
            return;
        }
        self.samples.push((now, counts()));
        if self.samples.len() > SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.interval *= 2;
        }
    }

    /// Adds the last sample whatever the interval.
    pub(super) fn finish(&mut self, now: Duration, counts: Vec<u64>) {
        self.samples.push((now, counts));
    }

    /// Records per second of each vertex while `source` went from 25 to 97 % of its records; none when that took no measurable time.
    pub(super) fn steady_rates(&self, source: usize) -> Option<Vec<f64>> {
        let total = self.samples.last()?.1[source] as f64;
        let (from, to) = (self.at(source, total * STEADY.0)?, self.at(source, total * STEADY.1)?);
        let seconds = to.0 - from.0;
        (total > 0.0 && seconds >= STEADY_SECONDS_MIN)
            .then(|| from.1.iter().zip(&to.1).map(|(a, b)| (b - a) / seconds).collect())
    }

    /// Time (in seconds) and counts at which `source` had `count` records, between two samples by interpolation.
    fn at(&self, source: usize, count: f64) -> Option<(f64, Vec<f64>)> {
        let after = self.samples.iter().position(|(_, counts)| counts[source] as f64 >= count)?;
        let (b_time, b) = &self.samples[after];
        let (a_time, a) = &self.samples[after.saturating_sub(1)];
        let span = b[source].saturating_sub(a[source]) as f64;
        let share = if span > 0.0 { (count - a[source] as f64) / span } else { 1.0 };
        let between = |a: f64, b: f64| a + (b - a) * share;
        let counts = a.iter().zip(b).map(|(a, b)| between(*a as f64, *b as f64)).collect();
        Some((between(a_time.as_secs_f64(), b_time.as_secs_f64()), counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_rate_leaves_warm_up_and_end_aside() {
        let mut timeline = Timeline::new(2);
        // A second of warm-up, ten seconds at 100 a second, and a long end.
        for tenth in 1..=110 {
            let source = if tenth <= 10 { 0 } else { (tenth - 10) * 10 };
            timeline.sample(Duration::from_millis(tenth * 100), || vec![source, source * 3]);
        }
        timeline.finish(Duration::from_secs(60), vec![1000, 3000]);
        let rates = timeline.steady_rates(0).unwrap();
        assert!((rates[0] - 100.0).abs() < 1e-6 && (rates[1] - 300.0).abs() < 1e-6, "{rates:?}");
    }

    #[test]
    fn a_job_without_records_has_no_rate() {
        let mut timeline = Timeline::new(1);
        timeline.finish(Duration::from_secs(1), vec![0]);
        assert_eq!(timeline.steady_rates(0), None);
    }

    #[test]
    fn the_number_of_samples_is_bounded() {
        let mut timeline = Timeline::new(1);
        for ms in 0..200_000 {
            timeline.sample(Duration::from_millis(ms), || vec![ms]);
        }
        assert!(timeline.samples.len() <= SAMPLES_MAX + 1);
        timeline.finish(Duration::from_secs(200), vec![200_000]);
        assert!((timeline.steady_rates(0).unwrap()[0] - 1000.0).abs() < 1.0);
    }
}
