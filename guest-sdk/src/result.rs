//! The error of an operator's code: a text for people. It undoes and fails one record, never more.

/// What an operator's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a record, a key or `open` failed.
///
/// A box, so that `?` takes any [`std::error::Error`] and any text; [`bail!`](crate::bail) makes one from a format.
///
/// ```
/// use wasmill_sdk::{Result, bail};
///
/// fn parse(text: &str) -> Result<i64> {
///     if text.is_empty() {
///         bail!("nothing to parse in {text:?}");
///     }
///     let first = text.split(' ').next().ok_or("no word")?;
///     Ok(first.parse()?)
/// }
/// assert_eq!(parse("7 up").unwrap(), 7);
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// assert_eq!(parse("").unwrap_err().to_string(), "nothing to parse in \"\"");
/// ```
pub type Error = Box<dyn std::error::Error>;

/// The text of an error and of what caused it.
#[cold]
#[inline(never)]
pub(crate) fn message(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Returns an [`Error`] with a formatted text from the enclosing function.
///
/// ```
/// # use wasmill_sdk::{bail, Result};
/// fn half(number: u64) -> Result<u64> {
///     if number % 2 == 1 {
///         bail!("{number} is odd");
///     }
///     Ok(number / 2)
/// }
/// assert_eq!(half(3).unwrap_err().to_string(), "3 is odd");
/// ```
#[macro_export]
macro_rules! bail {
    ($($argument:tt)+) => {
        return ::core::result::Result::Err($crate::Error::from(::std::format!($($argument)+)))
    };
}
