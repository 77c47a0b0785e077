//! Count, mean, least and greatest reading of each sensor. The lesson: aggregating state, where what goes in, what is kept and what comes out are three types.
//!
//! Readings are added up in thousandths, as whole numbers: sums of floating-point numbers depend on the order in which they are added.

use wasmill_sdk::prelude::*;

/// Thousandths in one.
const THOUSANDTHS: f64 = 1_000.0;

/// The operator's `config` table.
#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    /// A sensor's figures are emitted at every so many of its readings, and at the end of the input.
    every: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { every: 100 }
    }
}

/// A reading as it comes; the sensor is the record's key.
#[derive(Deserialize)]
pub struct Reading {
    value: f64,
}

/// What is kept of the readings, in thousandths.
#[derive(Clone, Serialize, Deserialize, Schema)]
struct Gathered {
    count: u64,
    sum: i64,
    min: i64,
    max: i64,
}

/// What comes out.
struct Figures {
    count: u64,
    mean: f64,
    min: f64,
    max: f64,
}

/// The figures of a sensor by now.
#[derive(Serialize, Schema)]
pub struct Stats<'a> {
    sensor: &'a str,
    count: u64,
    /// To the thousandth.
    mean: f64,
    min: f64,
    max: f64,
}

impl Figures {
    fn of(self, sensor: &str) -> Stats<'_> {
        Stats { sensor, count: self.count, mean: self.mean, min: self.min, max: self.max }
    }
}

/// Gathers readings, in thousandths, and makes figures of them.
struct Gather;

impl Aggregate for Gather {
    type Input = i64;
    type Accumulator = Gathered;
    type Output = Figures;

    fn create(&self) -> Gathered {
        Gathered { count: 0, sum: 0, min: i64::MAX, max: i64::MIN }
    }

    fn add(&self, gathered: &mut Gathered, reading: i64) {
        self.merge(gathered, Gathered { count: 1, sum: reading, min: reading, max: reading });
    }

    fn get(&self, gathered: &Gathered) -> Figures {
        let count = gathered.count as i64;
        let mean = (2 * gathered.sum + count).div_euclid(2 * count);
        let [mean, min, max] = [mean, gathered.min, gathered.max].map(|value| value as f64 / THOUSANDTHS);
        Figures { count: gathered.count, mean, min, max }
    }

    fn merge(&self, gathered: &mut Gathered, later: Gathered) {
        gathered.count += later.count;
        gathered.sum += later.sum;
        gathered.min = gathered.min.min(later.min);
        gathered.max = gathered.max.max(later.max);
    }
}

/// Gathers the readings of each sensor.
pub struct SensorStats {
    readings: AggregatingState<Gather>,
    config: Config,
}

impl Operator for SensorStats {
    type Key<'a> = &'a str;
    type Input<'a> = Json<Reading>;
    type Output<'a> = Stats<'a>;

    fn declare(states: &mut Declaration) -> Self {
        let readings = states.aggregating("readings", Gather);
        states.visit_at_end(&readings);
        Self { readings, config: Config::default() }
    }

    fn open(&mut self, open: &OpenContext) -> Result<()> {
        self.config = open.config()?;
        if self.config.every == 0 {
            bail!("config: every: must be at least 1");
        }
        Ok(())
    }

    fn process(&mut self, Json(reading): Json<Reading>, ctx: &mut Context<Self>) -> Result<()> {
        self.readings.add(ctx, (reading.value * THOUSANDTHS).round() as i64)?;
        match self.readings.get(ctx)? {
            Some(figures) if figures.count.is_multiple_of(self.config.every) => ctx.emit(figures.of(ctx.key())),
            _ => Ok(()),
        }
    }

    fn on_end(&mut self, ctx: &mut Context<Self>) -> Result<()> {
        match self.readings.get(ctx)? {
            Some(figures) => ctx.emit(figures.of(ctx.key())),
            None => Ok(()),
        }
    }
}

export_operator!(SensorStats);
