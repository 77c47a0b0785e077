//! The loop around an operator: takes a batch apart, calls the author's code for each record, undoes what failed, and hands everything over before the call returns.
//!
//! It trusts nothing that the host delivers: columns that contradict themselves, slots that nobody told of and states that do not exist end the call with
//! `invalid-input`. After a call that ended with an error the instance is dead, because its decoded values may differ from the host's.

use std::marker::PhantomData;
use std::rc::Rc;

use crate::any_state::AnyState;
use crate::bytes::Strings;
use crate::codec::Decode;
use crate::context::{Context, NO_SLOT};
use crate::declaration::Declaration;
use crate::descriptor::{StateDescriptor, has_key};
use crate::host::Host;
use crate::input::{First, InputKind, Inputs, OtherInput};
use crate::keys::{Key, KeyTable};
use crate::metrics::Metrics;
use crate::namespace::Namespace;
use crate::operator::{OpenContext, Operator};
use crate::output::{Output, Outputs};
use crate::result::message;
use crate::rewrite::{Rewriter, rewrite};
use crate::wire::{Batch, BytesColumn, Error, Failure, Keys, TaskInfo};
use crate::{panics, wire};

/// An operator and all that its instance remembers. `I` are its inputs besides the first.
pub struct Runner<O: Operator, I = ()> {
    operator: O,
    memory: Memory,
    dead: bool,
    inputs: PhantomData<fn() -> I>,
}

/// What an instance remembers.
pub struct Memory {
    task: TaskInfo,
    states: Vec<Rc<dyn AnyState>>,
    descriptors: Vec<StateDescriptor>,
    rewriters: Vec<Rewriter>,
    keys: KeyTable,
    namespace: Namespace,
    outputs: Outputs,
    metrics: Metrics,
    /// Counts records, from 1.
    record: u64,
}

/// What the records of a call share.
struct Call<'b> {
    /// Empty: records have no key.
    slots: &'b [u32],
    /// Empty: records have no event time.
    times: &'b [i64],
    count: usize,
    /// How many slots came as fresh.
    fresh: usize,
    watermark: Option<i64>,
    now: i64,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::InvalidInput(text.into())
}

impl<O: Operator, I: Inputs<O>> Runner<O, I> {
    /// Makes and opens an instance.
    ///
    /// # Errors
    /// What the operator's `open` returns, and when the host does not give it its lists.
    pub fn open(config: &str, task: TaskInfo, host: &dyn Host) -> Result<Self, Error> {
        let (mut operator, Declaration { descriptors, states, rewriters }) = Declaration::of::<O>();
        if descriptors.iter().any(|state| state.kind.is_keyed()) && !has_key::<O::Key<'_>>() {
            return Err(Error::State("an operator with keyed state needs a key: its `Key` is ()".to_owned()));
        }
        states.iter().try_for_each(|state| state.open(host))?;
        operator.open(&OpenContext { config, task: &task }).map_err(|error| Error::Other(message(&error)))?;
        let outputs = Outputs::new(<O::Output<'_> as Output>::KIND, task.batch_records, task.batch_bytes);
        let memory = Memory {
            task,
            states,
            descriptors,
            rewriters,
            keys: KeyTable::default(),
            namespace: Namespace::default(),
            outputs,
            metrics: Metrics::default(),
            record: 0,
        };
        Ok(Self { operator, memory, dead: false, inputs: PhantomData })
    }

    /// Processes the records of one batch.
    ///
    /// # Errors
    /// When the batch contradicts itself, or the host refuses what it is handed.
    pub fn process(&mut self, batch: &Batch, host: &dyn Host) -> Result<Vec<Failure>, Error> {
        self.alive(|Self { operator, memory, .. }| match batch.input.checked_sub(1) {
            None => memory.process::<First<O>>(operator, batch, host),
            Some(other) => I::process(other, operator, memory, batch, host),
        })
    }

    /// Visits keys at the end of a bounded input, at the processing time `now`.
    ///
    /// # Errors
    /// As [`Runner::process`].
    pub fn on_end(&mut self, keys: &Keys, slots: &[u32], now: i64, host: &dyn Host) -> Result<Vec<Failure>, Error> {
        self.alive(|Self { operator, memory, .. }| {
            let call = Call { slots, times: &[], count: slots.len(), fresh: keys.fresh.len(), watermark: None, now };
            let kind = <First<O> as OtherInput>::KIND;
            call.check(kind)?;
            memory.learn::<O>(keys, slots)?;
            memory.run(&call, kind, host, |_, ctx| operator.on_end(ctx))
        })
    }

    /// Turns values of a former schema version of a state into the current one. Changes nothing, and the instance lives on after an error.
    ///
    /// # Errors
    /// When there is no such state or no function for this version, and when a value can't be migrated.
    pub fn migrate(&self, state: u32, from_version: u16, values: &BytesColumn) -> Result<BytesColumn, Error> {
        rewrite(&self.memory.rewriters, &self.memory.descriptors, (state, from_version), values)
    }

    /// Runs `call`, and is dead after an error.
    fn alive<T>(&mut self, call: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if std::mem::replace(&mut self.dead, true) {
            return Err(Error::Other("the instance had an error before and must not be called again".to_owned()));
        }
        let result = call(self)?;
        self.dead = false;
        Ok(result)
    }
}

impl Call<'_> {
    fn check(&self, kind: InputKind) -> Result<(), Error> {
        let Self { slots, times, count, .. } = self;
        match (kind == InputKind::Keyed, slots.len()) {
            (true, slots) if slots != *count => Err(invalid(format!("{count} records have {slots} slots"))),
            (false, slots) if slots != 0 => Err(invalid(format!("the input has no key, and {slots} slots"))),
            _ if !times.is_empty() && times.len() != *count => {
                Err(invalid(format!("{count} records have {} timestamps", times.len())))
            }
            _ => Ok(()),
        }
    }
}

/// From so many slots on, keys and values don't stay in the cache by themselves.
const TOUCH_FROM: usize = 1 << 14;
/// For so many records they do.
const TOUCH: usize = 256;

/// Reads the keys and values of the records to come, all at once, so that the processor waits for memory once and not for each (wasm has no prefetch instruction). Measured
/// on a sum by a million keys: 95 ns a record without it, 62 with it.
#[inline(never)]
fn touch(slots: &[u32], keys: &KeyTable, states: &[Rc<dyn AnyState>]) {
    let seen = states.iter().fold(keys.touch(slots), |seen, state| seen ^ state.touch(slots));
    std::hint::black_box(seen);
}

// Takes numbers and no references, for which they would have to lie in memory.
#[cold]
#[inline(never)]
fn unknown_slot(index: usize, slot: u32) -> Error {
    invalid(format!("record {index} has slot {slot}, which stands for no key"))
}

/// Undoes what a record wrote, and reports it.
#[cold]
#[inline(never)]
fn fail(states: &[Rc<dyn AnyState>], slot: u32, record: u64, index: u32, error: &crate::Error) -> Failure {
    states.iter().for_each(|state| state.undo(slot, record));
    Failure { index, message: message(error) }
}

impl Memory {
    /// Processes the records of a batch of the input `A`.
    #[inline]
    pub(crate) fn process<A: OtherInput>(
        &mut self,
        operator: &mut A::Operator,
        batch: &Batch,
        host: &dyn Host,
    ) -> Result<Vec<Failure>, Error> {
        const {
            let has_key = has_key::<<A::Operator as Operator>::Key<'_>>();
            assert!(
                has_key || !matches!(A::KIND, InputKind::Keyed),
                "an input has a key, but the operator's Key is ()"
            );
        }
        let values = Strings::of("values", &batch.values)?;
        let call = Call {
            slots: &batch.slots,
            times: &batch.timestamps,
            count: values.len(),
            fresh: batch.keys.fresh.len(),
            watermark: batch.watermark,
            now: batch.now,
        };
        call.check(A::KIND)?;
        self.learn::<A::Operator>(&batch.keys, &batch.slots)?;
        // The whole column is checked at once; where that fails, each record for itself, so that only bad ones fail.
        let empty = <A::Value<'_> as Decode<'_>>::EMPTY && values.are_empty();
        let checked = <A::Value<'_> as Decode<'_>>::TEXT && values.is_text();
        // One call of `process` and not one for each case, so that it is inlined.
        self.run(&call, A::KIND, host, |index, ctx| {
            let value = if empty {
                <A::Value<'_> as Decode<'_>>::decode(&[])?
            } else if checked {
                // SAFETY: where the value is text, the column was checked as a whole, and so this string of it.
                unsafe { <A::Value<'_> as Decode<'_>>::decode_checked(values.get(index)) }?
            } else {
                let (bytes, length) = values.get_with_rest(index);
                <A::Value<'_> as Decode<'_>>::decode_first(bytes, length)?
            };
            A::process(operator, value, ctx)
        })
    }

    /// Takes in what changed among the slots. `slots` are those of the call.
    fn learn<O: Operator>(&mut self, keys: &Keys, slots: &[u32]) -> Result<(), Error> {
        let Keys { released, fresh, fresh_keys, prefetched } = keys;
        let fresh_keys = Strings::of("fresh keys", fresh_keys)?;
        for &slot in released {
            self.keys.release(slot)?;
            self.states.iter().for_each(|state| state.release(slot));
        }
        if let Some(wrong) = prefetched.iter().find(|one| one.state as usize >= self.states.len()) {
            return Err(invalid(format!("there is no state {}", wrong.state)));
        }
        self.keys.insert::<O::Key<'_>>(fresh, fresh_keys)?;
        for (index, state) in self.states.iter().enumerate() {
            state.resize(self.keys.len());
            let index = index as u32;
            match prefetched.iter().position(|one| one.state == index) {
                // As a rule there is one entry for each state.
                Some(first) if prefetched[first + 1..].iter().all(|one| one.state != index) => {
                    state.deliver(slots, fresh, &prefetched[first..=first])?
                }
                Some(_) => {
                    let all: Vec<wire::Prefetched> =
                        prefetched.iter().filter(|one| one.state == index).cloned().collect();
                    state.deliver(slots, fresh, &all)?;
                }
                None => state.deliver(slots, fresh, &[])?,
            }
        }
        Ok(())
    }

    /// Calls `each` for every record, then hands over what there is.
    #[inline(always)]
    fn run<'b, O: Operator>(
        &'b mut self,
        call: &Call<'b>,
        kind: InputKind,
        host: &'b dyn Host,
        mut each: impl FnMut(usize, &mut Context<'b, O>) -> crate::Result<()>,
    ) -> Result<Vec<Failure>, Error> {
        let Self { task, states, keys, namespace, outputs, metrics, record, .. } = self;
        namespace.begin();
        outputs.begin(!call.times.is_empty());
        let (times, watermark, now) = (call.times, call.watermark, call.now);
        let keys: &'b KeyTable = keys;
        let mut ctx = Context::<O> {
            key: &[],
            slot: NO_SLOT,
            index: 0,
            record: *record,
            times,
            watermark,
            now,
            outputs,
            metrics,
            task,
            host,
            namespace,
            is_broadcast: kind == InputKind::Broadcast,
            operator: PhantomData,
        };
        let mut failures = Vec::new();
        let keyed = kind == InputKind::Keyed;
        // What came as fresh was just written.
        let touches = keyed && keys.len() >= TOUCH_FROM && 2 * call.fresh < call.count;
        let mut start = 0;
        while start < call.count {
            let stop = call.count.min(start + TOUCH);
            if touches {
                touch(&call.slots[start..stop], keys, states);
            }
            for index in start..stop {
                ctx.index = index as u32;
                ctx.record += 1;
                let mut key_is_good = true;
                if keyed {
                    ctx.slot = call.slots[index];
                    match keys.get(ctx.slot) {
                        Key::Known(key) => ctx.key = key,
                        Key::Bad => key_is_good = false,
                        Key::Unknown => return Err(unknown_slot(index, ctx.slot)),
                    }
                }
                panics::at(ctx.index);
                let before = ctx.outputs.records();
                let result =
                    if key_is_good { each(index, &mut ctx) } else { Err("the key's bytes do not decode".into()) };
                if let Err(error) = result {
                    ctx.outputs.truncate(before);
                    // Not the context's, which a namespace hides.
                    let slot = call.slots.get(index).copied().unwrap_or(NO_SLOT);
                    failures.push(fail(states, slot, ctx.record, ctx.index, &error));
                }
                // Only between records: what was handed over can't be undone.
                if ctx.outputs.is_full() {
                    ctx.outputs.flush(ctx.host)?;
                }
            }
            start = stop;
        }
        panics::at(panics::NO_RECORD);
        *record = ctx.record;
        ctx.outputs.flush(ctx.host)?;
        states.iter().try_for_each(|state| state.flush(ctx.host))?;
        ctx.metrics.flush(ctx.host);
        Ok(failures)
    }
}

#[cfg(test)]
mod answers;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod tests;
