//! Pseudo-random numbers that a seed decides, for made-up input and for simulation: the generator of Steele, Lea and Flood 2014 ("Fast splittable pseudorandom number
//! generators"). Frozen: what was made with a seed stays the same. No secret may depend on it.

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Draws one number after the other.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        let drawn = splitmix64(self.0);
        self.0 = self.0.wrapping_add(STEP);
        drawn
    }
}

/// The first number that is drawn when one starts at `seed`.
#[inline]
pub fn splitmix64(seed: u64) -> u64 {
    let z = seed.wrapping_add(STEP);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_frozen() {
        // Those of the authors' own implementation, started at 0.
        let mut random = SplitMix64::new(0);
        let drawn = [random.draw(), random.draw(), random.draw()];
        assert_eq!(drawn, [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]);
        assert_eq!(
            [1, 2, u64::MAX].map(splitmix64),
            [0x910A_2DEC_8902_5CC1, 0x9758_35DE_1C97_56CE, 0xE4D9_7177_1B65_2C20]
        );
    }
}
