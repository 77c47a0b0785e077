//! A state as its operator described it, in manifests of dumps and of checkpoints alike.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    operator::{Descriptor, StateKind},
    state::StateIds,
    stream::{EventTime, schema::Schema},
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct StateDocument {
    number: u16,
    name: String,
    kind: String,
    schema_version: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    map_key: Option<Value>,
    value: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_since_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// A state as its operator described it.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedState {
    /// By what it is stored: its place in the descriptor when it was new.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// Version of the schema.
    pub version: u16,
    /// Schema of the keys; none for operator state.
    pub key: Option<Schema>,
    /// Schema of the map keys, for maps.
    pub map_key: Option<Schema>,
    /// Schema of the values.
    pub value: Schema,
    /// Time to live in milliseconds.
    pub ttl_ms: Option<u64>,
    /// When it got its time to live, in processing time, where there were entries before.
    pub ttl_since: Option<EventTime>,
    /// How many entries, over all tasks; none where only a merge of segments can tell.
    pub entries: Option<u64>,
    /// Bytes of their stored keys and values; none as above.
    pub bytes: Option<u64>,
}

const KINDS: [(&str, StateKind); 8] = [
    ("value", StateKind::Value),
    ("reducing", StateKind::Reducing),
    ("aggregating", StateKind::Aggregating),
    ("keyed-list", StateKind::KeyedList),
    ("keyed-map", StateKind::KeyedMap),
    ("operator-list", StateKind::OperatorList),
    ("operator-union", StateKind::OperatorUnion),
    ("broadcast", StateKind::Broadcast),
];

impl DescribedState {
    /// The states of a descriptor, which are stored by these ids, without counts.
    pub(in crate::job) fn of(descriptor: &Descriptor, ids: &StateIds) -> Vec<Self> {
        let key = descriptor.inputs.iter().find_map(|input| input.key.clone());
        let states = (0_u32..).zip(&descriptor.states).map(|(number, state)| Self {
            number: ids.of(number),
            name: state.name.clone(),
            kind: state.kind,
            version: state.version,
            key: key.clone().filter(|_| state.kind.is_keyed()),
            map_key: state.map_key.clone(),
            value: state.schema.clone(),
            ttl_ms: state.ttl.map(|ttl| ttl.ms),
            ttl_since: ids.ttl_since(number),
            entries: None,
            bytes: None,
        });
        states.collect()
    }

    pub(super) fn to_document(&self) -> StateDocument {
        let schema = |schema: &Schema| serde_json::from_str(&schema.document()).unwrap_or_default();
        StateDocument {
            number: self.number,
            name: self.name.clone(),
            kind: self.kind_name().to_owned(),
            schema_version: self.version,
            key: self.key.as_ref().map(schema),
            map_key: self.map_key.as_ref().map(schema),
            value: schema(&self.value),
            ttl_ms: self.ttl_ms,
            ttl_since_ms: self.ttl_since.map(|since| since.0),
            entries: self.entries,
            bytes: self.bytes,
        }
    }

    /// Its kind, as manifests and the WIT name it.
    pub fn kind_name(&self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name)
    }

    pub(super) fn from_document(document: StateDocument) -> Result<Self, String> {
        let name = document.name;
        let kind = KINDS.iter().find(|(known, _)| *known == document.kind).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| format!("state {name} has the kind `{}`, which is not known", document.kind))?;
        let schema = |what: &str, json: &Value| {
            Schema::parse(&json.to_string()).map_err(|error| format!("state {name}, {what}: {error}"))
        };
        let key = document.key.as_ref().map(|json| schema("key", json)).transpose()?;
        let map_key = document.map_key.as_ref().map(|json| schema("map key", json)).transpose()?;
        let value = schema("value", &document.value)?;
        if key.is_some() != kind.is_keyed() || map_key.is_some() != kind.is_map() {
            return Err(format!("state {name} does not have the schemas that a {kind} state has"));
        }
        Ok(Self {
            number: document.number,
            name,
            kind,
            version: document.schema_version,
            key,
            map_key,
            value,
            ttl_ms: document.ttl_ms,
            ttl_since: document.ttl_since_ms.map(EventTime),
            entries: document.entries,
            bytes: document.bytes,
        })
    }
}

/// That each state has a number of its own.
pub(super) fn check_numbers(states: &[DescribedState]) -> Result<(), String> {
    let numbers: BTreeSet<_> = states.iter().map(|state| state.number).collect();
    if numbers.len() == states.len() { Ok(()) } else { Err("two states have one number".into()) }
}
