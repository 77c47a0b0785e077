//! Sums numbers by key. The lesson: configuration, results that do not come for every record, and the end of a bounded input.

use wasmill_sdk::prelude::*;

/// The operator's `config` table.
#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    /// A key's sum is emitted at every so many updates of the key.
    emit_every: u64,
    /// At the end of the input, the sums of all keys are emitted.
    r#final: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { emit_every: 1_000, r#final: true }
    }
}

/// Adds up the values of each key; wraps around.
pub struct KeyedSum {
    /// Sum and number of updates.
    sum: ValueState<(u64, u64)>,
    config: Config,
}

/// The sum of a key by now.
#[derive(Serialize, Schema)]
pub struct Sum {
    key: u64,
    sum: u64,
    updates: u64,
}

impl Operator for KeyedSum {
    type Key<'a> = u64;
    type Input<'a> = u64;
    type Output<'a> = Sum;

    fn declare(states: &mut Declaration) -> Self {
        let sum = states.value("sum");
        states.visit_at_end(&sum);
        Self { sum, config: Config::default() }
    }

    fn open(&mut self, open: &OpenContext) -> Result<()> {
        self.config = open.config()?;
        if self.config.emit_every == 0 {
            bail!("config: emit-every: must be at least 1");
        }
        Ok(())
    }

    fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
        let (sum, updates) = self.sum.get(ctx)?.unwrap_or_default();
        let (sum, updates) = (sum.wrapping_add(input), updates + 1);
        self.sum.set(ctx, (sum, updates))?;
        if updates % self.config.emit_every == 0 {
            ctx.emit(Sum { key: ctx.key(), sum, updates })?;
        }
        Ok(())
    }

    fn on_end(&mut self, ctx: &mut Context<Self>) -> Result<()> {
        match self.sum.get(ctx)? {
            Some((sum, updates)) if self.config.r#final => ctx.emit(Sum { key: ctx.key(), sum, updates }),
            _ => Ok(()),
        }
    }
}

export_operator!(KeyedSum);
