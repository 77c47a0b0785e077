//! What a call emits.

use super::{Exchange, OutputRule, Phase, STAGED_CALL_BYTES};
use crate::{
    operator::{
        stage_error::{StageError, check_sizes, quiet, too_large},
        staged::StagedOutput,
    },
    stream::BytesColumn,
};

impl Exchange {
    /// Emits records that keep the key of record `src[i]`, or have none.
    ///
    /// # Errors
    /// [`StageError`]; the call will be rolled back.
    pub fn emit(
        &mut self,
        output: u32,
        src: &[u32],
        data: &[u8],
        ends: &[u32],
        timestamps: &[i64],
    ) -> Result<(), StageError> {
        let staged = self.check_emit(output, false, data, ends, timestamps).and_then(|rule| {
            let Some(records) = self.phase.records() else { return Err(quiet("emit")) };
            if rule.keeps_key_of_some && rule.keys_wanted && self.phase.is_without_keys() {
                let text =
                    "emit was called for an output that keeps keys, in a batch of an input whose records have none";
                return Err(StageError::Malformed(text.into()));
            }
            let wanted = (rule.keys_wanted || (self.input_has_times && timestamps.is_empty())) && !ends.is_empty();
            if !(src.len() == ends.len() || src.is_empty() && !wanted) {
                return Err(StageError::Malformed(format!(
                    "emit was given {} values but {} source records",
                    ends.len(),
                    src.len()
                )));
            }
            // Without a branch per entry, so that it is vectorised.
            if src.iter().fold(0, |most, index| (*index).max(most)) as usize >= records.max(1) {
                return Err(StageError::Malformed(format!(
                    "emit names a source record beyond the {records} of the call"
                )));
            }
            let values = BytesColumn::from_slices(data, ends)
                .map_err(|error| StageError::Malformed(format!("emit, values: {error}")))?;
            Ok(StagedOutput {
                src: if wanted { src.to_vec() } else { Vec::new() },
                keeps_key: rule.keys_wanted,
                keys: None,
                values,
                timestamps: timestamps.to_vec(),
            })
        });
        self.stage_output(staged)
    }

    /// Emits records with new keys.
    ///
    /// # Errors
    /// [`StageError`]; the call will be rolled back.
    pub fn emit_keyed(
        &mut self,
        output: u32,
        (key_data, key_ends): (&[u8], &[u32]),
        data: &[u8],
        ends: &[u32],
        timestamps: &[i64],
    ) -> Result<(), StageError> {
        let staged = self.check_emit(output, true, data, ends, timestamps).and_then(|rule| {
            if key_ends.len() != ends.len() {
                return Err(StageError::Malformed(format!(
                    "emit-keyed was given {} values but {} keys",
                    ends.len(),
                    key_ends.len()
                )));
            }
            self.stage_bytes(key_data.len() + key_ends.len() * 4)?;
            let keys = BytesColumn::from_slices(key_data, key_ends)
                .map_err(|error| StageError::Malformed(format!("emit-keyed, keys: {error}")))?;
            check_sizes(&keys, self.limits.key_bytes_max, "a key")?;
            let values = BytesColumn::from_slices(data, ends)
                .map_err(|error| StageError::Malformed(format!("emit-keyed, values: {error}")))?;
            Ok(StagedOutput {
                src: Vec::new(),
                keeps_key: false,
                keys: rule.keys_wanted.then_some(keys),
                values,
                timestamps: timestamps.to_vec(),
            })
        });
        self.stage_output(staged)
    }

    fn check_emit(
        &mut self,
        output: u32,
        sets_key: bool,
        data: &[u8],
        ends: &[u32],
        timestamps: &[i64],
    ) -> Result<OutputRule, StageError> {
        if !self.phase.is_transaction() || self.phase == Phase::Snapshot {
            return Err(quiet("emit"));
        }
        let Some(rule) = self.rules.get(output as usize).copied() else {
            return Err(StageError::Malformed(format!("there is no output {output}")));
        };
        if rule.sets_key != sets_key {
            let (called, declared) = if sets_key { ("emit-keyed", "does not set keys") } else { ("emit", "sets keys") };
            return Err(StageError::Malformed(format!(
                "{called} was called for output {output}, which {declared} by its descriptor"
            )));
        }
        if !timestamps.is_empty() && timestamps.len() != ends.len() {
            return Err(StageError::Malformed(format!(
                "emit was given {} values but {} event times",
                ends.len(),
                timestamps.len()
            )));
        }
        if data.len() > self.limits.value_bytes_max {
            let mut start = 0;
            for end in ends {
                let len = end.saturating_sub(start) as usize;
                if len > self.limits.value_bytes_max {
                    return Err(too_large("a record's value", len, self.limits.value_bytes_max));
                }
                start = *end;
            }
        }
        // Ends, source records and event times among them.
        self.stage_bytes(STAGED_CALL_BYTES + data.len() + ends.len() * 8 + timestamps.len() * 8)?;
        Ok(rule)
    }

    fn stage_output(&mut self, staged: Result<StagedOutput, StageError>) -> Result<(), StageError> {
        match staged {
            Ok(output) if output.values.is_empty() => Ok(()),
            Ok(output) => {
                self.outputs.push(output);
                Ok(())
            }
            Err(error) => {
                self.condemn(&error);
                Err(error)
            }
        }
    }
}
