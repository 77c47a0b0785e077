//! What is known of one slot's value.
//!
//! One word says what there is, so that it is always read and written as one word: an `enum` is copied in overlapping pieces that the processor can't forward from its
//! store buffer, which cost more than the rest of a `set` (6 of 31 ns for a word count in wasm).

use std::mem::MaybeUninit;

/// There may be a value or not, but it is known.
const KNOWN: u32 = 0b0001;
/// There is a value, which is initialised.
const PRESENT: u32 = 0b0010;
/// The slot stands in the dirty list and may differ from the host's.
const DIRTY: u32 = 0b0100;
/// There is a value, but its bytes are not of the current version or do not decode.
const BAD: u32 = 0b1000;
/// There is a value, but who looks at it has to say so: `KNOWN` is not set, so that nobody comes by it unseen.
const VEILED: u32 = 0b1_0000;

/// A value or not, whether it stands in the dirty list, and the schema version of what does not decode.
pub(crate) struct Cell<T> {
    /// The flags above, and from bit 16 on a version. Flags and not a number, because tests of single bits become branches, and a `match` a table of jumps.
    head: u32,
    /// Initialised when, and only when, `PRESENT` is set.
    value: MaybeUninit<T>,
}

impl<T> Cell<T> {
    /// The host has not delivered it.
    #[inline(always)]
    pub(crate) fn missing() -> Self {
        Self { head: 0, value: MaybeUninit::uninit() }
    }

    /// There is no value.
    #[inline(always)]
    pub(crate) fn absent() -> Self {
        Self { head: KNOWN, value: MaybeUninit::uninit() }
    }

    #[inline(always)]
    pub(crate) fn present(value: T) -> Self {
        Self { head: KNOWN | PRESENT, value: MaybeUninit::new(value) }
    }

    /// There is a value of this schema version, but its bytes are not of the current one or do not decode.
    pub(crate) fn bad(version: u16) -> Self {
        Self { head: BAD | u32::from(version) << 16, value: MaybeUninit::uninit() }
    }

    #[inline(always)]
    pub(crate) fn is_known(&self) -> bool {
        self.head & KNOWN != 0
    }

    pub(crate) fn is_bad(&self) -> bool {
        self.head & BAD != 0
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.head & (KNOWN | BAD | VEILED) == 0
    }

    pub(crate) fn is_veiled(&self) -> bool {
        self.head & VEILED != 0
    }

    /// Hides a value, or shows it again. Where there is none, nothing changes.
    pub(crate) fn set_veiled(&mut self, veiled: bool) {
        if self.head & PRESENT != 0 {
            let rest = self.head & !(KNOWN | VEILED);
            self.head = rest | if veiled { VEILED } else { KNOWN };
        }
    }

    pub(crate) fn version(&self) -> u16 {
        (self.head >> 16) as u16
    }

    #[inline(always)]
    pub(crate) fn is_dirty(&self) -> bool {
        self.head & DIRTY != 0
    }

    #[inline(always)]
    pub(crate) fn set_dirty(&mut self, dirty: bool) {
        self.head = if dirty { self.head | DIRTY } else { self.head & !DIRTY };
    }

    #[inline(always)]
    pub(crate) fn value(&self) -> Option<&T> {
        // SAFETY: the value is initialised when `PRESENT` is set.
        if self.head & PRESENT != 0 { Some(unsafe { self.value.assume_init_ref() }) } else { None }
    }

    /// Puts a value there, or nothing, marks it dirty, and returns what was there.
    #[inline(always)]
    pub(crate) fn exchange(&mut self, value: Option<T>) -> Self {
        let (flags, value) = match value {
            Some(value) => (KNOWN | PRESENT, MaybeUninit::new(value)),
            None => (KNOWN, MaybeUninit::uninit()),
        };
        Self {
            head: std::mem::replace(&mut self.head, flags | DIRTY),
            value: std::mem::replace(&mut self.value, value),
        }
    }
}

impl<T> Drop for Cell<T> {
    #[inline(always)]
    fn drop(&mut self) {
        if std::mem::needs_drop::<T>() && self.head & PRESENT != 0 {
            // SAFETY: the value is initialised when `PRESENT` is set, and nobody sees it after this.
            unsafe { self.value.assume_init_drop() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn values_are_kept_and_dropped_once() {
        let value = Rc::new(5);
        let mut cell = Cell::absent();
        let old = cell.exchange(Some(value.clone()));
        assert!(old.is_known() && old.value().is_none() && !old.is_dirty());
        assert_eq!((cell.is_known(), cell.is_dirty(), cell.value()), (true, true, Some(&value)));
        cell.set_dirty(false);
        assert_eq!((cell.is_known(), cell.is_dirty(), Rc::strong_count(&value)), (true, false, 2));
        let old = cell.exchange(None);
        assert_eq!(
            (cell.is_known(), cell.value(), old.value(), Rc::strong_count(&value)),
            (true, None, Some(&value), 2)
        );
        drop(old);
        drop(cell);
        drop(Cell::present(value.clone()));
        assert_eq!(Rc::strong_count(&value), 1);
    }

    #[test]
    fn a_veiled_value_is_there_but_not_known() {
        let mut cell = Cell::present(5);
        cell.set_veiled(true);
        assert_eq!(
            (cell.is_known(), cell.is_missing(), cell.is_veiled(), cell.value()),
            (false, false, true, Some(&5))
        );
        cell.set_veiled(false);
        assert_eq!((cell.is_known(), cell.is_veiled(), cell.is_dirty()), (true, false, false));
        cell.set_veiled(true);
        let old = cell.exchange(Some(6));
        assert!(old.is_veiled() && cell.is_known() && cell.is_dirty() && !cell.is_veiled());
        let mut absent = Cell::<u8>::absent();
        absent.set_veiled(true);
        assert!(absent.is_known() && !absent.is_veiled());
    }

    #[test]
    fn a_cell_is_no_larger_than_a_word_and_its_value() {
        assert_eq!((size_of::<Cell<u64>>(), size_of::<Cell<u32>>()), (16, 8));
        let bad = Cell::<u8>::bad(7);
        assert_eq!((bad.is_known(), bad.is_bad(), bad.version()), (false, true, 7));
        assert!(Cell::<u8>::missing().is_missing() && !bad.is_missing() && !Cell::<u8>::absent().is_missing());
    }
}
