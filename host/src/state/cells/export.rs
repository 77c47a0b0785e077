//! A look at all cells that are in memory, for whoever writes state down.

use super::Cells;

/// An entry of a place.
pub(in crate::state) struct CellView<'a> {
    /// The rest of its stored key.
    pub(in crate::state) rest: &'a [u8],
    /// Schema version; 0: it is gone.
    pub(in crate::state) version: u16,
    /// When it was accessed last, in milliseconds, or `UNNOTED`.
    pub(in crate::state) accessed: i64,
    /// The guest's bytes.
    pub(in crate::state) value: &'a [u8],
}

impl Cells {
    /// The number and the prefix of every place, in no order.
    pub(in crate::state) fn places(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let places = (0_u32..).zip(&self.places);
        places.filter_map(|(number, place)| Some((number, &*place.as_ref()?.prefix)))
    }

    /// The prefix of a place; empty where there is none.
    pub(in crate::state) fn prefix_of(&self, place: u32) -> &[u8] {
        self.places.get(place as usize).and_then(Option::as_ref).map_or(&[], |place| &place.prefix)
    }

    /// The entries of a place in the order of their stored keys.
    pub(in crate::state) fn entries_of(&self, place: u32) -> impl Iterator<Item = CellView<'_>> {
        let place = self.places.get(place as usize).and_then(Option::as_ref);
        let entries = place.into_iter().flat_map(|place| place.entries.from(&[]));
        entries.map(|(rest, cell)| CellView {
            rest,
            version: cell.version,
            accessed: cell.accessed,
            value: &cell.value,
        })
    }
}
