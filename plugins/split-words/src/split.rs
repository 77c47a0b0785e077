//! Words of a line, in lower case, without an allocation per line or word.
//!
//! By definition the result is that of
//! `line.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())`,
//! and a property test holds it against that. Three ways lead there:
//!
//! - A line of ASCII is taken eight bytes at a time as one integer ("SIMD within a register"): three additions tell the letters and digits among them, and an `or` makes
//!   them small. What is left is one bit for each byte, and words are found by counting zeros.
//! - Other lines go character by character.
//! - But `Σ` becomes `σ` or `ς` by what stands around it, so a line with a `Σ` takes the long way of the definition.

/// Splits lines. Keeps its buffers from line to line.
#[derive(Default)]
pub struct Splitter {
    /// The line in lower case, of ASCII only; longer than the line where an earlier one was.
    lower: Vec<u8>,
    /// A bit for each byte of `lower`: it belongs to a word.
    masks: Vec<u64>,
    /// The word that is being gathered.
    word: String,
}

/// The same byte eight times.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bit of each byte.
const HIGH: u64 = eight(0x80);

/// Bytes in a mask.
const BLOCK: usize = 64;

/// Sets the highest bit of each byte between `first` and `last`. All bytes are ASCII, so that no addition carries over.
#[inline(always)]
fn between(bytes: u64, first: u8, last: u8) -> u64 {
    bytes.wrapping_add(eight(0x80 - first)) & !bytes.wrapping_add(eight(0x7F - last))
}

/// Eight bytes of ASCII in lower case, and a bit for each that is a letter or digit.
#[inline(always)]
fn classify(bytes: u64) -> (u64, u64) {
    let letters = between(bytes | eight(0x20), b'a', b'z') & HIGH;
    let digits = between(bytes, b'0', b'9') & HIGH;
    // The product gathers the lowest bits of all bytes in the highest byte.
    let mask = ((letters | digits) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    (bytes | letters >> 2, mask)
}

impl Splitter {
    /// Calls `each` for every word, and stops at its first error.
    ///
    /// # Errors
    /// Those of `each`.
    #[inline]
    pub fn split<E>(&mut self, line: &str, mut each: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        if self.read_ascii(line.as_bytes()) {
            self.split_ascii(line.len(), each)
        } else {
            self.split_other(line, &mut each)
        }
    }

    #[cold]
    #[inline(never)]
    fn split_other<E>(&mut self, line: &str, each: &mut dyn FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        if line.contains('Σ') {
            line.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).try_for_each(each)
        } else {
            self.split_characters(line, each)
        }
    }

    /// Fills `lower` and `masks`, unless there is something else than ASCII.
    fn read_ascii(&mut self, line: &[u8]) -> bool {
        let blocks = line.len().div_ceil(BLOCK);
        if self.masks.len() < blocks {
            self.masks.resize(blocks, 0);
            self.lower.resize(blocks * BLOCK, 0);
        }
        let mut seen = 0;
        for ((from, to), mask) in line.chunks(BLOCK).zip(self.lower.chunks_exact_mut(BLOCK)).zip(&mut self.masks) {
            *mask = 0;
            let mut add = |index: usize, bytes: [u8; 8]| {
                let bytes = u64::from_le_bytes(bytes);
                seen |= bytes;
                let (lower, bits) = classify(bytes);
                to[index * 8..index * 8 + 8].copy_from_slice(&lower.to_le_bytes());
                *mask |= bits << (index * 8);
            };
            let (words, rest) = from.as_chunks::<8>();
            words.iter().enumerate().for_each(|(index, bytes)| add(index, *bytes));
            if !rest.is_empty() {
                let mut bytes = [0; 8];
                bytes[..rest.len()].copy_from_slice(rest);
                add(words.len(), bytes);
            }
        }
        seen & HIGH == 0
    }

    /// Finds the words of a line that was read. `each` is called in one place only, so that it is compiled into this loop.
    #[inline(always)]
    fn split_ascii<E>(&self, length: usize, mut each: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        // SAFETY: `read_ascii` saw no byte of the line above 0x7F, and makes none.
        let text = unsafe { std::str::from_utf8_unchecked(&self.lower[..length]) };
        let mut start = None;
        // One block more than there are, without a word in it: the last word ends there if not before.
        for (block, mask) in self.masks[..length.div_ceil(BLOCK)].iter().chain(&[0]).enumerate() {
            // A bit wherever a word begins, and one after each word, in turn.
            let mut edges = mask ^ (mask << 1 | u64::from(start.is_some()));
            while edges != 0 {
                let at = block * BLOCK + edges.trailing_zeros() as usize;
                edges &= edges - 1;
                start = match start {
                    None => Some(at),
                    Some(start) => {
                        each(&text[start..at])?;
                        None
                    }
                };
            }
        }
        Ok(())
    }

    fn split_characters<E>(&mut self, line: &str, each: &mut dyn FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        self.word.clear();
        for character in line.chars() {
            // One character may become several, of which some are no letters: `İ` is `i` and a dot.
            for lower in character.to_lowercase() {
                if lower.is_alphanumeric() {
                    self.word.push(lower);
                } else if !self.word.is_empty() {
                    each(&self.word)?;
                    self.word.clear();
                }
            }
        }
        if self.word.is_empty() { Ok(()) } else { each(&self.word) }
    }
}
