//! The export `migrate`: the author's functions as the host uses them, from the bytes of a former version to those of the current one.
//!
//! A component that migrates nothing has none of this but the refusal: the rest is only reached from where a function is declared.

use crate::bytes::{Strings, end};
use crate::codec::Value;
use crate::descriptor::StateDescriptor;
use crate::former::{Migrate, Step, refused};
use crate::panics;
use crate::wire::{BytesColumn, Error as Fault};

/// Turns values of a former version of a state into those of the current one, which it is told.
pub(crate) type Rewrite = dyn Fn(&StateDescriptor, &BytesColumn) -> Result<BytesColumn, Fault>;

/// How values of one former version of a state are rewritten.
pub(crate) struct Rewriter {
    pub(crate) state: u32,
    pub(crate) version: u16,
    pub(crate) rewrite: Box<Rewrite>,
}

/// Rewrites `values`, which have the former version `version` of the state number `state`.
pub(crate) fn rewrite(
    rewriters: &[Rewriter],
    states: &[StateDescriptor],
    (state, version): (u32, u16),
    values: &BytesColumn,
) -> Result<BytesColumn, Fault> {
    let rewriter = rewriters.iter().find(|one| (one.state, one.version) == (state, version));
    match (rewriter, states.get(state as usize)) {
        (Some(rewriter), Some(descriptor)) => (rewriter.rewrite)(descriptor, values),
        (None, Some(StateDescriptor { name, .. })) => {
            Err(Fault::InvalidInput(format!("state \"{name}\" doesn't migrate from schema version {version}")))
        }
        (_, None) => Err(Fault::InvalidInput(format!("there is no state {state}"))),
    }
}

/// Rewrites values of the former version `version` of a state by the author's function.
pub(crate) fn rewrite_each<T: Value>(
    migrate: &Migrate<T>,
    version: u16,
    state: &StateDescriptor,
    values: &BytesColumn,
) -> Result<BytesColumn, Fault> {
    let values = Strings::of("values to migrate", values)?;
    let mut rewritten = BytesColumn::default();
    for index in 0..values.len() {
        panics::at(index as u32);
        let result = migrate(values.get(index)).and_then(|value| value.encode(&mut rewritten.data));
        panics::at(panics::NO_RECORD);
        if let Err(error) = result {
            let step = Step { state: &state.name, from: version, to: state.version };
            return Err(Fault::Other(format!("value {index}: {}", refused(step, &error))));
        }
        rewritten.ends.push(end(&rewritten.data));
    }
    Ok(rewritten)
}
