//! Feeds whatever libFuzzer finds to `entries/columns.rs`.

#![no_main]

#[path = "../entries/columns.rs"]
mod columns;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| columns::feed(bytes));
