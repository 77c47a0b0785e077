//! Operators with several inputs: which edge leads to which, and how.

use super::*;

const RULES: &str = "[[source]]\nid = \"rules\"\ntype = \"file\"\npath = \"rules\"\n";

/// A job of numbers and rules with one operator of this plugin and these inputs.
fn two_inputs(head: &str, plugin: &str, inputs: &str) -> String {
    let join = operator("join", plugin, &format!("inputs = [{inputs}]"));
    job(head, &[NUMBERS, RULES, &join, &sink("out", "inputs = [\"join\"]")])
}

#[test]
fn edges_lead_to_inputs_by_name_and_are_partitioned_as_the_input_needs() {
    let text = two_inputs("parallelism = 3", "enrich", "{ from = \"rules\", input = \"rules\" }, \"numbers\"");
    let plan = planned(&text).expect("it can be planned");
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
    let plan = planned(&text).expect("it can be planned");
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
    let plan = planned(&text).expect("it can be planned");
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
        let plan = planned(&text).expect("it can be planned");
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
    let plan = planned(&text).expect("it can be planned");
    let notes = edge(&plan, "trim", "note");
    assert_eq!((notes.input, notes.partitioning, notes.with_keys), (1, Partitioning::Rebalance, false));
    assert!(vertex(&plan, "note").partitioned && vertex(&plan, "note").key == Some(Schema::u64()));
}
