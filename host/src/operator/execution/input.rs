//! An input of an operator's task: how its records come, and how they are shown.

use crate::{
    operator::{InputDescriptor, Phase},
    stream::schema::Schema,
};

/// How the records of an input come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    Keyed,
    Unkeyed,
    Broadcast,
}

impl Arrival {
    pub(super) fn phase(self, records: usize) -> Phase {
        match self {
            Self::Keyed => Phase::Records(records),
            Self::Unkeyed => Phase::Unkeyed(records),
            Self::Broadcast => Phase::Broadcast(records),
        }
    }
}

/// An input of the operator.
pub(super) struct TaskInput {
    pub(super) name: String,
    pub(super) arrival: Arrival,
    /// Schema of the keys that arrive, also where the operator does not ask for them.
    key: Option<Schema>,
    value: Schema,
}

impl TaskInput {
    pub(super) fn new(input: &InputDescriptor, key: Option<Schema>) -> Self {
        let arrival = match &input.key {
            Some(_) => Arrival::Keyed,
            None if input.broadcast => Arrival::Broadcast,
            None => Arrival::Unkeyed,
        };
        Self { name: input.name.clone(), arrival, key, value: input.value.clone() }
    }

    /// Of keys and values.
    pub(super) fn schemas(&self) -> (Option<&Schema>, &Schema) {
        (self.key.as_ref(), &self.value)
    }
}
