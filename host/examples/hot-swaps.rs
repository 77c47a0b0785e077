//! Exchanges an operator again and again while its job runs under full load, between two builds with different digests, and checks what the `file` sink shows at the end: are all sums exact, is every
//! result there once, and are those of a key in their order?
//!
//! The job adds up numbers by their keys and emits at every so many updates of a key, and at the end. Each line is what one `wasmill swap --wait --json` has answered.
//!
//! ```sh
//! cargo run --release -p wasmill --example hot-swaps -- --binary target/release/wasmill --folder FOLDER
//! cargo run --release -p wasmill --example hot-swaps -- --binary target/release/wasmill --folder FOLDER --keys 10000000 --swaps 5 --records 100000000
//! ```

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use serde::Deserialize;
use serde_json::Value;
use wasmill::stream::splitmix64;

/// How many differences are shown.
const SHOWN: usize = 10;
/// How long the job may take to begin.
const BEGIN_MAX: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Args {
    /// The program.
    #[arg(long)]
    binary: PathBuf,
    /// Where the job, its checkpoints and its results go; removed and made anew.
    #[arg(long)]
    folder: PathBuf,
    #[arg(long, default_value = "memory")]
    backend: String,
    #[arg(long, default_value_t = 1)]
    parallelism: u32,
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    #[arg(long, default_value_t = 600_000_000)]
    records: u64,
    #[arg(long, default_value_t = 50)]
    swaps: u32,
    /// A result at each so many updates of a key.
    #[arg(long, default_value_t = 200)]
    emit_every: u64,
    /// Seconds before the first swap: until all keys have state.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
}

/// What a swap has answered.
#[derive(Deserialize)]
struct Swapped {
    outcome: String,
    pause_ms: Option<f64>,
    prepare_ms: f64,
    checkpoint: Option<u64>,
}

struct Job<'a> {
    args: &'a Args,
    child: Child,
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wasmill(args: &Args) -> Command {
    let mut command = Command::new(&args.binary);
    // Another one of these may be under way, with a job of the same name.
    command.current_dir(&args.folder).env("WASMILL_RUNTIME_DIR", args.folder.join("runtime"));
    command
}

fn answer(command: &mut Command) -> anyhow::Result<Value> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn begin<'a>(args: &'a Args) -> anyhow::Result<Job<'a>> {
    let log = File::create(args.folder.join("log"))?;
    let child =
        wasmill(args).args(["run", "job.toml", "--report", "report.json"]).stdin(Stdio::null()).stderr(log).spawn()?;
    let mut job = Job { args, child };
    let began = Instant::now();
    loop {
        let status = answer(wasmill(args).args(["status", "job", "--json"]));
        if status.is_ok_and(|status| status["state"] == "running") {
            return Ok(job);
        }
        ensure!(
            job.child.try_wait()?.is_none() && began.elapsed() < BEGIN_MAX,
            "the job does not begin: {}",
            job.log()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

impl Job<'_> {
    fn log(&self) -> String {
        fs::read_to_string(self.args.folder.join("log")).unwrap_or_default()
    }

    fn swap(&self, component: &Path) -> anyhow::Result<Swapped> {
        let operator = format!("sum={}", component.display());
        let answer =
            answer(wasmill(self.args).args(["swap", "job", &operator, "--wait", "--json"])).with_context(|| {
                format!("a swap is refused; if the job has ended, give it more --records\n{}", self.log())
            })?;
        Ok(serde_json::from_value(answer)?)
    }
}

/// The component of the example `keyed-sum`, and another build of it.
fn builds(args: &Args) -> anyhow::Result<[PathBuf; 2]> {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/keyed-sum").canonicalize()?;
    let built = answer(wasmill(args).arg("build").arg(plugin).arg("--json"))?;
    let component = fs::read(built["component"].as_str().context("the build names its component")?)?;
    // A custom section behind a component says nothing to anyone, and gives it another digest.
    let other = [&component[..], &[0, 7, 5], b"build", b"2"].concat();
    let paths = [args.folder.join("one.wasm"), args.folder.join("two.wasm")];
    fs::write(&paths[0], component)?;
    fs::write(&paths[1], other)?;
    Ok(paths)
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    let shown = args.binary.display().to_string();
    args.binary = args.binary.canonicalize().with_context(|| format!("the program {shown} can't be found"))?;
    if args.folder.exists() {
        fs::remove_dir_all(&args.folder)?;
    }
    fs::create_dir_all(&args.folder)?;
    args.folder = args.folder.canonicalize()?;
    let builds = builds(&args)?;
    let Args { backend, parallelism, keys, records, emit_every, .. } = &args;
    let text = format!(
        "name = \"job\"\nparallelism = {parallelism}\n[checkpoint]\nstorage = \"storage\"\n[state]\nbackend = \"{backend}\"\ndirectory = \"spill\"\n\
         [[source]]\nid = \"numbers\"\ntype = \"datagen\"\ncount = {records}\nkeys = {keys}\n\
         [[operator]]\nid = \"sum\"\nplugin = \"one.wasm\"\ninputs = [{{ from = \"numbers\", partitioning = \"hash\" }}]\n\
         config = {{ emit-every = {emit_every}, final = true }}\n\
         [[sink]]\nid = \"results\"\ntype = \"file\"\npath = \"results\"\ninputs = [\"sum\"]\n"
    );
    fs::write(args.folder.join("job.toml"), text)?;

    let mut job = begin(&args)?;
    thread::sleep(Duration::from_secs_f64(args.warm_up));
    let mut pauses = Vec::new();
    println!("swap  outcome    pause      prepared in  checkpoint  answered after");
    for number in 0..args.swaps {
        let began = Instant::now();
        let Swapped { outcome, pause_ms, prepare_ms, checkpoint } = job.swap(&builds[(number as usize + 1) % 2])?;
        let pause = pause_ms.context("it was exchanged")?;
        let checkpoint = checkpoint.context("at a checkpoint")?;
        let after = began.elapsed().as_secs_f64() * 1e3;
        println!("{number:4}  {outcome}  {pause:6.3} ms  {prepare_ms:8.1} ms  {checkpoint:10}  {after:8.0} ms");
        ensure!(outcome == "confirmed", "{}", job.log());
        pauses.push(pause);
    }
    pauses.sort_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (pauses.first(), pauses.last()) {
        let median = pauses[pauses.len() / 2];
        println!("{} swaps, pause: median {median:.3} ms, {least:.3} to {most:.3} ms", pauses.len());
    }
    let status = job.child.wait()?;
    ensure!(status.success(), "the job ended with {status}:\n{}", job.log());
    println!("checking the results");
    let differences = check(&args)?;
    ensure!(differences.is_empty(), "the results are wrong, first of all:\n{}", differences.join("\n"));
    println!("all sums are exact, each result is there once, and those of a key are in their order");
    Ok(())
}

#[derive(Deserialize)]
struct Sum {
    key: u64,
    sum: u64,
    updates: u64,
}

/// What one key has emitted so far.
#[derive(Clone, Copy, Default)]
struct OfKey {
    /// The updates of the last result between.
    last: u64,
    /// Results at the end.
    ends: u64,
}

fn check(args: &Args) -> anyhow::Result<Vec<String>> {
    let mut expected = vec![(0_u64, 0_u64); args.keys as usize];
    for number in 0..args.records {
        let (updates, sum) = &mut expected[(splitmix64(number) % args.keys) as usize];
        (*updates, *sum) = (*updates + 1, sum.wrapping_add(number));
    }
    let (mut found, mut differences) = (vec![OfKey::default(); args.keys as usize], Vec::new());
    let results = args.folder.join("results");
    // Sorted by name, the parts of a task are in the order in which it wrote them.
    let names: BTreeSet<String> =
        fs::read_dir(&results)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    for name in names.iter().filter(|name| !name.starts_with('.')) {
        for line in BufReader::with_capacity(1 << 20, File::open(results.join(name))?).lines() {
            let Sum { key, sum, updates } = serde_json::from_str(&line?)?;
            let Some(of_key) = found.get_mut(key as usize) else { bail!("{name}: there is no key {key}") };
            if updates == expected[key as usize].0 {
                of_key.ends += 1;
                if sum != expected[key as usize].1 {
                    differences.push(format!("key {key}: its sum is {sum} and should be {}", expected[key as usize].1));
                }
            } else if updates == of_key.last + args.emit_every {
                of_key.last = updates;
            } else {
                differences.push(format!("key {key}: {updates} updates come behind {}", of_key.last));
            }
            if differences.len() >= SHOWN {
                return Ok(differences);
            }
        }
    }
    for (key, (OfKey { last, ends }, (updates, _))) in found.iter().zip(&expected).enumerate() {
        let (between, at_end) = match updates {
            0 => (0, 0),
            // That of the last update, and the one at the end.
            updates if updates % args.emit_every == 0 => (updates - args.emit_every, 2),
            updates => (updates - updates % args.emit_every, 1),
        };
        if (*last, *ends) != (between, at_end) && differences.len() < SHOWN {
            differences.push(format!(
                "key {key}: results up to {last} and {ends} at the end, and should be {between} and {at_end}"
            ));
        }
    }
    Ok(differences)
}
