//! What the SDK's core asks of its host: the wasm imports in a component, a table of bytes in the test harness.
//!
//! What nearly every operator needs is in [`Host`]. The rest are the functions of [`seldom`]: in a component they are called directly and not through a table of functions,
//! so that a component imports only what its operator uses.

#[cfg(not(target_arch = "wasm32"))]
use crate::wire::Page;
use crate::wire::{BytesColumn, Cells, Error, EventTime, StoredColumn};

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author, in great detail.
    Trace,
    /// For the author.
    Debug,
    /// For whoever runs the job.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something went wrong.
    Error,
}

/// The imports that the core uses, with borrowed columns.
pub trait Host {
    /// `keyed-state.put-many`.
    fn put_many(&self, state: u32, cells: &Cells, values: &StoredColumn) -> Result<(), Error>;
    /// `output.emit`.
    fn emit(&self, output: u32, src: &[u32], values: &BytesColumn, timestamps: &[EventTime]) -> Result<(), Error>;
    /// `output.emit-keyed`.
    fn emit_keyed(
        &self,
        output: u32,
        keys: &BytesColumn,
        values: &BytesColumn,
        timestamps: &[EventTime],
    ) -> Result<(), Error>;
    /// `logging.log`.
    fn log(&self, level: Level, message: &str);
    /// `metrics.count`.
    fn count(&self, name: &str, delta: u64);
    /// `metrics.gauge`.
    fn gauge(&self, name: &str, value: f64);
    /// What stands for the functions of `seldom` outside of a component.
    #[cfg(not(target_arch = "wasm32"))]
    fn seldom(&self) -> &dyn Seldom;
}

/// The imports that only some operators use.
#[cfg(not(target_arch = "wasm32"))]
pub trait Seldom {
    /// `keyed-state.get-many`.
    fn get_many(&self, state: u32, cells: &Cells) -> Result<StoredColumn, Error>;
    /// `keyed-state.append-many`.
    fn append_many(&self, state: u32, cells: &Cells, values: &BytesColumn) -> Result<(), Error>;
    /// `keyed-state.clear-many`.
    fn clear_many(&self, state: u32, cells: &Cells) -> Result<(), Error>;
    /// `keyed-state.read`.
    fn read(&self, state: u32, slot: u32, namespace: &[u8], from: Option<&[u8]>, bytes: u32) -> Result<Page, Error>;
    /// `operator-state.get-list`.
    fn get_list(&self, state: u32) -> Result<StoredColumn, Error>;
    /// `operator-state.set-list`.
    fn set_list(&self, state: u32, values: &BytesColumn) -> Result<(), Error>;
    /// `operator-state.put-broadcast`.
    fn put_broadcast(&self, state: u32, map_keys: &BytesColumn, values: &StoredColumn) -> Result<(), Error>;
    /// `operator-state.read-broadcast`.
    fn read_broadcast(&self, state: u32, from: Option<&[u8]>, bytes: u32) -> Result<Page, Error>;
}

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::guest::seldom;

/// The functions of [`Seldom`], under the names that they have in a component.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod seldom {
    use super::{BytesColumn, Cells, Error, Host, Page, StoredColumn};

    pub(crate) fn get_many(host: &dyn Host, state: u32, cells: &Cells) -> Result<StoredColumn, Error> {
        host.seldom().get_many(state, cells)
    }

    pub(crate) fn append_many(host: &dyn Host, state: u32, cells: &Cells, values: &BytesColumn) -> Result<(), Error> {
        host.seldom().append_many(state, cells, values)
    }

    pub(crate) fn clear_many(host: &dyn Host, state: u32, cells: &Cells) -> Result<(), Error> {
        host.seldom().clear_many(state, cells)
    }

    pub(crate) fn read(
        host: &dyn Host,
        state: u32,
        slot: u32,
        namespace: &[u8],
        from: Option<&[u8]>,
        bytes: u32,
    ) -> Result<Page, Error> {
        host.seldom().read(state, slot, namespace, from, bytes)
    }

    pub(crate) fn get_list(host: &dyn Host, state: u32) -> Result<StoredColumn, Error> {
        host.seldom().get_list(state)
    }

    pub(crate) fn set_list(host: &dyn Host, state: u32, values: &BytesColumn) -> Result<(), Error> {
        host.seldom().set_list(state, values)
    }

    pub(crate) fn put_broadcast(
        host: &dyn Host,
        state: u32,
        map_keys: &BytesColumn,
        values: &StoredColumn,
    ) -> Result<(), Error> {
        host.seldom().put_broadcast(state, map_keys, values)
    }

    pub(crate) fn read_broadcast(host: &dyn Host, state: u32, from: Option<&[u8]>, bytes: u32) -> Result<Page, Error> {
        host.seldom().read_broadcast(state, from, bytes)
    }
}
