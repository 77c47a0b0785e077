//! Loading a plugin: compile it or fetch its compiled code, check what it imports and exports, ask it what it is.
//!
//! What a plugin asks for and this version does not do is refused here, with everything that is wrong at once, before a record flows.

use std::{sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use thiserror::Error;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, types::ComponentItem};

use super::{
    engine::Engine,
    imports::PROVIDED,
    instance::{self, Host, WasmInstanceOfTask},
    wit,
};
use crate::{
    operator::{
        Descriptor, Hooks, InputDescriptor, Instance, InstanceLimits, Keying, OutputDescriptor, Plugin,
        StateDescriptor, StateKind, TaskInfo,
    },
    state::Ttl,
    stream::{BatchLimits, Fault, schema::Schema},
};

const OPERATOR: &str = "wasmill:operator/operator@0.1.0";
const OUR_PACKAGE: &str = "wasmill:operator/";
const OUR_VERSION: &str = "0.1.0";

/// Why a plugin was refused.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Not a component.
    #[error("it is not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// It imports or exports something else than the WIT says.
    #[error("it does not fit wasmill:operator@0.1.0: {0}")]
    Misfit(String),
    /// It was built for another version of the interface.
    #[error(
        "it was built for version {version} of {interface}, but this wasmill has 0.1.0: build it with the SDK of this version"
    )]
    Version {
        /// The interface.
        interface: String,
        /// The version that the component names.
        version: String,
    },
    /// It asks for what this version does not do, or contradicts itself.
    #[error("it {}", .0.join("; it "))]
    Refused(Vec<String>),
    /// It could not say what it is.
    #[error("its export describe failed: {0}")]
    Describe(Fault),
}

/// The exports that are called.
pub(super) struct Exports {
    pub(super) describe: ComponentExportIndex,
    pub(super) open: ComponentExportIndex,
    pub(super) process: ComponentExportIndex,
    pub(super) on_end: ComponentExportIndex,
    pub(super) snapshot: ComponentExportIndex,
    pub(super) close: ComponentExportIndex,
}

/// A loaded plugin.
pub struct WasmPlugin {
    descriptor: Descriptor,
    state_kinds: Vec<StateKind>,
    digest: String,
    bytes: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    pre: InstancePre<Host>,
    indices: Exports,
}

/// SHA-256 of a component, in hexadecimal.
fn digest_of(component: &[u8]) -> String {
    Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl WasmPlugin {
    /// Loads a component.
    ///
    /// # Errors
    /// [`LoadError`]; everything that is wrong is in it.
    pub fn load(engine: &Arc<Engine>, component: &[u8]) -> Result<Self, LoadError> {
        let plugin = Self::inspect(engine, component)?;
        let refusals = plugin.descriptor.refusals();
        if refusals.is_empty() { Ok(plugin) } else { Err(LoadError::Refused(refusals)) }
    }

    /// As `load`, but a plugin whose descriptor asks for what this version does not do is shown instead of refused.
    ///
    /// # Errors
    /// [`LoadError`] when it can't be described at all.
    pub fn inspect(engine: &Arc<Engine>, component: &[u8]) -> Result<Self, LoadError> {
        let digest = digest_of(component);
        let compiled = engine.cache.load(&engine.engine, &digest, component).map_err(|error| {
            let hint = match component {
                [b'\0', b'a', b's', b'm', 1, 0, ..] => "it is a core module; build it for wasm32-wasip2".to_owned(),
                [b'\0', b'a', b's', b'm', ..] => format!("{error:#}"),
                _ => "the file does not begin like WebAssembly".to_owned(),
            };
            LoadError::NotAComponent(hint)
        })?;
        check_imports(engine, &compiled)?;
        let pre = engine.linker.instantiate_pre(&compiled).map_err(|error| LoadError::Misfit(format!("{error:#}")))?;
        let indices = find_exports(&compiled)?;
        let limits = InstanceLimits { memory_bytes_max: 256 << 20, call_time: Duration::from_secs(1) };
        let task = TaskInfo {
            job: String::new(),
            operator: String::new(),
            task: 0,
            parallelism: 1,
            max_parallelism: 1,
            key_groups: 0..1,
            batch: BatchLimits::default(),
        };
        let described = instance::describe(&pre, &indices, limits, &task).map_err(LoadError::Describe)?;
        let descriptor = descriptor(described).map_err(|problem| LoadError::Refused(vec![problem]))?;
        let state_kinds: Vec<_> = descriptor.states.iter().map(|state| state.kind).collect();
        // The types of the other exports are checked once here.
        WasmInstanceOfTask::new(&pre, &indices, limits, &task, state_kinds.clone())
            .map_err(|fault| LoadError::Misfit(fault.message))?;
        let ty = compiled.component_type();
        let imports = ty.imports(&engine.engine).map(|(name, _)| name.to_owned()).collect();
        let exports = ty.exports(&engine.engine).map(|(name, _)| name.to_owned()).collect();
        Ok(Self { state_kinds, descriptor, digest, bytes: component.len(), imports, exports, pre, indices })
    }

    /// Names of what it imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Names of what it exports.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// Size of the component in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Plugin for WasmPlugin {
    fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn instantiate(&self, limits: InstanceLimits, task: &TaskInfo) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(WasmInstanceOfTask::new(&self.pre, &self.indices, limits, task, self.state_kinds.clone())?))
    }
}

/// Refuses what this version does not have, by its name.
fn check_imports(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    let mut refusals = Vec::new();
    let ty = component.component_type();
    check_versions(ty.imports(&engine.engine).chain(ty.exports(&engine.engine)).map(|(name, _)| name))?;
    for (name, item) in ty.imports(&engine.engine) {
        let Some(short) = name.strip_prefix(OUR_PACKAGE) else {
            if !name.starts_with("wasi:") {
                refusals.push(format!("imports {name}, which is neither of wasmill:operator@0.1.0 nor of WASI"));
            }
            continue;
        };
        let interface = short.split('@').next().unwrap_or(short);
        let provided = PROVIDED.iter().find(|(provided, _)| *provided == name).map(|(_, functions)| *functions);
        let asked: Vec<String> = match &item.ty {
            ComponentItem::ComponentInstance(instance) => instance
                .exports(&engine.engine)
                .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_) | ComponentItem::Resource(_)))
                .map(|(name, _)| name.to_owned())
                .collect(),
            _ => Vec::new(),
        };
        let missing: Vec<_> = asked
            .into_iter()
            .filter(|name| provided.is_none_or(|provided| !provided.contains(&name.as_str())))
            .collect();
        if !missing.is_empty() {
            refusals
                .push(format!("asks for {interface} ({}), which this version does not support", missing.join(", ")));
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(LoadError::Refused(refusals)) }
}

/// Refuses a component that was built for another version of the package, before anything else is said about it.
fn check_versions<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), LoadError> {
    let other = names
        .filter(|name| name.starts_with(OUR_PACKAGE))
        .filter_map(|name| name.split_once('@'))
        .find(|(_, version)| *version != OUR_VERSION);
    match other {
        Some((interface, version)) => {
            Err(LoadError::Version { interface: interface.to_owned(), version: version.to_owned() })
        }
        None => Ok(()),
    }
}

fn find_exports(component: &Component) -> Result<Exports, LoadError> {
    let missing = |name: &str| LoadError::Misfit(format!("it does not export {name}"));
    let (_, operator) = component.get_export(None, OPERATOR).ok_or_else(|| missing(OPERATOR))?;
    let find = |name: &str| {
        component
            .get_export(Some(&operator), name)
            .map(|(_, index)| index)
            .ok_or_else(|| missing(&format!("{OPERATOR} {name}")))
    };
    Ok(Exports {
        describe: find("describe")?,
        open: find("open")?,
        process: find("process")?,
        on_end: find("on-end")?,
        snapshot: find("snapshot")?,
        close: find("close")?,
    })
}

fn descriptor(described: wit::Descriptor) -> Result<Descriptor, String> {
    let schema = |what: String, text: &str| {
        Schema::parse(text).map_err(|error| format!("declares {what} with a schema that can't be read: {error}"))
    };
    let inputs = described.inputs.into_iter().map(|input| {
        let name = &input.name;
        Ok(InputDescriptor {
            key: input.key.as_deref().map(|key| schema(format!("the key of input {name}"), key)).transpose()?,
            value: schema(format!("input {name}"), &input.value)?,
            broadcast: input.broadcast,
            name: input.name,
        })
    });
    let outputs = described.outputs.into_iter().map(|output| {
        let name = &output.name;
        Ok(OutputDescriptor {
            keying: match &output.keying {
                wit::Keying::Keep => Keying::Keep,
                wit::Keying::Drop => Keying::Drop,
                wit::Keying::Set(key) => Keying::Set(schema(format!("the key of output {name}"), key)?),
            },
            value: schema(format!("output {name}"), &output.value)?,
            name: output.name,
        })
    });
    let states = described.states.into_iter().map(|state| {
        Ok(StateDescriptor {
            schema: schema(format!("state {}", state.name), &state.schema)?,
            kind: match state.kind {
                wit::StateKind::Value => StateKind::Value,
                wit::StateKind::Reducing => StateKind::Reducing,
                wit::StateKind::Aggregating => StateKind::Aggregating,
                wit::StateKind::KeyedList => StateKind::KeyedList,
                wit::StateKind::KeyedMap => StateKind::KeyedMap,
                wit::StateKind::OperatorList => StateKind::OperatorList,
                wit::StateKind::OperatorUnion => StateKind::OperatorUnion,
                wit::StateKind::Broadcast => StateKind::Broadcast,
            },
            version: state.version,
            migrates_from: state.migrates_from,
            map_key: state
                .map_key
                .as_deref()
                .map(|key| schema(format!("the map keys of state {}", state.name), key))
                .transpose()?,
            ttl: state.ttl.map(|ttl| Ttl {
                ms: ttl.milliseconds,
                on_read: matches!(ttl.refresh, wit::TtlRefresh::OnReadAndWrite),
            }),
            prefetch: state.prefetch,
            on_end: state.on_end,
            name: state.name,
        })
    });
    Ok(Descriptor {
        inputs: inputs.collect::<Result<_, String>>()?,
        outputs: outputs.collect::<Result<_, String>>()?,
        states: states.collect::<Result<_, String>>()?,
        name: described.name,
        version: described.version,
        hooks: Hooks {
            on_watermark: described.hooks & wit::Hooks::ON_WATERMARK != wit::Hooks::default(),
            on_timers: described.hooks & wit::Hooks::ON_TIMERS != wit::Hooks::default(),
            snapshot: described.hooks & wit::Hooks::SNAPSHOT != wit::Hooks::default(),
        },
    })
}
