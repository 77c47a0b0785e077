//! Watches card payments. The lesson: an operator is replaced while its job runs, and its state is kept and migrated. This is the version that runs first; that which
//! replaces it is `fraud-rules-v2`, and what changes is what `diff` says of the two files.
//!
//! Two states are kept of each card: some figures of all its payments, which grow with every version's needs, and a list of the last ones, which is as short as the rules
//! allow. A swap finds both by their names. The results have one type for all versions, which is why a rule is a text: a swap may not change what comes out.
//!
//! Amounts are in cents and times in milliseconds. Figures are whole numbers, so that they are the same wherever they are computed.

use wasmill_sdk::prelude::*;

/// The time that the rules look back.
const MINUTE_MS: i64 = 60_000;

/// So many payments in a minute are too many.
const MANY: usize = 10;

/// An amount is far above a card's average when it is more than so many times that.
const FAR: u64 = 10;

/// A card has an average worth the name when it has made so many payments.
const KNOWN: u64 = 5;

/// A payment as it comes, which is a bid of the generator `nexmark`; the card is the record's key.
#[derive(Deserialize)]
pub struct Bid {
    price: u64,
    date_time: i64,
}

/// A payment as it is kept.
#[derive(Clone, Serialize, Deserialize, Schema)]
struct Payment {
    amount: u64,
    time: i64,
}

/// What is kept of all payments of a card.
#[derive(Clone, Default, Serialize, Deserialize, Schema)]
struct Card {
    payments: u64,
    total: u64,
}

/// A payment breaks a rule.
#[derive(Serialize, Schema)]
pub struct Alert<'a> {
    card: u64,
    rule: &'a str,
    amount: u64,
    /// The average of the card's payments before.
    average: u64,
    /// Which payment of the card it is, counted from 1.
    payment: u64,
    time: i64,
}

/// Compares each payment with those of the same card before.
pub struct FraudRules {
    card: ValueState<Card>,
    /// Of the last minute, and no more than tell whether there were [`MANY`] or more: older ones go when the card pays.
    recent: ListState<Payment>,
}

impl Card {
    fn average(&self) -> u64 {
        self.total / self.payments.max(1)
    }

    fn is_far_below(&self, amount: u64) -> bool {
        self.payments >= KNOWN && amount.saturating_mul(self.payments) > self.total.saturating_mul(FAR)
    }

    fn add(&mut self, amount: u64) {
        self.payments += 1;
        self.total = self.total.saturating_add(amount);
    }
}

impl Operator for FraudRules {
    type Key<'a> = u64;
    type Input<'a> = Json<Bid>;
    type Output<'a> = Alert<'a>;

    fn declare(states: &mut Declaration) -> Self {
        Self { card: states.value("card"), recent: states.list("recent") }
    }

    fn process(&mut self, Json(bid): Json<Bid>, ctx: &mut Context<Self>) -> Result<()> {
        let Bid { price: amount, date_time: time } = bid;
        let mut card = self.card.get(ctx)?.unwrap_or_default();
        let mut recent = self.recent.items(ctx)?.collect::<Result<Vec<Payment>>>()?;

        recent.push(Payment { amount, time });
        recent.retain(|payment| payment.time > time.saturating_sub(MINUTE_MS));
        // One more than many: a burst is told once, by its payment number `MANY`.
        recent.drain(..recent.len().saturating_sub(MANY + 1));
        self.recent.replace(ctx, &recent)?;

        let rules = [("far-above-average", card.is_far_below(amount)), ("many-in-a-minute", recent.len() == MANY)];
        let (average, payment) = (card.average(), card.payments + 1);
        for (rule, _) in rules.into_iter().filter(|(_, is_broken)| *is_broken) {
            ctx.emit(Alert { card: ctx.key(), rule, amount, average, payment, time })?;
        }
        card.add(amount);
        self.card.set(ctx, card)
    }
}

export_operator!(FraudRules);
