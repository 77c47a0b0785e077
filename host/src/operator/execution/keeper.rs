//! Where the state of a task goes when the task has come to a good end.

use std::io;

use super::Execution;
use crate::{
    operator::CallTime,
    state::ExportError,
    stream::{Fault, FaultKind},
};

/// Takes the state of one task.
pub trait StateKeeper: Send {
    /// Takes an entry. Stored keys come in ascending order.
    ///
    /// # Errors
    /// When it can't be kept; the job fails.
    fn keep(&mut self, stored_key: &[u8], stored_value: &[u8]) -> io::Result<()>;

    /// That was all.
    ///
    /// # Errors
    /// When it can't be kept; the job fails.
    fn finish(&mut self) -> io::Result<()>;
}

impl Execution {
    /// Says who gets the state at the end. Without it nobody does.
    pub fn give_state_to(&mut self, keeper: Box<dyn StateKeeper>) {
        self.keeper = Some(keeper);
    }

    /// Gives all state that has not expired by now to the keeper, if there is one. To be called behind [`Self::close`]; the task's table may be empty then.
    ///
    /// # Errors
    /// When the state can't be read or the keeper can't take it: the job fails.
    pub fn hand_over_state(&mut self, time: CallTime) -> Result<(), Fault> {
        let Some(mut keeper) = self.keeper.take() else { return Ok(()) };
        self.exchange.state.begin(time.now);
        let mut take = |key: &[u8], value: &[u8]| keeper.keep(key, value);
        let kept = self.exchange.state.export(&mut take);
        let kept = kept.and_then(|()| Ok(self.exchange.export_operator_state(&mut take)?));
        kept.and_then(|()| Ok(keeper.finish()?)).map_err(|error| match error {
            ExportError::Spill(error) => self.spill_failed(&error),
            ExportError::Taker(error) => {
                self.located(Fault::new(FaultKind::External, error.to_string()), "writing its state")
            }
        })
    }
}
