//! Bytes in columns: cheap copies into them, and proof that what the host delivered does not contradict itself.
//!
//! The only module with `unsafe` on the record path (the others call its `unsafe` functions or [`Decode`](crate::Decode)'s hook). Its reason, measured in wasm: `memcpy` and
//! `memcmp` calls with a length that is only known at run time cost more than the rest of the work on a short record.

use crate::wire::{BytesColumn, Error};

/// Appends `bytes`. Short strings, which nearly all keys and values are, are copied by a few overlapping words and not by a call of `memcpy`.
#[inline(always)]
pub(crate) fn append(into: &mut Vec<u8>, bytes: &[u8]) {
    let (start, count) = (into.len(), bytes.len());
    into.reserve(count);
    // SAFETY: `reserve` made room for `count` bytes behind `start`; the borrow rules keep source and target apart.
    unsafe {
        copy(bytes.as_ptr(), into.as_mut_ptr().add(start), count);
        into.set_len(start + count);
    }
}

/// Appends a number in groups of seven bits, the lowest first; the eighth bit of a byte says that more follow.
#[inline(always)]
pub(crate) fn append_varint(into: &mut Vec<u8>, mut value: u64) {
    /// The bytes that the largest number takes.
    const ROOM: usize = 10;
    into.reserve(ROOM);
    let mut length = into.len();
    while value >= 0x80 {
        // SAFETY: `reserve` made room for all bytes that a number has.
        unsafe { into.as_mut_ptr().add(length).write(value as u8 | 0x80) };
        length += 1;
        value >>= 7;
    }
    // SAFETY: as above; all bytes up to the new length are written.
    unsafe {
        into.as_mut_ptr().add(length).write(value as u8);
        into.set_len(length + 1);
    }
}

/// Copies `count` bytes.
///
/// # Safety
/// `from` is valid for reading and `to` for writing `count` bytes, and they do not overlap.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, count: usize) {
    // SAFETY: each branch touches bytes below `count` only: the second word of a pair ends at `count` and begins at or before the end of the first.
    unsafe {
        if count <= 16 {
            if count >= 8 {
                pair::<u64>(from, to, count);
            } else if count >= 4 {
                pair::<u32>(from, to, count);
            } else if count > 0 {
                // First, middle and last: all there are.
                let (first, middle, last) = (*from, *from.add(count / 2), *from.add(count - 1));
                *to = first;
                *to.add(count / 2) = middle;
                *to.add(count - 1) = last;
            }
        } else if count <= 32 {
            pair::<[u64; 2]>(from, to, count);
        } else {
            std::ptr::copy_nonoverlapping(from, to, count);
        }
    }
}

/// Copies the first and the last `size_of::<W>()` bytes of `count`, which is not less than that and not more than twice that.
///
/// # Safety
/// As for [`copy`].
#[inline(always)]
unsafe fn pair<W: Copy>(from: *const u8, to: *mut u8, count: usize) {
    let last = count - size_of::<W>();
    // SAFETY: both words lie within the first `count` bytes.
    unsafe {
        let (first_word, last_word) = (from.cast::<W>().read_unaligned(), from.add(last).cast::<W>().read_unaligned());
        to.cast::<W>().write_unaligned(first_word);
        to.add(last).cast::<W>().write_unaligned(last_word);
    }
}

/// The end of a string that stops at the end of `data`.
///
/// # Panics
/// When a column outgrows 4 GiB, which in a 32-bit guest it cannot.
#[inline(always)]
pub(crate) fn end(data: &[u8]) -> u32 {
    let length = data.len();
    assert!(u32::try_from(length).is_ok(), "a column is limited to 4 GiB");
    length as u32
}

/// A column whose ends were checked.
#[derive(Clone, Copy)]
pub(crate) struct Strings<'a> {
    data: &'a [u8],
    ends: &'a [u32],
}

impl<'a> Strings<'a> {
    /// Checks that no end lies before its predecessor and that the last one is the end of the data.
    pub(crate) fn new(what: &str, data: &'a [u8], ends: &'a [u32]) -> Result<Self, Error> {
        let mut last = 0;
        let mut rising = true;
        for &end in ends {
            rising &= end >= last;
            last = end;
        }
        if rising && last as usize == data.len() {
            return Ok(Self { data, ends });
        }
        Err(Error::InvalidInput(format!("the ends of {what} contradict its data of {} bytes", data.len())))
    }

    pub(crate) fn of(what: &str, column: &'a BytesColumn) -> Result<Self, Error> {
        Self::new(what, &column.data, &column.ends)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// String `index`.
    ///
    /// # Panics
    /// When there is no such string.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> &'a [u8] {
        let end = self.ends[index] as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        // SAFETY: `new` saw that the ends never fall and that the last one is the length of the data, so `start <= end <= data.len()`.
        unsafe { self.data.get_unchecked(start..end) }
    }

    /// True when each string is valid UTF-8: the whole is, and none begins within a character.
    pub(crate) fn is_text(&self) -> bool {
        if self.data.is_ascii() {
            return true;
        }
        match std::str::from_utf8(self.data) {
            Ok(text) => self.ends.iter().all(|&end| text.is_char_boundary(end as usize)),
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn append_copies_every_length() {
        let source: Vec<u8> = (0..100).collect();
        for length in 0..100 {
            let mut target = vec![0xFF; 3];
            append(&mut target, &source[..length]);
            assert_eq!(target[..3], [0xFF; 3]);
            assert_eq!(target[3..], source[..length]);
        }
    }

    #[test]
    fn contradictory_ends_are_refused() {
        assert!(Strings::new("values", b"abc", &[1, 3]).is_ok());
        assert!(Strings::new("values", b"", &[]).is_ok());
        assert!(Strings::new("values", b"", &[0, 0]).is_ok());
        for ends in [&[2, 1, 3][..], &[1, 2], &[4], &[], &[u32::MAX, 3]] {
            assert!(Strings::new("values", b"abc", ends).is_err(), "{ends:?}");
        }
    }

    #[test]
    fn a_string_that_begins_within_a_character_is_not_text() {
        let text = "aé".as_bytes();
        let is_text = |ends: &[u32]| Strings::new("values", text, ends).is_ok_and(|strings| strings.is_text());
        assert!(is_text(&[1, 3]));
        assert!(is_text(&[0, 3, 3]));
        assert!(!is_text(&[2, 3]));
        assert!(!Strings::new("values", b"a\xFF", &[2]).is_ok_and(|strings| strings.is_text()));
    }
}
