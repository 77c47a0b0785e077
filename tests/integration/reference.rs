//! What jobs have to give, computed in the plainest way and by nothing of ours.

pub(crate) mod lessons;
pub(crate) mod sensors;

use std::{collections::BTreeMap, fs, path::Path};

/// splitmix64 (Steele, Lea and Flood 2014), started at `seed`: what `datagen` makes keys of.
pub(crate) fn splitmix64(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The records of `datagen`: key and value.
pub(crate) fn numbers(count: u64, keys: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..count).map(move |number| (splitmix64(number) % keys, number))
}

/// The lines of all files below a folder, as a `file` source gives them.
pub(crate) fn lines(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).expect("the fixtures are there") {
        let bytes = fs::read(entry.expect("the folder can be listed").path()).expect("a fixture can be read");
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            lines.push(String::from_utf8_lossy(&rest[..end]).trim_end_matches('\r').to_owned());
            rest = &rest[(end + 1).min(rest.len())..];
        }
    }
    lines
}

/// Words by the definition of `split-words`.
pub(crate) fn words(lines: &[String]) -> Vec<String> {
    let split = |line: &String| -> Vec<String> {
        let lower = line.to_lowercase();
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    lines.iter().flat_map(split).collect()
}

/// How often each word comes.
pub(crate) fn counts(words: &[String]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.clone()).or_default() += 1;
    }
    counts
}

/// What `word-count` gives, sorted: each word with 1, 2, 3 … up to its count, whatever the order of the words.
pub(crate) fn word_count_lines(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let lines_of = |(word, count): (&String, &u64)| {
        let word = serde_json::to_string(word).expect("a string is JSON");
        (1..=*count).map(|number| format!(r#"{{"word":{word},"count":{number}}}"#)).collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = counts.iter().flat_map(lines_of).collect();
    lines.sort_unstable();
    lines
}

/// What `keyed-sum` gives, sorted: every `emit_every` updates of a key, and at the end if `at_end`.
pub(crate) fn keyed_sum_lines(count: u64, keys: u64, emit_every: u64, at_end: bool) -> Vec<String> {
    let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut lines = Vec::new();
    let line = |key: u64, (sum, updates): (u64, u64)| format!(r#"{{"key":{key},"sum":{sum},"updates":{updates}}}"#);
    for (key, value) in numbers(count, keys) {
        let entry = sums.entry(key).or_default();
        *entry = (entry.0.wrapping_add(value), entry.1 + 1);
        if entry.1.is_multiple_of(emit_every) {
            lines.push(line(key, *entry));
        }
    }
    if at_end {
        lines.extend(sums.iter().map(|(key, entry)| line(*key, *entry)));
    }
    lines.sort_unstable();
    lines
}

/// What the operators `misbehaving` and `keyed counting` give, sorted: each key with 1, 2, 3 …, without the records whose values are `poison`.
pub(crate) fn count_lines(count: u64, keys: u64, poison: &[u64]) -> Vec<String> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut lines = Vec::new();
    for (key, _) in numbers(count, keys).filter(|(_, value)| !poison.contains(value)) {
        let entry = counts.entry(key).or_default();
        *entry += 1;
        lines.push(format!(r#"{{"key":{key},"count":{entry}}}"#));
    }
    lines.sort_unstable();
    lines
}
