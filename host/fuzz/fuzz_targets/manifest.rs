//! Feeds whatever libFuzzer finds to `entries/manifest.rs`.

#![no_main]

#[path = "../entries/manifest.rs"]
mod manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| manifest::feed(bytes));
