//! `[checkpoint]`: when consistent copies of a job are taken, and where they lie.

use std::{path::PathBuf, time::Duration};

use super::{
    At, Location, nearest,
    section::{Field, Scope},
    tree::Value,
};
use crate::checkpoint::Mode;

/// Where checkpoints lie when the file does not say it, seen from the job file's folder. The job's name is added below it.
const STORAGE_DEFAULT: &str = ".wasmill";

/// From one checkpoint to the next, when the file does not say it.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);

/// How long a checkpoint may take when the file does not say it (Flink's default).
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);

/// Checkpoints that are kept when the file does not say how many.
const RETAIN_DEFAULT: u32 = 3;

const MODES: [(&str, Mode); 2] = [("exactly-once", Mode::ExactlyOnce), ("at-least-once", Mode::AtLeastOnce)];

/// How the URLs of storages begin, and what comes next.
const SCHEMES: [(&str, &str); 5] = [
    ("s3", "s3://BUCKET/PATH"),
    ("gs", "gs://BUCKET/PATH"),
    ("az", "az://CONTAINER/PATH"),
    ("memory", "memory://"),
    ("file", "file:///PATH"),
];

/// When checkpoints are taken, and where they lie.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointSettings {
    /// Where they lie. The job's name is added below it.
    pub storage: At<StorageSpec>,
    /// From trigger to trigger.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How many are kept; at least one.
    pub retain: u32,
    /// What they promise about records.
    pub mode: Mode,
    /// How many in a row may fail before the job does. None: any number.
    pub tolerable_failures: Option<u32>,
}

/// A place for objects. Whether it can be reached is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageSpec {
    /// A folder, absolute.
    Folder(PathBuf),
    /// An object store: `s3://`, `gs://`, `az://`, `memory://` or `file:///`, and what follows.
    Url(String),
}

pub(super) fn read(field: Field<'_>) -> Option<CheckpointSettings> {
    let mut section = field.section("`checkpoint`", "{ interval = \"10s\" }")?;
    let (at, is_given) = (section.at.clone(), section.has("storage"));
    let storage = section.optional("storage", read_storage);
    let interval = section.optional("interval", Field::duration);
    let timeout = section.optional("timeout", Field::duration);
    let retain = section.optional("retain", |field| field.whole(1..=u32::MAX));
    let mode = section.optional("mode", |field| field.word(&MODES, &[]));
    let tolerable_failures = section.optional("tolerable-failures", |field| field.whole(0..=u32::MAX));
    let scope = section.scope;
    section.finish();
    Some(CheckpointSettings {
        // A place that can't be read is not the same as none.
        storage: if is_given { storage? } else { default_storage(scope, at) },
        interval: interval.map_or(INTERVAL_DEFAULT, |interval| interval.value),
        timeout: timeout.map_or(TIMEOUT_DEFAULT, |timeout| timeout.value),
        retain: retain.map_or(RETAIN_DEFAULT, |retain| retain.value),
        mode: mode.map(|mode| mode.value).unwrap_or_default(),
        tolerable_failures: tolerable_failures.map(|failures| failures.value),
    })
}

fn default_storage(scope: &Scope<'_>, at: Location) -> At<StorageSpec> {
    At { value: StorageSpec::Folder(scope.folder.join(STORAGE_DEFAULT)), at }
}

fn read_storage(field: Field<'_>) -> Option<StorageSpec> {
    let (Value::Text(text) | Value::Raw(text)) = &field.node.value else {
        return field.mismatch("a path or a URL in a string");
    };
    let Some((scheme, rest)) = text.split_once("://") else { return field.path().map(StorageSpec::Folder) };
    let schemes = SCHEMES.map(|(scheme, _)| scheme);
    let Some((_, example)) = SCHEMES.into_iter().find(|(known, _)| *known == scheme) else {
        let hint = nearest::hint(scheme, schemes, "there are");
        return field.fail(format_args!("is a URL of an unknown kind; {hint}"));
    };
    let fits = match scheme {
        "memory" => matches!(rest, "" | "/"),
        "file" => rest.len() > 1 && rest.starts_with('/'),
        _ => !rest.is_empty() && !rest.starts_with('/'),
    };
    match fits {
        true => Some(StorageSpec::Url(text.clone())),
        false if scheme == "memory" => field.mismatch(format_args!("`{example}`, with nothing behind it")),
        false if scheme == "file" => field.mismatch(format_args!("such as `{example}`, with three slashes")),
        false => field.mismatch(format_args!("such as `{example}`")),
    }
}
