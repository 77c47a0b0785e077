//! `wasmill swap`: replaces operators of a running job.
//!
//! Plugins are built and looked at here, so that what is no plugin is refused before anything is sent, and compiled code lies where the job finds it. Whether they fit is the job's to say.

pub(super) mod answer;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::bail;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use self::answer::SwapShown;
use super::{
    EXIT_DONE, EXIT_FAILED,
    args::{JobArgs, SwapArgs},
    place::cache_folder,
    run::read_job,
    running::client,
    show,
};
use crate::{
    control::{Client, ClientError, OperatorOnWire, OperatorsOnWire, SwapOnWire},
    job::{JobError, JobGraph, Loader, PluginRef, prepare},
    spec::nearest,
    wasm::WasmPlugin,
};

/// What is known of the job that runs.
#[derive(Deserialize)]
struct Status {
    vertices: Vec<Vertex>,
    graph: JobGraph,
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
    plugin: PluginRef,
}

/// What an operator shall be.
struct Wanted {
    id: String,
    operator: OperatorOnWire,
    plugin: PluginRef,
    /// Where that is another one.
    component: Option<Bytes>,
}

pub(super) fn swap(args: SwapArgs) -> anyhow::Result<u8> {
    let client = client(&args.job)?;
    let status: Status = client.status()?;
    if status.vertices.is_empty() {
        bail!("job {} is only being started; try again when it runs", args.job);
    }
    let mut asked = Asked::default();
    let swapped = ask(&args, &client, &status, &mut asked);
    if let (Err(error), true) = (&swapped, args.json && !asked.is_answered) {
        show::out(|out| writeln!(out, "{}", not_swapped(&status, &asked, error)))?;
    }
    swapped
}

/// What was asked for, as far as it came to that.
#[derive(Default)]
struct Asked {
    plugins: BTreeMap<String, PluginRef>,
    /// What a swap can't change.
    unfit: Vec<Json>,
    /// The job's answer is written.
    is_answered: bool,
}

fn ask(args: &SwapArgs, client: &Client, status: &Status, asked: &mut Asked) -> anyhow::Result<u8> {
    let (wanted, unfit) = match &args.to {
        Some(file) => like_job_file(args, file, status)?,
        None => (replacements(args, status)?, Vec::new()),
    };
    asked.plugins = wanted.iter().map(|wanted| (wanted.id.clone(), wanted.plugin.clone())).collect();
    for Wanted { operator, component, .. } in &wanted {
        if let (Some(digest), Some(component)) = (&operator.component, component) {
            client.upload(digest, component)?;
        }
    }
    let request = SwapOnWire {
        operators: OperatorsOnWire(wanted.into_iter().map(|wanted| (wanted.id, wanted.operator)).collect()),
        // Where something can't be changed, the job is only asked what else does not fit.
        dry_run: args.dry_run || !unfit.is_empty(),
        wait: args.wait,
        drop_state: args.drop_state.iter().map(|state| format!("{}/{}", state.operator, state.state)).collect(),
    };
    if !unfit.is_empty() {
        let also = client.swap::<Json>(&request).err();
        let of_job = |text: &String| json!({ "operator": null, "kind": "incompatible", "text": text });
        asked.unfit = unfit.iter().map(of_job).chain(also.iter().flat_map(differences)).collect();
        return Err(JobError::Refused(refusal(&unfit, also)).into());
    }
    let answer: Json = client.swap(&request)?;
    if args.json {
        show::out(|out| writeln!(out, "{answer}"))?;
        asked.is_answered = true;
    }
    let shown = SwapShown::deserialize(&answer)?;
    if shown.is_rolled_back() {
        show::error(&anyhow::anyhow!(shown.text(None)));
        return Ok(EXIT_FAILED);
    }
    if !args.json {
        show::out(|out| writeln!(out, "{}", shown.text(probation(client).as_ref())))?;
    }
    Ok(EXIT_DONE)
}

/// Everything for which a job file can't be swapped to.
fn refusal(unfit: &[String], also: Option<ClientError>) -> String {
    let list: String = unfit.iter().map(|difference| format!("\n  - {difference}")).collect();
    let also = also.map(|error| format!("\nand of the operators: {error}")).unwrap_or_default();
    format!(
        "a swap replaces operators; other changes need another start (wasmill stop, wasmill run --from):{list}{also}"
    )
}

/// All that a job says does not fit.
fn differences(error: &ClientError) -> Vec<Json> {
    match error {
        ClientError::Refused(refused) => refused.document["differences"].as_array().cloned().unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The answer where nothing was swapped, with the members of every other one.
fn not_swapped(status: &Status, asked: &Asked, error: &anyhow::Error) -> Json {
    let of_job = error.downcast_ref::<ClientError>();
    // Of one that went away meanwhile it is not known what it still did.
    let (is_known, kind) = match of_job {
        Some(ClientError::Refused(refused)) => (refused.kind().is_some(), refused.kind()),
        Some(ClientError::Unreachable { .. } | ClientError::Answer { .. }) => (false, None),
        Some(ClientError::TooLarge { .. }) | None => (true, (!asked.unfit.is_empty()).then_some("incompatible")),
    };
    let runs = status.vertices.iter().filter(|vertex| asked.plugins.contains_key(&vertex.id));
    let from: BTreeMap<_, _> =
        runs.filter_map(|vertex| Some((&vertex.id, &vertex.operator.as_ref()?.plugin))).collect();
    let of_job = of_job.map(differences).unwrap_or_default();
    json!({
        "outcome": if is_known { "refused" } else { "unknown" },
        "kind": kind,
        "from": from,
        "to": asked.plugins,
        "pause_ms": null,
        "prepare_ms": null,
        "checkpoint": null,
        "migrations": [],
        "differences": asked.unfit.iter().chain(&of_job).collect::<Vec<_>>(),
        "reason": format!("{error:#}"),
    })
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
        let (plugin, component) = load(&mut loader, id, plugin)?;
        let operator = OperatorOnWire { component: Some(plugin.digest.clone()), ..OperatorOnWire::default() };
        Ok(Wanted { id: id.clone(), operator, plugin, component: Some(component) })
    };
    args.replacements.iter().map(load).collect()
}

/// Builds a crate, or reads a component, and looks at it.
fn load(loader: &mut Loader, operator: &str, plugin: &Path) -> anyhow::Result<(PluginRef, Bytes)> {
    if plugin.is_dir() {
        let located = loader.load_crate(plugin, &mut show::say)?;
        return Ok((PluginRef::of(&*located.plugin), located.component));
    }
    let (operator, path) = (operator.to_owned(), plugin.to_owned());
    let component = match fs::read(plugin) {
        Ok(component) => component,
        Err(source) => return Err(JobError::Read { operator, path, source }.into()),
    };
    match WasmPlugin::load(loader.engine(), &component) {
        Ok(plugin) => Ok((PluginRef::of(&plugin), component.into())),
        Err(source) => Err(JobError::Load { operator, path, source }.into()),
    }
}

/// Every operator as a job file has it, and what of that a swap can't change.
fn like_job_file(args: &SwapArgs, file: &Path, status: &Status) -> anyhow::Result<(Vec<Wanted>, Vec<String>)> {
    let job = read_job(&JobArgs { job: file.to_owned(), sets: args.sets.clone() })?;
    if job.name != args.job {
        bail!("{} is the job file of {}, not of {}", file.display(), job.name, args.job);
    }
    let prepared = prepare(job, &mut Loader::new(cache_folder().as_deref())?, &mut show::say)?;
    let unfit = status.graph.differences(&prepared.graph());
    // Of an operator that does not run nothing can be asked.
    let runs = |id: &str| status.vertices.iter().any(|vertex| vertex.kind == "operator" && vertex.id == id);
    let operators = prepared.spec.operators.into_iter().zip(prepared.plugins);
    let wanted = operators.filter(|(operator, _)| runs(&operator.id)).map(|(operator, located)| {
        let plugin = PluginRef::of(&*located.plugin);
        let runs = status.vertices.iter().filter(|vertex| vertex.id == operator.id.value);
        let mut runs = runs.filter_map(|vertex| vertex.operator.as_ref());
        let is_another = runs.all(|runs| runs.plugin.digest != plugin.digest);
        let on_wire = OperatorOnWire {
            component: is_another.then(|| plugin.digest.clone()),
            config: Some(operator.config),
            limits: Some(operator.limits.into()),
            on_error: Some(operator.on_error.value.into()),
        };
        Wanted { id: operator.id.value, operator: on_wire, plugin, component: is_another.then_some(located.component) }
    });
    Ok((wanted.collect(), unfit))
}

impl Status {
    fn of_kind<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s str> {
        self.vertices.iter().filter(move |vertex| vertex.kind == kind).map(|vertex| vertex.id.as_str())
    }
}
