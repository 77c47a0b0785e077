//! `[[source]]`: where a job's records come from.

use std::{path::PathBuf, time::Duration};

use super::{
    At, nearest,
    section::{Field, Section},
};
use crate::connector::{
    Compression, Content, Generator, InvalidJson, InvalidUtf8, JsonKey, KeyType, LineFormat, NexmarkEvents,
    NexmarkField, NexmarkSettings, SensorSettings,
};

/// Keys of a source of any type.
const KEYS: [&str; 4] = ["id", "type", "parallelism", "watermark"];

/// Keys that a type adds. The `type` of a `--set` drops the others.
const KEYS_OF_TYPE: [(&str, &[&str]); 3] = [
    ("file", &["path", "compression", "format", "invalid-utf8", "invalid-json", "key", "key-type"]),
    ("stdin", &["format", "invalid-utf8", "invalid-json", "key", "key-type"]),
    ("datagen", &DATAGEN_KEYS),
];

const DATAGEN_KEYS: [&str; 11] =
    ["generator", "count", "rate", "keys", "seed", "events", "event-rate", "key-type", "key", "sensors", "interval"];

/// Keys that only some generators have, and which.
const KEYS_OF_GENERATORS: [(&[&str], &[GeneratorName]); 4] = [
    (&["keys"], &[GeneratorName::Sequence]),
    (&["seed"], &[GeneratorName::Nexmark, GeneratorName::Sensors]),
    (&["events", "event-rate", "key", "key-type"], &[GeneratorName::Nexmark]),
    (&["sensors", "interval"], &[GeneratorName::Sensors]),
];

const GENERATORS: [(&str, GeneratorName); 3] =
    [("sequence", GeneratorName::Sequence), ("nexmark", GeneratorName::Nexmark), ("sensors", GeneratorName::Sensors)];

const EVENTS: [(&str, NexmarkEvents); 4] = [
    ("all", NexmarkEvents::All),
    ("person", NexmarkEvents::Person),
    ("auction", NexmarkEvents::Auction),
    ("bid", NexmarkEvents::Bid),
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

/// Events in a second of event time when the file does not say how many: Nexmark's own default.
const EVENT_RATE_DEFAULT: u64 = 10_000;

/// Sensors when the file does not say how many.
const SENSORS_DEFAULT: u64 = 100;

/// Time between two readings of a sensor when the file does not say it.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

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
    Datagen(DatagenSpec),
}

/// Records that are made up.
#[derive(Clone, Debug, PartialEq)]
pub struct DatagenSpec {
    /// What they are.
    pub generator: Generator,
    /// How many records in all. None: endless.
    pub count: Option<u64>,
    /// Records per second, all tasks together. None: as fast as it goes.
    pub rate: Option<f64>,
}

#[derive(Clone, Copy)]
enum Type {
    File,
    Stdin,
    Datagen,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GeneratorName {
    Sequence,
    Nexmark,
    Sensors,
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
    let name = section.optional("generator", |field| field.word(&GENERATORS, &[]));
    let name = name.map_or(GeneratorName::Sequence, |name| name.value);
    for (keys, owners) in KEYS_OF_GENERATORS.iter().filter(|(_, owners)| !owners.contains(&name)) {
        let owners = GENERATORS.iter().filter(|(_, name)| owners.contains(name)).map(|(owner, _)| *owner);
        section.refuse_keys(keys, &format!("goes with the generator {} only", nearest::listed(owners, "or")));
    }
    let count = section.optional("count", |field| field.whole(0..=u64::MAX));
    let rate = section.optional("rate", Field::positive);
    let keys = section.optional("keys", |field| field.whole(1..=u64::MAX));
    let seed = section.optional("seed", |field| field.whole(0..=u64::MAX)).map_or(0, |seed| seed.value);
    let events = section.optional("events", |field| field.word(&EVENTS, &[]));
    let events = events.map(|events| events.value).unwrap_or_default();
    let event_rate = section.optional("event-rate", |field| field.whole(1..=u64::MAX));
    let key = read_nexmark_key(section, events);
    let sensors = section.optional("sensors", |field| field.whole(1..=u64::MAX));
    let interval = section.optional("interval", Field::duration);
    let generator = match name {
        GeneratorName::Sequence => Generator::Sequence { keys: keys.map_or(SEQUENCE_KEYS_DEFAULT, |keys| keys.value) },
        GeneratorName::Nexmark => Generator::Nexmark(NexmarkSettings {
            seed,
            events,
            event_rate: event_rate.map_or(EVENT_RATE_DEFAULT, |rate| rate.value),
            key,
        }),
        GeneratorName::Sensors => Generator::Sensors(SensorSettings {
            sensors: sensors.map_or(SENSORS_DEFAULT, |sensors| sensors.value),
            interval: interval.map_or(INTERVAL_DEFAULT, |interval| interval.value),
            seed,
        }),
    };
    let (count, rate) = (count.map(|count| count.value), rate.map(|rate| rate.value));
    SourceKind::Datagen(DatagenSpec { generator, count, rate })
}

/// The field of a Nexmark event that is the record's key.
fn read_nexmark_key(section: &mut Section<'_>, events: NexmarkEvents) -> Option<NexmarkField> {
    if events == NexmarkEvents::All {
        section.refuse_keys(&["key"], "needs events of one kind: set `events` to \"person\", \"auction\" or \"bid\"");
    }
    if !section.has("key") {
        section.refuse_keys(&["key-type"], "says what `key` is, but there is no `key`");
    }
    let kind = section.optional("key-type", |field| field.word(&KEY_TYPES, &[]));
    let key = section.optional("key", |field| field.word(&events.fields(), &[]))?;
    match kind {
        Some(kind) if kind.value != key.value.kind => {
            let (is, name) = match key.value.kind {
                KeyType::Text => ("a text", "text"),
                KeyType::U64 => ("a number", "u64"),
            };
            let why = format!("`{}` is {is}: its `key-type` is \"{name}\"", key.value.name);
            section.scope.refuse(&kind.at, why);
            None
        }
        Some(_) | None => Some(key.value),
    }
}

fn read_watermark(field: Field<'_>) -> Option<()> {
    let mut section = field.section("this watermark", "{ strategy = \"none\" }")?;
    section.required("strategy", "`none`", |field| field.word(&[("none", ())], &["monotonous", "bounded"]))?;
    section.finish();
    Some(())
}
