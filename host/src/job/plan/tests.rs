//! The planner: each refusal with its message and place, and what it decides where the job file says nothing.

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
fn what_the_file_says_of_partitioning_holds() {
    let text = job(
        "",
        &[
            NUMBERS,
            &operator("sum", "sum", "inputs = [{ from = \"numbers\", partitioning = \"hash\" }]"),
            &sink("out", "inputs = [{ from = \"sum\", partitioning = \"rebalance\" }]"),
        ],
    );
    let plan = planned(&text).unwrap();
    assert_eq!(edge(&plan, "numbers", "sum").partitioning, Partitioning::Hash);
    let out = edge(&plan, "sum", "out");
    assert_eq!((out.partitioning, out.chained), (Partitioning::Rebalance, false));
}

#[test]
fn operators_that_keep_the_keys_of_a_hash_edge_may_be_followed_by_forward() {
    let text = job(
        "parallelism = 4",
        &[
            LINES,
            &operator("split", "split", "inputs = [\"lines\"]"),
            &operator("keep", "keep", "inputs = [{ from = \"split\", partitioning = \"hash\" }]"),
            &operator("pass", "pass", "inputs = [{ from = \"keep\", partitioning = \"forward\" }]"),
            &operator("count", "count", "inputs = [{ from = \"pass\", partitioning = \"forward\" }]"),
            &sink("out", "inputs = [\"count\"]"),
        ],
    );
    let plan = planned(&text).unwrap();
    assert!(
        edge(&plan, "keep", "pass").chained
            && edge(&plan, "pass", "count").chained
            && edge(&plan, "count", "out").chained
    );
}

#[test]
fn an_operator_with_several_inputs_is_not_chained_and_a_sink_is() {
    let two = "[[source]]\nid = \"more\"\ntype = \"file\"\npath = \"in\"\n";
    let text = job(
        "",
        &[
            LINES,
            two,
            &operator("trim", "trim", "inputs = [\"lines\", \"more\"]"),
            &sink("out", "inputs = [\"trim\", \"lines\"]"),
        ],
    );
    let plan = planned(&text).unwrap();
    assert!(!edge(&plan, "lines", "trim").chained && !edge(&plan, "more", "trim").chained);
    assert!(edge(&plan, "trim", "out").chained && edge(&plan, "lines", "out").chained);
}

const RULES: &str = "[[source]]\nid = \"rules\"\ntype = \"file\"\npath = \"rules\"\n";

/// A job of numbers and rules with one operator of this plugin and these inputs.
fn two_inputs(head: &str, plugin: &str, inputs: &str) -> String {
    let join = operator("join", plugin, &format!("inputs = [{inputs}]"));
    job(head, &[NUMBERS, RULES, &join, &sink("out", "inputs = [\"join\"]")])
}

#[test]
fn edges_lead_to_inputs_by_name_and_are_partitioned_as_the_input_needs() {
    let text = two_inputs("parallelism = 3", "enrich", "{ from = \"rules\", input = \"rules\" }, \"numbers\"");
    let plan = planned(&text).unwrap();
    let ways = ["rules", "numbers"].map(|from| {
        let edge = edge(&plan, from, "join");
        (edge.input, edge.partitioning, edge.with_keys, edge.chained)
    });
    assert_eq!(ways, [(1, Partitioning::Broadcast, false, false), (0, Partitioning::Hash, true, false)]);
    // Results keep the keys of the input that has them, and what follows finds them where they belong.
    assert_eq!(vertex(&plan, "join").key, Some(Schema::u64()));
    assert!(vertex(&plan, "join").partitioned);

    // With one task each, too: other senders of the same operator could not reach it otherwise.
    let text =
        two_inputs("", "enrich", "{ from = \"rules\", input = \"rules\", partitioning = \"broadcast\" }, \"numbers\"");
    let plan = planned(&text).unwrap();
    assert!(plan.edges.iter().filter(|edge| edge.to == 2).all(|edge| !edge.chained));
}

#[test]
fn several_edges_may_lead_to_one_input_and_one_sender_to_several_inputs() {
    let text = two_inputs(
        "",
        "join",
        "\"numbers\", { from = \"numbers\", input = \"others\", partitioning = \"hash\" }, { from = \"more\", input = \"others\" }",
    )
    .replace("id = \"rules\"\ntype = \"file\"\npath = \"rules\"", "id = \"more\"\ntype = \"datagen\"");
    let plan = planned(&text).unwrap();
    let inputs: Vec<_> = plan.edges.iter().filter(|edge| edge.to == 2).map(|edge| (edge.from, edge.input)).collect();
    assert_eq!(inputs, [(0, 0), (0, 1), (1, 1)]);
    assert!(vertex(&plan, "join").partitioned);
    let twice = "\"numbers\", { from = \"numbers\", input = \"others\" }, { from = \"numbers\", input = \"in\" }";
    let text = job(
        "",
        &[NUMBERS, &operator("join", "join", &format!("inputs = [{twice}]")), &sink("out", "inputs = [\"join\"]")],
    );
    refused(&text, &[("\"numbers\"", "join reads numbers twice at its input in")]);
}

#[test]
fn every_input_is_fed_and_every_name_is_known() {
    let text = two_inputs("", "enrich", "\"numbers\"").replace(RULES, "");
    let message = "nothing leads to the input rules of join: add `{ from = \"ID\", input = \"rules\" }` to its inputs";
    refused(&text, &[("\"join\"", message)]);
    let text = two_inputs("", "enrich", "{ from = \"rules\", input = \"rules\" }").replace(NUMBERS, "");
    refused(&text, &[("\"join\"", "nothing leads to the input in of join: add `{ from = \"ID\" }` to its inputs")]);
    let text = two_inputs("", "enrich", "\"numbers\", { from = \"rules\", input = \"ruels\" }");
    refused(
        &text,
        &[
            ("\"ruels\"", "join has no input \"ruels\"; did you mean \"rules\"?"),
            ("\"rules\"", "nothing reads the records of rules"),
        ],
    );
    let text = two_inputs(
        "",
        "enrich",
        "\"numbers\", { from = \"rules\", input = \"x\" }, { from = \"rules\", input = \"rules\" }",
    );
    refused(&text, &[("\"x\"", "join has no input \"x\"; it has in, rules")]);
}

#[test]
fn broadcast_inputs_are_broadcast_to_and_keyed_ones_are_not() {
    for partitioning in ["forward", "rebalance", "hash"] {
        let rules = format!("{{ from = \"rules\", input = \"rules\", partitioning = \"{partitioning}\" }}");
        let message = "join takes every record in every task at its input rules: leave the partitioning out, or write \"broadcast\"";
        let text = two_inputs("parallelism = 2", "enrich", &format!("\"numbers\", {rules}"));
        refused(&text, &[(&format!("\"{partitioning}\""), message)]);
    }
    let numbers = "{ from = \"numbers\", partitioning = \"broadcast\" }";
    let text = two_inputs("", "enrich", &format!("{numbers}, {{ from = \"rules\", input = \"rules\" }}"));
    let message =
        "join asks for keys at its input in, so each record belongs to one task and can't be broadcast to all";
    refused(&text, &[("\"broadcast\"", message)]);

    // Where an input has no key, the file may say so, for an operator of one input as well.
    for (plugin, partitioning) in [("trim", "partitioning = \"broadcast\""), ("everywhere", "input = \"in\"")] {
        let inputs = format!("inputs = [{{ from = \"lines\", {partitioning} }}]");
        let text = job("", &[LINES, &operator("op", plugin, &inputs), &sink("out", "inputs = [\"op\"]")]);
        let plan = planned(&text).unwrap();
        let edge = edge(&plan, "lines", "op");
        assert_eq!((edge.partitioning, edge.chained), (Partitioning::Broadcast, false));
        assert!(!vertex(&plan, "op").partitioned);
    }
}

#[test]
fn each_edge_is_held_against_its_own_input() {
    let text = two_inputs("", "enrich", "\"rules\", { from = \"numbers\", input = \"rules\" }");
    refused(
        &text,
        &[
            ("\"rules\"", "rules gives text, but join takes a u64 in 8 bytes at its input in"),
            ("\"rules\"", "join asks for keys at its input in, but the records of rules have none"),
            ("\"numbers\"", "numbers gives a u64 in 8 bytes, but join takes text at its input rules"),
        ],
    );
    let text = two_inputs(
        "",
        "join",
        "{ from = \"numbers\", partitioning = \"rebalance\" }, { from = \"numbers\", input = \"others\", partitioning = \"forward\" }",
    )
    .replace(RULES, "");
    let message = "join has keyed state, so records of one key must reach one task: use partitioning = \"hash\" (or \"forward\" from an operator that keeps the keys of a hash edge)";
    refused(&text, &[("\"rebalance\"", message), ("\"forward\"", message)]);
}

#[test]
fn an_input_without_keys_beside_one_with_keys_brings_none() {
    // The unkeyed input is no obstacle to keyed state, and whatever keys its records had stay behind.
    let split = operator("split", "split", "inputs = [\"rules\"]");
    let trim = operator("trim", "everywhere", "inputs = [\"rules\"]");
    let note = operator(
        "note",
        "note",
        "inputs = [\"numbers\", { from = \"trim\", input = \"notes\", partitioning = \"rebalance\" }]",
    );
    let text = job("", &[NUMBERS, RULES, &split, &trim, &note, &sink("out", "inputs = [\"note\", \"split\"]")]);
    let plan = planned(&text).unwrap();
    let notes = edge(&plan, "trim", "note");
    assert_eq!((notes.input, notes.partitioning, notes.with_keys), (1, Partitioning::Rebalance, false));
    assert!(vertex(&plan, "note").partitioned && vertex(&plan, "note").key == Some(Schema::u64()));
}

#[test]
fn keys_travel_only_as_far_as_somebody_wants_them() {
    let text =
        job("", &[NUMBERS, &operator("sum", "sum", "inputs = [\"numbers\"]"), &sink("out", "inputs = [\"sum\"]")]);
    let plan = planned(&text).unwrap();
    assert!(vertex(&plan, "numbers").keys_wanted && !vertex(&plan, "sum").keys_wanted);

    let reads_keys = "[[sink]]\nid = \"out\"\ntype = \"file\"\npath = \"out\"\ninputs = [\"sum\"]\n";
    let text = job("", &[NUMBERS, &operator("sum", "sum", "inputs = [\"numbers\"]"), reads_keys]);
    assert!(vertex(&planned(&text).unwrap(), "sum").keys_wanted);
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
fn dead_letters_have_an_edge_of_their_own() {
    let text = job(
        "parallelism = 2",
        &[
            LINES,
            &operator("trim", "trim", "inputs = [\"lines\"]\non-error = { dead-letter = \"dead\" }"),
            &sink("out", "inputs = [\"trim\"]"),
            &sink("dead", "parallelism = 1"),
        ],
    );
    let plan = planned(&text).unwrap();
    let dead = edge(&plan, "trim", "dead");
    assert_eq!((dead.carries, dead.partitioning, dead.chained), (Carries::DeadLetters, Partitioning::Rebalance, false));
    // Letters carry no keys and are no reason to send any.
    assert!(!vertex(&plan, "trim").keys_wanted);
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
fn schemas_on_an_edge_have_to_agree() {
    let text =
        job("", &[NUMBERS, &operator("trim", "trim", "inputs = [\"numbers\"]"), &sink("out", "inputs = [\"trim\"]")]);
    refused(&text, &[("\"numbers\"", "numbers gives a u64 in 8 bytes, but trim takes text")]);
    let text = job(
        "",
        &[
            LINES,
            &operator("split", "split", "inputs = [\"lines\"]"),
            &operator("sum", "sum", "inputs = [\"split\"]"),
            &sink("out", "inputs = [\"sum\"]"),
        ],
    );
    refused(
        &text,
        &[
            ("\"split\"", "split gives a unit (no bytes), but sum takes a u64 in 8 bytes"),
            ("\"split\"", "the keys of split are text, but sum takes keys that are a u64 in 8 bytes"),
        ],
    );
}

#[test]
fn hash_edges_and_keyed_operators_need_keys() {
    let text = job(
        "",
        &[
            LINES,
            &operator("trim", "trim", "inputs = [{ from = \"lines\", partitioning = \"hash\" }]"),
            &sink("out", "inputs = [\"trim\"]"),
        ],
    );
    refused(&text, &[("\"hash\"", "the records of lines have no keys, so they can't be partitioned by hash")]);
    let text = job(
        "",
        &[
            LINES,
            &operator("trim", "trim", "inputs = [\"lines\"]"),
            &operator("sum", "sum", "inputs = [{ from = \"trim\", partitioning = \"forward\" }]"),
            &sink("out", "inputs = [\"sum\"]"),
        ],
    );
    refused(
        &text,
        &[
            ("\"trim\"", "trim gives text, but sum takes a u64 in 8 bytes"),
            ("\"trim\"", "sum asks for keys, but the records of trim have none"),
        ],
    );
}

#[test]
fn keyed_state_needs_the_records_of_a_key_in_one_task() {
    let message = "sum has keyed state, so records of one key must reach one task: use partitioning = \"hash\" (or \"forward\" from an operator that keeps the keys of a hash edge)";
    for partitioning in ["forward", "rebalance"] {
        let text = job(
            "",
            &[
                NUMBERS,
                &operator(
                    "sum",
                    "sum",
                    &format!("inputs = [{{ from = \"numbers\", partitioning = \"{partitioning}\" }}]"),
                ),
                &sink("out", "inputs = [\"sum\"]"),
            ],
        );
        refused(&text, &[(&format!("\"{partitioning}\""), message)]);
    }
    // Keys that are kept behind a rebalance are not where they belong; new keys are nowhere yet.
    for (first, second, partitioning) in [("keep", "pass", "rebalance"), ("split", "keep", "forward")] {
        let before = if first == "keep" { operator("split", "split", "inputs = [\"lines\"]") } else { String::new() };
        let from = if first == "keep" { "split" } else { "lines" };
        let text = job(
            "",
            &[
                LINES,
                &before,
                &operator("first", first, &format!("inputs = [\"{from}\"]")),
                &operator(
                    "second",
                    second,
                    &format!("inputs = [{{ from = \"first\", partitioning = \"{partitioning}\" }}]"),
                ),
                &operator("count", "count", "inputs = [{ from = \"second\", partitioning = \"forward\" }]"),
                &sink("out", "inputs = [\"count\"]"),
            ],
        );
        refused(&text, &[("\"forward\"", &message.replace("sum", "count"))]);
    }
}

#[test]
fn forward_needs_the_same_parallelism() {
    let text = job(
        "parallelism = 2",
        &[
            LINES,
            &operator("trim", "trim", "inputs = [{ from = \"lines\", partitioning = \"forward\" }]\nparallelism = 3"),
            &sink("out", "inputs = [\"trim\"]"),
        ],
    );
    let message =
        "forward joins task to task, but lines has parallelism 2 and trim has 3: make them equal, or use \"rebalance\"";
    refused(&text, &[("\"forward\"", message)]);
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

#[test]
fn an_input_is_read_once() {
    let text = job("", &[LINES, &sink("out", "inputs = [\"lines\", \"lines\"]")]);
    refused(&text, &[("\"lines\"", "out reads lines twice")]);
}
