//! `wasmill state get`.
//!
//! Entries come in the order of namespaces, and those of one list or map follow one another, so they are put together as they come: one JSON text for each place, a *place* being the
//! key in one namespace, or one task's list.

use std::io::Write;

use anyhow::bail;

use super::{find, open, show::Shower};
use crate::{
    cli::{EXIT_DONE, args::StateGetArgs, show},
    job::{DescribedState, Entries, StoredEntry},
    operator::StateKind,
    stream::schema::TypedError,
};

/// The value of one place as JSON.
struct Place {
    /// Of operator lists.
    task: Option<u32>,
    namespace: Vec<u8>,
    value: Vec<u8>,
}

pub(super) fn get(args: StateGetArgs) -> anyhow::Result<u8> {
    let StateGetArgs { of, key, json } = args;
    let stored = open(&of.place)?;
    let (operator, state) = find(&stored, &of)?;
    let wanted = Wanted::read(state, key.as_deref())?;
    let entries = match &wanted {
        Wanted::Key(key) => stored.entries_of_key(operator, state, key),
        Wanted::MapKey(_) | Wanted::All => stored.entries(operator, state),
    };
    let places = gather(state, &wanted, entries)?;
    if places.is_empty() {
        let typed = key.map_or_else(String::new, |key| format!(" for {key}"));
        show::say(&format!("state {} of operator {} has nothing{typed}", state.name, operator.id));
    }
    // Namespaces are shown where there are any: most state has none.
    let in_places = places.iter().any(|place| place.task.is_some() || !place.namespace.is_empty());
    let shower = Shower::new(state);
    let mut text = Vec::new();
    if json {
        text.extend_from_slice(b"[");
    }
    for (index, place) in places.iter().enumerate() {
        if json && index > 0 {
            text.push(b',');
        }
        if in_places || json {
            place.append(&shower, &mut text)?;
        } else {
            text.extend_from_slice(&place.value);
        }
        if !json {
            text.push(b'\n');
        }
    }
    if json {
        text.extend_from_slice(b"]\n");
    }
    show::out(|out| out.write_all(&text))?;
    Ok(EXIT_DONE)
}

/// Which entries are shown.
enum Wanted {
    /// Those of a key.
    Key(Vec<u8>),
    /// The one of a broadcast map.
    MapKey(Vec<u8>),
    All,
}

impl Wanted {
    fn read(state: &DescribedState, typed: Option<&str>) -> anyhow::Result<Self> {
        let name = &state.name;
        match (&state.key, &state.map_key, typed) {
            (Some(schema), _, Some(typed)) => {
                schema.bytes_of_typed(typed).map(Self::Key).map_err(|error| wrong_key(state, "keys", &error))
            }
            (Some(schema), _, None) => {
                bail!("state {name} belongs to keys: give the KEY, {schema}, or see all by `wasmill state export`")
            }
            (None, Some(schema), Some(typed)) => {
                schema.map_key_of_typed(typed).map(Self::MapKey).map_err(|error| wrong_key(state, "map keys", &error))
            }
            (None, None, Some(_)) => {
                bail!("state {name} is a list of each task, which has no keys; leave out KEY to see it whole")
            }
            (None, _, None) => Ok(Self::All),
        }
    }
}

fn wrong_key(state: &DescribedState, what: &str, error: &TypedError) -> anyhow::Error {
    anyhow::anyhow!("the {what} of state {} are something else: {error}", state.name)
}

/// Puts entries together.
fn gather(state: &DescribedState, wanted: &Wanted, mut entries: Entries<'_>) -> anyhow::Result<Vec<Place>> {
    let shower = Shower::new(state);
    let is_list = matches!(state.kind, StateKind::KeyedList | StateKind::OperatorList | StateKind::OperatorUnion);
    // One entry of a broadcast map is shown as a value alone.
    let brackets = match wanted {
        Wanted::MapKey(_) => None,
        _ if state.kind.is_map() => Some(if shower.has_names() { [b'{', b'}'] } else { [b'[', b']'] }),
        _ => is_list.then_some([b'[', b']']),
    };
    let mut places: Vec<Place> = Vec::new();
    while let Some(entry) = entries.next()? {
        if matches!(wanted, Wanted::MapKey(map_key) if map_key != entry.entry) {
            continue;
        }
        let task = (is_list && !state.kind.is_keyed()).then_some(entry.task);
        let same = places.last().is_some_and(|place| place.task == task && place.namespace == entry.namespace);
        if !same {
            let value = brackets.map_or_else(Vec::new, |[open, _]| vec![open]);
            places.push(Place { task, namespace: entry.namespace.to_vec(), value });
        } else if let Some(place) = places.last_mut() {
            place.value.push(b',');
        }
        let place = places.last_mut().expect("one was pushed if there was none");
        append(state, wanted, &shower, &entry, &mut place.value)?;
    }
    for place in &mut places {
        place.value.extend(brackets.map(|[_, close]| close));
    }
    Ok(places)
}

fn append(
    state: &DescribedState,
    wanted: &Wanted,
    shower: &Shower<'_>,
    entry: &StoredEntry<'_>,
    out: &mut Vec<u8>,
) -> anyhow::Result<()> {
    if state.kind.is_map() && !matches!(wanted, Wanted::MapKey(_)) {
        shower.member(entry, out)?;
    } else {
        shower.value(entry, out)?;
    }
    Ok(())
}

impl Place {
    /// Appends an object with what the place is and its value.
    fn append(&self, shower: &Shower<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        out.push(b'{');
        if let Some(task) = self.task {
            out.extend_from_slice(format!("\"task\":{task},").as_bytes());
        }
        if !self.namespace.is_empty() {
            out.extend_from_slice(b"\"namespace\":");
            shower.namespace(&self.namespace, out)?;
            out.push(b',');
        }
        out.extend_from_slice(b"\"value\":");
        out.extend_from_slice(&self.value);
        out.push(b'}');
        Ok(())
    }
}
