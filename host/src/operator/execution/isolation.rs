//! Batches in parts: what becomes of a batch with a record that makes calls fail, of operators that are slow, and of those that fail too often.

use super::{Execution, Export, FaultPolicy};
use crate::{
    operator::{CallTime, DeadLetter, LogLevel, stage_error::shortened},
    stream::{Batch, EventTime, Fault, FaultKind},
};

/// After so many good calls, an operator whose batches were made smaller is given twice as large ones again.
const CALLS_BEFORE_LARGER_BATCHES: u32 = 64;

impl Execution {
    pub(super) fn run_in_parts(
        &mut self,
        export: Export,
        batch: &Batch,
        time: CallTime,
        out: &mut Vec<Batch>,
        dead: &mut Batch,
    ) -> Result<(), Fault> {
        let mut parts = Vec::new();
        push_pieces(&mut parts, 0, batch.len(), self.records_max);
        while let Some((from, to)) = parts.pop() {
            let result = if to - from == batch.len() {
                self.run(export, batch, time, out)
            } else {
                self.run(export, &batch.slice(from, to), time, out)
            };
            match result {
                Ok(failures) => {
                    for failure in failures {
                        let fault = Fault {
                            index: Some(failure.index),
                            ..Fault::new(FaultKind::FailedRecord, shortened(&failure.message))
                        };
                        self.counters.faults.add(1);
                        self.give_up(export, batch, from + failure.index as usize, fault, dead)?;
                    }
                    self.count_good_call();
                }
                Err(fault) if !fault.kind.is_guest() => return Err(fault),
                Err(fault) => {
                    self.counters.faults.add(1);
                    self.replace_instance(time)?;
                    let index =
                        fault.index.map(|index| from + index as usize).filter(|index| (from..to).contains(index));
                    if to - from == 1 {
                        self.count_fault(time, &fault)?;
                        // It was this record, not the size of the batch.
                        self.records_max = self.info.batch.records;
                        self.give_up(export, batch, from, fault, dead)?;
                    } else if fault.kind.is_limit() {
                        self.count_fault(time, &fault)?;
                        self.records_max = (to - from).div_ceil(2);
                        self.good_calls = 0;
                        let text = format!("{fault}; going on with batches of {} records", self.records_max);
                        self.exchange.log(LogLevel::Warn, "fault", &text);
                        push_pieces(&mut parts, from, to, self.records_max);
                    } else if self.policy == FaultPolicy::Fail {
                        return Err(self.blame(fault, export, batch, (from, to), index, time)?);
                    } else {
                        self.count_fault(time, &fault)?;
                        match index {
                            Some(index) => parts.extend(
                                [(index + 1, to), (index, index + 1), (from, index)]
                                    .into_iter()
                                    .filter(|(from, to)| from < to),
                            ),
                            None => push_pieces(&mut parts, from, to, (to - from).div_ceil(2)),
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn give_up(
        &mut self,
        export: Export,
        batch: &Batch,
        index: usize,
        fault: Fault,
        dead: &mut Batch,
    ) -> Result<(), Fault> {
        let place = self.place(export, batch, index);
        if self.policy == FaultPolicy::Fail {
            return Err(self.located(fault, &place));
        }
        self.counters.poisoned.add(1);
        self.exchange.log(LogLevel::Warn, "fault", &format!("gave up {place}: {fault}"));
        if self.policy == FaultPolicy::DeadLetter {
            let input = self.input_shown(export);
            let letter = DeadLetter::new(&self.info, &fault, batch, index, input.schemas(), self.name_shown(export));
            dead.values.push(&letter.to_json());
        }
        Ok(())
    }

    fn count_good_call(&mut self) {
        if self.records_max < self.info.batch.records {
            self.good_calls += 1;
            if self.good_calls >= CALLS_BEFORE_LARGER_BATCHES {
                self.good_calls = 0;
                self.records_max = (self.records_max * 2).min(self.info.batch.records);
            }
        }
    }

    fn count_fault(&mut self, time: CallTime, fault: &Fault) -> Result<(), Fault> {
        if self.rate.count(time.now) {
            return Ok(());
        }
        let text = format!(
            "more than {} faults in a minute (limits.faults-per-minute); the last one: {}",
            self.rate.per_minute, fault.message
        );
        Err(self.located(Fault { message: text, ..fault.clone() }, "giving up"))
    }
}

/// Pushes `from..to` in pieces of at most `most`, so that popping gives them in order.
fn push_pieces(parts: &mut Vec<(usize, usize)>, from: usize, to: usize, most: usize) {
    let pieces = (from..to).step_by(most.max(1)).map(|start| (start, (start + most.max(1)).min(to)));
    parts.extend(pieces.rev());
}

/// Counts faults by minutes of processing time.
pub(super) struct FaultRate {
    per_minute: u32,
    minute: i64,
    count: u32,
}

impl FaultRate {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute, minute: i64::MIN, count: 0 }
    }

    /// Whether the rate still holds with this fault.
    fn count(&mut self, now: EventTime) -> bool {
        let minute = now.0.div_euclid(60_000);
        if minute != self.minute {
            (self.minute, self.count) = (minute, 0);
        }
        self.count += 1;
        self.count <= self.per_minute
    }
}
