//! Pieces of JSON text, appended without allocating.
//!
//! Everything here is written as `serde_json` writes it, so that results do not depend on who wrote them.

use std::io::Write;

use crate::stream::column::append_short;

/// Appends a number.
#[inline]
pub(super) fn unsigned(value: u64, out: &mut Vec<u8>) {
    // Most numbers of a stream are counts: one digit needs no buffer.
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    while rest >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[rest as usize]);
    } else {
        at -= 1;
        digits[at] = b'0' + rest as u8;
    }
    append_short(out, &digits[at..]);
}

/// Appends a number with its sign.
#[inline]
pub(super) fn signed(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(value.unsigned_abs(), out);
}

/// Appends a number of any kind that Rust writes as JSON does: integers of 128 bits.
pub(super) fn displayed(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing to a vector can't fail.
    let _ = write!(out, "{value}");
}

/// Appends a float, or `null` where it is not finite.
pub(super) fn float(value: impl serde::Serialize, out: &mut Vec<u8>) {
    // The shortest digits that give the same float again, by the library's algorithm; neither a float nor a vector can fail.
    let _ = serde_json::to_writer(out, &value);
}

/// Appends a string, quoted and escaped. If the bytes are not UTF-8, the result is where they cease to be, and `out` holds no more than a part.
#[inline]
pub(super) fn string(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    out.push(b'"');
    if is_plain(bytes) {
        append_short(out, bytes);
    } else {
        let text = simdutf8::compat::from_utf8(bytes).map_err(|error| error.valid_up_to())?;
        escaped(text, out);
    }
    out.push(b'"');
    Ok(())
}

/// Appends base64 with the standard alphabet and padding, quoted.
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |a: u8, b: u8, c: u8| {
        let bits = u32::from_be_bytes([0, a, b, c]);
        [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift) as usize & 63])
    };
    out.reserve(bytes.len().div_ceil(3) * 4 + 2);
    out.push(b'"');
    let (triples, rest) = bytes.as_chunks::<3>();
    for &[a, b, c] in triples {
        out.extend_from_slice(&digits(a, b, c));
    }
    match *rest {
        [a, b] => {
            out.extend_from_slice(&digits(a, b, 0)[..3]);
            out.push(b'=');
        }
        [a] => {
            out.extend_from_slice(&digits(a, 0, 0)[..2]);
            out.extend_from_slice(b"==");
        }
        _ => {}
    }
    out.push(b'"');
}

/// Appends a valid JSON document without the white space between its tokens.
pub(super) fn compacted(document: &[u8], out: &mut Vec<u8>) {
    let mut rest = document;
    while let Some((&byte, behind)) = rest.split_first() {
        let token = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                rest = behind;
                continue;
            }
            b'"' => string_end(rest),
            _ => rest.iter().position(|b| b" \t\n\r\"".contains(b)).unwrap_or(rest.len()),
        };
        out.extend_from_slice(&rest[..token]);
        rest = &rest[token..];
    }
}

/// Where the string literal that `text` begins with ends.
fn string_end(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// Whether all bytes are ASCII and stand for themselves in a JSON string. Eight bytes at a time.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    let (words, _) = bytes.as_chunks::<8>();
    match bytes.last_chunk::<8>() {
        // The last word overlaps the one before it.
        Some(last) => words.iter().chain([last]).fold(0, |marks, word| marks | not_plain(*word)) == 0,
        None => {
            let mut word = [b' '; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            not_plain(word) == 0
        }
    }
}

/// Not 0 if one of eight bytes is not ASCII, a control character, a quote or a backslash (Mycroft's test for a byte below n).
#[inline]
fn not_plain(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(word);
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
    let quote = below(word ^ (ONES * b'"' as u64), 1);
    let backslash = below(word ^ (ONES * b'\\' as u64), 1);
    (below(word, 0x20) | quote | backslash | word) & (ONES * 0x80)
}

fn escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// The numbers 0 to 99 in two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};
