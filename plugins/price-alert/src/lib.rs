//! Tells when an item's price reaches what somebody waits for. The lesson: a second input, whose records go to all tasks, and results that do not depend on which of the two
//! inputs is faster.
//!
//! The prices of an item come in their order; rules come whenever they like. So that a rule that comes late finds the same price as one that was there from the start, an
//! item's state keeps each price that is higher than all before it: they are few, and the first price that reaches any threshold is among them. Alerts are given when the
//! item's next price comes and at the end, one for each rule at most.

use wasmill_sdk::prelude::*;

/// A price as it comes; the item is the record's key.
#[derive(Deserialize)]
pub struct Price {
    /// Milliseconds since the Unix epoch.
    time: i64,
    cents: u64,
}

/// What somebody waits for.
#[derive(Deserialize)]
pub struct Rule {
    rule: String,
    item: String,
    /// In cents.
    threshold: u64,
}

/// A rule as it is kept with those of the same item.
#[derive(Clone, Serialize, Deserialize, Schema)]
struct Threshold {
    rule: String,
    threshold: u64,
}

/// A price that was higher than all before it.
#[derive(Clone, Copy, Serialize, Deserialize, Schema)]
struct High {
    cents: u64,
    time: i64,
}

/// What is kept of an item.
#[derive(Clone, Default, Serialize, Deserialize, Schema)]
struct Item {
    /// In their order, so both prices and times rise.
    highs: Vec<High>,
    /// The rules that gave an alert.
    alerted: Vec<String>,
}

/// An item has reached the price that a rule waits for.
#[derive(Serialize, Schema)]
pub struct Alert<'a> {
    rule: &'a str,
    item: &'a str,
    threshold: u64,
    /// The first price that reached it.
    cents: u64,
    time: i64,
}

/// Compares the prices of each item with the rules for it.
pub struct PriceAlert {
    /// By item.
    rules: BroadcastState<String, Vec<Threshold>>,
    item: ValueState<Item>,
}

impl PriceAlert {
    /// Gives the alerts that are due, and remembers them in `item`.
    fn alert(&self, item: &mut Item, ctx: &mut Context<Self>) -> Result<()> {
        let is_due = |rule: &&Threshold| item.first(rule.threshold).is_some() && !item.alerted.contains(&rule.rule);
        let due: Vec<Threshold> =
            self.rules.with(ctx, ctx.key(), |rules| rules.into_iter().flatten().filter(is_due).cloned().collect())?;
        for Threshold { rule, threshold } in due {
            if let Some(High { cents, time }) = item.first(threshold) {
                ctx.emit(Alert { rule: &rule, item: ctx.key(), threshold, cents, time })?;
                item.alerted.push(rule);
            }
        }
        Ok(())
    }
}

impl Item {
    /// The first price that reached the threshold, if one has.
    fn first(&self, threshold: u64) -> Option<High> {
        self.highs.iter().find(|high| high.cents >= threshold).copied()
    }
}

impl Operator for PriceAlert {
    type Key<'a> = &'a str;
    type Input<'a> = Json<Price>;
    type Output<'a> = Alert<'a>;

    fn declare(states: &mut Declaration) -> Self {
        let item = states.value("item");
        states.visit_at_end(&item);
        Self { rules: states.broadcast("rules"), item }
    }

    fn process(&mut self, Json(Price { time, cents }): Json<Price>, ctx: &mut Context<Self>) -> Result<()> {
        let mut item = self.item.get(ctx)?.unwrap_or_default();
        if item.highs.last().is_none_or(|high| cents > high.cents) {
            item.highs.push(High { cents, time });
        }
        self.alert(&mut item, ctx)?;
        self.item.set(ctx, item)
    }

    fn on_end(&mut self, ctx: &mut Context<Self>) -> Result<()> {
        // Rules that came after the item's last price.
        let mut item = self.item.get(ctx)?.unwrap_or_default();
        self.alert(&mut item, ctx)
    }

    fn input_name() -> String {
        "prices".to_owned()
    }
}

/// The input of rules.
pub struct Rules;

impl OtherInput for Rules {
    type Operator = PriceAlert;
    type Value<'a> = Json<Rule>;
    const KIND: InputKind = InputKind::Broadcast;

    fn process(alert: &mut PriceAlert, Json(new): Json<Rule>, ctx: &mut Context<PriceAlert>) -> Result<()> {
        let mut rules = alert.rules.get(ctx, &new.item)?.unwrap_or_default();
        // Another threshold would make it matter which prices had come by then.
        if rules.iter().any(|rule| rule.rule == new.rule) {
            bail!("there is a rule \"{}\" for {} already", new.rule, new.item);
        }
        rules.push(Threshold { rule: new.rule, threshold: new.threshold });
        alert.rules.insert(ctx, new.item, rules)
    }
}

export_operator!(PriceAlert, Rules);
