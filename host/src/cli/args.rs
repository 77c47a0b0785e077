//! The arguments.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::new::Template;
use crate::{
    job::{DropState, StartFrom},
    stream::CheckpointId,
};

/// A stateful stream runtime whose operators are sandboxed WebAssembly components.
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 done, 1 the job failed, 2 usage or job file, 3 a plugin was refused, 4 state was refused."
)]
pub(super) struct Args {
    /// Show more log lines: -v debug, -vv trace
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Run a job here until its input ends or Ctrl-C
    #[command(
        after_help = "Examples:\n  wasmill run plugins/word-count/job.toml --set source.lines.path=book.txt --set sink.counts.type=file --set sink.counts.path=counts\n  wasmill run plugins/word-count/job.toml --dump-state words    (and then: wasmill state get words count count the)"
    )]
    Run(RunArgs),
    /// Show the jobs that run here, or one of them: what it does, its operators, its checkpoints
    #[command(after_help = "Examples:\n  wasmill status\n  wasmill status word-count --json")]
    Status(StatusArgs),
    /// Replace operators of a running job; their state stays
    #[command(
        after_help = "Examples:\n  wasmill swap word-count count=plugins/word-count --dry-run    (try only)\n  wasmill swap word-count count=plugins/word-count\n  wasmill swap word-count split=split.wasm count=count.wasm --wait    (for the end of the probation)\n  wasmill swap word-count --to plugins/word-count/job.toml --set operator.count.config.min-length=2\n\nThe answer comes when the checkpoint of the swap is complete. The exit code is 1 when the new version was rolled back, 3 when it was refused as a plugin, 4 when it does not fit the state."
    )]
    Swap(SwapArgs),
    /// Take a savepoint of a running job: all its state, in one place that is yours
    #[command(
        after_help = "Examples:\n  wasmill savepoint word-count\n  wasmill savepoint word-count before-the-upgrade\n  wasmill savepoint word-count s3://bucket/savepoints/monday --json"
    )]
    Savepoint(SavepointArgs),
    /// End a running job, with a savepoint
    #[command(
        after_help = "Examples:\n  wasmill stop word-count\n  wasmill stop word-count --savepoint last\n  wasmill stop word-count --drain    (the job will not go on: windows fire)"
    )]
    Stop(StopArgs),
    /// Check job file, graph and plugins and show the graph; touch neither inputs nor outputs
    #[command(after_help = "Example:\n  wasmill plan plugins/word-count/job.toml --set operator.count.parallelism=4")]
    Plan(PlanArgs),
    /// Compile an operator crate to a component and check it against the WIT
    #[command(after_help = "Example:\n  wasmill build plugins/word-count --json")]
    Build(BuildArgs),
    /// Make a new operator crate with a job and a test, ready to run
    #[command(
        after_help = "Example:\n  wasmill new my-operator && cd my-operator && cargo test && wasmill run job.toml"
    )]
    New(NewArgs),
    /// Look at plugins
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Look into the state of a running job, of a checkpoint, or that a job has left
    State {
        #[command(subcommand)]
        command: StateCommand,
    },
    /// Look at checkpoints, check them, remove them
    #[command(
        after_help = "PATH is the folder of a job in the storage of its checkpoints, for example .wasmill/word-count or s3://bucket/jobs/word-count, or that of one checkpoint in it, for example .wasmill/word-count/checkpoints/7"
    )]
    Checkpoint {
        #[command(subcommand)]
        command: CheckpointCommand,
    },
    /// Write the completions of a shell to standard output
    #[command(
        after_help = "Examples:\n  wasmill completions bash > ~/.local/share/bash-completion/completions/wasmill\n  wasmill completions fish > ~/.config/fish/completions/wasmill.fish\n  wasmill completions zsh > ~/.zfunc/_wasmill    (with ~/.zfunc in fpath)"
    )]
    Completions(CompletionsArgs),
}

#[derive(Subcommand)]
pub(super) enum PluginCommand {
    /// Show what a component describes, imports and exports
    #[command(after_help = "Example:\n  wasmill plugin inspect operator.wasm")]
    Inspect(InspectArgs),
}

#[derive(Subcommand)]
pub(super) enum CheckpointCommand {
    /// List checkpoints, newest first: when, of which attempt, how much
    #[command(after_help = "Example:\n  wasmill checkpoint list .wasmill/word-count")]
    List(CheckpointListArgs),
    /// Show what is in a checkpoint: sources, operators with their states and tasks, sinks
    #[command(
        after_help = "Examples:\n  wasmill checkpoint show .wasmill/word-count    (the newest one)\n  wasmill checkpoint show s3://bucket/jobs/word-count 7 --json"
    )]
    Show(CheckpointShowArgs),
    /// Read all files of checkpoints and check them against their checksums
    #[command(
        after_help = "Examples:\n  wasmill checkpoint verify .wasmill/word-count    (all checkpoints)\n  wasmill checkpoint verify .wasmill/word-count/checkpoints/7\n\nThe exit code is 4 when a file is damaged or missing."
    )]
    Verify(CheckpointVerifyArgs),
    /// Remove checkpoints, and files that no checkpoint refers to any more
    #[command(
        after_help = "Examples:\n  wasmill checkpoint delete .wasmill/word-count 5 6    (shows what would go)\n  wasmill checkpoint delete .wasmill/word-count 5 6 --yes\n\nThe last checkpoint that a run can begin from goes with --all only, and none goes while the job runs."
    )]
    Delete(CheckpointDeleteArgs),
}

#[derive(ClapArgs)]
pub(super) struct CheckpointListArgs {
    /// The folder or URL of a job in the storage of its checkpoints, or that of one checkpoint
    #[arg(value_name = "PATH")]
    pub(super) place: PathBuf,
    /// Write a JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct CheckpointShowArgs {
    /// The folder or URL of a job in the storage of its checkpoints, or that of one checkpoint
    #[arg(value_name = "PATH")]
    pub(super) place: PathBuf,
    /// Which one, of a job's; the newest unless given
    #[arg(value_name = "ID", value_parser = parse_id)]
    pub(super) id: Option<CheckpointId>,
    /// Write the manifest
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct CheckpointVerifyArgs {
    /// The folder or URL of a job in the storage of its checkpoints, or that of one checkpoint
    #[arg(value_name = "PATH")]
    pub(super) place: PathBuf,
    /// Which ones, of a job's; all unless given
    #[arg(value_name = "ID", value_parser = parse_id)]
    pub(super) ids: Vec<CheckpointId>,
    /// Write a JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct CheckpointDeleteArgs {
    /// The folder or URL of a job in the storage of its checkpoints
    #[arg(value_name = "PATH")]
    pub(super) place: PathBuf,
    /// Which ones
    #[arg(value_name = "ID", required_unless_present = "all", value_parser = parse_id)]
    pub(super) ids: Vec<CheckpointId>,
    /// All of them, also the last one that a run can begin from
    #[arg(long, conflicts_with = "ids")]
    pub(super) all: bool,
    /// Do it; without this, what would be removed is shown only
    #[arg(long)]
    pub(super) yes: bool,
    /// Write what was removed as a JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Subcommand)]
pub(super) enum StateCommand {
    /// List operators and their states: kinds, schemas, entries, bytes
    #[command(
        after_help = "Example:\n  wasmill run plugins/word-count/job.toml --dump-state words > counts.jsonl\n  wasmill state list words"
    )]
    List(StateListArgs),
    /// Show what a key has in a state
    #[command(
        after_help = "Examples:\n  wasmill state get words count count the\n  wasmill state get sums sum sum 17 --json\n  wasmill state get word-count count count the    (of the running job)\n  wasmill state get scores best by-day '[\"anna\",7]'\n\nA list is shown whole, in its order, and so is a map. Where the key has entries in namespaces, there is a line for each namespace."
    )]
    Get(StateGetArgs),
    /// Write all entries of a state, one JSON document a line
    #[command(
        after_help = "Example:\n  wasmill state export words count count | sort | head\n  wasmill state export .wasmill/word-count/checkpoints/7 count count --format parquet -o counts.parquet\n\nEach line has a value, and what it is found by: key, namespace, map_key, or for lists of a task the task. Entries of a list, or of a map, of one key follow one another in their order."
    )]
    Export(StateExportArgs),
}

#[derive(ClapArgs)]
pub(super) struct StateListArgs {
    /// The folder with the state: a dump, a checkpoint, or a job's in the storage of its checkpoints, which means the newest one; of checkpoints also a URL. Or the name of a job that runs: it takes a
    /// checkpoint now
    #[arg(value_name = "JOB|PATH")]
    pub(super) place: PathBuf,
    /// Only this operator
    #[arg(value_name = "OPERATOR")]
    pub(super) operator: Option<String>,
    /// Write a JSON document, with schemas
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct StateArgs {
    /// The folder with the state: a dump, a checkpoint, or a job's in the storage of its checkpoints, which means the newest one; of checkpoints also a URL. Or the name of a job that runs: it takes a
    /// checkpoint now
    #[arg(value_name = "JOB|PATH")]
    pub(super) place: PathBuf,
    /// The operator's id in the job
    #[arg(value_name = "OPERATOR")]
    pub(super) operator: String,
    /// The state's name
    #[arg(value_name = "STATE")]
    pub(super) state: String,
}

#[derive(ClapArgs)]
pub(super) struct StateGetArgs {
    #[command(flatten)]
    pub(super) of: StateArgs,
    /// The key as `wasmill state export` shows it; text may come without quotes. For broadcast state the map key; none for lists of a task
    #[arg(value_name = "KEY", allow_hyphen_values = true)]
    pub(super) key: Option<String>,
    /// Write one JSON document with everything that the key has
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct StateExportArgs {
    #[command(flatten)]
    pub(super) of: StateArgs,
    /// How entries are written
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: ExportFormat,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub(super) json: bool,
    /// Write to this file, which is replaced when all is written, and not to standard output; Parquet always needs it
    #[arg(short, long, value_name = "FILE", required_if_eq("format", "parquet"))]
    pub(super) output: Option<PathBuf>,
}

/// How entries are written.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(super) enum ExportFormat {
    /// JSON lines
    #[default]
    Json,
    /// A Parquet file: key, namespace, map_key and value as JSON texts, the task, and a column for each plain field of a value that is a record
    Parquet,
}

#[derive(ClapArgs)]
pub(super) struct JobArgs {
    /// The job file
    #[arg(value_name = "JOB.toml")]
    pub(super) job: PathBuf,
    /// Override a setting, for example source.lines.path=FILE or operator.count.parallelism=4; relative paths are relative to the current folder
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub(super) sets: Vec<String>,
}

#[derive(ClapArgs)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,
    /// Write the summary as JSON to this file when the job has ended
    #[arg(long, value_name = "FILE.json")]
    pub(super) report: Option<PathBuf>,
    /// Write the summary as JSON to standard output; not with a stdout sink
    #[arg(long)]
    pub(super) json: bool,
    /// Run all tasks on one thread, in an order decided by this number, with simulated time: for debugging
    #[arg(long, value_name = "NUMBER")]
    pub(super) seed: Option<u64>,
    /// When the input has ended, or the job was stopped, write the state of all operators to this folder, for `wasmill state`: a new or empty one, or one with an earlier dump,
    /// which is replaced
    #[arg(long, value_name = "DIR")]
    pub(super) dump_state: Option<PathBuf>,
    /// What to begin from: the latest checkpoint, none (at the beginning), or the folder or URL of one
    #[arg(long, value_name = "latest|none|PATH", default_value = "latest", value_parser = parse_from)]
    pub(super) from: StartFrom,
    /// When an older checkpoint than the latest is restored: remove results that came after this one, which is the one that is restored
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    pub(super) discard_results_after: Option<CheckpointId>,
    /// The savepoint that --from names becomes the job's own: it is deleted when the job has a checkpoint of its own
    #[arg(long, requires = "from")]
    pub(super) claim: bool,
    /// Give up a state of the checkpoint that no operator takes any more
    #[arg(long, value_name = "OPERATOR/STATE", value_parser = parse_drop_state)]
    pub(super) drop_state: Vec<DropState>,
    #[command(flatten)]
    pub(super) serve: ServeArgs,
}

#[derive(ClapArgs)]
pub(super) struct ServeArgs {
    /// Serve the control API at this address; unless given, at a port of 127.0.0.1 that is free, where `wasmill status` finds it. Whoever reaches another address and knows the token rules the job, and nothing is
    /// encrypted
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with_all = ["no_control", "seed"])]
    pub(super) listen: Option<SocketAddr>,
    /// Serve no control API: the job can't be looked at or changed while it runs, and another one may have its name
    #[arg(long)]
    pub(super) no_control: bool,
    /// Let everybody who reaches the control API read GET /metrics, without a token
    #[arg(long, conflicts_with_all = ["no_control", "seed"])]
    pub(super) open_metrics: bool,
}

#[derive(ClapArgs)]
pub(super) struct StatusArgs {
    /// The job's name; all that run here unless given
    #[arg(value_name = "JOB")]
    pub(super) job: Option<String>,
    /// Write a JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct SwapArgs {
    /// The job's name
    #[arg(value_name = "JOB")]
    pub(super) job: String,
    /// Which operators, and by what: a component, or the folder of a crate, which is built
    #[arg(value_name = "OPERATOR=PLUGIN", required_unless_present = "to", value_parser = parse_replacement)]
    pub(super) replacements: Vec<(String, PathBuf)>,
    /// Make the operators of the job what those of this job file are: plugin, config, limits, on-error
    #[arg(long, value_name = "JOB.toml", conflicts_with = "replacements")]
    pub(super) to: Option<PathBuf>,
    /// Override a setting of the job file, as for `wasmill run`
    #[arg(long = "set", value_name = "PATH=VALUE", conflicts_with = "replacements")]
    pub(super) sets: Vec<String>,
    /// Do everything but exchange them
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait until the probation is over
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) wait: bool,
    /// Give up a state that the new version does not have
    #[arg(long, value_name = "OPERATOR/STATE", value_parser = parse_drop_state)]
    pub(super) drop_state: Vec<DropState>,
    /// Write the answer as JSON to standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct SavepointArgs {
    /// The job's name
    #[arg(value_name = "JOB")]
    pub(super) job: String,
    /// A new folder, or a URL; unless given, one beside the job's checkpoints
    #[arg(value_name = "PATH")]
    pub(super) place: Option<PathBuf>,
    /// Write the answer as JSON to standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct StopArgs {
    /// The job's name
    #[arg(value_name = "JOB")]
    pub(super) job: String,
    /// Bring to an end what waits for time to pass; such a job is not meant to go on
    #[arg(long)]
    pub(super) drain: bool,
    /// Where the savepoint goes: a new folder, or a URL; unless given, one beside the job's checkpoints
    #[arg(long, value_name = "PATH")]
    pub(super) savepoint: Option<PathBuf>,
    /// Write the answer as JSON to standard output
    #[arg(long)]
    pub(super) json: bool,
}

fn parse_drop_state(text: &str) -> Result<DropState, String> {
    match text.split_once('/') {
        Some((operator, state)) if !operator.is_empty() && !state.is_empty() => {
            Ok(DropState { operator: operator.to_owned(), state: state.to_owned() })
        }
        _ => Err("give OPERATOR/STATE, for example count/last-seen".into()),
    }
}

fn parse_replacement(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((operator, plugin)) if !operator.is_empty() && !plugin.is_empty() => {
            Ok((operator.to_owned(), plugin.into()))
        }
        _ => Err("give OPERATOR=PLUGIN, for example count=plugins/word-count or count=count.wasm".into()),
    }
}

fn parse_from(text: &str) -> Result<StartFrom, String> {
    match text {
        "" => Err("give `latest`, `none`, or the folder or URL of a checkpoint".into()),
        "latest" => Ok(StartFrom::Latest),
        "none" => Ok(StartFrom::Nothing),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("give the folder or URL of checkpoint {number}, such as .wasmill/JOB/checkpoints/{number}"))
        }
        place => Ok(StartFrom::Place(place.into())),
    }
}

fn parse_id(text: &str) -> Result<CheckpointId, String> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.map(CheckpointId).ok_or_else(|| "a checkpoint has a number from 1 on".into())
}

#[derive(ClapArgs)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) job: JobArgs,
    /// What a run would begin from: the latest checkpoint, none (at the beginning), or the folder or URL of one
    #[arg(long, value_name = "latest|none|PATH", default_value = "latest", value_parser = parse_from)]
    pub(super) from: StartFrom,
    /// Give up a state of the checkpoint that no operator takes any more
    #[arg(long, value_name = "OPERATOR/STATE", value_parser = parse_drop_state)]
    pub(super) drop_state: Vec<DropState>,
    /// Write the plan as JSON to standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct BuildArgs {
    /// The folder of the operator crate
    #[arg(value_name = "CRATE", default_value = ".")]
    pub(super) folder: PathBuf,
    /// Write component, digest and size as JSON to standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(ClapArgs)]
pub(super) struct NewArgs {
    /// The folder to make; its last part becomes the crate's name
    #[arg(value_name = "NAME")]
    pub(super) folder: PathBuf,
    /// What the operator begins as
    #[arg(long, value_enum, default_value_t)]
    pub(super) template: Template,
}

#[derive(ClapArgs)]
pub(super) struct CompletionsArgs {
    /// Which shell
    pub(super) shell: Shell,
}

#[derive(ClapArgs)]
pub(super) struct InspectArgs {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    pub(super) component: PathBuf,
    /// Write what it is as JSON to standard output
    #[arg(long)]
    pub(super) json: bool,
}
