//! `wasmill swap`: replaces operators of a running job.
//!
//! Plugins are built and looked at here, so that what is no plugin is refused before anything is sent, and compiled code lies where the job finds it. Whether they fit is the job's to say.

pub(super) mod answer;

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::bail;
use bytes::Bytes;
use serde::Deserialize;

use self::answer::SwapShown;
use super::{
    EXIT_DONE, EXIT_FAILED,
    args::{JobArgs, SwapArgs},
    place::cache_folder,
    run::read_job,
    running::client,
    savepoint::answered,
    show,
};
use crate::{
    control::{Client, OperatorOnWire, OperatorsOnWire, SwapOnWire},
    job::{JobError, Loader},
    operator::Plugin,
    spec::{JobFile, nearest},
    wasm::WasmPlugin,
};

/// What is known of the job that runs.
#[derive(Deserialize)]
struct Status {
    vertices: Vec<Vertex>,
    swap: Option<answer::UnderWay>,
}

#[derive(Deserialize)]
struct Vertex {
    id: String,
    kind: String,
    operator: Option<Operator>,
}

#[derive(Deserialize)]
struct Operator {
    plugin: answer::PluginShown,
}

/// An operator with what it shall be, and the component if that is another one.
type Wanted = (String, OperatorOnWire, Option<Bytes>);

pub(super) fn swap(args: SwapArgs) -> anyhow::Result<u8> {
    let client = client(&args.job)?;
    let status: Status = client.status()?;
    if status.vertices.is_empty() {
        bail!("job {} is only being started; try again when it runs", args.job);
    }
    let wanted = match &args.to {
        Some(file) => like_job_file(&args, file, &status)?,
        None => replacements(&args, &status)?,
    };
    for (_, operator, component) in &wanted {
        if let (Some(digest), Some(component)) = (&operator.component, component) {
            client.upload(digest, component)?;
        }
    }
    let request = SwapOnWire {
        operators: OperatorsOnWire(wanted.into_iter().map(|(id, operator, _)| (id, operator)).collect()),
        dry_run: args.dry_run,
        wait: args.wait,
        drop_state: args.drop_state.iter().map(|state| format!("{}/{}", state.operator, state.state)).collect(),
    };
    let answer = answered(client.swap(&request), args.json)?;
    let shown = SwapShown::deserialize(&answer)?;
    if args.json {
        show::out(|out| writeln!(out, "{answer}"))?;
    }
    if shown.is_rolled_back() {
        show::error(&anyhow::anyhow!(shown.text(None)));
        return Ok(EXIT_FAILED);
    }
    if !args.json {
        show::out(|out| writeln!(out, "{}", shown.text(probation(&client).as_ref())))?;
    }
    Ok(EXIT_DONE)
}

/// How long the probation lasts still. It may be over, and so may the job.
fn probation(client: &Client) -> Option<answer::UnderWay> {
    client.status::<Status>().ok()?.swap
}

fn replacements(args: &SwapArgs, status: &Status) -> anyhow::Result<Vec<Wanted>> {
    let known: Vec<_> = status.of_kind("operator").collect();
    let mut seen = BTreeSet::new();
    for (id, _) in &args.replacements {
        if !seen.insert(id) {
            bail!("operator {id} comes twice");
        }
        if !known.contains(&id.as_str()) {
            let hint = match nearest(id, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it has {}", known.join(", ")),
            };
            bail!("job {} has no operator `{id}`; {hint}", args.job);
        }
    }
    let mut loader = Loader::new(cache_folder().as_deref())?;
    let load = |(id, plugin): &(String, PathBuf)| {
        let (digest, component) = load(&mut loader, id, plugin)?;
        let operator = OperatorOnWire { component: Some(digest), ..OperatorOnWire::default() };
        Ok((id.clone(), operator, Some(component)))
    };
    args.replacements.iter().map(load).collect()
}

/// Builds a crate, or reads a component, and looks at it.
fn load(loader: &mut Loader, operator: &str, plugin: &Path) -> anyhow::Result<(String, Bytes)> {
    if plugin.is_dir() {
        let located = loader.load_crate(plugin, &mut show::say)?;
        return Ok((located.plugin.digest().to_owned(), located.component));
    }
    let (operator, path) = (operator.to_owned(), plugin.to_owned());
    let component = match fs::read(plugin) {
        Ok(component) => component,
        Err(source) => return Err(JobError::Read { operator, path, source }.into()),
    };
    match WasmPlugin::load(loader.engine(), &component) {
        Ok(plugin) => Ok((plugin.digest().to_owned(), component.into())),
        Err(source) => Err(JobError::Load { operator, path, source }.into()),
    }
}

/// Every operator as a job file has it.
fn like_job_file(args: &SwapArgs, file: &Path, status: &Status) -> anyhow::Result<Vec<Wanted>> {
    let job = read_job(&JobArgs { job: file.to_owned(), sets: args.sets.clone() })?;
    if job.name != args.job {
        bail!("{} is the job file of {}, not of {}", file.display(), job.name, args.job);
    }
    status.has_the_vertices_of(&job)?;
    let plugins = Loader::new(cache_folder().as_deref())?.load_all(&job, &mut show::say)?;
    let wanted = job.operators.into_iter().zip(plugins).map(|(operator, located)| {
        let digest = located.plugin.digest();
        let runs = status.vertices.iter().filter(|vertex| vertex.id == operator.id.value);
        let mut runs = runs.filter_map(|vertex| vertex.operator.as_ref());
        let is_another = runs.all(|runs| runs.plugin.digest != digest);
        let on_wire = OperatorOnWire {
            component: is_another.then(|| digest.to_owned()),
            config: Some(operator.config),
            limits: Some(operator.limits.into()),
            on_error: Some(operator.on_error.value.into()),
        };
        (operator.id.value, on_wire, is_another.then_some(located.component))
    });
    Ok(wanted.collect())
}

impl Status {
    fn of_kind<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s str> {
        self.vertices.iter().filter(move |vertex| vertex.kind == kind).map(|vertex| vertex.id.as_str())
    }

    /// Checks that a job file has the sources, operators and sinks that run. How they are joined is the job's to compare.
    fn has_the_vertices_of(&self, job: &JobFile) -> anyhow::Result<()> {
        let wanted: [(&str, BTreeSet<&str>); 3] = [
            ("source", job.sources.iter().map(|source| source.id.value.as_str()).collect()),
            ("operator", job.operators.iter().map(|operator| operator.id.value.as_str()).collect()),
            ("sink", job.sinks.iter().map(|sink| sink.id.value.as_str()).collect()),
        ];
        let mut differences = Vec::new();
        for (kind, wanted) in wanted {
            let runs: BTreeSet<_> = self.of_kind(kind).collect();
            differences.extend(wanted.difference(&runs).map(|id| format!("\n  {kind} {id} is in the job file only")));
            differences
                .extend(runs.difference(&wanted).map(|id| format!("\n  {kind} {id} runs, and is not in the job file")));
        }
        if differences.is_empty() {
            return Ok(());
        }
        bail!(
            "a swap replaces operators; what is added or removed needs another start (wasmill stop, wasmill run):{}",
            differences.concat()
        )
    }
}
