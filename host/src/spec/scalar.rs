//! Values of one word or number.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    nearest,
    section::Field,
    tree::{self, Value},
};

/// From the tick that a time budget is measured in (and no less for any other wait) to what nobody means.
const DURATIONS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

/// Units of sizes, by their names in lower case.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

impl Field<'_> {
    /// A whole number in a range.
    pub(super) fn whole<T: TryFrom<u64> + Into<u64> + Copy>(self, range: RangeInclusive<T>) -> Option<T> {
        let field = self.parsed();
        let Value::Integer(number) = field.node.value else { return field.mismatch("a whole number") };
        let (least, most): (u64, u64) = ((*range.start()).into(), (*range.end()).into());
        if number < i128::from(least) {
            return field.mismatch(format_args!("at least {least}"));
        }
        let fitting =
            u64::try_from(number).ok().filter(|number| *number <= most).and_then(|number| T::try_from(number).ok());
        fitting.or_else(|| field.mismatch(format_args!("at most {most}")))
    }

    /// A number greater than 0.
    pub(super) fn positive(self) -> Option<f64> {
        let field = self.parsed();
        let number = match field.node.value {
            Value::Integer(number) => number as f64,
            Value::Float(number) => number,
            _ => return field.mismatch("a number"),
        };
        if number > 0.0 && number.is_finite() { Some(number) } else { field.mismatch("greater than 0 and finite") }
    }

    /// A finite number in a range.
    pub(super) fn number(self, range: RangeInclusive<f64>) -> Option<f64> {
        let field = self.parsed();
        let number = match field.node.value {
            Value::Integer(number) => number as f64,
            Value::Float(number) => number,
            _ => return field.mismatch("a number"),
        };
        match number {
            _ if !number.is_finite() => field.mismatch("finite"),
            _ if number < *range.start() => field.mismatch(format_args!("at least {}", range.start())),
            _ if number > *range.end() => field.mismatch(format_args!("at most {}", range.end())),
            _ => Some(number),
        }
    }

    /// A number of bytes: more than 0, and no more than `most`.
    pub(super) fn size(self, most: u64) -> Option<u64> {
        let size = match &self.node.value {
            Value::Text(text) | Value::Raw(text) => parse_size(text),
            Value::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        match size {
            None => self.mismatch("a size such as \"64KiB\", \"256MB\" or a whole number of bytes"),
            Some(0) => self.mismatch("more than 0"),
            Some(size) if size > most => self.mismatch(format_args!("at most {most} bytes")),
            fitting => fitting,
        }
    }

    /// A length of time.
    pub(super) fn duration(self) -> Option<Duration> {
        let duration = match &self.node.value {
            Value::Text(text) | Value::Raw(text) => humantime::parse_duration(text).ok(),
            _ => None,
        };
        match duration {
            None => self.mismatch("a duration such as \"5ms\", \"10s\" or \"1m\""),
            Some(duration) if !DURATIONS.contains(&duration) => self.mismatch("from 1ms to 24h"),
            fitting => fitting,
        }
    }

    /// One of the words, as what it stands for. Those in `later` are refused as not supported yet.
    pub(super) fn word<T: Clone>(self, words: &[(&str, T)], later: &[&str]) -> Option<T> {
        let names = words.iter().map(|(name, _)| *name);
        let expected = nearest::listed(names.clone(), "or");
        let (Value::Text(text) | Value::Raw(text)) = &self.node.value else { return self.mismatch(expected) };
        if let Some((_, meaning)) = words.iter().find(|(name, _)| name == text) {
            return Some(meaning.clone());
        }
        if later.contains(&text.as_str()) {
            return self
                .fail(format_args!("\"{text}\" is not supported yet; there is {}", nearest::listed(names, "and")));
        }
        match nearest::nearest(text, names) {
            Some(meant) => self
                .fail(format_args!("must be {expected}, not {}; did you mean `{meant}`?", self.node.value.described())),
            None => self.mismatch(expected),
        }
    }

    /// Raw text becomes the TOML number that it is, if it is one.
    fn parsed(mut self) -> Self {
        if let Value::Raw(text) = &self.node.value
            && let Ok(node) = tree::value(text, &self.node.at)
            && matches!(node.value, Value::Integer(_) | Value::Float(_))
        {
            self.node = node;
        }
        self
    }
}

/// A plain number of bytes, or a number and a unit.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim_start().to_ascii_lowercase();
    let factor = if unit.is_empty() { 1 } else { SIZE_UNITS.iter().find(|(name, _)| *name == unit)?.1 };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
