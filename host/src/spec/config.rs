//! The free-form values of an operator's config, as JSON. Raw text is the TOML value that it reads as, else a string.

use serde_json::{Map, Number, Value as Json};

use super::{
    error::Problem,
    section::Field,
    tree::{self, Node, Value},
};

impl Field<'_> {
    /// A table of anything.
    pub(super) fn object(self) -> Option<Json> {
        let field = self.shaped('{')?;
        if !matches!(field.node.value, Value::Table(_)) {
            return field.mismatch("a table");
        }
        let mut problems = Vec::new();
        let object = json(field.node, &mut problems);
        let whole = problems.is_empty().then_some(object);
        field.scope.problems.borrow_mut().append(&mut problems);
        whole
    }
}

/// What JSON can't express goes on the list, and is null.
fn json(node: Node, problems: &mut Vec<Problem>) -> Json {
    let mut refuse = |message: String| {
        problems.push(Problem::new(&node.at, message));
        Json::Null
    };
    match node.value {
        Value::Table(table) => {
            Json::Object(Map::from_iter(table.entries.into_iter().map(|entry| (entry.key, json(entry.node, problems)))))
        }
        Value::List(nodes) => nodes.into_iter().map(|node| json(node, problems)).collect(),
        Value::Text(text) | Value::Datetime(text) => Json::String(text),
        Value::Raw(text) => {
            let mut unfit = Vec::new();
            let value = tree::value(&text, &node.at).ok().map(|node| json(node, &mut unfit));
            value.filter(|_| unfit.is_empty()).unwrap_or(Json::String(text))
        }
        Value::Boolean(truth) => Json::Bool(truth),
        Value::Integer(number) => match Number::from_i128(number) {
            Some(number) => Json::Number(number),
            None => refuse(
                "a whole number of more than 64 bits does not fit into a config; write it as a string".to_owned(),
            ),
        },
        Value::Float(number) => match Number::from_f64(number) {
            Some(number) => Json::Number(number),
            None => {
                refuse("a number that is not finite does not fit into a config, which is handed on as JSON".to_owned())
            }
        },
        Value::Broken(why) => refuse(why),
    }
}
