//! What an operator is, for the host: made from its types and its declaration.

use crate::codec::Decode;
use crate::declaration::Declaration;
use crate::input::{First, Inputs, describe};
use crate::operator::Operator;
use crate::output::{Keying, Output};
use crate::schema::Encoding;
use crate::ttl::Ttl;

/// What an operator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The operator's name.
    pub name: String,
    /// The operator's version.
    pub version: String,
    /// The inputs, by index.
    pub inputs: Vec<InputDescriptor>,
    /// What becomes of the key.
    pub keying: Keying,
    /// Schema of the output's value.
    pub output: String,
    /// The states, by index.
    pub states: Vec<StateDescriptor>,
}

/// An input of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputDescriptor {
    /// Its name.
    pub name: String,
    /// Schema of the keys; none: does not ask for keys.
    pub key: Option<String>,
    /// Schema of the values.
    pub value: String,
    /// Every task gets every record.
    pub broadcast: bool,
}

/// A state that an operator uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDescriptor {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// Version of the schema.
    pub version: u16,
    /// Schema of the value, the accumulator or the item.
    pub schema: String,
    /// Schema of the map key, for maps.
    pub map_key: Option<String>,
    /// Former versions of the schema that are migrated, in ascending order.
    pub migrates_from: Vec<u16>,
    /// How long an entry lives; none: until it is cleared.
    pub ttl: Option<Ttl>,
    /// Values are delivered with their keys.
    pub prefetch: bool,
    /// `on_end` is called for each key that has an entry.
    pub on_end: bool,
}

/// The kinds of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// One value per key.
    Value,
    /// One value per key, folded at every `add`.
    Reducing,
    /// One accumulator per key.
    Aggregating,
    /// A list per key.
    List,
    /// A map per key.
    Map,
    /// A list of the task, split evenly when the parallelism changes.
    OperatorList,
    /// A list of the task; all tasks get all items when the parallelism changes.
    OperatorUnion,
    /// A map that is the same on all tasks.
    Broadcast,
}

impl StateKind {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
            Self::List => "list",
            Self::Map => "map",
            Self::OperatorList => "operator list",
            Self::OperatorUnion => "operator union list",
            Self::Broadcast => "broadcast",
        }
    }

    /// It belongs to a key.
    #[must_use]
    pub fn is_keyed(self) -> bool {
        !matches!(self, Self::OperatorList | Self::OperatorUnion | Self::Broadcast)
    }

    /// It is a single value.
    #[must_use]
    pub fn is_point(self) -> bool {
        matches!(self, Self::Value | Self::Reducing | Self::Aggregating)
    }
}

/// True when the operator asks for keys.
pub(crate) const fn has_key<'a, K: Decode<'a>>() -> bool {
    !matches!(K::ENCODING, Encoding::Unit)
}

impl Descriptor {
    /// Describes `O`, whose crate has this version and whose further inputs are `I`.
    #[must_use]
    pub fn of<O: Operator, I: Inputs<O>>(version: &str) -> Self {
        let (_, declaration) = Declaration::of::<O>();
        let (keying, output) = O::Output::describe();
        Self {
            name: O::name(),
            version: version.to_owned(),
            inputs: [vec![describe::<First<O>>()], I::describe()].concat(),
            keying,
            output,
            states: declaration.descriptors,
        }
    }
}
