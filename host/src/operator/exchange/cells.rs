//! Keyed state in cells: maps, lists, and point states in namespaces. What a call writes here is made at once and taken back when the call fails, so reads see it.

use super::{Exchange, Phase, STAGED_CALL_BYTES};
use crate::{
    operator::stage_error::{StageError, no_keys, no_state, quiet, too_large, unknown_slot},
    state::{
        Form, MAP_KEY_BYTES_MAX, NAMESPACE_BYTES_MAX, Page, PlaceOf, SpillError, StateError, StateSpec, StoredColumn,
    },
    stream::Fault,
};

/// Byte strings as a guest hands them over: end to end, and where each ends. Nothing of it is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strings<'a> {
    /// All strings.
    pub data: &'a [u8],
    /// Where each ends.
    pub ends: &'a [u32],
}

/// Where entries are, as a guest says it: a column without strings means that no entry has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct CellColumns<'a> {
    /// The slot of each entry's key.
    pub slots: &'a [u32],
    /// The namespace of each entry.
    pub namespaces: Strings<'a>,
    /// The map key of each entry.
    pub map_keys: Strings<'a>,
}

impl CellColumns<'_> {
    /// Only slots are given.
    #[inline]
    pub fn are_plain(&self) -> bool {
        self.namespaces.ends.is_empty() && self.map_keys.ends.is_empty()
    }
}

impl<'a> Strings<'a> {
    /// Checks that the ends fit the data, and that no string is longer than `most`.
    fn check(&self, function: &str, what: &str, most: usize) -> Result<(), StageError> {
        let mut last = 0;
        for end in self.ends {
            if *end < last || *end as usize > self.data.len() {
                return Err(StageError::Malformed(format!("{function}, {what}: the ends do not fit the data")));
            }
            if (*end - last) as usize > most {
                return Err(too_large(&format!("one of the {what}"), (*end - last) as usize, most));
            }
            last = *end;
        }
        if last as usize == self.data.len() {
            return Ok(());
        }
        Err(StageError::Malformed(format!("{function}, {what}: the ends do not fit the data")))
    }

    /// String `index`; empty when there are none at all.
    fn get(&self, index: usize) -> &'a [u8] {
        let Some(end) = self.ends.get(index) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.data[start as usize..*end as usize]
    }
}

/// What a function does with a state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// One value per cell.
    Values,
    /// Elements at the end of lists.
    Elements,
    /// Everything of a key and namespace.
    Whole,
}

impl Exchange {
    /// Reads one value per cell of a value, reducing, aggregating or map state, with the call's own writes.
    ///
    /// # Errors
    /// [`StageError`] for what is not there, and for cells that do not fit the state.
    pub fn get_cells(&mut self, state: u32, cells: CellColumns<'_>) -> Result<StoredColumn, StageError> {
        if cells.are_plain() && self.state.column_of(state).is_some() {
            return self.get_many(state, cells.slots);
        }
        let spec = self.check_cells("get-many", state, cells, Use::Values)?;
        let mut column = StoredColumn::default();
        for (index, slot) in cells.slots.iter().enumerate() {
            let (namespace, map_key) = (cells.namespaces.get(index), cells.map_keys.get(index));
            if spec.form == Form::Point && namespace.is_empty() {
                let one = self.get_many(state, &[*slot])?;
                column.versions.push(one.versions[0]);
                column.values.push(one.values.get(0));
            } else {
                let place = PlaceOf { state, slot: *slot, namespace };
                self.state.get_cell(place, map_key, &mut column).map_err(|error| self.state_failed(error))?;
            }
            if column.values.bytes() > self.limits.staged_bytes_max {
                let most = self.limits.staged_bytes_max;
                return Err(StageError::Limit(format!(
                    "get-many was asked for more than {most} bytes (limits.output)"
                )));
            }
        }
        Ok(column)
    }

    /// Writes one value per cell of a value, reducing, aggregating or map state; version 0 clears. `versions` is empty when all have the current version.
    ///
    /// # Errors
    /// [`StageError`]; the call will be rolled back.
    pub fn put_cells(
        &mut self,
        state: u32,
        cells: CellColumns<'_>,
        values: Strings<'_>,
        versions: &[u16],
    ) -> Result<(), StageError> {
        if cells.are_plain() && self.state.column_of(state).is_some() {
            return self.put_many(state, cells.slots, values.data, values.ends, versions);
        }
        let put = self.put_into_cells(state, cells, values, versions);
        self.condemned(put)
    }

    fn put_into_cells(
        &mut self,
        state: u32,
        cells: CellColumns<'_>,
        values: Strings<'_>,
        versions: &[u16],
    ) -> Result<(), StageError> {
        let spec = self.check_cells("put-many", state, cells, Use::Values)?;
        self.check_values("put-many", cells, values)?;
        if !(versions.is_empty() || versions.len() == cells.slots.len()) {
            let (slots, versions) = (cells.slots.len(), versions.len());
            return Err(StageError::Malformed(format!("put-many was given {slots} slots and {versions} versions")));
        }
        if let Some(version) = versions.iter().find(|version| **version != 0 && **version != spec.version) {
            let current = spec.version;
            return Err(StageError::Malformed(format!(
                "put-many was given schema version {version}, but the state has version {current}"
            )));
        }
        for (index, slot) in cells.slots.iter().enumerate() {
            let (namespace, map_key) = (cells.namespaces.get(index), cells.map_keys.get(index));
            let value = values.get(index);
            let version = versions.get(index).copied().unwrap_or(spec.version);
            if version == 0 && !value.is_empty() {
                return Err(StageError::Malformed(
                    "put-many was given bytes with schema version 0, which clears".into(),
                ));
            }
            if spec.form == Form::Point && namespace.is_empty() {
                self.put_many(state, &[*slot], value, &[value.len() as u32], &[version])?;
            } else {
                let place = PlaceOf { state, slot: *slot, namespace };
                self.state.put_cell(place, map_key, version, value).map_err(|error| unknown_slot(error.0))?;
            }
        }
        Ok(())
    }

    /// Appends one element per cell to its list.
    ///
    /// # Errors
    /// [`StageError`]; the call will be rolled back.
    pub fn append_many(&mut self, state: u32, cells: CellColumns<'_>, values: Strings<'_>) -> Result<(), StageError> {
        let appended = self.check_cells("append-many", state, cells, Use::Elements).and_then(|spec| {
            self.check_values("append-many", cells, values)?;
            for (index, slot) in cells.slots.iter().enumerate() {
                let place = PlaceOf { state, slot: *slot, namespace: cells.namespaces.get(index) };
                self.state.append(place, spec.version, values.get(index)).map_err(|error| unknown_slot(error.0))?;
            }
            Ok(())
        });
        self.condemned(appended)
    }

    /// Clears everything that a state holds for each slot and namespace.
    ///
    /// # Errors
    /// [`StageError`]; the call will be rolled back.
    pub fn clear_many(&mut self, state: u32, cells: CellColumns<'_>) -> Result<(), StageError> {
        let cleared = self.check_cells("clear-many", state, cells, Use::Whole).and_then(|spec| {
            self.stage_bytes(STAGED_CALL_BYTES + cells.slots.len() * 8)?;
            for (index, slot) in cells.slots.iter().enumerate() {
                let namespace = cells.namespaces.get(index);
                if spec.form == Form::Point && namespace.is_empty() {
                    self.put_many(state, &[*slot], &[], &[0], &[0])?;
                } else {
                    let place = PlaceOf { state, slot: *slot, namespace };
                    self.state.clear(place).map_err(|error| unknown_slot(error.0))?;
                }
            }
            Ok(())
        });
        self.condemned(cleared)
    }

    /// Reads a list or map, a page at a time.
    ///
    /// # Errors
    /// [`StageError`] for what is not there, and for a state that is neither list nor map.
    pub fn read(
        &mut self,
        state: u32,
        slot: u32,
        namespace: &[u8],
        from: Option<&[u8]>,
        bytes: u32,
    ) -> Result<Page, StageError> {
        let ends = [namespace.len() as u32];
        let namespaces =
            if namespace.is_empty() { Strings::default() } else { Strings { data: namespace, ends: &ends } };
        let cells = CellColumns { slots: &[slot], namespaces, map_keys: Strings::default() };
        let spec = self.check_cells("read", state, cells, Use::Whole)?;
        if spec.form == Form::Point {
            return Err(StageError::Malformed(format!(
                "read was asked for state {state}, which is neither list nor map"
            )));
        }
        let from = from.unwrap_or_default();
        if from.len() > MAP_KEY_BYTES_MAX {
            return Err(StageError::Malformed("read was given a beginning that no page gave".into()));
        }
        let bytes = (bytes as usize).min(self.limits.staged_bytes_max);
        let place = PlaceOf { state, slot, namespace };
        let page = self.state.read(place, from, bytes).map_err(|error| self.state_failed(error))?;
        if spec.ttl.is_some_and(|ttl| ttl.on_read) {
            // What was read is written anew.
            self.stage_bytes(STAGED_CALL_BYTES + page.rests.bytes() + page.values.values.bytes())?;
        }
        Ok(page)
    }

    /// The column and the schema version of a point state.
    #[inline]
    pub(super) fn point_state(&self, function: &str, state: u32) -> Result<(u32, u16), StageError> {
        self.check_phase(function)?;
        match (self.state.column_of(state), self.state.spec(state)) {
            (Some(column), Some(spec)) => Ok((column, spec.version)),
            (None, Some(_)) => Err(StageError::Malformed(format!(
                "state {state} is a list or map: its cells have map keys, or are read"
            ))),
            _ => Err(no_state(state)),
        }
    }

    /// Remembers that what lies behind the memory failed: the call fails with it, and so does the job.
    pub(super) fn failed(&mut self, error: SpillError) -> StageError {
        self.verdict = Some(Fault::new(error.fault_kind(), error.to_string()));
        StageError::State(error.to_string())
    }

    fn state_failed(&mut self, error: StateError) -> StageError {
        match error {
            StateError::Slot(error) => unknown_slot(error.0),
            StateError::Spill(error) => self.failed(error),
        }
    }

    fn condemned(&mut self, result: Result<(), StageError>) -> Result<(), StageError> {
        if let Err(error) = &result {
            self.condemn(error);
        }
        result
    }

    /// Keyed state may be used in this call.
    #[inline]
    fn check_phase(&self, function: &str) -> Result<(), StageError> {
        if !self.phase.is_transaction() || self.phase == Phase::Snapshot {
            return Err(quiet(function));
        }
        if self.phase.is_without_keys() { Err(no_keys(function)) } else { Ok(()) }
    }

    /// Checks everything but values: the state is one for this use, and the columns fit it and each other.
    fn check_cells(
        &self,
        function: &str,
        state: u32,
        cells: CellColumns<'_>,
        to: Use,
    ) -> Result<StateSpec, StageError> {
        self.check_phase(function)?;
        let Some(spec) = self.state.spec(state).copied() else { return Err(no_state(state)) };
        let fits = match (to, spec.form) {
            (Use::Values, form) => form != Form::List,
            (Use::Elements, form) => form == Form::List,
            (Use::Whole, _) => true,
        };
        if !fits {
            return Err(StageError::Malformed(format!("{function} is not for state {state}, by its kind")));
        }
        let (slots, namespaces, map_keys) = (cells.slots.len(), cells.namespaces.ends.len(), cells.map_keys.ends.len());
        let wanted = if to == Use::Values && spec.form == Form::Map { slots } else { 0 };
        if !(namespaces == 0 || namespaces == slots) || map_keys != wanted {
            return Err(StageError::Malformed(format!(
                "{function} was given {slots} slots, {namespaces} namespaces and {map_keys} map keys for state {state}"
            )));
        }
        cells.namespaces.check(function, "namespaces", NAMESPACE_BYTES_MAX)?;
        cells.map_keys.check(function, "map keys", MAP_KEY_BYTES_MAX)?;
        match cells.slots.iter().find(|slot| !self.state.table().may_address(**slot)) {
            Some(slot) => Err(unknown_slot(*slot)),
            None => Ok(spec),
        }
    }

    fn check_values(&mut self, function: &str, cells: CellColumns<'_>, values: Strings<'_>) -> Result<(), StageError> {
        if values.ends.len() != cells.slots.len() {
            let (slots, values) = (cells.slots.len(), values.ends.len());
            return Err(StageError::Malformed(format!("{function} was given {slots} slots and {values} values")));
        }
        values.check(function, "values", self.limits.value_bytes_max)?;
        let cells = cells.slots.len() * 8 + cells.namespaces.data.len() + cells.map_keys.data.len();
        self.stage_bytes(STAGED_CALL_BYTES + cells + values.data.len() + values.ends.len() * 8)
    }
}
