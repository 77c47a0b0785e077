//! `wasmill plugin inspect`.

use std::{
    fs,
    io::{self, Write},
};

use anyhow::Context;
use serde_json::{Value, json};

use super::{EXIT_DONE, EXIT_PLUGIN, args::InspectArgs, place::cache_folder, show};
use crate::{
    job::Loader,
    operator::{Keying, Plugin},
    wasm::WasmPlugin,
};

pub(super) fn inspect(args: InspectArgs) -> anyhow::Result<u8> {
    let component = fs::read(&args.component).with_context(|| args.component.display().to_string())?;
    let loader = Loader::new(cache_folder().as_deref())?;
    let plugin = WasmPlugin::inspect(loader.engine(), &component)
        .map_err(|error| anyhow::Error::from(error).context(args.component.display().to_string()))?;
    let refusals = plugin.descriptor().refusals();
    show::out(|out| if args.json { writeln!(out, "{}", to_json(&plugin, &refusals)) } else { print(&plugin, out) })?;
    if refusals.is_empty() {
        return Ok(EXIT_DONE);
    }
    show::say(&format!("this version would refuse it: it {}", refusals.join("; it ")));
    Ok(EXIT_PLUGIN)
}

fn to_json(plugin: &WasmPlugin, refusals: &[String]) -> Value {
    let descriptor = plugin.descriptor();
    let schema = show::schema;
    json!({
        "name": descriptor.name,
        "version": descriptor.version,
        "digest": plugin.digest(),
        "bytes": plugin.bytes(),
        "inputs": descriptor.inputs.iter().map(|input| json!({
            "name": input.name, "key": input.key.as_ref().map(schema), "value": schema(&input.value), "broadcast": input.broadcast,
        })).collect::<Vec<_>>(),
        "outputs": descriptor.outputs.iter().map(|output| json!({
            "name": output.name,
            "keying": match &output.keying { Keying::Keep => json!("keep"), Keying::Drop => json!("drop"), Keying::Set(key) => json!({ "set": schema(key) }) },
            "value": schema(&output.value),
        })).collect::<Vec<_>>(),
        "states": descriptor.states.iter().map(|state| json!({
            "name": state.name, "kind": state.kind.to_string(), "version": state.version, "schema": schema(&state.schema),
            "migrates_from": state.migrates_from, "on_end": state.on_end, "prefetch": state.prefetch, "ttl_ms": state.ttl.map(|ttl| ttl.ms),
            "map_key": state.map_key.as_ref().map(schema),
        })).collect::<Vec<_>>(),
        "imports": plugin.imports(),
        "exports": plugin.exports(),
        "refusals": refusals,
    })
}

fn print(plugin: &WasmPlugin, out: &mut impl Write) -> io::Result<()> {
    let descriptor = plugin.descriptor();
    writeln!(out, "{} {}", descriptor.name, descriptor.version)?;
    writeln!(out, "  {} bytes, SHA-256 {}", show::number(plugin.bytes() as u64), plugin.digest())?;
    for input in &descriptor.inputs {
        let key = input.key.as_ref().map_or_else(|| "no keys asked for".into(), |key| format!("keyed by {key}"));
        let to_all = if input.broadcast { ", broadcast to every task" } else { "" };
        writeln!(out, "  input {}: {}, {key}{to_all}", input.name, input.value)?;
    }
    for output in &descriptor.outputs {
        let key = match &output.keying {
            Keying::Keep => "keeps the key".into(),
            Keying::Drop => "without a key".into(),
            Keying::Set(key) => format!("keyed anew by {key}"),
        };
        writeln!(out, "  output {}: {}, {key}", output.name, output.value)?;
    }
    for state in &descriptor.states {
        let at_end = if state.on_end { ", visited at the end" } else { "" };
        writeln!(out, "  {} state {}: {}, version {}{at_end}", state.kind, state.name, state.schema, state.version)?;
    }
    writeln!(out, "  imports")?;
    plugin.imports().iter().try_for_each(|name| writeln!(out, "    {name}"))?;
    writeln!(out, "  exports")?;
    plugin.exports().iter().try_for_each(|name| writeln!(out, "    {name}"))
}
