//! What is wrong with a job file, shown where it stands.
//!
//! Several problems are shown at once, in the order of the file. The excerpt is rendered when the error is made, so an error borrows nothing. Text from the
//! file goes to a terminal: control characters but line feeds are blanked, and a long line is cut around the caret.

use std::{fmt, ops::Range, path::Path};

use super::location::{Location, Place};

/// More than these are only counted: the first ones are what a person fixes first.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// Characters of a line that are shown on each side of the caret.
const EXCERPT_CHARS: usize = 120;

/// Characters of a value that a message quotes.
const VALUE_CHARS: usize = 60;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) at: Location,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(at: &Location, message: impl Into<String>) -> Self {
        Self { at: at.clone(), message: message.into() }
    }
}

/// Why a job file was refused. Shows each problem with its place and the line it is about:
///
/// ```text
/// job.toml:12:1: unknown key `paralelism` in operator `count`; did you mean `parallelism`?
///    |
/// 12 | paralelism = 2
///    | ^^^^^^^^^^
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// Rendered, without a line feed at the end.
    problems: Vec<String>,
}

impl SpecError {
    pub(super) fn new(path: &Path, text: &str, mut problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty(), "a refusal has a reason");
        problems.sort_by_key(|problem| (problem.at.offset().is_none(), problem.at.offset()));
        problems.dedup();
        Self { problems: problems.iter().map(|problem| render(path, text, problem)).collect() }
    }

    /// Both errors as one, this one's problems first.
    #[must_use]
    pub fn and(mut self, other: SpecError) -> Self {
        self.problems.extend(other.problems);
        self
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.problems.iter().take(PROBLEMS_SHOWN_MAX);
        for (index, problem) in shown.enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            f.write_str(problem)?;
        }
        match self.problems.len().saturating_sub(PROBLEMS_SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl std::error::Error for SpecError {}

fn render(path: &Path, text: &str, problem: &Problem) -> String {
    let message = &blanked(&problem.message);
    match &problem.at.0 {
        Place::File => format!("{}: {message}", path.display()),
        Place::Set(set) => format!("--set {}: {message}", blanked(set)),
        Place::Span(span) => excerpt(path, text, span, message),
        Place::Environment { span, text: became } => {
            format!(
                "{}\n  = with the environment's values this is `{}`",
                excerpt(path, text, span, message),
                blanked(&shortened(became))
            )
        }
    }
}

fn excerpt(path: &Path, text: &str, span: &Range<usize>, message: &str) -> String {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let line_start = text[..start].rfind('\n').map_or(0, |feed| feed + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let number = text[..line_start].matches('\n').count() + 1;
    // A span may end lines later; the caret stays on the first.
    let before = text[line_start..start].chars().count();
    let line_end = line_start + line.len();
    let marked =
        text[start..text.floor_char_boundary(span.end.min(line_end)).max(start)].trim_end().chars().count().max(1);

    let cut = before.saturating_sub(EXCERPT_CHARS);
    let dots = if cut > 0 { "…" } else { "" };
    let visible: String = line.chars().skip(cut).take(2 * EXCERPT_CHARS).collect();
    let pad = " ".repeat(before - cut + dots.chars().count());
    let caret = "^".repeat(marked.min(2 * EXCERPT_CHARS - (before - cut)));
    let gutter = " ".repeat(number.to_string().len());
    let line = format!("{dots}{}", blanked(&visible));
    let header = format!("{}:{number}:{}: {message}", path.display(), before + 1);
    format!("{header}\n{gutter} |\n{number} | {}\n{gutter} | {pad}{caret}", line.trim_end())
}

/// The beginning of a text that someone else wrote, for a message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

fn blanked(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
