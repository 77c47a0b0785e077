//! Emits a reading when it is the highest of its sensor so far.

use wasmill_sdk::prelude::*;

/// What the source gives: one reading of a sensor. The sensor is the record's key.
#[derive(Deserialize)]
pub struct Reading {
    /// In milliseconds since 1970.
    time: i64,
    value: f64,
}

/// The operator. What belongs to a key is kept by the runtime, and only in states.
pub struct HighestReading {
    highest: ValueState<f64>,
}

/// What it emits.
#[derive(Serialize, Schema)]
pub struct Highest<'a> {
    sensor: &'a str,
    time: i64,
    value: f64,
}

impl Operator for HighestReading {
    type Key<'a> = &'a str;
    type Input<'a> = Json<Reading>;
    type Output<'a> = Highest<'a>;

    fn declare(states: &mut Declaration) -> Self {
        Self {
            highest: states.value("highest"),
        }
    }

    /// Called for each record. An error (by `?`, `bail!`) undoes what was done for this record, and the job's `on-error` says what becomes of it.
    fn process(&mut self, Json(reading): Json<Reading>, ctx: &mut Context<Self>) -> Result<()> {
        let Reading { time, value } = reading;
        if self.highest.get(ctx)?.is_none_or(|highest| value > highest) {
            self.highest.set(ctx, value)?;
            ctx.emit(Highest {
                sensor: ctx.key(),
                time,
                value,
            })?;
        }
        Ok(())
    }
}

export_operator!(HighestReading);
