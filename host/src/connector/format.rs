//! Records as lines.

use super::{ConnectorError, Format};
use crate::stream::schema::Schema;

impl Format {
    /// Appends a value and its line feed.
    ///
    /// # Errors
    /// When the bytes are not what the schema says; `out` is as it was.
    pub(super) fn append_line(self, value: &[u8], schema: &Schema, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        match self {
            Self::Json => schema.render_json(value, out).map_err(|error| {
                ConnectorError::Input(format!(
                    "a record of {schema} can't be written as JSON: {error}; correct the operator that made it, or set format = \"raw\""
                ))
            })?,
            Self::Raw => out.extend_from_slice(value),
        }
        out.push(b'\n');
        Ok(())
    }

    /// The ending of file names.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Json => "jsonl",
            Self::Raw => "txt",
        }
    }
}
