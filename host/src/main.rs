//! The binary: takes the time, chooses the allocator, starts the command line.

use std::{process::ExitCode, time::Instant};

// Batches are made on one thread and freed on another all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wasmill::cli::main(Instant::now())
}
