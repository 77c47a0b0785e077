//! The job file as a tree of values that know where they came from.
//!
//! `${NAME}` and `--set` change this tree before anything is decoded. A value from either is [`Value::Raw`]: text whose type the reader of the key decides.
//! Depth is bounded by the TOML parser, so recursion over the tree is too.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    error::{Problem, shortened},
    location::Location,
};

/// A value and its origin.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Location,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Table(Table),
    List(Vec<Node>),
    Text(String),
    /// Text of no type yet.
    Raw(String),
    /// Beyond 128 bits: the nearest that fits.
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    /// What can't be had, and why. Only whoever reads it complains, so a `--set` may replace it.
    Broken(String),
}

/// Keys in the order in which they were written.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Location,
    pub(super) node: Node,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Sets a key, in the place of its former value if there is one.
    pub(super) fn set(&mut self, key: &str, node: Node) -> &mut Node {
        let entry = Entry { key: key.to_owned(), key_at: node.at.clone(), node };
        let index = self.entries.iter().position(|entry| entry.key == key).unwrap_or(self.entries.len());
        if index < self.entries.len() {
            self.entries[index] = entry;
        } else {
            self.entries.push(entry);
        }
        &mut self.entries[index].node
    }
}

impl Value {
    /// What a message calls it.
    pub(super) fn described(&self) -> String {
        match self {
            Self::Table(_) => "a table".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Text(text) => format!("\"{}\"", shortened(text)),
            Self::Raw(text) => format!("`{}`", shortened(text)),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Boolean(truth) => truth.to_string(),
            Self::Datetime(_) => "a date".to_owned(),
            Self::Broken(_) => "nothing".to_owned(),
        }
    }
}

/// Reads a whole file.
pub(super) fn document(text: &str) -> Result<Table, Problem> {
    let (table, errors) = DeTable::parse_recoverable(text);
    // The parser's later errors are often only consequences of the first.
    match errors.into_iter().min_by_key(|error| error.span().map_or(0, |span| span.start)) {
        None => Ok(convert_table(table.into_inner(), &Location::span)),
        Some(error) => {
            let at = error.span().map_or_else(Location::file, Location::span);
            Err(Problem::new(&at, format!("not TOML: {}", error.message())))
        }
    }
}

/// Reads one value of the text of a `--set` or a substituted string. All of it is at `at`.
pub(super) fn value(text: &str, at: &Location) -> Result<Node, String> {
    let value = DeValue::parse(text.trim()).map_err(|error| error.message().to_owned())?;
    Ok(convert(value, &|_| at.clone()))
}

fn convert(value: Spanned<DeValue<'_>>, locate: &dyn Fn(Range<usize>) -> Location) -> Node {
    let at = locate(value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(integer(number.as_str(), number.radix())),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Value::Boolean(truth),
        DeValue::Datetime(time) => Value::Datetime(time.to_string()),
        DeValue::Array(list) => Value::List(convert_list(list, locate)),
        DeValue::Table(table) => Value::Table(convert_table(table, locate)),
    };
    Node { value, at }
}

fn convert_list(list: DeArray<'_>, locate: &dyn Fn(Range<usize>) -> Location) -> Vec<Node> {
    list.into_iter().map(|value| convert(value, locate)).collect()
}

fn convert_table(table: DeTable<'_>, locate: &dyn Fn(Range<usize>) -> Location) -> Table {
    let mut entries: Vec<_> = table.into_iter().collect();
    // The parser sorts by name; a config is handed on in the order in which it was written.
    entries.sort_by_key(|(key, _)| key.span().start);
    let entries = entries.into_iter().map(|(key, value)| {
        let key_at = locate(key.span());
        Entry { key: key.into_inner().into_owned(), key_at, node: convert(value, locate) }
    });
    Table { entries: entries.collect() }
}

fn integer(digits: &str, radix: u32) -> i128 {
    let nearest = if digits.starts_with('-') { i128::MIN } else { i128::MAX };
    i128::from_str_radix(digits, radix).unwrap_or(nearest)
}
