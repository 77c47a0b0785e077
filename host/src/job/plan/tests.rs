//! The planner: each refusal with its message and place, and what it decides where the job file says nothing.

mod edges;
mod inputs;

use super::*;
use crate::{
    operator::{Hooks, InputDescriptor, OutputDescriptor, StateDescriptor, StateKind},
    spec::{PluginSpec, SinkKind, SourceKind, Surroundings},
};

/// Operators that job files of these tests name by `plugin = "NAME"`.
fn descriptor(name: &str) -> Descriptor {
    let (key, value, output, stateful) = match name {
        "split" => (None, Schema::text(), Some((Keying::Set(Schema::text()), Schema::unit())), false),
        "count" => (Some(Schema::text()), Schema::unit(), Some((Keying::Keep, Schema::json())), true),
        "pass" => (None, Schema::unit(), Some((Keying::Keep, Schema::unit())), false),
        "keep" => (Some(Schema::text()), Schema::unit(), Some((Keying::Keep, Schema::unit())), false),
        "trim" => (None, Schema::text(), Some((Keying::Drop, Schema::text())), false),
        "sum" => (Some(Schema::u64()), Schema::u64(), Some((Keying::Keep, Schema::u64())), true),
        "enrich" | "join" | "note" => (Some(Schema::u64()), Schema::u64(), Some((Keying::Keep, Schema::u64())), true),
        "everywhere" => (None, Schema::text(), Some((Keying::Keep, Schema::text())), false),
        "drain" => (None, Schema::text(), None, false),
        other => panic!("there is no test operator {other}"),
    };
    let input = |name: &str, key, value, broadcast| InputDescriptor { name: name.into(), key, value, broadcast };
    let more = match name {
        "enrich" => vec![input("rules", None, Schema::text(), true)],
        "join" => vec![input("others", Some(Schema::u64()), Schema::u64(), false)],
        "note" => vec![input("notes", None, Schema::text(), false)],
        _ => Vec::new(),
    };
    let state = StateDescriptor {
        name: "state".into(),
        kind: StateKind::Value,
        version: 1,
        schema: Schema::u64(),
        migrates_from: Vec::new(),
        map_key: None,
        ttl: None,
        prefetch: true,
        on_end: false,
    };
    Descriptor {
        name: name.into(),
        version: "1".into(),
        inputs: [vec![input("in", key, value, name == "everywhere")], more].concat(),
        outputs: output
            .into_iter()
            .map(|(keying, value)| OutputDescriptor { name: "out".into(), keying, value })
            .collect(),
        states: if stateful { vec![state] } else { Vec::new() },
        hooks: Hooks::default(),
    }
}

/// Reads a job file and plans it. `file` sources give text without keys, `stdin` has one task, `datagen` gives numbers with numbers as keys; `stdout` has one task.
fn planned(text: &str) -> Result<Plan, String> {
    let surroundings = Surroundings { env: &|_| None, cwd: "/jobs".into() };
    let job =
        JobFile::parse("job.toml".as_ref(), text, &[], &surroundings).map_err(|error| format!("not read: {error}"))?;
    let sources: Vec<_> = job
        .sources
        .iter()
        .map(|source| match source.kind {
            SourceKind::Datagen(_) => {
                SourceFacts { key: Some(Schema::u64()), value: Schema::u64(), parallelism_max: 64 }
            }
            SourceKind::Stdin { .. } => SourceFacts { key: None, value: Schema::text(), parallelism_max: 1 },
            SourceKind::File { .. } => SourceFacts { key: None, value: Schema::text(), parallelism_max: u32::MAX },
        })
        .collect();
    let sinks: Vec<_> = job
        .sinks
        .iter()
        .map(|sink| match sink.kind {
            SinkKind::Stdout { .. } => SinkFacts { parallelism_max: 1, reads_keys: false },
            SinkKind::File { .. } => SinkFacts { parallelism_max: u32::MAX, reads_keys: true },
            SinkKind::Blackhole => SinkFacts { parallelism_max: u32::MAX, reads_keys: false },
        })
        .collect();
    let descriptors: Vec<_> = job
        .operators
        .iter()
        .map(|operator| match &operator.plugin.value {
            PluginSpec::Component { path, .. } => descriptor(&path.file_name().unwrap().to_string_lossy()),
            PluginSpec::Crate { .. } => panic!("test operators are named by plugin = \"NAME\""),
        })
        .collect();
    plan(&job, &sources, &descriptors.iter().collect::<Vec<_>>(), &sinks).map_err(|error| error.to_string())
}

const LINES: &str = "[[source]]\nid = \"lines\"\ntype = \"file\"\npath = \"in\"\n";
const NUMBERS: &str = "[[source]]\nid = \"numbers\"\ntype = \"datagen\"\n";

fn operator(id: &str, plugin: &str, more: &str) -> String {
    format!("[[operator]]\nid = \"{id}\"\nplugin = \"{plugin}\"\n{more}\n")
}

fn sink(id: &str, more: &str) -> String {
    format!("[[sink]]\nid = \"{id}\"\ntype = \"blackhole\"\n{more}\n")
}

fn job(head: &str, parts: &[&str]) -> String {
    format!("name = \"test\"\n{head}\n{}", parts.concat())
}

/// Each of `expected` is a refusal: what the caret points at, and the message behind the place.
#[track_caller]
fn refused(text: &str, expected: &[(&str, &str)]) {
    let refusal = planned(text).expect_err("it is refused");
    let blocks: Vec<&str> = refusal.split("\n\n").collect();
    let shown: Vec<(String, &str)> = blocks
        .iter()
        .map(|block| {
            let mut lines = block.lines();
            let header = lines.next().unwrap();
            let message = header.splitn(4, ':').nth(3).unwrap_or(header).trim_start();
            let source = lines.nth(1).unwrap_or_default();
            let caret = lines.next().unwrap_or_default();
            let marked = source.chars().zip(caret.chars()).filter(|(_, mark)| *mark == '^').map(|(c, _)| c).collect();
            (marked, message)
        })
        .collect();
    let shown: Vec<(&str, &str)> = shown.iter().map(|(marked, message)| (marked.as_str(), *message)).collect();
    assert_eq!(shown, expected, "{refusal}");
}

fn edge<'p>(plan: &'p Plan, from: &str, to: &str) -> &'p PlannedEdge {
    let index = |id: &str| plan.vertices.iter().position(|vertex| vertex.id == id).unwrap();
    plan.edges.iter().find(|edge| (edge.from, edge.to) == (index(from), index(to))).unwrap()
}

fn vertex<'p>(plan: &'p Plan, id: &str) -> &'p Vertex {
    plan.vertices.iter().find(|vertex| vertex.id == id).unwrap()
}

#[test]
fn a_job_becomes_vertices_in_order_and_edges() {
    // The operators stand in the file the wrong way round.
    let text = job(
        "parallelism = 2",
        &[
            LINES,
            &operator("count", "count", "inputs = [\"split\"]"),
            &operator("split", "split", "inputs = [\"lines\"]"),
            &sink("counts", "inputs = [\"count\"]\nparallelism = 3"),
        ],
    );
    let plan = planned(&text).unwrap();
    let ids: Vec<_> = plan.vertices.iter().map(|vertex| (vertex.id.as_str(), vertex.parallelism)).collect();
    assert_eq!(ids, [("lines", 2), ("split", 2), ("count", 2), ("counts", 3)]);
    let ways = [("lines", "split"), ("split", "count"), ("count", "counts")].map(|(from, to)| {
        let edge = edge(&plan, from, to);
        (edge.partitioning, edge.chained)
    });
    assert_eq!(ways, [(Partitioning::Forward, true), (Partitioning::Hash, false), (Partitioning::Rebalance, false)]);
    assert_eq!(vertex(&plan, "split").key, Some(Schema::text()));
    assert_eq!(vertex(&plan, "counts").role, Role::Sink(0));
}

#[test]
fn a_parallelism_that_is_not_given_is_as_large_as_the_connector_allows() {
    let stdin = "[[source]]\nid = \"lines\"\ntype = \"stdin\"\n";
    let stdout = "[[sink]]\nid = \"out\"\ntype = \"stdout\"\ninputs = [\"trim\"]\n";
    let text = job("parallelism = 5", &[stdin, &operator("trim", "trim", "inputs = [\"lines\"]"), stdout]);
    let plan = planned(&text).unwrap();
    assert_eq!(plan.vertices.iter().map(|vertex| vertex.parallelism).collect::<Vec<_>>(), [1, 5, 1]);
    assert_eq!(edge(&plan, "lines", "trim").partitioning, Partitioning::Rebalance);
}

#[test]
fn unknown_ids_are_refused_with_the_nearest() {
    let text = job(
        "",
        &[LINES, &operator("trim", "trim", "inputs = [\"line\"]"), &sink("out", "inputs = [\"trmi\", \"lines\"]")],
    );
    refused(
        &text,
        &[
            ("\"line\"", "\"line\" is not the id of a source or operator; did you mean \"lines\"?"),
            ("\"trmi\"", "\"trmi\" is not the id of a source or operator; did you mean \"trim\"?"),
            ("\"trim\"", "nothing reads the results of trim: add a sink (type = \"blackhole\" drops them)"),
        ],
    );
    let text = job(
        "",
        &[
            LINES,
            &operator("trim", "trim", "inputs = [\"lines\"]\non-error = { dead-letter = \"ot\" }"),
            &sink("out", "inputs = [\"trim\"]"),
        ],
    );
    refused(&text, &[("{ dead-letter = \"ot\" }", "\"ot\" is not the id of a sink; did you mean \"out\"?")]);
    let text = job(
        "",
        &[LINES, &operator("trim", "trim", "inputs = [\"lines\", \"out\"]"), &sink("out", "inputs = [\"trim\"]")],
    );
    refused(&text, &[("\"out\"", "\"out\" is a sink: it gives no records")]);
}

#[test]
fn cycles_are_refused() {
    let text = job(
        "",
        &[
            LINES,
            &operator("a", "trim", "inputs = [\"lines\", \"b\"]"),
            &operator("b", "trim", "inputs = [\"a\"]"),
            &operator("c", "trim", "inputs = [\"lines\"]"),
            &sink("out", "inputs = [\"b\", \"c\"]"),
        ],
    );
    refused(&text, &[("\"a\"", "a cycle: a, b read from each other's results, directly or through others")]);
    let text =
        job("", &[LINES, &operator("a", "trim", "inputs = [\"a\"]"), &sink("out", "inputs = [\"a\", \"lines\"]")]);
    refused(&text, &[("\"a\"", "a cycle: a read from each other's results, directly or through others")]);
}

#[test]
fn what_nobody_reads_and_what_gets_nothing_is_refused() {
    let text = job("", &[LINES, NUMBERS, &operator("trim", "trim", "inputs = [\"lines\"]"), &sink("out", "")]);
    refused(
        &text,
        &[
            ("\"numbers\"", "nothing reads the records of numbers"),
            ("\"trim\"", "nothing reads the results of trim: add a sink (type = \"blackhole\" drops them)"),
            ("\"out\"", "the sink out has no inputs, and no operator's on-error names it"),
        ],
    );
}

#[test]
fn an_operator_without_an_output_needs_no_reader_and_can_have_none() {
    let drain = operator("drain", "drain", "inputs = [\"lines\"]");
    planned(&job("", &[LINES, &drain])).unwrap();
    let text = job("", &[LINES, &drain, &sink("out", "inputs = [\"drain\"]")]);
    refused(&text, &[("\"drain\"", "the plugin of drain has no output")]);
}

#[test]
fn parallelism_has_bounds() {
    let text = job(
        "max-parallelism = 8",
        &[
            LINES,
            &operator("trim", "trim", "inputs = [\"lines\"]\nparallelism = 9"),
            &sink("out", "inputs = [\"trim\"]"),
        ],
    );
    refused(&text, &[("9", "parallelism 9 is above max-parallelism, which is 8")]);
    let stdin = "[[source]]\nid = \"lines\"\ntype = \"stdin\"\nparallelism = 2\n";
    let text = job("", &[stdin, &sink("out", "inputs = [\"lines\"]")]);
    refused(&text, &[("2", "lines can have one task at most")]);
    let text = job("max-parallelism = 200", &[NUMBERS, "parallelism = 65\n", &sink("out", "inputs = [\"numbers\"]")]);
    refused(&text, &[("65", "numbers can have 64 tasks at most")]);
}
