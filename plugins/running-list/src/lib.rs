//! The last readings of each sensor, and their sum. The lesson: list state, to which is added without reading it, and which is read and cut seldom.
//!
//! Readings are added up in thousandths, as whole numbers: sums of floating-point numbers are hard to compare.

use wasmill_sdk::prelude::*;

/// Thousandths in one.
const THOUSANDTHS: f64 = 1_000.0;

/// The operator's `config` table.
#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    /// So many readings of each sensor are kept.
    last: usize,
    /// They are emitted at every so many readings of the sensor, and at the end of the input.
    every: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { last: 5, every: 20 }
    }
}

/// A reading as it comes; the sensor is the record's key.
#[derive(Deserialize)]
pub struct Reading {
    value: f64,
}

/// The last readings of a sensor, in their order.
#[derive(Serialize, Schema)]
pub struct Last<'a> {
    sensor: &'a str,
    readings: Vec<f64>,
    sum: f64,
}

/// Keeps the last readings of each sensor.
pub struct RunningList {
    /// In thousandths: the last ones, and those that have come since the list was cut.
    readings: ListState<i64>,
    /// How many have come.
    count: ValueState<u64>,
    config: Config,
}

impl RunningList {
    /// The last readings of the list: reads all of it.
    fn last(&self, ctx: &Context<Self>) -> Result<Vec<i64>> {
        let mut readings = self.readings.items(ctx)?.collect::<Result<Vec<i64>>>()?;
        readings.drain(..readings.len().saturating_sub(self.config.last));
        Ok(readings)
    }
}

impl Operator for RunningList {
    type Key<'a> = &'a str;
    type Input<'a> = Json<Reading>;
    type Output<'a> = Last<'a>;

    fn declare(states: &mut Declaration) -> Self {
        let readings = states.list("readings");
        states.visit_at_end(&readings);
        Self { readings, count: states.value("count"), config: Config::default() }
    }

    fn open(&mut self, open: &OpenContext) -> Result<()> {
        self.config = open.config()?;
        if self.config.last == 0 || self.config.every == 0 {
            bail!("config: last and every: must be at least 1");
        }
        Ok(())
    }

    fn process(&mut self, Json(reading): Json<Reading>, ctx: &mut Context<Self>) -> Result<()> {
        self.readings.add(ctx, &((reading.value * THOUSANDTHS).round() as i64))?;
        let count = self.count.get(ctx)?.unwrap_or(0) + 1;
        self.count.set(ctx, count)?;
        if !count.is_multiple_of(self.config.every) {
            return Ok(());
        }
        let last = self.last(ctx)?;
        self.readings.replace(ctx, &last)?;
        ctx.emit(shown(ctx.key(), &last))
    }

    fn on_end(&mut self, ctx: &mut Context<Self>) -> Result<()> {
        let last = self.last(ctx)?;
        ctx.emit(shown(ctx.key(), &last))
    }
}

fn shown<'a>(sensor: &'a str, readings: &[i64]) -> Last<'a> {
    let shown = |thousandths: i64| thousandths as f64 / THOUSANDTHS;
    Last { sensor, readings: readings.iter().copied().map(shown).collect(), sum: shown(readings.iter().sum()) }
}

export_operator!(RunningList);
