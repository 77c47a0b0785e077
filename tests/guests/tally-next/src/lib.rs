//! The second version of `tally`: it emits the same, and keeps more. How it fails is for its configuration to say.

use std::{cell::Cell, time::Duration};

use serde::{Deserialize, Serialize};
use wasmill_sdk::prelude::*;

thread_local! {
    /// So many values are migrated still.
    static MIGRATIONS_LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// A state that the first version has not comes first, so that all others have another number.
struct Tally {
    last: ValueState<u64>,
    tens: ListState<(u64, u64)>,
    total: ValueState<Total>,
    config: Config,
    records: u64,
}

#[derive(Clone, Serialize, Deserialize, Schema)]
struct Total {
    total: u64,
    /// Numbers since the exchange.
    count: u64,
}

/// When it fails.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// It traps at the record of this number.
    trap_at: Option<u64>,
    /// It never comes back from this number.
    hang_at: Option<u64>,
    /// So many values are migrated, and the next one can't be.
    migrations: Option<u64>,
    /// It takes so many bytes when it is opened.
    take: Option<usize>,
}

/// As the first version says it.
#[derive(Serialize, Schema)]
struct Sum {
    number: u64,
    total: u64,
    tens: u64,
}

impl Operator for Tally {
    type Key<'a> = u64;
    type Input<'a> = u64;
    type Output<'a> = Sum;

    fn declare(states: &mut Declaration) -> Self {
        let last = states.value("last");
        let tens = states.list("tens");
        states.schema_version(&tens, 2);
        states.migrates_from(&tens, 1, |number: u64| Ok((number, 0)));
        let total = states.value("total");
        states.schema_version(&total, 2);
        states.migrates_from(&total, 1, |total: u64| {
            let left = MIGRATIONS_LEFT.get();
            MIGRATIONS_LEFT.set(left.saturating_sub(1));
            if left == 0 {
                bail!("not this one");
            }
            Ok(Total { total, count: 0 })
        });
        // What the first version kept for ever lives for a time now, which is longer than any run.
        states.ttl(&tens, Duration::from_secs(3_600), Refresh::OnWrite);
        states.ttl(&total, Duration::from_secs(3_600), Refresh::OnReadAndWrite);
        Self { last, tens, total, config: Config::default(), records: 0 }
    }

    fn open(&mut self, open: &OpenContext<'_>) -> Result<()> {
        self.config = open.config()?;
        MIGRATIONS_LEFT.set(self.config.migrations.unwrap_or(u64::MAX));
        if let Some(bytes) = self.config.take {
            std::hint::black_box(vec![1_u8; bytes]);
        }
        Ok(())
    }

    fn process(&mut self, number: u64, ctx: &mut Context<Self>) -> Result<()> {
        self.records += 1;
        assert!(Some(self.records) != self.config.trap_at, "as configured");
        if Some(number) == self.config.hang_at {
            while std::hint::black_box(true) {}
        }
        let Total { total, count } = self.total.get(ctx)?.unwrap_or(Total { total: 0, count: 0 });
        let total = Total { total: total + number, count: count + 1 };
        self.total.set(ctx, total.clone())?;
        self.last.set(ctx, number)?;
        if number % 10 == 0 {
            self.tens.add(ctx, &(number, 1))?;
        }
        let tens = self.tens.items(ctx)?.count() as u64;
        ctx.emit(Sum { number, total: total.total, tens })
    }

    fn name() -> String {
        "tally".to_owned()
    }
}

export_operator!(Tally);
