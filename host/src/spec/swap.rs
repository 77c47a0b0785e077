//! `[swap]`: how long an operator that was exchanged while the job runs can be taken back.

use std::time::Duration;

use super::section::Field;

const PROBATION_DEFAULT: Duration = Duration::from_secs(10);

/// Of each task.
const PROBATION_BATCHES_DEFAULT: u32 = 2000;

/// How long an operator that was exchanged can be taken back: until either is reached. Until then what it does is shown to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapSettings {
    /// Time since its checkpoint was complete.
    pub probation: Duration,
    /// Batches that each of its tasks has processed.
    pub probation_batches: u64,
}

impl Default for SwapSettings {
    fn default() -> Self {
        Self { probation: PROBATION_DEFAULT, probation_batches: PROBATION_BATCHES_DEFAULT.into() }
    }
}

pub(super) fn read(field: Field<'_>) -> Option<SwapSettings> {
    let mut section = field.section("`swap`", "{ probation = \"10s\" }")?;
    let default = SwapSettings::default();
    let probation = section.optional("probation", Field::duration);
    let batches = section.optional("probation-batches", |field| field.whole(1..=u32::MAX));
    section.finish();
    Some(SwapSettings {
        probation: probation.map_or(default.probation, |probation| probation.value),
        probation_batches: batches.map_or(default.probation_batches, |batches| batches.value.into()),
    })
}
