//! The types of `wasmill:operator/types` and of the descriptor, as they cross the boundary.
//!
//! Types that go to the guest borrow; those that come from imports borrow guest memory (`WasmList`); results of exports are owned, because a borrowed result is already freed
//! guest memory when the call returns.

#![allow(dead_code, reason = "lifting makes enum variants by number, and the types hold all that the WIT holds")]

use wasmtime::component::{ComponentType, Lift, Lower, WasmList, flags};

use crate::operator;

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct BytesColumn<'a> {
    data: &'a [u8],
    ends: &'a [u32],
}

impl<'a> From<&'a crate::stream::BytesColumn> for BytesColumn<'a> {
    fn from(column: &'a crate::stream::BytesColumn) -> Self {
        Self { data: column.data(), ends: column.ends() }
    }
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct StoredColumn<'a> {
    data: &'a [u8],
    ends: &'a [u32],
    versions: &'a [u16],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Prefetched<'a> {
    state: u32,
    slots: &'a [u32],
    values: StoredColumn<'a>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Keys<'a> {
    released: &'a [u32],
    fresh: &'a [u32],
    #[component(name = "fresh-keys")]
    fresh_keys: BytesColumn<'a>,
    prefetched: Vec<Prefetched<'a>>,
}

impl<'a> From<&'a crate::state::Delivery> for Keys<'a> {
    fn from(delivery: &'a crate::state::Delivery) -> Self {
        let prefetched = if delivery.fresh.is_empty() { &[][..] } else { &delivery.prefetched[..] };
        let expiring = if delivery.distinct.is_empty() { &[][..] } else { &delivery.expiring[..] };
        let with = |slots: &'a [u32]| {
            move |(state, column): &'a (u32, crate::state::StoredColumn)| Prefetched {
                state: *state,
                slots,
                values: StoredColumn {
                    data: column.values.data(),
                    ends: column.values.ends(),
                    versions: &column.versions,
                },
            }
        };
        let mut prefetched: Vec<_> =
            prefetched.iter().map(with(&delivery.fresh)).chain(expiring.iter().map(with(&delivery.distinct))).collect();
        if !expiring.is_empty() {
            prefetched.sort_by_key(|one| one.state);
        }
        Self {
            released: &delivery.released,
            fresh: &delivery.fresh,
            fresh_keys: (&delivery.fresh_keys).into(),
            prefetched,
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Batch<'a> {
    pub(super) input: u32,
    pub(super) keys: Keys<'a>,
    pub(super) slots: &'a [u32],
    pub(super) values: BytesColumn<'a>,
    pub(super) timestamps: &'a [i64],
    pub(super) watermark: Option<i64>,
    pub(super) now: i64,
}

#[derive(ComponentType, Lift, Clone)]
#[component(record)]
pub(super) struct Failure {
    index: u32,
    message: String,
}

impl From<Failure> for operator::Failure {
    fn from(failure: Failure) -> Self {
        Self { index: failure.index, message: failure.message }
    }
}

#[derive(ComponentType, Lift, Lower, Clone, Debug)]
#[component(variant)]
pub(super) enum Error {
    #[component(name = "invalid-input")]
    InvalidInput(String),
    #[component(name = "state")]
    State(String),
    #[component(name = "not-owned")]
    NotOwned,
    #[component(name = "limit")]
    Limit(String),
    #[component(name = "unsupported")]
    Unsupported(String),
    #[component(name = "other")]
    Other(String),
}

impl Error {
    pub(super) fn into_message(self) -> String {
        match self {
            Self::InvalidInput(text) => format!("invalid input: {text}"),
            Self::State(text) => format!("state: {text}"),
            Self::NotOwned => "the key belongs to another task".into(),
            Self::Limit(text) => format!("limit: {text}"),
            Self::Unsupported(text) => format!("unsupported: {text}"),
            Self::Other(text) => text,
        }
    }
}

impl From<operator::StageError> for Error {
    fn from(error: operator::StageError) -> Self {
        match error {
            operator::StageError::Malformed(text) => Self::InvalidInput(text),
            operator::StageError::State(text) => Self::State(text),
            operator::StageError::Limit(text) => Self::Limit(text),
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct GuestColumn {
    pub(super) data: WasmList<u8>,
    pub(super) ends: WasmList<u32>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct GuestStored {
    pub(super) data: WasmList<u8>,
    pub(super) ends: WasmList<u32>,
    pub(super) versions: WasmList<u16>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct OwnedStored {
    pub(super) data: Vec<u8>,
    pub(super) ends: Vec<u32>,
    pub(super) versions: Vec<u16>,
}

/// A page of a list or map.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Page {
    #[component(name = "map-keys")]
    map_keys: OwnedColumn,
    values: OwnedStored,
    next: Option<Vec<u8>>,
}

impl Page {
    pub(super) fn new(map_keys: &crate::stream::BytesColumn, values: StateColumn, next: Option<Vec<u8>>) -> Self {
        let map_keys = OwnedColumn { data: map_keys.data().to_vec(), ends: map_keys.ends().to_vec() };
        Self { map_keys, values: values.into(), next }
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct OwnedColumn {
    data: Vec<u8>,
    ends: Vec<u32>,
}

type StateColumn = crate::state::StoredColumn;

impl From<StateColumn> for OwnedStored {
    fn from(column: StateColumn) -> Self {
        Self { data: column.values.data().to_vec(), ends: column.values.ends().to_vec(), versions: column.versions }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Cells {
    pub(super) slots: WasmList<u32>,
    pub(super) namespaces: GuestColumn,
    #[component(name = "map-keys")]
    pub(super) map_keys: GuestColumn,
}

#[derive(ComponentType, Lift, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(super) enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl From<Level> for operator::LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

#[derive(ComponentType, Lower, Clone)]
#[component(record)]
pub(super) struct TaskInfo {
    job: String,
    operator: String,
    task: u32,
    parallelism: u32,
    #[component(name = "max-parallelism")]
    max_parallelism: u32,
    #[component(name = "key-groups")]
    key_groups: (u32, u32),
    #[component(name = "batch-records")]
    batch_records: u32,
    #[component(name = "batch-bytes")]
    batch_bytes: u32,
}

impl From<&operator::TaskInfo> for TaskInfo {
    fn from(info: &operator::TaskInfo) -> Self {
        Self {
            job: info.job.clone(),
            operator: info.operator.clone(),
            task: info.task,
            parallelism: info.parallelism,
            max_parallelism: info.max_parallelism,
            key_groups: (info.key_groups.start, info.key_groups.end),
            batch_records: u32::try_from(info.batch.records).unwrap_or(u32::MAX),
            batch_bytes: u32::try_from(info.batch.bytes).unwrap_or(u32::MAX),
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct InputDescriptor {
    pub(super) name: String,
    pub(super) key: Option<String>,
    pub(super) value: String,
    pub(super) broadcast: bool,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum Keying {
    #[component(name = "keep")]
    Keep,
    #[component(name = "set")]
    Set(String),
    #[component(name = "drop")]
    Drop,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct OutputDescriptor {
    pub(super) name: String,
    pub(super) keying: Keying,
    pub(super) value: String,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(super) enum StateKind {
    #[component(name = "value")]
    Value,
    #[component(name = "reducing")]
    Reducing,
    #[component(name = "aggregating")]
    Aggregating,
    #[component(name = "keyed-list")]
    KeyedList,
    #[component(name = "keyed-map")]
    KeyedMap,
    #[component(name = "operator-list")]
    OperatorList,
    #[component(name = "operator-union")]
    OperatorUnion,
    #[component(name = "broadcast")]
    Broadcast,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(super) enum TtlRefresh {
    #[component(name = "on-write")]
    OnWrite,
    #[component(name = "on-read-and-write")]
    OnReadAndWrite,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Ttl {
    pub(super) milliseconds: u64,
    pub(super) refresh: TtlRefresh,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct StateDescriptor {
    pub(super) name: String,
    pub(super) kind: StateKind,
    pub(super) version: u16,
    pub(super) schema: String,
    #[component(name = "map-key")]
    pub(super) map_key: Option<String>,
    #[component(name = "migrates-from")]
    pub(super) migrates_from: Vec<u16>,
    pub(super) ttl: Option<Ttl>,
    pub(super) prefetch: bool,
    #[component(name = "on-end")]
    pub(super) on_end: bool,
}

flags! {
    Hooks {
        #[component(name = "on-watermark")]
        const ON_WATERMARK;
        #[component(name = "on-timers")]
        const ON_TIMERS;
        #[component(name = "snapshot")]
        const SNAPSHOT;
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Descriptor {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) inputs: Vec<InputDescriptor>,
    pub(super) outputs: Vec<OutputDescriptor>,
    pub(super) states: Vec<StateDescriptor>,
    pub(super) hooks: Hooks,
}
