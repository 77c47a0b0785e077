//! `operator-state`: lists and broadcast maps of a task.

use wasmtime::{
    Result,
    component::{ComponentType, LinkerInstance, Lower},
};

use super::{Ctx, host};
use crate::{
    operator::BroadcastPage,
    state::StoredColumn,
    stream::BytesColumn,
    wasm::{
        instance::Host,
        wit::{Error, GuestColumn, GuestStored, OwnedStored},
    },
};

/// The functions that `add_to_linker` provides.
pub(super) const FUNCTIONS: &[&str] = &["get-list", "set-list", "get-broadcast", "put-broadcast", "read-broadcast"];

#[derive(ComponentType, Lower)]
#[component(record)]
struct OwnedColumn {
    data: Vec<u8>,
    ends: Vec<u32>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Page {
    #[component(name = "map-keys")]
    map_keys: OwnedColumn,
    values: OwnedStored,
    next: Option<Vec<u8>>,
}

impl From<BroadcastPage> for Page {
    fn from(page: BroadcastPage) -> Self {
        Self { map_keys: owned_column(&page.map_keys), values: owned(page.values), next: page.next }
    }
}

fn owned_column(column: &BytesColumn) -> OwnedColumn {
    OwnedColumn { data: column.data().to_vec(), ends: column.ends().to_vec() }
}

fn owned(column: StoredColumn) -> OwnedStored {
    let OwnedColumn { data, ends } = owned_column(&column.values);
    OwnedStored { data, ends, versions: column.versions }
}

pub(super) fn add_to_linker(state: &mut LinkerInstance<'_, Host>) -> Result<()> {
    state.func_wrap("get-list", |mut ctx: Ctx<'_>, (number,): (u32,)| {
        Ok((host(&mut ctx, |exchange, _| exchange.get_list(number).map(owned).map_err(Error::from)),))
    })?;
    state.func_wrap("set-list", |mut ctx: Ctx<'_>, (number, values): (u32, GuestColumn)| {
        Ok((host(&mut ctx, |exchange, ctx| {
            let (data, ends) = (values.data.as_le_slice(ctx), values.ends.as_le_slice(ctx));
            exchange.set_list(number, data, ends).map_err(Error::from)
        }),))
    })?;
    state.func_wrap("get-broadcast", |mut ctx: Ctx<'_>, (number, map_keys): (u32, GuestColumn)| {
        Ok((host(&mut ctx, |exchange, ctx| {
            let (data, ends) = (map_keys.data.as_le_slice(ctx), map_keys.ends.as_le_slice(ctx));
            exchange.get_broadcast(number, data, ends).map(owned).map_err(Error::from)
        }),))
    })?;
    type Put = (u32, GuestColumn, GuestStored);
    state.func_wrap("put-broadcast", |mut ctx: Ctx<'_>, (number, map_keys, values): Put| {
        Ok((host(&mut ctx, |exchange, ctx| {
            let keys = (map_keys.data.as_le_slice(ctx), map_keys.ends.as_le_slice(ctx));
            let versions = values.versions.as_le_slice(ctx);
            let values = (values.data.as_le_slice(ctx), values.ends.as_le_slice(ctx), versions);
            exchange.put_broadcast(number, keys, values).map_err(Error::from)
        }),))
    })?;
    type Read = (u32, Option<Vec<u8>>, u32);
    state.func_wrap("read-broadcast", |mut ctx: Ctx<'_>, (number, from, bytes): Read| {
        Ok((host(&mut ctx, |exchange, _| {
            exchange.read_broadcast(number, from.as_deref(), bytes).map(Page::from).map_err(Error::from)
        }),))
    })
}
