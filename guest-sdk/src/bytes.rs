//! Bytes in columns: cheap copies into them, and proof that what the host delivered does not contradict itself.
//!
//! Why it does that with `unsafe`, measured in wasm: `memcpy` and `memcmp` calls with a length that is only known at run time cost more than the rest of the work on a
//! short record.

use crate::wire::{BytesColumn, Error};

/// Appends `bytes`. Short strings, which nearly all keys and values are, are copied by a few overlapping words and not by a call of `memcpy`.
#[inline(always)]
pub(crate) fn append(into: &mut Vec<u8>, bytes: &[u8]) {
    let mut tail = Tail::of(into);
    tail.bytes(bytes);
    tail.finish();
}

/// Appends eight bytes.
#[inline(always)]
pub(crate) fn append_word(into: &mut Vec<u8>, word: [u8; 8]) {
    let mut tail = Tail::of(into);
    tail.word(word);
    tail.finish();
}

/// The highest bit of each byte: in a varint it says that more bytes follow.
pub(crate) const HIGH: u64 = 0x8080_8080_8080_8080;

/// The free end of a vector: where it is written to is kept here and not in the vector, so that it stays in a register until [`Tail::finish`]. Without that nothing is
/// appended.
pub(crate) struct Tail<'a> {
    vec: &'a mut Vec<u8>,
    /// Points into the spare capacity of `vec`, or to its end; all before it is initialised.
    at: *mut u8,
    /// The end of the spare capacity.
    end: *mut u8,
}

impl<'a> Tail<'a> {
    #[inline(always)]
    pub(crate) fn of(vec: &'a mut Vec<u8>) -> Self {
        let (length, room) = (vec.len(), vec.capacity());
        let start = vec.as_mut_ptr();
        // SAFETY: the length of a vector is not above its capacity, and both lie within its allocation.
        let (at, end) = unsafe { (start.add(length), start.add(room)) };
        Self { vec, at, end }
    }

    /// Makes room for `count` bytes.
    #[inline(always)]
    fn reserve(&mut self, count: usize) {
        if (self.end as usize) - (self.at as usize) < count {
            // By value, so that `self` need not live in memory.
            (self.at, self.end) = Self::grow(self.vec, self.at, count);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(vec: &mut Vec<u8>, at: *mut u8, count: usize) -> (*mut u8, *mut u8) {
        let length = vec.len();
        let written = at as usize - vec.as_ptr() as usize;
        // SAFETY: `at` lies within the capacity and all before it is initialised.
        unsafe { vec.set_len(written) };
        vec.reserve(count);
        let room = vec.capacity();
        let start = vec.as_mut_ptr();
        // SAFETY: as it was before, and as in `of`. What is written counts only in the end.
        unsafe {
            vec.set_len(length);
            (start.add(written), start.add(room))
        }
    }

    /// Appends all that was written.
    #[inline(always)]
    pub(crate) fn finish(self) {
        let written = self.at as usize - self.vec.as_ptr() as usize;
        // SAFETY: `at` lies within the capacity and all before it is initialised.
        unsafe { self.vec.set_len(written) };
    }

    #[inline(always)]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.reserve(1);
        // SAFETY: `reserve` made room.
        unsafe {
            self.at.write(byte);
            self.at = self.at.add(1);
        }
    }

    #[inline(always)]
    pub(crate) fn word(&mut self, word: [u8; 8]) {
        self.reserve(8);
        // SAFETY: `reserve` made room; a `[u8; 8]` needs no alignment.
        unsafe {
            self.at.cast::<[u8; 8]>().write(word);
            self.at = self.at.add(8);
        }
    }

    #[inline(always)]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: `reserve` made room; spare capacity is not borrowed by anyone else.
        unsafe {
            copy(bytes.as_ptr(), self.at, bytes.len());
            self.at = self.at.add(bytes.len());
        }
    }

    /// The length of a string and the string.
    #[inline(always)]
    pub(crate) fn prefixed(&mut self, bytes: &[u8]) {
        if bytes.len() < 0x80 {
            // One check for both.
            self.reserve(1 + bytes.len());
            // SAFETY: `reserve` made room; spare capacity is not borrowed by anyone else.
            unsafe {
                self.at.write(bytes.len() as u8);
                copy(bytes.as_ptr(), self.at.add(1), bytes.len());
                self.at = self.at.add(1 + bytes.len());
            }
        } else {
            self.varint(bytes.len() as u64);
            self.bytes(bytes);
        }
    }

    /// A number in groups of seven bits, the lowest first; the eighth bit of a byte says that more follow. A number of several bytes is put together without a branch for
    /// each: which one is the last can't be foretold.
    #[inline(always)]
    pub(crate) fn varint(&mut self, value: u64) {
        /// The bytes that the largest number takes.
        const ROOM: usize = 10;
        self.reserve(ROOM);
        if value < 0x80 {
            // SAFETY: `reserve` made room for ten bytes.
            unsafe { self.at.write(value as u8) };
            // SAFETY: as above.
            self.at = unsafe { self.at.add(1) };
        } else if value < 1 << 28 {
            let value = value as u32;
            let groups = value & 0x3FFF | (value & 0x0FFF_C000) << 2;
            let groups = groups & 0x007F_007F | (groups & 0x3F80_3F80) << 1;
            // A seventh of the highest bit's number.
            let more = ((31 - value.leading_zeros()) * 37) >> 8;
            let bytes = groups | HIGH as u32 & ((1 << (8 * more)) - 1);
            // SAFETY: `reserve` made room for ten bytes, and four are written; `more` is 3 at most.
            unsafe {
                self.at.cast::<[u8; 4]>().write(bytes.to_le_bytes());
                self.at = self.at.add(more as usize + 1);
            }
        } else if value < 1 << 56 {
            let groups = value & 0x0FFF_FFFF | (value & 0x00FF_FFFF_F000_0000) << 4;
            let groups = groups & 0x0000_3FFF_0000_3FFF | (groups & 0x0FFF_C000_0FFF_C000) << 2;
            let groups = groups & 0x007F_007F_007F_007F | (groups & 0x3F80_3F80_3F80_3F80) << 1;
            let more = ((63 - value.leading_zeros()) * 37) >> 8;
            let bytes = groups | HIGH & ((1 << (8 * more)) - 1);
            // SAFETY: `reserve` made room for ten bytes, and eight are written; `more` is 7 at most.
            unsafe {
                self.at.cast::<[u8; 8]>().write(bytes.to_le_bytes());
                self.at = self.at.add(more as usize + 1);
            }
        } else {
            // SAFETY: `reserve` made room for ten bytes.
            self.at = unsafe { long_varint(self.at, value) };
        }
    }
}

/// Writes a number byte by byte and returns where it stops.
///
/// # Safety
/// `at` is valid for writing ten bytes.
#[cold]
#[inline(never)]
unsafe fn long_varint(mut at: *mut u8, mut value: u64) -> *mut u8 {
    // SAFETY: 64 bits are ten groups of seven.
    unsafe {
        while value >= 0x80 {
            at.write(value as u8 | 0x80);
            at = at.add(1);
            value >>= 7;
        }
        at.write(value as u8);
        at.add(1)
    }
}

/// Copies `count` bytes.
///
/// # Safety
/// `from` is valid for reading and `to` for writing `count` bytes, and they do not overlap.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8, count: usize) {
    // SAFETY: each branch touches bytes below `count` only: the last word of a group ends at `count`, and the others begin before it.
    unsafe {
        if count <= 16 {
            if count >= 4 {
                // Four words, which overlap more or less: the processor can't foretell lengths, so one branch for all of these is better than three.
                let (step, last) = ((count >> 3) << 2, count - 4);
                let read = |at| from.add(at).cast::<[u8; 4]>().read();
                let words = (read(0), read(step), read(last - step), read(last));
                let write = |at, word| to.add(at).cast::<[u8; 4]>().write(word);
                write(0, words.0);
                write(step, words.1);
                write(last - step, words.2);
                write(last, words.3);
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

/// Copies `from` to the start of `to`.
///
/// # Panics
/// When `to` is shorter.
#[inline(always)]
pub(crate) fn copy_short(from: &[u8], to: &mut [u8]) {
    assert!(from.len() <= to.len(), "there is room");
    // SAFETY: both are valid for so many bytes; the borrow rules keep them apart.
    unsafe { copy(from.as_ptr(), to.as_mut_ptr(), from.len()) }
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
        let mut falls = false;
        let mut next = |end| {
            falls |= end < last;
            last = end;
        };
        // Several at a time, because the guest's loops ask at every turn whether they may go on.
        let (groups, rest) = ends.as_chunks::<8>();
        groups.iter().for_each(|group| group.iter().for_each(|end| next(*end)));
        rest.iter().for_each(|end| next(*end));
        if !falls && last as usize == data.len() {
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

    /// All strings are empty.
    pub(crate) fn are_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// String `index`.
    ///
    /// # Panics
    /// When there is no such string.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> &'a [u8] {
        let (rest, length) = self.get_with_rest(index);
        // SAFETY: `new` saw that the last end is the length of the data and that none before is above it.
        unsafe { rest.get_unchecked(..length) }
    }

    /// String `index` with all that lies behind it, and its length.
    ///
    /// # Panics
    /// When there is no such string.
    #[inline(always)]
    pub(crate) fn get_with_rest(&self, index: usize) -> (&'a [u8], usize) {
        let end = self.ends[index] as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        // SAFETY: `new` saw that the ends never fall and that the last one is the length of the data, so `start <= end <= data.len()`.
        (unsafe { self.data.get_unchecked(start..) }, end - start)
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
