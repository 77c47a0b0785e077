//! What an operator is, for the host: made from its types and its declaration.

use crate::codec::Decode;
use crate::operator::{Declaration, Operator};
use crate::output::{Keying, Output};
use crate::schema::{Encoding, Schema};

/// What an operator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The operator's name.
    pub name: String,
    /// The operator's version.
    pub version: String,
    /// Schema of the input's key; none: does not ask for keys.
    pub key: Option<String>,
    /// Schema of the input's value.
    pub input: String,
    /// What becomes of the key.
    pub keying: Keying,
    /// Schema of the output's value.
    pub output: String,
    /// The states, by index.
    pub states: Vec<StateDescriptor>,
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
    /// Schema of the value.
    pub schema: String,
    /// `on_end` is called for each key that has an entry.
    pub on_end: bool,
}

/// The kinds of state that this version of the SDK has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// One value per key.
    Value,
    /// One value per key, folded at every `add`.
    Reducing,
}

/// True when the operator asks for keys.
pub(crate) const fn has_key<'a, K: Decode<'a>>() -> bool {
    !matches!(K::ENCODING, Encoding::Unit)
}

impl Descriptor {
    /// Describes `O`, whose crate has this version.
    #[must_use]
    pub fn of<O: Operator>(version: &str) -> Self {
        let mut declaration = Declaration::default();
        let _: O = O::declare(&mut declaration);
        let (keying, output) = O::Output::describe();
        Self {
            name: O::name(),
            version: version.to_owned(),
            key: has_key::<O::Key<'_>>().then(O::Key::document),
            input: O::Input::document(),
            keying,
            output,
            states: declaration.descriptors,
        }
    }
}
