//! Everything before a job starts: connectors from the job file, plugins, the plan.

use std::sync::Arc;

use super::{
    DumpFolder, Loader, Located,
    plan::{Carries, Plan, SinkFacts, SourceFacts, plan},
    plugins::JobError,
    version::{Declared, OperatorSettings, OperatorVersion, StateRegister},
};
use crate::{
    connector::{Blackhole, Datagen, FileSink, FileSource, Sink, Source, StdinSource, StdoutSink},
    operator::Plugin,
    spec::{JobFile, SinkKind, SourceKind},
    stream::EventTime,
    wasm::Engine,
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
    /// What plugins are run by.
    pub(super) engine: Arc<Engine>,
    /// What the job file yielded for each operator, in its order.
    pub(super) declared: Vec<Declared>,
    /// By what the states of each operator are stored.
    pub(super) registers: Vec<StateRegister>,
}

impl PreparedJob {
    /// What an operator runs, by its place in the job file.
    pub(super) fn version(&self, index: usize) -> OperatorVersion {
        let settings = OperatorSettings::of(&self.spec.operators[index]);
        OperatorVersion::new(self.plugins[index].clone(), settings, self.registers[index].clone())
    }

    /// Operators with the sinks to which edges for their dead letters lead.
    pub(super) fn dead_letter_sinks(&self) -> Vec<(String, String)> {
        let id = |vertex: usize| self.plan.vertices[vertex].id.clone();
        let dead = self.plan.edges.iter().filter(|edge| edge.carries == Carries::DeadLetters);
        dead.map(|edge| (id(edge.from), id(edge.to))).collect()
    }

    /// An operator runs something else from the next attempt on.
    pub(super) fn set_version(&mut self, index: usize, version: OperatorVersion) {
        let OperatorVersion { located, settings: OperatorSettings { config, limits, on_error }, register, .. } =
            version;
        let spec = &mut self.spec.operators[index];
        (spec.config, spec.limits, spec.on_error.value) = (config, limits, on_error);
        (self.plugins[index], self.registers[index]) = (located, register);
    }

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
    let declared = spec.operators.iter().zip(&plugins).map(|(operator, located)| Declared {
        digest: located.plugin.digest().to_owned(),
        settings: OperatorSettings::of(operator),
    });
    // There is no state from before, so nothing begins to expire now.
    let register = |located: &Located| StateRegister::default().admit(located.plugin.descriptor(), EventTime(0));
    let registers = plugins.iter().map(register);
    Ok(PreparedJob {
        declared: declared.collect(),
        registers: registers.collect(),
        engine: Arc::clone(loader.engine()),
        spec,
        plan,
        plugins,
        sources,
        sinks,
        dump: None,
    })
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
