//! `wasmill build`.

use std::{fs, io::Write};

use anyhow::Context;
use serde_json::json;

use super::{EXIT_DONE, args::BuildArgs, place::cache_folder, show};
use crate::{
    job::{Loader, builder::Builder},
    operator::Plugin,
    wasm::WasmPlugin,
};

pub(super) fn build(args: BuildArgs) -> anyhow::Result<u8> {
    let cache = cache_folder();
    let stamps = Loader::stamps_folder(cache.as_deref());
    let built = Builder::new(stamps).build(&args.folder, &mut show::say)?;
    let component = fs::read(&built.component).with_context(|| built.component.display().to_string())?;
    let loader = Loader::new(cache.as_deref())?;
    let plugin = WasmPlugin::load(loader.engine(), &component).map_err(|error| {
        anyhow::Error::from(error).context(format!("the component {} was refused", built.component.display()))
    })?;
    if args.json {
        let descriptor = plugin.descriptor();
        let document = json!({
            "component": built.component,
            "digest": built.digest,
            "bytes": built.bytes,
            "built": built.fresh,
            "name": descriptor.name,
            "version": descriptor.version,
        });
        show::out(|out| writeln!(out, "{document}"))?;
    } else {
        show::out(|out| writeln!(out, "{}", built.component.display()))?;
        let descriptor = plugin.descriptor();
        show::say(&format!(
            "{} {}: {} bytes, SHA-256 {}",
            descriptor.name,
            descriptor.version,
            show::number(built.bytes),
            built.digest
        ));
    }
    Ok(EXIT_DONE)
}
