//! Edges, as the operator or sink they lead to names them.

use super::{
    At,
    section::{Field, Section, all},
    tree::Value,
};
use crate::dataflow::Partitioning;

const PARTITIONINGS: [(&str, Partitioning); 4] = [
    ("forward", Partitioning::Forward),
    ("hash", Partitioning::Hash),
    ("rebalance", Partitioning::Rebalance),
    ("broadcast", Partitioning::Broadcast),
];

/// An edge to an operator or sink: `"lines"`, or `{ from = "rules", input = "rules", partitioning = "broadcast" }`.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Id of the source or operator that the records come from. Whether there is one is the planner's to say.
    pub from: At<String>,
    /// Name of the operator's input that the edge leads to. None: the first one, or the only one of a sink. Whether there is one of that name is the planner's to say.
    pub input: Option<At<String>>,
    /// How records are routed. None: the planner decides.
    pub partitioning: Option<At<Partitioning>>,
}

/// What an edge leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Receiver {
    /// Its inputs have names.
    Operator,
    /// It takes everything alike.
    Sink,
}

/// A list of edges, or one alone.
pub(super) fn read_all(field: Field<'_>, receiver: Receiver) -> Option<Vec<InputSpec>> {
    let list = field.shaped('[')?;
    match &list.node.value {
        Value::List(_) | Value::Text(_) | Value::Raw(_) | Value::Table(_) => {
            all(list.elements()?.into_iter().map(|field| read(field, receiver)))
        }
        _ => list.mismatch("a list of ids, or of tables such as `{ from = \"ID\", partitioning = \"hash\" }`"),
    }
}

fn read(field: Field<'_>, receiver: Receiver) -> Option<InputSpec> {
    let field = field.shaped('{')?;
    if !matches!(field.node.value, Value::Table(_)) {
        let at = field.node.at.clone();
        return Some(InputSpec { from: At { value: field.text()?, at }, input: None, partitioning: None });
    }
    let mut section: Section<'_> = field.section("this input", "")?;
    let from = section.required("from", "the id of the source or operator that the records come from", Field::text);
    let input = section.optional("input", |field| match receiver {
        Receiver::Operator => field.text(),
        Receiver::Sink => field.fail("is a name that an operator gives to one of its inputs; a sink has one alone"),
    });
    let partitioning = section.optional("partitioning", |field| field.word(&PARTITIONINGS, &[]));
    section.finish();
    Some(InputSpec { from: from?, input, partitioning })
}
