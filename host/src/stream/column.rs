//! Byte strings end to end, the shape in which keys and values travel.
//!
//! Invariant: `ends` never falls and its last value is the length of `data` (an empty column has no ends and no data). Columns that come from
//! outside are checked once with [`BytesColumn::from_parts`]; everything behind that relies on it.

use thiserror::Error;

/// Strings of up to so many bytes are copied and compared without a branch on their length, which can't be foretold.
const WINDOW: usize = 16;

/// A string that lies among other bytes, and may be compared together with those behind it.
#[derive(Clone, Copy)]
pub(crate) struct Windowed<'a> {
    /// The string.
    pub(crate) string: &'a [u8],
    /// The bytes from its beginning on, if there are so many.
    window: Option<&'a [u8; WINDOW]>,
}

impl<'a> Windowed<'a> {
    /// A string with nothing behind it.
    pub(crate) fn alone(string: &'a [u8]) -> Self {
        Self { string, window: string.first_chunk() }
    }

    /// Whether the string is what lies at the beginning of `bytes`, which are at least as long.
    #[inline(always)]
    pub(crate) fn begins(self, bytes: &[u8]) -> bool {
        let len = self.string.len();
        if let (Ok(word), Some(other)) = (<[u8; 8]>::try_from(self.string), bytes.first_chunk::<8>()) {
            return word == *other;
        }
        match (self.window, bytes.first_chunk::<WINDOW>()) {
            (Some(window), Some(other)) if len <= WINDOW => {
                (u128::from_le_bytes(*window) ^ u128::from_le_bytes(*other)) & MASKS[len] == 0
            }
            _ => bytes[..len] == *self.string,
        }
    }
}

/// The first bytes of a window, for each number of them.
const MASKS: [u128; WINDOW + 1] = {
    let mut masks = [0; WINDOW + 1];
    let mut len = 1;
    while len <= WINDOW {
        masks[len] = u128::MAX >> (128 - 8 * len);
        len += 1;
    }
    masks
};

/// Byte strings end to end: string `i` is `data[ends[i - 1]..ends[i]]`, the first begins at 0.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BytesColumn {
    data: Vec<u8>,
    ends: Vec<u32>,
}

/// Why two lists are not a column.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ColumnError {
    /// An end lies before the one that precedes it.
    #[error("end {index} of the column ({end}) lies before the end that precedes it ({before})")]
    Falling {
        /// Which end.
        index: usize,
        /// Its value.
        end: u32,
        /// The value before it.
        before: u32,
    },
    /// The last end is not the length of the data.
    #[error("the last end of the column is {last}, but it holds {data} bytes")]
    Length {
        /// The last end, or 0 without one.
        last: u32,
        /// The length of the data in bytes.
        data: usize,
    },
}

impl BytesColumn {
    /// An empty column with room for `rows` strings of `bytes` bytes in all.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self { data: Vec::with_capacity(bytes), ends: Vec::with_capacity(rows) }
    }

    /// A column of `rows` empty strings.
    pub fn empty_strings(rows: usize) -> Self {
        Self { data: Vec::new(), ends: vec![0; rows] }
    }

    /// Checks two lists from outside and makes a column of them.
    ///
    /// # Errors
    /// [`ColumnError`] when the lists contradict each other.
    pub fn from_parts(data: Vec<u8>, ends: Vec<u32>) -> Result<Self, ColumnError> {
        check(&data, &ends)?;
        Ok(Self { data, ends })
    }

    /// Copies two borrowed lists from outside into a column, after checking them.
    ///
    /// # Errors
    /// [`ColumnError`] when the lists contradict each other.
    pub fn from_slices(data: &[u8], ends: &[u32]) -> Result<Self, ColumnError> {
        check(data, ends)?;
        Ok(Self { data: data.to_vec(), ends: ends.to_vec() })
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no strings.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Length of all strings together, in bytes.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// All strings, end to end.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where each string ends.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// String `index`.
    ///
    /// # Panics
    /// When there is no string `index`.
    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.data[start..self.ends[index] as usize]
    }

    /// String `index`, to be compared.
    ///
    /// # Panics
    /// When there is no string `index`.
    #[inline(always)]
    pub(crate) fn windowed(&self, index: usize) -> Windowed<'_> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        let string = &self.data[start..self.ends[index] as usize];
        Windowed { string, window: self.data[start..].first_chunk() }
    }

    /// Appends a string. The column's data stays below 4 GiB because batches are bounded far below it.
    #[inline]
    pub fn push(&mut self, string: &[u8]) {
        append_short(&mut self.data, string);
        self.ends.push(self.data.len() as u32);
    }

    /// Appends strings `from..to` of another column.
    pub fn extend_from(&mut self, other: &Self, from: usize, to: usize) {
        if from >= to {
            return;
        }
        let start = if from == 0 { 0 } else { other.ends[from - 1] };
        let base = self.data.len() as u32;
        self.data.extend_from_slice(&other.data[start as usize..other.ends[to - 1] as usize]);
        self.ends.extend(other.ends[from..to].iter().map(|end| end - start + base));
    }

    /// Appends those strings of another column, in this order.
    ///
    /// # Panics
    /// When there is no string of an index.
    pub fn extend_picked(&mut self, other: &Self, indexes: &[u32]) {
        if other.data.is_empty() {
            self.ends.resize(self.ends.len() + indexes.len(), self.data.len() as u32);
            return;
        }
        self.ends.reserve(indexes.len());
        for index in indexes {
            let index = *index as usize;
            let start = if index == 0 { 0 } else { other.ends[index - 1] as usize };
            let end = other.ends[index] as usize;
            match other.data[start..].first_chunk::<WINDOW>() {
                // How long a string is can't be foretold, so all that are short are copied in the same way, together with what lies behind them.
                Some(window) if end - start <= WINDOW => {
                    let len = self.data.len() + end - start;
                    self.data.extend_from_slice(window);
                    self.data.truncate(len);
                }
                _ => append_short(&mut self.data, &other.data[start..end]),
            }
            self.ends.push(self.data.len() as u32);
        }
    }

    /// Gives `writer` the data to append to, then ends the string there. What `writer` removes is gone: it must only append.
    #[inline]
    pub fn push_with(&mut self, writer: impl FnOnce(&mut Vec<u8>)) {
        writer(&mut self.data);
        self.ends.push(self.data.len() as u32);
    }

    /// Removes all strings and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }

    /// Keeps the first `len` strings.
    pub fn truncate(&mut self, len: usize) {
        if len < self.ends.len() {
            self.ends.truncate(len);
            self.data.truncate(self.ends.last().map_or(0, |end| *end as usize));
        }
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl std::fmt::Debug for BytesColumn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|s| String::from_utf8_lossy(s).into_owned())).finish()
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for BytesColumn {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut column = Self::default();
        for string in strings {
            column.push(string.as_ref());
        }
        column
    }
}

fn check(data: &[u8], ends: &[u32]) -> Result<(), ColumnError> {
    // Without a branch per entry, so that it is vectorised: this runs over every column that a guest hands over.
    let falls = ends.windows(2).fold(false, |falls, pair| falls | (pair[1] < pair[0]));
    if falls {
        let index = 1 + ends.windows(2).position(|pair| pair[1] < pair[0]).unwrap_or(0);
        return Err(ColumnError::Falling { index, end: ends[index], before: ends[index - 1] });
    }
    let last = ends.last().copied().unwrap_or(0);
    if last as usize != data.len() {
        return Err(ColumnError::Length { last, data: data.len() });
    }
    Ok(())
}

/// Appends a string that is usually short. A call of `memcpy` with a length known only at run time costs more than the copying of a word; two
/// overlapping copies of a fixed size do not call anything.
#[inline(always)]
pub(crate) fn append_short(data: &mut Vec<u8>, string: &[u8]) {
    let (start, len) = (data.len(), string.len());
    if len == 0 {
        return;
    }
    match (len, string.first_chunk::<8>(), string.last_chunk::<8>()) {
        (8, Some(all), _) => data.extend_from_slice(all),
        (9..=16, Some(head), Some(tail)) => {
            data.resize(start + 16, 0);
            data[start..start + 8].copy_from_slice(head);
            data[start + len - 8..start + len].copy_from_slice(tail);
            data.truncate(start + len);
        }
        _ => match (len, string.first_chunk::<4>(), string.last_chunk::<4>()) {
            (4..8, Some(head), Some(tail)) => {
                data.resize(start + 8, 0);
                data[start..start + 4].copy_from_slice(head);
                data[start + len - 4..start + len].copy_from_slice(tail);
                data.truncate(start + len);
            }
            (1..4, ..) => {
                data.resize(start + 3, 0);
                data[start] = string[0];
                data[start + len / 2] = string[len / 2];
                data[start + len - 1] = string[len - 1];
                data.truncate(start + len);
            }
            _ => data.extend_from_slice(string),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn picked_strings_are_those_of_the_indexes(
            strings in vec(vec(any::<u8>(), 0..40), 1..20), before in vec(vec(any::<u8>(), 0..20), 0..3), picks in vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let other: BytesColumn = strings.iter().collect();
            let picks: Vec<usize> = picks.iter().map(|pick| pick.index(strings.len())).collect();
            let mut column: BytesColumn = before.iter().collect();
            column.extend_picked(&other, &picks.iter().map(|pick| *pick as u32).collect::<Vec<_>>());
            let expected: BytesColumn = before.iter().chain(picks.iter().map(|pick| &strings[*pick])).collect();
            prop_assert_eq!(column, expected);
        }

        #[test]
        fn strings_are_compared_as_slices_are(
            strings in vec(vec(0..3_u8, 0..20), 1..6), index: prop::sample::Index, other in vec(0..3_u8, 20..40), same in 0..20_usize,
        ) {
            let column: BytesColumn = strings.iter().collect();
            let index = index.index(strings.len());
            let string = &strings[index];
            // Most begin as the string does, or nearly.
            let same = same.min(string.len());
            let other = [&string[..same], &other].concat();
            prop_assert_eq!(column.windowed(index).begins(&other), other.starts_with(string));
            prop_assert_eq!(Windowed::alone(string).begins(&other), other.starts_with(string));
            prop_assert!(column.windowed(index).begins(string));
        }
    }

    #[test]
    fn empty_strings_are_picked_too() {
        let mut column: BytesColumn = ["a"].iter().collect();
        column.extend_picked(&BytesColumn::empty_strings(3), &[2, 0]);
        assert_eq!(column, ["a", "", ""].iter().collect());
    }
}
