//! From the job file's `plugin` to a loaded plugin: builds crates, reads components, checks their digests.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use thiserror::Error;

use super::{
    builder::{BuildError, Builder},
    stored_state::StoredStateError,
};
use crate::{
    checkpoint::StorageError,
    connector::ConnectorError,
    operator::Plugin,
    spec::{JobFile, PluginSpec, SpecError},
    stream::Fault,
    wasm::{Engine, EngineError, LoadError, WasmPlugin},
};

/// Why a job did not start, or failed.
#[derive(Debug, Error)]
pub enum JobError {
    /// The job file is wrong, or asks for what can't be.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A source or sink does not fit what is there.
    #[error("{id}: {source}")]
    Connector {
        /// The source or sink.
        id: String,
        /// Why.
        source: ConnectorError,
    },
    /// A plugin could not be built.
    #[error("operator {operator}: {source}")]
    Build {
        /// The operator.
        operator: String,
        /// Why.
        source: BuildError,
    },
    /// A plugin could not be read.
    #[error("operator {operator}: the plugin {}: {source}", path.display())]
    Read {
        /// The operator.
        operator: String,
        /// The component.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A plugin is not the one that the job file pins.
    #[error("operator {operator}: {} has the SHA-256 {found}, but the job file wants {wanted}", path.display())]
    Digest {
        /// The operator.
        operator: String,
        /// The component.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The digest in the job file.
        wanted: String,
    },
    /// A plugin was refused.
    #[error("operator {operator}: the plugin {} was refused: {source}", path.display())]
    Load {
        /// The operator.
        operator: String,
        /// The component.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
    /// WebAssembly can't be run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The storage of checkpoints can't be used.
    #[error("the storage of checkpoints: {0}")]
    Storage(StorageError),
    /// A folder can't be made.
    #[error("{}: making the folder: {source}", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Another run of the job is under way.
    #[error("{0}")]
    Running(String),
    /// A checkpoint can't be read.
    #[error(transparent)]
    State(StoredStateError),
    /// A checkpoint does not fit the job, or what was asked for.
    #[error("{0}")]
    Refused(String),
    /// The job failed while it ran.
    #[error("{0}")]
    Fault(Fault),
}

/// Builds and loads plugins; each component once, however many operators use it.
pub struct Loader {
    engine: Arc<Engine>,
    builder: Builder,
    loaded: HashMap<PathBuf, (Arc<WasmPlugin>, Bytes)>,
}

/// A loaded plugin, and where its component lies.
#[derive(Clone)]
pub struct Located {
    /// The plugin.
    pub plugin: Arc<WasmPlugin>,
    /// Where the component lies.
    pub path: PathBuf,
    /// The component, as it was loaded.
    pub component: Bytes,
}

impl Loader {
    /// A loader that keeps compiled code and stamps of builds in folders below `cache` (none: nothing is kept but stamps in a temporary folder).
    ///
    /// # Errors
    /// When WebAssembly can't be run here.
    pub fn new(cache: Option<&Path>) -> Result<Self, EngineError> {
        let builder = Builder::new(Self::stamps_folder(cache));
        Ok(Self { engine: Engine::new(cache.map(|cache| cache.join("compiled")))?, builder, loaded: HashMap::new() })
    }

    /// Where stamps of builds are kept.
    pub fn stamps_folder(cache: Option<&Path>) -> PathBuf {
        let temporary = || std::env::temp_dir().join(format!("wasmill-builds-{}", nix::unistd::geteuid()));
        cache.map_or_else(temporary, |cache| cache.join("builds"))
    }

    /// What plugins are run by.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The plugins of a job's operators, in their order.
    ///
    /// # Errors
    /// [`JobError`] for the first plugin that can't be had.
    pub fn load_all(&mut self, job: &JobFile, say: &mut dyn FnMut(&str)) -> Result<Vec<Located>, JobError> {
        job.operators
            .iter()
            .map(|operator| self.load(operator.id.value.as_str(), &operator.plugin.value, say))
            .collect()
    }

    /// The plugin of a crate, for use outside of a job file. Messages name it by its folder.
    ///
    /// # Errors
    /// [`JobError`] when it can't be built or is refused.
    pub fn load_crate(&mut self, folder: &Path, say: &mut dyn FnMut(&str)) -> Result<Located, JobError> {
        self.load(&folder.display().to_string(), &PluginSpec::Crate { path: folder.to_owned() }, say)
    }

    fn load(&mut self, operator: &str, spec: &PluginSpec, say: &mut dyn FnMut(&str)) -> Result<Located, JobError> {
        let (path, built) = match spec {
            PluginSpec::Component { path, .. } => (path.clone(), None),
            PluginSpec::Crate { path } => {
                let built = self
                    .builder
                    .build(path, say)
                    .map_err(|source| JobError::Build { operator: operator.to_owned(), source })?;
                (built.component.clone(), Some(built))
            }
        };
        let (plugin, component) = match self.loaded.get(&path) {
            Some(loaded) => loaded.clone(),
            None => {
                let component = fs::read(&path).map_err(|source| JobError::Read {
                    operator: operator.to_owned(),
                    path: path.clone(),
                    source,
                })?;
                let loaded = WasmPlugin::load(&self.engine, &component);
                let plugin = Arc::new(loaded.map_err(|source| JobError::Load {
                    operator: operator.to_owned(),
                    path: path.clone(),
                    source,
                })?);
                let loaded = (plugin, Bytes::from(component));
                self.loaded.insert(path.clone(), loaded.clone());
                loaded
            }
        };
        let pinned = match spec {
            PluginSpec::Component { sha256, .. } => sha256.clone(),
            PluginSpec::Crate { .. } => built.map(|built| built.digest),
        };
        if let Some(wanted) = pinned.filter(|wanted| !wanted.eq_ignore_ascii_case(plugin.digest())) {
            return Err(JobError::Digest {
                operator: operator.to_owned(),
                path,
                found: plugin.digest().to_owned(),
                wanted,
            });
        }
        Ok(Located { plugin, path, component })
    }
}
