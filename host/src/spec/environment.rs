//! `${NAME}` and `${NAME:-default}` in strings of the job file.
//!
//! As in a shell, the default stands in for a variable that is unset or empty; `$${` is a plain `${`. What a variable holds is not looked at again. Keys, and
//! the texts of `--set` (where the shell has done it), are left alone.

use super::{
    location::{Location, Place},
    tree::{Node, Table, Value},
};

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Puts the values in, everywhere in `table`. A variable that is not there breaks the value that needs it.
pub(super) fn substitute(table: &mut Table, environment: Environment<'_>) {
    for entry in &mut table.entries {
        substitute_node(&mut entry.node, environment);
    }
}

fn substitute_node(node: &mut Node, environment: Environment<'_>) {
    match &mut node.value {
        Value::Table(table) => substitute(table, environment),
        Value::List(nodes) => nodes.iter_mut().for_each(|node| substitute_node(node, environment)),
        Value::Text(text) => match expand(text, environment) {
            Ok(None) => {}
            Ok(Some(Expanded { text, variables: 0 })) => node.value = Value::Text(text),
            Ok(Some(Expanded { text, .. })) => {
                if let Place::Span(span) = &node.at.0 {
                    node.at = Location(Place::Environment { span: span.clone(), text: text.as_str().into() });
                }
                node.value = Value::Raw(text);
            }
            Err(message) => node.value = Value::Broken(message),
        },
        _ => {}
    }
}

struct Expanded {
    text: String,
    variables: usize,
}

/// None: there is nothing to do.
fn expand(text: &str, environment: Environment<'_>) -> Result<Option<Expanded>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = Expanded { text: String::with_capacity(text.len()), variables: 0 };
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            expanded.text.push_str(before);
            expanded.text.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        expanded.text.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let end = inside.find('}').ok_or("`${` has no `}`; write `$${` for a plain `${`")?;
        expanded.text.push_str(&variable(&inside[..end], environment)?);
        expanded.variables += 1;
        rest = &inside[end + 1..];
    }
    expanded.text.push_str(rest);
    Ok(Some(expanded))
}

fn variable(inside: &str, environment: Environment<'_>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let well_formed =
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || !well_formed {
        return Err(format!(
            "`${{{inside}}}` names no environment variable; write `${{NAME}}`, `${{NAME:-default}}`, or `$${{` for a plain `${{`"
        ));
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            Err(format!("the environment variable `{name}` is not set; set it, or give a default: `${{{name}:-…}}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Option<&str>, &str>) {
        let environment = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        let actual = expand(text, &environment);
        match (&actual, expected) {
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (Ok(expanded), Ok(expected)) => {
                assert_eq!(expanded.as_ref().map(|expanded| expanded.text.as_str()), expected)
            }
            (Ok(_), Err(_)) => panic!("{text} was accepted"),
            (Err(message), Ok(_)) => panic!("{text}: {message}"),
        }
    }

    #[test]
    fn variables_are_put_in() {
        check("plain $A $ {A} $$", Ok(None));
        check("${A}", Ok(Some("1")));
        check("a${A}b${A}c", Ok(Some("a1b1c")));
        check("${EMPTY}", Ok(Some("")));
        check("${EMPTY:-x}", Ok(Some("x")));
        check("${NONE:-x y}", Ok(Some("x y")));
        check("${NONE:-}", Ok(Some("")));
        check("${A:-x}", Ok(Some("1")));
        check("$${A} ${A}", Ok(Some("${A} 1")));
        check("$$${A}", Ok(Some("$${A}")));
        check("${NESTED}", Ok(Some("${A}")));
        check("${NONE}", Err("`NONE` is not set"));
        check("${A", Err("no `}`"));
        check("${}", Err("names no environment variable"));
        check("${1A}", Err("names no environment variable"));
        check("${A:=x}", Err("names no environment variable"));
    }
}
