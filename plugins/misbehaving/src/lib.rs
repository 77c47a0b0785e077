//! Everything that an operator must not do, by configuration. The lesson: what a fault costs. Run it with `on-error = "skip"` and see the job go on.
//!
//! Each record counts its key up, so that it can be seen what was rolled back; then, when its value is `on`, the operator misbehaves in the way of `mode`.

mod deeds;

use wasmill_sdk::prelude::*;

/// The operator's `config` table.
#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Config {
    /// What it does.
    mode: Mode,
    /// The value of the record that makes it do so.
    on: u64,
    /// How long it is slow, roughly.
    milliseconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { mode: Mode::None, on: 0, milliseconds: 100 }
    }
}

/// Ways to misbehave.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Not at all.
    None,
    /// Returns an error for the record, after it has changed state and emitted.
    Fail,
    /// Panics: a message, then a trap.
    Panic,
    /// Traps without a word.
    Trap,
    /// Never returns.
    Loop,
    /// Calls itself without end.
    Recurse,
    /// Allocates without end.
    Allocate,
    /// Works for `milliseconds`, then returns well.
    Slow,
    /// Asks the system to wait for an hour.
    Sleep,
    /// Writes 100,000 log lines, then returns well.
    Log,
    /// Emits until the host refuses.
    Emit,
    /// Emits a column whose ends contradict its data.
    LieEnds,
    /// Emits for a record that there is not.
    LieSource,
    /// Writes the state of a slot that it was not told of.
    LieSlot,
    /// Writes a state that it did not declare.
    LieState,
    /// Returns an error from `open`.
    OpenFail,
    /// Panics in `open`.
    OpenPanic,
    /// Never returns from `open`.
    OpenLoop,
}

/// Counts records by key, unless it misbehaves.
pub struct Misbehaving {
    count: ValueState<u64>,
    config: Config,
}

/// How often a key has come by now.
#[derive(Serialize, Schema)]
pub struct Count {
    key: u64,
    count: u64,
}

impl Operator for Misbehaving {
    type Key<'a> = u64;
    type Input<'a> = u64;
    type Output<'a> = Count;

    fn declare(states: &mut Declaration) -> Self {
        Self { count: states.value("count"), config: Config::default() }
    }

    fn open(&mut self, open: &OpenContext) -> Result<()> {
        self.config = open.config()?;
        match self.config.mode {
            Mode::OpenFail => bail!("open fails, as configured"),
            Mode::OpenPanic => panic!("open panics, as configured"),
            Mode::OpenLoop => deeds::run_for_ever(),
            _ => Ok(()),
        }
    }

    fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
        let count = self.count.get(ctx)?.unwrap_or(0) + 1;
        self.count.set(ctx, count)?;
        ctx.emit(Count { key: ctx.key(), count })?;
        if input == self.config.on { self.misbehave(ctx) } else { Ok(()) }
    }
}

impl Misbehaving {
    #[cold]
    fn misbehave(&self, ctx: &mut Context<Self>) -> Result<()> {
        match self.config.mode {
            Mode::Fail => bail!("the record with the value {} fails, as configured", self.config.on),
            Mode::Panic => panic!("the record with the value {} panics, as configured", self.config.on),
            Mode::Trap => deeds::trap(),
            Mode::Loop => deeds::run_for_ever(),
            Mode::Recurse => deeds::recurse(),
            Mode::Allocate => deeds::allocate(),
            Mode::Slow => deeds::work(self.config.milliseconds),
            Mode::Sleep => std::thread::sleep(std::time::Duration::from_secs(3600)),
            Mode::Log => (0..100_000).for_each(|line| warn!(ctx, "line {line} of a flood")),
            Mode::Emit => deeds::emit()?,
            Mode::LieEnds => deeds::lie_about_ends()?,
            Mode::LieSource => deeds::lie_about_source()?,
            Mode::LieSlot => deeds::lie_about_slot()?,
            Mode::LieState => deeds::lie_about_state()?,
            Mode::None | Mode::OpenFail | Mode::OpenPanic | Mode::OpenLoop => {}
        }
        Ok(())
    }
}

export_operator!(Misbehaving);
