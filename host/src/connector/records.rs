//! Lines as records: text as it is, or JSON.
//!
//! Of JSON each line is one document. It is checked from end to end, so that whoever is behind the source can rely on it, and stays as it is; nothing is built
//! of it. Lines of nothing but white space are left out. A record may take its key from the document; one that lacks it is as bad as one that is no JSON.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::de::{Deserialize, IgnoredAny};

use super::{
    ConnectorError, InvalidUtf8, JsonKey,
    json_key::KeyFinder,
    lines::{Line, Lines},
};
use crate::{
    metrics::{Counter, CounterSet},
    stream::{Batch, BatchLimits, hash_key, schema::Schema},
};

/// What the lines of a text source are, and what becomes of those that are something else. Counters: `invalid-utf8`; for JSON also `invalid-json`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LineFormat {
    /// What becomes of a line that is not UTF-8.
    pub invalid_utf8: InvalidUtf8,
    /// What the others hold.
    pub content: Content,
}

/// What lines hold.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Content {
    /// Text: each line is a value, records have no keys.
    #[default]
    Text,
    /// A JSON document each, which is the value. Blank lines are left out.
    Json {
        /// What becomes of a line that is no JSON document, or has no key where it should.
        invalid: InvalidJson,
        /// Where in the document the record's key is. None: records have no keys.
        key: Option<JsonKey>,
    },
}

/// What a source of JSON does with a line that is no JSON document, or lacks the key. Every such line is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum InvalidJson {
    /// The job fails and names the place.
    #[default]
    Fail,
    /// The line is left out.
    Skip,
}

impl LineFormat {
    /// Schema of the keys, if records have them.
    pub(super) fn key_schema(&self) -> Option<Schema> {
        match &self.content {
            Content::Text => None,
            Content::Json { key, .. } => key.as_ref().map(JsonKey::schema),
        }
    }

    /// Schema of the values.
    pub(super) fn value_schema(&self) -> Schema {
        match self.content {
            Content::Text => Schema::text(),
            Content::Json { .. } => Schema::json(),
        }
    }
}

/// A buffer that is filled with bytes and emptied by records.
pub(super) struct Records {
    /// What is filled.
    pub(super) lines: Lines,
    json: Option<JsonLines>,
}

impl Records {
    /// Without input yet.
    pub(super) fn new(format: &LineFormat, counters: &CounterSet) -> Self {
        let json = match &format.content {
            Content::Text => None,
            Content::Json { invalid, key } => Some(JsonLines {
                policy: *invalid,
                key: key.clone().map(KeyFinder::new),
                invalid: counters.counter("invalid-json"),
            }),
        };
        Self { lines: Lines::new(format.invalid_utf8, counters), json }
    }

    /// Appends records until no line is ready or the batch is full.
    ///
    /// # Errors
    /// When a line is not what it should be and that is an error.
    pub(super) fn cut(&mut self, batch: &mut Batch, limits: BatchLimits) -> Result<(), ConnectorError> {
        let Some(json) = &mut self.json else { return self.lines.cut(&mut batch.values, limits) };
        while !batch.is_full(limits) {
            let Some(line) = self.lines.next_line()? else { break };
            json.append(&line, batch)?;
        }
        Ok(())
    }
}

struct JsonLines {
    policy: InvalidJson,
    key: Option<KeyFinder>,
    invalid: Arc<Counter>,
}

impl JsonLines {
    fn append(&mut self, line: &Line<'_>, batch: &mut Batch) -> Result<(), ConnectorError> {
        let text = &*line.text;
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let appended = match &mut self.key {
            None => check(text).map_err(|error| Invalid::document(&error)),
            Some(finder) => finder.find(text).map(|key| {
                let hash = hash_key(key);
                batch.keys.get_or_insert_default().push(key, hash);
            }),
        };
        let Err(invalid) = appended else {
            batch.values.push(text);
            return Ok(());
        };
        self.invalid.add(1);
        match self.policy {
            InvalidJson::Skip => Ok(()),
            InvalidJson::Fail => Err(invalid.at(line)),
        }
    }
}

/// Whether bytes that are UTF-8 are one JSON document.
fn check(text: &[u8]) -> serde_json::Result<()> {
    let mut document = serde_json::Deserializer::from_slice(text);
    IgnoredAny::deserialize(&mut document)?;
    document.end()
}

/// What is wrong with a line.
pub(super) struct Invalid {
    /// Offset in the line, in bytes.
    at: usize,
    pub(super) why: String,
}

impl Invalid {
    /// It is no JSON document.
    pub(super) fn document(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        // The place is said in another way, since the parser knows only this line.
        let why = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
        Self { at: error.column().saturating_sub(1), why: format!("this is not JSON: {why}") }
    }

    /// It has no key.
    pub(super) fn key(why: String) -> Self {
        Self { at: 0, why }
    }

    fn at(self, line: &Line<'_>) -> ConnectorError {
        let (name, byte, begin, why) = (line.name.display(), line.offset + self.at as u64, line.offset, self.why);
        ConnectorError::Input(format!(
            "{name}: byte {byte}, in the line that begins at byte {begin}: {why}; repair it, or set invalid-json to \"skip\""
        ))
    }
}
