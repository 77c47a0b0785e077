//! Counts words. The lesson: state. `count` belongs to the key of the record; the runtime keeps it, and this operator never sees another task's keys.

use wasmill_sdk::prelude::*;

/// Counts how often each key came.
pub struct WordCount {
    count: ValueState<u64>,
}

/// How often a word has come by now.
#[derive(Serialize, Schema)]
pub struct Count<'a> {
    word: &'a str,
    count: u64,
}

impl Operator for WordCount {
    type Key<'a> = &'a str;
    type Input<'a> = ();
    type Output<'a> = Count<'a>;

    fn declare(states: &mut Declaration) -> Self {
        Self { count: states.value("count") }
    }

    fn process(&mut self, _: (), ctx: &mut Context<Self>) -> Result<()> {
        let count = self.count.get(ctx)?.unwrap_or(0) + 1;
        self.count.set(ctx, count)?;
        ctx.emit(Count { word: ctx.key(), count })
    }
}

export_operator!(WordCount);
