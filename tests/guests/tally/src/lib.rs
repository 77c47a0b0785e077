//! Adds up the numbers of each key. The first version of `tally-next`: what they emit is the same.

use serde::Serialize;
use wasmill_sdk::prelude::*;

/// The sum of each key, and all numbers of a key that ten divides.
struct Tally {
    total: ValueState<u64>,
    tens: ListState<u64>,
}

/// A key's sum behind one of its numbers, and how many of its numbers ten divided.
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
        Self { total: states.value("total"), tens: states.list("tens") }
    }

    fn process(&mut self, number: u64, ctx: &mut Context<Self>) -> Result<()> {
        let total = self.total.get(ctx)?.unwrap_or(0) + number;
        self.total.set(ctx, total)?;
        if number % 10 == 0 {
            self.tens.add(ctx, &number)?;
        }
        let tens = self.tens.items(ctx)?.count() as u64;
        ctx.emit(Sum { number, total, tens })
    }

    fn name() -> String {
        "tally".to_owned()
    }
}

export_operator!(Tally);
