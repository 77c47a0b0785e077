//! The loop that cuts text into lines.
//!
//! A search per line costs more than the line where lines are short. Here 64 bytes become a word with a bit for each line feed, and the bits are taken one
//! after another.

use crate::stream::{BatchLimits, BytesColumn};

/// How many bytes are looked at together, and how far behind the lines there must be bytes.
pub(super) const BLOCK: usize = 64;

/// Appends the lines in `bytes[..len]`, each of which has its line feed, until the column is full. The result is where the next line begins. `bytes` is at
/// least [`BLOCK`] longer than `len`.
pub(super) fn cut(bytes: &[u8], len: usize, column: &mut BytesColumn, limits: BatchLimits) -> usize {
    debug_assert!(bytes.len() >= len + BLOCK, "there is slack behind the lines");
    let mut rows = limits.records.saturating_sub(column.len());
    let mut start = 0;
    if rows == 0 || column.bytes() >= limits.bytes {
        return start;
    }
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<BLOCK>() {
        let mut feeds = line_feeds(block);
        while feeds != 0 {
            let feed = at + feeds.trailing_zeros() as usize;
            feeds &= feeds - 1;
            let end = if feed > start && bytes[feed - 1] == b'\r' { feed - 1 } else { feed };
            column.push_with(|data| append(data, &bytes[start..], end - start));
            start = feed + 1;
            rows -= 1;
            if rows == 0 || start >= len || column.bytes() >= limits.bytes {
                return start;
            }
        }
        at += BLOCK;
    }
    start
}

/// Appends `bytes[..len]`. A short line is copied together with what follows it, because a copy of a fixed size needs no call, and what is too much is dropped.
#[inline(always)]
fn append(data: &mut Vec<u8>, bytes: &[u8], len: usize) {
    match bytes.first_chunk::<BLOCK>() {
        Some(block) if len <= BLOCK => {
            let end = data.len() + len;
            data.extend_from_slice(block);
            data.truncate(end);
        }
        _ => data.extend_from_slice(&bytes[..len]),
    }
}

/// A bit for each byte that is a line feed, the first byte's lowest.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn line_feeds(block: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    let (quarters, _) = block.as_chunks::<16>();
    let mut feeds = 0;
    for (index, quarter) in quarters.iter().enumerate() {
        // SAFETY: SSE2 is part of every x86-64 processor, and the load takes the 16 bytes of the array, which need not be aligned.
        let bits = unsafe {
            let bytes = _mm_loadu_si128(quarter.as_ptr().cast());
            _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\n' as i8)))
        };
        feeds |= u64::from(bits as u16) << (16 * index);
    }
    feeds
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) use line_feeds_by_words as line_feeds;

/// The same with nothing but arithmetic, for other processors; it makes the whole a quarter slower.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
pub(super) fn line_feeds_by_words(block: &[u8; BLOCK]) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const LOW: u64 = ONES * 0x7f;
    let (words, _) = block.as_chunks::<8>();
    let mut feeds = 0;
    for (index, word) in words.iter().enumerate() {
        // A byte's high bit is set where the byte is 0, exactly (Warren, Hacker's Delight, 6-1).
        let word = u64::from_le_bytes(*word) ^ (ONES * b'\n' as u64);
        let zeros = !(((word & LOW) + LOW) | word | LOW);
        // The multiplication gathers the eight bits in the top byte.
        let bits = (zeros >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        feeds |= bits << (8 * index);
    }
    feeds
}
