//! Feeds whatever libFuzzer finds to `entries/segment.rs`.

#![no_main]

#[path = "../entries/segment.rs"]
mod segment;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| segment::feed(bytes));
