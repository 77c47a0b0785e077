//! `[[source]]`: where a job's records come from.

use std::path::PathBuf;

use super::{
    At,
    section::{Field, Section},
};
use crate::connector::{Compression, InvalidUtf8};

/// Keys of a source of any type.
const KEYS: [&str; 4] = ["id", "type", "parallelism", "watermark"];

/// Keys that a type adds. The `type` of a `--set` drops the others.
const KEYS_OF_TYPE: [(&str, &[&str]); 3] = [
    ("file", &["path", "invalid-utf8", "compression"]),
    ("stdin", &["invalid-utf8"]),
    ("datagen", &["generator", "count", "keys", "rate"]),
];

const TYPES: [(&str, Type); 3] = [("file", Type::File), ("stdin", Type::Stdin), ("datagen", Type::Datagen)];
const TYPES_LATER: [&str; 2] = ["socket", "kafka"];

const INVALID_UTF8: [(&str, InvalidUtf8); 3] =
    [("replace", InvalidUtf8::Replace), ("skip", InvalidUtf8::Skip), ("fail", InvalidUtf8::Fail)];

const COMPRESSIONS: [(&str, Compression); 4] = [
    ("auto", Compression::Auto),
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("zstd", Compression::Zstd),
];

/// Keys of a sequence when the file does not say how many.
const SEQUENCE_KEYS_DEFAULT: u64 = 1_000;

/// A source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSpec {
    /// Its id, unique in the job.
    pub id: At<String>,
    /// Number of its tasks. None: the job's.
    pub parallelism: Option<At<u32>>,
    /// What it reads.
    pub kind: SourceKind,
}

/// What a source reads.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    /// Lines of text files.
    File {
        /// Files, folders and globs, absolute; at least one.
        paths: Vec<PathBuf>,
        /// How the files are compressed.
        compression: Compression,
        /// What becomes of a line that is not UTF-8.
        invalid_utf8: InvalidUtf8,
    },
    /// Lines of standard input.
    Stdin {
        /// What becomes of a line that is not UTF-8.
        invalid_utf8: InvalidUtf8,
    },
    /// Records that are made up.
    Datagen(SequenceSpec),
}

/// The `sequence` generator.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceSpec {
    /// How many records in all. None: endless.
    pub count: Option<u64>,
    /// How many distinct keys; at least 1, 1,000 by default.
    pub keys: u64,
    /// Records per second, all tasks together. None: as fast as it goes.
    pub rate: Option<f64>,
}

#[derive(Clone, Copy)]
enum Type {
    File,
    Stdin,
    Datagen,
}

/// All keys that a source of this type may have; None for a type that there is not.
pub(super) fn keys(type_name: &str) -> Option<Vec<&'static str>> {
    let (_, own) = KEYS_OF_TYPE.into_iter().find(|(name, _)| *name == type_name)?;
    Some([&KEYS, own].concat())
}

pub(super) fn read(mut section: Section<'_>) -> Option<SourceSpec> {
    let id = section.required("id", "a name of lower-case letters, digits and hyphens", Field::id);
    if let Some(id) = &id {
        section.name = format!("source `{id}`");
    }
    let parallelism = section.optional("parallelism", |field| field.whole(1..=u32::MAX));
    section.optional("watermark", read_watermark);
    let kind = section.required("type", "`file`, `stdin` or `datagen`", |field| field.word(&TYPES, &TYPES_LATER))?;
    section.at = kind.at;
    let kind = match kind.value {
        Type::File => read_file(&mut section),
        Type::Stdin => Some(SourceKind::Stdin { invalid_utf8: read_invalid_utf8(&mut section) }),
        Type::Datagen => Some(read_datagen(&mut section)),
    };
    section.finish();
    Some(SourceSpec { id: id?, parallelism, kind: kind? })
}

fn read_file(section: &mut Section<'_>) -> Option<SourceKind> {
    let paths = section.required("path", "a file, folder or glob, or a list of them", Field::paths);
    let invalid_utf8 = read_invalid_utf8(section);
    let compression = section.optional("compression", |field| field.word(&COMPRESSIONS, &[]));
    let compression = compression.map(|word| word.value).unwrap_or_default();
    Some(SourceKind::File { paths: paths?.value, compression, invalid_utf8 })
}

fn read_invalid_utf8(section: &mut Section<'_>) -> InvalidUtf8 {
    section.optional("invalid-utf8", |field| field.word(&INVALID_UTF8, &[])).map(|word| word.value).unwrap_or_default()
}

fn read_datagen(section: &mut Section<'_>) -> SourceKind {
    section.optional("generator", |field| field.word(&[("sequence", ())], &[]));
    let count = section.optional("count", |field| field.whole(0..=u64::MAX));
    let keys = section.optional("keys", |field| field.whole(1..=u64::MAX));
    let rate = section.optional("rate", Field::positive);
    SourceKind::Datagen(SequenceSpec {
        count: count.map(|count| count.value),
        keys: keys.map_or(SEQUENCE_KEYS_DEFAULT, |keys| keys.value),
        rate: rate.map(|rate| rate.value),
    })
}

fn read_watermark(field: Field<'_>) -> Option<()> {
    let mut section = field.section("this watermark", "{ strategy = \"none\" }")?;
    section.required("strategy", "`none`", |field| field.word(&[("none", ())], &["monotonous", "bounded"]))?;
    section.finish();
    Some(())
}
