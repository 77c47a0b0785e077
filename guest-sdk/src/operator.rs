//! What an author writes: [`Operator`], and what it is given at its start.

use serde::de::DeserializeOwned;

use crate::codec::{Decode, short_name};
use crate::config;
use crate::context::Context;
use crate::declaration::Declaration;
use crate::output::Output;
use crate::wire::TaskInfo;
use crate::{Error, Result};

/// A stream operator. See the [crate's documentation](crate) for a whole one.
pub trait Operator: Sized + 'static {
    /// The key of the input; `()` for an operator that does not ask for keys and so has no keyed state.
    type Key<'a>: Decode<'a>;
    /// The value of an input record.
    type Input<'a>: Decode<'a>;
    /// What is emitted: a value, which keeps the key of the input record, [`Keyed`](crate::Keyed) or [`Unkeyed`](crate::Unkeyed).
    type Output<'a>: Output;

    /// Makes the operator and says which states it uses. Must do the same at every call and nothing else: the host calls it to learn what the operator is.
    fn declare(states: &mut Declaration) -> Self;

    /// Prepares the operator, which reads its configuration here. An error fails the job.
    ///
    /// # Errors
    /// What the author deems wrong.
    fn open(&mut self, open: &OpenContext<'_>) -> Result<()> {
        let _ = open;
        Ok(())
    }

    /// Processes one record.
    ///
    /// # Errors
    /// An error undoes what this record wrote and emitted, and is reported with the record; the others are not touched.
    fn process<'b>(&mut self, input: Self::Input<'b>, ctx: &mut Context<'b, Self>) -> Result<()>;

    /// Called at the end of a bounded input, once for each key that has an entry in a state of [`Declaration::visit_at_end`].
    ///
    /// # Errors
    /// As for `process`.
    fn on_end(&mut self, ctx: &mut Context<'_, Self>) -> Result<()> {
        let _ = ctx;
        Ok(())
    }

    /// The operator's name, for people: that of the type, in kebab case.
    #[must_use]
    fn name() -> String {
        kebab(short_name::<Self>())
    }

    /// The name of the first input, by which the job file may lead edges to it: "in".
    #[must_use]
    fn input_name() -> String {
        "in".to_owned()
    }
}

/// A type's name `like-this`.
pub(crate) fn kebab(name: &str) -> String {
    let mut out = String::new();
    let mut after_lower = false;
    for character in name.chars() {
        if character.is_uppercase() && after_lower {
            out.push('-');
        }
        after_lower = !character.is_uppercase();
        out.extend(character.to_lowercase().map(|lower| if lower == '_' { '-' } else { lower }));
    }
    out
}

/// What an operator is given at its start.
pub struct OpenContext<'a> {
    pub(crate) config: &'a str,
    pub(crate) task: &'a TaskInfo,
}

impl OpenContext<'_> {
    /// The operator's `config` table of the job file. Use `#[serde(deny_unknown_fields)]` on `T`, so that a misspelt key is an error.
    ///
    /// # Errors
    /// When it does not fit `T`; the text names the key.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.config).map_err(|error| Error::from(config::describe(self.config, &error)))
    }

    /// Which task of the job this is.
    #[must_use]
    pub fn task(&self) -> &TaskInfo {
        self.task
    }
}

#[cfg(test)]
mod tests {
    use super::kebab;

    #[test]
    fn names_become_kebab_case() {
        for (name, expected) in [
            ("WordCount", "word-count"),
            ("Sum", "sum"),
            ("Top10Words", "top10-words"),
            ("HTTPLog", "httplog"),
            ("a_b", "a-b"),
        ] {
            assert_eq!(kebab(name), expected);
        }
    }
}
