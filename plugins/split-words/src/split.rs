//! Words of a line, in lower case, without an allocation per word.
//!
//! By definition they are those of
//! `line.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())`,
//! and a property test holds them against that. The line in lower case gets a bit for each byte that
//! belongs to a word; then words are found by counting zeros. A line of ASCII is taken eight bytes at
//! a time as one integer ("SIMD within a register"): three additions tell the letters and digits among
//! them, and an `or` makes them small. Other lines take the way of the definition.

/// Splits lines. Keeps its buffers from line to line.
#[derive(Default)]
pub struct Splitter {
    /// The line in lower case; longer where an earlier line was.
    lower: Vec<u8>,
    /// A bit for each byte of `lower`: it belongs to a word.
    masks: Vec<u64>,
}

/// Bytes in a mask.
const BLOCK: usize = 64;

/// The same byte eight times.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bit of each byte.
const HIGH: u64 = eight(0x80);

/// Sets the highest bit of each byte between `first` and `last`. All bytes are ASCII, so that no
/// addition carries over.
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
    /// The words of a line.
    #[inline]
    pub fn split(&mut self, line: &str) -> Words<'_> {
        let length = match self.read_ascii(line.as_bytes()) {
            true => line.len(),
            false => self.read_any(line),
        };
        // SAFETY: the bytes are those of a `String`, or ASCII.
        let text = unsafe { std::str::from_utf8_unchecked(&self.lower[..length]) };
        let masks = self.masks[..=length.div_ceil(BLOCK)].iter();
        Words { text, masks, edges: 0, carry: 0, behind: 0 }
    }

    /// Makes room for a line, and for a mask without words at its end.
    fn prepare(&mut self, length: usize) {
        let blocks = length.div_ceil(BLOCK);
        if self.masks.len() <= blocks {
            self.masks.resize(blocks + 1, 0);
            self.lower.resize(blocks * BLOCK, 0);
        }
        self.masks[blocks] = 0;
    }

    /// Reads a line, unless there is something else than ASCII in it.
    fn read_ascii(&mut self, line: &[u8]) -> bool {
        self.prepare(line.len());
        let mut seen = 0;
        let blocks = self.lower.chunks_exact_mut(BLOCK).zip(&mut self.masks);
        for (from, (to, mask)) in line.chunks(BLOCK).zip(blocks) {
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

    /// Reads any line, and returns its length in lower case.
    #[cold]
    fn read_any(&mut self, line: &str) -> usize {
        // All at once, because `Σ` becomes `σ` or `ς` by what stands around it.
        let text = line.to_lowercase();
        self.prepare(text.len());
        self.lower[..text.len()].copy_from_slice(text.as_bytes());
        self.masks[..=text.len().div_ceil(BLOCK)].fill(0);
        for (start, character) in text.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
            for at in start..start + character.len_utf8() {
                self.masks[at / BLOCK] |= 1 << (at % BLOCK);
            }
        }
        text.len()
    }
}

/// The words of a line, in their order.
pub struct Words<'a> {
    text: &'a str,
    masks: std::slice::Iter<'a, u64>,
    /// A bit wherever a word begins, and one after each word, in turn.
    edges: u64,
    /// The last byte of the block before belongs to a word.
    carry: u64,
    /// Where the current block ends.
    behind: usize,
}

impl Words<'_> {
    #[inline(always)]
    fn edge(&mut self) -> Option<usize> {
        while self.edges == 0 {
            let mask = self.masks.next()?;
            self.edges = mask ^ (mask << 1 | self.carry);
            self.carry = mask >> (BLOCK - 1);
            self.behind += BLOCK;
        }
        let at = self.behind - BLOCK + self.edges.trailing_zeros() as usize;
        self.edges &= self.edges - 1;
        Some(at)
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    #[inline(always)]
    fn next(&mut self) -> Option<&'a str> {
        let start = self.edge()?;
        let end = self.edge()?;
        self.text.get(start..end)
    }
}
