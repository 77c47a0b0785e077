//! `[[sink]]`: where a job's results go.

use std::path::PathBuf;

use super::{
    At,
    input::{self, InputSpec, Receiver},
    section::{Field, Section},
};
use crate::connector::Format;

/// Keys of a sink of any type.
const KEYS: [&str; 4] = ["id", "type", "inputs", "parallelism"];

/// Keys that a type adds. The `type` of a `--set` drops the others.
const KEYS_OF_TYPE: [(&str, &[&str]); 3] =
    [("file", &["path", "format", "part-bytes"]), ("stdout", &["format"]), ("blackhole", &[])];

const TYPES: [(&str, Type); 3] = [("file", Type::File), ("stdout", Type::Stdout), ("blackhole", Type::Blackhole)];
const TYPES_LATER: [&str; 2] = ["kafka", "socket"];

const FORMATS: [(&str, Format); 2] = [("json", Format::Json), ("raw", Format::Raw)];

/// Size at which a file sink begins a new part.
const PART_BYTES_DEFAULT: u64 = 128 << 20;

/// A sink.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkSpec {
    /// Its id, unique in the job.
    pub id: At<String>,
    /// What it does with records.
    pub kind: SinkKind,
    /// Where its records come from; none for a sink that takes dead letters only.
    pub inputs: Vec<InputSpec>,
    /// Number of its tasks. None: the job's.
    pub parallelism: Option<At<u32>>,
}

/// What a sink does with records.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkKind {
    /// Writes them to the parts of a folder.
    File {
        /// The folder, absolute.
        path: PathBuf,
        /// How a value is written.
        format: Format,
        /// Size at which a part is full.
        part_bytes: u64,
    },
    /// Writes them to standard output.
    Stdout {
        /// How a value is written.
        format: Format,
    },
    /// Drops them.
    Blackhole,
}

#[derive(Clone, Copy)]
enum Type {
    File,
    Stdout,
    Blackhole,
}

/// All keys that a sink of this type may have; None for a type that there is not.
pub(super) fn keys(type_name: &str) -> Option<Vec<&'static str>> {
    let (_, own) = KEYS_OF_TYPE.into_iter().find(|(name, _)| *name == type_name)?;
    Some([&KEYS, own].concat())
}

pub(super) fn read(mut section: Section<'_>) -> Option<SinkSpec> {
    let id = section.required("id", "a name of lower-case letters, digits and hyphens", Field::id);
    if let Some(id) = &id {
        section.name = format!("sink `{id}`");
    }
    let inputs = section.optional("inputs", |field| input::read_all(field, Receiver::Sink));
    let parallelism = section.optional("parallelism", |field| field.whole(1..=u32::MAX));
    let kind = section.required("type", "`file`, `stdout` or `blackhole`", |field| field.word(&TYPES, &TYPES_LATER))?;
    section.at = kind.at;
    let kind = match kind.value {
        Type::File => read_file(&mut section),
        Type::Stdout => Some(SinkKind::Stdout { format: read_format(&mut section) }),
        Type::Blackhole => Some(SinkKind::Blackhole),
    };
    section.finish();
    Some(SinkSpec { id: id?, kind: kind?, inputs: inputs.map_or_else(Vec::new, |inputs| inputs.value), parallelism })
}

fn read_file(section: &mut Section<'_>) -> Option<SinkKind> {
    let path = section.required("path", "the folder to write to", Field::path);
    let format = read_format(section);
    let part_bytes =
        section.optional("part-bytes", |field| field.size(u64::MAX)).map_or(PART_BYTES_DEFAULT, |size| size.value);
    Some(SinkKind::File { path: path?.value, format, part_bytes })
}

fn read_format(section: &mut Section<'_>) -> Format {
    section.optional("format", |field| field.word(&FORMATS, &[])).map(|word| word.value).unwrap_or_default()
}
