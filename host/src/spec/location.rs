//! Where a value came from, so that every refusal can point at it.

use std::{fmt, ops::Deref, ops::Range, sync::Arc};

/// A place that a message can point at: a span of the job file, a `--set`, or the file as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location(pub(super) Place);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// The file as a whole: for what is missing.
    #[default]
    File,
    /// Bytes of the file's text.
    Span(Range<usize>),
    /// Bytes of the file's text that name an environment variable, and what became of them.
    Environment { span: Range<usize>, text: Arc<str> },
    /// The text of a `--set`.
    Set(Arc<str>),
}

impl Location {
    /// The job file as a whole, for refusals that no single place is to blame for.
    pub fn file() -> Self {
        Self(Place::File)
    }

    pub(super) fn span(span: Range<usize>) -> Self {
        Self(Place::Span(span))
    }

    pub(super) fn set(text: &Arc<str>) -> Self {
        Self(Place::Set(Arc::clone(text)))
    }

    /// Whether the value was typed at a prompt.
    pub(super) fn is_set(&self) -> bool {
        matches!(self.0, Place::Set(_))
    }

    /// Where in the file it is, if it is there.
    pub(super) fn offset(&self) -> Option<usize> {
        match &self.0 {
            Place::Span(span) | Place::Environment { span, .. } => Some(span.start),
            Place::File | Place::Set(_) => None,
        }
    }
}

/// A value and where it came from. For a value that was left out, this is where it would stand: the table it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it came from, for [`JobFile::error`](super::JobFile::error).
    pub at: Location,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Display> fmt::Display for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
