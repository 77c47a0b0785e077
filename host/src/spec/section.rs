//! Reading tables key by key.
//!
//! A [`Section`] is a table whose keys are asked for one by one; what is left at the end is unknown. A [`Field`] is the value of one key on its way to becoming
//! a typed one. Both put what is wrong on one list, and give `None`: reading goes on, so that all problems of a file are seen at once.

use std::{
    cell::RefCell,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    At, Location,
    error::{Problem, shortened},
    nearest,
    tree::{self, Node, Table, Value},
};

/// What all reading of one file shares.
pub(super) struct Scope<'a> {
    /// What relative paths in the file are relative to.
    pub(super) folder: &'a Path,
    /// What relative paths in a `--set` are relative to.
    pub(super) cwd: &'a Path,
    pub(super) problems: RefCell<Vec<Problem>>,
}

impl Scope<'_> {
    pub(super) fn refuse(&self, at: &Location, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::new(at, message));
    }
}

/// A table that is being read.
pub(super) struct Section<'a> {
    pub(super) scope: &'a Scope<'a>,
    /// Where what is missing would stand.
    pub(super) at: Location,
    /// What messages call it: "operator `count`".
    pub(super) name: String,
    table: Table,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(scope: &'a Scope<'a>, table: Table, at: Location, name: impl Into<String>) -> Self {
        Self { scope, at, name: name.into(), table, asked: Vec::new() }
    }

    /// The key's value, if the key is there and its value can be read.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Field<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        self.asked.push(key);
        let node = self.table.take(key)?.node;
        let at = node.at.clone();
        let value = read(Field { scope: self.scope, name: key, node })?;
        Some(At { value, at })
    }

    /// The same for a key that must be there; `hint` says what it is for.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        hint: &str,
        read: impl FnOnce(Field<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        if !self.has(key) {
            self.asked.push(key);
            self.scope.refuse(&self.at, format!("{} has no `{key}`: {hint}", self.name));
            return None;
        }
        self.optional(key, read)
    }

    /// Reads a key's list of tables; the ones that are wrong are left out.
    pub(super) fn entries<T>(&mut self, key: &'static str, mut read: impl FnMut(Section<'a>) -> Option<T>) -> Vec<T> {
        let list = self.optional(key, |field| match field.node.value {
            Value::List(nodes) => Some(nodes),
            _ => field.fail(format!("must be a list of tables: write `[[{key}]]`")),
        });
        let nodes = list.map_or_else(Vec::new, |list| list.value);
        let fields = nodes.into_iter().map(|node| Field { scope: self.scope, name: key, node });
        fields.filter_map(|field| read(field.section(format!("this {key}"), "")?)).collect()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Refuses a key that a later version brings.
    pub(super) fn not_yet(&mut self, key: &str) {
        if let Some(entry) = self.table.take(key) {
            self.scope.refuse(&entry.key_at, format!("`{key}` is not supported yet"));
        }
    }

    /// Refuses those of some keys that are there though they mean nothing here.
    pub(super) fn refuse_keys(&mut self, keys: &[&str], why: &str) {
        for key in keys {
            if let Some(entry) = self.table.take(key) {
                self.scope.refuse(&entry.key_at, format!("`{key}` {why}"));
            }
        }
    }

    /// Refuses every key that nobody asked for.
    pub(super) fn finish(self) {
        for entry in &self.table.entries {
            let hint = nearest::hint(&entry.key, self.asked.iter().copied(), "it may have");
            self.scope
                .refuse(&entry.key_at, format!("unknown key `{}` in {}; {hint}", shortened(&entry.key), self.name));
        }
    }
}

/// The value of a key.
pub(super) struct Field<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) name: &'static str,
    pub(super) node: Node,
}

impl<'a> Field<'a> {
    /// Puts "`name` message" on the list.
    pub(super) fn fail<T>(&self, message: impl fmt::Display) -> Option<T> {
        let message = match &self.node.value {
            Value::Broken(why) => why.clone(),
            _ => format!("`{}` {message}", self.name),
        };
        self.scope.refuse(&self.node.at, message);
        None
    }

    /// Puts "`name` must be … , not …" on the list.
    pub(super) fn mismatch<T>(&self, expected: impl fmt::Display) -> Option<T> {
        self.fail(format_args!("must be {expected}, not {}", self.node.value.described()))
    }

    /// Raw text that begins with `opening` becomes the TOML value that it is.
    pub(super) fn shaped(mut self, opening: char) -> Option<Self> {
        if let Value::Raw(text) = &self.node.value
            && text.trim_start().starts_with(opening)
        {
            match tree::value(text, &self.node.at) {
                Ok(node) => self.node = node,
                Err(message) => return self.fail(format_args!("begins with `{opening}` but is not TOML: {message}")),
            }
        }
        Some(self)
    }

    /// A table; `example` shows one, or is empty.
    pub(super) fn section(self, name: impl Into<String>, example: &str) -> Option<Section<'a>> {
        let field = self.shaped('{')?;
        match field.node.value {
            Value::Table(table) => Some(Section::new(field.scope, table, field.node.at, name)),
            _ if example.is_empty() => field.mismatch("a table"),
            _ => field.mismatch(format_args!("a table such as `{example}`")),
        }
    }

    /// The elements of a list; anything else is a list of one.
    pub(super) fn elements(self) -> Option<Vec<Self>> {
        let field = self.shaped('[')?;
        let (scope, name) = (field.scope, field.name);
        match field.node.value {
            Value::List(nodes) => Some(nodes.into_iter().map(|node| Field { scope, name, node }).collect()),
            _ => Some(vec![field]),
        }
    }

    /// Any text.
    pub(super) fn text(self) -> Option<String> {
        match self.node.value {
            Value::Text(text) | Value::Raw(text) => Some(text),
            _ => self.mismatch("a string"),
        }
    }

    /// Text that `read` makes something of, or says what is wrong with it.
    pub(super) fn text_as<T, E: fmt::Display>(self, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match &self.node.value {
            Value::Text(text) | Value::Raw(text) => match read(text) {
                Ok(value) => Some(value),
                Err(why) => self.fail(why),
            },
            _ => self.mismatch("a string"),
        }
    }

    /// A path, made absolute.
    pub(super) fn path(self) -> Option<PathBuf> {
        let base = if self.node.at.is_set() { self.scope.cwd } else { self.scope.folder };
        match &self.node.value {
            Value::Text(text) | Value::Raw(text) if text.is_empty() => self.fail("must not be empty"),
            Value::Text(text) | Value::Raw(text) => Some(base.join(text)),
            _ => self.mismatch("a path in a string"),
        }
    }

    /// A path or a list of them.
    pub(super) fn paths(self) -> Option<Vec<PathBuf>> {
        let shaped = self.shaped('[')?;
        match &shaped.node.value {
            Value::List(nodes) if nodes.is_empty() => shaped.fail("must have at least one path"),
            Value::List(_) | Value::Text(_) | Value::Raw(_) => all(shaped.elements()?.into_iter().map(Field::path)),
            _ => shaped.mismatch("a path in a string, or a list of them"),
        }
    }

    /// An id: a name that is safe in a path, a metric and a `--set`.
    pub(super) fn id(self) -> Option<String> {
        let fits = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        match &self.node.value {
            Value::Text(text) | Value::Raw(text) if fits(text) => Some(text.clone()),
            _ => self.mismatch("of lower-case letters, digits and hyphens"),
        }
    }
}

/// All values, if there are all; looks at every one, so that each has its say.
pub(super) fn all<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let values: Vec<Option<T>> = values.collect();
    values.into_iter().collect()
}
