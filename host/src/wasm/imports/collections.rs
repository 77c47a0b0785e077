//! The resources `list-state` and `map-state`: plain methods over a whole list or map, for bindings that like them.

use wasmtime::{
    Result,
    component::{LinkerInstance, Resource},
};

use super::{Ctx, Error, add_resource, host};
use crate::{
    operator::{CellColumns, Exchange, StateKind, Strings},
    state::Page,
    wasm::instance::Host,
};

/// Tags for the resource types. A handle's representation is the number of its state.
struct ListState;
struct MapState;

/// How much of a list or map is read at a time.
const PAGE_BYTES: u32 = 1 << 20;

pub(super) fn add_list_state(state: &mut LinkerInstance<'_, Host>) -> Result<()> {
    type This = Resource<ListState>;
    add_resource::<ListState>(state, "list-state", StateKind::KeyedList)?;
    state.func_wrap("[method]list-state.get", |mut ctx: Ctx<'_>, (this, slot): (This, u32)| {
        Ok((host(&mut ctx, |exchange, _| {
            let mut all = Vec::new();
            read_all(exchange, this.rep(), slot, |page| all.extend(page.values.values.iter().map(<[u8]>::to_vec)))?;
            Ok::<_, Error>(all)
        }),))
    })?;
    state.func_wrap("[method]list-state.add", |mut ctx: Ctx<'_>, (this, slot, value): (This, u32, Vec<u8>)| {
        let ends = [u32::try_from(value.len()).unwrap_or(u32::MAX)];
        Ok((host(&mut ctx, |exchange, _| {
            let cells = CellColumns { slots: &[slot], ..CellColumns::default() };
            exchange.append_many(this.rep(), cells, Strings { data: &value, ends: &ends }).map_err(Error::from)
        }),))
    })?;
    state.func_wrap("[method]list-state.clear", |mut ctx: Ctx<'_>, (this, slot): (This, u32)| {
        Ok((host(&mut ctx, |exchange, _| clear(exchange, this.rep(), slot)),))
    })
}

pub(super) fn add_map_state(state: &mut LinkerInstance<'_, Host>) -> Result<()> {
    type This = Resource<MapState>;
    add_resource::<MapState>(state, "map-state", StateKind::KeyedMap)?;
    state.func_wrap("[method]map-state.get", |mut ctx: Ctx<'_>, (this, slot, map_key): (This, u32, Vec<u8>)| {
        let ends = [u32::try_from(map_key.len()).unwrap_or(u32::MAX)];
        Ok((host(&mut ctx, |exchange, _| {
            let map_keys = Strings { data: &map_key, ends: &ends };
            let cells = CellColumns { slots: &[slot], map_keys, ..CellColumns::default() };
            let column = exchange.get_cells(this.rep(), cells)?;
            Ok::<_, Error>((column.versions.first() != Some(&0)).then(|| column.values.get(0).to_vec()))
        }),))
    })?;
    type Set = (This, u32, Vec<u8>, Vec<u8>);
    state.func_wrap("[method]map-state.set", |mut ctx: Ctx<'_>, (this, slot, map_key, value): Set| {
        Ok((host(&mut ctx, |exchange, _| put(exchange, this.rep(), slot, &map_key, &value, &[])),))
    })?;
    state.func_wrap("[method]map-state.remove", |mut ctx: Ctx<'_>, (this, slot, map_key): (This, u32, Vec<u8>)| {
        Ok((host(&mut ctx, |exchange, _| put(exchange, this.rep(), slot, &map_key, &[], &[0])),))
    })?;
    state.func_wrap("[method]map-state.entries", |mut ctx: Ctx<'_>, (this, slot): (This, u32)| {
        Ok((host(&mut ctx, |exchange, _| {
            let mut all = Vec::new();
            read_all(exchange, this.rep(), slot, |page| {
                let entries = page.rests.iter().zip(page.values.values.iter());
                all.extend(entries.map(|(map_key, value)| (map_key.to_vec(), value.to_vec())));
            })?;
            Ok::<_, Error>(all)
        }),))
    })?;
    state.func_wrap("[method]map-state.clear", |mut ctx: Ctx<'_>, (this, slot): (This, u32)| {
        Ok((host(&mut ctx, |exchange, _| clear(exchange, this.rep(), slot)),))
    })
}

fn put(
    exchange: &mut Exchange,
    state: u32,
    slot: u32,
    map_key: &[u8],
    value: &[u8],
    versions: &[u16],
) -> Result<(), Error> {
    let end = |bytes: &[u8]| [u32::try_from(bytes.len()).unwrap_or(u32::MAX)];
    let (key_ends, value_ends) = (end(map_key), end(value));
    let map_keys = Strings { data: map_key, ends: &key_ends };
    let cells = CellColumns { slots: &[slot], map_keys, ..CellColumns::default() };
    exchange.put_cells(state, cells, Strings { data: value, ends: &value_ends }, versions).map_err(Error::from)
}

fn clear(exchange: &mut Exchange, state: u32, slot: u32) -> Result<(), Error> {
    exchange.clear_many(state, CellColumns { slots: &[slot], ..CellColumns::default() }).map_err(Error::from)
}

/// Hands all pages of a list or map to `take`.
fn read_all(exchange: &mut Exchange, state: u32, slot: u32, mut take: impl FnMut(&Page)) -> Result<(), Error> {
    let mut from = None;
    loop {
        let page = exchange.read(state, slot, &[], from.as_deref(), PAGE_BYTES)?;
        take(&page);
        let Some(next) = page.next else { return Ok(()) };
        from = Some(next);
    }
}
