//! Splits lines into words, in lower case. The lesson: an operator without keys and state whose results get a key, so that the next one can be partitioned by it.

mod split;

use wasmill_sdk::prelude::*;

pub use split::{Splitter, Words};

/// Emits each word of a line as a key.
#[derive(Default)]
pub struct SplitWords {
    splitter: Splitter,
}

impl Operator for SplitWords {
    type Key<'a> = ();
    type Input<'a> = &'a str;
    type Output<'a> = Keyed<&'a str, ()>;

    fn declare(_: &mut Declaration) -> Self {
        Self::default()
    }

    fn process(&mut self, line: &str, ctx: &mut Context<Self>) -> Result<()> {
        for word in self.splitter.split(line) {
            ctx.emit(Keyed(word, ()))?;
        }
        Ok(())
    }
}

export_operator!(SplitWords);
