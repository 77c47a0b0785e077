//! `[[source]]`: where a job's records come from.

use std::path::PathBuf;

use super::{
    At,
    section::{Field, Section},
};
use crate::connector::{Compression, Content, InvalidJson, InvalidUtf8, JsonKey, KeyType, LineFormat};

/// Keys of a source of any type.
const KEYS: [&str; 4] = ["id", "type", "parallelism", "watermark"];

/// Keys that a type adds. The `type` of a `--set` drops the others.
const KEYS_OF_TYPE: [(&str, &[&str]); 3] = [
    ("file", &["path", "compression", "format", "invalid-utf8", "invalid-json", "key", "key-type"]),
    ("stdin", &["format", "invalid-utf8", "invalid-json", "key", "key-type"]),
    ("datagen", &["generator", "count", "keys", "rate"]),
];

const TYPES: [(&str, Type); 3] = [("file", Type::File), ("stdin", Type::Stdin), ("datagen", Type::Datagen)];
const TYPES_LATER: [&str; 2] = ["socket", "kafka"];

const INVALID_UTF8: [(&str, InvalidUtf8); 3] =
    [("replace", InvalidUtf8::Replace), ("skip", InvalidUtf8::Skip), ("fail", InvalidUtf8::Fail)];

const INVALID_JSON: [(&str, InvalidJson); 2] = [("fail", InvalidJson::Fail), ("skip", InvalidJson::Skip)];

const KEY_TYPES: [(&str, KeyType); 2] = [("text", KeyType::Text), ("u64", KeyType::U64)];

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
        /// What their lines are.
        format: LineFormat,
    },
    /// Lines of standard input.
    Stdin {
        /// What the lines are.
        format: LineFormat,
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
        Type::Stdin => Some(SourceKind::Stdin { format: read_line_format(&mut section) }),
        Type::Datagen => Some(read_datagen(&mut section)),
    };
    section.finish();
    Some(SourceSpec { id: id?, parallelism, kind: kind? })
}

fn read_file(section: &mut Section<'_>) -> Option<SourceKind> {
    let paths = section.required("path", "a file, folder or glob, or a list of them", Field::paths);
    let compression = section.optional("compression", |field| field.word(&COMPRESSIONS, &[]));
    let compression = compression.map(|word| word.value).unwrap_or_default();
    let format = read_line_format(section);
    Some(SourceKind::File { paths: paths?.value, compression, format })
}

fn read_line_format(section: &mut Section<'_>) -> LineFormat {
    let is_json = section.optional("format", |field| field.word(&[("lines", false), ("json", true)], &[]));
    let is_json = is_json.is_some_and(|word| word.value);
    let invalid_utf8 = section.optional("invalid-utf8", |field| field.word(&INVALID_UTF8, &[]));
    if !is_json {
        section.refuse_keys(&["invalid-json", "key", "key-type"], "goes with `format = \"json\"` only");
    }
    let invalid = section.optional("invalid-json", |field| field.word(&INVALID_JSON, &[]));
    let key = read_key(section);
    let content = match is_json {
        false => Content::Text,
        true => Content::Json { invalid: invalid.map(|word| word.value).unwrap_or_default(), key },
    };
    LineFormat { invalid_utf8: invalid_utf8.map(|word| word.value).unwrap_or_default(), content }
}

/// Where the key of a record is in its JSON document.
fn read_key(section: &mut Section<'_>) -> Option<JsonKey> {
    if !section.has("key") {
        section.refuse_keys(&["key-type"], "says what `key` is, but there is no `key`");
    }
    let kind = section.optional("key-type", |field| field.word(&KEY_TYPES, &[]));
    let kind = kind.map(|word| word.value).unwrap_or_default();
    let key = section.optional("key", |field| field.text_as(|path| JsonKey::new(path, kind)));
    key.map(|key| key.value)
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
