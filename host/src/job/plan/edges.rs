//! The edges of the graph: which input each leads to, how it routes, and whether its records are what the receiver takes.

use super::{Carries, Plan, PlannedEdge, Planner, Role};
use crate::{
    dataflow::Partitioning,
    operator::{Descriptor, InputDescriptor},
    spec::{InputSpec, OperatorSpec, nearest},
};

/// Where the records of one key arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// In the task that owns the key.
    ByKey,
    /// In any.
    Anywhere,
}

/// What an edge leads to.
#[derive(Clone, Copy)]
pub(super) enum Receiver<'a> {
    Operator { descriptor: &'a Descriptor, input: usize },
    Sink { reads_keys: bool },
}

impl<'a> Receiver<'a> {
    fn input(self) -> u32 {
        match self {
            Self::Operator { input, .. } => input as u32,
            Self::Sink { .. } => 0,
        }
    }

    fn descriptor(self) -> Option<&'a InputDescriptor> {
        match self {
            Self::Operator { descriptor, input } => Some(&descriptor.inputs[input]),
            Self::Sink { .. } => None,
        }
    }

    fn is_broadcast(self) -> bool {
        self.descriptor().is_some_and(|input| input.broadcast)
    }

    /// Records that have keys go where their key belongs, unless the file says otherwise.
    fn default_partitioning(self, same_parallelism: bool) -> Partitioning {
        match self.descriptor() {
            Some(input) if input.broadcast => Partitioning::Broadcast,
            Some(input) if input.key.is_some() => Partitioning::Hash,
            _ if same_parallelism => Partitioning::Forward,
            _ => Partitioning::Rebalance,
        }
    }

    /// Whether records should bring their keys. Operators are given them: they keep them, show them in dead letters, or ask for them. But where some inputs have
    /// keys, the others have none: a key that came by such an input may be one of another task, or of another type.
    pub(super) fn takes_keys(self) -> bool {
        match self {
            Self::Operator { descriptor, input } => {
                descriptor.inputs[input].key.is_some() || !descriptor.has_keyed_input()
            }
            Self::Sink { reads_keys } => reads_keys,
        }
    }

    /// " at its input x", where there are several.
    fn at_input(self) -> String {
        match self {
            Self::Operator { descriptor, input } if descriptor.inputs.len() > 1 => {
                format!(" at its input {}", descriptor.inputs[input].name)
            }
            _ => String::new(),
        }
    }
}

impl Planner<'_> {
    /// The input that each of an operator's edges leads to; none for a name that is refused. Inputs that nothing leads to are refused too.
    pub(super) fn inputs_of_edges(&mut self, operator: &OperatorSpec, descriptor: &Descriptor) -> Vec<Option<usize>> {
        let names = || descriptor.inputs.iter().map(|input| input.name.as_str());
        let mut inputs = Vec::new();
        for spec in &operator.inputs {
            let input = match &spec.input {
                None => Some(0),
                Some(name) => names().position(|input| input == name.value),
            };
            if let (None, Some(name)) = (input, &spec.input) {
                let hint = match nearest(name, names()) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => format!("it has {}", names().collect::<Vec<_>>().join(", ")),
                };
                self.refuse(&name.at, format!("{} has no input {:?}; {hint}", operator.id.value, name.value));
            }
            inputs.push(input);
        }
        // A name that was misspelled may be the one that is missing.
        if inputs.iter().all(Option::is_some) {
            for (input, name) in names().enumerate().filter(|(input, _)| !inputs.contains(&Some(*input))) {
                let hint = if input == 0 { "" } else { &format!(", input = {name:?}") };
                let text = format!(
                    "nothing leads to the input {name} of {}: add `{{ from = \"ID\"{hint} }}` to its inputs",
                    operator.id.value
                );
                self.refuse(&operator.id.at, text);
            }
        }
        inputs
    }

    /// Refuses an edge whose records are not what the operator's input takes; says where records of one key arrive.
    pub(super) fn check_edge(
        &mut self,
        plan: &Plan,
        edge: usize,
        spec: &InputSpec,
        (operator, descriptor): (&OperatorSpec, &Descriptor),
    ) -> Placed {
        let edge = &plan.edges[edge];
        let (from, input) = (&plan.vertices[edge.from], &descriptor.inputs[edge.input as usize]);
        let (sender, receiver) = (&spec.from.value, &operator.id.value);
        let of_input = Receiver::Operator { descriptor, input: edge.input as usize }.at_input();
        let by_key = match edge.partitioning {
            Partitioning::Hash => true,
            Partitioning::Forward => from.partitioned,
            Partitioning::Rebalance | Partitioning::Broadcast => false,
        };
        if from.value != input.value {
            let text = format!("{sender} gives {}, but {receiver} takes {}{of_input}", from.value, input.value);
            self.refuse(&spec.from.at, text);
        }
        let at = spec.partitioning.as_ref().map_or(&spec.from.at, |partitioning| &partitioning.at);
        match (&from.key, &input.key) {
            (_, None) => {}
            (None, Some(_)) => {
                let text = format!("{receiver} asks for keys{of_input}, but the records of {sender} have none");
                self.refuse(&spec.from.at, text);
            }
            (Some(key), Some(wanted)) if key != wanted => {
                let text =
                    format!("the keys of {sender} are {key}, but {receiver} takes keys that are {wanted}{of_input}");
                self.refuse(&spec.from.at, text);
            }
            (Some(_), Some(_)) if edge.partitioning == Partitioning::Broadcast => {
                let text = format!(
                    "{receiver} asks for keys{of_input}, so each record belongs to one task and can't be broadcast to all"
                );
                self.refuse(at, text);
            }
            (Some(_), Some(_)) if !by_key && descriptor.keyed_states().next().is_some() => {
                let text = format!(
                    "{receiver} has keyed state, so records of one key must reach one task: use partitioning = \"hash\" (or \"forward\" from an operator that keeps the keys of a hash edge)"
                );
                self.refuse(at, text);
            }
            (Some(_), Some(_)) => {}
        }
        if by_key { Placed::ByKey } else { Placed::Anywhere }
    }

    pub(super) fn add_edge(
        &mut self,
        plan: &mut Plan,
        spec: &InputSpec,
        to: usize,
        receiver: Receiver<'_>,
    ) -> Option<usize> {
        let from = plan.vertices.iter().position(|vertex| vertex.id == *spec.from.value)?;
        let input = receiver.input();
        let id = plan.vertices[to].id.clone();
        if plan.edges.iter().any(|edge| edge.from == from && edge.to == to && edge.input == input) {
            self.refuse(&spec.from.at, format!("{id} reads {} twice{}", spec.from.value, receiver.at_input()));
            return None;
        }
        if let Role::Operator(index) = plan.vertices[from].role
            && self.descriptors[index].outputs.is_empty()
        {
            self.refuse(&spec.from.at, format!("the plugin of {} has no output", spec.from.value));
        }
        let same = plan.vertices[from].parallelism == plan.vertices[to].parallelism;
        let partitioning = match &spec.partitioning {
            Some(given) => given.value,
            None => receiver.default_partitioning(same),
        };
        if let Some(given) = &spec.partitioning {
            if receiver.is_broadcast() && given.value != Partitioning::Broadcast {
                let text = format!(
                    "{id} takes every record in every task{}: leave the partitioning out, or write \"broadcast\"",
                    receiver.at_input()
                );
                self.refuse(&given.at, text);
            } else if given.value == Partitioning::Forward && !same {
                let (a, b) = (plan.vertices[from].parallelism, plan.vertices[to].parallelism);
                let text = format!(
                    "forward joins task to task, but {} has parallelism {a} and {id} has {b}: make them equal, or use \"rebalance\"",
                    spec.from.value
                );
                self.refuse(&given.at, text);
            } else if given.value == Partitioning::Hash && plan.vertices[from].key.is_none() {
                self.refuse(
                    &given.at,
                    format!("the records of {} have no keys, so they can't be partitioned by hash", spec.from.value),
                );
            }
        }
        let with_keys = partitioning == Partitioning::Hash || receiver.takes_keys();
        let carries = Carries::Records;
        plan.edges.push(PlannedEdge { from, to, input, partitioning, carries, with_keys, chained: false });
        Some(plan.edges.len() - 1)
    }
}
