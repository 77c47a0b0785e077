//! What a plugin says about its operator, and what of it this version does.

use std::fmt;

use crate::{state::Ttl, stream::schema::Schema};

/// Records of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputDescriptor {
    /// For messages.
    pub name: String,
    /// None: the operator does not ask for keys.
    pub key: Option<Schema>,
    /// Schema of the values.
    pub value: Schema,
    /// Every task gets every record.
    pub broadcast: bool,
}

/// What becomes of the key.
#[derive(Clone, Debug, PartialEq)]
pub enum Keying {
    /// Every record keeps the key of an input record.
    Keep,
    /// Every record gets a new key.
    Set(Schema),
    /// Records have no key.
    Drop,
}

/// Records of an output.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputDescriptor {
    /// "out" for the main output.
    pub name: String,
    /// What becomes of the key.
    pub keying: Keying,
    /// Schema of the values.
    pub value: Schema,
}

/// The kinds of state, as in Flink's documentation ("Working with State").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// One value per key.
    Value,
    /// One value per key, folded at every addition.
    Reducing,
    /// One accumulator per key.
    Aggregating,
    /// A list per key.
    KeyedList,
    /// A map per key.
    KeyedMap,
    /// A list of the task, split evenly.
    OperatorList,
    /// A list of the task, of which every task gets all.
    OperatorUnion,
    /// A map that is the same on all tasks.
    Broadcast,
}

impl StateKind {
    /// It belongs to a key, not to a task.
    pub fn is_keyed(self) -> bool {
        self.is_point() || matches!(self, Self::KeyedList | Self::KeyedMap)
    }

    /// One value per key.
    pub fn is_point(self) -> bool {
        matches!(self, Self::Value | Self::Reducing | Self::Aggregating)
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
            Self::KeyedList => "keyed list",
            Self::KeyedMap => "keyed map",
            Self::OperatorList => "operator list",
            Self::OperatorUnion => "operator union list",
            Self::Broadcast => "broadcast",
        })
    }
}

/// A state of the operator; its number is its place.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDescriptor {
    /// Unique in the operator.
    pub name: String,
    /// Its kind.
    pub kind: StateKind,
    /// Version of the schema, from 1.
    pub version: u16,
    /// Schema of the value.
    pub schema: Schema,
    /// Former versions that the plugin can migrate.
    pub migrates_from: Vec<u16>,
    /// Schema of the map key, for maps.
    pub map_key: Option<Schema>,
    /// Time to live, if it has one.
    pub ttl: Option<Ttl>,
    /// Delivered with the keys of a batch.
    pub prefetch: bool,
    /// The end of the input visits every key that has it.
    pub on_end: bool,
}

/// The optional exports that the host shall call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// `on-watermark`.
    pub on_watermark: bool,
    /// `on-timers`.
    pub on_timers: bool,
    /// `snapshot`.
    pub snapshot: bool,
}

/// What a plugin says about its operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// For people.
    pub name: String,
    /// For people.
    pub version: String,
    /// In the order of their numbers.
    pub inputs: Vec<InputDescriptor>,
    /// In the order of their numbers; the main output first.
    pub outputs: Vec<OutputDescriptor>,
    /// In the order of their numbers.
    pub states: Vec<StateDescriptor>,
    /// What the host shall call.
    pub hooks: Hooks,
}

/// More states than any operator has; an entry's layout has room for them all.
const STATES_MAX: usize = 64;

impl Descriptor {
    /// Everything that is wrong with it or that this version does not do, each as a phrase that follows "the plugin"; empty when it can run.
    pub fn refusals(&self) -> Vec<String> {
        let mut refusals = Vec::new();
        let mut unsupported =
            |what: String| refusals.push(format!("asks for {what}, which this version does not support"));
        match self.inputs.len() {
            1 => {}
            0 => unsupported("no input".into()),
            inputs => unsupported(format!("{inputs} inputs")),
        }
        if self.outputs.len() > 1 {
            let names: Vec<_> = self.outputs[1..].iter().map(|output| output.name.as_str()).collect();
            unsupported(format!("side outputs ({})", names.join(", ")));
        }
        for state in &self.states {
            if matches!(state.kind, StateKind::OperatorList | StateKind::OperatorUnion | StateKind::Broadcast) {
                unsupported(format!("{} state ({})", state.kind, state.name));
            }
        }
        for (asked, hook) in [
            (self.hooks.on_watermark, "on-watermark"),
            (self.hooks.on_timers, "on-timers"),
            (self.hooks.snapshot, "snapshot"),
        ] {
            if asked {
                unsupported(format!("the hook {hook}"));
            }
        }
        if self.states.len() > STATES_MAX {
            refusals.push(format!("declares {} states, more than {STATES_MAX}", self.states.len()));
        }
        for (index, state) in self.states.iter().enumerate() {
            let name = &state.name;
            if state.prefetch && !state.kind.is_point() {
                refusals.push(format!("asks for state {name} to be prefetched, which a {} state can't be", state.kind));
            }
            if (state.kind == StateKind::KeyedMap) != state.map_key.is_some() {
                let what = if state.map_key.is_some() { "with" } else { "without" };
                refusals.push(format!("declares {} state {name} {what} a schema of its map keys", state.kind));
            }
            if state.ttl.is_some_and(|ttl| ttl.ms == 0) {
                refusals.push(format!("declares state {name} with a time to live of 0"));
            }
            if state.version == 0 {
                refusals.push(format!("declares state {} with schema version 0; versions begin at 1", state.name));
            }
            if self.states[..index].iter().any(|other| other.name == state.name) {
                refusals.push(format!("declares two states named {}", state.name));
            }
        }
        if self.has_keyed_state() && self.inputs.iter().all(|input| input.key.is_none()) {
            refusals.push("declares keyed state, but its input has no key".into());
        }
        refusals
    }

    /// Whether it has state that belongs to keys.
    pub fn has_keyed_state(&self) -> bool {
        self.states.iter().any(|state| state.kind.is_keyed())
    }

    /// Whether the end of the input has anything to visit.
    pub fn visits_at_end(&self) -> bool {
        self.states.iter().any(|state| state.on_end)
    }
}
