//! What `--set` does.

use std::{path::Path, time::Duration};

use crate::{
    connector::{Format, Generator},
    dataflow::Partitioning,
    spec::{
        DatagenSpec, JobFile, Limits, OnError, PluginSpec, SinkKind, SourceKind, sink, source,
        tests::{JOB, SHORT, accepted, parse, refused, skipping},
    },
};

fn source_of(job: &JobFile) -> &SourceKind {
    &job.source("lines").expect("the job has it").kind
}

fn sink_of(job: &JobFile) -> &SinkKind {
    &job.sink("counts").expect("the job has it").kind
}

#[test]
fn values_are_read_by_the_type_of_the_target() {
    let sets = [
        "name=other",
        " parallelism = 5",
        "max-parallelism=256",
        "state.backend=memory",
        "batch.records=7",
        "batch.bytes=1MiB",
        "batch.timeout=1s",
        "operator.count.parallelism=9",
        "operator.count.limits.memory=2GiB",
        "operator.count.on-error=skip",
        "operator.count.inputs=[{ from = \"split\" }, 'lines']",
        "operator.split.plugin={ crate = \"c\" }",
        "operator.split.inputs=lines",
        "operator.split.limits={ output = 5, faults-per-minute = 0 }",
        "operator.split.on-error={ dead-letter = \"poison\" }",
        "sink.counts.inputs=[\"split\", \"count\"]",
        "sink.counts.part-bytes=100",
    ];
    let job = accepted(JOB, &sets);
    assert_eq!((job.name.as_str(), job.parallelism, job.max_parallelism), ("other", 5, 256));
    assert_eq!(
        (job.batch.limits.records, job.batch.limits.bytes, job.batch.timeout),
        (7, 1 << 20, Duration::from_secs(1))
    );
    let count = job.operator("count").expect("the job has it");
    assert_eq!(count.parallelism.as_ref().map(|at| at.value), Some(9));
    assert_eq!(
        (count.limits.memory, count.limits.call_time, &count.on_error.value),
        (2 << 30, Duration::from_secs(2), &OnError::Skip)
    );
    assert_eq!(count.inputs.iter().map(|input| input.from.as_str()).collect::<Vec<_>>(), ["split", "lines"]);
    let split = job.operator("split").expect("the job has it");
    assert_eq!(split.plugin.value, PluginSpec::Crate { path: "/cwd/c".into() });
    assert_eq!(split.inputs.len(), 1);
    assert_eq!(split.limits, Limits { output: 5, faults_per_minute: 0, ..Limits::default() });
    assert_eq!(split.on_error.value, OnError::DeadLetter { sink: "poison".to_owned() });
    assert_eq!(job.sink("counts").expect("the job has it").inputs.len(), 2);
    assert!(matches!(sink_of(&job), SinkKind::File { part_bytes: 100, .. }));
}

#[test]
fn a_config_takes_anything() {
    let sets = [
        "operator.count.config.min-length=2",
        "operator.count.config.word=a b",
        "operator.count.config.quoted=\"2\"",
        "operator.count.config.deep.er=[1, { x = true }]",
        "operator.count.config.empty=",
        "operator.count.config.nan=nan",
        "operator.count.config.equation=a=b",
        "operator.count.config.home=${HOME}",
        "operator.split.config={ a = 1 }",
        "operator.split.config.b=2",
    ];
    let job = accepted(JOB, &sets);
    let expected = r#"{"min-length":2,"a":[1.5,true,"x","2024-01-31"],"word":"a b","quoted":"2","deep":{"er":[1,{"x":true}]},"empty":"","nan":"nan","equation":"a=b","home":"${HOME}"}"#;
    assert_eq!(job.operator("count").expect("the job has it").config.to_string(), expected);
    assert_eq!(job.operator("split").expect("the job has it").config.to_string(), r#"{"a":1,"b":2}"#);
}

#[test]
fn the_last_one_wins() {
    assert_eq!(accepted(SHORT, &["parallelism=2", "parallelism=3"]).parallelism, 3);
    let job = accepted(JOB, &["operator.count.config.x=1", "operator.count.config={}"]);
    assert_eq!(job.operator("count").expect("the job has it").config.to_string(), "{}");
}

#[test]
fn relative_paths_are_of_the_current_directory() {
    let job =
        accepted(JOB, &["sink.counts.path=out", "source.lines.path=[\"a\", \"/b\"]", "operator.split.plugin=x.wasm"]);
    assert!(matches!(sink_of(&job), SinkKind::File { path, .. } if path == Path::new("/cwd/out")));
    assert!(
        matches!(source_of(&job), SourceKind::File { paths, .. } if *paths == [Path::new("/cwd/a"), Path::new("/b")])
    );
    assert_eq!(
        job.operator("split").expect("the job has it").plugin.value,
        PluginSpec::Component { path: "/cwd/x.wasm".into(), sha256: None }
    );
    let job = accepted(JOB, &["operator.split.plugin={ path = \"y.wasm\" }", "operator.count.plugin.path=z.wasm"]);
    assert_eq!(
        job.operator("split").expect("the job has it").plugin.value,
        PluginSpec::Component { path: "/cwd/y.wasm".into(), sha256: None }
    );
    let pinned = PluginSpec::Component { path: "/cwd/z.wasm".into(), sha256: Some("a".repeat(64)) };
    assert_eq!(job.operator("count").expect("the job has it").plugin.value, pinned);
}

#[test]
fn another_type_drops_what_it_does_not_know() {
    let job = accepted(JOB, &["source.lines.type=stdin"]);
    assert_eq!(*source_of(&job), SourceKind::Stdin { format: skipping() });
    for sets in
        [["source.lines.count=10", "source.lines.type=datagen"], ["source.lines.type=datagen", "source.lines.count=10"]]
    {
        assert_eq!(
            *source_of(&accepted(JOB, &sets)),
            SourceKind::Datagen(DatagenSpec {
                generator: Generator::Sequence { keys: 1_000 },
                count: Some(10),
                rate: None
            })
        );
    }
    let job = accepted(JOB, &["sink.counts.type=blackhole"]);
    assert_eq!((sink_of(&job), job.sink("counts").expect("the job has it").inputs.len()), (&SinkKind::Blackhole, 1));
    let job = accepted(JOB, &["sink.poison.type=file", "sink.poison.path=x"]);
    assert_eq!(
        job.sink("poison").expect("the job has it").kind,
        SinkKind::File { path: "/cwd/x".into(), format: Format::Raw, part_bytes: 128 << 20 }
    );
    // Only the last type counts.
    let job = accepted(JOB, &["sink.counts.type=blackhole", "sink.counts.type=file"]);
    assert!(matches!(sink_of(&job), SinkKind::File { path, .. } if path == Path::new("/jobs/counts")));
    // The same type drops nothing, and another --set's key is never dropped.
    accepted(JOB, &["sink.counts.type=file"]);
    refused(
        JOB,
        &["sink.counts.path=x", "sink.counts.type=stdout"],
        "--set sink.counts.path=x: unknown key `path` in sink `counts`",
    );
    refused(
        &JOB.replace("invalid-utf8", "inavlid-utf8"),
        &["source.lines.type=file"],
        "unknown key `inavlid-utf8` in source `lines`",
    );
}

#[test]
fn an_override_mends_what_it_replaces() {
    let text = JOB.replace("path   = \"counts\"", "path   = \"${UNSET}\"");
    refused(&text, &[], "`UNSET` is not set");
    accepted(&text, &["sink.counts.path=out"]);
    accepted(&text, &["sink.counts.type=stdout"]);
}

#[test]
fn entries_are_known_by_ids_from_the_environment_too() {
    let job = accepted(&JOB.replace("\"split\"\nplugin", "\"${WORD}\"\nplugin"), &["operator.word.parallelism=8"]);
    assert_eq!(job.operator("word").expect("the job has it").parallelism.as_ref().map(|at| at.value), Some(8));
}

#[test]
fn inputs_may_be_set_with_a_table() {
    let job = accepted(JOB, &["operator.split.inputs={ from = \"lines\", partitioning = \"rebalance\" }"]);
    assert_eq!(
        job.operator("split").expect("the job has it").inputs[0].partitioning.as_ref().map(|at| at.value),
        Some(Partitioning::Rebalance)
    );
}

#[test]
fn an_edge_to_a_named_input_may_be_set() {
    let set =
        "operator.split.inputs=[\"count\", { from = \"lines\", input = \"rules\", partitioning = \"broadcast\" }]";
    let job = accepted(JOB, &[set]);
    let edge = &job.operator("split").expect("the job has it").inputs[1];
    assert_eq!(edge.input.as_ref().map(|name| name.as_str()), Some("rules"));
    assert_eq!(edge.partitioning.as_ref().map(|at| at.value), Some(Partitioning::Broadcast));
    // A sink's edge has no name of an input, whichever way it is written.
    let set = "sink.counts.inputs={ from = \"count\", input = \"rules\" }";
    refused(JOB, &[set], &format!("--set {set}: `input` is a name that an operator gives to one of its inputs"));
}

#[test]
fn what_is_refused() {
    for (set, expected) in [
        ("parallelism", "--set parallelism: has no `=`; write `--set path=value`"),
        ("=3", "--set =3: the path before the `=` is not keys with dots between them"),
        ("batch..records=3", "is not keys with dots between them"),
        ("batch.records=x", "--set batch.records=x: `records` must be a whole number, not `x`"),
        ("batch.records=", "`records` must be a whole number, not ``"),
        ("batch.timeout=5", "`timeout` must be a duration such as \"5ms\", \"10s\" or \"1m\", not `5`"),
        (
            "operator.count.parallelism=x",
            "--set operator.count.parallelism=x: `parallelism` must be a whole number, not `x`",
        ),
        ("operator.cuont.parallelism=2", "the job has no operator `cuont`; did you mean `count`?"),
        ("operator.zzzzzz.parallelism=2", "the job has no operator `zzzzzz`; it has `split` and `count`"),
        ("operator.counts.parallelism=2", "`counts` is no operator: write `sink.counts.…`"),
        ("operator.count.paralelism=2", "unknown key `paralelism` in operator `count`; did you mean `parallelism`?"),
        ("operator.count.limits.memroy=2", "unknown key `memroy` in `limits`; did you mean `memory`?"),
        ("operator.count=2", "says not what to set: write `operator.ID.KEY=value`"),
        ("source=[]", "says not what to set: write `source.ID.KEY=value`"),
        ("source.lines.id=x", "an id can't be changed"),
        ("source.lines.type=kafka", "--set source.lines.type=kafka: `type` \"kafka\" is not supported yet"),
        ("source.lines.type=filee", "`type` must be `file`, `stdin` or `datagen`, not `filee`; did you mean `file`?"),
        ("source.lines.path=[a.txt]", "`path` begins with `[` but is not TOML: "),
        ("source.lines.watermark={ strategy = \"monotonous\" }", "`strategy` \"monotonous\" is not supported yet"),
        ("source.lines.path.x=1", "`path` is a list, so nothing can be set in it; set `path` itself"),
        ("sink.poison.type=file", "--set sink.poison.type=file: sink `poison` has no `path`: the folder to write to"),
        ("paralelism=2", "unknown key `paralelism` in the job file; did you mean `parallelism`?"),
        ("swap.probation=soon", "--set swap.probation=soon:"),
        ("checkpoint.intervall=10s", "unknown key `intervall` in `checkpoint`; did you mean `interval`?"),
        ("checkpoint=10s", "`checkpoint` must be a table such as `{ interval = \"10s\" }`, not `10s`"),
        ("state.backend=rocksdb", "`backend` must be `fjall` or `memory`, not `rocksdb`"),
        ("state.cache=big", "`cache` must be"),
        ("operator.count.config=3", "`config` must be a table, not `3`"),
        ("name.first=x", "`name` is \"word-count\", so nothing can be set in it; set `name` itself"),
    ] {
        refused(JOB, &[set], expected);
    }
    refused(SHORT, &["operator.x.parallelism=1"], "the job has no operator `x`, nor any other");
    let deep = format!("operator.count.config{}=1", ".a".repeat(100));
    refused(JOB, &[&deep], "is not keys with dots between them");
}

/// The keys that a type keeps when it is set are those that it reads.
#[test]
fn the_lists_of_keys_are_true() {
    let listed = |text: &str, kind: &str| {
        let error = parse(text, &[]).unwrap_err().to_string();
        let list = error
            .split_once(&format!("unknown key `zzzzzzzz` in {kind} `lines`; it may have "))
            .unwrap_or_else(|| panic!("{error}"))
            .1;
        let list = list.lines().next().expect("a line").replace(" and ", ", ");
        let mut keys: Vec<String> = list.split(", ").map(|key| key.trim_matches('`').to_owned()).collect();
        keys.sort();
        keys
    };
    let sorted = |mut keys: Vec<&'static str>| {
        keys.sort_unstable();
        keys
    };
    for kind in ["file", "stdin", "datagen"] {
        let text = SHORT.replace("\"stdin\"", &format!("\"{kind}\"\nzzzzzzzz = 1"));
        assert_eq!(listed(&text, "source"), sorted(source::keys(kind).expect("there is the type")));
    }
    for kind in ["file", "stdout", "blackhole"] {
        let text = SHORT.replace("source", "sink").replace("\"stdin\"", &format!("\"{kind}\"\nzzzzzzzz = 1"));
        assert_eq!(listed(&text, "sink"), sorted(sink::keys(kind).expect("there is the type")));
    }
}
