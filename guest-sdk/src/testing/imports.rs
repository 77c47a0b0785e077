//! The imports as the harness's host answers them: what the contract (`wit/`) says of each, with its refusals.

use std::cell::RefCell;

use crate::bytes::Strings;
use crate::descriptor::StateKind;
use crate::host::{Host, Level, Seldom};
use crate::map_key::LENGTH_MAX;
use crate::namespace::NAMESPACE_MAX;
use crate::output::Keying;
use crate::stored::Stored;
use crate::time::{EventTime, NONE};
use crate::wire::{BytesColumn, Cells, Error, Page, StoredColumn};

use super::host::{Phase, TestHost};
use super::table::{Place, Table};
use super::{Emitted, LogLine};

const POINTS: [StateKind; 3] = [StateKind::Value, StateKind::Reducing, StateKind::Aggregating];
const POINTS_AND_MAPS: [StateKind; 4] = [StateKind::Value, StateKind::Reducing, StateKind::Aggregating, StateKind::Map];
const LISTS: [StateKind; 2] = [StateKind::OperatorList, StateKind::OperatorUnion];

fn invalid<T>(text: String) -> Result<T, Error> {
    Err(Error::InvalidInput(text))
}

impl TestHost {
    /// The state, which must be of one of these kinds, and the host be in one of these phases.
    fn table(&mut self, state: u32, kinds: &[StateKind], phases: &[Phase]) -> Result<&mut Table, Error> {
        self.calls += 1;
        if !phases.contains(&self.phase) {
            return Err(Error::State(format!("this may not be called now: {:?}", self.phase)));
        }
        match self.tables.get_mut(state as usize) {
            Some(table) if table.is(kinds) => Ok(table),
            Some(table) => invalid(format!("state \"{}\" is not of this kind", table.descriptor.name)),
            None => invalid(format!("there is no state {state}")),
        }
    }

    /// The places of cells of keyed state.
    fn places(&mut self, state: u32, cells: &Cells, kinds: &[StateKind], map_keys: bool) -> Result<Vec<Place>, Error> {
        let name = self.table(state, kinds, &Phase::CALLS)?.descriptor.name.clone();
        let count = cells.slots.len();
        let namespaces = Strings::of("namespaces", &cells.namespaces)?;
        let keys = Strings::of("map keys", &cells.map_keys)?;
        if ![0, count].contains(&namespaces.len()) || keys.len() != if map_keys { count } else { 0 } {
            let (namespaces, keys) = (namespaces.len(), keys.len());
            return invalid(format!("state \"{name}\": {count} slots, {namespaces} namespaces, {keys} map keys"));
        }
        let mut places = Vec::new();
        for (index, &slot) in cells.slots.iter().enumerate() {
            let (namespace, key) = (part(namespaces, index), part(keys, index));
            if namespace.len() > NAMESPACE_MAX || key.len() > LENGTH_MAX {
                return Err(Error::Limit(format!(
                    "{} bytes of a namespace, {} of a map key",
                    namespace.len(),
                    key.len()
                )));
            }
            places.push((self.called_key(slot)?, namespace.to_vec(), key.to_vec()));
        }
        Ok(places)
    }

    /// The key of a slot of this call.
    fn called_key(&self, slot: u32) -> Result<Vec<u8>, Error> {
        match self.key(slot) {
            Some(key) if self.current_slots.contains(&slot) => Ok(key.clone()),
            Some(_) => invalid(format!("slot {slot} is not one of this call")),
            None => invalid(format!("slot {slot} has no key")),
        }
    }

    fn get_many(&mut self, state: u32, cells: &Cells) -> Result<StoredColumn, Error> {
        let map = self.tables.get(state as usize).is_some_and(|table| table.is(&[StateKind::Map]));
        let places = self.places(state, cells, &POINTS_AND_MAPS, map)?;
        let now = self.now;
        let table = &mut self.tables[state as usize];
        let mut values = StoredColumn::default();
        for place in &places {
            let (version, bytes) = table.read(place, now).unwrap_or_default();
            push(&mut values, version, &bytes);
        }
        Ok(values)
    }

    fn put_many(&mut self, state: u32, cells: &Cells, values: &StoredColumn) -> Result<(), Error> {
        let map = self.tables.get(state as usize).is_some_and(|table| table.is(&[StateKind::Map]));
        let places = self.places(state, cells, &POINTS_AND_MAPS, map)?;
        let now = self.now;
        let table = &mut self.tables[state as usize];
        let values = checked(values, table, places.len())?;
        for (place, (version, bytes)) in places.into_iter().zip(values) {
            table.put(place, version, &bytes, now);
        }
        Ok(())
    }

    fn append_many(&mut self, state: u32, cells: &Cells, values: &BytesColumn) -> Result<(), Error> {
        let places = self.places(state, cells, &[StateKind::List], false)?;
        let items = Strings::of("items", values)?;
        if items.len() != places.len() {
            return invalid(format!("{} cells, {} items", places.len(), items.len()));
        }
        let now = self.now;
        for (index, (key, namespace, _)) in places.into_iter().enumerate() {
            self.tables[state as usize].append(key, &namespace, items.get(index), now);
        }
        Ok(())
    }

    fn clear_many(&mut self, state: u32, cells: &Cells) -> Result<(), Error> {
        let kinds = [&POINTS[..], &[StateKind::List, StateKind::Map]].concat();
        for (key, namespace, _) in self.places(state, cells, &kinds, false)? {
            self.tables[state as usize].clear(&key, &namespace);
        }
        Ok(())
    }

    fn read(
        &mut self,
        state: u32,
        slot: u32,
        namespace: &[u8],
        from: Option<&[u8]>,
        bytes: u32,
    ) -> Result<Page, Error> {
        self.table(state, &[StateKind::List, StateKind::Map], &Phase::CALLS)?;
        let key = self.called_key(slot)?;
        Ok(self.page(state, &key, namespace, from, bytes))
    }

    /// A page of what lies under a key and namespace.
    fn page(&mut self, state: u32, key: &[u8], namespace: &[u8], from: Option<&[u8]>, bytes: u32) -> Page {
        let now = self.now;
        let table = &mut self.tables[state as usize];
        let mut page = Page::default();
        for place in table.range(key, namespace, from.unwrap_or_default(), now) {
            if page.values.data.len() + page.map_keys.data.len() >= bytes as usize && !page.values.ends.is_empty() {
                page.next = Some(place.2);
                break;
            }
            let (version, value) = table.read(&place, now).unwrap_or_default();
            push(&mut page.values, version, &value);
            if !table.is(&[StateKind::List]) {
                page.map_keys.data.extend_from_slice(&place.2);
                page.map_keys.ends.push(page.map_keys.data.len() as u32);
            }
        }
        page
    }

    fn get_list(&mut self, state: u32) -> Result<StoredColumn, Error> {
        self.table(state, &LISTS, &[Phase::Open])?;
        let page = self.page(state, &[], &[], None, u32::MAX);
        Ok(page.values)
    }

    fn set_list(&mut self, state: u32, values: &BytesColumn) -> Result<(), Error> {
        let table = self.table(state, &LISTS, &Phase::CALLS)?;
        let items = Strings::of("items", values)?;
        table.clear(&[], &[]);
        (0..items.len()).for_each(|index| table.append(Vec::new(), &[], items.get(index), 0));
        Ok(())
    }

    fn put_broadcast(&mut self, state: u32, map_keys: &BytesColumn, values: &StoredColumn) -> Result<(), Error> {
        let table = self.table(state, &[StateKind::Broadcast], &[Phase::Broadcast])?;
        let keys = Strings::of("map keys", map_keys)?;
        let values = checked(values, table, keys.len())?;
        for (index, (version, bytes)) in values.into_iter().enumerate() {
            if keys.get(index).len() > LENGTH_MAX {
                return Err(Error::Limit(format!("a map key of {} bytes", keys.get(index).len())));
            }
            table.put((Vec::new(), Vec::new(), keys.get(index).to_vec()), version, &bytes, 0);
        }
        Ok(())
    }

    fn read_broadcast(&mut self, state: u32, from: Option<&[u8]>, bytes: u32) -> Result<Page, Error> {
        let phases = [&[Phase::Open, Phase::Idle], &Phase::CALLS[..]].concat();
        self.table(state, &[StateKind::Broadcast], &phases)?;
        Ok(self.page(state, &[], &[], from, bytes))
    }

    fn emit(&mut self, src: &[u32], values: &BytesColumn, timestamps: &[i64]) -> Result<(), Error> {
        self.calls += 1;
        let strings = Strings::of("emitted values", values)?;
        let count = strings.len();
        if (self.keying == Keying::Keep || !src.is_empty()) && src.len() != count
            || !(timestamps.is_empty() || timestamps.len() == count)
        {
            return invalid(format!("{count} values, {} sources, {} timestamps", src.len(), timestamps.len()));
        }
        for index in 0..count {
            let source = src.get(index).map(|record| *record as usize);
            let key = match (&self.keying, source) {
                (Keying::Keep, Some(record)) => {
                    self.current_slots.get(record).and_then(|slot| self.key(*slot)).cloned()
                }
                _ => None,
            };
            let inherited = source.and_then(|record| self.current_times.get(record)).copied().unwrap_or(NONE);
            let time = EventTime::from_column(timestamps.get(index).copied().unwrap_or(inherited));
            self.emitted.push(Emitted { key, value: strings.get(index).to_vec(), time });
        }
        Ok(())
    }

    fn emit_keyed(&mut self, keys: &BytesColumn, values: &BytesColumn, timestamps: &[i64]) -> Result<(), Error> {
        self.calls += 1;
        let (keys, values) = (Strings::of("emitted keys", keys)?, Strings::of("emitted values", values)?);
        if keys.len() != values.len() || !(timestamps.is_empty() || timestamps.len() == keys.len()) {
            return invalid(format!("{} keys, {} values, {} timestamps", keys.len(), values.len(), timestamps.len()));
        }
        self.emitted.extend((0..keys.len()).map(|index| Emitted {
            key: Some(keys.get(index).to_vec()),
            value: values.get(index).to_vec(),
            time: timestamps.get(index).copied().and_then(EventTime::from_column),
        }));
        Ok(())
    }
}

/// A string of a column that may be left out.
fn part(strings: Strings<'_>, index: usize) -> &[u8] {
    if strings.len() == 0 { &[] } else { strings.get(index) }
}

fn push(values: &mut StoredColumn, version: u16, bytes: &[u8]) {
    values.data.extend_from_slice(bytes);
    values.ends.push(values.data.len() as u32);
    values.versions.push(version);
}

/// Values that are written: as many as places, absent or of the current version.
fn checked(values: &StoredColumn, table: &Table, places: usize) -> Result<Vec<(u16, Vec<u8>)>, Error> {
    let stored = Stored::new("written values", values, table.descriptor.version)?;
    if stored.len() != places {
        return invalid(format!("{places} cells, {} values", stored.len()));
    }
    let values: Vec<_> = (0..places).map(|index| stored.get(index)).collect();
    if let Some((version, _)) = values.iter().find(|(version, _)| ![0, table.descriptor.version].contains(version)) {
        return invalid(format!("state \"{}\" is written in version {version}", table.descriptor.name));
    }
    Ok(values.into_iter().map(|(version, bytes)| (version, bytes.to_vec())).collect())
}

impl Host for RefCell<TestHost> {
    fn put_many(&self, state: u32, cells: &Cells, values: &StoredColumn) -> Result<(), Error> {
        self.borrow_mut().put_many(state, cells, values)
    }

    fn emit(&self, _: u32, src: &[u32], values: &BytesColumn, timestamps: &[i64]) -> Result<(), Error> {
        self.borrow_mut().emit(src, values, timestamps)
    }

    fn emit_keyed(&self, _: u32, keys: &BytesColumn, values: &BytesColumn, timestamps: &[i64]) -> Result<(), Error> {
        self.borrow_mut().emit_keyed(keys, values, timestamps)
    }

    fn log(&self, level: Level, message: &str) {
        self.borrow_mut().logs.push(LogLine { level, message: message.to_owned() });
    }

    fn count(&self, name: &str, delta: u64) {
        *self.borrow_mut().counters.entry(name.to_owned()).or_default() += delta;
    }

    fn gauge(&self, name: &str, value: f64) {
        self.borrow_mut().gauges.insert(name.to_owned(), value);
    }

    fn seldom(&self) -> &dyn Seldom {
        self
    }
}

impl Seldom for RefCell<TestHost> {
    fn get_many(&self, state: u32, cells: &Cells) -> Result<StoredColumn, Error> {
        self.borrow_mut().get_many(state, cells)
    }

    fn append_many(&self, state: u32, cells: &Cells, values: &BytesColumn) -> Result<(), Error> {
        self.borrow_mut().append_many(state, cells, values)
    }

    fn clear_many(&self, state: u32, cells: &Cells) -> Result<(), Error> {
        self.borrow_mut().clear_many(state, cells)
    }

    fn read(&self, state: u32, slot: u32, namespace: &[u8], from: Option<&[u8]>, bytes: u32) -> Result<Page, Error> {
        self.borrow_mut().read(state, slot, namespace, from, bytes)
    }

    fn get_list(&self, state: u32) -> Result<StoredColumn, Error> {
        self.borrow_mut().get_list(state)
    }

    fn set_list(&self, state: u32, values: &BytesColumn) -> Result<(), Error> {
        self.borrow_mut().set_list(state, values)
    }

    fn put_broadcast(&self, state: u32, map_keys: &BytesColumn, values: &StoredColumn) -> Result<(), Error> {
        self.borrow_mut().put_broadcast(state, map_keys, values)
    }

    fn read_broadcast(&self, state: u32, from: Option<&[u8]>, bytes: u32) -> Result<Page, Error> {
        self.borrow_mut().read_broadcast(state, from, bytes)
    }
}
