//! The two ends of an edge between tasks.
//!
//! One bounded channel per pair of tasks, so that a task can leave one input alone and read another. Nothing here blocks: a full channel is the back-pressure, an empty one is
//! nothing to do. Who makes the other side able to go on wakes it; a sender is only woken when a channel is half empty, so that it does not wake for every batch.
//!
//! Invariants, checked by the receiver in debug builds: watermarks do not fall, the numbers of barriers rise, nothing follows the end.

use std::{collections::VecDeque, time::Duration};

use crossbeam::{
    channel::{Receiver, Sender, TryRecvError, TrySendError, bounded},
    sync::{Parker, Unparker},
};

use crate::{
    dataflow::Router,
    stream::{Batch, CheckpointId, Element, EventTime},
};

/// How many elements a channel holds: enough that both sides work on while one is descheduled, few enough that a barrier or a stop travels fast.
pub const CHANNEL_BATCHES: usize = 16;

/// What a task sleeps on, and what wakes it.
pub fn parker() -> (Parker, Unparker) {
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    (parker, unparker)
}

/// Makes a channel between two tasks.
pub fn channel(sender: Unparker, receiver: Unparker) -> (Outlet, Input) {
    let (send, receive) = bounded(CHANNEL_BATCHES);
    let outlet = Outlet { send, receiver, pending: VecDeque::new() };
    let input = Input { receive, sender, number: 0, ended: None, last_watermark: None, last_barrier: None };
    (outlet, input)
}

/// How an input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its bounded input was read to the end.
    End,
    /// The job is being stopped.
    Stop,
    /// The sender is gone without a word: it failed.
    Gone,
}

/// The receiving end.
pub struct Input {
    receive: Receiver<Element>,
    sender: Unparker,
    /// The input of the operator that its records are for.
    pub(super) number: u32,
    pub(super) ended: Option<Ended>,
    last_watermark: Option<EventTime>,
    last_barrier: Option<CheckpointId>,
}

impl Input {
    /// The same, for the operator's input of this number; without it, for the first one.
    #[must_use]
    pub fn leading_to(self, number: u32) -> Self {
        Self { number, ..self }
    }

    /// The next element, if there is one.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Element> {
        if self.ended.is_some() {
            return None;
        }
        let element = match self.receive.try_recv() {
            Ok(element) => element,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => {
                self.ended = Some(Ended::Gone);
                return None;
            }
        };
        if self.receive.len() <= CHANNEL_BATCHES / 2 {
            self.sender.unpark();
        }
        match &element {
            Element::Batch(batch) => {
                if cfg!(debug_assertions) {
                    batch.assert_consistent();
                }
            }
            Element::Watermark(watermark) => {
                debug_assert!(self.last_watermark <= Some(*watermark), "watermarks do not fall");
                self.last_watermark = Some(*watermark);
            }
            Element::Barrier(id) => {
                debug_assert!(self.last_barrier < Some(*id), "the numbers of barriers rise");
                self.last_barrier = Some(*id);
            }
            Element::End => self.ended = Some(Ended::End),
            Element::Stop => self.ended = Some(Ended::Stop),
        }
        Some(element)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.receive.is_empty()
    }
}

/// The sending end to one task.
pub struct Outlet {
    send: Sender<Element>,
    receiver: Unparker,
    /// What did not fit yet. A task with pending elements takes no input, so this is at most what one input batch gives: each call of an operator is bounded, but a
    /// chain of operators that multiply records makes many calls for one batch.
    pending: VecDeque<Element>,
}

impl Outlet {
    fn push(&mut self, element: Element) {
        if !self.pending.is_empty() {
            self.pending.push_back(element);
            return;
        }
        match self.send.try_send(element) {
            Ok(()) => self.receiver.unpark(),
            Err(TrySendError::Full(element)) => self.pending.push_back(element),
            // The receiver failed; the job is coming down, and what it would have got is of no use.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Sends what fits. Returns whether all is sent.
    fn flush(&mut self) -> bool {
        while let Some(element) = self.pending.pop_front() {
            match self.send.try_send(element) {
                Ok(()) => self.receiver.unpark(),
                Err(TrySendError::Full(element)) => {
                    self.pending.push_front(element);
                    return false;
                }
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        true
    }
}

/// The sending side of an edge: a router and an outlet for each target.
pub struct Edge {
    router: Router,
    outlets: Vec<Outlet>,
    /// Since when the router holds records.
    held_since: Option<Duration>,
}

impl Edge {
    /// An edge whose router knows as many targets as there are outlets.
    pub fn new(router: Router, outlets: Vec<Outlet>) -> Self {
        Self { router, outlets, held_since: None }
    }

    pub(super) fn send(&mut self, batch: Batch, now: Duration) {
        let outlets = &mut self.outlets;
        self.router.route(batch, |target, batch| outlets[target].push(Element::Batch(batch)));
        self.held_since = self.router.holds_records().then(|| self.held_since.unwrap_or(now));
    }

    /// When gathered records are due to leave, if there are any.
    pub(super) fn due(&self, timeout: Duration) -> Option<Duration> {
        self.held_since.map(|since| since + timeout)
    }

    pub(super) fn flush_gathered(&mut self) {
        let outlets = &mut self.outlets;
        self.router.flush(|target, batch| outlets[target].push(Element::Batch(batch)));
        self.held_since = None;
    }

    /// Sends a mark to every target, behind everything gathered.
    pub(super) fn broadcast(&mut self, mark: &Element) {
        self.flush_gathered();
        for outlet in &mut self.outlets {
            outlet.push(mark.clone());
        }
    }

    /// Sends what was pending and fits. Returns whether all is sent.
    pub(super) fn flush_pending(&mut self) -> bool {
        // Every outlet is flushed, whatever came of the others.
        self.outlets.iter_mut().filter_map(|outlet| (!outlet.flush()).then_some(())).count() == 0
    }
}
