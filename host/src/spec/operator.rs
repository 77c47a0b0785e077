//! `[[operator]]`: the plugins of a job, and what each may take.

use std::{path::PathBuf, time::Duration};

use serde_json::{Map, Value as Json};

use super::{
    At,
    input::{self, InputSpec, Receiver},
    section::{Field, Section},
    tree::Value,
};

/// An operator.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorSpec {
    /// Its id, unique in the job.
    pub id: At<String>,
    /// Where its code is.
    pub plugin: At<PluginSpec>,
    /// Where its records come from; at least one.
    pub inputs: Vec<InputSpec>,
    /// Number of its tasks. None: the job's.
    pub parallelism: Option<At<u32>>,
    /// What its `open` is given: an object, empty by default.
    pub config: Json,
    /// What each of its instances may take.
    pub limits: Limits,
    /// What becomes of a poison record.
    pub on_error: At<OnError>,
}

/// Where an operator's code is. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PluginSpec {
    /// A crate, to be built: `{ crate = "." }`.
    Crate {
        /// Its folder.
        path: PathBuf,
    },
    /// A component: `"x.wasm"`, or `{ path = "x.wasm", sha256 = "…" }`.
    Component {
        /// The file.
        path: PathBuf,
        /// What its digest must be: 64 hexadecimal digits in lower case.
        sha256: Option<String>,
    },
}

/// What an instance of an operator may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of an instance.
    pub memory: u64,
    /// Time that one call may take.
    pub call_time: Duration,
    /// Bytes of output that one call may stage.
    pub output: u64,
    /// Faults in a minute, beyond which the job fails.
    pub faults_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 256 << 20, call_time: Duration::from_secs(1), output: 64 << 20, faults_per_minute: 600 }
    }
}

/// What becomes of a poison record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnError {
    /// It is a fault of the job.
    Fail,
    /// It is left out and counted.
    Skip,
    /// It goes to a sink.
    DeadLetter {
        /// The sink's id. Whether there is one is the planner's to say.
        sink: String,
    },
}

pub(super) fn read(mut section: Section<'_>) -> Option<OperatorSpec> {
    let id = section.required("id", "a name of lower-case letters, digits and hyphens", Field::id);
    if let Some(id) = &id {
        section.name = format!("operator `{id}`");
    }
    let plugin = section.required("plugin", "`{ crate = \"FOLDER\" }` or the path of a .wasm file", read_plugin);
    let inputs =
        section.required("inputs", "the ids of the sources and operators that its records come from", read_inputs);
    let parallelism = section.optional("parallelism", |field| field.whole(1..=u32::MAX));
    let config = section.optional("config", Field::object);
    let limits = section.optional("limits", read_limits);
    let at = section.at.clone();
    let on_error = section.optional("on-error", read_on_error).unwrap_or(At { value: OnError::Fail, at });
    section.not_yet("capabilities");
    section.finish();
    Some(OperatorSpec {
        id: id?,
        plugin: plugin?,
        inputs: inputs?.value,
        parallelism,
        config: config.map_or_else(|| Json::Object(Map::new()), |config| config.value),
        limits: limits.map_or_else(Limits::default, |limits| limits.value),
        on_error,
    })
}

fn read_inputs(field: Field<'_>) -> Option<Vec<InputSpec>> {
    let field = field.shaped('[')?;
    match &field.node.value {
        Value::List(nodes) if nodes.is_empty() => {
            field.fail("is empty: an operator without inputs never gets a record")
        }
        _ => input::read_all(field, Receiver::Operator),
    }
}

fn read_plugin(field: Field<'_>) -> Option<PluginSpec> {
    let field = field.shaped('{')?;
    match &field.node.value {
        Value::Table(_) => read_plugin_table(field.section("this plugin", "")?),
        Value::Text(_) | Value::Raw(_) => Some(PluginSpec::Component { path: field.path()?, sha256: None }),
        _ => field.mismatch("`{ crate = \"FOLDER\" }` or the path of a .wasm file"),
    }
}

fn read_plugin_table(mut section: Section<'_>) -> Option<PluginSpec> {
    if !section.has("crate") {
        let path =
            section.required("path", "a plugin is `{ crate = \"FOLDER\" }` or `{ path = \"FILE.wasm\" }`", Field::path);
        let given = section.has("sha256");
        let sha256 = section.optional("sha256", read_sha256);
        section.finish();
        // A digest that can't be read is not the same as none.
        return (given == sha256.is_some())
            .then_some(PluginSpec::Component { path: path?.value, sha256: sha256.map(|digest| digest.value) });
    }
    for foreign in ["path", "sha256"] {
        section.optional(foreign, |field| field.fail::<()>("does not go with `crate`, which is built from source"));
    }
    let path = section.optional("crate", Field::path);
    section.finish();
    Some(PluginSpec::Crate { path: path?.value })
}

fn read_sha256(field: Field<'_>) -> Option<String> {
    match &field.node.value {
        Value::Text(text) | Value::Raw(text) if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Some(text.to_ascii_lowercase())
        }
        _ => field.mismatch("64 hexadecimal digits"),
    }
}

fn read_limits(field: Field<'_>) -> Option<Limits> {
    let default = Limits::default();
    let mut section = field.section("`limits`", "{ memory = \"256MiB\" }")?;
    let limits = Limits {
        memory: section.optional("memory", |field| field.size(u64::MAX)).map_or(default.memory, |size| size.value),
        call_time: section.optional("call-time", Field::duration).map_or(default.call_time, |time| time.value),
        output: section.optional("output", |field| field.size(u64::MAX)).map_or(default.output, |size| size.value),
        faults_per_minute: section
            .optional("faults-per-minute", |field| field.whole(0..=u32::MAX))
            .map_or(default.faults_per_minute, |faults| faults.value),
    };
    section.finish();
    Some(limits)
}

fn read_on_error(field: Field<'_>) -> Option<OnError> {
    let field = field.shaped('{')?;
    match &field.node.value {
        Value::Table(_) => {
            let mut section = field.section("`on-error`", "")?;
            let sink = section.required("dead-letter", "the id of the sink that takes poison records", Field::text);
            section.finish();
            Some(OnError::DeadLetter { sink: sink?.value })
        }
        Value::Text(text) | Value::Raw(text) if text == "dead-letter" => {
            field.fail("needs the sink: write `{ dead-letter = \"SINK\" }`")
        }
        Value::Text(_) | Value::Raw(_) => field.word(&[("fail", OnError::Fail), ("skip", OnError::Skip)], &[]),
        _ => field.mismatch("`fail`, `skip` or `{ dead-letter = \"SINK\" }`"),
    }
}
