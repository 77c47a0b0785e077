//! `--set path=value`.
//!
//! A path addresses what the file holds by name: `parallelism`, `batch.records`, and entries by id: `operator.count.config.min-length`. What is set is raw text
//! of no type yet; the reader of the key decides. Later ones win. A `source.ID.type` or `sink.ID.type` that changes the type drops those of the entry's keys in
//! the file that the new type does not know, and none that another `--set` sets: so the order of `--set`s does not matter for it.
//!
//! Absent on purpose: setting an element of a list, and a key that holds a dot. Set the list or the table around it.

use std::sync::Arc;

use super::{
    error::Problem,
    location::Location,
    nearest, sink, source,
    tree::{self, Node, Table, Value},
};

/// What is addressed by id.
const ENTRIES: [&str; 3] = ["source", "operator", "sink"];

/// Deeper than any path a person types; bounds the recursion over the tree.
const PATH_DEPTH_MAX: usize = 32;

struct Override {
    path: Vec<String>,
    value: String,
    at: Location,
}

/// Applies all, and says what could not be.
pub(super) fn apply(root: &mut Table, sets: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut keep = |result: Result<Override, Problem>| result.map_err(|problem| problems.push(problem)).ok();
    let overrides: Vec<Override> = sets.iter().filter_map(|set| keep(Override::parse(set))).collect();
    for (index, change) in overrides.iter().enumerate() {
        let superseded = overrides[index + 1..].iter().any(|later| later.path == change.path);
        if !superseded {
            drop_foreign_keys(root, change);
        }
    }
    for change in &overrides {
        if let Err(message) = set(root, change) {
            problems.push(Problem::new(&change.at, message));
        }
    }
    problems
}

impl Override {
    fn parse(set: &str) -> Result<Self, Problem> {
        let at = Location::set(&Arc::from(set));
        let (path, value) =
            set.split_once('=').ok_or_else(|| Problem::new(&at, "has no `=`; write `--set path=value`"))?;
        let path: Vec<String> = path.split('.').map(|key| key.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) || path.len() > PATH_DEPTH_MAX {
            return Err(Problem::new(
                &at,
                "the path before the `=` is not keys with dots between them, such as `operator.ID.parallelism`",
            ));
        }
        Ok(Self { path, value: value.to_owned(), at })
    }

    fn node(&self) -> Node {
        Node { value: Value::Raw(self.value.clone()), at: self.at.clone() }
    }
}

/// Makes room for the new type, if this changes the type of a source or sink.
fn drop_foreign_keys(root: &mut Table, change: &Override) {
    let [kind, id, key] = change.path.as_slice() else { return };
    let known = match (kind.as_str(), key.as_str()) {
        ("source", "type") => source::keys(&change.value),
        ("sink", "type") => sink::keys(&change.value),
        _ => None,
    };
    // An unknown type is refused later, whatever stands beside it.
    let (Some(known), Ok(entry)) = (known, entry_mut(root, kind, id)) else { return };
    let same = matches!(entry.get("type"), Some(Node { value: Value::Text(text) | Value::Raw(text), .. }) if *text == change.value);
    if !same {
        entry.entries.retain(|entry| known.contains(&entry.key.as_str()));
    }
}

fn set(root: &mut Table, change: &Override) -> Result<(), String> {
    match change.path.as_slice() {
        [kind] | [kind, _] if ENTRIES.contains(&kind.as_str()) => {
            Err(format!("says not what to set: write `{kind}.ID.KEY=value`"))
        }
        [kind, _, key] if ENTRIES.contains(&kind.as_str()) && key == "id" => Err("an id can't be changed".to_owned()),
        [kind, id, path @ ..] if ENTRIES.contains(&kind.as_str()) => set_in(entry_mut(root, kind, id)?, path, change),
        path => set_in(root, path, change),
    }
}

fn set_in(table: &mut Table, path: &[String], change: &Override) -> Result<(), String> {
    let Some((key, deeper)) = path.split_first() else { return Ok(()) };
    if deeper.is_empty() {
        table.set(key, change.node());
        return Ok(());
    }
    if table.get(key).is_none() {
        table.set(key, Node { value: Value::Table(Table::default()), at: change.at.clone() });
    }
    match table.get_mut(key) {
        Some(node) => set_in(as_table(node, key)?, deeper, change),
        None => Ok(()),
    }
}

fn as_table<'t>(node: &'t mut Node, key: &str) -> Result<&'t mut Table, String> {
    if let Value::Raw(text) = &node.value
        && text.trim_start().starts_with('{')
    {
        *node = tree::value(text, &node.at).map_err(|message| format!("`{key}` is not TOML: {message}"))?;
    }
    match &mut node.value {
        Value::Table(table) => Ok(table),
        other => Err(format!("`{key}` is {}, so nothing can be set in it; set `{key}` itself", other.described())),
    }
}

fn entry_mut<'t>(root: &'t mut Table, kind: &str, id: &str) -> Result<&'t mut Table, String> {
    let refusal = unknown_id(root, kind, id);
    let nodes = match root.get_mut(kind) {
        Some(Node { value: Value::List(nodes), .. }) => nodes.as_mut_slice(),
        _ => &mut [],
    };
    let mut tables = nodes.iter_mut().filter_map(|node| match &mut node.value {
        Value::Table(table) => Some(table),
        _ => None,
    });
    tables.find(|table| id_of(table) == Some(id)).ok_or(refusal)
}

fn unknown_id(root: &Table, kind: &str, id: &str) -> String {
    if let Some(other) = ENTRIES.into_iter().find(|other| ids(root, other).contains(&id)) {
        return format!("`{id}` is no {kind}: write `{other}.{id}.…`");
    }
    match ids(root, kind).as_slice() {
        [] => format!("the job has no {kind} `{id}`, nor any other"),
        known => format!("the job has no {kind} `{id}`; {}", nearest::hint(id, known.iter().copied(), "it has")),
    }
}

fn ids<'t>(root: &'t Table, kind: &str) -> Vec<&'t str> {
    let Some(Node { value: Value::List(nodes), .. }) = root.get(kind) else { return Vec::new() };
    let tables = nodes.iter().filter_map(|node| match &node.value {
        Value::Table(table) => Some(table),
        _ => None,
    });
    tables.filter_map(id_of).collect()
}

fn id_of(table: &Table) -> Option<&str> {
    match &table.get("id")?.value {
        Value::Text(id) | Value::Raw(id) => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
