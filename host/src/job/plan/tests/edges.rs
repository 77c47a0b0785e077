//! How edges route, what they carry, and which of them can't be.

use super::*;

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
    let plan = planned(&text).expect("it can be planned");
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
    let plan = planned(&text).expect("it can be planned");
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
    let plan = planned(&text).expect("it can be planned");
    assert!(!edge(&plan, "lines", "trim").chained && !edge(&plan, "more", "trim").chained);
    assert!(edge(&plan, "trim", "out").chained && edge(&plan, "lines", "out").chained);
}

#[test]
fn keys_travel_only_as_far_as_somebody_wants_them() {
    let text =
        job("", &[NUMBERS, &operator("sum", "sum", "inputs = [\"numbers\"]"), &sink("out", "inputs = [\"sum\"]")]);
    let plan = planned(&text).expect("it can be planned");
    assert!(vertex(&plan, "numbers").keys_wanted && !vertex(&plan, "sum").keys_wanted);

    let reads_keys = "[[sink]]\nid = \"out\"\ntype = \"file\"\npath = \"out\"\ninputs = [\"sum\"]\n";
    let text = job("", &[NUMBERS, &operator("sum", "sum", "inputs = [\"numbers\"]"), reads_keys]);
    assert!(vertex(&planned(&text).expect("it can be planned"), "sum").keys_wanted);
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
    let plan = planned(&text).expect("it can be planned");
    let dead = edge(&plan, "trim", "dead");
    assert_eq!((dead.carries, dead.partitioning, dead.chained), (Carries::DeadLetters, Partitioning::Rebalance, false));
    // Letters carry no keys and are no reason to send any.
    assert!(!vertex(&plan, "trim").keys_wanted);
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
fn an_input_is_read_once() {
    let text = job("", &[LINES, &sink("out", "inputs = [\"lines\", \"lines\"]")]);
    refused(&text, &[("\"lines\"", "out reads lines twice")]);
}
