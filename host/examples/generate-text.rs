//! Writes the text that the figures in the README are measured with: the same for the same arguments.
//!
//! About 100,000 distinct words of 2 to 12 letters, distributed by Zipf's law (s = 1), ten in a line, with capitals and punctuation now and then.
//!
//! ```sh
//! cargo run --release -p wasmill --example generate-text -- FOLDER MEGABYTES FILES
//! ```

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{BufWriter, Write},
};

use wasmill::stream::SplitMix64;

const WORDS: usize = 100_000;

/// A number below `n` (Lemire 2019, "Fast random integer generation in an interval", without its rejection).
fn below(rng: &mut SplitMix64, n: u64) -> u64 {
    ((u128::from(rng.draw()) * u128::from(n)) >> 64) as u64
}

/// Frequent words are short, as in real text.
fn vocabulary(rng: &mut SplitMix64) -> Vec<Vec<u8>> {
    // Rough English letter frequencies.
    const LETTERS: &[u8] =
        b"eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddllllcccuuummmwwffggyyppbbvkjxqz";
    let mut seen = HashSet::new();
    let mut words = Vec::with_capacity(WORDS);
    while words.len() < WORDS {
        let (low, high) = match words.len() {
            0..30 => (2, 3),
            30..300 => (2, 5),
            300..5_000 => (3, 8),
            _ => (5, 12),
        };
        let length = low + below(rng, high - low + 1);
        let word: Vec<u8> = (0..length).map(|_| LETTERS[below(rng, LETTERS.len() as u64) as usize]).collect();
        if seen.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

/// Walker's alias method: (threshold, alias) per rank, for weights 1/rank.
fn alias_table() -> Vec<(u32, u32)> {
    let total: f64 = (1..=WORDS).map(|r| 1.0 / r as f64).sum();
    let mut p: Vec<f64> = (1..=WORDS).map(|r| WORDS as f64 / (r as f64 * total)).collect();
    let mut table = vec![(u32::MAX, 0); WORDS];
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..WORDS).partition(|&i| p[i] < 1.0);
    while let (Some(s), Some(&l)) = (small.pop(), large.last()) {
        table[s] = ((p[s] * 4294967295.0) as u32, l as u32);
        p[l] -= 1.0 - p[s];
        if p[l] < 1.0 {
            large.pop();
            small.push(l);
        }
    }
    table
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, megabytes, files] = &args[..] else { anyhow::bail!("usage: generate-text FOLDER MEGABYTES FILES") };
    let (mb, files): (u64, u64) = (megabytes.parse()?, files.parse()?);
    fs::create_dir_all(folder)?;
    let seed = 42;
    let words = vocabulary(&mut SplitMix64::new(seed));
    let table = alias_table();
    let (mut total_words, mut total_bytes, mut lines) = (0_u64, 0_u64, 0_u64);
    for f in 0..files {
        let mut rng = SplitMix64::new(seed ^ (f + 1).wrapping_mul(0xD134_2543_DE82_EF95));
        let quota = mb * 1_000_000 / files;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(format!("{folder}/text-{f:04}.txt"))?);
        let (mut line, mut written, mut sentence_start) = (Vec::with_capacity(4096), 0_u64, true);
        while written < quota {
            line.clear();
            let n = 7 + below(&mut rng, 7);
            for i in 0..n {
                let r = rng.draw();
                let slot = (((r >> 32) * WORDS as u64) >> 32) as usize;
                let (threshold, alias) = table[slot];
                let word = &words[if (r as u32) <= threshold { slot } else { alias as usize }];
                let dice = rng.draw();
                if i > 0 {
                    line.push(b' ');
                }
                let start = line.len();
                line.extend_from_slice(word);
                if dice.is_multiple_of(64) {
                    line[start..].make_ascii_uppercase();
                } else if sentence_start || dice % 16 == 1 {
                    line[start].make_ascii_uppercase();
                }
                sentence_start = false;
                match (dice >> 32) % 32 {
                    0 | 1 => line.push(b','),
                    2 | 3 => {
                        line.push(b'.');
                        sentence_start = true;
                    }
                    4 => line.push(b';'),
                    _ => {}
                }
            }
            line.push(b'\n');
            total_words += n;
            lines += 1;
            written += line.len() as u64;
            out.write_all(&line)?;
        }
        out.flush()?;
        total_bytes += written;
    }
    println!("{files} files, {total_bytes} bytes, {lines} lines, {total_words} words");
    Ok(())
}
