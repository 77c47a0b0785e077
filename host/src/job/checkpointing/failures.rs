//! Failures in a row, and which of them a person is told.

/// Counts failures of one kind until one of its kind does well. The 1st, 2nd, 4th, 8th … is worth a line: what lasts is seen to last, and does not hide everything else.
#[derive(Debug, Default)]
pub(super) struct Failures(u64);

impl Failures {
    /// One more. Whether it is to be told.
    pub(super) fn one_more(&mut self) -> bool {
        self.0 += 1;
        self.0.is_power_of_two()
    }

    /// How many there are.
    pub(super) fn in_a_row(&self) -> u64 {
        self.0
    }

    /// They are over. How many there were, if any.
    pub(super) fn over(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.0)).filter(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_and_fewer_are_told() {
        let mut failures = Failures::default();
        assert_eq!(failures.over(), None);
        let told: Vec<u64> = (1..=20).filter(|_| failures.one_more()).collect();
        assert_eq!(told, [1, 2, 4, 8, 16]);
        assert_eq!((failures.over(), failures.over()), (Some(20), None));
        assert!(failures.one_more(), "the first of another row is told");
    }
}
