//! What is refused, and how that looks.

use super::*;

/// The short job with a line of its own at the top level.
#[track_caller]
fn top(line: &str, expected: &str) {
    refused(&format!("{line}\n{SHORT}"), &[], expected);
}

/// The whole job with one part of it replaced.
#[track_caller]
fn with(from: &str, to: &str, expected: &str) {
    assert!(JOB.contains(from), "{from}");
    refused(&JOB.replacen(from, to, 1), &[], expected);
}

#[test]
fn a_refusal_shows_the_line_and_the_place() {
    let error = parse(&JOB.replace("parallelism = 3", "\tparalelism = 3"), &[]).unwrap_err().to_string();
    let expected = "/jobs/job.toml:26:2: unknown key `paralelism` in operator `count`; did you mean `parallelism`?\n   |\n26 |  paralelism = 3\n   |  ^^^^^^^^^^";
    assert_eq!(error, expected);
}

#[test]
fn several_problems_are_shown_in_the_order_of_the_file() {
    let text = JOB.replace("\"10ms\"", "10").replace("\"count\"]", "5]").replace("\"word-count\"", "\"Word Count\"");
    let error = parse(&text, &["batch.records=many"]).unwrap_err().to_string();
    let starts: Vec<&str> = error.split("\n\n").map(|problem| problem.lines().next().expect("a line")).collect();
    let expected = [
        "/jobs/job.toml:1:8: `name` must be of lower-case letters, digits and hyphens, not \"Word Count\"",
        "/jobs/job.toml:8:11: `timeout` must be a duration such as \"5ms\", \"10s\" or \"1m\", not 10",
        "/jobs/job.toml:35:11: `inputs` must be a string, not 5",
        "--set batch.records=many: `records` must be a whole number, not `many`",
    ];
    assert_eq!(starts, expected);
}

#[test]
fn the_number_of_problems_shown_is_bounded() {
    let keys: String = (0..30).map(|number| format!("unknown-{number} = 1\n")).collect();
    top(&keys, "\n\nand 10 more");
}

#[test]
fn a_long_line_is_cut_around_the_caret() {
    let text = format!("name = \"job\"\nx = [{} \"\u{1b}[31m\", {}", "1, ".repeat(10_000), "1, ".repeat(10_000));
    let error = parse(&text, &[]).unwrap_err().to_string();
    assert!(error.len() < 1_000 && !error.contains('\u{1b}'), "{error}");
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[2].contains('…') && lines[3].trim_end().ends_with('^'), "{error}");
}

#[test]
fn a_long_value_is_cut_and_a_control_character_blanked() {
    top(
        &format!("parallelism = \"\\u001b{}\"", "x".repeat(99)),
        &format!("must be a whole number, not \" {}…\"\n", "x".repeat(59)),
    );
    top(&format!("{} = 1", "x".repeat(99)), &format!("unknown key `{}…` in the job file", "x".repeat(60)));
}

#[test]
fn what_is_not_toml() {
    refused("name = \"job\nx = 1", &[], "/jobs/job.toml:1:");
    refused("name = ", &[], "/jobs/job.toml:1:8: not TOML: ");
    refused("name = \"a\"\nname = \"b\"", &[], "/jobs/job.toml:2:1: not TOML: duplicate key");
    refused("[", &[], "/jobs/job.toml:1:");
    refused("", &[], "/jobs/job.toml: the job file has no `name`: a name of lower-case letters, digits and hyphens");
}

#[test]
fn unknown_keys_name_the_nearest_or_all() {
    top("paralelism = 2", "/jobs/job.toml:1:1: unknown key `paralelism` in the job file; did you mean `parallelism`?");
    top("max_parallelism = 2", "did you mean `max-parallelism`?");
    top(
        "zzz = 2",
        "unknown key `zzz` in the job file; it may have `name`, `parallelism`, `max-parallelism`, `state`, `batch`, `checkpoint`, `restart`, `swap`, `source`, `operator` and `sink`",
    );
    top("sources = []", "did you mean `source`?");
    with("records = 100", "record = 100", "unknown key `record` in `batch`; did you mean `records`?");
    with(
        "invalid-utf8 = \"skip\"",
        "zzz = \"raw\"",
        "in source `lines`; it may have `id`, `parallelism`, `watermark`, `type`, `path`, `compression`, `format`, `invalid-utf8`, `invalid-json`, `key-type` and `key`",
    );
    with("strategy = \"none\"", "strategy = \"none\", idleness = \"1s\"", "unknown key `idleness` in this watermark");
    with("crate = ", "crat = ", "unknown key `crat` in this plugin");
    with("input = ", "inputs = ", "unknown key `inputs` in this input; did you mean `input`?");
    with("from = ", "form = ", "unknown key `form` in this input; did you mean `from`?");
    with("memory = ", "memroy = ", "unknown key `memroy` in `limits`; did you mean `memory`?");
    with("dead-letter = ", "deadletter = ", "unknown key `deadletter` in `on-error`; did you mean `dead-letter`?");
    with("format = \"raw\"", "path = \"x\"", "unknown key `path` in sink `poison`; it may have");
}

#[test]
fn what_is_missing() {
    refused(&SHORT.replace("name = \"job\"", ""), &[], "the job file has no `name`");
    refused("name = \"job\"", &[], "/jobs/job.toml: the job has no source; add a `[[source]]`");
    refused(&SHORT.replace("id = \"lines\"", ""), &[], "/jobs/job.toml:3:1: this source has no `id`");
    refused(
        &SHORT.replace("type = \"stdin\"", ""),
        &[],
        "/jobs/job.toml:3:1: source `lines` has no `type`: `file`, `stdin` or `datagen`",
    );
    refused(
        &SHORT.replace("stdin", "file"),
        &[],
        "/jobs/job.toml:5:8: source `lines` has no `path`: a file, folder or glob, or a list of them",
    );
    with("path   = \"counts\"\n", "", "sink `counts` has no `path`: the folder to write to");
    with("plugin = { crate = \"../split-words\" }\n", "", "operator `split` has no `plugin`");
    with("inputs = [\"lines\"]\n", "", "operator `split` has no `inputs`");
    with(
        "inputs = [\"lines\"]\n",
        "inputs = []\n",
        "/jobs/job.toml:20:10: `inputs` is empty: an operator without inputs never gets a record",
    );
    with("from = \"split\", ", "", "this input has no `from`");
    with(
        "crate = \"../split-words\"",
        "",
        "this plugin has no `path`: a plugin is `{ crate = \"FOLDER\" }` or `{ path = \"FILE.wasm\" }`",
    );
    with("dead-letter = \"poison\"", "", "`on-error` has no `dead-letter`: the id of the sink");
}

#[test]
fn what_is_out_of_range() {
    top("parallelism = 0", "/jobs/job.toml:1:15: `parallelism` must be at least 1, not 0");
    top("parallelism = -1", "`parallelism` must be at least 1, not -1");
    top("parallelism = 4294967296", "`parallelism` must be at most 4294967295, not 4294967296");
    top(&format!("parallelism = {}", "9".repeat(60)), "`parallelism` must be at most 4294967295");
    top("parallelism = 129", "/jobs/job.toml:1:15: `parallelism` is 129, more than `max-parallelism`, which is 128");
    top("max-parallelism = 0", "`max-parallelism` must be at least 1");
    top("max-parallelism = 32769", "`max-parallelism` must be at most 32768");
    with("records = 100", "records = 0", "`records` must be at least 1, not 0");
    with("records = 100", "records = 65537", "`records` must be at most 65536");
    with("\"64KiB\"", "0", "`bytes` must be more than 0, not 0");
    with("\"64KiB\"", "\"2GiB\"", "`bytes` must be at most 1073741824 bytes, not \"2GiB\"");
    with("\"10ms\"", "\"0s\"", "`timeout` must be from 1ms to 24h, not \"0s\"");
    with("\"10ms\"", "\"2 days\"", "`timeout` must be from 1ms to 24h, not \"2 days\"");
    with("parallelism = 3", "parallelism = 0", "`parallelism` must be at least 1, not 0");
    for (line, expected) in [
        ("keys = 0", "`keys` must be at least 1, not 0"),
        ("count = -1", "`count` must be at least 0, not -1"),
        ("rate = 0", "`rate` must be greater than 0 and finite, not 0"),
        ("rate = -0.5", "`rate` must be greater than 0 and finite, not -0.5"),
        ("rate = inf", "`rate` must be greater than 0 and finite, not inf"),
        ("rate = nan", "`rate` must be greater than 0 and finite, not NaN"),
    ] {
        refused(&SHORT.replace("\"stdin\"", &format!("\"datagen\"\n{line}")), &[], expected);
    }
}

#[test]
fn what_has_the_wrong_type() {
    top("parallelism = \"2\"", "`parallelism` must be a whole number, not \"2\"");
    top("parallelism = 2.5", "`parallelism` must be a whole number, not 2.5");
    top("state = 1", "`state` must be a table such as `{ backend = \"memory\" }`, not 1");
    top("sink = 1", "`sink` must be a list of tables: write `[[sink]]`");
    top("sink = [1]", "`sink` must be a table, not 1");
    refused(&SHORT.replace("[[source]]", "[source]"), &[], "`source` must be a list of tables: write `[[source]]`");
    with(
        "\"64KiB\"",
        "\"64 kilos\"",
        "`bytes` must be a size such as \"64KiB\", \"256MB\" or a whole number of bytes, not \"64 kilos\"",
    );
    with("\"64KiB\"", "\"99999999TiB\"", "`bytes` must be a size");
    with("\"64KiB\"", "\"1.5KiB\"", "`bytes` must be a size");
    with("\"10ms\"", "\"10\"", "`timeout` must be a duration");
    with("[\"*.txt\", \"more/\"]", "[]", "`path` must have at least one path");
    with("[\"*.txt\", \"more/\"]", "{}", "`path` must be a path in a string, or a list of them, not a table");
    with("\"more/\"", "7", "`path` must be a path in a string, not 7");
    with("\"more/\"", "\"\"", "`path` must not be empty");
    with(
        "{ strategy = \"none\" }",
        "\"none\"",
        "`watermark` must be a table such as `{ strategy = \"none\" }`, not \"none\"",
    );
    with(
        "\"skip\"",
        "\"skp\"",
        "`invalid-utf8` must be `replace`, `skip` or `fail`, not \"skp\"; did you mean `skip`?",
    );
    with(
        "\"hash\"",
        "\"rotate\"",
        "`partitioning` must be `forward`, `hash`, `rebalance` or `broadcast`, not \"rotate\"",
    );
    with(
        "invalid-utf8 = \"skip\"",
        "compression = \"gzipp\"",
        "`compression` must be `auto`, `none`, `gzip` or `zstd`, not \"gzipp\"; did you mean `gzip`?",
    );
    with(
        "{ crate = \"../split-words\" }",
        "true",
        "`plugin` must be `{ crate = \"FOLDER\" }` or the path of a .wasm file, not true",
    );
    with("crate = ", "sha256 = \"x\", crate = ", "`sha256` does not go with `crate`");
    with("sha256 = \"AA", "sha256 = \"A-", "`sha256` must be 64 hexadecimal digits, not \"A-");
    with(
        "{ dead-letter = \"poison\" }",
        "\"dead-letter\"",
        "`on-error` needs the sink: write `{ dead-letter = \"SINK\" }`",
    );
    with(
        "{ dead-letter = \"poison\" }",
        "\"skipp\"",
        "`on-error` must be `fail` or `skip`, not \"skipp\"; did you mean `skip`?",
    );
    with(
        "{ dead-letter = \"poison\" }",
        "1",
        "`on-error` must be `fail`, `skip` or `{ dead-letter = \"SINK\" }`, not 1",
    );
    with("{ min-length = 1, a = [1.5, true, \"x\", 2024-01-31] }", "3", "`config` must be a table, not 3");
    with("1.5, true", "1.5, nan", "a number that is not finite does not fit into a config");
    with("1.5, true", "1.5, 99999999999999999999", "a whole number of more than 64 bits does not fit into a config");
    with("input = \"rules\"", "input = 3", "/jobs/job.toml:25:85: `input` must be a string, not 3");
    with(
        "inputs = [\"count\"]",
        "inputs = [{ from = \"count\", input = \"in\" }]",
        "/jobs/job.toml:35:37: `input` is a name that an operator gives to one of its inputs; a sink has one alone",
    );
    with("inputs = [\"count\"]", "inputs = 1", "`inputs` must be a list of ids, or of tables such as");
    with(
        "type   = \"file\"",
        "type   = \"fil\"",
        "`type` must be `file`, `stdout` or `blackhole`, not \"fil\"; did you mean `file`?",
    );
}

#[test]
fn what_only_json_has() {
    let source = |keys: &str| SHORT.replace("\"stdin\"", &format!("\"stdin\"\n{keys}"));
    let json = |keys: &str| source(&format!("format = \"json\"\n{keys}"));
    for key in ["key = \"user\"", "key-type = \"u64\"", "invalid-json = \"skip\""] {
        let name = key.split(' ').next().expect("a word");
        refused(&source(key), &[], &format!("/jobs/job.toml:6:1: `{name}` goes with `format = \"json\"` only"));
        refused(&source(&format!("format = \"lines\"\n{key}")), &[], &format!("`{name}` goes with"));
    }
    refused(&source("format = \"jsn\""), &[], "`format` must be `lines` or `json`, not \"jsn\"; did you mean `json`?");
    refused(
        &json("key-type = \"u64\""),
        &[],
        "/jobs/job.toml:7:1: `key-type` says what `key` is, but there is no `key`",
    );
    refused(
        &json("key = \"\""),
        &[],
        "/jobs/job.toml:7:7: `key` must not be empty; write the name of a member, or a JSON pointer",
    );
    refused(&json("key = \"/~\""), &[], "`key` is not a JSON pointer (RFC 6901)");
    refused(&json("key = 7"), &[], "`key` must be a string, not 7");
    refused(&json("key = \"a\"\nkey-type = \"i64\""), &[], "`key-type` must be `text` or `u64`, not \"i64\"");
    refused(&json("invalid-json = \"replace\""), &[], "`invalid-json` must be `fail` or `skip`, not \"replace\"");
    refused(&json("keytype = 1"), &[], "unknown key `keytype` in source `lines`; did you mean `key-type`?");
}

#[test]
fn what_only_some_generators_have() {
    let refused = |keys: &str, expected: &str| {
        refused(&SHORT.replace("\"stdin\"", &format!("\"datagen\"\n{keys}")), &[], expected)
    };
    let nexmark = |keys: &str, expected: &str| refused(&format!("generator = \"nexmark\"\n{keys}"), expected);
    refused(
        "generator = \"nexmrk\"",
        "`generator` must be `sequence`, `nexmark` or `sensors`, not \"nexmrk\"; did you mean `nexmark`?",
    );
    refused("seed = 1", "/jobs/job.toml:6:1: `seed` goes with the generator `nexmark` or `sensors` only");
    refused("generator = \"sensors\"\nkeys = 1", "/jobs/job.toml:7:1: `keys` goes with the generator `sequence` only");
    refused("events = \"bid\"", "`events` goes with the generator `nexmark` only");
    nexmark("sensors = 5", "`sensors` goes with the generator `sensors` only");
    nexmark(
        "events = \"bids\"",
        "`events` must be `all`, `person`, `auction` or `bid`, not \"bids\"; did you mean `bid`?",
    );
    nexmark("event-rate = 0", "`event-rate` must be at least 1, not 0");
    nexmark("seed = -1", "`seed` must be at least 0, not -1");
    nexmark("key = \"auction\"", "`key` needs events of one kind: set `events` to \"person\", \"auction\" or \"bid\"");
    nexmark("key-type = \"u64\"", "`key-type` says what `key` is, but there is no `key`");
    nexmark(
        "events = \"bid\"\nkey = \"acution\"",
        "`key` must be `auction`, `bidder`, `price`, `channel` or `url`, not \"acution\"; did you mean `auction`?",
    );
    nexmark(
        "events = \"bid\"\nkey = \"auction\"\nkey-type = \"text\"",
        "/jobs/job.toml:9:12: `auction` is a number: its `key-type` is \"u64\"",
    );
    refused("generator = \"sensors\"\nsensors = 0", "`sensors` must be at least 1, not 0");
    refused("generator = \"sensors\"\ninterval = \"0s\"", "`interval` must be from 1ms to 24h, not \"0s\"");
    refused("event_rate = 5", "unknown key `event_rate` in source `lines`; did you mean `event-rate`?");
}

#[test]
fn what_a_later_version_brings() {
    with(
        "strategy = \"none\"",
        "strategy = \"bounded\", out-of-orderness = \"1s\"",
        "`strategy` \"bounded\" is not supported yet; there is `none`",
    );
    with("parallelism = 3", "capabilities = [\"clock\"]", "`capabilities` is not supported yet");
    refused(
        &SHORT.replace("stdin", "kafka"),
        &[],
        "`type` \"kafka\" is not supported yet; there is `file`, `stdin` and `datagen`",
    );
    refused(&SHORT.replace("stdin", "socket"), &[], "`type` \"socket\" is not supported yet");
    with(
        "type   = \"stdout\"",
        "type = \"kafka\"",
        "`type` \"kafka\" is not supported yet; there is `file`, `stdout` and `blackhole`",
    );
    accepted(&format!("state.backend = \"memory\"\n{SHORT}"), &[]);
    accepted(&format!("state = {{ backend = \"fjall\", cache = \"8MiB\", directory = \"spill\" }}\n{SHORT}"), &[]);
    accepted(&format!("state = {{}}\n{SHORT}"), &[]);
}

#[test]
fn ids_are_names_and_unique() {
    for id in ["", "Lines", "a b", "a_b", "a/b", "é", "a.b"] {
        refused(
            &SHORT.replace("\"lines\"", &format!("\"{id}\"")),
            &[],
            "`id` must be of lower-case letters, digits and hyphens, not \"",
        );
    }
    refused(&SHORT.replace("\"lines\"", "7"), &[], "`id` must be of lower-case letters, digits and hyphens, not 7");
    with(
        "\"poison\"\ntype",
        "\"split\"\ntype",
        "/jobs/job.toml:38:10: the id `split` is taken by an operator already; ids are unique in a job",
    );
    with(
        "\"count\"\nplugin",
        "\"split\"\nplugin",
        "/jobs/job.toml:23:15: the id `split` is taken by another operator already",
    );
}

#[test]
fn the_environment_is_to_blame() {
    let error = parse(&SHORT.replace("name = ", "parallelism = \"${WORD}\"\nname = "), &[]).unwrap_err().to_string();
    let expected = "/jobs/job.toml:1:15: `parallelism` must be a whole number, not `word`\n  |\n1 | parallelism = \"${WORD}\"\n  |               ^^^^^^^^^\n  = with the environment's values this is `word`";
    assert_eq!(error, expected);
    top(
        "parallelism = \"${UNSET}\"",
        "/jobs/job.toml:1:15: the environment variable `UNSET` is not set; set it, or give a default: `${UNSET:-…}`",
    );
    with("min-length = 1", "min-length = \"${UNSET}\"", "the environment variable `UNSET` is not set");
    with("\"more/\"", "\"${more\"", "`${` has no `}`; write `$${` for a plain `${`");
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in proptest::prelude::any::<String>()) {
        _ = parse(&text, &[&text]).map_err(|error| error.to_string());
    }

    /// Cuts and repeats lines of a good job, and so reaches deeper than noise does.
    #[test]
    fn no_damaged_job_panics(cuts in proptest::collection::vec((0..JOB.len(), 0..JOB.len(), "[\\[\\]{}=.,\"'$a-e0-9 \n\té]{0,4}"), 1..6)) {
        let mut text = JOB.to_owned();
        for (from, to, junk) in cuts {
            let (from, to) = (text.floor_char_boundary(from.min(to)), text.floor_char_boundary(from.max(to).min(from.min(to) + 12)));
            text.replace_range(from..to, &junk);
        }
        let set = text.lines().nth(5).unwrap_or_default().replace(' ', "");
        let sets = [set.as_str(), &format!("operator.count.{set}"), &format!("source.lines.{set}"), "source.lines.type=stdin"];
        _ = parse(&text, &sets).map_err(|error| error.to_string());
    }
}
