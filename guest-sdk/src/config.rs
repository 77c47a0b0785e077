//! Errors in an operator's configuration, with the key that they are about: serde_json knows only line and column.

use serde_json::error::Category;

/// What is wrong, and where.
pub(crate) fn describe(text: &str, error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = message.strip_suffix(&place).unwrap_or(&message);
    match (error.classify(), path(text, error.line(), error.column())) {
        (Category::Data, Some(path)) if !path.is_empty() => format!("config: {path}: {message}"),
        _ => format!("config: {message}"),
    }
}

/// The keys that lead to the place, which lies in valid JSON.
fn path(text: &str, line: usize, column: usize) -> Option<String> {
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let until = text.as_bytes().get(..(start + column).min(text.len()))?;
    // One entry for each object or array that is open: the key whose value is being read.
    let mut open: Vec<Option<String>> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = until.get(at) {
        match byte {
            b'{' | b'[' => open.push(None),
            b'}' | b']' => drop(open.pop()),
            b',' => *open.last_mut()? = None,
            b'"' => {
                let length = string(&until[at..])?;
                let key = &until[at + 1..at + length - 1];
                at += length;
                // A value is not followed by a colon.
                while text.as_bytes().get(at).is_some_and(u8::is_ascii_whitespace) {
                    at += 1;
                }
                if text.as_bytes().get(at) == Some(&b':') {
                    *open.last_mut()? = Some(String::from_utf8_lossy(key).into_owned());
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Some(open.into_iter().flatten().collect::<Vec<_>>().join("."))
}

/// The length of the string that begins here, with its quotes.
fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Config {
        #[serde(default)]
        limit: u64,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        list: Vec<u8>,
    }

    #[test]
    fn an_error_names_the_key() {
        for (text, expected) in [
            (r#"{"limit": "a"}"#, "config: limit: invalid type: string \"a\", expected u64"),
            (r#"{"limit": -1}"#, "config: limit: invalid value: integer `-1`, expected u64"),
            (
                r#"{"inner": {"list": [1, 300]}, "limit": 1}"#,
                "config: inner.list: invalid value: integer `300`, expected u8",
            ),
            (
                r#"{"inner": {"list": "x:y\"z"}}"#,
                "config: inner.list: invalid type: string \"x:y\\\"z\", expected a sequence",
            ),
            (r#"{"inner": {}}"#, "config: inner: missing field `list`"),
            (r#"{"limt": 1}"#, "config: limt: unknown field `limt`, expected `limit` or `inner`"),
        ] {
            let error = serde_json::from_str::<Config>(text).expect_err(text);
            assert_eq!(super::describe(text, &error), expected, "{text}");
        }
    }
}
