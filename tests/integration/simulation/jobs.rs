//! The jobs that are simulated, and what is promised of each.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use serde_json::Value;
use wasmill::job::Executor;

use crate::harness::{Job, component, root, texts};

/// A job, and how its results are looked at.
pub(crate) struct SimulatedJob {
    pub(crate) name: &'static str,
    job: fn() -> Job,
    /// Its operators: each has a parallelism of its own now and then.
    pub(crate) operators: &'static [&'static str],
    pub(crate) sinks: &'static [&'static str],
    /// What of a line is the same however the job is run; none: nothing is.
    pub(crate) kept: fn(sink: &str, line: &str) -> Option<String>,
    /// The key of a line, and the number that rises from line to line of a key.
    pub(crate) rising: fn(sink: &str, line: &Value) -> Option<(String, u64)>,
}

fn whole(_: &str, line: &str) -> Option<String> {
    Some(line.to_owned())
}

fn no_order(_: &str, _: &Value) -> Option<(String, u64)> {
    None
}

fn rising(key: &'static str, number: &'static str) -> impl Fn(&Value) -> Option<(String, u64)> {
    move |line| Some((line[key].to_string(), line[number].as_u64()?))
}

pub(crate) const JOBS: &[SimulatedJob] = &[
    SimulatedJob {
        name: "words",
        job: || Job::of_plugin("word-count").set("source.lines.path", text_files().display()),
        operators: &["split", "count"],
        sinks: &["counts"],
        kept: whole,
        rising: |_, line| rising("word", "count")(line),
    },
    SimulatedJob {
        name: "sums",
        job: || {
            Job::of_plugin("keyed-sum").sets(&[
                ("source.numbers.count", "1500"),
                ("source.numbers.keys", "97"),
                ("operator.sum.config.emit-every", "1000000"),
            ])
        },
        operators: &["sum"],
        sinks: &["sums"],
        kept: whole,
        rising: no_order,
    },
    SimulatedJob {
        name: "sums-in-order",
        job: sums_in_order,
        operators: &["sum"],
        sinks: &["sums", "again", "numbers-seen"],
        kept: whole,
        rising: |sink, line| if sink == "numbers-seen" { None } else { rising("key", "updates")(line) },
    },
    SimulatedJob {
        name: "lists",
        job: || Job::of_plugin("running-list"),
        operators: &["last"],
        sinks: &["lists"],
        kept: whole,
        rising: no_order,
    },
    SimulatedJob {
        name: "figures",
        job: || {
            Job::of_plugin("sensor-stats")
                .sets(&[("source.readings.count", "1200"), ("operator.stats.config.every", "25")])
        },
        operators: &["stats"],
        sinks: &["figures"],
        kept: whole,
        rising: no_order,
    },
    SimulatedJob {
        name: "favourites",
        job: || Job::of_plugin("recommend"),
        operators: &["recommend"],
        sinks: &["favourites"],
        kept: whole,
        rising: no_order,
    },
    SimulatedJob {
        name: "rates",
        job: || Job::of_plugin("ad-clicks"),
        operators: &["tally"],
        sinks: &["rates"],
        kept: whole,
        rising: no_order,
    },
    SimulatedJob {
        name: "alerts",
        job: || Job::of_plugin("price-alert"),
        operators: &["alert"],
        sinks: &["alerts"],
        kept: whole,
        rising: no_order,
    },
    SimulatedJob {
        name: "rules",
        job: rules,
        operators: &["join"],
        sinks: &["out"],
        // Each task shows the rules that it got, and there is another number of tasks in each run.
        kept: |_, line| line.starts_with("{\"key\"").then(|| line.to_owned()),
        rising: no_order,
    },
    SimulatedJob {
        name: "letters",
        job: letters,
        operators: &["count"],
        sinks: &["counts", "dead"],
        // Beside the record, a letter tells what the guest's stack was.
        kept: |sink, line| match sink {
            "dead" => {
                let letter: Value = serde_json::from_str(line).expect("a letter is JSON");
                Some(format!("{} {}", letter["key"], letter["value"]))
            }
            _ => Some(line.to_owned()),
        },
        rising: |sink, line| if sink == "counts" { rising("key", "count")(line) } else { None },
    },
];

pub(crate) fn find(name: &str) -> &'static SimulatedJob {
    JOBS.iter().find(|job| job.name == name).expect("the job is in the table")
}

impl SimulatedJob {
    /// The job, with its sinks writing files.
    pub(crate) fn job(&self) -> Job {
        self.sinks.iter().fold((self.job)(), |job, sink| job.into_files(sink))
    }

    /// What of the lines of a sink is the same however the job is run, sorted.
    pub(crate) fn kept(&self, sink: &str, lines: &[String]) -> Vec<String> {
        let mut kept: Vec<String> = lines.iter().filter_map(|line| (self.kept)(sink, line)).collect();
        kept.sort_unstable();
        kept
    }

    /// What each sink gives in a straight run without checkpoints.
    pub(crate) fn golden(&self) -> BTreeMap<String, Vec<String>> {
        static GOLDEN: Mutex<BTreeMap<&str, BTreeMap<String, Vec<String>>>> = Mutex::new(BTreeMap::new());
        let mut all = GOLDEN.lock().unwrap_or_else(PoisonError::into_inner);
        let golden = all.entry(self.name).or_insert_with(|| {
            let ran = self.job().on(Executor::Seeded(1)).run();
            self.sinks.iter().map(|sink| ((*sink).to_owned(), self.kept(sink, &ran.lines(sink)))).collect()
        });
        golden.clone()
    }
}

/// A folder of texts, some of them compressed.
fn text_files() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulation-texts");
        fs::create_dir_all(&folder).expect("the target folder can be written to");
        let text = |name: &str, times: usize| fs::read(texts().join(name)).expect("the fixture is there").repeat(times);
        let gzip = |text: Vec<u8>| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&text).expect("memory can be written to");
            encoder.finish().expect("memory can be written to")
        };
        for (name, bytes) in [
            ("ascii.txt", text("ascii.txt", 4)),
            ("other.txt", [text("crlf.txt", 2), text("empty-lines.txt", 3), text("other-scripts.txt", 3)].concat()),
            ("empty.txt", Vec::new()),
            ("german.txt.gz", [gzip(text("german.txt", 3)), gzip(text("ascii.txt", 1))].concat()),
        ] {
            let path = folder.join(name);
            // Another process may read it now.
            if fs::read(&path).ok().as_ref() != Some(&bytes) {
                fs::write(path, bytes).expect("an input is written");
            }
        }
        folder
    })
}

fn sums_in_order() -> Job {
    let plugin = root().join("plugins/keyed-sum");
    Job::of_text(&format!(
        r#"
        name = "sums-in-order"
        [[source]]
        id          = "numbers"
        type        = "datagen"
        count       = 1500
        keys        = 31
        parallelism = 1
        [[operator]]
        id     = "sum"
        plugin = {{ crate = "{}" }}
        inputs = [{{ from = "numbers", partitioning = "hash" }}]
        config = {{ emit-every = 3 }}
        [[sink]]
        id     = "sums"
        type   = "stdout"
        inputs = ["sum"]
        [[sink]]
        id     = "again"
        type   = "stdout"
        inputs = ["sum"]
        [[sink]]
        id     = "numbers-seen"
        type   = "stdout"
        inputs = ["numbers"]
        "#,
        plugin.display()
    ))
}

fn rules() -> Job {
    Job::of_text(&format!(
        r#"
        name = "rules"
        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = 900
        keys  = 40
        [[source]]
        id          = "rules"
        type        = "datagen"
        count       = 60
        parallelism = 1
        [[operator]]
        id     = "join"
        plugin = "{}"
        inputs = [{{ from = "rules", input = "rules" }}, "numbers"]
        [[sink]]
        id     = "out"
        type   = "stdout"
        inputs = ["join"]
        "#,
        component("two-inputs").display()
    ))
}

fn letters() -> Job {
    Job::of_text(
        r#"
        name = "letters"
        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = 1000
        keys  = 10
        [[operator]]
        id       = "count"
        plugin   = { crate = "plugins/misbehaving" }
        inputs   = [{ from = "numbers", partitioning = "hash" }]
        config   = { mode = "panic", on = 500 }
        on-error = { dead-letter = "dead" }
        [[sink]]
        id     = "counts"
        type   = "stdout"
        inputs = ["count"]
        [[sink]]
        id   = "dead"
        type = "stdout"
        "#,
    )
}
