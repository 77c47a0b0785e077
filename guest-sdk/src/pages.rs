//! Lists and maps that are read a page at a time.

use crate::Result;
use crate::bytes::Strings;
use crate::host::{Host, seldom};
use crate::stored::Stored;
use crate::wire::Page;

/// About so many bytes come at once: a call costs as much as copying some hundred bytes.
pub(crate) const PAGE_BYTES: u32 = 16 << 10;

/// What is read.
pub(crate) enum Source {
    /// A list or map of a key.
    Keyed {
        /// Slot of the key.
        slot: u32,
        /// Empty: none.
        namespace: Vec<u8>,
    },
    /// A broadcast map.
    Broadcast,
}

/// Where the next page begins.
enum Next {
    First,
    From(Vec<u8>),
    /// There is none.
    Nowhere,
}

/// Reads entries one after the other.
pub(crate) struct Pages<'h> {
    host: &'h dyn Host,
    state: u32,
    version: u16,
    source: Source,
    is_map: bool,
    bytes: u32,
    page: Page,
    /// How many entries of the page have been taken.
    taken: usize,
    next: Next,
}

/// An entry as it is stored.
pub(crate) struct Raw<'a> {
    /// Empty for lists.
    pub(crate) key: &'a [u8],
    pub(crate) version: u16,
    pub(crate) bytes: &'a [u8],
}

impl<'h> Pages<'h> {
    /// Reads pages of about `bytes` bytes of a state whose schema has this version.
    pub(crate) fn new(
        host: &'h dyn Host,
        (state, version): (u32, u16),
        source: Source,
        is_map: bool,
        bytes: u32,
    ) -> Self {
        Self { host, state, version, source, is_map, bytes, page: Page::default(), taken: 0, next: Next::First }
    }

    /// Reads nothing.
    pub(crate) fn skip(&mut self) {
        self.next = Next::Nowhere;
    }

    /// The next entry, which stays the next one until [`Pages::advance`].
    pub(crate) fn peek(&mut self) -> Result<Option<Raw<'_>>> {
        while self.taken == self.page.values.ends.len() {
            let from = match &self.next {
                Next::First => None,
                Next::From(from) => Some(from.as_slice()),
                Next::Nowhere => return Ok(None),
            };
            let mut page = match &self.source {
                Source::Keyed { slot, namespace } => {
                    seldom::read(self.host, self.state, *slot, namespace, from, self.bytes)?
                }
                Source::Broadcast => seldom::read_broadcast(self.host, self.state, from, self.bytes)?,
            };
            let keys = Strings::of("map keys", &page.map_keys)?.len();
            let values = Stored::new("a page", &page.values, self.version)?.len();
            if keys != if self.is_map { values } else { 0 } {
                return Err(format!("the host read a page of {values} values with {keys} map keys").into());
            }
            self.next = page.next.take().map_or(Next::Nowhere, Next::From);
            (self.page, self.taken) = (page, 0);
        }
        let Page { map_keys, values, .. } = &self.page;
        // The columns were checked as a whole.
        let key = if self.is_map { string(&map_keys.data, &map_keys.ends, self.taken) } else { &[] };
        let version = values.versions.get(self.taken).copied().unwrap_or(self.version);
        let bytes = string(&values.data, &values.ends, self.taken);
        Ok(Some(Raw { key, version, bytes }))
    }

    /// Goes on to the entry after the next one.
    pub(crate) fn advance(&mut self) {
        self.taken += 1;
    }
}

/// String `index` of a column.
fn string<'a>(data: &'a [u8], ends: &[u32], index: usize) -> &'a [u8] {
    let start = if index == 0 { 0 } else { ends[index - 1] as usize };
    &data[start..ends[index] as usize]
}
