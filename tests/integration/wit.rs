//! The WIT package: a guest without the SDK does with it what it says, and what this version does not do is refused when a plugin is loaded.

use std::fs;

use wasmill::{
    job::Executor,
    operator::{Descriptor, Hooks, InputDescriptor, Keying, OutputDescriptor, Plugin, StateDescriptor, StateKind},
    state::Ttl,
    stream::{hash_key, key_group, schema::Schema, task_of_key_group},
    wasm::{LoadError, WasmPlugin},
};

use crate::{
    harness::{Job, assert_same, component, with_loader},
    reference,
};

const RECORDS: u64 = 2_000;
const KEYS: u64 = 25;
/// How far the key that `raw` mirrors a record's key to is from it.
const MIRRORED: u64 = 1_000;

fn load(component: &[u8]) -> Result<WasmPlugin, LoadError> {
    with_loader(|loader| WasmPlugin::load(loader.engine(), component))
}

fn raw(config: &str) -> Job {
    let text = format!(
        r#"
        name = "raw"
        [[source]]
        id    = "numbers"
        type  = "datagen"
        count = {RECORDS}
        keys  = {KEYS}
        [[operator]]
        id     = "count"
        plugin = "{}"
        inputs = ["numbers"]
        config = {{ {config} }}
        [[sink]]
        id     = "counts"
        type   = "stdout"
        inputs = ["count"]
        "#,
        component("raw").display()
    );
    Job::of_text(&text).into_files("counts").set("source.numbers.parallelism", 1)
}

/// Counts and sums of each key, and the mirrored keys that belong to the same task.
fn expected(parallelism: u32) -> Vec<String> {
    let task = |key: u64| task_of_key_group(key_group(hash_key(&key.to_le_bytes()), 128), parallelism, 128);
    let mut state = vec![(0, 0); KEYS as usize];
    let mut lines = Vec::new();
    for (key, value) in reference::numbers(RECORDS, KEYS) {
        let (count, sum) = &mut state[key as usize];
        (*count, *sum) = (*count + 1, *sum + value);
        lines.push(format!(r#"{{"key":{key},"count":{count},"sum":{sum}}}"#));
    }
    for (key, (count, _)) in (0..).zip(&state) {
        if task(key) == task(key + MIRRORED) {
            lines.push(format!(r#"{{"mirror":{},"count":{count}}}"#, key + MIRRORED));
        }
    }
    lines.sort_unstable();
    lines
}

#[test]
fn plain_resources_are_enough_for_a_guest_without_the_sdk() {
    for parallelism in [1, 4] {
        for records in [1, 7, 1024] {
            for executor in [Executor::Threads, Executor::Seeded(9)] {
                let ran = raw("").set("parallelism", parallelism).set("batch.records", records).on(executor).run();
                let what = format!("{parallelism} tasks, batches of {records}, {executor:?}");
                assert_same(&ran.lines("counts"), &expected(parallelism), &what);
                let mirrored = ran.lines("counts").iter().filter(|line| line.contains("mirror")).count();
                assert_eq!(ran.operator("count").metrics["state-keys"], KEYS + mirrored as u64, "{what}");
            }
        }
    }
}

#[test]
fn what_a_guest_without_the_sdk_does_wrong_is_a_fault_of_its_own() {
    for (mode, message) in [
        ("wrong-kind", "state 0 is not a reducing state of the descriptor"),
        ("wrong-state", "state 9 is not a value state of the descriptor"),
        ("unknown-slot", "slot 9999999 stands for no key"),
        ("cells", "get-many was given 1 slots, 0 namespaces and 1 map keys for state 0"),
        ("state-in-open", "may be called within process and on-end only"),
        ("exit", "the operator called exit("),
    ] {
        let failed = raw(&format!("mode = \"{mode}\"")).run_failing();
        assert!(failed.starts_with("operator count, task 0: ") && failed.contains(message), "{mode}: {failed}");
    }
}

#[test]
fn the_sandbox_grants_nothing() {
    for executor in [Executor::Threads, Executor::Seeded(2)] {
        let ran = raw("mode = \"look-around\"").on(executor).run();
        assert_same(&ran.lines("counts"), &expected(1), "nothing was found");
    }
}

#[test]
fn what_a_guest_prints_becomes_log_lines() {
    let ran = raw("mode = \"print\"").run();
    assert_same(&ran.lines("counts"), &expected(1), "printing changes nothing");
    let lines = ran.operator("count").metrics["log-lines"];
    assert!((RECORDS..=RECORDS + 20).contains(&lines), "{lines} lines for {RECORDS} records");
}

#[test]
fn random_numbers_of_a_guest_are_the_same_in_every_run_and_others_in_every_task() {
    let numbers = |executor| -> Vec<String> {
        let ran = raw("mode = \"random\"").set("operator.count.parallelism", 2).on(executor).run();
        let mut numbers: Vec<_> = ran.lines("counts").into_iter().filter(|line| line.contains("random")).collect();
        numbers.dedup();
        numbers
    };
    let once = numbers(Executor::Threads);
    assert_eq!(once, numbers(Executor::Seeded(4)));
    // The generator of each task gave a sequence of its own.
    assert!(once.len() >= 2, "{once:?}");
}

#[test]
fn a_plugin_that_imports_what_there_is_not_is_refused_by_name() {
    let bytes = fs::read(component("unsupported")).expect("a component");
    let refusal = load(&bytes).err().expect("it is refused").to_string();
    let expected = "it asks for timers (register), which this version does not support";
    assert_eq!(refusal, expected);
}

#[test]
fn what_is_no_component_is_refused() {
    for (bytes, message) in [
        (&b"\0asm\x01\0\0\0"[..], "it is not a WebAssembly component: it is a core module; build it for wasm32-wasip2"),
        (
            b"\0asm\x0d\0\x01\0",
            "it does not fit wasmill:operator@0.1.0: it does not export wasmill:operator/operator@0.1.0",
        ),
        (b"", "it is not a WebAssembly component: "),
        (b"MZ", "it is not a WebAssembly component: "),
    ] {
        let refusal = load(bytes).err().expect("it is refused").to_string();
        assert!(refusal.starts_with(message), "{refusal}");
    }
}

#[test]
fn a_plugin_describes_itself() {
    let plugin = load(&fs::read(component("raw")).expect("a component")).expect("it is loaded");
    let descriptor = plugin.descriptor();
    assert_eq!((descriptor.name.as_str(), descriptor.version.as_str()), ("raw", "0.0.7"));
    let states: Vec<_> =
        descriptor.states.iter().map(|state| (state.name.as_str(), state.kind, state.on_end)).collect();
    assert_eq!(
        states,
        [("count", StateKind::Value, false), ("mirror", StateKind::Value, true), ("sum", StateKind::Reducing, false)]
    );
    assert_eq!(descriptor.inputs[0].key, Some(Schema::u64()));
    assert_eq!(plugin.digest().len(), 64);
    assert!(plugin.imports().iter().any(|name| name == "wasmill:operator/keyed-state@0.1.0"), "{:?}", plugin.imports());
}

fn state(name: &str, kind: StateKind) -> StateDescriptor {
    let name = name.to_owned();
    StateDescriptor {
        name,
        kind,
        version: 1,
        schema: Schema::u64(),
        migrates_from: vec![],
        map_key: kind.is_map().then(Schema::text),
        ttl: None,
        prefetch: kind.is_point(),
        on_end: false,
    }
}

fn input(name: &str) -> InputDescriptor {
    InputDescriptor { name: name.to_owned(), key: Some(Schema::u64()), value: Schema::u64(), broadcast: false }
}

fn output(name: &str) -> OutputDescriptor {
    OutputDescriptor { name: name.to_owned(), keying: Keying::Keep, value: Schema::u64() }
}

fn descriptor() -> Descriptor {
    Descriptor {
        name: "test".to_owned(),
        version: "1".to_owned(),
        inputs: vec![input("in")],
        outputs: vec![output("out")],
        states: vec![state("count", StateKind::Value)],
        hooks: Hooks::default(),
    }
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Descriptor), expected: &[&str]) {
    let mut descriptor = descriptor();
    change(&mut descriptor);
    assert_eq!(descriptor.refusals(), expected);
}

#[test]
fn a_descriptor_that_asks_for_what_there_is_not_is_refused_with_everything_at_once() {
    refused(|_| {}, &[]);
    refused(
        |it| it.inputs.clear(),
        &[
            "declares 0 inputs, where an operator has at least 1 and at most 8",
            "declares keyed state, but no input with a key",
        ],
    );
    refused(|it| it.inputs.extend((0..7).map(|number| input(&number.to_string()))), &[]);
    refused(
        |it| it.inputs.extend((0..8).map(|number| input(&number.to_string()))),
        &["declares 9 inputs, where an operator has at least 1 and at most 8"],
    );
    refused(|it| it.inputs.push(input("in")), &["declares two inputs named in"]);
    refused(
        |it| it.inputs.push(InputDescriptor { broadcast: true, ..input("rules") }),
        &["declares the broadcast input rules with a key, which such inputs have not"],
    );
    refused(
        |it| it.inputs.extend([InputDescriptor { key: Some(Schema::text()), ..input("words") }, input("more")]),
        &[
            "declares keys that are a u64 in 8 bytes for the input in and text for words, but inputs with keys share one kind of key",
        ],
    );
    refused(|it| it.inputs.insert(0, InputDescriptor { key: None, ..input("notes") }), &[]);
    refused(
        |it| it.outputs.extend([output("late"), output("odd")]),
        &["asks for side outputs (late, odd), which this version does not support"],
    );
    refused(|it| it.states.extend([state("items", StateKind::KeyedMap), state("all", StateKind::KeyedList)]), &[]);
    refused(
        |it| it.states.push(StateDescriptor { prefetch: true, ..state("all", StateKind::KeyedList) }),
        &["asks for state all to be prefetched, which a keyed list state can't be"],
    );
    refused(
        |it| it.states.push(StateDescriptor { map_key: None, ..state("items", StateKind::KeyedMap) }),
        &["declares keyed map state items without a schema of its map keys"],
    );
    refused(|it| it.states[0].ttl = Some(Ttl { ms: 1, on_read: false }), &[]);
    refused(
        |it| it.states[0].ttl = Some(Ttl { ms: 0, on_read: false }),
        &["declares state count with a time to live of 0"],
    );
    refused(
        |it| it.hooks = Hooks { on_watermark: true, on_timers: true, snapshot: true },
        &[
            "asks for the hook on-watermark, which this version does not support",
            "asks for the hook on-timers, which this version does not support",
        ],
    );
    refused(|it| it.states[0].version = 0, &["declares state count with schema version 0; versions begin at 1"]);
    refused(|it| it.states.push(it.states[0].clone()), &["declares two states named count"]);
    refused(|it| it.inputs[0].key = None, &["declares keyed state, but no input with a key"]);
}

#[test]
fn operator_state_is_no_keyed_state() {
    let operator_state = |name: &str, kind| StateDescriptor { prefetch: false, ..state(name, kind) };
    let lists = [operator_state("list", StateKind::OperatorList), operator_state("union", StateKind::OperatorUnion)];
    refused(|it| it.states.extend(lists.clone()), &[]);
    refused(|it| (it.inputs[0].key, it.states) = (None, lists.to_vec()), &[]);
    let rules = operator_state("rules", StateKind::Broadcast);
    refused(
        |it| it.states.push(rules.clone()),
        &["declares broadcast state rules, but no broadcast input that could write it"],
    );
    refused(
        |it| {
            it.inputs.push(InputDescriptor { key: None, broadcast: true, ..input("rules") });
            it.states.push(rules.clone());
        },
        &[],
    );
    refused(
        |it| it.states.push(StateDescriptor { prefetch: true, on_end: true, ..lists[0].clone() }),
        &[
            "declares operator list state list with values delivered with keys, which only keyed state has",
            "declares operator list state list with keys to be visited at the end, which only keyed state has",
        ],
    );
}

#[test]
fn a_component_for_another_version_of_the_interface_is_refused_with_both_versions() {
    let component = fs::read(component("raw")).expect("the component is there");
    let (old, new) = (&b"wasmill:operator/output@0.1.0"[..], &b"wasmill:operator/output@0.2.0"[..]);
    let mut patched = component;
    let places: Vec<_> =
        patched.windows(old.len()).enumerate().filter(|(_, at)| *at == old).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for place in places {
        patched[place..place + new.len()].copy_from_slice(new);
    }
    let error = load(&patched).err().expect("it is refused").to_string();
    assert_eq!(
        error,
        "it was built for version 0.2.0 of wasmill:operator/output, but this wasmill has 0.1.0: build it with the SDK of this version"
    );
}
