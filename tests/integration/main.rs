//! The integration tests: whole jobs, run in this process or by the binary as a user types it.
//!
//! One binary, so that plugins are built and loaded once. What is tested in one room alone lies in that room.

mod architecture;
mod cli;
mod dead_letters;
mod determinism;
mod eviction;
mod fuzz_entries;
mod golden;
mod graphs;
mod harness;
mod misbehaving;
mod properties;
mod reference;
mod restores;
mod simulation;
mod sources;
mod stop;
mod swaps;
mod two_inputs;
mod ways;
mod wit;
mod wit_docs;
