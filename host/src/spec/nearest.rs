//! Guessing which word was meant.

/// A longer word is no misspelling; this bounds the work, which grows with the product of two lengths.
const WORD_BYTES_MAX: usize = 100;

/// The candidate that `word` most likely is a misspelling of, if one is near: a third of its letters may be wrong, an underscore is as good as a hyphen.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let word = plain(word);
    let short = |text: &str| text.len() <= WORD_BYTES_MAX;
    let distances = candidates
        .into_iter()
        .filter(|candidate| short(candidate) && short(&word))
        .map(|candidate| (strsim::damerau_levenshtein(&word, &plain(candidate)), candidate));
    let near = distances.filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3);
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// What follows "unknown …": the nearest candidate, or all of them.
pub(super) fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone, all: &str) -> String {
    match nearest(word, candidates.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("{all} {}", listed(candidates, "and")),
    }
}

/// "`a`, `b` and `c`".
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>, conjunction: &str) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} {conjunction} {last}", others.join(", ")),
    }
}
