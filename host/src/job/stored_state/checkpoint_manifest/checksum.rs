//! The checksum that ends a manifest.
//!
//! The last member of the document is `"checksum"`: 16 hexadecimal digits, the XXH3-64 of all bytes before the comma in front of it, without the white space that lies outside of
//! strings.

use xxhash_rust::xxh3::xxh3_64;

/// Before and behind the digits, without white space.
const OPEN: &[u8] = b",\"checksum\":\"";
const CLOSE: &[u8] = b"\"}";
const DIGITS: usize = 16;

/// Adds the checksum to the text of an object with members, as its last one.
pub(super) fn sign(text: &str) -> String {
    let members = text.trim_end().strip_suffix('}').expect("an object ends so").trim_end();
    let checksum = xxh3_64(&without_white_space(members.as_bytes()));
    format!("{members},\n  \"checksum\": \"{checksum:016x}\"\n}}\n")
}

/// Looks whether a text is as it was signed.
pub(super) fn check(text: &[u8]) -> Result<(), String> {
    let text = without_white_space(text);
    let absent = || "it does not end with its checksum".to_owned();
    let rest = text.strip_suffix(CLOSE).ok_or_else(absent)?;
    let (rest, digits) = rest.split_at_checked(rest.len().saturating_sub(DIGITS)).ok_or_else(absent)?;
    let signed = rest.strip_suffix(OPEN).ok_or_else(absent)?;
    let found = format!("{:016x}", xxh3_64(signed));
    if found.as_bytes() == digits {
        return Ok(());
    }
    let expected = String::from_utf8_lossy(digits);
    Err(format!("it was changed after it was written: its checksum is {found} and not {expected}"))
}

/// The tokens of a JSON text.
fn without_white_space(text: &[u8]) -> Vec<u8> {
    let (mut in_string, mut escaped) = (false, false);
    let kept = text.iter().copied().filter(|byte| {
        let keep = in_string || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        match byte {
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && *byte == b'\\' && !escaped;
        keep
    });
    kept.collect()
}
