//! The deeds. Those that lie to the host go around the SDK, which does not lie, and so exist in wasm only.

use std::hint::black_box;

use wasmill_sdk::prelude::*;

/// Rounds of [`work`] in a millisecond, more or less: the sandbox has no clock that runs.
const ROUNDS_PER_MILLISECOND: u64 = 700_000;

/// Keeps busy.
pub(crate) fn work(milliseconds: u64) {
    let mut number = black_box(0x9E37_79B9_7F4A_7C15_u64);
    for _ in 0..milliseconds * ROUNDS_PER_MILLISECOND {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
    }
    black_box(number);
}

/// Keeps busy for ever.
pub(crate) fn run_for_ever() -> ! {
    loop {
        work(1);
    }
}

/// Stops without a word.
pub(crate) fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    panic!("natively there are no traps");
}

/// Calls itself until the stack ends.
pub(crate) fn recurse() {
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 16]);
        if depth == u64::MAX { 0 } else { deeper(black_box(depth + 1)) + frame[0] }
    }
    black_box(deeper(0));
}

/// Allocates until memory ends.
pub(crate) fn allocate() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod lies {
    use super::*;

    fn natively() -> Result<()> {
        bail!("the SDK does not lie: only in wasm is there a way around it")
    }

    pub(crate) fn emit() -> Result<()> {
        natively()
    }
    pub(crate) fn lie_about_ends() -> Result<()> {
        natively()
    }
    pub(crate) fn lie_about_source() -> Result<()> {
        natively()
    }
    pub(crate) fn lie_about_slot() -> Result<()> {
        natively()
    }
    pub(crate) fn lie_about_state() -> Result<()> {
        natively()
    }
}

#[cfg(target_arch = "wasm32")]
mod lies {
    use wasmill_sdk::guest::bindings::wasmill::operator::{keyed_state, output};
    use wasmill_sdk::wire::{BytesColumn, Cells, StoredColumn};

    use super::*;

    /// Emits until the host refuses, which must not let the call end well.
    pub(crate) fn emit() -> Result<()> {
        let values = BytesColumn { data: vec![0; 64 << 10], ends: vec![64 << 10] };
        loop {
            output::emit(0, &[0], &values, &[])?;
        }
    }

    pub(crate) fn lie_about_ends() -> Result<()> {
        let _ = output::emit(0, &[0, 0], &BytesColumn { data: vec![1, 2, 3], ends: vec![3, 1] }, &[]);
        Ok(())
    }

    pub(crate) fn lie_about_source() -> Result<()> {
        let _ = output::emit(0, &[u32::MAX], &BytesColumn { data: vec![1, 2], ends: vec![2] }, &[]);
        Ok(())
    }

    pub(crate) fn lie_about_slot() -> Result<()> {
        write(0, 4_000_000);
        Ok(())
    }

    pub(crate) fn lie_about_state() -> Result<()> {
        write(7, 0);
        Ok(())
    }

    fn write(state: u32, slot: u32) {
        let cells = Cells { slots: vec![slot], ..Cells::default() };
        let _ =
            keyed_state::put_many(state, &cells, &StoredColumn { data: vec![0; 8], ends: vec![8], versions: vec![] });
    }
}

pub(crate) use lies::*;
