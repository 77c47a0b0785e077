//! Edges, as the operator or sink they lead to names them.

use super::{
    At,
    section::{Field, Section, all},
    tree::Value,
};
use crate::dataflow::Partitioning;

const PARTITIONINGS: [(&str, Partitioning); 3] =
    [("forward", Partitioning::Forward), ("hash", Partitioning::Hash), ("rebalance", Partitioning::Rebalance)];

/// An input of an operator or sink: `"lines"`, or `{ from = "split", partitioning = "hash" }`.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Id of the source or operator that the records come from. Whether there is one is the planner's to say.
    pub from: At<String>,
    /// How records are routed. None: the planner decides.
    pub partitioning: Option<At<Partitioning>>,
}

/// A list of inputs, or one alone.
pub(super) fn read_all(field: Field<'_>) -> Option<Vec<InputSpec>> {
    let list = field.shaped('[')?;
    match &list.node.value {
        Value::List(_) | Value::Text(_) | Value::Raw(_) | Value::Table(_) => {
            all(list.elements()?.into_iter().map(read))
        }
        _ => list.mismatch("a list of ids, or of tables such as `{ from = \"ID\", partitioning = \"hash\" }`"),
    }
}

fn read(field: Field<'_>) -> Option<InputSpec> {
    let field = field.shaped('{')?;
    if !matches!(field.node.value, Value::Table(_)) {
        let at = field.node.at.clone();
        return Some(InputSpec { from: At { value: field.text()?, at }, partitioning: None });
    }
    let mut section: Section<'_> = field.section("this input", "")?;
    let from = section.required("from", "the id of the source or operator that the records come from", Field::text);
    let partitioning = section.optional("partitioning", |field| field.word(&PARTITIONINGS, &["broadcast"]));
    section.finish();
    Some(InputSpec { from: from?, partitioning })
}
