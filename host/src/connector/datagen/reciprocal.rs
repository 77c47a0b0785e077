//! Remainders by a divisor that is known only when the job starts.
//!
//! Division of 64-bit integers takes 10 to 40 cycles and does not overlap; a multiplication by the reciprocal does. Granlund and Montgomery 1994, "Division by
//! invariant integers using multiplication", figure 4.1: exact for all dividends and divisors.

/// A divisor and its reciprocal.
pub(super) struct Reciprocal {
    divisor: u64,
    multiplier: u64,
    shifts: [u32; 2],
}

impl Reciprocal {
    /// # Panics
    /// When the divisor is 0.
    pub(super) fn of(divisor: u64) -> Self {
        assert!(divisor > 0, "nothing can be divided by 0");
        let bits = u64::BITS - (divisor - 1).leading_zeros();
        let excess = (1_u128 << bits) - u128::from(divisor);
        // The excess is below the divisor, so the quotient is below 2^64.
        let multiplier = ((excess << 64) / u128::from(divisor) + 1) as u64;
        Self { divisor, multiplier, shifts: [bits.min(1), bits.saturating_sub(1)] }
    }

    /// `number % divisor`.
    #[inline(always)]
    pub(super) fn remainder(&self, number: u64) -> u64 {
        let high = ((u128::from(self.multiplier) * u128::from(number)) >> 64) as u64;
        let quotient = (high + ((number - high) >> self.shifts[0])) >> self.shifts[1];
        number - quotient * self.divisor
    }
}
