//! What job files say, and what is said about them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::*;
use crate::{
    connector::{
        Compression, Content, Format, Generator, InvalidJson, InvalidUtf8, JsonKey, KeyType, LineFormat, NexmarkEvents,
        NexmarkField, NexmarkSettings, SensorSettings,
    },
    dataflow::Partitioning,
    stream::BatchLimits,
};

mod fault_tolerance;
mod refusals;

/// A job that is as short as can be. Its `[[source]]` is line 3.
pub(super) const SHORT: &str = "name = \"job\"\n\n[[source]]\nid = \"lines\"\ntype = \"stdin\"\n";

/// A job with one of each.
pub(super) const JOB: &str = r#"name = "word-count"

parallelism = 2

[batch]
records = 100
bytes   = "64KiB"
timeout = "10ms"

[[source]]
id   = "lines"
type = "file"
path = ["*.txt", "more/"]
invalid-utf8 = "skip"
watermark = { strategy = "none" }

[[operator]]
id     = "split"
plugin = { crate = "../split-words" }
inputs = ["lines"]

[[operator]]
id          = "count"
plugin      = { path = "count.wasm", sha256 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }
inputs      = [{ from = "split", partitioning = "hash" }, { from = "lines", input = "rules", partitioning = "broadcast" }]
parallelism = 3
config      = { min-length = 1, a = [1.5, true, "x", 2024-01-31] }
limits      = { memory = "1GiB", call-time = "2s" }
on-error    = { dead-letter = "poison" }

[[sink]]
id     = "counts"
type   = "file"
path   = "counts"
inputs = ["count"]

[[sink]]
id     = "poison"
type   = "stdout"
format = "raw"
"#;

/// Reads a text in `/jobs` with `/cwd` as the current directory.
pub(super) fn parse(text: &str, sets: &[&str]) -> Result<JobFile, SpecError> {
    let env = |name: &str| match name {
        "WORKERS" => Some("4".to_owned()),
        "WORD" => Some("word".to_owned()),
        "LIST" => Some("[\"a\", \"b\"]".to_owned()),
        _ => None,
    };
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    JobFile::parse(Path::new("/jobs/job.toml"), text, &sets, &Surroundings { env: &env, cwd: "/cwd".into() })
}

#[track_caller]
pub(super) fn accepted(text: &str, sets: &[&str]) -> JobFile {
    parse(text, sets).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
pub(super) fn refused(text: &str, sets: &[&str], expected: &str) {
    match parse(text, sets) {
        Ok(_) => panic!("accepted, instead of: {expected}"),
        Err(error) => assert!(error.to_string().contains(expected), "expected: {expected}\ngot:\n{error}"),
    }
}

#[test]
fn the_shortest_job_has_the_defaults() {
    let job = accepted(SHORT, &[]);
    assert_eq!((job.name.as_str(), job.parallelism, job.max_parallelism), ("job", 1, 128));
    assert_eq!((job.path.as_path(), job.folder.as_path()), (Path::new("/jobs/job.toml"), Path::new("/jobs")));
    let directory = PathBuf::from("/jobs/.wasmill/spill");
    assert_eq!(job.state, StateSettings { backend: StateBackend::Fjall, cache: 256 << 20, directory });
    assert_eq!(
        job.batch,
        BatchSpec { limits: BatchLimits { records: 1024, bytes: 262_144 }, timeout: Duration::from_millis(5) }
    );
    assert_eq!(job.sources[0].kind, SourceKind::Stdin { format: LineFormat::default() });
    assert_eq!((job.operators.len(), job.sinks.len()), (0, 0));
}

#[test]
fn a_job_is_read_whole() {
    let job = accepted(JOB, &[]);
    assert_eq!(
        job.batch,
        BatchSpec { limits: BatchLimits { records: 100, bytes: 65_536 }, timeout: Duration::from_millis(10) }
    );
    let paths = vec!["/jobs/*.txt".into(), "/jobs/more/".into()];
    assert_eq!(
        job.source("lines").expect("the job has it").kind,
        SourceKind::File { paths, compression: Compression::Auto, format: skipping() }
    );

    let split = job.operator("split").expect("the job has it");
    assert_eq!(split.plugin.value, PluginSpec::Crate { path: "/jobs/../split-words".into() });
    assert_eq!(
        (split.config.to_string().as_str(), split.limits, &split.on_error.value),
        ("{}", Limits::default(), &OnError::Fail)
    );
    assert_eq!(
        (split.limits.memory, split.limits.output, split.limits.faults_per_minute),
        (268_435_456, 67_108_864, 600)
    );

    let count = job.operator("count").expect("the job has it");
    assert_eq!(
        count.plugin.value,
        PluginSpec::Component { path: "/jobs/count.wasm".into(), sha256: Some("a".repeat(64)) }
    );
    let inputs: Vec<_> = count
        .inputs
        .iter()
        .map(|edge| {
            let input = edge.input.as_ref().map(|name| name.as_str());
            (edge.from.as_str(), input, edge.partitioning.as_ref().map(|at| at.value))
        })
        .collect();
    let expected = [("split", None, Some(Partitioning::Hash)), ("lines", Some("rules"), Some(Partitioning::Broadcast))];
    assert_eq!(inputs, expected);
    assert_eq!(count.parallelism.as_ref().map(|at| at.value), Some(3));
    assert_eq!(count.config.to_string(), r#"{"min-length":1,"a":[1.5,true,"x","2024-01-31"]}"#);
    assert_eq!(count.limits, Limits { memory: 1 << 30, call_time: Duration::from_secs(2), ..Limits::default() });
    assert_eq!(count.on_error.value, OnError::DeadLetter { sink: "poison".to_owned() });

    let counts = SinkKind::File { path: "/jobs/counts".into(), format: Format::Json, part_bytes: 134_217_728 };
    assert_eq!(job.sink("counts").expect("the job has it").kind, counts);
    assert_eq!(job.sink("poison").expect("the job has it").kind, SinkKind::Stdout { format: Format::Raw });
    assert!(job.sink("poison").expect("the job has it").inputs.is_empty());
    assert!(job.sink("lines").is_none());
}

fn datagen(keys: &str) -> DatagenSpec {
    let text = SHORT.replace("\"stdin\"", &format!("\"datagen\"\n{keys}"));
    match accepted(&text, &[]).sources.remove(0).kind {
        SourceKind::Datagen(spec) => spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn datagen_counts_to_infinity_unless_told_otherwise() {
    let sequence = |keys| Generator::Sequence { keys };
    assert_eq!(datagen(""), DatagenSpec { generator: sequence(1_000), count: None, rate: None });
    let all = datagen("generator = \"sequence\"\ncount = 10_000\nkeys = 7\nrate = 2.5");
    assert_eq!(all, DatagenSpec { generator: sequence(7), count: Some(10_000), rate: Some(2.5) });
    assert_eq!(datagen("rate = 3").rate, Some(3.0));
}

#[test]
fn datagen_makes_events_and_readings() {
    let nexmark = NexmarkSettings { seed: 0, events: NexmarkEvents::All, event_rate: 10_000, key: None };
    let spec = datagen("generator = \"nexmark\"");
    assert_eq!(spec, DatagenSpec { generator: Generator::Nexmark(nexmark.clone()), count: None, rate: None });
    let bids =
        "generator = \"nexmark\"\nevents = \"bid\"\ncount = 9\nrate = 5\nseed = 18446744073709551615\nevent-rate = 2\n";
    let key = |name, kind| Some(NexmarkField { name, kind });
    for (line, expected) in [
        ("", None),
        ("key = \"auction\"", key("auction", KeyType::U64)),
        ("key = \"auction\"\nkey-type = \"u64\"", key("auction", KeyType::U64)),
        ("key = \"channel\"\nkey-type = \"text\"", key("channel", KeyType::Text)),
    ] {
        let generator = Generator::Nexmark(NexmarkSettings {
            seed: u64::MAX,
            events: NexmarkEvents::Bid,
            event_rate: 2,
            key: expected,
        });
        assert_eq!(datagen(&format!("{bids}{line}")), DatagenSpec { generator, count: Some(9), rate: Some(5.0) });
    }
    let sensors = |sensors, interval, seed| Generator::Sensors(SensorSettings { sensors, interval, seed });
    assert_eq!(datagen("generator = \"sensors\"").generator, sensors(100, Duration::from_secs(1), 0));
    let all = datagen("generator = \"sensors\"\nsensors = 7\ninterval = \"5ms\"\nseed = 3");
    assert_eq!(all.generator, sensors(7, Duration::from_millis(5), 3));
}

#[test]
fn files_are_compressed_as_their_names_say_unless_told_otherwise() {
    for (word, expected) in [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("zstd", Compression::Zstd),
        ("auto", Compression::Auto),
    ] {
        let job = accepted(JOB, &[&format!("source.lines.compression={word}")]);
        assert!(
            matches!(job.sources[0].kind, SourceKind::File { compression, .. } if compression == expected),
            "{word}"
        );
    }
}

/// The lines of the whole job.
pub(super) fn skipping() -> LineFormat {
    LineFormat { invalid_utf8: InvalidUtf8::Skip, content: Content::Text }
}

#[test]
fn lines_may_be_json_with_keys() {
    let format = |keys: &str| match accepted(&SHORT.replace("\"stdin\"", &format!("\"stdin\"\n{keys}")), &[])
        .sources
        .remove(0)
        .kind
    {
        SourceKind::Stdin { format } => format,
        other => panic!("{other:?}"),
    };
    let json =
        |invalid, key| LineFormat { invalid_utf8: InvalidUtf8::Replace, content: Content::Json { invalid, key } };
    let key = |path, kind| Some(JsonKey::new(path, kind).expect("the path is one"));
    assert_eq!(format("format = \"lines\""), LineFormat::default());
    assert_eq!(format("format = \"json\""), json(InvalidJson::Fail, None));
    assert_eq!(
        format("format = \"json\"\ninvalid-json = \"skip\"\nkey = \"user\""),
        json(InvalidJson::Skip, key("user", KeyType::Text))
    );
    assert_eq!(
        format("format = \"json\"\nkey = \"/a/b\"\nkey-type = \"u64\""),
        json(InvalidJson::Fail, key("/a/b", KeyType::U64))
    );
    let job = accepted(JOB, &["source.lines.format=json", "source.lines.key=user", "source.lines.invalid-json=skip"]);
    let SourceKind::File { format, .. } = &job.sources[0].kind else { panic!() };
    assert_eq!(format.content, Content::Json { invalid: InvalidJson::Skip, key: key("user", KeyType::Text) });
}

#[test]
fn a_single_word_does_for_a_list_of_one() {
    let job = accepted(
        &JOB.replace("[\"*.txt\", \"more/\"]", "\"a.txt\"").replace("inputs = [\"lines\"]", "inputs = \"lines\""),
        &[],
    );
    assert!(matches!(&job.sources[0].kind, SourceKind::File { paths, .. } if *paths == [Path::new("/jobs/a.txt")]));
    assert_eq!(job.operators[0].inputs[0].from.value, "lines");
}

#[test]
fn a_plugin_is_a_path_too() {
    let job = accepted(&JOB.replace("{ crate = \"../split-words\" }", "\"/abs/x.wasm\""), &[]);
    assert_eq!(job.operators[0].plugin.value, PluginSpec::Component { path: "/abs/x.wasm".into(), sha256: None });
}

#[test]
fn sizes_have_units() {
    for (size, bytes) in [
        ("\"1024\"", 1024),
        ("7", 7),
        ("\"1KiB\"", 1024),
        ("\"2 KB\"", 2000),
        ("\"1GiB\"", 1 << 30),
        ("\"5 mib\"", 5 << 20),
        ("\"9B\"", 9),
    ] {
        let job = accepted(&JOB.replace("\"64KiB\"", size), &[]);
        assert_eq!(job.batch.limits.bytes, bytes, "{size}");
    }
}

#[test]
fn the_environment_is_put_in_by_the_type_of_the_target() {
    let text = JOB
        .replace("parallelism = 2", "parallelism = \"${WORKERS}\"")
        .replace("records = 100", "records = \"${RECORDS:-77}\"")
        .replace("\"word-count\"", "\"${WORD}-count\"")
        .replace("[\"*.txt\", \"more/\"]", "\"${LIST}\"")
        .replace("min-length = 1", "n = \"${WORKERS}\", plain = \"$${WORKERS}\", word = \"${WORD}\", s = \"4\"");
    let job = accepted(&text, &[]);
    assert_eq!((job.parallelism, job.batch.limits.records, job.name.as_str()), (4, 77, "word-count"));
    assert!(
        matches!(&job.sources[0].kind, SourceKind::File { paths, .. } if *paths == [Path::new("/jobs/a"), Path::new("/jobs/b")])
    );
    let config = &job.operator("count").expect("the job has it").config;
    assert_eq!(config["n"], 4);
    assert_eq!((&config["plain"], &config["word"], &config["s"]), (&"${WORKERS}".into(), &"word".into(), &"4".into()));
}

#[test]
fn a_file_is_read_from_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let surroundings = Surroundings { env: &|_| None, cwd: folder.path().to_owned() };
    std::fs::write(folder.path().join("job.toml"), SHORT).expect("it can be written");
    let job = JobFile::read(Path::new("job.toml"), &[], &surroundings).expect("it is right");
    assert_eq!((job.folder.as_path(), job.path.as_path()), (folder.path(), Path::new("job.toml")));

    let refusal = |name: &str| JobFile::read(Path::new(name), &[], &surroundings).unwrap_err().to_string();
    assert!(refusal("none.toml").starts_with("none.toml: can't be read: No such file"), "{}", refusal("none.toml"));
    assert!(refusal(".").starts_with(".: can't be read: Is a directory"), "{}", refusal("."));
    std::fs::write(folder.path().join("x.wasm"), b"\0asm\xff").expect("it can be written");
    assert_eq!(refusal("x.wasm"), "x.wasm: is not UTF-8 (at byte 4); is it a job file?");
    std::fs::write(folder.path().join("big.toml"), vec![b' '; (1 << 20) + 1]).expect("it can be written");
    assert_eq!(refusal("big.toml"), "big.toml: has more than 1048576 bytes; is it a job file?");
}

#[test]
fn the_planner_points_at_values_in_the_same_way() {
    let job = accepted(JOB, &["operator.split.inputs=count"]);
    let unknown = &job.operator("count").expect("the job has it").inputs[0].from;
    let expected = "/jobs/job.toml:25:25: no `split`\n   |\n25 | inputs      = [{ from = \"split\", partitioning = \"hash\" }, { from = \"lines\", input = \"rules\", partitioning = \"broadcast\" }]\n   |                         ^^^^^^^";
    assert_eq!(job.error(&unknown.at, "no `split`").to_string(), expected);
    let set = &job.operator("split").expect("the job has it").inputs[0].from;
    assert_eq!(job.error(&set.at, "a cycle").to_string(), "--set operator.split.inputs=count: a cycle");
    assert_eq!(
        job.error(&Location::file(), "a").and(job.error(&Location::file(), "b")).to_string(),
        "/jobs/job.toml: a\n\n/jobs/job.toml: b"
    );
    // What was left out is where it would stand.
    let split = job.operator("split").expect("the job has it");
    assert!(
        job.error(&split.on_error.at, "x").to_string().starts_with("/jobs/job.toml:17:1: x"),
        "{}",
        job.error(&split.on_error.at, "x")
    );
}
