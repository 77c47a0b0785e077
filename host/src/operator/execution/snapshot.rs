//! Snapshots of an operator's task, and the way back.
//!
//! At a barrier, between two calls, the operator state is copied and the snapshot of the keyed state begins; that is copied further after each call. When all of it was handed over, the rest
//! is done where pieces are written: operator state, and the word that the snapshot is whole.

use std::sync::Arc;

use super::{Exchanged, Execution};
use crate::{
    operator::{CallTime, Phase},
    state::{Known, RestoreBatch, RestoreError, StoredBytes, StoredKey, WritePieces},
    stream::{CheckpointId, Fault, FaultKind, key_group},
};

/// Who keeps the snapshots of one task of an operator.
pub trait KeepSnapshots: WritePieces {
    /// The pieces up to `taken.epoch` were written: writes the rest. Called where pieces are written, and as they are. False: that can't be, or nobody wants it any more.
    fn complete(&self, taken: TakenSnapshot) -> bool;
}

/// What a snapshot has beside pieces of keyed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenSnapshot {
    /// For which checkpoint it was taken.
    pub checkpoint: CheckpointId,
    /// The pieces up to this epoch belong to it.
    pub epoch: u64,
    /// Stored keys and values of the operator state, in ascending order.
    pub operator_state: Vec<(Vec<u8>, Vec<u8>)>,
    /// The index of the next list element.
    pub list_elements: u64,
}

/// What a task begins with.
#[derive(Default)]
pub struct Restored {
    /// Stored keys and values of the operator state, in ascending order.
    pub operator_state: Vec<(Vec<u8>, Vec<u8>)>,
    /// The index of the next list element.
    pub list_elements: u64,
    /// Key groups whose keys the end of the input has visited.
    pub visited: Vec<std::ops::Range<u32>>,
    /// The keyed state; none: there is none.
    pub keyed: Option<Box<dyn RestoreKeyed>>,
    /// The ids of states of which nothing is taken back.
    pub dropped: Vec<u16>,
    /// The next snapshot may refer to what this one has; else it has everything itself.
    pub is_known: bool,
}

/// Hands over the keyed state of a task.
pub trait RestoreKeyed: Send {
    /// About how many entries there are.
    fn entries(&self) -> u64;

    /// Hands every stored key and value to `put`, in ascending order, until it answers with a fault.
    ///
    /// # Errors
    /// That fault, or an external one when the state can't be read.
    fn restore(self: Box<Self>, put: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), Fault>) -> Result<(), Fault>;
}

/// A snapshot that is being copied.
pub(super) struct Copying {
    taken: TakenSnapshot,
    then: Box<dyn FnOnce() + Send>,
}

impl Execution {
    /// A barrier. Runs `then` when the snapshot was kept, in the place where it is written; drops it when that will never be. Behind the snapshot another version takes over that has waited for this
    /// barrier.
    ///
    /// # Errors
    /// A fault of the guest, or no thread for writing: the job fails.
    pub fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        time: CallTime,
        then: Box<dyn FnOnce() + Send>,
    ) -> Result<Exchanged, Fault> {
        self.take_snapshot(checkpoint, time, then)?;
        self.succeed(checkpoint, time)
    }

    fn take_snapshot(
        &mut self,
        checkpoint: CheckpointId,
        time: CallTime,
        then: Box<dyn FnOnce() + Send>,
    ) -> Result<(), Fault> {
        self.write_out(time)?;
        if self.snapshots.is_none() {
            // It has no state.
            then();
            return Ok(());
        }
        let mut operator_state = Vec::new();
        let exported = self.exchange.export_operator_state(&mut |key, value| {
            operator_state.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        exported.map_err(|error| self.located(Fault::new(FaultKind::HostBug, error.to_string()), "in snapshot"))?;
        // A snapshot that is still being copied, of a checkpoint that was given up, is copied to its end by this.
        let epoch = self.exchange.state.begin_snapshot();
        self.finish_copied()?;
        let list_elements = self.exchange.state.next_element();
        let taken = TakenSnapshot { checkpoint, epoch, operator_state, list_elements };
        self.copying = Some(Copying { taken, then });
        self.finish_copied_now()
    }

    /// Lets the operator write out operator state, if it asks for that and can still be called.
    pub(super) fn write_out(&mut self, time: CallTime) -> Result<(), Fault> {
        if !self.plugin.descriptor().hooks.snapshot || self.closed {
            return Ok(());
        }
        self.exchange.begin(Phase::Snapshot, false);
        let called = self.instance.snapshot(time, &mut self.exchange);
        let called = called.and_then(|()| self.exchange.verdict().map_or(Ok(()), Err));
        called.map_err(|fault| self.located(fault, "in snapshot"))?;
        self.exchange.apply_operator_state();
        Ok(())
    }

    /// Copies a little of a snapshot. Returns whether one is being copied.
    ///
    /// # Errors
    /// When there is no thread for writing: the job fails.
    pub fn copy_some(&mut self) -> Result<bool, Fault> {
        if self.copying.is_none() {
            return Ok(false);
        }
        self.exchange.state.copy_some();
        self.finish_copied_now()?;
        Ok(self.copying.is_some())
    }

    /// Hands over what is left of a snapshot of which everything was copied.
    pub(super) fn finish_copied_now(&mut self) -> Result<(), Fault> {
        if self.copying.is_some() && !self.exchange.state.is_copying() { self.finish_copied() } else { Ok(()) }
    }

    fn finish_copied(&mut self) -> Result<(), Fault> {
        let (Some(Copying { taken, then }), Some(keeper)) = (self.copying.take(), &self.snapshots) else {
            return Ok(());
        };
        let keeper = Arc::clone(keeper);
        let work = move || {
            if keeper.complete(taken) {
                then();
            }
        };
        self.exchange.state.after_pieces(Box::new(work)).map_err(|error| {
            let text = format!("there is no thread that writes its snapshots: {error}");
            self.located(Fault::new(FaultKind::External, text), "in snapshot")
        })
    }

    /// Whether there is keyed state that the task begins with and has not taken back yet.
    pub fn has_state_to_restore(&self) -> bool {
        self.restored.keyed.is_some()
    }

    /// Takes back the keyed state that the task begins with. To be called before the first batch; takes as long as there is state.
    ///
    /// # Errors
    /// When it can't be read, or is not what this operator keeps: the job fails.
    pub fn restore_keyed_state(&mut self, time: CallTime) -> Result<(), Fault> {
        let Some(keyed) = self.restored.keyed.take() else { return Ok(()) };
        let state = &mut self.exchange.state;
        state.begin(time.now);
        let dropped = std::mem::take(&mut self.restored.dropped);
        let is_dropped =
            |key: &[u8]| !dropped.is_empty() && StoredKey::decode(key).is_ok_and(|key| dropped.contains(&key.state));
        let known = if self.restored.is_known { Known::Yes } else { Known::No };
        state.expect(keyed.entries());
        let refused = |error: RestoreError| match &error {
            RestoreError::Spill(failed) => Fault::new(failed.fault_kind(), error.to_string()),
            RestoreError::Stored(_) | RestoreError::State(_) => Fault::new(FaultKind::Unfit, error.to_string()),
        };
        let mut batch = RestoreBatch::default();
        let restored = keyed.restore(&mut |key, value| {
            if is_dropped(key) {
                return Ok(());
            }
            batch.push(key, value);
            if batch.is_full() { state.restore_batch(&mut batch, known).map_err(refused) } else { Ok(()) }
        });
        let restored = restored.and_then(|()| state.restore_batch(&mut batch, known).map_err(refused));
        state.raise_next_element(self.restored.list_elements);
        restored.map_err(|fault| self.located(fault, "restoring its state"))
    }

    /// Whether the end of the input has visited the keys of this group before the task was restored.
    pub(super) fn was_visited(&self, key: crate::stream::KeyHash) -> bool {
        let group = key_group(key, self.info.max_parallelism);
        self.restored.visited.iter().any(|groups| groups.contains(&group))
    }
}

/// Takes back operator state, before the instance is opened.
pub(super) fn restore_operator_state(
    exchange: &mut crate::operator::Exchange,
    entries: &[(Vec<u8>, Vec<u8>)],
) -> Result<(), String> {
    for (key, value) in entries {
        let (key, stored) =
            StoredKey::decode(key).and_then(|key| Ok((key, StoredBytes::decode(value)?))).map_err(|e| e.to_string())?;
        if !exchange.restore_operator_state(key.state, key.entry, &stored) {
            return Err(format!("an entry belongs to state {}, which is none of this operator's own", key.state));
        }
    }
    Ok(())
}
