//! The watermark of a task: the minimum over its inputs.
//!
//! Invariant: what it gives out never falls, and an input that has ended holds nothing back.

use crate::stream::EventTime;

/// Follows the watermarks of several inputs (Flink: "Watermarks in Parallel Streams").
#[derive(Clone, Debug)]
pub struct WatermarkTracker {
    /// None: the input has none yet.
    inputs: Vec<Option<EventTime>>,
    current: Option<EventTime>,
}

impl WatermarkTracker {
    /// For so many inputs, none of which has a watermark yet.
    pub fn new(inputs: usize) -> Self {
        Self::restored(inputs, None)
    }

    /// The same, where the task had given out a watermark before: it gives out none below it.
    pub fn restored(inputs: usize, current: Option<EventTime>) -> Self {
        Self { inputs: vec![None; inputs], current }
    }

    /// An input's watermark rose. Returns the task's watermark if that rose too.
    pub fn advance(&mut self, input: usize, watermark: EventTime) -> Option<EventTime> {
        self.inputs[input] = self.inputs[input].max(Some(watermark));
        let minimum = self.inputs.iter().copied().min().flatten()?;
        if Some(minimum) > self.current {
            self.current = Some(minimum);
            return self.current;
        }
        None
    }

    /// The task's watermark, if it has one yet.
    pub fn current(&self) -> Option<EventTime> {
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_is_the_minimum_over_all_inputs_and_never_falls() {
        let mut tracker = WatermarkTracker::new(2);
        assert_eq!(tracker.advance(0, EventTime(10)), None);
        assert_eq!(tracker.advance(1, EventTime(5)), Some(EventTime(5)));
        assert_eq!(tracker.advance(1, EventTime(3)), None);
        assert_eq!(tracker.advance(1, EventTime::MAX), Some(EventTime(10)));
        assert_eq!(tracker.advance(0, EventTime::MAX), Some(EventTime::MAX));
        assert_eq!(tracker.current(), Some(EventTime::MAX));
    }
}
