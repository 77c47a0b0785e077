//! Keys, map keys and values as JSON, by the schemas that were stored with them.

use thiserror::Error;

use crate::{
    job::{DescribedState, StoredEntry},
    stream::schema::{RenderError, Schema},
};

/// Stored bytes that are not what their schema says.
#[derive(Debug, Error)]
#[error("state {state}: the {what} of an entry can't be shown: {source}")]
pub(crate) struct UndecodableState {
    state: String,
    what: &'static str,
    source: RenderError,
}

/// Shows the entries of a state.
pub(super) struct Shower<'s> {
    state: &'s DescribedState,
}

impl<'s> Shower<'s> {
    pub(super) fn new(state: &'s DescribedState) -> Self {
        Self { state }
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(RenderError) -> UndecodableState {
        move |source| UndecodableState { state: self.state.name.clone(), what, source }
    }

    /// Appends the key of an entry of keyed state.
    pub(super) fn key(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), UndecodableState> {
        let Some(schema) = &self.state.key else { return Ok(()) };
        schema.render_json(key, out).map_err(self.failed("key"))
    }

    /// Appends a namespace, of which nobody but the operator knows what it is.
    pub(super) fn namespace(&self, namespace: &[u8], out: &mut Vec<u8>) -> Result<(), UndecodableState> {
        Schema::bytes().render_json(namespace, out).map_err(self.failed("namespace"))
    }

    /// Appends the map key of an entry of a map.
    pub(super) fn map_key(&self, map_key: &[u8], out: &mut Vec<u8>) -> Result<(), UndecodableState> {
        let Some(schema) = &self.state.map_key else { return Ok(()) };
        schema.render_map_key(map_key, out).map_err(self.failed("map key"))
    }

    /// Appends a value. One of another schema version than the state's is shown as its version and its bytes: its schema was not stored.
    pub(super) fn value(&self, entry: &StoredEntry<'_>, out: &mut Vec<u8>) -> Result<(), UndecodableState> {
        if entry.version == self.state.version {
            return self.state.value.render_json(entry.value, out).map_err(self.failed("value"));
        }
        out.extend_from_slice(format!("{{\"schema_version\":{},\"bytes\":", entry.version).as_bytes());
        Schema::bytes().render_json(entry.value, out).map_err(self.failed("value"))?;
        out.push(b'}');
        Ok(())
    }

    /// Whether map keys become the names of an object's members.
    pub(super) fn has_names(&self) -> bool {
        self.state.map_key.as_ref().is_some_and(Schema::map_keys_are_names)
    }

    /// Appends an entry of a map as a member of an object, or as a pair in a list.
    pub(super) fn member(&self, entry: &StoredEntry<'_>, out: &mut Vec<u8>) -> Result<(), UndecodableState> {
        if !self.has_names() {
            out.push(b'[');
            self.map_key(entry.entry, out)?;
            out.push(b',');
            self.value(entry, out)?;
            out.push(b']');
            return Ok(());
        }
        let start = out.len();
        self.map_key(entry.entry, out)?;
        if out[start] != b'"' {
            out.insert(start, b'"');
            out.push(b'"');
        }
        out.push(b':');
        self.value(entry, out)
    }
}
