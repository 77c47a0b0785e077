//! Another version of the operator takes over the state: what is there keeps its id, whatever its number is now; what is new begins empty.
//!
//! No entry is touched, so it takes as long as there are states and slots, not keys. Values keep the schema version in which they were written until they are written again. Where a point state gets a time to
//! live, times are noted in a column beside its own; what has none there counts from when that began.

use std::sync::Arc;

use super::{Form, KeyedState, StateIds, StateSpec, lifespan_of};
use crate::state::{
    delivery::{Noted, StoredValue},
    expiry::{Expiry, Lifespan},
};

/// Where states are, by number and by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// By id.
    pub(super) states: Vec<Option<StateSpec>>,
    /// By id.
    pub(super) columns: Vec<Option<u32>>,
    /// By id: whether entries are stored with the time of their last access. Also where their time to live has ended: whoever takes the exchange back needs it.
    pub(super) noted: Vec<bool>,
    /// By number.
    pub(super) ids: Vec<Option<u16>>,
    /// By column.
    pub(super) stored: Vec<StoredValue>,
}

impl Layout {
    /// As it is when the operator has these states, by number, and whatever there was before beside them.
    pub(super) fn with(mut self, states: &[Option<StateSpec>], ids: &StateIds) -> Self {
        for former in self.states.iter_mut().flatten() {
            (former.prefetch, former.on_end) = (false, false);
        }
        for stored in &mut self.stored {
            *stored = StoredValue { number: StoredValue::NOBODYS, prefetch: false, on_end: false, ..*stored };
        }
        self.ids.clear();
        for (number, spec) in (0_u32..).zip(states) {
            let id = ids.of(number);
            self.ids.push(spec.map(|_| id));
            let Some(spec) = spec else { continue };
            let at = usize::from(id);
            if at >= self.states.len() {
                self.states.resize(at + 1, None);
                self.columns.resize(at + 1, None);
                self.noted.resize(at + 1, false);
            }
            self.states[at] = Some(StateSpec { ttl_since: ids.ttl_since(number), ..*spec });
            self.noted[at] |= spec.ttl.is_some();
            if spec.form != Form::Point {
                continue;
            }
            let StateSpec { version, prefetch, on_end, ttl, .. } = *spec;
            let stored = |noted| StoredValue { number, id, version, prefetch, on_end, noted };
            match self.columns[at] {
                Some(column) => {
                    let noted = match self.stored[column as usize].noted {
                        Noted::No if ttl.is_some() => {
                            self.stored.push(StoredValue::TIMES);
                            Noted::Beside(self.stored.len() as u32 - 1)
                        }
                        // Also where its time to live ends: those that are noted stay where they are.
                        noted => noted,
                    };
                    self.stored[column as usize] = stored(noted);
                }
                None => {
                    self.columns[at] = Some(self.stored.len() as u32);
                    self.stored.push(stored(if ttl.is_some() { Noted::Before } else { Noted::No }));
                }
            }
        }
        self
    }

    /// What drops entries that nobody reads.
    pub(super) fn expiry(&self) -> Arc<Expiry> {
        let spans = (0_u16..).zip(&self.states).filter_map(|(id, spec)| Some((id, spec.as_ref()?.lifespan()?)));
        Arc::new(Expiry::new(spans))
    }

    /// Whether anything expires.
    pub(super) fn expires(&self) -> bool {
        self.states.iter().flatten().any(|spec| spec.ttl.is_some())
    }

    /// The time to live of each column.
    pub(super) fn lifespans(&self) -> Vec<Option<Lifespan>> {
        self.stored.iter().map(|stored| lifespan_of(&self.states, stored.id)).collect()
    }

    /// Number and column of the states that are delivered anew in every call.
    pub(super) fn expiring(&self) -> Vec<(u32, u32)> {
        let expiring = (0_u32..).zip(&self.stored).filter(|(_, stored)| stored.noted != Noted::No && stored.prefetch);
        expiring.map(|(column, stored)| (stored.number, column)).collect()
    }
}

impl KeyedState {
    /// Another version of the operator, which has these states, takes over. The forms of states that were there before must be the same. To be called between calls; the new
    /// guest has seen no slot.
    pub fn adopt(&mut self, states: &[Option<StateSpec>], ids: &StateIds) {
        self.forget_slots();
        let before = Layout {
            states: std::mem::take(&mut self.states),
            columns: std::mem::take(&mut self.columns),
            noted: std::mem::take(&mut self.noted),
            ids: Vec::new(),
            stored: self.table.states().to_vec(),
        };
        let layout = before.with(states, ids);
        self.table.adopt(layout.stored.clone());
        for (id, spec) in (0_u16..).zip(&layout.states) {
            self.expiry.set_lifespan(id, spec.as_ref().and_then(StateSpec::lifespan));
        }
        (self.expires, self.expiring, self.lifespans) = (layout.expires(), layout.expiring(), layout.lifespans());
        (self.states, self.columns, self.noted, self.ids) = (layout.states, layout.columns, layout.noted, layout.ids);
    }
}

#[cfg(test)]
mod lifetimes;
#[cfg(test)]
mod tests;
