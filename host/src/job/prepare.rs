//! Everything before a job starts: connectors from the job file, plugins, the plan.

use std::sync::Arc;

use super::{
    DumpFolder, Loader, Located,
    plan::{Plan, SinkFacts, SourceFacts, plan},
    plugins::JobError,
};
use crate::{
    connector::{Blackhole, Datagen, FileSink, FileSource, Sink, Source, StdinSource, StdoutSink},
    operator::Plugin,
    spec::{JobFile, SinkKind, SourceKind},
};

/// A job that can run.
pub struct PreparedJob {
    /// What the user wrote.
    pub spec: JobFile,
    /// How it is run.
    pub plan: Plan,
    /// The operators' plugins, in the order of the job file.
    pub plugins: Vec<Located>,
    pub(super) sources: Vec<Arc<dyn Source>>,
    pub(super) sinks: Vec<Arc<dyn Sink>>,
    pub(super) dump: Option<DumpFolder>,
}

impl PreparedJob {
    /// Lets the state of all tasks be written to a folder when the job has ended well or was stopped.
    pub fn dump_state_to(&mut self, folder: DumpFolder) {
        self.dump = Some(folder);
    }
}

/// Builds and loads the plugins of a job and plans it. Touches neither inputs nor outputs.
///
/// # Errors
/// [`JobError`]: what has to be changed in the job file or in a plugin.
pub fn prepare(spec: JobFile, loader: &mut Loader, say: &mut dyn FnMut(&str)) -> Result<PreparedJob, JobError> {
    let plugins = loader.load_all(&spec, say)?;
    let sources: Vec<Arc<dyn Source>> = spec.sources.iter().map(|source| open_source(&source.kind)).collect();
    let sinks: Vec<Arc<dyn Sink>> = spec.sinks.iter().map(|sink| open_sink(&sink.kind)).collect();
    let source_facts: Vec<_> = sources
        .iter()
        .map(|source| SourceFacts {
            key: source.key_schema(),
            value: source.value_schema(),
            parallelism_max: source.parallelism_max(),
        })
        .collect();
    let sink_facts: Vec<_> = sinks
        .iter()
        .map(|sink| SinkFacts { parallelism_max: sink.parallelism_max(), reads_keys: sink.reads_keys() })
        .collect();
    let descriptors: Vec<_> = plugins.iter().map(|located| located.plugin.descriptor()).collect();
    let plan = plan(&spec, &source_facts, &descriptors, &sink_facts)?;
    Ok(PreparedJob { spec, plan, plugins, sources, sinks, dump: None })
}

fn open_source(kind: &SourceKind) -> Arc<dyn Source> {
    match kind {
        SourceKind::File { paths, compression, format } => {
            Arc::new(FileSource::new(paths.clone(), *compression, format.clone()))
        }
        SourceKind::Stdin { format } => Arc::new(StdinSource::new(format.clone())),
        SourceKind::Datagen(spec) => Arc::new(Datagen::new(spec.generator.clone(), spec.count, spec.rate)),
    }
}

fn open_sink(kind: &SinkKind) -> Arc<dyn Sink> {
    match kind {
        SinkKind::File { path, format, part_bytes } => Arc::new(FileSink::new(path.clone(), *format, *part_bytes)),
        SinkKind::Stdout { format } => Arc::new(StdoutSink::new(*format)),
        SinkKind::Blackhole => Arc::new(Blackhole::new()),
    }
}
