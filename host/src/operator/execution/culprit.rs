//! Finds the record on which a batch faults, for a message that names it. Nothing that is tried here is applied.

use super::{Execution, Export};
use crate::{
    operator::CallTime,
    stream::{Batch, Fault},
};

impl Execution {
    /// The fault that fails the job, with its place: the record, if the guest named one or trying shows one.
    pub(super) fn blame(
        &mut self,
        fault: Fault,
        export: Export,
        batch: &Batch,
        (from, to): (usize, usize),
        index: Option<usize>,
        time: CallTime,
    ) -> Result<Fault, Fault> {
        let culprit = match index {
            Some(index) => Some(index),
            None => self.find_culprit(export, batch, (from, to), time)?,
        };
        let place = match culprit {
            Some(index) => self.place(export, batch, index),
            None => format!("in a batch of {} records, none of which faults alone", to - from),
        };
        Ok(self.located(fault, &place))
    }

    /// Halves the range as long as it takes, about ten calls. State that earlier records of the range would have written is missing, so the culprit may stay
    /// hidden.
    fn find_culprit(
        &mut self,
        export: Export,
        batch: &Batch,
        (mut from, mut to): (usize, usize),
        time: CallTime,
    ) -> Result<Option<usize>, Fault> {
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            if self.faults(export, &batch.slice(from, middle), time)? {
                to = middle;
            } else {
                from = middle;
            }
        }
        Ok(self.faults(export, &batch.slice(from, to), time)?.then_some(from))
    }

    fn faults(&mut self, export: Export, part: &Batch, time: CallTime) -> Result<bool, Fault> {
        let called = self.call(export, part, time);
        if let Err(fault) = &called
            && !fault.kind.is_guest()
        {
            return Err(fault.clone());
        }
        let faults = called.is_err();
        // What the instance remembers of this call was never applied.
        self.replace_instance(time)?;
        Ok(faults)
    }
}
