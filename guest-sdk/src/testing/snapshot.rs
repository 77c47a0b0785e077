//! State that outlives its harness, and whether another version of the operator can go on with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::descriptor::{Descriptor, StateDescriptor};
use crate::input::Inputs;
use crate::operator::Operator;
use crate::output::Keying;
use crate::time::EventTime;

use super::table::Table;
use super::{Harness, Setup};

/// All state of a [`Harness`], as a checkpoint has it: for another version of the operator, or for the same one.
///
/// ```
/// # use wasmill_sdk::prelude::*;
/// # use wasmill_sdk::testing::Harness;
/// # struct Count { count: ReducingState<u64>, last: ValueState<u64> }
/// # impl Operator for Count {
/// #     type Key<'a> = &'a str;
/// #     type Input<'a> = u64;
/// #     type Output<'a> = u64;
/// #     fn declare(states: &mut Declaration) -> Self {
/// #         Self { count: states.reducing("count", |a, b| a + b), last: states.value("last") }
/// #     }
/// #     fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
/// #         self.last.set(ctx, input)?;
/// #         let count = self.count.add(ctx, input)?;
/// #         ctx.emit(count)
/// #     }
/// # }
/// # struct CountOnly { count: ReducingState<u64> }
/// # impl Operator for CountOnly {
/// #     type Key<'a> = &'a str;
/// #     type Input<'a> = u64;
/// #     type Output<'a> = u64;
/// #     fn declare(states: &mut Declaration) -> Self { Self { count: states.reducing("count", |a, b| a + b) } }
/// #     fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
/// #         let count = self.count.add(ctx, input)?;
/// #         ctx.emit(count)
/// #     }
/// # }
/// let mut former = Harness::<Count>::new();
/// former.send("a", 3_u64);
///
/// // The new version has no state "last" any more.
/// let snapshot = former.snapshot().drop_state("last");
/// let mut harness = Harness::<CountOnly>::restore(snapshot);
/// harness.send("a", 4_u64);
/// assert_eq!(harness.take_outputs::<u64>(), [7]);
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    tables: Vec<Table>,
    /// Schema of the keys.
    key: Option<String>,
    pub(super) now: EventTime,
    pub(super) watermark: Option<EventTime>,
}

impl Snapshot {
    /// Leaves out a state that the operator does not have any more: state that nobody takes is an error otherwise.
    ///
    /// # Panics
    /// When there is no such state.
    #[must_use]
    pub fn drop_state(mut self, name: &str) -> Self {
        let before = self.tables.len();
        self.tables.retain(|table| table.descriptor.name != name);
        assert!(self.tables.len() < before, "the snapshot has no state \"{name}\"");
        self
    }

    /// The state of an operator that goes on with it: found by name, so that order and number do not matter. What is new begins empty.
    ///
    /// # Errors
    /// All that makes it impossible, a line for each.
    pub(super) fn into_tables(self, descriptor: &Descriptor) -> Result<Vec<Table>, String> {
        let misfits = self.misfits(descriptor);
        if !misfits.is_empty() {
            return Err(format!("the operator can't go on with this state:\n{}", misfits.join("\n")));
        }
        let now = self.now.as_millis();
        let mut stored: BTreeMap<String, Table> =
            self.tables.into_iter().map(|table| (table.descriptor.name.clone(), table)).collect();
        let tables = descriptor.states.iter().cloned().map(|state| match stored.remove(&state.name) {
            Some(table) => table.of(state, now),
            None => Table::new(state),
        });
        Ok(tables.collect())
    }

    fn misfits(&self, descriptor: &Descriptor) -> Vec<String> {
        let mut misfits = Vec::new();
        let key = key_of(descriptor);
        for table in &self.tables {
            let stored = &table.descriptor;
            let Some(now) = descriptor.states.iter().find(|now| now.name == stored.name) else {
                misfits
                    .push(format!("state \"{}\" is not declared any more, so nobody takes what is in it", stored.name));
                continue;
            };
            compare(stored, now, &mut misfits);
            if stored.kind.is_keyed() && now.kind.is_keyed() && self.key != key {
                differs(&mut misfits, stored, "the type of the key", (shown(&self.key), shown(&key)));
            }
            compare_versions(&table.versions(), stored, now, &mut misfits);
        }
        misfits
    }
}

fn key_of(descriptor: &Descriptor) -> Option<String> {
    descriptor.inputs.iter().find_map(|input| input.key.clone())
}

fn shown(schema: &Option<String>) -> &str {
    schema.as_deref().unwrap_or("none")
}

fn differs(misfits: &mut Vec<String>, state: &StateDescriptor, what: &str, (before, now): (&str, &str)) {
    misfits.push(format!("state \"{}\": {what} was {before} and is {now}", state.name));
}

/// What is around an operator was made for its inputs and outputs.
fn compare_ends(before: &Descriptor, now: &Descriptor) -> Vec<String> {
    let mut misfits = Vec::new();
    let mut compare = |what: String, was: String, is: String| {
        if was != is {
            misfits.push(format!("{what} was {was} and is {is}"));
        }
    };
    let names = |of: &Descriptor| of.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ");
    compare("the list of inputs".into(), names(before), names(now));
    for (was, is) in before.inputs.iter().zip(&now.inputs).filter(|(was, is)| was.name == is.name) {
        let name = &is.name;
        compare(format!("the key of the input \"{name}\""), shown(&was.key).into(), shown(&is.key).into());
        compare(format!("the type of the input \"{name}\""), was.value.clone(), is.value.clone());
        let to = |broadcast| if broadcast { "all tasks" } else { "one task" }.to_owned();
        compare(format!("who gets a record of the input \"{name}\""), to(was.broadcast), to(is.broadcast));
    }
    let keying = |of: &Descriptor| match &of.keying {
        Keying::Keep => "that of the record".to_owned(),
        Keying::Set(key) => format!("a new one, {key}"),
        Keying::Drop => "none".to_owned(),
    };
    compare("the key of the output".into(), keying(before), keying(now));
    compare("the type of the output".into(), before.output.clone(), now.output.clone());
    misfits
}

/// What can't change under a name.
fn compare(stored: &StateDescriptor, now: &StateDescriptor, misfits: &mut Vec<String>) {
    if stored.kind != now.kind {
        differs(misfits, stored, "the kind", (stored.kind.name(), now.kind.name()));
    }
    if stored.map_key != now.map_key {
        differs(misfits, stored, "the type of the map's keys", (shown(&stored.map_key), shown(&now.map_key)));
    }
    if stored.version == now.version && stored.schema != now.schema {
        let what = format!("the type, under the same schema version {},", now.version);
        differs(misfits, stored, &what, (&stored.schema, &now.schema));
    }
}

/// Each version of which there are values must be the current one or be migrated. `versions` says how many values there are of each.
fn compare_versions(
    versions: &BTreeMap<u16, usize>,
    stored: &StateDescriptor,
    now: &StateDescriptor,
    misfits: &mut Vec<String>,
) {
    let StateDescriptor { name, version: current, migrates_from, .. } = now;
    if stored.version > *current {
        let before = stored.version;
        misfits.push(format!("state \"{name}\": the schema version was {before} and is {current}, which is lower"));
    }
    let known: BTreeSet<u16> = migrates_from.iter().copied().chain([*current]).collect();
    for (version, count) in versions.iter().filter(|(version, _)| !known.contains(version)) {
        misfits.push(format!(
            "state \"{name}\": nothing migrates from schema version {version} to {current}, and there are values of it: {count}"
        ));
    }
}

impl<O: Operator, I: Inputs<O>> Harness<O, I> {
    /// All state by now, with processing time and watermark. The harness may go on.
    pub fn snapshot(&mut self) -> Snapshot {
        self.run();
        Snapshot {
            tables: self.host.get_mut().tables.clone(),
            key: key_of(&self.descriptor),
            now: self.setup.now,
            watermark: self.setup.watermark,
        }
    }

    /// Opens the operator with what another harness had: as a rule one of a former version of the operator. [`Setup::restore`] is the same for an operator with a
    /// configuration.
    ///
    /// # Panics
    /// When the operator can't go on with this state; the text names all reasons. When its `open` returns an error.
    #[must_use]
    pub fn restore(snapshot: Snapshot) -> Self {
        Self::with(Setup::default().restore(snapshot))
    }

    /// Goes on with another version of the operator, as a swap does: with the state, the configuration, the sizes and the times of this harness. Results, failures and log
    /// lines that were not taken are gone.
    ///
    /// ```
    /// # use wasmill_sdk::prelude::*;
    /// # use wasmill_sdk::testing::Harness;
    /// # struct Sum(ReducingState<u64>);
    /// # impl Operator for Sum {
    /// #     type Key<'a> = &'a str;
    /// #     type Input<'a> = u64;
    /// #     type Output<'a> = u64;
    /// #     fn declare(states: &mut Declaration) -> Self { Self(states.reducing("sum", |a, b| a + b)) }
    /// #     fn process(&mut self, input: u64, ctx: &mut Context<Self>) -> Result<()> {
    /// #         let sum = self.0.add(ctx, input)?;
    /// #         ctx.emit(sum)
    /// #     }
    /// # }
    /// # type NewSum = Sum;
    /// let mut harness = Harness::<Sum>::new();
    /// harness.send("a", 3_u64);
    /// let mut harness: Harness<NewSum> = harness.upgrade();
    /// harness.send("a", 4_u64);
    /// assert_eq!(harness.take_outputs::<u64>(), [7]);
    /// ```
    ///
    /// # Panics
    /// As [`Harness::restore`], and when inputs or outputs are others: those of an operator that runs stay what they are.
    #[must_use]
    pub fn upgrade<P: Operator, J: Inputs<P>>(mut self) -> Harness<P, J> {
        let snapshot = self.snapshot();
        let misfits = compare_ends(&self.descriptor, &Descriptor::of::<P, J>("0.0.0"));
        assert!(misfits.is_empty(), "the operator can't take the place of the other one:\n{}", misfits.join("\n"));
        Harness::with(self.setup.restore(snapshot))
    }
}
