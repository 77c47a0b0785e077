//! How a task ends: at the end of its input, or when the job is stopped.

use std::{sync::atomic::Ordering, time::Instant};

use super::{NodeKind, Phase, Progress, Task, external};
use crate::{
    connector::{ConnectorError, SinkWriter},
    operator::CallTime,
    stream::{Batch, Element, EventTime, Fault},
};

impl Task {
    /// The last watermark goes through before the end: nothing comes after it.
    pub(super) fn end_of_input(&mut self) -> Result<(), Fault> {
        for input in 0..self.inputs() {
            self.watermark.advance(input, EventTime::MAX);
        }
        self.broadcast(&Element::Watermark(EventTime::MAX));
        self.ended = true;
        self.phase = Phase::Ending(0);
        Ok(())
    }

    /// The job is being stopped. Where it is drained, the last watermark goes through first.
    pub(super) fn begin_stopping(&mut self) {
        if self.control.drain.load(Ordering::Acquire) {
            for input in 0..self.inputs() {
                self.watermark.advance(input, EventTime::MAX);
            }
            self.broadcast(&Element::Watermark(EventTime::MAX));
        }
        self.phase = Phase::Stopping(0);
    }

    pub(super) fn step_ending(&mut self, index: usize) -> Result<Progress, Fault> {
        let time = self.time();
        let Some(node) = self.nodes.get_mut(index) else {
            self.broadcast(&Element::End);
            self.phase = Phase::Leaving;
            return Ok(Progress::Worked);
        };
        match &mut node.kind {
            NodeKind::Source => {}
            NodeKind::Operator(execution) => {
                let began = Instant::now();
                let (mut out, mut dead) = (Vec::new(), Batch::new(false));
                let more = execution.on_end(time, &mut out, &mut dead)?;
                node.counters.busy_ns.add_time(began.elapsed());
                self.give_results(index, &mut out, dead)?;
                if more {
                    return Ok(Progress::Worked);
                }
                self.close(index, time)?;
            }
            NodeKind::Sink(writer) if self.checkpoints.is_none() => finish(&node.id, writer)?,
            // What it has taken is part of the last checkpoint.
            NodeKind::Sink(_) => {}
        }
        self.phase = Phase::Ending(index + 1);
        Ok(Progress::Worked)
    }

    pub(super) fn step_stopping(&mut self, index: usize) -> Result<Progress, Fault> {
        let time = self.time();
        let Some(node) = self.nodes.get_mut(index) else {
            self.broadcast(&Element::Stop);
            self.phase = Phase::Leaving;
            return Ok(Progress::Worked);
        };
        match &mut node.kind {
            NodeKind::Source => {}
            NodeKind::Operator(_) => self.close(index, time)?,
            NodeKind::Sink(writer) if self.checkpoints.is_none() => finish(&node.id, writer)?,
            NodeKind::Sink(_) => {}
        }
        self.phase = Phase::Stopping(index + 1);
        Ok(Progress::Worked)
    }

    fn close(&mut self, index: usize, time: CallTime) -> Result<(), Fault> {
        let node = &mut self.nodes[index];
        let NodeKind::Operator(execution) = &mut node.kind else { return Ok(()) };
        execution.close(time)?;
        if self.checkpoints.is_none() { self.hand_over_state(index, time) } else { Ok(()) }
    }

    /// Everything is done for good: whoever wants the state of an operator gets it.
    pub(super) fn hand_over_states(&mut self) -> Result<(), Fault> {
        let time = self.time();
        (0..self.nodes.len()).try_for_each(|index| self.hand_over_state(index, time))
    }

    fn hand_over_state(&mut self, index: usize, time: CallTime) -> Result<(), Fault> {
        let node = &mut self.nodes[index];
        let NodeKind::Operator(execution) = &mut node.kind else { return Ok(()) };
        let (keys, bytes) = execution.state_size();
        let spilled = execution.spilled();
        node.counters.named.counter("state-keys").set(keys as u64);
        node.counters.named.counter("state-bytes").set(bytes as u64);
        node.counters.named.counter("state-evicted").set(spilled.entries);
        node.counters.named.counter("state-disk-bytes").set(spilled.disk_bytes);
        execution.hand_over_state(time)
    }
}

pub(super) fn finish(id: &str, writer: &mut Option<Box<dyn SinkWriter>>) -> Result<(), Fault> {
    match writer.take().map(SinkWriter::finish) {
        None | Some(Ok(()) | Err(ConnectorError::Closed)) => Ok(()),
        Some(Err(error)) => Err(external(id, &error)),
    }
}
