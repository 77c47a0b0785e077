//! What became of a swap, for people.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::job::PluginRef;

/// The answer, as far as it is shown.
#[derive(Deserialize)]
pub(in crate::cli) struct SwapShown {
    outcome: Outcome,
    from: BTreeMap<String, PluginRef>,
    to: BTreeMap<String, PluginRef>,
    pause_ms: Option<f64>,
    prepare_ms: f64,
    checkpoint: Option<u64>,
    migrations: Vec<Migration>,
    differences: Vec<Difference>,
    reason: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    DryRun,
    Committed,
    Confirmed,
    RolledBack,
}

#[derive(Deserialize)]
struct Migration {
    operator: String,
    state: String,
    from: Vec<u16>,
    to: u16,
}

#[derive(Deserialize)]
struct Difference {
    operator: String,
    kind: String,
    text: String,
}

/// A swap that is under way, by the status of the job.
#[derive(Deserialize)]
pub(in crate::cli) struct UnderWay {
    operators: Vec<String>,
    probation: Option<Probation>,
}

#[derive(Deserialize)]
struct Probation {
    remaining_seconds: f64,
}

impl SwapShown {
    pub(super) fn is_rolled_back(&self) -> bool {
        self.outcome == Outcome::RolledBack
    }

    /// What happened, in a line. `now` is the swap that is under way, which may be this one in its probation.
    pub(in crate::cli) fn line(&self, now: Option<&UnderWay>) -> String {
        let operators = self.to.keys().map(|id| self.exchange(id)).collect::<Vec<_>>().join("; ");
        let prepared = format!("prepared in {:.0} ms", self.prepare_ms);
        match self.outcome {
            Outcome::DryRun => format!("could swap {operators}, {prepared}; nothing was changed"),
            Outcome::Committed | Outcome::Confirmed => {
                let pause = self.pause_ms.map_or_else(String::new, |ms| format!(", pause {ms:.2} ms"));
                let checkpoint = self.checkpoint.map_or_else(String::new, |id| format!(", checkpoint {id}"));
                format!("swapped {operators}{pause}, {prepared}{checkpoint}; {}", self.probation(now))
            }
            Outcome::RolledBack => {
                let reason = self.reason.as_deref().unwrap_or("no reason was given");
                format!("rolled back {operators}: {reason}; the old version goes on from the state that it had left")
            }
        }
    }

    /// The line, and one for each state that is migrated and for all else that differs.
    pub(super) fn text(&self, now: Option<&UnderWay>) -> String {
        let mut text = self.line(now);
        for Migration { operator, state, from, to } in &self.migrations {
            let from = from.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            text.push_str(&format!(
                "\n  {operator}/{state}: values of version {from} become version {to} when they are looked at"
            ));
        }
        let is_told = |difference: &&Difference| difference.kind == "migrated" || self.is_in_line(difference);
        for difference in self.differences.iter().filter(|difference| !is_told(difference)) {
            text.push_str("\n  ");
            text.push_str(&difference.text);
        }
        text
    }

    /// Whether a difference is that of the plugins, which the line tells.
    fn is_in_line(&self, difference: &Difference) -> bool {
        let named = |plugins: &BTreeMap<String, PluginRef>| {
            plugins.get(&difference.operator).is_some_and(|plugin| difference.text.contains(plugin.short()))
        };
        named(&self.from) && named(&self.to)
    }

    /// `count: word-count 0.1.0 (ab12…) -> word-count 0.2.0 (cd34…)`.
    fn exchange(&self, id: &str) -> String {
        let shown =
            |plugins: &BTreeMap<String, PluginRef>| plugins.get(id).map_or_else(|| "?".into(), ToString::to_string);
        let (from, to) = (shown(&self.from), shown(&self.to));
        if from == to { format!("{id}: {from} as it is") } else { format!("{id}: {from} -> {to}") }
    }

    fn probation(&self, now: Option<&UnderWay>) -> String {
        let own = now.filter(|now| self.to.keys().all(|id| now.operators.contains(id)));
        match (self.outcome, own.and_then(|own| own.probation.as_ref())) {
            (Outcome::Committed, Some(Probation { remaining_seconds })) => {
                format!("on probation for {remaining_seconds:.0} s")
            }
            (Outcome::Committed, None) => "committed".into(),
            _ => "its probation is over".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn answer(outcome: &str, change: impl FnOnce(&mut Json)) -> SwapShown {
        let plugin = |version: &str, digest: char| json!({ "name": "word-count", "version": version, "digest": digest.to_string().repeat(64) });
        let mut document = json!({
            "outcome": outcome,
            "from": { "count": plugin("0.1.0", 'a') },
            "to": { "count": plugin("0.2.0", 'b') },
            "pause_ms": 0.81, "prepare_ms": 41.2, "checkpoint": 17,
            "migrations": [], "differences": [], "reason": null,
        });
        change(&mut document);
        SwapShown::deserialize(document).expect("an answer")
    }

    const EXCHANGE: &str = "count: word-count 0.1.0 (aaaaaaaaaaaa) -> word-count 0.2.0 (bbbbbbbbbbbb)";

    #[test]
    fn a_swap_is_told_with_what_it_cost() {
        let now = |id: &str| UnderWay {
            operators: vec![id.to_owned()],
            probation: Some(Probation { remaining_seconds: 9.8 }),
        };
        let text = |outcome, now: Option<&UnderWay>| answer(outcome, |_| ()).text(now);
        let begin = format!("swapped {EXCHANGE}, pause 0.81 ms, prepared in 41 ms, checkpoint 17; ");
        assert_eq!(text("committed", Some(&now("count"))), format!("{begin}on probation for 10 s"));
        assert_eq!(text("committed", Some(&now("another"))), format!("{begin}committed"));
        assert_eq!(text("confirmed", None), format!("{begin}its probation is over"));
    }

    #[test]
    fn a_rehearsal_tells_what_would_be() {
        let shown = answer("dry-run", |document| {
            document["pause_ms"] = Json::Null;
            document["checkpoint"] = Json::Null;
            document["migrations"] = json!([{ "operator": "count", "state": "count", "from": [1, 2], "to": 3 }]);
            let plugin = "the plugin is word-count 0.2.0 (bbbbbbbbbbbb) and was word-count 0.1.0 (aaaaaaaaaaaa)";
            document["differences"] = json!([
                { "operator": "count", "kind": "changed", "text": plugin },
                { "operator": "count", "kind": "new", "text": "state last is new" },
            ]);
        });
        let expected = format!(
            "could swap {EXCHANGE}, prepared in 41 ms; nothing was changed\n  count/count: values of version 1, 2 become version 3 when they are looked at\n  state last is new"
        );
        assert_eq!(shown.text(None), expected);
    }

    #[test]
    fn a_rollback_says_why() {
        let shown = answer("rolled-back", |document| document["reason"] = json!("the operator panicked"));
        assert!(shown.is_rolled_back());
        let expected = format!(
            "rolled back {EXCHANGE}: the operator panicked; the old version goes on from the state that it had left"
        );
        assert_eq!(shown.text(None), expected);
    }

    #[test]
    fn an_operator_of_which_only_settings_change_is_named_once() {
        let shown = answer("confirmed", |document| document["to"] = document["from"].clone());
        assert!(shown.text(None).starts_with("swapped count: word-count 0.1.0 (aaaaaaaaaaaa) as it is, "));
    }
}
