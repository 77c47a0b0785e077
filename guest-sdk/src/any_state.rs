//! What the runner does with a state, whatever its kind and type.

use crate::host::Host;
use crate::ttl::Refresh;
use crate::wire::{Error as Fault, Prefetched};

pub(crate) trait AnyState {
    fn set_version(&self, version: u16);

    /// Values expire: what a call was told about them does not hold for the next one.
    fn set_ttl(&self, refresh: Refresh) {
        let _ = refresh;
    }

    /// The instance is opened.
    fn open(&self, host: &dyn Host) -> Result<(), Fault> {
        let _ = host;
        Ok(())
    }

    /// From now on slots are smaller than `slots`.
    fn resize(&self, slots: usize) {
        let _ = slots;
    }

    /// The slot stands for nothing any more.
    fn release(&self, slot: u32) {
        let _ = slot;
    }

    /// Fresh slots hold what was delivered for them, and nothing else. `slots` are those of the call.
    fn deliver(&self, slots: &[u32], fresh: &[u32], delivered: &[Prefetched]) -> Result<(), Fault> {
        let _ = slots;
        if let Some(Prefetched { state, .. }) = delivered.first() {
            return Err(Fault::InvalidInput(format!("state {state} is delivered, but does not ask for it")));
        }
        fresh.iter().for_each(|slot| self.release(*slot));
        Ok(())
    }

    /// Reads what belongs to these slots, to have it in the cache. The result means nothing.
    fn touch(&self, slots: &[u32]) -> u32 {
        let _ = slots;
        0
    }

    /// Undoes what `record` wrote, whose key has this slot.
    fn undo(&self, slot: u32, record: u64);

    /// Hands all changes over: the call ends.
    fn flush(&self, host: &dyn Host) -> Result<(), Fault>;
}
