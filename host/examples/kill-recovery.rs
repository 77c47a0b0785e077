//! Kills a job with SIGKILL again and again, starts it again each time, and checks what its `file` sink shows at the end: is every result there, and there once?
//!
//! The moments are drawn from a seed: any time, while a checkpoint is restored, after a segment was written, after a manifest was written (then results are made visible). Starts take turns
//! between one task and two, so that state is also divided anew. Each line says how long a start took to its first record: until a part of results was begun that was not there before.
//!
//! ```sh
//! cargo run --release -p wasmill --example kill-recovery -- --binary target/release/wasmill --folder FOLDER sums --records 150000000
//! cargo run --release -p wasmill --example kill-recovery -- --binary target/release/wasmill --folder FOLDER --within 0.6 --interval 100ms words --text TEXTS
//! ```

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::{Parser, Subcommand};
use serde::Deserialize;
use wasmill::stream::{SplitMix64, splitmix64};

/// How often the folders of a job that runs are looked at.
const LOOK: Duration = Duration::from_millis(1);
/// How many differences are shown.
const SHOWN: usize = 10;

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
    #[arg(long, default_value_t = 20)]
    kills: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A start is killed within so many seconds.
    #[arg(long, default_value_t = 2.5)]
    within: f64,
    /// From checkpoint to checkpoint.
    #[arg(long, default_value = "1s")]
    interval: String,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Sums by a million keys; a result at every 20th update of a key, and one at the end.
    Sums {
        #[arg(long, default_value_t = 150_000_000)]
        records: u64,
        #[arg(long, default_value_t = 1_000_000)]
        keys: u64,
    },
    /// A count for every word of the texts in a folder, which `generate-text` has made.
    Words {
        #[arg(long)]
        text: PathBuf,
    },
}

/// When a start is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    AnyTime(Duration),
    WhileRestoring(Duration),
    /// So long after so many segments were written.
    AfterSegment(u64, Duration),
    /// So long after so many manifests were written.
    AfterManifest(u64, Duration),
}

impl Moment {
    fn draw(random: &mut SplitMix64, within: f64) -> Self {
        let kind = random.draw() % 4;
        let count = 1 + random.draw() % 2;
        let part = random.draw() as f64 / u64::MAX as f64;
        let up_to = |seconds: f64| Duration::from_secs_f64(part * seconds);
        match kind {
            0 => Self::AnyTime(up_to(within)),
            1 => Self::WhileRestoring(up_to(within.min(0.3))),
            2 => Self::AfterSegment(count, up_to(0.05)),
            _ => Self::AfterManifest(count, up_to(0.02)),
        }
    }
}

/// A start of the job, watched from outside.
struct Start {
    child: Child,
    began: Instant,
    /// What lay in the folders before.
    before: [BTreeSet<String>; 3],
    /// When the first new part of results, segment, and manifest was seen, and how many there are.
    first_record: Option<Duration>,
}

/// The job's folders.
struct Folders {
    job: PathBuf,
    results: PathBuf,
    segments: PathBuf,
    checkpoints: PathBuf,
}

impl Folders {
    fn all(&self) -> [BTreeSet<String>; 3] {
        [
            names(&self.results, |name| name.starts_with(".part-0")),
            names(&self.segments, |name| name.ends_with(".seg")),
            names(&self.checkpoints, |name| self.checkpoints.join(name).join("manifest.json").exists()),
        ]
    }
}

/// The names in a folder that are of interest; none if it is not there.
fn names(folder: &Path, of_interest: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| of_interest(name)).collect()
}

impl Start {
    /// Looks until the moment has come. How the process ended, if it did by itself.
    fn watch(&mut self, folders: &Folders, moment: Moment, within: f64) -> anyhow::Result<Option<ExitStatus>> {
        let latest = Duration::from_secs_f64(within * 2.0);
        let mut event = None;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            let now = self.began.elapsed();
            let [results, segments, manifests] = folders.all();
            if self.first_record.is_none() && !results.is_subset(&self.before[0]) {
                self.first_record = Some(now);
            }
            let new = |names: &BTreeSet<String>, before: usize| names.difference(&self.before[before]).count() as u64;
            let (has_come, delay) = match moment {
                Moment::AnyTime(delay) | Moment::WhileRestoring(delay) => (true, delay),
                Moment::AfterSegment(count, delay) => (new(&segments, 1) >= count, delay),
                Moment::AfterManifest(count, delay) => (new(&manifests, 2) >= count, delay),
            };
            let since = match moment {
                Moment::AnyTime(_) | Moment::WhileRestoring(_) => Duration::ZERO,
                _ if has_come => *event.get_or_insert(now),
                _ => Duration::MAX,
            };
            if now >= since.saturating_add(delay) || now >= latest {
                self.child.kill()?;
                return Ok(Some(self.child.wait()?).filter(|status| status.signal().is_none()));
            }
            thread::sleep(LOOK);
        }
    }
}

fn start(args: &Args, folders: &Folders, parallelism: u32) -> anyhow::Result<Start> {
    let log = File::create(folders.job.join("log"))?;
    let before = folders.all();
    let began = Instant::now();
    let child = Command::new(&args.binary)
        .args(["run", "job.toml", "--report", "report.json", "--set", &format!("parallelism={parallelism}")])
        .current_dir(&folders.job)
        // Another one of these may be under way, with a job of the same name.
        .env("WASMILL_RUNTIME_DIR", "runtime")
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("{} can't be started", args.binary.display()))?;
    Ok(Start { child, began, before, first_record: None })
}

/// The checkpoint that a start went on from, as it said.
fn restored_from(log: &str) -> &str {
    let said = log.lines().find_map(|line| line.strip_prefix("going on from checkpoint "));
    said.and_then(|rest| rest.split(' ').next()).unwrap_or("-")
}

fn job_file(args: &Args) -> anyhow::Result<(String, &'static str)> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").canonicalize()?;
    let plugins = plugins.display();
    let head = format!(
        "name = \"job\"\n[checkpoint]\nstorage = \"storage\"\ninterval = \"{}\"\n[state]\nbackend = \"{}\"\ndirectory = \"spill\"\n",
        args.interval, args.backend
    );
    let sink = "[[sink]]\nid = \"results\"\ntype = \"file\"\npath = \"results\"\n";
    Ok(match &args.work {
        Work::Sums { records, keys } => (
            format!(
                "{head}[[source]]\nid = \"numbers\"\ntype = \"datagen\"\ncount = {records}\nkeys = {keys}\n\
                 [[operator]]\nid = \"sum\"\nplugin = {{ crate = \"{plugins}/keyed-sum\" }}\n\
                 inputs = [{{ from = \"numbers\", partitioning = \"hash\" }}]\nconfig = {{ emit-every = 20, final = true }}\n\
                 {sink}inputs = [\"sum\"]\n"
            ),
            "sum",
        ),
        Work::Words { text } => (
            format!(
                "{head}[[source]]\nid = \"lines\"\ntype = \"file\"\npath = \"{}\"\n\
                 [[operator]]\nid = \"split\"\nplugin = {{ crate = \"{plugins}/split-words\" }}\ninputs = [\"lines\"]\n\
                 [[operator]]\nid = \"count\"\nplugin = {{ crate = \"{plugins}/word-count\" }}\n\
                 inputs = [{{ from = \"split\", partitioning = \"hash\" }}]\n{sink}inputs = [\"count\"]\n",
                text.canonicalize()?.display()
            ),
            "count",
        ),
    })
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    // It is started in another folder.
    let shown = args.binary.display().to_string();
    args.binary = args.binary.canonicalize().with_context(|| format!("the program {shown} can't be found"))?;
    let (text, operator) = job_file(&args)?;
    if args.folder.exists() {
        fs::remove_dir_all(&args.folder)?;
    }
    fs::create_dir_all(&args.folder)?;
    fs::write(args.folder.join("job.toml"), text)?;
    let folders = Folders {
        results: args.folder.join("results"),
        segments: args.folder.join("storage/job/segments").join(operator),
        checkpoints: args.folder.join("storage/job/checkpoints"),
        job: args.folder.clone(),
    };
    // So that no start builds or compiles anything.
    let planned = Command::new(&args.binary).args(["plan", "job.toml"]).current_dir(&folders.job).output()?;
    ensure!(planned.status.success(), "{}", String::from_utf8_lossy(&planned.stderr));

    let mut random = SplitMix64::new(args.seed);
    let (mut kills, mut first_records) = (0, Vec::new());
    println!("start  tasks  restored from  first record  killed after  moment");
    let own = loop {
        let parallelism = 1 + kills % 2;
        let moment = (kills < args.kills).then(|| Moment::draw(&mut random, args.within));
        let mut start = start(&args, &folders, parallelism)?;
        let latest = (Moment::AnyTime(Duration::from_secs(3_600)), 1_800.0);
        let (when, within) = moment.map_or(latest, |moment| (moment, args.within));
        let ended = start.watch(&folders, when, within)?;
        let log = fs::read_to_string(folders.job.join("log"))?;
        let from = restored_from(&log);
        let shown = start.first_record.map_or("-".to_owned(), |first| format!("{:.0} ms", first.as_secs_f64() * 1e3));
        first_records.extend(start.first_record.filter(|_| from != "-"));
        let after = start.began.elapsed().as_secs_f64();
        let end = if ended.is_some() { "it ended".to_owned() } else { format!("{after:.3} s") };
        println!("{kills:5}  {parallelism:5}  {from:>13}  {shown:>12}  {end:>12}  {moment:?}");
        match ended {
            Some(status) if status.success() => break fs::read_to_string(folders.job.join("report.json"))?,
            Some(status) => bail!("the job ended with {status}:\n{log}"),
            None if moment.is_none() => bail!("the job did not end within half an hour:\n{log}"),
            None => kills += 1,
        }
    };
    first_records.sort_unstable();
    if let (Some(least), Some(most)) = (first_records.first(), first_records.last()) {
        let median = first_records[first_records.len() / 2];
        println!("after a restore, first record: median {median:.0?}, {least:.0?} to {most:.0?}");
    }
    let own: serde_json::Value = serde_json::from_str(&own)?;
    println!("the last start by its own report: {} ms to the first record", own["start_to_first_result_ms"]);
    println!("{kills} kills; checking the results");
    let differences = match &args.work {
        Work::Sums { records, keys } => check_sums(&folders.results, *records, *keys)?,
        Work::Words { text } => check_words(&folders.results, text)?,
    };
    ensure!(differences.is_empty(), "the results are wrong, first of all:\n{}", differences.join("\n"));
    println!("all results are there, each once");
    Ok(())
}

/// Calls `line` with every line that a reader of the results sees.
fn each_line(results: &Path, mut line: impl FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for name in names(results, |name| !name.starts_with('.')) {
        let path = results.join(name);
        let mut reader = BufReader::with_capacity(1 << 20, File::open(&path)?);
        let mut text = String::new();
        while reader.read_line(&mut text)? > 0 {
            line(text.trim_end()).with_context(|| format!("{}: {text}", path.display()))?;
            text.clear();
        }
    }
    Ok(())
}

/// Which numbers have come how often.
#[derive(Clone, Default)]
struct Seen {
    bits: Vec<u64>,
    twice: Vec<u64>,
}

impl Seen {
    fn add(&mut self, number: u64) {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        match self.bits[word] & bit {
            0 => self.bits[word] |= bit,
            _ => self.twice.push(number),
        }
    }

    /// How it differs from each of `numbers` once.
    fn differs(&self, numbers: impl Iterator<Item = u64>) -> Option<String> {
        let mut expected = Self::default();
        numbers.for_each(|number| expected.add(number));
        let listed = |bits: &[u64], without: &[u64]| -> Vec<u64> {
            let word = |at: usize| bits[at] & !without.get(at).copied().unwrap_or(0);
            let all =
                (0..bits.len() as u64 * 64).filter(|number| word(*number as usize / 64) >> (number % 64) & 1 == 1);
            all.take(SHOWN).collect()
        };
        let missing = listed(&expected.bits, &self.bits);
        let strange = listed(&self.bits, &expected.bits);
        let twice = &self.twice[..self.twice.len().min(SHOWN)];
        let is_same = missing.is_empty() && strange.is_empty() && twice.is_empty();
        (!is_same).then(|| format!("missing {missing:?}, not expected {strange:?}, more than once {twice:?}"))
    }
}

#[derive(Deserialize)]
struct Sum {
    key: u64,
    sum: u64,
    updates: u64,
}

/// What one key has emitted.
#[derive(Clone, Default)]
struct OfKey {
    seen: Seen,
    /// The sums with the most updates.
    last: Vec<(u64, u64)>,
}

fn check_sums(results: &Path, records: u64, keys: u64) -> anyhow::Result<Vec<String>> {
    let mut expected = vec![(0_u64, 0_u64); keys as usize];
    for number in 0..records {
        let (updates, sum) = &mut expected[(splitmix64(number) % keys) as usize];
        (*updates, *sum) = (*updates + 1, sum.wrapping_add(number));
    }
    let mut found = vec![OfKey::default(); keys as usize];
    each_line(results, |line| {
        let Sum { key, sum, updates } = serde_json::from_str(line)?;
        let of_key = found.get_mut(key as usize).context("there is no such key")?;
        match updates == expected[key as usize].0 {
            // The sum at the end, which comes besides that of a 20th update.
            true => of_key.last.push((updates, sum)),
            false => of_key.seen.add(updates),
        }
        Ok(())
    })?;
    let mut differences = Vec::new();
    for (key, (OfKey { seen, last }, (updates, sum))) in found.iter().zip(&expected).enumerate() {
        let ends = match updates {
            0 => 0,
            updates if updates % 20 == 0 => 2,
            _ => 1,
        };
        let between = (20..*updates).step_by(20);
        if let Some(differs) = seen.differs(between) {
            differences.push(format!("key {key}, updates: {differs}"));
        }
        if last.len() != ends || last.iter().any(|last| *last != (*updates, *sum)) {
            differences
                .push(format!("key {key}: {last:?} at the end, and should be {ends} times {:?}", (updates, sum)));
        }
        if differences.len() >= SHOWN {
            break;
        }
    }
    Ok(differences)
}

#[derive(Deserialize)]
struct Count<'a> {
    word: &'a str,
    count: u64,
}

fn check_words(results: &Path, texts: &Path) -> anyhow::Result<Vec<String>> {
    let mut expected: HashMap<String, u64> = HashMap::new();
    for name in names(texts, |_| true) {
        let text = fs::read_to_string(texts.join(name))?.to_ascii_lowercase();
        for word in text.split(|letter: char| !letter.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
            match expected.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(expected.insert(word.to_owned(), 1)),
            }
        }
    }
    let mut found: HashMap<String, Seen> = HashMap::new();
    each_line(results, |line| {
        let Count { word, count } = serde_json::from_str(line)?;
        match found.get_mut(word) {
            Some(seen) => seen.add(count),
            None => found.entry(word.to_owned()).or_default().add(count),
        }
        Ok(())
    })?;
    let nothing = Seen::default();
    let words: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let differences = words.into_iter().filter_map(|word| {
        let counts = 1..=expected.get(word).copied().unwrap_or(0);
        let differs = found.get(word).unwrap_or(&nothing).differs(counts)?;
        Some(format!("{word}: {differs}"))
    });
    Ok(differences.take(SHOWN).collect())
}
