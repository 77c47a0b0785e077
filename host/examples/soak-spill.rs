//! Overwrites the same keys in a spill again and again, and checks what it reads: do throughput, disk and memory stay bounded?
//!
//! Every fourth overwrite is a read-modify-write, every hundredth removes the key. A line each ten seconds.
//!
//! ```sh
//! cargo run --release -p wasmill --example soak-spill -- SECONDS KEYS VALUE-BYTES FOLDER [RUN-MEBIBYTES]
//! ```

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use wasmill::{
    background::Threads,
    state::{Access, Found, Spill, SpillCounters, SpillOptions, StoredBytes, StoredKey},
    stream::{SplitMix64, hash_key, key_group},
};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Memory of this process, now and at its highest, in bytes.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

fn stored_key(number: u64, out: &mut Vec<u8>) -> anyhow::Result<()> {
    let key = number.to_le_bytes();
    let group = key_group(hash_key(&key), 128) as u16;
    Ok(StoredKey { key_group: group, state: 1, key: &key, namespace: b"", entry: b"" }.encode(out)?)
}

/// A value that says which overwrite it is of; the half of it can be compressed.
fn value(version: u32, bytes: usize, out: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut rng = SplitMix64::new(version.into());
    let mut value = version.to_le_bytes().to_vec();
    while value.len() < bytes {
        value.extend_from_slice(&rng.draw().to_le_bytes());
        value.extend_from_slice(&[0; 8]);
    }
    value.truncate(bytes.max(4));
    Ok(StoredBytes { version: 1, last_access: None, value: &value }.encode(out)?)
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (run_mebibytes, args) = match &args[..] {
        [args @ .., run] if args.len() == 4 => (run.parse()?, args),
        args => (16, args),
    };
    let [seconds, keys, bytes, folder] = args else {
        anyhow::bail!("usage: soak-spill SECONDS KEYS VALUE-BYTES FOLDER [RUN-MEBIBYTES]")
    };
    let (seconds, keys, bytes): (u64, u64, usize) = (seconds.parse()?, keys.parse()?, bytes.parse()?);
    let options = SpillOptions { run_bytes: run_mebibytes << 20, ..SpillOptions::default() };
    let mut spill = Spill::open(Path::new(folder), options, Arc::new(Threads::new("soak")))?;

    // What each key was overwritten with last; 0: nothing, or removed.
    let mut versions = vec![0_u32; keys as usize];
    let (mut key, mut new, mut old, mut expected) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut rng, mut version) = (SplitMix64::new(1), 0_u32);
    let (began, mut last_line, mut before) = (Instant::now(), Instant::now(), SpillCounters::default());
    let mut slowest_push = Duration::ZERO;
    println!(" time   pushes/s  reads/s   hits | disk MB  runs   |  memory MB (max) | waited of 10 s | slowest push");
    loop {
        for round in 0..1_024 {
            let number = rng.draw() % keys;
            stored_key(number, &mut key)?;
            if round % 4 == 0 {
                let found = spill.get(&key, &mut old)?;
                let version = versions[number as usize];
                anyhow::ensure!((found == Found::Value) == (version != 0), "key {number}: {found:?}, not {version}");
                if version != 0 {
                    value(version, bytes, &mut expected)?;
                    anyhow::ensure!(old == expected, "key {number}: another value than {version}");
                }
            }
            let pushing = Instant::now();
            if rng.draw().is_multiple_of(100) {
                versions[number as usize] = 0;
                spill.push(&key, None, Access::Point)?;
            } else {
                version = version.wrapping_add(1).max(1);
                versions[number as usize] = version;
                value(version, bytes, &mut new)?;
                spill.push(&key, Some(&new), Access::Point)?;
            }
            slowest_push = slowest_push.max(pushing.elapsed());
        }
        if last_line.elapsed() >= Duration::from_secs(10) {
            let (now, took) = (spill.counters(), last_line.elapsed().as_secs_f64());
            let rate = |now: u64, before: u64| (now - before) as f64 / took;
            let (memory_now, memory_max) = memory();
            println!(
                "{:4} s {:10.0} {:8.0} {:6.2} | {:7} {:4}+{:<2} | {:10} {:7} | {:10.2} s | {:.0} ms",
                began.elapsed().as_secs(),
                rate(now.entries, before.entries),
                rate(now.disk_reads, before.disk_reads),
                rate(now.disk_hits, before.disk_hits) / rate(now.disk_reads, before.disk_reads),
                now.disk_bytes / 1_000_000,
                now.runs,
                now.disk_runs,
                memory_now / 1_000_000,
                memory_max / 1_000_000,
                (now.waited - before.waited).as_secs_f64(),
                slowest_push.as_secs_f64() * 1e3,
            );
            (last_line, before, slowest_push) = (Instant::now(), now, Duration::ZERO);
        }
        if began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    let live = versions.iter().filter(|version| **version != 0).count();
    let entry_bytes = key.len() + new.len();
    println!("{live} live keys of {entry_bytes} bytes: {} MB", live * entry_bytes / 1_000_000);
    let closing = Instant::now();
    drop(spill);
    println!("closed and removed in {:.0} ms", closing.elapsed().as_secs_f64() * 1e3);
    Ok(())
}
