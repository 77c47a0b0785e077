//! What a guest may call.
//!
//! The functions that run once per batch borrow the guest's columns without copying them out (`WasmList::as_le_slice`). A slice borrows the store, so what is changed lies
//! behind a `RefCell` in the store's data. Time spent here does not count against the guest's budget.

mod collections;

use std::time::Instant;

mod operator_state;

use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, LinkerInstance, Resource, ResourceType},
};

use super::{
    instance::Host,
    wit::{Cells, Error, GuestColumn, GuestStored, Level, OwnedStored, Page, TaskInfo},
};
use crate::{
    operator::{CellColumns, Exchange, StateKind, Strings},
    stream::{BytesColumn, hash_key, key_group},
};

type Ctx<'a> = StoreContextMut<'a, Host>;

/// The interfaces of our package that a plugin may import, with the functions that this version has. `add_to_linker` provides exactly these.
pub(super) const PROVIDED: &[(&str, &[&str])] = &[
    ("wasmill:operator/types@0.1.0", &[]),
    (
        "wasmill:operator/keyed-state@0.1.0",
        &[
            "get-many",
            "put-many",
            "append-many",
            "clear-many",
            "read",
            "slot-of",
            "key-of",
            "value-state",
            "[constructor]value-state",
            "[method]value-state.get",
            "[method]value-state.set",
            "[method]value-state.clear",
            "reducing-state",
            "[constructor]reducing-state",
            "[method]reducing-state.get",
            "[method]reducing-state.set",
            "[method]reducing-state.clear",
            "aggregating-state",
            "[constructor]aggregating-state",
            "[method]aggregating-state.get",
            "[method]aggregating-state.set",
            "[method]aggregating-state.clear",
            "list-state",
            "[constructor]list-state",
            "[method]list-state.get",
            "[method]list-state.add",
            "[method]list-state.clear",
            "map-state",
            "[constructor]map-state",
            "[method]map-state.get",
            "[method]map-state.set",
            "[method]map-state.remove",
            "[method]map-state.entries",
            "[method]map-state.clear",
        ],
    ),
    ("wasmill:operator/operator-state@0.1.0", operator_state::FUNCTIONS),
    ("wasmill:operator/output@0.1.0", &["emit", "emit-keyed"]),
    ("wasmill:operator/logging@0.1.0", &["log"]),
    ("wasmill:operator/metrics@0.1.0", &["count", "gauge"]),
    ("wasmill:operator/runtime-context@0.1.0", &["task", "now", "report-panic"]),
];

pub(super) fn add_to_linker(linker: &mut Linker<Host>) -> Result<()> {
    linker.instance("wasmill:operator/types@0.1.0")?;
    add_keyed_state(&mut linker.instance("wasmill:operator/keyed-state@0.1.0")?)?;
    operator_state::add_to_linker(&mut linker.instance("wasmill:operator/operator-state@0.1.0")?)?;
    add_output(&mut linker.instance("wasmill:operator/output@0.1.0")?)?;
    let mut logging = linker.instance("wasmill:operator/logging@0.1.0")?;
    logging.func_wrap("log", |mut ctx: Ctx<'_>, (level, context, message): (Level, String, String)| {
        host(&mut ctx, |exchange, _| exchange.log(level.into(), &context, &message));
        Ok(())
    })?;
    let mut metrics = linker.instance("wasmill:operator/metrics@0.1.0")?;
    metrics.func_wrap("count", |mut ctx: Ctx<'_>, (name, delta): (String, u64)| {
        host(&mut ctx, |exchange, _| exchange.count(&name, delta));
        Ok(())
    })?;
    metrics.func_wrap("gauge", |mut ctx: Ctx<'_>, (name, value): (String, f64)| {
        host(&mut ctx, |exchange, _| exchange.gauge(&name, value));
        Ok(())
    })?;
    let mut context = linker.instance("wasmill:operator/runtime-context@0.1.0")?;
    context.func_wrap("task", |ctx: Ctx<'_>, (): ()| Ok((TaskInfo::from(&ctx.data().task),)))?;
    context.func_wrap("now", |ctx: Ctx<'_>, (): ()| Ok((ctx.data().now(),)))?;
    context.func_wrap("report-panic", |mut ctx: Ctx<'_>, (message, index): (String, Option<u32>)| {
        host(&mut ctx, |exchange, _| exchange.report_panic(&message, index));
        Ok(())
    })?;
    Ok(())
}

/// Runs `work` on the exchange, on the host's time.
#[inline]
fn host<R>(ctx: &mut Ctx<'_>, work: impl FnOnce(&mut Exchange, &Ctx<'_>) -> R) -> R {
    let began = Instant::now();
    let result = work(&mut ctx.data().exchange.borrow_mut(), ctx);
    ctx.data_mut().clock.add_host_time(began.elapsed());
    result
}

fn add_output(output: &mut LinkerInstance<'_, Host>) -> Result<()> {
    type Emit = (u32, wasmtime::component::WasmList<u32>, GuestColumn, wasmtime::component::WasmList<i64>);
    output.func_wrap("emit", |mut ctx: Ctx<'_>, (output, src, values, times): Emit| {
        Ok((host(&mut ctx, |exchange, ctx| {
            let (data, ends) = (values.data.as_le_slice(ctx), values.ends.as_le_slice(ctx));
            exchange.emit(output, src.as_le_slice(ctx), data, ends, times.as_le_slice(ctx)).map_err(Error::from)
        }),))
    })?;
    type EmitKeyed = (u32, GuestColumn, GuestColumn, wasmtime::component::WasmList<i64>);
    output.func_wrap("emit-keyed", |mut ctx: Ctx<'_>, (output, keys, values, times): EmitKeyed| {
        Ok((host(&mut ctx, |exchange, ctx| {
            let keys = (keys.data.as_le_slice(ctx), keys.ends.as_le_slice(ctx));
            let (data, ends) = (values.data.as_le_slice(ctx), values.ends.as_le_slice(ctx));
            exchange.emit_keyed(output, keys, data, ends, times.as_le_slice(ctx)).map_err(Error::from)
        }),))
    })
}

fn add_keyed_state(state: &mut LinkerInstance<'_, Host>) -> Result<()> {
    state.func_wrap("get-many", |mut ctx: Ctx<'_>, (number, cells): (u32, Cells)| {
        Ok((host(&mut ctx, |exchange, ctx| {
            Ok::<_, Error>(OwnedStored::from(exchange.get_cells(number, columns(&cells, ctx))?))
        }),))
    })?;
    state.func_wrap("put-many", |mut ctx: Ctx<'_>, (number, cells, values): (u32, Cells, GuestStored)| {
        Ok((host(&mut ctx, |exchange, ctx| {
            let versions = values.versions.as_le_slice(ctx);
            let values = Strings { data: values.data.as_le_slice(ctx), ends: values.ends.as_le_slice(ctx) };
            exchange.put_cells(number, columns(&cells, ctx), values, versions).map_err(Error::from)
        }),))
    })?;
    state.func_wrap("append-many", |mut ctx: Ctx<'_>, (number, cells, values): (u32, Cells, GuestColumn)| {
        Ok((host(&mut ctx, |exchange, ctx| {
            exchange.append_many(number, columns(&cells, ctx), strings(&values, ctx)).map_err(Error::from)
        }),))
    })?;
    state.func_wrap("clear-many", |mut ctx: Ctx<'_>, (number, cells): (u32, Cells)| {
        Ok((host(&mut ctx, |exchange, ctx| exchange.clear_many(number, columns(&cells, ctx)).map_err(Error::from)),))
    })?;
    type Read = (u32, u32, Vec<u8>, Option<Vec<u8>>, u32);
    state.func_wrap("read", |mut ctx: Ctx<'_>, (number, slot, namespace, from, bytes): Read| {
        Ok((host(&mut ctx, |exchange, ctx| {
            let page = exchange.read(number, slot, &namespace, from.as_deref(), bytes)?;
            let is_list = ctx.data().state_kinds.get(number as usize) == Some(&StateKind::KeyedList);
            let map_keys = if is_list { BytesColumn::default() } else { page.rests };
            Ok::<_, Error>(Page::new(&map_keys, page.values, page.next))
        }),))
    })?;
    state.func_wrap("slot-of", |mut ctx: Ctx<'_>, (key,): (Vec<u8>,)| {
        Ok((host(&mut ctx, |exchange, ctx| {
            let task = &ctx.data().task;
            if !task.key_groups.contains(&key_group(hash_key(&key), task.max_parallelism)) {
                return Err(Error::NotOwned);
            }
            exchange.slot_of(&key).map_err(Error::from)
        }),))
    })?;
    state.func_wrap("key-of", |mut ctx: Ctx<'_>, (slot,): (u32,)| {
        Ok((host(&mut ctx, |exchange, _| exchange.key_of(slot).map_err(Error::from)),))
    })?;
    add_point_state::<ValueState>(state, "value-state", StateKind::Value)?;
    add_point_state::<ReducingState>(state, "reducing-state", StateKind::Reducing)?;
    add_point_state::<AggregatingState>(state, "aggregating-state", StateKind::Aggregating)?;
    collections::add_list_state(state)?;
    collections::add_map_state(state)
}

fn strings<'a>(column: &'a GuestColumn, ctx: &'a Ctx<'_>) -> Strings<'a> {
    Strings { data: column.data.as_le_slice(ctx), ends: column.ends.as_le_slice(ctx) }
}

fn columns<'a>(cells: &'a Cells, ctx: &'a Ctx<'_>) -> CellColumns<'a> {
    CellColumns {
        slots: cells.slots.as_le_slice(ctx),
        namespaces: strings(&cells.namespaces, ctx),
        map_keys: strings(&cells.map_keys, ctx),
    }
}

/// Tags for the resource types. A handle's representation is the number of its state.
struct ValueState;
struct ReducingState;
struct AggregatingState;

/// Adds a resource type and its constructor, which takes the number of a state of this kind.
fn add_resource<R: 'static>(state: &mut LinkerInstance<'_, Host>, name: &str, kind: StateKind) -> Result<()> {
    state.resource(name, ResourceType::host::<R>(), |_, _| Ok(()))?;
    state.func_wrap(&format!("[constructor]{name}"), move |ctx: Ctx<'_>, (number,): (u32,)| {
        let found = ctx.data().state_kinds.get(number as usize);
        if found != Some(&kind) {
            wasmtime::bail!("state {number} is not a {kind} state of the descriptor");
        }
        Ok((Resource::<R>::new_own(number),))
    })
}

fn add_point_state<R: 'static>(state: &mut LinkerInstance<'_, Host>, name: &str, kind: StateKind) -> Result<()> {
    add_resource::<R>(state, name, kind)?;
    state.func_wrap(&format!("[method]{name}.get"), |mut ctx: Ctx<'_>, (this, slot): (Resource<R>, u32)| {
        Ok((host(&mut ctx, |exchange, _| {
            let column = exchange.get_many(this.rep(), &[slot])?;
            Ok::<_, Error>((column.versions.first() != Some(&0)).then(|| column.values.get(0).to_vec()))
        }),))
    })?;
    state.func_wrap(
        &format!("[method]{name}.set"),
        |mut ctx: Ctx<'_>, (this, slot, value): (Resource<R>, u32, Vec<u8>)| {
            let ends = [u32::try_from(value.len()).unwrap_or(u32::MAX)];
            Ok((host(&mut ctx, |exchange, _| {
                exchange.put_many(this.rep(), &[slot], &value, &ends, &[]).map_err(Error::from)
            }),))
        },
    )?;
    state.func_wrap(&format!("[method]{name}.clear"), |mut ctx: Ctx<'_>, (this, slot): (Resource<R>, u32)| {
        Ok(
            (host(&mut ctx, |exchange, _| {
                exchange.put_many(this.rep(), &[slot], &[], &[0], &[0]).map_err(Error::from)
            }),),
        )
    })
}
